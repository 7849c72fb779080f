"""GeoJSON text sequences: texts as RFC 8142 puts them one behind the other, read back by json and by GDAL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely

from conftest import write_layer
from layers import BOX, make_layer, typed_attributes, wkt
from processes.features.reading.geojson import read_geojson
from processes.features.writing.geojson import GEOJSON
from processes.features.writing.geojson_seq import GEOJSON_SEQ
from processes.settings import Limits


def texts_of(data: bytes) -> list[Any]:
    """Return the texts of a sequence: each begins with a record separator and ends with a line feed."""
    parts = data.split(b"\x1e")
    assert parts[0] == b""
    assert all(part.endswith(b"\n") and part.count(b"\n") == 1 for part in parts[1:])
    return [json.loads(part) for part in parts[1:]]


@pytest.mark.parametrize(
    "ids", [[1, 2, 3], ["b", "a\x1e", None], [1.5, None, 2.5]], ids=["numbers", "texts", "fractions"]
)
def test_features_are_those_of_the_collection(tmp_path: Path, ids: list[Any]) -> None:
    layer = make_layer([BOX, None, shapely.Polygon()], typed_attributes(), ids)
    collection, _ = write_layer(layer, GEOJSON, tmp_path)
    sequence, _ = write_layer(layer, GEOJSON_SEQ, tmp_path)
    assert texts_of(sequence.read_bytes()) == json.loads(collection.read_bytes())["features"]


def test_nested_mixed_and_absent_attributes_come_back(tmp_path: Path) -> None:
    properties: list[dict[str, Any]] = [{"a": {"b": [1, None]}}, {"a": "x", "c": None}, {}]
    features = [{"type": "Feature", "geometry": None, "properties": item} for item in properties]
    layer = read_geojson(json.dumps({"type": "FeatureCollection", "features": features}).encode(), "layer", Limits())
    path, _ = write_layer(layer, GEOJSON_SEQ, tmp_path)
    assert [item["properties"] for item in texts_of(path.read_bytes())] == [
        {**item, "ClassStatus": "ok"} for item in properties
    ]


def test_gdal_reads_it_as_longitude_and_latitude(tmp_path: Path) -> None:
    path, _ = write_layer(make_layer([wkt("POINT (500000 5538630.702867474)")] * 3), GEOJSON_SEQ, tmp_path)
    info = pyogrio.read_info(path)
    assert (info["driver"], info["features"], info["geometry_type"]) == ("GeoJSONSeq", 3, "Point")
    _, _, texts, _ = pyogrio.raw.read(path)
    np.testing.assert_allclose(shapely.get_coordinates(shapely.from_wkb(texts)), [(15, 50)] * 3)


def test_layer_without_features_is_an_empty_sequence(tmp_path: Path) -> None:
    path, _ = write_layer(make_layer([]), GEOJSON_SEQ, tmp_path)
    assert path.read_bytes() == b""


def test_measures_are_left_out_with_a_warning(tmp_path: Path) -> None:
    layer = make_layer([wkt("POINT M (15 50 4)"), wkt("POINT ZM (15 50 3 4)")], crs="EPSG:4326")
    path, warnings = write_layer(layer, GEOJSON_SEQ, tmp_path)
    assert [item["geometry"]["coordinates"] for item in texts_of(path.read_bytes())] == [[15, 50], [15, 50, 3]]
    assert warnings == ["measures (M) of coordinates are left out: the format has none"]
