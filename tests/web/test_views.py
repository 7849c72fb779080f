"""What HTTP clients rely on: statuses, media types, forms of answers and of errors."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import SHARED, MakePackage
from processes.echo import Echo
from processes.ogc.results import blocks_of, results_document
from processes.programs.web import prepare
from processes.web.app import create_application
from rasters import box_around, to_map
from service import Client, check_models, configure, left_in, link

OGC = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"


@pytest.fixture
def inputs(home: Path) -> dict[str, Any]:
    polygon: Any = to_map(box_around(30, 20, 8, 8))
    feature = {"type": "Feature", "id": "x7", "properties": {"deep": {"a": [1, None]}, "n": 1}, "geometry": None}
    feature["geometry"] = {"type": "Polygon", "coordinates": [[list(xy) for xy in polygon.exterior.coords]]}
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    features = {"type": "FeatureCollection", "crs": crs, "features": [feature]}
    return {"image": link(home / "imagery" / "a.tif"), "features": features, "model": "brightness"}


def test_features_come_back_with_id_attributes_and_label(client: Client, inputs: dict[str, Any]) -> None:
    document = client.execute("classify-objects", inputs).json
    (feature,) = document["features"]
    assert feature["id"] == "x7"
    assert feature["properties"]["deep"] == {"a": [1, None]}
    assert list(feature["properties"]) == ["deep", "n", "ClassLabel", "ClassValue", "Confidence", "ClassStatus"]
    assert feature["properties"]["ClassLabel"] in ("dark", "bright")
    assert feature["properties"]["ClassValue"] in (10, 20)
    assert document["summary"]["status"] == {"ok": 1}
    assert sum(document["summary"]["counts"].values()) == 1
    assert len(document["summary"]["model"]["sha256"]) == 64
    longitude, latitude = feature["geometry"]["coordinates"][0][0]
    assert 14 < longitude < 16
    assert 44 < latitude < 46


def test_qualified_features_are_read_too(client: Client, inputs: dict[str, Any]) -> None:
    inputs["features"] = {"value": inputs["features"], "mediaType": "application/geo+json"}
    assert client.execute("classify-objects", inputs).status_code == 200


def test_class_scores_add_up_and_carry_the_label_field_s_name(client: Client, inputs: dict[str, Any]) -> None:
    inputs |= {"modelArguments": {"class_scores": "True"}, "classLabelField": "After"}
    (feature,) = client.execute("classify-objects", inputs).json["features"]
    properties = feature["properties"]
    assert properties["After_Score_dark"] + properties["After_Score_bright"] == pytest.approx(1, abs=1e-5)
    assert {"After", "After_Value", "After_Confidence", "After_Status"} <= set(properties)


def test_a_result_can_be_classified_again(client: Client, inputs: dict[str, Any]) -> None:
    first = client.execute("classify-objects", inputs).json
    first.pop("summary")
    again = client.execute("classify-objects", inputs | {"features": first, "classLabelField": "After"})
    assert again.status_code == 200, again.text
    properties = again.json["features"][0]["properties"]
    assert properties["After"] == properties["ClassLabel"]


def test_a_threshold_takes_the_label_and_leaves_the_confidence(client: Client, inputs: dict[str, Any]) -> None:
    inputs["modelArguments"] = {"score_threshold": 1}
    properties = client.execute("classify-objects", inputs).json["features"][0]["properties"]
    assert properties["ClassLabel"] is None
    assert properties["ClassValue"] is None
    assert properties["Confidence"] > 0.4
    assert properties["ClassStatus"] == "below-threshold"


def _geopackage(response: Any, path: Path) -> list[Any]:
    assert response.mimetype == "application/geopackage+sqlite3"
    path.write_bytes(response.data)
    with sqlite3.connect(path) as database:
        (name,) = database.execute("SELECT table_name FROM gpkg_contents WHERE data_type = 'features'").fetchone()
        return database.execute(f'SELECT fid, id, n, "ClassStatus" FROM "{name}"').fetchall()  # noqa: S608


def test_a_geopackage_is_had_by_format_or_by_accept(client: Client, inputs: dict[str, Any], tmp_path: Path) -> None:
    form = {"classifiedObjects": {"format": {"mediaType": "application/geopackage+sqlite3"}}}
    for number, response in enumerate(
        [
            client.execute("classify-objects", inputs, outputs=form),
            client.execute("classify-objects", inputs, {"Accept": "application/geopackage+sqlite3"}),
            client.execute("classify-objects", inputs, {"Accept": "application/json"}, outputs=form),
        ]
    ):
        assert _geopackage(response, tmp_path / f"{number}.gpkg") == [(1, "x7", 1, "ok")]


@pytest.mark.parametrize(
    ("accept", "status", "media_type"),
    [
        ("*/*", 200, "application/geo+json"),
        ("application/json", 200, "application/geo+json"),
        ("application/geo+json;q=0.5, text/html", 200, "application/geo+json"),
        ("application/json; charset=utf-8", 200, "application/geo+json"),
        ("application/*;q=0.2, */*;q=0", 200, "application/geo+json"),
        ("image/png", 406, "application/json"),
        ("text/html, application/problem+json", 406, "application/problem+json"),
        ("application/geopackage+sqlite3;q=0.1, application/json", 200, "application/geo+json"),
    ],
)
def test_accept_chooses_the_form(
    client: Client, inputs: dict[str, Any], accept: str, status: int, media_type: str
) -> None:
    response = client.execute("classify-objects", inputs, {"Accept": accept})
    assert (response.status_code, response.mimetype) == (status, media_type), response.text


def test_a_document_is_keyed_by_output(client: Client, inputs: dict[str, Any]) -> None:
    document = client.execute("classify-objects", inputs, response="document").json
    assert document["classifiedObjects"]["mediaType"] == "application/geo+json"
    assert document["classifiedObjects"]["value"]["type"] == "FeatureCollection"
    form = {"classifiedObjects": {"format": {"mediaType": "application/geopackage+sqlite3"}}}
    document = client.execute("classify-objects", inputs, response="document", outputs=form).json
    assert document["classifiedObjects"]["encoding"] == "base64"
    assert base64.b64decode(document["classifiedObjects"]["value"]).startswith(b"SQLite format 3\0")


@pytest.mark.parametrize(
    ("media_type", "start"),
    [
        ("application/vnd.flatgeobuf", b"fgb\x03fgb"),
        ("application/vnd.apache.parquet", b"PAR1"),
        ("application/geo+json-seq", b'\x1e{"type": "Feature", "id": "x7"'),
        ("text/csv", b'"id","deep","n","ClassLabel"'),
    ],
)
def test_every_format_is_had_by_format_and_by_accept(
    client: Client, inputs: dict[str, Any], media_type: str, start: bytes
) -> None:
    form = {"classifiedObjects": {"format": {"mediaType": media_type}}}
    for response in (
        client.execute("classify-objects", inputs, outputs=form),
        client.execute("classify-objects", inputs, {"Accept": media_type}),
    ):
        assert (response.status_code, response.mimetype) == (200, media_type), response.text
        assert response.data.startswith(start)
    item = client.execute("classify-objects", inputs, response="document", outputs=form).json["classifiedObjects"]
    assert item["mediaType"] == media_type
    if media_type in ("text/csv", "application/geo+json-seq"):
        assert set(item) == {"value", "mediaType"}
        assert item["value"] == response.text
    else:
        assert item["encoding"] == "base64"
        assert base64.b64decode(item["value"]).startswith(start)


def test_a_long_text_in_a_document_is_cut_between_characters(tmp_path: Path) -> None:
    text = "a" + '😀é"\n\x1e' * 200_000
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    document = b"".join(results_document("rows", "text/csv", blocks_of(path.open("rb"))))
    assert json.loads(document) == {"rows": {"value": text, "mediaType": "text/csv"}}


@pytest.mark.parametrize("media_type", ["application/geo+json", "application/geo+json-seq"])
def test_geojson_has_no_other_crs(client: Client, inputs: dict[str, Any], media_type: str) -> None:
    inputs["outputCrs"] = "EPSG:3857"
    form = {"classifiedObjects": {"format": {"mediaType": media_type}}}
    for response in (
        client.execute("classify-objects", inputs, outputs=form),
        client.execute("classify-objects", inputs, {"Accept": media_type}),
    ):
        assert response.status_code == 400
        assert response.json["errors"][0]["pointer"] == "/inputs/outputCrs"


@pytest.mark.parametrize(
    ("media_type", "status"),
    [
        ("text/csv", 200),
        ("application/vnd.apache.parquet", 200),
        ("application/geopackage+sqlite3", 200),
        ("application/vnd.flatgeobuf", 400),
        ("application/geo+json-seq", 400),
    ],
)
def test_a_table_has_the_formats_that_need_no_geometry(
    client: Client, home: Path, media_type: str, status: int
) -> None:
    inputs = {"image": link(home / "imagery" / "plain.png"), "model": "brightness"}
    form = {"classifiedObjects": {"format": {"mediaType": media_type}}}
    response = client.execute("classify-objects", inputs, outputs=form)
    assert response.status_code == status, response.text
    if status == 400:
        assert "application/json, text/csv, application/vnd.apache.parquet" in response.json["detail"]
    if media_type == "text/csv":
        assert response.text.splitlines()[0] == '"ImageID","ClassLabel","ClassValue","Confidence","ClassStatus"'


def test_a_geopackage_is_styled_by_the_model_s_classes(client: Client, inputs: dict[str, Any], tmp_path: Path) -> None:
    form = {"classifiedObjects": {"format": {"mediaType": "application/geopackage+sqlite3"}}}
    response = client.execute("classify-objects", inputs | {"classLabelField": "fid"}, outputs=form)
    (tmp_path / "a.gpkg").write_bytes(response.data)
    with sqlite3.connect(tmp_path / "a.gpkg") as database:
        ((style,),) = database.execute("SELECT styleQML FROM layer_styles").fetchall()
    assert 'attr="fid_1"' in style
    assert all(f'value="{name}"' in style for name in ("dark", "bright"))
    assert 'value="255,255,255,255"' in style


def test_images_without_reference_give_a_table(client: Client, home: Path) -> None:
    response = client.execute(
        "classify-objects", {"image": link(home / "imagery" / "plain.png"), "model": "brightness"}
    )
    assert response.mimetype == "application/json"
    (row,) = response.json["data"]
    assert row["ImageID"] == "plain.png"
    fields = {field["name"]: field for field in response.json["schema"]["fields"]}
    assert fields["ClassValue"] == {"name": "ClassValue", "type": "integer", "extDtype": "Int64"}
    form = {"classifiedObjects": {"format": {"mediaType": "application/geo+json"}}}
    refused = client.execute(
        "classify-objects", {"image": link(home / "imagery" / "plain.png"), "model": "brightness"}, outputs=form
    )
    assert refused.status_code == 400


def test_describe_model_tells_classes_chip_bands_and_arguments(client: Client) -> None:
    info = client.execute("describe-model", {"model": "brightness"}).json
    assert info["id"] == "brightness"
    assert [item["Name"] for item in info["classes"]] == ["dark", "bright"]
    assert info["chip"] == {"width": 8, "height": 8, "fixedSize": True, "blackenAroundFeature": False}
    assert info["bands"] == [0, 1, 2]
    assert info["provider"] in ("CPU", "GPU")
    assert {item["name"] for item in info["arguments"]} == {
        "batch_size",
        "score_threshold",
        "test_time_augmentation",
        "class_scores",
    }
    assert client.execute("describe-model", {"model": "nothing"}).status_code == 400


def test_descriptions_are_complete(client: Client) -> None:
    listed = client.http.get("/processes").json["processes"]
    assert {item["id"] for item in listed} == {"classify-objects", "describe-model", "echo"}
    description = client.http.get("/processes/classify-objects").json
    assert description["inputs"]["model"]["schema"]["enum"] == ["brightness"]
    for item in description["inputs"].values():
        assert {"title", "description", "schema", "minOccurs", "maxOccurs"} <= set(item)
    assert description["jobControlOptions"] == ["sync-execute", "async-execute", "dismiss"]
    assert client.http.get("/processes/describe-model").json["jobControlOptions"] == ["sync-execute"]


def test_applications_of_two_configurations_stand_side_by_side(
    client: Client, tmp_path: Path, make_package: MakePackage
) -> None:
    make_package("other")
    configuration = configure(tmp_path, models=[tmp_path / "models"], imagery=[])
    check_models(prepare(configuration))
    other = create_application(configuration).test_client()
    for http, model in ((other, "other"), (client.http, "brightness"), (other, "other")):
        description: Any = http.get("/processes/classify-objects").json
        assert description["inputs"]["model"]["schema"]["enum"] == [model]
        conformance: Any = http.get("/conformance").json
        classes = conformance["conformsTo"]
        assert len(classes) == len(set(classes))


SCHEMA_WORDS = re.compile(
    "title|description|type|format|enum|default|example|nullable|readOnly|writeOnly|deprecated|multipleOf|pattern|minimum"
    "|maximum|exclusiveM(in|ax)imum|m(in|ax)(Length|Items|Properties)|uniqueItems|required|not|allOf|oneOf|anyOf|items"
    "|properties|additionalProperties|contentMediaType|contentEncoding|contentSchema"
)
"""What the schema of an input or an output may hold in OGC API - Processes 1.0, by its own `schema.yaml`."""


def _schemas(schema: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a schema and all those within it."""
    assert isinstance(schema, dict), f"{place} is {schema}"
    yield place, schema
    for word in ("allOf", "oneOf", "anyOf"):
        for number, part in enumerate(schema.get(word, ())):
            yield from _schemas(part, f"{place}/{word}/{number}")
    for name, part in schema.get("properties", {}).items():
        yield from _schemas(part, f"{place}/properties/{name}")
    for word in ("not", "items", "additionalProperties"):
        if word in schema and not (word == "additionalProperties" and isinstance(schema[word], bool)):
            yield from _schemas(schema[word], f"{place}/{word}")


