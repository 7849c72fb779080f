"""The extent: read as OGC writes it, tested in its own CRS, cut by its corners."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from pyproj import Transformer

from processes.classify.planning.extent import read_extent
from processes.crs import parse_crs
from processes.errors import RequestError
from tables import each_row

URI = "http://www.opengis.net/def/crs/EPSG/0/"
URN = "urn:ogc:def:crs:EPSG::"
CRS84H = "http://www.opengis.net/def/crs/OGC/0/CRS84h"


@each_row(
    ("value", "boxes"),
    [
        ({"bbox": [7, 46, 8, 47]}, ((7, 46, 8, 47),)),
        ({"bbox": [7, 46, -5, 8, 47, 900], "crs": CRS84H}, ((7, 46, 8, 47),)),
        ({"bbox": [7, 46, 8, 47], "crs": "EPSG:4326"}, ((7, 46, 8, 47),)),
        ({"bbox": [7, 46, 8, 47], "crs": " epsg:4326 "}, ((7, 46, 8, 47),)),
        ({"bbox": [46, 7, 47, 8], "crs": f"{URI}4326"}, ((7, 46, 8, 47),)),
        ({"bbox": [46, 7, 0, 47, 8, 9], "crs": f"{URN}4326"}, ((7, 46, 8, 47),)),
        ({"bbox": [3e5, 5e6, 4e5, 6e6], "crs": f"{URI}32633"}, ((3e5, 5e6, 4e5, 6e6),)),
        ({"bbox": [5e6, 3e6, 6e6, 4e6], "crs": f"{URI}31467"}, ((3e6, 5e6, 4e6, 6e6),)),  # northing comes first
        ({"bbox": [3e6, 5e6, 4e6, 6e6], "crs": "EPSG:31467"}, ((3e6, 5e6, 4e6, 6e6),)),
        ({"bbox": [1, 2, 3, 4], "crs": f"{URI}3031"}, ((1, 2, 3, 4),)),  # near the pole, easting first
        ({"bbox": [1, 2, 3, 4], "crs": f"{URI}32661"}, ((2, 1, 4, 3),)),  # near the pole, northing first
        ({"bbox": [1, 2, 3, 4], "crs": f"{URI}5041"}, ((1, 2, 3, 4),)),  # near the pole, easting first
        ({"bbox": [170, -50, -170, -30]}, ((170, -50, 180, -30), (-180, -50, -170, -30))),
        ({"bbox": [-50, 170, -30, -170], "crs": f"{URI}4326"}, ((170, -50, 180, -30), (-180, -50, -170, -30))),
        ({"bbox": [190, 40, -190, 50], "crs": "EPSG:4807"}, ((190, 40, 200, 50), (-200, 40, -190, 50))),  # in grads
        ({"bbox": [7, 46, 7, 46]}, ((7, 46, 7, 46),)),
    ],
)
def test_numbers_are_read_in_the_order_of_the_crs(value: dict[str, Any], boxes: tuple[tuple[float, ...], ...]) -> None:
    np.testing.assert_allclose(read_extent(value, "").boxes, boxes)


@each_row(
    ("value", "pointer", "words"),
    [
        ({"bbox": [7, 47, 8, 46]}, "/bbox", "southern edge 47 lies north of its northern one, 46"),
        ({"bbox": [47, 7, 46, 8], "crs": f"{URI}4326"}, "/bbox", "southern edge 47 lies north of its northern one, 46"),
        ({"bbox": [4e5, 5e6, 3e5, 6e6], "crs": "EPSG:32633"}, "/bbox", "western edge 400000 lies east of its eastern"),
        ({"bbox": [1, 2, 3, 4, 5]}, "/bbox", "5 numbers, not four, or six"),
        ({"bbox": [1, 2, 3, float("inf")]}, "/bbox", "not finite"),
        ({"bbox": [1, 2, 3, 4], "crs": "EPSG:999999"}, "/crs", "no CRS 'EPSG:999999'"),
        ({"bbox": [1, 2, 3, 4], "crs": "Gauss"}, "/crs", "'Gauss' names no CRS"),
    ],
)
def test_what_makes_no_rectangle_is_refused(value: dict[str, Any], pointer: str, words: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_extent(value, "/inputs/extent")
    assert [fault.pointer for fault in caught.value.faults] == [f"/inputs/extent{pointer}"]
    assert words in caught.value.detail


def test_what_shares_a_point_with_it_touches_it() -> None:
    extent = read_extent({"bbox": [0, 0, 10, 10]}, "")
    shapes = {
        shapely.Point(5, 5): True,
        shapely.Point(10, 10): True,
        shapely.Point(10.001, 5): False,
        shapely.LineString([(-5, 5), (15, 5)]): True,
        shapely.LineString([(-5, 5), (5, 15.5)]): False,
        shapely.box(10, 10, 11, 11): True,
        shapely.box(-1, -1, 11, 11): True,
        shapely.Polygon([(4, 4), (6, 6), (6, 4), (4, 6)]): True,  # crosses itself
        shapely.MultiPoint([(20, 20), (5, 5)]): True,
        shapely.box(-5, -5, 15, 15) - shapely.box(-1, -1, 11, 11): False,  # in its hole
        shapely.Polygon(): False,
        shapely.Point(float("inf"), 5): False,
    }
    crs = parse_crs("EPSG:4326")
    found = extent.touches(np.array([*shapes, None], object), crs)
    assert found.tolist() == [*shapes.values(), False]


def test_an_extent_over_the_antimeridian_holds_both_sides() -> None:
    extent = read_extent({"bbox": [170, -10, -170, 10]}, "")
    longitudes = [169, 170, 175, 180, -180, -175, -170, -169, 0]
    points = shapely.points(longitudes, 0)
    assert extent.touches(np.asarray(points, object), extent.crs).tolist() == [
        abs(longitude) >= 170 for longitude in longitudes
    ]


def test_geometries_are_tested_in_the_crs_of_the_extent() -> None:
    extent = read_extent({"bbox": [15, 45, 15.001, 45.001]}, "")
    to_utm = Transformer.from_crs("OGC:CRS84", "EPSG:32633", always_xy=True)
    points = [(15.0005, 45.0005), (15.0011, 45.0005), (14.9999, 45.0005)]
    shapes = np.array([shapely.Point(to_utm.transform(*point)) for point in points], object)
    assert extent.touches(shapes, parse_crs("EPSG:32633")).tolist() == [True, False, False]


OUTLINE = np.array([[500000, 5000000], [500100, 5000000], [500100, 4999900], [500000, 4999900]], np.float64)


def test_an_image_is_cut_by_the_corners_of_the_extent() -> None:
    utm = parse_crs("EPSG:32633")
    extent = read_extent({"bbox": [15.0005, 45.1525, 15.1, 45.2]}, "")
    to_utm = Transformer.from_crs("OGC:CRS84", "EPSG:32633", always_xy=True)
    (part,) = extent.parts(OUTLINE, utm)
    expected = [to_utm.transform(x, y) for x in (15.0005, 15.1) for y in (45.1525, 45.2)]
    assert {tuple(np.round(point, 6)) for point in part} == {tuple(np.round(point, 6)) for point in expected}
    assert extent.parts(OUTLINE + np.array([0, 10000]), utm) == []


@pytest.mark.parametrize("bbox", [[-180, -90, 180, 90], [-180, -90, 15.0005, 90]])
def test_an_extent_as_large_as_the_world_cuts_what_it_shares_with_an_image(bbox: list[float]) -> None:
    to_utm = Transformer.from_crs("OGC:CRS84", "EPSG:32633", always_xy=True)
    east = min(to_utm.transform(bbox[2], 45.15)[0], 500100) if bbox[2] < 180 else 500100
    (part,) = read_extent({"bbox": bbox}, "").parts(OUTLINE, parse_crs("EPSG:32633"))
    low, high = part.min(axis=0), part.max(axis=0)
    np.testing.assert_allclose(
        [*np.maximum(low, (500000, 4999900)), *np.minimum(high, (500100, 5000000))],
        [500000, 4999900, east, 5000000],
        atol=0.05,
    )
