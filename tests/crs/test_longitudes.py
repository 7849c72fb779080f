"""Longitudes are circular: objects are one piece at the antimeridian, and lie where an image is."""

from __future__ import annotations

import math

import numpy as np
import pyproj
import pytest
import shapely
from numpy.typing import NDArray

from processes.crs import CrsTransform, parse_crs
from processes.crs.longitudes import full_turn, in_one_piece, turned, unbroken
from tables import each_row

Geometries = NDArray[np.object_]


def in_degrees(text: str) -> Geometries:
    return np.array([shapely.from_wkt(text)], dtype=object)


@each_row(
    ("text", "expected"),
    [
        # cut at the antimeridian as RFC 7946, 3.1.9 wants it (case antimeridian, 0.3.0)
        (
            "MULTIPOLYGON (((179 0, 180 0, 180 1, 179 1, 179 0)), ((-180 0, -179 0, -179 1, -180 1, -180 0)))",
            (179, 0, 181, 1),
        ),
        ("MULTIPOINT (-179 1, 179 2)", (179, 1, 181, 2)),
        ("MULTILINESTRING ((-180 0, -178 1), (177 0, 180 0))", (177, 0, 182, 1)),
        ("MULTIPOINT Z (-179 1 5, 179 2 6)", (179, 1, 181, 2)),
        ("MULTIPOINT (170 0, -170 0, 0 0)", (0, 0, 190, 0)),
        ("MULTIPOINT (-100 0, 10 0, 100 0)", (-100, 0, 100, 0)),  # the largest gap is that at the antimeridian
        ("MULTIPOINT (-80 0, 80 0)", (-80, 0, 80, 0)),
        ("POLYGON ((-180 -90, 180 -90, 180 90, -180 90, -180 -90))", (-180, -90, 180, 90)),  # the world
        ("LINESTRING (179 0, -179 0)", (-179, 0, 179, 0)),  # RFC 7946, 3.1.1: a straight line, all along
    ],
)
def test_parts_take_as_little_of_the_circle_as_they_can(text: str, expected: tuple[float, ...]) -> None:
    found = in_one_piece(in_degrees(text), 360)[0]
    assert found.bounds == expected
    assert found.geom_type == shapely.from_wkt(text).geom_type


def smallest_arc(west: list[float], east: list[float]) -> float:
    """Return the length of the smallest arc that holds parts, in degrees, by trying each part as the first one."""
    lengths = []
    for first in west:
        begins = [begin + 360 * math.ceil((first - begin) / 360) for begin in west]
        ends = [begin + end - start for begin, start, end in zip(begins, west, east, strict=True)]
        lengths.append(max(ends) - first)
    return min(lengths)


def test_parts_at_random_take_the_smallest_arc() -> None:
    rng = np.random.default_rng(7)
    for _ in range(200):
        west = np.round(rng.uniform(-180, 150, rng.integers(2, 6))).tolist()
        east = [begin + 1 + round(rng.uniform(0, 29)) for begin in west]
        shape = shapely.MultiPolygon([shapely.box(*pair, 1) for pair in zip(west, [0] * len(west), east, strict=True)])
        plain = shape.bounds[2] - shape.bounds[0]
        bounds = in_one_piece(np.array([None, shape, shapely.Point()], dtype=object), 360)[1].bounds
        assert bounds[2] - bounds[0] == pytest.approx(plain if plain <= 180 else smallest_arc(west, east))


def test_an_outline_does_not_jump_from_one_end_to_the_other() -> None:
    ring = [(179.9, 0), (-179.9, 0), (-179.9, 1), (179.9, 1)]
    hole = [(179.95, 0.2), (-179.95, 0.2), (-179.95, 0.4)]
    pole = shapely.Polygon([(0, 80), (90, 80), (180, 80), (-90, 80)])
    lines = shapely.MultiLineString([[(179, 0), (-179, 1), (179, 2)], [(0, 0), (1, 1)]])
    found = unbroken(np.array([shapely.Polygon(ring, [hole]), lines, pole, None], dtype=object), 360)
    np.testing.assert_allclose(found[0].bounds, (179.9, 0, 180.1, 1))
    np.testing.assert_allclose(found[0].interiors[0].bounds, (179.95, 0.2, 180.05, 0.4))
    assert found[0].is_valid
    assert found[1].geoms[0].bounds == (179, 0, 181, 2)
    assert found[1].geoms[1].bounds == (0, 0, 1, 1)
    assert found[2].equals(pole)
    assert found[3] is None


@each_row(
    ("source", "target"),
    [("EPSG:32601", "EPSG:4326"), ("EPSG:32760", "EPSG:4167"), ("EPSG:3832", "OGC:CRS84"), ("EPSG:32601", "EPSG:4807")],
)
def test_an_object_across_the_antimeridian_arrives_in_one_piece(source: str, target: str) -> None:
    forth = pyproj.Transformer.from_crs("OGC:CRS84", source, always_xy=True)
    latitude = -17 if source == "EPSG:32760" else 17
    places = [(179.9, latitude), (-179.9, latitude), (-179.9, latitude + 0.2), (179.9, latitude + 0.2)]
    shape = shapely.Polygon([forth.transform(*place) for place in places])
    transform = CrsTransform(parse_crs(source), parse_crs(target))
    (found,) = transform.objects(np.array([shape]))
    turn = full_turn(parse_crs(target))
    assert turn is not None
    assert found.bounds[2] - found.bounds[0] == pytest.approx(turn * 0.2 / 360, rel=1e-3)
    moved = pyproj.Transformer.from_crs(source, target, always_xy=True).transform(*np.array(shape.exterior.coords).T)
    offsets = (np.array(found.exterior.coords)[:, 0] - moved[0]) / turn
    np.testing.assert_allclose(offsets, np.rint(offsets), atol=1e-9)


def test_what_goes_on_beyond_the_antimeridian_stays_whole_in_another_datum() -> None:
    shapes = np.array([shapely.box(170, -20, 190, -10), shapely.box(179.5, 0, 180, 1)])
    for shape, found in zip(
        shapes, CrsTransform(parse_crs("EPSG:4326"), parse_crs("EPSG:4202")).objects(shapes), strict=True
    ):
        np.testing.assert_allclose(found.bounds, shape.bounds, atol=0.01)


@each_row(("name", "turn"), [("EPSG:4326", 360), ("EPSG:4807", 400), ("EPSG:4979", 360), ("EPSG:32633", None)])
def test_a_full_turn_is_in_units_of_the_crs(name: str, turn: float | None) -> None:
    assert full_turn(parse_crs(name)) == (None if turn is None else pytest.approx(turn))


def test_geometries_are_found_between_any_two_longitudes() -> None:
    longitudes = np.array([-179.0, 0, 179, 181, 359, 541, 9000, np.nan, np.inf])
    points: Geometries = np.empty(len(longitudes) + 1, object)
    points[:-1] = shapely.points(longitudes, 0)
    found = {
        (int(index), float(shape.x), offset)
        for near, shapes, offset in turned(points, 360, 170, 190)
        for index, shape in zip(near, shapes, strict=True)
    }
    assert found == {(0, 181, 360), (2, 179, 0), (3, 181, 0), (5, 181, -360)}
    around = [near.tolist() for near, _, _ in turned(points, 360, 0, 360)]
    assert around == [[1, 2, 3, 4], [5], [0, 1]]  # Greenwich is at both ends
