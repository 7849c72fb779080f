"""Features of a finished result that match a query, a page at a time, as GeoJSON in any of the result's CRS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyproj
import shapely
from numpy.typing import NDArray

from processes.crs import is_north_first
from processes.errors import InputError
from processes.features.layer import JSON_TEXT, is_json_text
from processes.features.serving.feature_index import Boxes, FeatureIndex, served_transform
from processes.features.serving.stored_result import StoredResult
from processes.features.writing.geojson import features_of, id_texts
from processes.features.writing.geojson_geometry import geometry_texts
from processes.features.writing.result import RowBatch
from processes.features.writing.values import flat, iso_texts, text_ids
from processes.features.writing.write import rename_reserved

ID = "id"
"""Attribute that repeats the id of a feature: QGIS shows none but attributes."""
_PAGE_BYTES = 2**25
"""Geometries of a page have no more bytes, unless one alone has."""


class ItemQuery(msgspec.Struct, frozen=True):
    """Which features are wanted."""

    boxes: Boxes | None
    """Boxes of which a feature touches any, `(k, 4)`; None = anywhere."""
    crs: pyproj.CRS
    """Of the boxes."""
    is_own: bool
    """Whether that is the result's own CRS, not CRS84."""
    equal: Mapping[str, str]
    """Values that fields have, as text, by the fields' names."""


class FoundItems(msgspec.Struct, frozen=True):
    """A page of the features that match."""

    matched: int
    """Number of all that match."""
    rows: NDArray[np.int64]
    """Indices of those of the page, `(n,)`."""
    has_more: bool
    """Whether further ones follow the page."""


def item_fields(stored: StoredResult) -> pa.Schema:
    """Return the attributes of a result's features, under the names that they have there, without `ID`."""
    return rename_reserved(stored.schema, {ID})[0]


