"""Columns of JSON values: typed where all values are of one type, JSON texts where they are not.

So a GeoJSON layer is held as Arrow and can still be written as it came: attributes that only some features have,
explicit nulls, nested values, and values of mixed types included.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec
import pyarrow as pa

from processes.features.layer import JSON_TEXT, OMIT_NULLS, TYPE_OF_VALUES

_EXACT_IN_DOUBLE = 2**53
_encode = msgspec.json.Encoder().encode


class ColumnType(Enum):
    """The type of all values of a column that are not null."""

    EMPTY = pa.null()
    BOOLEAN = pa.bool_()
    INTEGER = pa.int64()
    NUMBER = pa.float64()
    TEXT = pa.string()
    JSON = pa.large_string()


def column_type_of(value: Any) -> ColumnType:
    """Return the narrowest type that holds a JSON value."""
    match value:
        case None:
            return ColumnType.EMPTY
        case bool():
            return ColumnType.BOOLEAN
        case int():
            return ColumnType.INTEGER if -(2**63) <= value < 2**63 else ColumnType.JSON
        case float():
            return ColumnType.NUMBER
        case str():
            return ColumnType.TEXT
        case _:
            return ColumnType.JSON


def _common_type(column_types: set[ColumnType], largest_integer: int, is_exact: bool) -> ColumnType:
    column_types = column_types - {ColumnType.EMPTY}
    if len(column_types) <= 1:
        return column_types.pop() if column_types else ColumnType.EMPTY
    if column_types == {ColumnType.INTEGER, ColumnType.NUMBER} and largest_integer <= _EXACT_IN_DOUBLE and not is_exact:
        return ColumnType.NUMBER
    return ColumnType.JSON


class AttributeColumn(msgspec.Struct):
    """One attribute, gathered in slices of features."""

    is_exact: bool = False
    """True = whole numbers among fractions stay whole, as JSON texts: an id 1 is not 1.0."""

    slices: list[tuple[int, pa.Array, bool]] = msgspec.field(default_factory=list)
    """Index of a slice's first feature, its values in their common type, and whether null means "absent" there."""
    column_types: set[ColumnType] = msgspec.field(default_factory=set)
    """Types of all values so far."""
    largest_integer: int = 0
    """Largest magnitude of a whole number so far."""
    has_absent: bool = False
    """True = a feature does not have the attribute."""
    has_null: bool = False
    """True = a feature has an explicit null."""

    def add(self, start: int, values: list[Any]) -> None:
        """Add the values of a slice.

        Args:
            start: index of its first feature; not before the end of the slice before.
            values: JSON values; `msgspec.UNSET` where a feature does not have the attribute.
        """
        absent, null = msgspec.UNSET in values, None in values
        self.has_absent |= absent
        self.has_null |= null
        present = [None if value is msgspec.UNSET else value for value in values] if absent else values
        of_each_type = dict(zip(map(type, present), present, strict=True))
        integers = [value for value in present if type(value) is int] if int in of_each_type else [0]
        ends = [min(integers), max(integers)] if int in of_each_type else []
        column_types = set(map(column_type_of, [*of_each_type.values(), *ends]))
        largest = max(map(abs, integers))
        column_type = _common_type(column_types, largest, self.is_exact)
        self.column_types |= column_types
        self.largest_integer = max(self.largest_integer, largest)
        if column_type is ColumnType.JSON or (absent and null):
            texts = [None if value is msgspec.UNSET else _encode(value).decode() for value in values]
            self.slices.append((start, pa.array(texts, ColumnType.JSON.value), True))
        else:
            self.slices.append((start, pa.array(present, column_type.value), absent))

    def to_arrow(self, name: str, count: int) -> tuple[pa.Field, pa.ChunkedArray]:
        """Return the column of `count` features in the one type that holds all slices."""
        self.has_absent |= sum(len(values) for _, values, _ in self.slices) < count
        column_type = _common_type(self.column_types, self.largest_integer, self.is_exact)
        if self.has_absent and self.has_null:
            column_type = ColumnType.JSON
        dtype = pa.string() if column_type is ColumnType.EMPTY else column_type.value
        chunks, done = [], 0
        for start, values, null_is_absent in self.slices:
            chunks += [pa.nulls(start - done, dtype)] if start > done else []
            chunks.append(_as_json(values, null_is_absent) if column_type is ColumnType.JSON else values.cast(dtype))
            done = start + len(values)
        chunks += [pa.nulls(count - done, dtype)] if count > done else []
        return pa.field(name, dtype, metadata=self._metadata(column_type)), pa.chunked_array(chunks, dtype)

    def _metadata(self, column_type: ColumnType) -> dict[bytes, bytes] | None:
        if column_type is not ColumnType.JSON:
            return OMIT_NULLS if self.has_absent else None
        of_values = _common_type(self.column_types, self.largest_integer, self.is_exact)
        return (
            JSON_TEXT if of_values is ColumnType.JSON else JSON_TEXT | {TYPE_OF_VALUES: str(of_values.value).encode()}
        )


def _as_json(values: pa.Array, null_is_absent: bool) -> pa.Array:
    """Write a slice as JSON texts."""
    if values.type == ColumnType.JSON.value:
        return values
    texts = [None if value is None and null_is_absent else _encode(value).decode() for value in values.to_pylist()]
    return pa.array(texts, ColumnType.JSON.value)
