"""Ids and attribute values on their way into formats that know fewer types than Arrow."""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from processes.features.layer import OMIT_NULLS, is_json_text

encode_json = msgspec.json.Encoder().encode


def flat(values: pa.Array) -> pa.Array:
    """Return values of a table in types that all formats know: times with a zone are in UTC, times of day are texts."""
    if pa.types.is_time(values.type):
        return values.cast(pa.string())
    if pa.types.is_timestamp(values.type) and values.type.tz is not None:
        return values.cast(pa.timestamp(values.type.unit, "UTC"))
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
    plain = flat(values)
    is_temporal = pa.types.is_timestamp(plain.type) or pa.types.is_date(plain.type)
    given = (iso_texts(plain) if is_temporal else plain).to_pylist()
    return [absent if value is None else value for value in given] if item.metadata == OMIT_NULLS else given


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
