"""Ids and attribute values on their way into formats that know fewer types than Arrow."""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from processes.features.layer import OMIT_NULLS, is_json_text

encode_json = msgspec.json.Encoder(decimal_format="number").encode


def flat(values: pa.Array) -> pa.Array:
    """Return values as a table has them: numbers, booleans, texts, bytes, dates, times; nested ones as JSON texts.

    Times with a zone are in UTC, times of day are texts, and durations are counted in their unit.
    """
    dtype, types = values.type, pa.types
    if isinstance(dtype, pa.BaseExtensionType):
        return flat(values.storage)
    if types.is_dictionary(dtype):
        return flat(values.dictionary_decode())
    if types.is_nested(dtype):
        items = values.to_pylist(maps_as_pydicts="lossy")
        return pa.array([None if item is None else encode_json(item).decode() for item in items], pa.string())
    if types.is_null(dtype) or types.is_time(dtype) or dtype == pa.string_view():
        return values.cast(pa.string())
    if types.is_fixed_size_binary(dtype) or dtype == pa.binary_view():
        return values.cast(pa.binary())
    if types.is_float16(dtype):
        return values.cast(pa.float32())
    if types.is_duration(dtype):
        return values.cast(pa.int64())
    if types.is_date64(dtype):
        return values.cast(pa.date32())
    if types.is_timestamp(dtype) and dtype.tz is not None:
        return values.cast(pa.timestamp(dtype.unit, "UTC"))
    return values


def flat_type(dtype: pa.DataType) -> pa.DataType:
    return flat(pa.array([], dtype)).type


def iso_texts(values: pa.Array) -> pa.Array:
    """Return flat dates and times as ISO 8601 texts."""
    if not pa.types.is_timestamp(values.type):
        return values.cast(pa.string())
    # by way of whole numbers, as for a zone Arrow would look into a database that need not be there
    plain = values.cast(pa.int64()).cast(pa.timestamp(values.type.unit)).cast(pa.string())
    texts = pc.replace_substring(plain, " ", "T", max_replacements=1)
    return texts if values.type.tz is None else pc.binary_join_element_wise(texts, "Z", "")


def json_values(item: pa.Field, values: pa.Array, absent: msgspec.UnsetType | None) -> list[Any]:
    """Return values as JSON has them: JSON texts as what they say, `absent` for what a feature does not have."""
    if is_json_text(item):
        return [absent if text is None else msgspec.Raw(text.encode()) for text in values.to_pylist()]
    if pa.types.is_nested(values.type):
        given = values.to_pylist(maps_as_pydicts="lossy")
    else:
        given = _json_scalars(flat(values)).to_pylist()
    return [absent if value is None else value for value in given] if item.metadata == OMIT_NULLS else given


def _json_scalars(values: pa.Array) -> pa.Array:
    is_temporal = pa.types.is_timestamp(values.type) or pa.types.is_date(values.type)
    return iso_texts(values) if is_temporal else values


def plain_id_type(dtype: pa.DataType) -> pa.DataType:
    """Return the type of ids as `plain_ids` gives them."""
    return pa.string() if pa.types.is_large_string(dtype) else dtype


def plain_ids(ids: pa.Array) -> pa.Array:
    """Return ids as they are, those held as JSON texts as plain texts."""
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
