"""Bad requests: status and words, every fault at once, never a 500, never a server's path."""

from __future__ import annotations

import base64
import json
import sqlite3
import time
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyogrio
import pytest
import rasterio
import shapely

from conftest import definition, save_mean_network
from rasters import make_raster
from service import Client, configure, link, load_application

OURS = ("/tmp/", "pytest-", "site-packages", "Traceback", ".py")  # noqa: S108 - none of it may be in an answer


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with models, imagery and layers, sound and broken."""
    home = tmp_path_factory.mktemp("home")
    for name in ("models", "imagery", "secret"):
        (home / name).mkdir()
    _save_model(home / "models" / "brightness")
    _save_model(home / "models" / "black", BlackenAroundFeature=1)
    _save_model(home / "models" / "black-box", BlackenAroundFeature=1, CropSizeFixed=0)
    _save_model(home / "models" / "keras", ModelFile="C:\\Models\\Damage_V7.h5")
    (home / "models" / "torn.dlpk").write_bytes(b"PK\x03\x04 torn")
    imagery = home / "imagery"
    image = make_raster(imagery / "a.tif", width=64, height=48)
    make_raster(imagery / "one-band.tif", bands=1)
    make_raster(imagery / "other-crs.tif", crs="EPSG:32634")
    make_raster(imagery / "plain.png", crs=None, driver="PNG")
    (imagery / "empty.tif").write_bytes(b"")
    (imagery / "torn.tif").write_bytes(image.read_bytes()[:3000])
    (imagery / "text.tif").write_text("no image at all")
    (imagery / "virtual.tif").write_text(
        f'<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{image}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    (imagery / "link.tif").symlink_to(make_raster(home / "secret" / "b.tif"))
    with rasterio.open(image) as dataset:
        left, bottom, right, top = dataset.bounds
    x, y = (left + right) / 2, (bottom + top) / 2
    for name, text in {
        "boxes.geojson": _collection([_box(x, y)], "EPSG:32633"),
        "collection.geojson": _collection([{"type": "GeometryCollection", "geometries": []}], "EPSG:32633"),
        "taken.geojson": _collection([_box(x, y)], "EPSG:32633", {"classlabel": "x"}),
        "image-id.geojson": _collection([_box(x, y)], "EPSG:32633", {"imageid": "x"}),
        "torn.geojson": _collection([_box(x, y)])[:60],
        "list.geojson": b"[]",
        "empty.geojson": b"",
        "no-crs.geojson": _collection([_box(x, y)], "EPSG:999999"),
        "torn.gpkg": b"SQLite format 3\x00" + b"\x00" * 100,
        "text.gpkg": b"no layer",
    }.items():
        (imagery / name).write_bytes(text)
    return home


def _save_model(folder: Path, **changes: Any) -> None:
    folder.mkdir()
    save_mean_network(folder / "net.onnx", 3, None)
    (folder / "model.emd").write_bytes(msgspec.json.encode(definition(**changes)))


def _box(x: float, y: float) -> dict[str, Any]:
    ring = [[x - 2, y - 2], [x + 2, y - 2], [x + 2, y + 2], [x - 2, y + 2], [x - 2, y - 2]]
    return {"type": "Polygon", "coordinates": [ring]}


def _collection(geometries: list[Any], crs: str | None = None, properties: Any = None) -> bytes:
    features = [{"type": "Feature", "geometry": item, "properties": properties or {"n": 1}} for item in geometries]
    member = {"crs": {"type": "name", "properties": {"name": crs}}} if crs else {}
    return msgspec.json.encode({"type": "FeatureCollection", "features": features, **member})


@pytest.fixture(scope="module")
def client(home: Path) -> Client:
    limits = {"max_images": 3, "max_objects": 5, "max_image_pixels": 10_000, "sync_max_objects": 4}
    return Client(
        load_application(configure(home, models=[home / "models"], imagery=[home / "imagery"], limits=limits))
    )


@pytest.fixture
def sound(home: Path) -> dict[str, Any]:
    """Return inputs that are in order."""
    return {
        "image": link(home / "imagery" / "a.tif"),
        "features": link(home / "imagery" / "boxes.geojson"),
        "model": "brightness",
    }


def test_the_sound_request_is_answered(client: Client, sound: dict[str, Any]) -> None:
    response = client.execute("classify-objects", sound)
    assert response.status_code == 200, response.text
    assert response.json["features"][0]["properties"]["ClassStatus"] == "ok"


REMOVED = object()

BAD_INPUTS: list[tuple[str, dict[str, Any], int, str, str]] = [
    # name, changes of the sound inputs (text of image and features: file in the imagery folder), status, pointer, words
    ("no image", {"image": REMOVED}, 400, "/inputs", "input image is missing"),
    ("no model", {"model": REMOVED}, 400, "/inputs", "input model is missing"),
    ("empty image list", {"image": []}, 400, "/inputs/image", "image has no value"),
    ("image of wrong type", {"image": 7}, 400, "/inputs/image", "7 is no image"),
    ("image as text", {"image": "a.tif"}, 400, "/inputs/image", "is no image"),
    ("image link without href", {"image": [{"hrf": "x"}]}, 400, "/inputs/image/0", "is no image"),
    ("unknown input", {"colour": "red"}, 400, "/inputs/colour", "the inputs are image, features, model"),
    ("unknown model", {"model": "nothing"}, 400, "/inputs/model", "installed are: black, black-box, brightness"),
    ("model of wrong type", {"model": 7}, 400, "/inputs/model", "not of type string"),
    ("two models", {"model": ["brightness", "keras"]}, 400, "/inputs/model", "not of type string"),
    ("model as link", {"model": {"href": "file:///x"}}, 400, "/inputs/model", "cannot be given as a link"),
    ("model not ONNX", {"model": "keras"}, 400, "/inputs/model", "the network must be ONNX"),
    ("broken package", {"model": "torn"}, 400, "/inputs/model", "not a sound zip"),
    ("unknown argument", {"modelArguments": {"b": 1}}, 400, "/inputs/modelArguments/b", "batch_size, score_threshold"),
    ("argument that does not parse", {"modelArguments": {"batch_size": "four"}}, 400, "/inputs/modelArguments/batch_size", "not a number"),
    ("argument out of range", {"modelArguments": {"score_threshold": 2}}, 400, "/inputs/modelArguments/score_threshold", "from 0 to 1"),
    ("number as boolean", {"modelArguments": {"class_scores": 1}}, 400, "/inputs/modelArguments/class_scores", "neither true nor false"),
    ("arguments as list", {"modelArguments": [1]}, 400, "/inputs/modelArguments", "not of type object"),
    ("label field with a blank", {"classLabelField": "class label"}, 400, "/inputs/classLabelField", "does not match"),
    ("cell size 0", {"cellSize": 0}, 400, "/inputs/cellSize", "more than 0"),
    ("cell size as text", {"cellSize": "big"}, 400, "/inputs/cellSize", "not of type number"),
    ("unknown processor", {"processorType": "TPU"}, 400, "/inputs/processorType", "CPU, GPU"),
    ("GPU where there is none", {"processorType": "GPU"}, 400, "/inputs/processorType", "this server"),
    ("unknown CRS", {"outputCrs": "EPSG:0"}, 400, "/inputs/outputCrs", "there is no CRS"),
    ("CRS that GeoJSON cannot have", {"outputCrs": "EPSG:3857"}, 400, "/inputs/outputCrs", "GeoJSON is always"),
    ("missing file", {"image": "nothing.tif"}, 400, "/inputs/image/href", "there is no file"),
    ("empty image", {"image": "empty.tif"}, 400, "/inputs/image/href", "cannot be opened"),
    ("truncated image", {"image": "torn.tif"}, 400, "/inputs/image", "cannot be"),
    ("text as image", {"image": "text.tif"}, 400, "/inputs/image/href", "not a sound GeoTIFF"),
    ("VRT as image", {"image": "virtual.tif"}, 400, "/inputs/image/href", "not a sound GeoTIFF"),
    ("too few bands", {"image": "one-band.tif"}, 400, "/inputs/image/href", "has 1 bands, the model 'brightness' needs 3"),
    ("image without reference and features", {"image": "plain.png"}, 400, "/inputs/image/href", "no spatial reference"),
    ("scheme", {"image": {"href": "ftp://example.org/a.tif"}}, 403, "/inputs/image/href", "scheme 'ftp'"),
    ("GDAL's own scheme", {"image": {"href": "/vsicurl/http://x/a.tif"}}, 403, "/inputs/image/href", "scheme ''"),
    ("folder outside", {"image": {"href": "file:///etc/passwd"}}, 403, "/inputs/image/href", "not below a folder"),
    ("dots", {"image": "../secret/b.tif"}, 403, "/inputs/image/href", "not below a folder"),
    ("link out of the folder", {"image": "link.tif"}, 403, "/inputs/image/href", "not below a folder"),
    ("host", {"image": {"href": "http://169.254.169.254/a.tif"}}, 403, "/inputs/image/href", "does not allow links to the host"),
    ("zero byte", {"image": {"href": "file:///a%00.tif"}}, 400, "/inputs/image/href", "zero byte"),
    ("not base64", {"image": {"value": "%%%", "encoding": "base64", "mediaType": "image/png"}}, 400, "/inputs/image/value", "not base64"),
    ("inline image of another kind", {"image": {"value": "", "encoding": "base64", "mediaType": "image/gif"}}, 400, "/inputs/image", "image/png"),
    ("features of wrong type", {"features": 7}, 400, "/inputs/features", "neither a GeoJSON"),
    ("features not a collection", {"features": {"type": "Feature"}}, 400, "/inputs/features", "FeatureCollection"),
    ("missing layer", {"features": "nothing.geojson"}, 400, "/inputs/features/href", "there is no file"),
    ("empty layer file", {"features": "empty.geojson"}, 400, "/inputs/features/href", "the file is empty"),
    ("truncated layer", {"features": "torn.geojson"}, 400, "/inputs/features/href", "not JSON"),
    ("JSON that is no layer", {"features": "list.geojson"}, 400, "/inputs/features/href", "FeatureCollection"),
    ("geometry collection", {"features": "collection.geojson"}, 400, "/inputs/features/href", "feature 1 is a GeometryCollection"),
    ("field that is there already", {"features": "taken.geojson"}, 400, "/inputs/features", "'classlabel' already"),
    ("layer of unknown CRS", {"features": "no-crs.geojson"}, 400, "/inputs/features/href", "there is no CRS"),
    ("broken GeoPackage", {"features": "torn.gpkg"}, 400, "/inputs/features/href", "not a sound GeoPackage"),
    ("text as GeoPackage", {"features": "text.gpkg"}, 400, "/inputs/features/href", "not a GeoJSON or a GeoPackage"),
    ("extent as list", {"extent": [1, 2, 3, 4]}, 400, "/inputs/extent", "not of type object"),
    ("extent without bbox", {"extent": {"crs": "EPSG:4326"}}, 400, "/inputs/extent", "bbox is a required property"),
    ("extent with more", {"extent": {"bbox": [1, 2, 3, 4], "height": 5}}, 400, "/inputs/extent", "its members are bbox, crs"),
    ("extent of three numbers", {"extent": {"bbox": [1, 2, 3]}}, 400, "/inputs/extent/bbox", "at least 4"),
    ("extent of five numbers", {"extent": {"bbox": [1, 2, 3, 4, 5]}}, 400, "/inputs/extent/bbox", "has 5 numbers"),
    ("extent of seven numbers", {"extent": {"bbox": [1, 2, 3, 4, 5, 6, 7]}}, 400, "/inputs/extent/bbox", "at most 6"),
    ("extent of texts", {"extent": {"bbox": ["1", 2, 3, 4]}}, 400, "/inputs/extent/bbox/0", "not of type number"),
    ("extent of nulls", {"extent": {"bbox": [None, 2, 3, 4]}}, 400, "/inputs/extent/bbox/0", "not of type number"),
    ("extent upside down", {"extent": {"bbox": [1, 4, 3, 2]}}, 400, "/inputs/extent/bbox", "southern edge 4 lies north"),
    ("extent from east to west on a plane", {"extent": {"bbox": [3, 1, 2, 4], "crs": "EPSG:32633"}}, 400, "/inputs/extent/bbox", "western edge 3 lies east"),
    ("extent of unknown CRS", {"extent": {"bbox": [1, 2, 3, 4], "crs": "EPSG:99"}}, 400, "/inputs/extent/crs", "there is no CRS"),
    ("extent of a vertical CRS", {"extent": {"bbox": [1, 2, 3, 4], "crs": "EPSG:5773"}}, 400, "/inputs/extent/crs", "no CRS of places"),
    ("extent with a CRS that is no text", {"extent": {"bbox": [1, 2, 3, 4], "crs": 4326}}, 400, "/inputs/extent/crs", "not of type string"),
    ("extent as link", {"extent": {"href": "file:///x"}}, 400, "/inputs/extent", "cannot be given as a link"),
    ("extent with an image without reference", {"extent": {"bbox": [1, 2, 3, 4]}, "image": "plain.png", "features": REMOVED}, 400, "/inputs/image/href", "with an extent every image needs one"),
    ("unknown mode", {"processingMode": "MOSAIC"}, 400, "/inputs/processingMode", "mosaic, separate"),
    ("empty result name", {"resultName": ""}, 400, "/inputs/resultName", "does not match"),
    ("result name with a path", {"resultName": "../x"}, 400, "/inputs/resultName", "does not match"),
    ("long result name", {"resultName": "x" * 65}, 400, "/inputs/resultName", "does not match"),
    ("result name with a line feed", {"resultName": "x\n"}, 400, "/inputs/resultName", "does not match"),
    ("label field with a line feed", {"classLabelField": "Label\n"}, 400, "/inputs/classLabelField", "does not match"),
    ("parallel factor below 0", {"parallelProcessingFactor": -1}, 400, "/inputs/parallelProcessingFactor", "integer of 0 or more"),
    ("parallel factor as a fraction", {"parallelProcessingFactor": 0.5}, 400, "/inputs/parallelProcessingFactor", "not a valid string"),
    ("parallel factor of other words", {"parallelProcessingFactor": "80 %"}, 400, "/inputs/parallelProcessingFactor", "not a valid string"),
    ("parallel factor of five digits", {"parallelProcessingFactor": "10000%"}, 400, "/inputs/parallelProcessingFactor", "not a valid string"),
    ("parallel factor true", {"parallelProcessingFactor": True}, 400, "/inputs/parallelProcessingFactor", "not a valid string"),
    ("recycle interval below 0", {"recycleInterval": -1}, 400, "/inputs/recycleInterval", "must be 0 or more"),
    ("recycle interval as text", {"recycleInterval": "5"}, 400, "/inputs/recycleInterval", "not of type integer"),
    ("too many retries", {"retries": 11}, 400, "/inputs/retries", "must be 10 or less"),
    ("retries as a fraction", {"retries": 1.5}, 400, "/inputs/retries", "not of type integer"),
    ("image ID that is there already", {"features": "image-id.geojson", "processingMode": "separate"}, 400, "/inputs/features", "'imageid' already; rename it"),
]  # fmt: skip


def _linked(value: Any, home: Path) -> Any:
    if not isinstance(value, str) or "." not in value:
        return value
    return {"href": f"file://{home}/imagery/{value}"}


@pytest.mark.parametrize(
    "changes",
    [{"parallelProcessingFactor": value} for value in (0, 1, 10**9, "0", "7", "9999", "0%", "80%", "100%", "9999%")]
    + [{"recycleInterval": 0}, {"recycleInterval": 10**6}, {"retries": 0}, {"retries": 10}]
    + [{"parallelProcessingFactor": 2.0}, {"recycleInterval": 1e1}, {"retries": 1.0}, {"cellSize": 1}]
    + [{"modelArguments": {"batch_size": size}} for size in (1.0, 2e0, "1.0")]
    + [{"resultName": "x" * 64}, {"resultName": "-"}, {"resultName": "gpkg_contents"}, {"resultName": {"value": "a"}}]
    + [{"processingMode": "mosaic"}, {"processingMode": {"value": "separate"}}],
    ids=str,
)
def test_good_options(client: Client, sound: dict[str, Any], changes: dict[str, Any]) -> None:
    response = client.execute("classify-objects", sound | changes)
    assert response.status_code == 200, response.text
    assert response.json["features"][0]["properties"]["ClassStatus"] == "ok"


@pytest.mark.parametrize(
    ("changes", "status", "pointer", "words"), [row[1:] for row in BAD_INPUTS], ids=[row[0] for row in BAD_INPUTS]
)
def test_bad_inputs(
    client: Client, home: Path, sound: dict[str, Any], changes: dict[str, Any], status: int, pointer: str, words: str
) -> None:
    for name, value in changes.items():
        if value is REMOVED:
            del sound[name]
        else:
            sound[name] = _linked(value, home) if name in ("image", "features") and value != "a.tif" else value
    response = client.execute("classify-objects", sound)
    assert response.status_code == status, response.text
    _assert_problem(response, status)
    faults = {fault["pointer"]: fault["detail"] for fault in response.json["errors"]}
    assert words in faults[pointer], faults


def test_after_bad_requests_good_ones_are_answered(client: Client, home: Path, sound: dict[str, Any]) -> None:
    changes = ("image", "torn.tif"), ("image", "virtual.tif"), ("features", "torn.gpkg"), ("features", "torn.geojson")
    for name, value in changes:
        assert client.execute("classify-objects", sound | {name: _linked(value, home)}).status_code == 400
        assert client.execute("classify-objects", sound).status_code == 200
    assert client.execute("echo", {"echo": "still there"}).status_code == 200


def _assert_problem(response: Any, status: int) -> None:
    document = response.json
    assert set(document) >= {"type", "title", "status", "detail", "instance"}
    assert document["status"] == status
    assert response.mimetype == "application/json"
    text = _without_links(response.text)
    assert not [word for word in OURS if word in text], response.text


def _without_links(text: str) -> str:
    """Return an answer without the client's own links, which it may quote."""
    return " ".join(word for word in text.replace('"', " ").split() if not word.startswith("file://"))