def test_schemas_of_all_descriptions_hold_only_ogc_s_words(client: Client) -> None:
    count = 0
    for process in client.http.get("/processes").json["processes"]:
        description = client.http.get(f"/processes/{process['id']}").json
        for kind in ("inputs", "outputs"):
            for name, item in description[kind].items():
                for place, schema in _schemas(item["schema"], f"{process['id']}/{kind}/{name}"):
                    count += 1
                    assert all(SCHEMA_WORDS.fullmatch(word) for word in schema), place
                    assert isinstance(schema.get("type", "string"), str), place
                    assert schema.get("type") != "null", place
                    assert schema.get("enum", [1]), place
                    assert schema.get("required", ["a"]), place
                    assert None not in [*schema.get("enum", ()), schema.get("default", 0), schema.get("example", 0)], (
                        place
                    )
                    for word in ("exclusiveMinimum", "exclusiveMaximum"):
                        assert isinstance(schema.get(word, True), bool), place
    assert count > 40


def test_echo_is_described_word_for_word(client: Client, shared_data: Path) -> None:
    wanted = json.loads((SHARED / "conformance" / "echo.json").read_text())
    assert {name: value for name, value in Echo().describe().items() if name != "links"} == wanted
    described = client.http.get("/processes/echo").json
    assert {name: value for name, value in described.items() if name != "links"} == wanted


