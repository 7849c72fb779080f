"""Attributes as every output format can hold them, whatever their types in the file.

Whole numbers, fractions, booleans, texts, bytes, dates and times stay what they are. Nested values become JSON texts.
"""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from processes.errors import LayerError
from processes.features.layer import JSON_COLUMN, JSON_TEXT

_EXACT_DIGITS = 15
"""Decimals of up to so many digits survive as a double."""
_EXACT_POWERS = 22
"""Up to this one powers of ten are doubles."""
_DATE = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[T ].*)?")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")
_ZONE = re.compile(r"[+-]\d\d:\d\d")
_encode = msgspec.json.Encoder().encode


def plain_table(table: pa.Table) -> pa.Table:
    """Return a table with columns that every output format can write.

    Raises:
        LayerError: two columns have one name, or a value cannot be held; the message names the column.
    """
    refuse_twins(table.column_names)
    fields, columns = [], []
    for item, values in zip(table.schema, table.columns, strict=True):
        try:
            column, metadata = _plain(values)
            column.validate(full=True)
            _check_times(column)
        except (pa.ArrowException, ValueError, OverflowError, TypeError, KeyError, RecursionError) as err:
            raise LayerError(f"attribute {item.name[:80]!r} of type {str(item.type)[:80]} cannot be read") from err
        fields.append(pa.field(item.name, column.type, metadata=metadata))
        columns.append(column)
    if not columns:
        return table.replace_schema_metadata(None)
    return pa.table(columns, schema=pa.schema(fields))


def with_signed_numbers(table: pa.Table) -> pa.Table:
    """Return a whole table with unsigned 64-bit numbers as signed ones, as texts where one is too large for those."""
    for index, item in enumerate(table.schema):
        if pa.types.is_uint64(item.type):
            values = table.column(index)
            fits = not len(values) or (pc.max(values).as_py() or 0) < 2**63
            table = table.set_column(index, item.name, values.cast(pa.int64() if fits else pa.string()))
    return table


def refuse_twins(names: Iterable[str]) -> None:
    """Raise LayerError where two attributes have one name."""
    twin = next((name for name, count in Counter(names).items() if count > 1), None)
    if twin is not None:
        raise LayerError(f"two attributes are named {twin[:80]!r}")


def plain_attributes(table: pa.Table) -> tuple[pa.Table, list[str]]:
    """Return attributes as GDAL gives them, as `plain_table` does, with warnings of times that are none."""
    warnings = []
    for index, item in enumerate(table.schema):
        if (item.metadata or {}).get(b"GDAL:OGR:type") == b"DateTime":
            values, is_unread = times_of_texts(table.column(index))
            table = table.set_column(index, item.name, values)
            warnings += unread_warning("time", item.name, is_unread)
    return plain_table(table), warnings


def unread_warning(kind: str, name: str, is_unread: NDArray[np.bool_]) -> list[str]:
    """Return a warning of values that were no dates or times, in a list that is empty where there are none.

    Args:
        kind: `date` or `time`.
        name: of the attribute.
        is_unread: of each feature, `(n,)`.
    """
    indices = np.flatnonzero(is_unread)
    if not indices.size:
        return []
    if indices.size == 1:
        return [f"1 {kind} of the attribute {name!r} cannot be read and is null: that of feature {indices[0] + 1}"]
    return [
        f"{indices.size} {kind}s of the attribute {name!r} cannot be read and are null; "
        f"the first is that of feature {indices[0] + 1}"
    ]


def dates_of_values(values: Sequence[object]) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Return texts as dates, and where one is none, each `(n,)`: year, month and day, as OGR takes them."""
    dates = [_date(value) for value in values]
    is_unread = [date is None and value is not None for date, value in zip(dates, values, strict=True)]
    return pa.array(dates, pa.date32()), np.array(is_unread, bool)


def _date(value: object) -> dt.date | None:
    parts = _DATE.fullmatch(value.strip()) if isinstance(value, str) else None
    try:
        return None if parts is None else dt.date(*map(int, parts.groups()))
    except ValueError:
        return None


def times_of_texts(texts: pa.ChunkedArray) -> tuple[pa.ChunkedArray, NDArray[np.bool_]]:
    """Return ISO 8601 texts as times, with their zone if they share one, in UTC if they have several.

    Texts stay texts where some have a zone and others none, and where one is finer than the milliseconds of GeoPackage
    and FlatGeobuf. Else a text that is no time is null; returns also where, `(n,)`.
    """
    none = np.zeros(len(texts), bool)
    times = _times(texts)
    if times is not None:
        return times, none
    even = pc.replace_substring_regex(texts, r"^(\d{4})/(\d\d)/(\d\d)", r"\1-\2-\3")
    even = pc.replace_substring_regex(even, r"^([0-9-]{10}) (\d\d:)", r"\1T\2")
    even = pc.replace_substring_regex(even, r"^(\d{4}-\d\d-\d\d)$", r"\1T00:00:00")
    is_unread = np.array([text is not None and not _is_time(text) for text in even.to_pylist()], bool)
    times = _times(pc.if_else(pa.array(is_unread), pa.scalar(None, texts.type), even))
    return (texts, none) if times is None else (times, is_unread)


def _is_time(text: str) -> bool:
    try:
        return _TIME.match(text) is not None and bool(dt.datetime.fromisoformat(text))
    except ValueError:
        return False


def _times(texts: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return texts as times; None = one is none or finer than milliseconds, or some have a zone and others none."""
    zones = pc.replace_substring_regex(texts, r"^.*T[^Z+-]*", "").unique().drop_null().to_pylist()
    if not zones:
        return texts.cast(pa.timestamp("ms"))
    if "" in zones and len(zones) > 1:
        return None
    with suppress(pa.ArrowInvalid):
        if zones == [""]:
            return texts.cast(pa.timestamp("ms"))
        zone = zones[0] if len(zones) == 1 and _ZONE.fullmatch(zones[0]) else "UTC"
        return texts.cast(pa.timestamp("ms", "UTC")).cast(pa.timestamp("ms", zone))
    return None


