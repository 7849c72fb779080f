"""Formats that GDAL writes: rows as its Arrow streams take them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from processes.crs import crs_name
from processes.errors import ServiceError
from processes.features.layer import is_json_column
from processes.features.writing.geometry import OutputTransform, iso_wkb
from processes.features.writing.result import ResultLayer, RowBatch
from processes.features.writing.values import flat, iso_texts, plain_id_type, plain_ids

_JSON = {"ARROW:extension:name": "arrow.json"}
"""Metadata by which GDAL makes a column JSON, where its format has such columns."""
_NO_ZERO = "\ufffd"
"""Replaces a zero byte, at which GDAL ends a text."""
_DATE_TIME = {b"GDAL:OGR:type": b"DateTime"}
"""Metadata of a column of ISO 8601 texts that GDAL writes as times. That takes longer than with Arrow's times, of which
GDAL 3.12 moves those before 1970 in the last second of a minute: 1955-03-04T10:15:59.500 becomes 10:16:00."""


def write_with_gdal(
    schema: pa.Schema, batches: Iterator[pa.RecordBatch], transform: OutputTransform | None, path: Path, **options: Any
) -> None:
    """Write batches to a new file. An error of this project in a batch is raised as it is.

    Args:
        schema: of the batches.
        batches: the rows.
        transform: of the geometries, for the CRS of the output; None = the result is a table.
        path: the file.
        options: of `pyogrio.write_arrow`, and of GDAL's driver.
    """
    import pyogrio  # slow to import, and other formats go without it

    errors: list[ServiceError] = []

    def watched_batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except ServiceError as err:
            errors.append(err)
            raise

    crs = None if transform is None else crs_name(transform.crs_transform.target)
    try:
        pyogrio.write_arrow(pa.RecordBatchReader.from_batches(schema, watched_batches()), path, crs=crs, **options)
    except RuntimeError as err:
        if errors:
            raise errors[0] from err
        raise


def gdal_schema(result: ResultLayer, first: Sequence[pa.Field], has_id: bool, geometry: str | None) -> pa.Schema:
    """Return the schema of a result's batches as GDAL takes them.

    Args:
        result: the result.
        first: columns before all others.
        has_id: True = the ids are the column `id`.
        geometry: name of the geometry's column; None = the result is a table.
    """
    fields = list(first)
    if has_id:
        fields.append(pa.field("id", plain_id_type(result.id_type)))
    for index, item in enumerate(result.schema):
        is_text = index in result.early_times
        metadata = _DATE_TIME if is_text else _JSON if is_json_column(item) else None
        dtype = _gdal_values(pa.array([], item.type), is_text=is_text).type
        fields.append(pa.field(item.name.replace("\0", _NO_ZERO), dtype, metadata=metadata))
    if geometry is not None:
        fields.append(pa.field(geometry, pa.large_binary()))
    return pa.schema(fields)


def gdal_batch(
    schema: pa.Schema, rows: RowBatch, first: Sequence[pa.Array], has_id: bool, wkb: pa.Array | None
) -> pa.RecordBatch:
    """Return rows as GDAL takes them.

    Args:
        schema: of the batch.
        rows: the rows, n of them.
        first: columns before all others, each `(n,)`.
        has_id: True = the ids are the column `id`.
        wkb: the geometries in the CRS of the output, `(n,)`; None = the result is a table.
    """
    columns = list(first)
    if has_id:
        columns.append(plain_ids(rows.ids))
    fields = list(schema)[len(columns) :]
    columns += [
        _gdal_values(values, is_text=item.metadata == _DATE_TIME)
        for item, values in zip(fields, rows.attributes.columns, strict=False)  # the geometry is the last field
    ]
    if wkb is not None:
        columns.append(wkb)
    return pa.record_batch(columns, schema=schema)


def output_wkb(rows: RowBatch, transform: OutputTransform | None) -> pa.Array | None:
    """Return the geometries of rows in the CRS of the output, as they came where nothing changes; None = a table."""
    if transform is None:
        return None
    if not transform.is_needed and rows.geometry is not None:
        return rows.geometry.cast(pa.large_binary())
    return iso_wkb(transform.apply(rows.geometry, rows.attributes.num_rows))


def _gdal_values(values: pa.Array, is_text: bool) -> pa.Array:
    """Return an attribute as GDAL takes it; `is_text`: True = times as ISO 8601 texts."""
    plain = flat(values)
    if is_text:
        return iso_texts(plain)
    return pc.replace_substring(plain, "\0", _NO_ZERO) if pa.types.is_string(plain.type) else plain


def pyogrio_type_name(geometry_type: str) -> str:
    """Return pyogrio's name of what GDAL calls `Point`, `Point Z`, `Point M`, `Point ZM`, …"""
    name, _, dimensions = geometry_type.partition(" ")
    match dimensions:
        case "M":
            return "PointM" if name == "Point" else f"Measured {name}"
        case "ZM":
            return f"Measured 3D {name}"
        case _:
            return geometry_type
