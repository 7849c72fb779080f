"""How well a way is known is what PROJ says of it, and the ballpark is told."""

from __future__ import annotations

import pyproj
import pytest

from odd_crs import unknown_datum
from processes.crs import CrsTransform, parse_crs
from processes.crs.accuracy import metres_between, missing_grid, way_at
from tables import each_row


@each_row(
    ("source", "target", "accuracy_m"),
    [
        ("EPSG:4267", "EPSG:26917", 14),  # case nad27-silent, 0.3.0
        ("OGC:CRS84", "EPSG:26917", 4),
        ("OGC:CRS84", "EPSG:32617", 0),
        ("EPSG:26917", "EPSG:4269", None),
    ],
)
def test_the_accuracy_is_that_of_the_way_which_is_taken(source: str, target: str, accuracy_m: float | None) -> None:
    x, y = pyproj.Transformer.from_crs("OGC:CRS84", target, always_xy=True).transform(-81.47, 27.69)
    way = way_at(CrsTransform(parse_crs(source), parse_crs(target)), x, y)
    assert way is not None
    assert (way.accuracy_m, way.has_no_shift) == (accuracy_m, False)


def test_the_best_file_that_is_missing_is_named() -> None:
    transform = CrsTransform(parse_crs("EPSG:4267"), parse_crs("EPSG:26917"))
    found = missing_grid(transform, 453_642.5, 3_063_015.6)
    assert found is not None
    assert found[0].startswith("us_noaa_")
    assert found[1] == 0.15
    assert missing_grid(CrsTransform(parse_crs("OGC:CRS84"), parse_crs("EPSG:32617")), 453_642.5, 3_063_015.6) is None


def test_a_datum_that_is_not_known_has_no_shift() -> None:
    way = way_at(CrsTransform(parse_crs("OGC:CRS84"), unknown_datum("bessel")), 3_500_000, 5_500_000)
    assert way is not None
    assert (way.accuracy_m, way.has_no_shift) == (None, True)


def test_there_is_no_way_within_one_crs_or_to_another_planet() -> None:
    assert way_at(CrsTransform(parse_crs("OGC:CRS84"), parse_crs("EPSG:4326")), 7, 50) is None
    assert way_at(CrsTransform(parse_crs("IAU_2015:30100"), parse_crs("EPSG:4326")), 7, 50) is None
    assert way_at(CrsTransform(parse_crs("OGC:CRS84"), parse_crs("EPSG:32633")), 1e30, 1e30) is None


@each_row(
    ("name", "first", "second", "metres"),
    [
        ("EPSG:4326", (0, 0), (1, 0), 111_319.491),  # a degree of the equator
        ("EPSG:4326", (0, 60), (1e-3, 60), 55.8),
        ("EPSG:32633", (500_000, 5_000_000), (501_000, 5_000_000), 1000 / 0.9996),
        ("EPSG:2264", (2_000_000, 600_000), (2_000_003, 600_000), 0.9144),  # US survey feet
        ("EPSG:3857", (0, 8_399_737.9), (100, 8_399_737.9), 50.1),  # at 60 degrees north
    ],
)
def test_distances_are_metres_on_the_ground(
    name: str, first: tuple[float, float], second: tuple[float, float], metres: float
) -> None:
    assert metres_between(parse_crs(name), first, second) == pytest.approx(metres, rel=1e-3)
