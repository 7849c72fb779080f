"""Vector tiles as another reader, GDAL, has them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from features.serving.vector_tiles import read_tile, shapes
from processes.features.serving.vector_tile import TileLayer, encode_tile

HOLED = shapely.Polygon([(0, 0), (0, 100), (100, 100), (100, 0)], [[(20, 20), (50, 20), (50, 50), (20, 50)]])
GEOMETRIES: dict[str, Any] = {
    "point": shapely.Point(3, 4),
    "points": shapely.MultiPoint([(1, 2), (-30, 4200)]),
    "line": shapely.LineString([(-5, -5), (50, 70), (4160, 1)]),
    "lines": shapely.MultiLineString([[(0, 0), (1, 1)], [(5, 5), (9, 2), (3, 3)]]),
    "polygon": shapely.Polygon([(10, 10), (20, 10), (20, 30), (10, 30)]),
    "turned the other way": shapely.Polygon([(10, 10), (10, 30), (20, 30), (20, 10)]),
    "with a hole": HOLED,
    "polygons": shapely.MultiPolygon([HOLED, shapely.box(200, 200, 300, 300)]),
}


def tile(tmp_path: Path, *geometries: Any, **attributes: Any) -> Any:
    layer = TileLayer("objects", shapes(*geometries), np.arange(len(geometries)) + 7, attributes)
    return read_tile(encode_tile([layer]), tmp_path)["objects"]


@pytest.mark.parametrize("name", GEOMETRIES)
def test_geometries_arrive(tmp_path: Path, name: str) -> None:
    ((identifier, geometry, _),) = tile(tmp_path, GEOMETRIES[name])
    assert identifier == 7
    assert shapely.equals(geometry, GEOMETRIES[name])
    assert shapely.get_num_geometries(geometry) == shapely.get_num_geometries(GEOMETRIES[name])


def test_all_at_once_are_as_each_alone(tmp_path: Path) -> None:
    every = list(GEOMETRIES.values()) * 3
    random.Random(2).shuffle(every)
    found = {identifier: geometry for identifier, geometry, _ in tile(tmp_path, *every)}
    assert sorted(found) == list(range(7, 7 + len(every)))
    assert all(shapely.equals(found[number + 7], item) for number, item in enumerate(every))


def test_coordinates_are_rounded_and_what_is_too_small_is_left_out(tmp_path: Path) -> None:
    rounded = shapely.Polygon([(0.4, 0.2), (9.6, 0.1), (9.7, 9.9), (0.4, 9.6)])
    tiny = shapely.Polygon([(3.1, 3.1), (3.2, 3.1), (3.2, 3.2)])
    dot = shapely.LineString([(1.1, 1.1), (1.2, 1.2)])
    found = tile(tmp_path, tiny, rounded, dot, None, shapely.Polygon())
    assert [identifier for identifier, _, _ in found] == [8]
    assert shapely.equals(found[0][1], shapely.box(0, 0, 10, 10))


def test_attributes_are_shared_and_may_be_missing(tmp_path: Path) -> None:
    places = np.array([0, 1, -1, 0])
    found = tile(
        tmp_path,
        *[shapely.Point(number, 300 * number) for number in range(4)],
        label=(["oak", "Żółw"], places),
        count=([5, 2**40], np.array([1, 0, 0, 1])),
    )
    assert [values for _, _, values in found] == [
        {"label": "oak", "count": 2**40},
        {"label": "Żółw", "count": 5},
        {"count": 5},
        {"label": "oak", "count": 2**40},
    ]


def test_a_tile_of_nothing_is_one(tmp_path: Path) -> None:
    assert encode_tile([TileLayer("objects", shapes(), np.zeros(0, np.int64), {"label": ([], np.zeros(0, np.int64))})])
