"""Columns of JSON texts, which only GeoJSON needs, as a table has them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import msgspec
import pyarrow as pa

from processes.features.layer import TYPE_OF_VALUES, is_json_text
from processes.features.writing.result import ResultLayer, RowBatch, with_attributes

_TYPES = {str(dtype).encode(): dtype for dtype in (pa.bool_(), pa.int64(), pa.float64())}


def tabular(result: ResultLayer) -> ResultLayer:
    """Return a result without columns of JSON texts.

    Values of one type get that type. Of several types they become texts: texts as they are, others as JSON. A feature
    that has no such attribute, and one whose attribute is null, both have null.
    """
    schema = pa.schema([item.with_type(_type(item)).remove_metadata() for item in result.schema])

    def rows() -> Iterator[RowBatch]:
        for part in result.rows():
            columns = [_values(*pair) for pair in zip(result.schema, part.attributes.columns, strict=True)]
            yield with_attributes(part, columns, schema)

    return dataclasses.replace(result, schema=schema, rows=rows)


def _type(item: pa.Field) -> pa.DataType:
    return _TYPES.get(item.metadata.get(TYPE_OF_VALUES), pa.string()) if is_json_text(item) else item.type


def _values(item: pa.Field, values: pa.Array) -> pa.Array:
    if not is_json_text(item):
        return values
    dtype, texts = _type(item), values.to_pylist()
    is_text = pa.types.is_string(dtype)
    return pa.array([None if text is None else _value(text, is_text) for text in texts], dtype)


def _value(text: str, is_text: bool) -> object:
    if text == "null":
        return None
    return text if is_text and not text.startswith('"') else msgspec.json.decode(text)
