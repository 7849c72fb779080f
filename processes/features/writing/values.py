"""Ids and attribute values for formats that know fewer types than Arrow, or no columns of JSON texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from processes.features.layer import JSON_COLUMN, OMIT_NULLS, TYPE_OF_VALUES, is_json_column, is_json_text
from processes.features.writing.result import ResultLayer, RowBatch, with_attributes
from processes.features.writing.texts import TEXT

_encoder = msgspec.json.Encoder()
encode_json = _encoder.encode

_TYPES = {str(dtype).encode(): dtype for dtype in (pa.bool_(), pa.int64(), pa.float64())}
"""Types that all values of a column of JSON texts can have, texts left aside, by name."""


def without_json_texts(result: ResultLayer) -> ResultLayer:
    """Return a result without columns of JSON texts.

    Values of one type get that type. Of several types they become texts: texts as they are, others as JSON. What was
    JSON in the input stays JSON, and its column says so. A feature that has no such attribute, and one whose attribute
    is null, both have null.
    """
    schema = pa.schema(
        [
            item.with_type(_column_type(item)).with_metadata(JSON_COLUMN if is_json_column(item) else None)
            for item in result.schema
        ]
    )

    def rows() -> Iterator[RowBatch]:
        for batch in result.rows():
            columns = [_decoded(*pair) for pair in zip(result.schema, batch.attributes.columns, strict=True)]
            yield with_attributes(batch, columns, schema)

    return msgspec.structs.replace(result, schema=schema, rows=rows)


def _column_type(item: pa.Field) -> pa.DataType:
    return _TYPES.get(item.metadata.get(TYPE_OF_VALUES), pa.string()) if is_json_text(item) else item.type


def _decoded(item: pa.Field, values: pa.Array) -> pa.Array:
    if not is_json_text(item):
        return values
    if is_json_column(item):
        is_null = pc.equal(values, "null")
        return pc.if_else(is_null, pa.scalar(None, pa.string()), values.cast(pa.string()))
    dtype, texts = _column_type(item), values.to_pylist()
    is_text = pa.types.is_string(dtype)
    return pa.array([None if text is None else _decoded_value(text, is_text) for text in texts], dtype)


def _decoded_value(text: str, is_text: bool) -> object:
    if text == "null":
        return None
    return text if is_text and not text.startswith('"') else msgspec.json.decode(text)


def flat(values: pa.Array) -> pa.Array:
    """Return values in types that all formats know: times with a zone in UTC, times of day as texts."""
    if pa.types.is_time(values.type):
        return values.cast(pa.string())
    if pa.types.is_timestamp(values.type) and values.type.tz is not None:
        return values.cast(pa.timestamp(values.type.unit, "UTC"))
    return values


def flat_type(dtype: pa.DataType) -> pa.DataType:
    """Return the type of `flat` values."""
    return flat(pa.array([], dtype)).type


def iso_texts(values: pa.Array) -> pa.Array:
    """Return flat dates and times as ISO 8601 texts."""
    if not pa.types.is_timestamp(values.type):
        return values.cast(pa.string())
    # by way of whole numbers, as for a zone Arrow would need a database that not every machine has
    plain = values.cast(pa.int64()).cast(pa.timestamp(values.type.unit)).cast(pa.string())
    texts = pc.replace_substring(plain, " ", "T", max_replacements=1)
    return texts if values.type.tz is None else pc.binary_join_element_wise(texts, "Z", "")


def json_values(item: pa.Field, values: pa.Array) -> list[Any]:
    """Return a column's values as JSON encodes them. The field's metadata says whether they are JSON texts."""
    if is_json_text(item):
        return [None if text is None else msgspec.Raw(text.encode()) for text in values.to_pylist()]
    plain = flat(values)
    is_temporal = pa.types.is_timestamp(plain.type) or pa.types.is_date(plain.type)
    return list((iso_texts(plain) if is_temporal else plain).to_pylist())


def json_texts(item: pa.Field, values: pa.Array) -> pa.Array:
    """Return a column's values as JSON texts, `(n,)`; null where a feature has no such attribute."""
    if is_json_text(item):
        return values.cast(TEXT)
    texts = encoded(json_values(item, values))
    return pc.if_else(values.is_valid(), texts, pa.scalar(None, TEXT)) if item.metadata == OMIT_NULLS else texts


def encoded(values: Sequence[Any]) -> pa.Array:
    """Return values as JSON texts, `(n,)`."""
    lines = np.frombuffer(_encoder.encode_lines(values), np.uint8)
    ends = np.flatnonzero(lines == ord("\n"))  # which no text has
    offsets = np.concatenate([[0], ends - np.arange(len(ends))])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(lines[lines != ord("\n")])]
    return pa.Array.from_buffers(TEXT, len(ends), buffers)


def plain_id_type(dtype: pa.DataType) -> pa.DataType:
    """Return the type of `plain_ids`."""
    return pa.string() if pa.types.is_large_string(dtype) else dtype


def plain_ids(ids: pa.Array) -> pa.Array:
    """Return ids as they are, JSON texts as plain texts."""
    if not pa.types.is_large_string(ids.type):
        return ids
    texts = ["null" if text is None else text for text in ids.to_pylist()]
    values = msgspec.json.decode("[" + ",".join(texts) + "]")
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def text_ids(ids: pa.Array | None, positions: NDArray[Any]) -> list[str]:
    """Return ids as texts; the position of the feature where a row has none."""
    values = [None] * len(positions) if ids is None else plain_ids(ids).to_pylist()
    return [
        str(position) if value is None else str(value)
        for position, value in zip(positions.tolist(), values, strict=True)
    ]
