"""Forms of a finished result beside its own, by an address with an ending."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pyogrio
import pytest
from werkzeug.serving import make_server

import processes.jobs.forms
from processes.features.writing.formats import FORMATS
from processes.jobs.files import FolderStorage
from rasters import box_around, to_map
from service import Client, link

COUNT = 5
ENDINGS = [item.ending for item in FORMATS]


@pytest.fixture(scope="module")
def asked(home: Path) -> dict[str, Any]:
    boxes: list[Any] = [to_map(box_around(10 + 8 * number, 20, 8, 8)) for number in range(COUNT)]
    features = [
        {
            "type": "Feature",
            "id": f"object {number}",
            "properties": {"n": number, "nested": {"a": [number]}, "id": number},
            "geometry": {"type": "Polygon", "coordinates": [[list(xy) for xy in box.exterior.coords]]},
        }
        for number, box in enumerate(boxes)
    ]
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    layer = {"type": "FeatureCollection", "crs": crs, "features": features}
    return {"image": link(home / "imagery" / "a.tif"), "features": layer, "model": "brightness"}


def job_of(client: Client, inputs: Any, media_type: str | None = None, **more: Any) -> str:
    """Return the path of a job that is done."""
    wanted = {"outputs": {"classifiedObjects": {"format": {"mediaType": media_type}}}}
    outputs: dict[str, Any] = {} if media_type is None else wanted
    response = client.execute("classify-objects", {**inputs, **more}, **outputs)
    assert response.status_code == 200, response.text
    return str(response.headers["Link"].partition(">")[0].removeprefix("<http://localhost"))


@pytest.fixture(scope="module")
def job(client: Client, asked: dict[str, Any]) -> str:
    return job_of(client, asked)


def get(client: Client, path: str, method: str = "GET", **headers: str) -> Any:
    return client.http.open(
        path, method=method, headers={name.replace("_", "-"): text for name, text in headers.items()}, buffered=True
    )


def content(body: bytes, ending: str, folder: Path) -> Any:
    """Return what is in a result, but its name."""
    path = folder / f"result{ending}"
    path.write_bytes(body)
    match ending:
        case ".geojson" | ".json":
            return {name: value for name, value in msgspec.json.decode(body).items() if name != "name"}
        case ".parquet":
            table = pq.read_table(path)
            return table.to_pylist(), dict(table.schema.metadata)
        case ".gpkg" | ".fgb":
            about, table = pyogrio.read_arrow(path)
            return table.to_pylist(), about["crs"], about["fields"].tolist(), about["geometry_type"]
        case _:
            return body


@pytest.mark.parametrize("output_format", FORMATS, ids=ENDINGS)
def test_a_form_is_what_a_request_for_its_format_gives(
    client: Client, asked: dict[str, Any], job: str, output_format: Any, tmp_path: Path
) -> None:
    form = get(client, f"{job}/results/classifiedObjects{output_format.ending}")
    assert form.status_code == 200, form.text
    assert form.mimetype == output_format.media_type
    wanted = get(client, f"{job_of(client, asked, output_format.media_type)}/results")
    assert form.headers.get("Content-Crs") == wanted.headers.get("Content-Crs")
    ending = output_format.ending
    assert content(form.data, ending, tmp_path) == content(wanted.data, ending, tmp_path)
    again = get(client, f"{job}/results/classifiedObjects{ending}")
    assert again.data == form.data
    assert again.headers["Content-Disposition"].endswith(ending)


def test_a_result_in_any_format_has_all_forms(client: Client, asked: dict[str, Any], job: str) -> None:
    """A table has no geometry, but its objects have."""
    table = job_of(client, asked, "application/json", outputCrs="EPSG:25833")
    forms = [get(client, f"{path}/results/classifiedObjects.geojson").json["features"] for path in (job, table)]
    assert forms[0] == forms[1]
    form = get(client, f"{table}/results/classifiedObjects.gpkg", "HEAD")
    assert form.headers["Content-Crs"] == "<http://www.opengis.net/def/crs/EPSG/0/25833>"


def test_parts_and_conditions_of_a_form(client: Client, job: str) -> None:
    path = f"{job}/results/classifiedObjects.gpkg"
    whole = get(client, path)
    head = get(client, path, "HEAD")
    assert int(head.headers["Content-Length"]) == len(whole.data)
    etag = whole.headers["ETag"]
    assert etag != get(client, f"{job}/results/classifiedObjects.fgb").headers["ETag"]
    part = get(client, path, Range="bytes=0-15", If_Range=etag)
    assert (part.status_code, part.data) == (206, b"SQLite format 3\0")
    assert part.headers["Content-Range"] == f"bytes 0-15/{len(whole.data)}"
    assert get(client, path, If_None_Match=etag).status_code == 304
    assert get(client, path, If_Match='"other"').status_code == 412
    assert get(client, path, Range=f"bytes={len(whole.data)}-").status_code == 416


def test_the_form_that_the_job_asked_for_is_its_result(client: Client, job: str) -> None:
    own, form = get(client, f"{job}/results"), get(client, f"{job}/results/classifiedObjects.geojson")
    assert (own.data, own.headers["ETag"]) == (form.data, form.headers["ETag"])


def test_a_table_has_the_forms_of_tables(client: Client, home: Path) -> None:
    job = job_of(client, {"image": link(home / "imagery" / "plain.png"), "model": "brightness"})
    for ending, status in zip(ENDINGS, (404, 200, 404, 200, 404, 200, 200), strict=True):
        response = get(client, f"{job}/results/classifiedObjects{ending}")
        assert response.status_code == status, ending
        if status == 404:
            assert "give a table, which can have the endings" in response.json["detail"]


def test_what_is_no_form_is_not_found(client: Client, job: str) -> None:
    for name in ("classifiedObjects.shp", "classifiedObjects.", "classifiedObjects.GPKG", "other.gpkg", ".gpkg"):
        response = get(client, f"{job}/results/{name}")
        assert (response.status_code, response.json["type"]) == (404, "NotFound"), name
    assert ".parquet" in get(client, f"{job}/results/classifiedObjects.shp").json["detail"]
    assert get(client, f"{job}/results/classifiedObjects.gpkg/").status_code == 404


def test_forms_go_with_their_result(client: Client, asked: dict[str, Any]) -> None:
    job = job_of(client, asked)
    assert get(client, f"{job}/results/classifiedObjects.csv").status_code == 200
    assert get(client, job, "DELETE").status_code == 200
    for ending in (".csv", ".gpkg", ".geojson"):
        assert get(client, f"{job}/results/classifiedObjects{ending}").status_code == 410


def test_results_of_earlier_versions_have_their_own_form(client: Client, asked: dict[str, Any]) -> None:
    job = job_of(client, asked)
    storage = client.intake.storage
    assert isinstance(storage, FolderStorage)
    for stored in (storage.folder / job.rpartition("/")[2] / "forms").iterdir():
        stored.unlink()
    response = get(client, f"{job}/results/classifiedObjects.gpkg")
    assert (response.status_code, response.json["type"]) == (404, "NotFound")
    assert "earlier version" in response.json["detail"]
    assert get(client, f"{job}/results/classifiedObjects.geojson").status_code == 200


def test_a_form_is_made_once_by_a_process_of_its_own(
    client: Client, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, started = job_of(client, asked), []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            started.append(args)
            super().__init__(*args, **options)

    monkeypatch.setattr(processes.jobs.forms, "_SMALL_BYTES", 0)
    monkeypatch.setattr(subprocess, "Popen", Popen)
    found: list[Any] = []
    path = f"{job}/results/classifiedObjects.gpkg"

    def ask() -> None:
        found.append(client.http.application.test_client().get(path, buffered=True))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [response.status_code for response in found] == [200] * 4
    assert len({response.data for response in found}) == 1
    assert len(started) == 1
    assert list((client.intake.settings.state / "forms").glob("tmp*")) == []


@pytest.fixture(scope="module")
def address(client: Client) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, client.http.application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()


def test_gdal_opens_a_form_by_its_address(job: str, address: str) -> None:
    """GDAL 3.6 and newer tell a GeoPackage from other SQLite by the ending, also at an address."""
    endings = [".gpkg", ".fgb", ".geojson", ".csv"]
    paths = [f"/vsicurl/{address}{job}/results/classifiedObjects{ending}" for ending in endings]
    program = (
        "import sys, json, pyogrio\n"
        "found = [pyogrio.read_info(path, force_feature_count=True) for path in sys.argv[1:]]\n"
        "print(json.dumps([[about['driver'], about['features'], list(about['fields'])] for about in found]))"
    )  # in a process of its own, as pyogrio holds the interpreter's lock while it waits for the server
    output = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, check=True, timeout=60).stdout
    found = json.loads(output)
    assert [row[:2] for row in found] == [[name, COUNT] for name in ("GPKG", "FlatGeobuf", "GeoJSON", "CSV")]
    assert all("ClassLabel" in fields for _, _, fields in found)


# styles


def test_styles_of_a_result(client: Client, job: str) -> None:
    styles = {ending: get(client, f"{job}/results/style.{ending}") for ending in ("qml", "sld", "json")}
    assert all(response.status_code == 200 for response in styles.values())
    assert styles["qml"].text.startswith("<!DOCTYPE qgis")
    assert "PolygonSymbolizer" in styles["sld"].text
    style = styles["json"].json
    (source,) = style["sources"].values()
    assert source["data"] == f"http://localhost{job}/results/classifiedObjects.geojson"
    summary = get(client, job).json["summary"]
    assert all(item["color"] in str(style["layers"]) for item in summary["classes"])
    etag = styles["qml"].headers["ETag"]
    assert get(client, f"{job}/results/style.qml", If_None_Match=etag).status_code == 304
    assert get(client, f"{job}/results/style.css").status_code == 404


def test_a_table_has_no_style(client: Client, home: Path) -> None:
    job = job_of(client, {"image": link(home / "imagery" / "plain.png"), "model": "brightness"})
    response = get(client, f"{job}/results/style.qml")
    assert (response.status_code, response.json["type"]) == (404, "NotFound")
    get(client, job, "DELETE")
    assert get(client, f"{job}/results/style.qml").status_code == 410


def test_objects_of_several_types_have_a_style_for_maps_only(client: Client, asked: dict[str, Any]) -> None:
    features = asked["features"]["features"]
    point = {"type": "Point", "coordinates": features[0]["geometry"]["coordinates"][0][0]}
    mixed = {**asked["features"], "features": [*features, {**features[0], "id": "p", "geometry": point}]}
    job = job_of(client, {**asked, "features": mixed})
    statuses = [get(client, f"{job}/results/style.{ending}").status_code for ending in ("qml", "sld", "json")]
    assert statuses == [404, 404, 200]