def _plain(values: pa.ChunkedArray) -> tuple[pa.ChunkedArray, dict[bytes, bytes] | None]:
    dtype = values.type
    if isinstance(dtype, pa.JsonType):
        return json_texts(
            itertools.chain.from_iterable(chunk.storage.to_pylist() for chunk in values.chunks)
        ), JSON_COLUMN
    if isinstance(dtype, pa.BaseExtensionType):
        return _plain(pa.chunked_array([chunk.storage for chunk in values.chunks], dtype.storage_type))
    if pa.types.is_dictionary(dtype):
        return _plain(values.cast(dtype.value_type))
    if pa.types.is_nested(dtype):
        texts = [_json_texts(chunk) for chunk in values.chunks]
        return pa.chunked_array(texts, pa.large_string()), JSON_TEXT
    if pa.types.is_duration(dtype) or pa.types.is_interval(dtype):
        return pa.chunked_array([_texts(chunk) for chunk in values.chunks], pa.string()), None
    target = _target(dtype)
    if target == dtype:
        return values, None
    if pa.types.is_decimal(dtype) and target == pa.float64():
        return pa.chunked_array([_nearest_doubles(chunk) for chunk in values.chunks], target), None
    # nanoseconds are cut: Python, and with it JSON, knows no times finer than microseconds
    return values.cast(target, safe=not pa.types.is_temporal(dtype)), None


def _nearest_doubles(values: pa.Array) -> pa.Array:
    """Return decimals of up to 15 digits as doubles; Arrow's own cast makes 50.370000000000005 of 50.37.

    Whole numbers and powers of ten so small are doubles themselves, and the nearest one is what their division gives.
    """
    scale, width = values.type.scale, values.type.byte_width
    if not 0 <= scale <= _EXACT_POWERS or not len(values):
        return values.cast(pa.string()).cast(pa.float64())
    step = max(width // 8, 1)
    dtype: Any = np.int32 if width == 4 else np.int64
    words = np.frombuffer(values.buffers()[1], dtype)  # the lowest of a value comes first
    numbers = words[values.offset * step : (values.offset + len(values)) * step : step]
    return pa.array(numbers / float(10**scale), mask=values.is_null().to_numpy(zero_copy_only=False))


def _target(dtype: pa.DataType) -> pa.DataType:
    types = pa.types
    if types.is_null(dtype) or types.is_large_string(dtype) or types.is_string_view(dtype):
        return pa.string()
    if types.is_large_binary(dtype) or types.is_binary_view(dtype) or types.is_fixed_size_binary(dtype):
        return pa.binary()
    if types.is_int8(dtype) or types.is_uint8(dtype):
        return pa.int16()
    if types.is_uint16(dtype) or types.is_uint32(dtype):
        return pa.int32() if types.is_uint16(dtype) else pa.int64()
    if types.is_float16(dtype):
        return pa.float32()
    if types.is_decimal(dtype):
        return pa.float64() if dtype.precision <= _EXACT_DIGITS else pa.string()
    if types.is_date64(dtype):
        return pa.date32()
    if types.is_timestamp(dtype) and dtype.unit == "ns":
        return pa.timestamp("us", dtype.tz)
    if types.is_time64(dtype) and dtype.unit == "ns":
        return pa.time64("us")
    is_supported = (
        types.is_boolean(dtype)
        or types.is_integer(dtype)
        or types.is_floating(dtype)
        or types.is_string(dtype)
        or types.is_binary(dtype)
        or types.is_temporal(dtype)
    )
    if not is_supported:
        raise TypeError(dtype)
    return dtype


def json_texts(values: Iterable[str | None]) -> pa.ChunkedArray:
    """Return a column of the metadata `JSON_COLUMN`; what is no JSON becomes the JSON of a text."""
    return pa.chunked_array([pa.array([_json_text(value) for value in values], pa.large_string())])


def _json_text(value: str | None) -> str:
    if value is None:
        return "null"
    try:
        msgspec.json.decode(value, type=msgspec.Raw)
        return msgspec.json.format(value, indent=-1) if "\n" in value or "\r" in value else value
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _encode(value).decode()


def _json_texts(values: pa.Array) -> pa.Array:
    texts = [_encode(value).decode() for value in values.to_pylist(maps_as_pydicts="strict")]
    return pa.array(texts, pa.large_string())


def _texts(values: pa.Array) -> pa.Array:
    return pa.array([None if value is None else str(value) for value in values.to_pylist()], pa.string())


def _check_times(values: pa.ChunkedArray) -> None:
    """Convert the earliest and the latest to Python objects: a year beyond 9999 or an unknown zone fails here."""
    if pa.types.is_temporal(values.type):
        ends: Any = pc.min_max(values)
        ends.as_py()
