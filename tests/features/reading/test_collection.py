"""FeatureCollections as people have them: with NaN as Python writes it, as sequences, as JSON-FG."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyogrio
import pyproj
import pytest
import shapely

from conftest import write_layer
from processes.errors import LayerError
from processes.features.layer import Layer
from processes.features.reading.files import read_layer
from processes.features.reading.geojson import read_geojson
from processes.features.writing.geojson_seq import GEOJSON_SEQ
from processes.settings import Limits
from tables import each_row

POINT = {"type": "Point", "coordinates": [1.5, 2.25]}
NAN, INFINITY = math.nan, math.inf


def feature(geometry: Any = POINT, properties: Any = None, **members: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties or {}, **members}


def collection(*features: Any, **members: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features), **members}


def read(text: bytes, folder: Path, name: str = "a.geojson") -> Layer:
    path = folder / name
    path.write_bytes(text)
    return read_layer(path, name, None, Limits())


def problem(text: bytes, folder: Path) -> str:
    with pytest.raises(LayerError) as caught:
        read(text, folder)
    return caught.value.detail


def nulls(value: Any) -> Any:
    """Return JSON values with None for each number that is not finite: the oracle, on what Python's json reads."""
    if isinstance(value, dict):
        return {name: nulls(item) for name, item in value.items()}
    if isinstance(value, list):
        return [nulls(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@each_row(
    ("values", "count", "first"),
    [
        ([1.5, NAN], 1, 2),
        ([NAN, 2, INFINITY, -INFINITY], 3, 1),
        ([{"a": [1, NAN, {"b": NAN}]}, 1], 2, 1),
        ([["NaN", "Infinity", NAN]], 1, 1),
        (["ok", 'say "NaN", [NaN, \\', NAN], 1, 3),
        ([None, True, "é", NAN], 1, 4),
    ],
    ids=str,
)
@each_row("shape", ["document", "lines", "sequence"])
def test_nan_and_infinity_are_null_and_counted(
    tmp_path: Path, values: list[Any], count: int, first: int, shape: str
) -> None:
    """As Python's json and pandas write them; GDAL reads them without a word."""
    features = [feature(properties={"v": value}) for value in values]
    text = {
        "document": json.dumps(collection(*features)),
        "lines": "\n".join(map(json.dumps, features)),
        "sequence": "".join(f"\x1e{json.dumps(item)}\n" for item in features),
    }[shape].encode()
    assert b"NaN" in text
    layer = read(text, tmp_path)
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(text)
    column = layer.attributes.column("v")
    is_json = "large" in str(column.type)
    assert [json.loads(item) if is_json else item for item in column.to_pylist()] == nulls(values)
    (warning,) = layer.warnings
    told = f"{count} values of attributes are" if count > 1 else f"an attribute of feature {first} is"
    assert warning.startswith(told)
    assert f"feature {first}" in warning


def test_nan_in_foreign_members_harms_nothing() -> None:
    text = json.dumps(collection(feature(properties={"a": 1}), bbox=[NAN] * 4)).encode()
    layer = read_geojson(text, "layer", Limits())
    assert (layer.attributes.to_pydict(), layer.warnings) == ({"a": [1]}, ())


def test_nan_as_a_coordinate_is_a_geometry_that_counts_as_empty() -> None:
    odd = feature({"type": "Point", "coordinates": [NAN, 1]})
    high = feature({"type": "Point", "coordinates": [1, 2, NAN]})
    layer = read_geojson(json.dumps(collection(feature(), odd, high)).encode(), "layer", Limits())
    assert layer.geometries(0, 3).tolist() == [shapely.Point(1.5, 2.25), None, shapely.Point(1, 2)]
    assert len(layer.warnings) == 2
    assert not [warning for warning in layer.warnings if "attribute" in warning]


LINES = [feature({"type": "Point", "coordinates": [n, n]}, {"n": n, "t": "a\u2028b\x1e"}, id=n) for n in range(3)]


@each_row(
    "text",
    [
        "".join(f"\x1e{json.dumps(item)}\n" for item in LINES),  # case own-output-not-read, seen with 0.3.0
        "".join(f"\x1e{json.dumps(item, indent=2)}\n" for item in LINES),
        "\ufeff" + "".join(f"\x1e{json.dumps(item)}\r\n" for item in LINES),
        "".join(f"{json.dumps(item)}\n" for item in LINES),
        "\r\n".join(map(json.dumps, LINES)),
        "\n\n".join(json.dumps(item, ensure_ascii=False).replace("\x1e", "\\u001e") for item in LINES) + "\n\n",
        "\ufeff \n" + "\n".join(map(json.dumps, LINES)),
    ],
    ids=repr,
)
def test_sequences_of_features_are_read(tmp_path: Path, text: str) -> None:
    layer = read(text.encode(), tmp_path, "own.geojsonl")
    assert layer.attributes.to_pylist() == [item["properties"] for item in LINES]
    assert layer.ids is not None
    assert (layer.ids.to_pylist(), layer.name) == ([0, 1, 2], "own")
    assert layer.geometries(0, 3).tolist() == [shapely.Point(n, n) for n in range(3)]
    assert layer.crs == pyproj.CRS("OGC:CRS84")
    path = tmp_path / "b.geojsonl"
    path.write_bytes(text.encode().removeprefix(b"\xef\xbb\xbf"))
    found = pyogrio.raw.read(path, use_arrow=False)
    assert [shapely.from_wkb(wkb) for wkb in found[2]] == layer.geometries(0, 3).tolist()


def test_own_sequence_is_read_again(tmp_path: Path) -> None:
    before = read(json.dumps(collection(*LINES)).encode(), tmp_path)
    path, _ = write_layer(before, GEOJSON_SEQ, tmp_path)
    after = read_layer(path, "own.geojsonl", None, Limits())
    assert after.attributes.drop_columns(["ClassStatus"]).to_pylist() == before.attributes.to_pylist()
    assert after.geometry == before.geometry


@each_row("indent", [None, 2])
def test_file_of_one_feature_is_a_layer(tmp_path: Path, indent: int | None) -> None:
    assert read(json.dumps(LINES[1], indent=indent).encode(), tmp_path).attributes.column("n").to_pylist() == [1]


def test_sequence_in_a_request_is_refused() -> None:
    with pytest.raises(LayerError, match="not a GeoJSON FeatureCollection"):
        read_geojson(json.dumps(LINES[0]).encode(), "layer", Limits())


@each_row(
    ("text", "words"),
    [
        ("\x1e{}\n", "feature 1 is not a GeoJSON Feature"),
        (f"\x1e{json.dumps(LINES[0])}\n\x1e{json.dumps(LINES[1])[:30]}", "feature 2 is not a GeoJSON Feature"),
        (f"{json.dumps(LINES[0])}\n{json.dumps(LINES[1])[:30]}", "feature 2 is not a GeoJSON Feature"),
        (f"{json.dumps(LINES[0])}\n{json.dumps(collection())}", "feature 2 is of type 'FeatureCollection'"),
        (f"{json.dumps(LINES[0])}\n[1]", "feature 2 is not a GeoJSON Feature"),
        (f"{json.dumps(collection())}\n{json.dumps(collection())}", "not JSON"),
        (json.dumps(POINT), "not a GeoJSON FeatureCollection"),
    ],
)
def test_sequence_that_is_torn_is_refused(tmp_path: Path, text: str, words: str) -> None:
    assert words in problem(text.encode(), tmp_path)


FG = "http://www.opengis.net/spec/json-fg-1/0.2/conf/core"
UTM = "http://www.opengis.net/def/crs/EPSG/0/32617"
PLACE = {"type": "Point", "coordinates": [500020, 2999980]}


def placed(place: Any, geometry: Any = None, **members: Any) -> dict[str, Any]:
    return {"type": "Feature", "time": None, "place": place, "geometry": geometry, "properties": {}, **members}


@each_row(
    ("document", "epsg", "expected"),
    [
        # case own-output-not-read, seen with 0.3.0
        (collection(placed(PLACE), conformsTo=[FG], coordRefSys=UTM), 32617, (500020, 2999980)),
        (collection(placed(PLACE), coordRefSys="[EPSG:32617]"), 32617, (500020, 2999980)),
        (collection(placed(PLACE), coordRefSys={"type": "Reference", "href": UTM, "epoch": 2020.5}), 32617, (500020, 2999980)),
        (collection(placed({"type": "Point", "coordinates": [50.5, 10.25]}), conformsTo=[FG], coordRefSys="http://www.opengis.net/def/crs/EPSG/0/4326"), 4326, (10.25, 50.5)),
        (collection(placed({"type": "Point", "coordinates": [10, 50]}), conformsTo=[FG]), None, (10, 50)),
        (collection(placed(None, {"type": "Point", "coordinates": [10, 50]}), conformsTo=[FG]), None, (10, 50)),
        (collection(placed(PLACE, coordRefSys=UTM), conformsTo=[FG]), 32617, (500020, 2999980)),
        (collection(placed(PLACE | {"coordRefSys": UTM}), coordRefSys=UTM), 32617, (500020, 2999980)),
        (placed(PLACE, conformsTo=[FG], coordRefSys=UTM), 32617, (500020, 2999980)),
        (collection(placed({"type": "Prism", "base": PLACE}, {"type": "Point", "coordinates": [-81, 27]}), coordRefSys=UTM), 32617, pyproj.Transformer.from_crs(4326, 32617, always_xy=True).transform(-81, 27)),
    ],
    ids=lambda value: str(value)[:80],
)  # fmt: skip
def test_places_of_json_fg_are_read_in_their_crs(
    tmp_path: Path, document: Any, epsg: int | None, expected: tuple[float, float]
) -> None:
    layer = read(json.dumps(document).encode(), tmp_path)
    assert layer.crs == (pyproj.CRS("OGC:CRS84") if epsg is None else pyproj.CRS(epsg))
    (point,) = layer.geometries(0, 1)
    np.testing.assert_allclose((point.x, point.y), expected, atol=1e-6)
    if document.get("conformsTo") and "features" in document:  # then GDAL knows it as JSON-FG
        (wkb,) = pyogrio.raw.read(tmp_path / "a.geojson")[2]
        assert shapely.from_wkb(wkb).equals_exact(point, 1e-6)


def test_features_of_json_fg_without_a_place_are_moved_to_the_crs_of_the_others(tmp_path: Path) -> None:
    document = collection(placed(PLACE), placed(None, {"type": "Point", "coordinates": [-81, 27]}), coordRefSys=UTM)
    _, moved = read(json.dumps(document).encode(), tmp_path).geometries(0, 2)
    expected = pyproj.Transformer.from_crs(4326, 32617, always_xy=True).transform(-81, 27)
    np.testing.assert_allclose((moved.x, moved.y), expected, atol=1e-3)


@each_row(
    ("document", "words"),
    [
        (collection(feature(), placed(PLACE)), "feature 2 has its geometry in the member `place`"),
        (
            collection(feature(), placed(PLACE, {"type": "Point", "coordinates": [10**400, 0]})),
            "feature 2 has its geometry in the member `place`",
        ),
        (collection(placed(PLACE), coordRefSys=["EPSG:32617", "EPSG:5703"]), "coordRefSys is none that is read"),
        (collection(placed(PLACE), coordRefSys="EPSG:999999"), "coordRefSys cannot be used"),
        (collection(placed(PLACE), placed(PLACE, coordRefSys="EPSG:32618"), coordRefSys=UTM), "feature 2 has a coord"),
        (
            collection(placed(PLACE), placed(PLACE | {"coordRefSys": "EPSG:32618"}), coordRefSys=UTM),
            "the place of feature 2 has a coord",
        ),
        (collection(placed(PLACE | {"coordRefSys": UTM}), conformsTo=[FG]), "the place of feature 1 has a coord"),
        (collection(placed(PLACE, coordRefSys=UTM), placed(PLACE)), "feature 2 has no coordRefSys"),
        (collection(placed(PLACE), placed(PLACE, coordRefSys=UTM), conformsTo=[FG]), "feature 2 has a coordRefSys"),
        (collection(placed({"type": "Prism", "base": PLACE}), coordRefSys=UTM), "feature 1 has a geometry that cannot"),
    ],
    ids=lambda value: str(value)[:80],
)
def test_json_fg_that_cannot_be_read_is_refused_by_name(tmp_path: Path, document: Any, words: str) -> None:
    assert words in problem(json.dumps(document).encode(), tmp_path)