def test_all_faults_of_a_request_are_told_at_once(client: Client, home: Path) -> None:
    inputs = {
        "image": [{"href": "ftp://example.org/a.tif"}, link(home / "imagery" / "empty.tif"), 7],
        "features": {"href": f"file://{home}/imagery/nothing.geojson"},
        "model": "nothing",
        "cellSize": -1,
        "classLabelField": "1",
        "colour": "red",
    }
    response = client.execute("classify-objects", inputs, outputs={"labels": {}}, response="pretty")
    assert response.status_code == 400
    pointers = {fault["pointer"] for fault in response.json["errors"]}
    assert pointers == {
        "/inputs/image/0/href",
        "/inputs/image/1/href",
        "/inputs/image/2",
        "/inputs/features/href",
        "/inputs/model",
        "/inputs/cellSize",
        "/inputs/classLabelField",
        "/inputs/colour",
        "/outputs/labels",
        "/response",
    }


def test_faults_that_need_the_files_are_told_at_once_too(client: Client, home: Path, sound: dict[str, Any]) -> None:
    images = [link(home / "imagery" / name) for name in ("plain.png", "one-band.tif")]
    inputs = sound | {
        "image": images,
        "features": link(home / "imagery" / "taken.geojson"),
        "outputCrs": {"value": "EPSG:3857"},
    }
    response = client.execute("classify-objects", inputs, headers={"Accept": "application/geo+json"})
    assert response.status_code == 400
    assert sorted(fault["pointer"] for fault in response.json["errors"]) == [
        "/inputs/features",
        "/inputs/image/0/href",
        "/inputs/image/1/href",
        "/inputs/outputCrs",
    ]