def find_items(stored: StoredResult, index: Path | None, query: ItemQuery, limit: int, offset: int) -> FoundItems:
    """Find the features that match.

    Args:
        stored: the result.
        index: its index; needed where the query has boxes only.
        query: which features.
        limit: number of features at most.
        offset: number of features to pass over.

    Raises:
        InputError: a value cannot be that of its field.
    """
    tests = [_test(stored, name, text) for name, text in query.equal.items()]
    if query.boxes is None and not tests:
        first = min(offset, stored.count)
        return _cut(stored, np.arange(first, min(stored.count, first + limit)), stored.count, offset)
    matched, parts = 0, []
    for start, rows in _matches(stored, index, query):
        if tests and len(rows):
            block = stored.block(start // stored.block_rows)
            rows = rows[np.logical_and.reduce([test(block)[rows] for test in tests])]
        low, high = np.clip([offset - matched, offset + limit - matched], 0, len(rows))
        if high > low:
            parts.append(start + rows[low:high])
        matched += len(rows)
    return _cut(stored, np.concatenate([np.zeros(0, np.int64), *parts]), matched, offset)


def _cut(stored: StoredResult, rows: NDArray[np.int64], matched: int, offset: int) -> FoundItems:
    """Return a page without the rows whose geometries are too many bytes together."""
    geometry = stored.take(rows).geometry if len(rows) else None
    if geometry is not None:
        sizes = np.cumsum(pc.fill_null(pc.binary_length(geometry), 0).to_numpy())
        rows = rows[: max(1, int(np.searchsorted(sizes, _PAGE_BYTES, side="right")))]
    return FoundItems(matched, rows, offset + len(rows) < matched)


def _matches(stored: StoredResult, index: Path | None, query: ItemQuery) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield the first row of each block, and which rows of the block lie where they are wanted, from 0."""
    if query.boxes is None or index is None:
        for number in range(stored.blocks):
            start = number * stored.block_rows
            yield start, np.arange(min(stored.block_rows, stored.count - start))
        return
    areas: list[shapely.Polygon] = [shapely.box(*box) for box in query.boxes.tolist()]
    for number, rows, lie_within in FeatureIndex(index, query.is_own).near(query.boxes):
        doubtful = rows[~lie_within]
        if len(doubtful):
            start = number * stored.block_rows
            geometry = stored.take(start + doubtful).geometry
            shapes = served_transform(stored, query.crs).apply(geometry, len(doubtful))
            touching = np.logical_or.reduce([shapely.intersects(shapes, area) for area in areas])
            rows = np.sort(np.concatenate([rows[lie_within], doubtful[touching]]))
        yield number * stored.block_rows, rows


def _test(stored: StoredResult, name: str, text: str) -> Any:
    """Return a function of a block that says which of its rows have a value in a field, `(n,)`."""
    if name == ID:
        return lambda block: np.array([found == text for found in text_ids(block.ids, block.positions)])
    place = item_fields(stored).names.index(name)
    item = stored.schema.field(place)
    wanted = _value(item, name, text)

    def test(block: RowBatch) -> NDArray[np.bool_]:
        values = block.attributes.column(place)
        if is_json_text(item):
            found = pc.is_in(values, value_set=pa.array(wanted, values.type))
        else:
            plain = _comparable(flat(values))
            found = pc.equal(plain, pa.scalar(wanted, plain.type))
        return np.asarray(pc.fill_null(found, False).to_numpy(zero_copy_only=False), bool)

    return test


def _comparable(values: pa.Array) -> pa.Array:
    dtype = values.type
    is_plain = pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_boolean(dtype)
    if is_plain or pa.types.is_string(dtype) or pa.types.is_large_string(dtype):
        return values
    if pa.types.is_timestamp(dtype) or pa.types.is_date(dtype):
        return iso_texts(values)
    return values.cast(pa.string())


def _value(item: pa.Field, name: str, text: str) -> Any:
    """Return the value of a field that a text in an address stands for; of JSON texts all that it can stand for."""
    if is_json_text(item):
        return [msgspec.json.encode(text).decode(), text]
    dtype = item.type
    try:
        if pa.types.is_integer(dtype):
            return pa.scalar(int(text), dtype).as_py()
        if pa.types.is_floating(dtype):
            return float(text)
    except (ValueError, pa.ArrowInvalid, OverflowError) as err:
        raise InputError(f"{name} is {text[:200]!r}, but this field has numbers") from err
    if pa.types.is_boolean(dtype):
        if text not in ("true", "false"):
            raise InputError(f"{name} is {text[:200]!r}; this field has true and false")
        return text == "true"
    return text


def item_texts(stored: StoredResult, rows: NDArray[np.int64], crs: pyproj.CRS, is_own: bool) -> list[bytes]:
    """Return features as JSON texts.

    Args:
        stored: the result.
        rows: their indices, ascending, `(n,)`.
        crs: of their coordinates.
        is_own: False = it is CRS84. Coordinates are in the order of the CRS's authority (Part 2, 6.2).
    """
    batch = stored.take(rows)
    geometries = served_transform(stored, crs).apply(batch.geometry, len(rows))
    if is_own and is_north_first(crs):
        geometries = _northing_first(geometries)
    ids = pc.coalesce(id_texts(batch.ids, len(rows)), pa.array(batch.positions).cast(pa.large_string()))
    schema = pa.schema([pa.field(ID, ids.type, metadata=JSON_TEXT), *item_fields(stored)])
    attributes = pa.RecordBatch.from_arrays([ids, *batch.attributes.columns], schema=schema)
    return [text.encode() for text in features_of(ids, geometry_texts(geometries), attributes).to_pylist()]


def _northing_first(geometries: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return geometries with x and y exchanged."""

    def exchanged(coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
        return coordinates[:, [1, 0, *range(2, coordinates.shape[1])]]

    result = geometries.copy()
    has_z = shapely.has_z(geometries)
    for part, include_z in ((has_z, True), (~has_z, False)):
        result[part] = shapely.transform(geometries[part], exchanged, include_z=include_z)
    return result
