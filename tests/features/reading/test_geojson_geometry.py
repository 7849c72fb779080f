"""One odd feature does not cost the layer: what GDAL reads of it is read, and the rest counts as empty and is told.

The oracle is GDAL's own GeoJSON driver, its WKB unpacked by hand: shapely does not read an open ring.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import pytest
import shapely

from processes.features.layer import Layer
from processes.features.reading.geojson import read_geojson
from processes.settings import Limits
from tables import each_row

POINT = {"type": "Point", "coordinates": [1.5, 2.25]}
RING = [[0, 0], [4, 0], [4, 4], [0, 4]]


def text_of(*features: Any) -> bytes:
    return json.dumps({"type": "FeatureCollection", "features": list(features)}).encode()


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def read(text: bytes) -> Layer:
    return read_geojson(text, "layer", Limits())


def positions_by_ogr(text: bytes, folder: Path) -> list[list[tuple[float, ...]]]:
    """Return all positions of each feature as OGR has them, in their order; none where it has no geometry."""
    path = folder / "a.geojson"
    path.write_bytes(text)
    return [[] if wkb is None else unpacked(wkb) for wkb in pyogrio.raw.read(path)[2]]


def unpacked(wkb: bytes) -> list[tuple[float, ...]]:
    found: list[tuple[float, ...]] = []

    def count(at: int) -> int:
        return int(struct.unpack_from("<I", wkb, at)[0])

    def run(at: int, n: int, width: int) -> int:
        found.extend(struct.unpack_from(f"<{width}d", wkb, at + 8 * width * i) for i in range(n))
        return at + 8 * width * n

    def shape(at: int) -> int:
        code = count(at + 1)
        kind, width = (code & 0xFFFF) % 1000, 3 if code >= 1000 else 2
        at += 5
        if kind == 1:
            return run(at, 1, width)
        n, at = count(at), at + 4
        if kind == 2:
            return run(at, n, width)
        for _ in range(n):
            at = run(at + 4, count(at), width) if kind == 3 else shape(at)
        return at

    shape(0)
    return [position for position in found if not math.isnan(position[0])]


def ours(layer: Layer) -> list[list[tuple[float, ...]]]:
    shapes = layer.geometries(0, len(layer))
    return [
        [] if item is None else [tuple(row) for row in shapely.get_coordinates(item, include_z=bool(item.has_z))]
        for item in shapes
    ]


def closed(coordinates: Any) -> Any:
    return [[*ring, ring[0]] for ring in coordinates]


@pytest.mark.filterwarnings("ignore")  # GDAL says a word about some of them
@each_row(
    ("geometry", "expected", "warning"),
    [
        (  # case geojson-one-bad, seen with 0.3.0
            {"type": "Polygon", "coordinates": [RING]},
            {"type": "Polygon", "coordinates": closed([RING])},
            "feature 2 has a ring that does not end where it begins; it is closed",
        ),
        (
            {"type": "Polygon", "coordinates": [RING, [[1, 1], [2, 1], [2, 2]]]},
            {"type": "Polygon", "coordinates": closed([RING, [[1, 1], [2, 1], [2, 2]]])},
            "feature 2 has a ring that does not end where it begins; it is closed",
        ),
        (
            {"type": "MultiPolygon", "coordinates": [[RING], [[[9, 9], [10, 9], [10, 10]]]]},
            {"type": "MultiPolygon", "coordinates": [closed([RING]), closed([[[9, 9], [10, 9], [10, 10]]])]},
            "feature 2 has a ring that does not end where it begins; it is closed",
        ),
        (
            {"type": "LineString", "coordinates": [[1, 2, 3, 4], [5, 6, 7, 8]]},
            {"type": "LineString", "coordinates": [[1, 2, 3], [5, 6, 7]]},
            "feature 2 has points of more than three coordinates; x, y and z are read",
        ),
        (
            {"type": "MultiPoint", "coordinates": [[1, 2, 3, 4], [5, 6, 7]]},
            {"type": "MultiPoint", "coordinates": [[1, 2, 3], [5, 6, 7]]},
            "feature 2 has points of more than three coordinates; x, y and z are read",
        ),
        (
            {"type": "polygon", "coordinates": closed([RING])},
            {"type": "Polygon", "coordinates": closed([RING])},
            None,
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_geometry_that_gdal_reads_is_read(tmp_path: Path, geometry: Any, expected: Any, warning: str | None) -> None:
    text = text_of(feature(POINT), feature(geometry), feature(POINT))
    layer = read(text)
    assert layer.geometries(1, 2)[0] == shapely.from_geojson(json.dumps(expected))
    assert layer.warnings == (() if warning is None else (warning,))
    by_ogr = positions_by_ogr(text, tmp_path)
    assert [list(dict.fromkeys(part)) for part in ours(layer)] == [list(dict.fromkeys(part)) for part in by_ogr]


@pytest.mark.filterwarnings("ignore")
@each_row(
    ("geometry", "words"),
    [
        ({"type": "LineString", "coordinates": [[0, 0]]}, "a line or a ring of too few points"),  # geojson-one-bad
        ({"type": "Polygon", "coordinates": [[[0, 0]]]}, "a line or a ring of too few points"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, "a line or a ring of too few points"),
        ({"type": "MultiPolygon", "coordinates": [[[[0, 0], [1, 1]]]]}, "a line or a ring of too few points"),
        ({"type": "MultiLineString", "coordinates": [[[0, 0]], []]}, "a line or a ring of too few points"),
        ({"type": "Point", "coordinates": None}, "a geometry without coordinates"),
        ({"type": "MultiPolygon"}, "a geometry without coordinates"),
        ("absent", "no member geometry"),  # geojson-one-bad
    ],
    ids=lambda value: str(value)[:60],
)
def test_geometry_without_enough_in_it_is_empty_and_told(tmp_path: Path, geometry: Any, words: str) -> None:
    odd = feature(geometry)
    if geometry == "absent":
        del odd["geometry"]
    text = text_of(feature(POINT, n=1), odd)
    layer = read(text)
    assert [len(part) for part in ours(layer)] == [1, 0]
    assert not [position for position in positions_by_ogr(text, tmp_path)[1] if len(position) > 3]
    (warning,) = layer.warnings
    assert warning.startswith("feature 2 has ")
    assert words in warning
    assert shapely.is_missing(read(text_of(odd)).geometries(0, 1))[0]  # also where it is the only one


def test_parts_of_too_few_points_alone_are_left_out() -> None:
    hole = {"type": "Polygon", "coordinates": [closed([RING])[0], [[1, 1], [2, 2]]]}
    lines = {"type": "MultiLineString", "coordinates": [[[0, 0]], [[1, 1], [2, 2]]]}
    layer = read(text_of(feature(hole), feature(lines), feature(POINT)))
    assert [item.wkt for item in layer.geometries(0, 2)] == [
        "POLYGON ((0 0, 4 0, 4 4, 0 4, 0 0))",
        "MULTILINESTRING ((1 1, 2 2))",
    ]
    assert layer.warnings == (
        "2 features have lines or rings of too few points; they are left out; the first is feature 1",
    )


def test_heights_that_are_null_are_left_out() -> None:
    line = {"type": "LineString", "coordinates": [[0, 0, None], [1, 1, 5]]}
    layer = read(text_of(feature({"type": "Point", "coordinates": [1, 2, None]}), feature(line)))
    assert layer.geometries(0, 1)[0] == shapely.Point(1, 2)
    assert layer.geometries(1, 2)[0].coords[1] == (1, 1, 5)
    assert len(layer.warnings) == 1


def test_each_kind_is_told_once_with_its_count_and_its_first_feature() -> None:
    """Across the slices in which features are read; the sound ones are as they were."""
    count = 20_000
    shapes: list[Any] = [{"type": "Point", "coordinates": [n / 200, 1]} for n in range(count)]
    for place in (9_000, 9_001, 19_999):
        shapes[place] = {"type": "Polygon", "coordinates": [RING]}
    for place in (12_345, 17):
        shapes[place] = {"type": "LineString", "coordinates": [[0, 0]]}
    layer = read(text_of(*map(feature, shapes)))
    assert sorted(layer.warnings) == [
        "2 features have lines or rings of too few points; they are left out; the first is feature 18",
        "3 features have rings that do not end where they begin; they are closed; the first is feature 9001",
    ]
    assert layer.geometry is not None
    assert layer.geometry.null_count == 2
    assert layer.geometries(5, 7).tolist() == [shapely.Point(5 / 200, 1), shapely.Point(6 / 200, 1)]
    assert np.isin(shapely.get_type_id(layer.geometries(9_000, 9_002)), 3).all()


@each_row("kind", [None, 5, ["Point"], {}, True])
@each_row("member", ["geometry", "place"])
def test_type_that_is_no_text_is_odd_and_told(kind: Any, member: str) -> None:
    odd = {"type": kind, "coordinates": [1, 2]}
    other = feature(POINT) | {member: odd} if member == "place" else feature(odd)
    document = json.loads(text_of(feature(POINT), other)) | {"conformsTo": ["json-fg"] if member == "place" else []}
    layer = read(json.dumps(document).encode())
    assert layer.geometries(0, 2).tolist() == [shapely.Point(1.5, 2.25), None]
    assert layer.warnings == ("the geometry of feature 2 cannot be read and counts as empty: its type is no text",)