def test_faults_in_qualified_values_point_into_them(client: Client, sound: dict[str, Any]) -> None:
    inputs = sound | {
        "extent": {"value": {"bbox": [1, 4, 3, 2], "crs": "EPSG:4326"}},
        "modelArguments": {"value": {"colour": 1}},
        "cellSize": {"value": 0},
        "model": {"value": "brightness"},
    }
    response = client.execute("classify-objects", inputs)
    assert {fault["pointer"] for fault in response.json["errors"]} == {
        "/inputs/extent/value/bbox",
        "/inputs/modelArguments/value/colour",
        "/inputs/cellSize/value",
    }


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no body"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "not an execute request"),
        (b"7", "not an execute request"),
        (b'{"inputs": []}', "inputs is not an object"),
        (b'{"inputs": ' + b'{"a":' * 9000 + b"1" + b"}" * 9000 + b"}", "not"),
    ],
)
def test_bodies_that_are_no_request(client: Client, body: bytes, words: str) -> None:
    response = client.http.post("/processes/classify-objects/execution", data=body, content_type="application/json")
    assert response.status_code == 400
    _assert_problem(response, 400)
    assert words in response.json["detail"]


def test_byte_order_mark_before_a_body_is_skipped(client: Client, sound: dict[str, Any]) -> None:
    """RFC 8259 lets a reader do so; editors and .NET write it."""
    body = json.dumps({"inputs": sound}).encode("utf-8-sig")
    for path in ("execution", "validate"):
        url = f"/processes/classify-objects/{path}"
        with client.http.post(url, data=body, content_type="application/json") as response:
            assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    ("outputs", "pointer", "words"),
    [
        ({"nothing": {}}, "/outputs/nothing", "the outputs are classifiedObjects"),
        ({"classifiedObjects": 1}, "/outputs/classifiedObjects", "by an object"),
        ({"classifiedObjects": {"format": {"mediaType": "text/html"}}}, "/outputs/classifiedObjects/format/mediaType", "the formats are application/geo+json"),
        ({"classifiedObjects": {"transmissionMode": "telepathy"}}, "/outputs/classifiedObjects/transmissionMode", "neither value nor reference"),
        ([], "/outputs", "not an object"),
    ],
)  # fmt: skip
def test_bad_outputs(client: Client, sound: dict[str, Any], outputs: Any, pointer: str, words: str) -> None:
    response = client.execute("classify-objects", sound, outputs=outputs)
    assert response.status_code == 400
    assert {fault["pointer"]: words in fault["detail"] for fault in response.json["errors"]} == {pointer: True}


