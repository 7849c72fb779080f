"""Columns of JSON values: typed where all values are of one type, JSON texts where they are not.

So a GeoJSON layer is held as Arrow and can still be given back as it came: attributes that only some features have,
explicit nulls, nested values, and values of mixed types included.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import msgspec
import pyarrow as pa

from processes.features.layer import JSON_TEXT, OMIT_NULLS, TYPE_OF_VALUES

_EXACT_IN_DOUBLE = 2**53
_encode = msgspec.json.Encoder().encode


class ColumnType(Enum):
    """The type that holds all values of a column, nulls left aside."""

    EMPTY = pa.null()
    BOOLEAN = pa.bool_()
    INTEGER = pa.int64()
    NUMBER = pa.float64()
    TEXT = pa.string()
    JSON = pa.large_string()


def kind_of(value: Any) -> ColumnType:
    """Return the narrowest kind that holds a JSON value."""
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


def _joined(kinds: set[ColumnType], largest_integer: int, is_exact: bool) -> ColumnType:
    kinds = kinds - {ColumnType.EMPTY}
    if len(kinds) <= 1:
        return kinds.pop() if kinds else ColumnType.EMPTY
    if kinds == {ColumnType.INTEGER, ColumnType.NUMBER} and largest_integer <= _EXACT_IN_DOUBLE and not is_exact:
        return ColumnType.NUMBER
    return ColumnType.JSON


@dataclass(slots=True)
class AttributeColumn:
    """One attribute, gathered in slices of features."""

    is_exact: bool = False
    """True = whole numbers among fractions stay whole, as JSON texts: 1 is not 1.0 where it names something."""

    slices: list[tuple[int, pa.Array, bool]] = field(default_factory=list)
    """Place of the first feature, the values of a slice in the kind that suits it, whether its nulls mean "absent"."""
    kinds: set[ColumnType] = field(default_factory=set)
    largest_integer: int = 0
    has_absent: bool = False
    has_null: bool = False

    def add(self, start: int, values: list[Any]) -> None:
        """Take the values of a slice; `msgspec.UNSET` where a feature does not have the attribute."""
        absent, null = msgspec.UNSET in values, None in values
        self.has_absent |= absent
        self.has_null |= null
        present = [None if value is msgspec.UNSET else value for value in values]
        kinds = set(map(kind_of, present))
        integers = [abs(value) for value in present if type(value) is int] if ColumnType.INTEGER in kinds else [0]
        kind = _joined(kinds, max(integers), self.is_exact)
        self.kinds |= kinds
        self.largest_integer = max(self.largest_integer, *integers)
        if kind is ColumnType.JSON or (absent and null):
            texts = [None if value is msgspec.UNSET else _encode(value).decode() for value in values]
            self.slices.append((start, pa.array(texts, ColumnType.JSON.value), True))
        else:
            self.slices.append((start, pa.array(present, kind.value), absent))

    def finished(self, name: str, count: int) -> tuple[pa.Field, pa.ChunkedArray]:
        """Return the column of `count` features in the one kind that holds all slices."""
        self.has_absent |= sum(len(values) for _, values, _ in self.slices) < count
        kind = _joined(self.kinds, self.largest_integer, self.is_exact)
        if self.has_absent and self.has_null:
            kind = ColumnType.JSON
        dtype = pa.string() if kind is ColumnType.EMPTY else kind.value
        chunks, done = [], 0
        for start, values, nulls_absent in self.slices:
            chunks += [pa.nulls(start - done, dtype)] if start > done else []
            chunks.append(_as_json(values, nulls_absent) if kind is ColumnType.JSON else values.cast(dtype))
            done = start + len(values)
        chunks += [pa.nulls(count - done, dtype)] if count > done else []
        return pa.field(name, dtype, metadata=self._metadata(kind)), pa.chunked_array(chunks, dtype)

    def _metadata(self, kind: ColumnType) -> dict[bytes, bytes] | None:
        if kind is not ColumnType.JSON:
            return OMIT_NULLS if self.has_absent else None
        of_values = _joined(self.kinds, self.largest_integer, self.is_exact)
        return (
            JSON_TEXT if of_values is ColumnType.JSON else JSON_TEXT | {TYPE_OF_VALUES: str(of_values.value).encode()}
        )


def _as_json(values: pa.Array, nulls_absent: bool) -> pa.Array:
    """Write a slice as JSON texts."""
    if values.type == ColumnType.JSON.value:
        return values
    texts = [None if value is None and nulls_absent else _encode(value).decode() for value in values.to_pylist()]
    return pa.array(texts, ColumnType.JSON.value)
