"""Geometries of GeoJSON as text: what shapely writes, with as few digits as stand for the same number."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layers import wkt
from processes.features.writing.geojson_geometry import geometry_texts
from random_layers import LINE, MULTI_LINE, MULTI_POINT, MULTI_POLYGON, POINT, POLYGON, Shape

NUMBER = re.compile(r"-?\d[\d.e+-]*")
ORDINARY = st.one_of(
    st.floats(1e-4, 180),
    st.floats(-180, -1e-4),
    st.floats(-9_999_999_999, 9_999_999_999).map(lambda value: round(value, 3)),
    st.integers(-(10**9), 10**9).map(float),
    st.sampled_from([0.0, -0.0, 1e-4, -15.0623958, 9_999_999_999.0, 0.1 + 0.2]),
)
ALL = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [5e-324, 1e-5, 1e10, -1e15, 1e16, 1e22, 1.7e308]
)

IN_ANY_TIME = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy


def written(shapes: Sequence[Any]) -> list[str]:
    geometries = np.empty(len(shapes), object)
    geometries[:] = shapes
    texts = geometry_texts(geometries)
    texts.validate(full=True)
    found: list[str] = texts.to_pylist()
    return found


def by_shapely(shape: Any) -> str:
    """Return what shapely writes, with the digits that Python gives its numbers."""
    if shape is None:
        return "null"
    text = shapely.to_geojson(shape).replace("[[]]", "[]")
    return NUMBER.sub(lambda number: repr(float(number[0])), text)


def in_digits(text: str) -> str:
    """Return a text whose numbers have no exponents, and no zeros behind their last digit."""
    return NUMBER.sub(lambda number: f"{Decimal(number[0]).normalize():f}", text)


def shapes_of(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    """Return geometries of all types, empty ones among them, and none."""

    def of_dimensions(dimensions: str) -> st.SearchStrategy[Any]:
        place = st.tuples(*[numbers] * len(dimensions))
        line = st.lists(place, min_size=2, max_size=4)
        ring = st.lists(place, min_size=3, max_size=4).map(lambda places: [*places, places[0]])
        polygon = st.lists(ring, min_size=1, max_size=3)
        coordinates = {
            POINT: place | st.just(()),
            LINE: line | st.just([]),
            POLYGON: polygon | st.just([]),
            MULTI_POINT: st.lists(place, max_size=3),
            MULTI_LINE: st.lists(line, max_size=3),
            MULTI_POLYGON: st.lists(polygon, max_size=3),
        }
        return st.one_of(
            *(st.builds(Shape, st.just(kind), st.just(dimensions), parts) for kind, parts in coordinates.items())
        )

    some = st.sampled_from(["XY", "XYZ", "XYM", "XYZM"]).flatmap(of_dimensions)
    return st.none() | some.map(lambda shape: shapely.from_wkb(shape.wkb()))


@IN_ANY_TIME
@given(st.lists(shapes_of(ORDINARY), max_size=6))
def test_texts_are_those_of_shapely_byte_for_byte(shapes: list[Any]) -> None:
    assert written(shapes) == [by_shapely(shape) for shape in shapes]


@IN_ANY_TIME
@given(st.lists(shapes_of(ALL), max_size=4))
def test_numbers_of_any_size_have_the_digits_of_shapely_and_are_read_back_the_same(shapes: list[Any]) -> None:
    found = written(shapes)
    assert [in_digits(text) for text in found] == [in_digits(by_shapely(shape)) for shape in shapes]
    expected = ["null" if shape is None else shapely.to_geojson(shape).replace("[[]]", "[]") for shape in shapes]
    assert [json.loads(text) for text in found] == [json.loads(text) for text in expected]


@pytest.mark.parametrize(
    "shape",
    [
        wkt("MULTIPOINT (EMPTY, (1 2))"),
        wkt("MULTILINESTRING (EMPTY, (1 2, 3 4))"),
        wkt("MULTIPOLYGON (EMPTY, ((1 2, 3 4, 5 6, 1 2)))"),
        wkt("GEOMETRYCOLLECTION (POINT (1 2), GEOMETRYCOLLECTION (LINESTRING (1 2, 3 4)))"),
        wkt("GEOMETRYCOLLECTION EMPTY"),
        shapely.linestrings([[15, 50, 1], [16, 50, np.nan]]),
        shapely.multipoints([[15, 50, np.nan], [16, 50, 3]]),
    ],
    ids=lambda shape: shape.wkt,
)
def test_odd_geometries_are_written_beside_plain_ones_of_their_type(shape: Any) -> None:
    shapes = [wkt("POINT (1 2)"), shape, None, wkt("MULTIPOINT (1 2)"), wkt("LINESTRING Z (1 2 3, 4 5 6)"), shape]
    assert written(shapes) == [by_shapely(item) for item in shapes]


def test_a_number_has_no_more_digits_than_it_needs() -> None:
    assert written([wkt("POINT (-15.0623958 131.7354208)")]) == [
        '{"type":"Point","coordinates":[-15.0623958,131.7354208]}'
    ]