@pytest.mark.parametrize("media_type", ["TEXT/csv", "text/csv; charset=utf-8", " text/csv "])
def test_a_format_is_known_in_any_case_and_with_parameters(
    client: Client, sound: dict[str, Any], media_type: str
) -> None:
    outputs = {"classifiedObjects": {"format": {"mediaType": media_type}}}
    response = client.execute("classify-objects", sound, outputs=outputs)
    assert (response.status_code, response.mimetype) == (200, "text/csv")


def test_limits_are_named_with_their_values(client: Client, home: Path, sound: dict[str, Any]) -> None:
    images = [link(home / "imagery" / "a.tif")] * 4
    points = [{"type": "Point", "coordinates": [15, 45]}]
    cases = [
        ({"image": images}, "max_images = 3"),
        ({"features": json.loads(_collection(points * 6))}, "max_objects = 5"),
        ({"features": json.loads(_collection(points * 5))}, "5 objects in one synchronous request"),
        ({"features": json.loads(_collection(points * 5))}, "sync_max_objects = 4"),
    ]
    for changes, words in cases:
        response = client.execute("classify-objects", sound | changes)
        assert response.status_code == 413, response.text
        assert words in response.json["detail"]
        assert response.json["type"] == "TooLarge"
    large = make_raster(home / "imagery" / "large.tif", width=200, height=100)
    response = client.execute("classify-objects", sound | {"image": link(large)})
    assert response.status_code == 413
    assert "max_image_pixels = 10000" in response.json["detail"]


