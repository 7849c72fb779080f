"""A column holds JSON values in the narrowest type that gives every one of them back."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from processes.features.layer import JSON_TEXT, OMIT_NULLS, TYPE_OF_VALUES, is_json_text
from processes.features.reading.columns import AttributeColumn, ColumnType, column_type_of
from tables import each_row

ABSENT = msgspec.UNSET


def finished(*slices: list[Any], gaps: int = 0) -> tuple[pa.Field, pa.ChunkedArray]:
    """Gather slices, each `gaps` features after the one before; as many features follow the last."""
    column, start = AttributeColumn(), 0
    for values in slices:
        start += gaps
        column.add(start, values)
        start += len(values)
    return column.to_arrow("name", start + gaps)


def given_back(field: pa.Field, values: pa.ChunkedArray) -> list[Any]:
    """Return what a column says, as its metadata tells to read it."""
    found = values.to_pylist()
    if is_json_text(field):
        return [ABSENT if text is None else json.loads(text) for text in found]
    return [ABSENT if value is None and field.metadata == OMIT_NULLS else value for value in found]


@each_row(
    ("value", "expected"),
    [
        (None, ColumnType.EMPTY),
        (True, ColumnType.BOOLEAN),
        (1, ColumnType.INTEGER),
        (2**63 - 1, ColumnType.INTEGER),
        (-(2**63), ColumnType.INTEGER),
        (2**63, ColumnType.JSON),
        (-(2**63) - 1, ColumnType.JSON),
        (1.0, ColumnType.NUMBER),
        ("1", ColumnType.TEXT),
        ([], ColumnType.JSON),
        ({}, ColumnType.JSON),
    ],
)
def test_kind_of_a_value_is_the_narrowest(value: Any, expected: ColumnType) -> None:
    assert column_type_of(value) is expected


@each_row(
    ("values", "expected"),
    [
        ([True, None, False], pa.bool_()),
        ([1, None, 2], pa.int64()),
        ([1.5, None], pa.float64()),
        ([1, 1.5], pa.float64()),
        ([2**53, 1.5], pa.float64()),
        ([2**53 + 1, 1.5], pa.large_string()),
        (["a", None], pa.string()),
        ([None, None], pa.string()),
        ([1, "a"], pa.large_string()),
        ([True, 1], pa.large_string()),
        ([[1]], pa.large_string()),
        ([{"a": 1}, None], pa.large_string()),
        ([2**63, 1], pa.large_string()),
    ],
    ids=str,
)
@each_row("sliced", [False, True])
def test_column_has_the_type_of_all_its_values_however_they_are_sliced(
    values: list[Any], expected: pa.DataType, sliced: bool
) -> None:
    field, column = finished(*([[value] for value in values] if sliced else [values]))
    assert field.type == column.type == expected
    assert given_back(field, column) == values


@each_row(
    ("slices", "expected"),
    [
        ([[1, 2]], None),
        ([[1, None]], None),
        ([[1, ABSENT]], OMIT_NULLS),
        ([[1], [ABSENT, 2]], OMIT_NULLS),
        ([[1, ABSENT, None]], JSON_TEXT | {TYPE_OF_VALUES: b"int64"}),
        ([[1.5, ABSENT], [None, 1]], JSON_TEXT | {TYPE_OF_VALUES: b"double"}),
        ([[None], [ABSENT, True]], JSON_TEXT | {TYPE_OF_VALUES: b"bool"}),
        ([["a"], [1]], JSON_TEXT),
        ([[None, ABSENT], ["a", {}]], JSON_TEXT),
    ],
    ids=str,
)
def test_metadata_says_what_a_null_means(slices: list[list[Any]], expected: Any) -> None:
    field, column = finished(*slices)
    assert field.metadata == expected
    assert given_back(field, column) == [value for values in slices for value in values]


def test_features_before_between_and_behind_do_not_have_the_attribute() -> None:
    field, column = finished([1, 2], [3], gaps=2)
    assert given_back(field, column) == [ABSENT, ABSENT, 1, 2, ABSENT, ABSENT, 3, ABSENT, ABSENT]
    assert len(column) == 9


def test_column_without_values_is_all_absent() -> None:
    _, column = AttributeColumn().to_arrow("name", 3)
    assert column.to_pylist() == [None] * 3


_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(2**53 - 2, 2**53 + 2),
    st.integers(2**63 - 2, 2**63 + 2),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=5),
)
_values = st.one_of(
    st.just(ABSENT),
    _scalars,
    st.lists(_scalars, max_size=3),
    st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), _scalars, max_size=3),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(_values, min_size=1, max_size=5), max_size=5), st.integers(0, 2))
def test_any_values_in_any_slices_come_back(slices: list[list[Any]], gaps: int) -> None:
    field, column = finished(*slices, gaps=gaps)
    expected: list[Any] = []
    for values in slices:
        expected += [ABSENT] * gaps + values
    expected += [ABSENT] * gaps
    found = given_back(field, column)
    if all(value in (None, ABSENT) for value in expected):
        assert len(found) == len(expected)
        return
    assert [ABSENT if value is ABSENT else value for value in found] == expected
    for ours, theirs in zip(found, expected, strict=True):
        assert isinstance(ours, bool) == isinstance(theirs, bool)