def test_echo(client: Client) -> None:
    assert client.execute("echo", {"echo": "teststring"}).data == b'["teststring"]'
    assert client.execute("echo", {"echo": ["a", "b"]}, {"Accept": "text/plain"}).data == b"a\nb"
    assert client.execute("echo", {"echo": "a"}, outputs={}).status_code == 200
    assert client.execute("echo", {"echo": "a", "text": {"type": "wrong/type"}}).status_code == 400
    assert client.execute("echo", {"echo": "a", "choice": True, "numbers": [1, 2], "pause": 0}).status_code == 200
    assert client.execute("echo", {"echo": "a", "area": {"bbox": [1, 2]}}).status_code == 400
    assert client.execute("echo", {"echo": "a"}, response="document").json == {"echo": ["a"]}


def test_an_asynchronous_job_is_told_of_until_its_result_is_there(client: Client, inputs: dict[str, Any]) -> None:
    response = client.execute("classify-objects", inputs, {"Prefer": "Respond-Async; foo=1"})
    assert response.status_code == 201
    assert response.json["status"] == "accepted"
    job = response.headers["Location"].removeprefix("http://localhost")
    deadline = time.monotonic() + 30
    while (status := client.http.get(job).json["status"]) != "successful":
        assert status in ("accepted", "running"), client.http.get(job).json
        assert time.monotonic() < deadline
        time.sleep(0.1)
    result = client.http.get(f"{job}/results", headers={"Accept": "application/json"}, buffered=True)
    assert result.json["features"][0]["properties"]["ClassStatus"] == "ok"
    assert client.execute("classify-objects", inputs | {"model": "no"}, {"Prefer": "respond-async"}).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nowhere", 404, "NotFound"),
        ("GET", "/processes/nothing", 404, OGC + "no-such-process"),
        ("POST", "/processes/nothing/execution", 404, OGC + "no-such-process"),
        ("GET", "/jobs/nothing", 404, OGC + "no-such-job"),
        ("GET", "/jobs/nothing/results", 404, OGC + "no-such-job"),
        ("DELETE", "/jobs/nothing", 404, OGC + "no-such-job"),
        ("GET", "/processes/echo/execution", 405, "MethodNotAllowed"),
        ("PUT", "/processes", 405, "MethodNotAllowed"),
        ("GET", "/collections/nothing", 404, "NotFound"),
        ("GET", "/processes?limit=none", 400, "InvalidParameterValue"),
        ("GET", "/processes?f=nonsense", 400, "InvalidParameterValue"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("accept", ["*/*", "text/html", "application/problem+json"])
def test_every_error_has_the_form(client: Client, method: str, path: str, status: int, kind: str, accept: str) -> None:
    body: Any = {"inputs": {}} if method == "POST" else None
    response = client.http.open(path, method=method, json=body, headers={"Accept": accept})
    assert response.status_code == status, response.text
    assert response.mimetype == ("application/problem+json" if "problem" in accept else "application/json")
    assert response.json["type"] == kind
    assert response.json["status"] == status
    assert response.json["detail"]
    if status == 405:
        assert "Allow" in response.headers


def test_other_media_types_of_requests_are_415(client: Client) -> None:
    response = client.http.post("/processes/echo/execution", data="echo=a", content_type="text/plain")
    assert response.status_code == 415
    assert response.json["type"] == "UnsupportedMediaType"


def test_a_body_over_the_limit_is_413_and_names_it(client: Client) -> None:
    response = client.execute("echo", {"echo": "x" * 2**21})
    assert response.status_code == 413
    assert "max_body_mb = 1" in response.json["detail"]


def test_nothing_is_left_behind(client: Client, home: Path, inputs: dict[str, Any]) -> None:
    client.execute("classify-objects", inputs)
    client.execute("classify-objects", inputs | {"cellSize": -1})
    client.execute("echo", {"echo": "a"})
    deadline = time.monotonic() + 30  # jobs of others may still be worked on
    while left := left_in(home / "state"):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