def test_absurd_sizes_cost_little_and_give_a_chip(client: Client, sound: dict[str, Any]) -> None:
    for cell_size in (6000, 1e6, 1e300):
        start_s = time.monotonic()
        response = client.execute("classify-objects", sound | {"cellSize": cell_size})
        assert response.status_code == 200, response.text
        assert response.json["features"][0]["properties"]["ClassStatus"] == "ok"
        assert time.monotonic() - start_s < 5


@pytest.mark.parametrize("reach_m", [1e5, 1e9, 1e300])
def test_absurd_polygons_cost_little(client: Client, home: Path, sound: dict[str, Any], reach_m: float) -> None:
    with rasterio.open(home / "imagery" / "a.tif") as dataset:
        x, y = map(float, dataset.xy(20, 30))
    parts = [
        [
            [
                [x + dx, y - reach_m],
                [x + dx + 0.1, y - reach_m],
                [x + dx + 0.1, y + reach_m],
                [x + dx, y + reach_m],
                [x + dx, y - reach_m],
            ]
        ]
        for dx in (-1, 1)
    ]
    many = [_box(x + 0.01 * n, y)["coordinates"] for n in range(3000)]
    shapes = [
        _ring_box(x, y, reach_m),
        {"type": "MultiPolygon", "coordinates": parts},
        {"type": "MultiPolygon", "coordinates": many},
    ]
    features = json.loads(_collection(shapes, "EPSG:32633"))
    for model in ("black", "black-box"):
        start_s = time.monotonic()
        response = client.execute("classify-objects", sound | {"features": features, "model": model})
        assert response.status_code == 200, response.text
        assert time.monotonic() - start_s < 20


def _ring_box(x: float, y: float, reach: float) -> dict[str, Any]:
    ring = [
        [x - reach, y - reach],
        [x + reach, y - reach],
        [x + reach, y + reach],
        [x - reach, y + reach],
        [x - reach, y - reach],
    ]
    return {"type": "Polygon", "coordinates": [ring]}


def test_a_geopackage_whose_contents_are_an_endless_view_is_refused(
    client: Client, home: Path, sound: dict[str, Any]
) -> None:
    path = home / "imagery" / "endless.gpkg"
    table = pa.table({"n": [1], "geom": [shapely.to_wkb(shapely.box(0, 0, 1, 1))]})
    pyogrio.write_arrow(
        table, path, layer="a", driver="GPKG", geometry_name="geom", geometry_type="Polygon", crs="EPSG:32633"
    )
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA legacy_alter_table = ON")
        database.execute("ALTER TABLE gpkg_contents RENAME TO hidden")
        database.execute(
            "CREATE VIEW gpkg_contents AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) "
            "SELECT hidden.* FROM hidden, r WHERE r.n < 0"
        )
        database.commit()
    start_s = time.monotonic()
    response = client.execute("classify-objects", sound | {"features": link(path)})
    assert response.status_code == 400
    assert time.monotonic() - start_s < 5


@pytest.mark.parametrize(
    ("changes", "status", "pointer"),
    [
        ({"image": {"value": "", "encoding": "base64", "mediaType": []}}, 400, "/inputs/image"),
        ({"image": {"href": "file:///{imagery}/" + "x" * 300 + ".tif"}}, 400, "/inputs/image/href"),
        ({"image": {"href": "file:///{imagery}/" + "x" * 300 + "/"}}, 400, "/inputs/image/href"),
        ({"features": {"href": "file:///{imagery}/" + "x/" * 3000 + "a.gpkg"}}, 400, "/inputs/features/href"),
        ({"features": REMOVED, "classLabelField": "imageid"}, 400, "/inputs/classLabelField"),
    ],
    ids=["media type a list", "long name", "long folder", "long path", "field of another name"],
)
def test_odd_values(
    client: Client, home: Path, sound: dict[str, Any], changes: dict[str, Any], status: int, pointer: str
) -> None:
    for name, value in changes.items():
        if value is REMOVED:
            del sound[name]
        elif isinstance(value, dict) and "href" in value:
            sound[name] = {"href": value["href"].replace("/{imagery}", str(home / "imagery"))}
        else:
            sound[name] = value
    response = client.execute("classify-objects", sound)
    assert response.status_code == status, response.text
    assert pointer in {fault["pointer"] for fault in response.json["errors"]}


@pytest.mark.parametrize(
    "text",
    [
        b'{"inputs": {"image": {"href": "a"}, "model": "brightness", "cellSize": 1e400}}',
        b'{"inputs": {"image": {"href": "a"}, "model": "\xff"}}',
    ],
    ids=["endless number", "not UTF-8"],
)
def test_values_that_json_readers_choke_on(client: Client, text: bytes) -> None:
    response = client.http.post("/processes/classify-objects/execution", data=text, content_type="application/json")
    assert response.status_code == 400, response.text


@pytest.mark.parametrize(
    ("request_text", "pointer", "words"),
    [
        (b'{"inputs": {"image": [' + b"1," * 2**20 + b"1]}}", "/inputs/image", "1048576 values at most"),
        (
            b'{"inputs": {' + b",".join(b'"a%d":1' % number for number in range(2**17)) + b"}}",
            "/inputs",
            "other names than image, features, model",
        ),
        (b'{"inputs": {"modelArguments": [' + b"{}," * 2**19 + b"1]}}", "/inputs/modelArguments", "1048576 bytes"),
        (b'{"inputs": {}, "outputs": [' + b"{}," * 2**19 + b"1]}", "/outputs", "1048576 bytes"),
    ],
    ids=["images", "names", "arguments", "outputs"],
)
def test_a_large_request_that_makes_no_sense_costs_no_more_than_its_text(
    client: Client, request_text: bytes, pointer: str, words: str
) -> None:
    tracemalloc.start()
    response = client.http.post(
        "/processes/classify-objects/execution", data=request_text, content_type="application/json"
    )
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert response.status_code == 400
    assert any(fault["pointer"] == pointer and words in fault["detail"] for fault in response.json["errors"])
    assert peak_bytes < 6 * len(request_text) + 2**20


def test_too_many_inline_images_are_refused_before_they_are_written(client: Client) -> None:
    image = {"value": "", "encoding": "base64", "mediaType": "image/png"}
    start_s = time.monotonic()
    response = client.execute("classify-objects", {"image": [image] * 20_000, "model": "brightness"})
    assert response.status_code == 413
    assert time.monotonic() - start_s < 3


def test_an_image_whose_crs_has_no_places_is_refused(client: Client, home: Path) -> None:
    path = make_raster(home / "imagery" / "local.tif", crs='LOCAL_CS["site",UNIT["metre",1]]')
    response = client.execute("classify-objects", {"image": link(path), "model": "brightness"})
    assert response.status_code == 400
    assert "not one of places" in response.text


def test_a_mix_of_images_with_and_without_reference_is_refused(client: Client, home: Path) -> None:
    images = [link(home / "imagery" / name) for name in ("a.tif", "plain.png")]
    response = client.execute("classify-objects", {"image": images, "model": "brightness"})
    assert response.status_code == 400
    assert "'a.tif' has one, 'plain.png' has none" in response.json["detail"]


def test_images_of_different_crs_form_no_mosaic(client: Client, home: Path, sound: dict[str, Any]) -> None:
    images = [link(home / "imagery" / name) for name in ("a.tif", "other-crs.tif")]
    response = client.execute("classify-objects", sound | {"image": images})
    assert response.status_code == 400
    assert "'a.tif' and 'other-crs.tif' have different CRS" in response.json["detail"]


def test_an_inline_image_is_read(client: Client, home: Path) -> None:
    value = base64.b64encode((home / "imagery" / "plain.png").read_bytes()).decode()
    images = [{"value": value, "encoding": "base64", "mediaType": "image/png"}] * 2
    response = client.execute("classify-objects", {"image": images, "model": "brightness"})
    assert response.status_code == 200, response.text
    assert [row["ImageID"] for row in response.json["data"]] == ["image-1", "image-2"]


def test_a_fault_of_ours_is_a_500_that_tells_nothing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("/secret/place")

    monkeypatch.setattr("processes.echo.Echo.execute", fail)
    response = client.execute("echo", {"echo": "a"})
    assert response.status_code == 500
    assert response.json["type"] == "ServerError"
    assert "secret" not in response.text
