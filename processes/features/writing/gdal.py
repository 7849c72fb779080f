"""Formats that GDAL writes: rows as its Arrow streams take them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyogrio

from processes.crs import epsg_name
from processes.errors import ServiceError
from processes.features.writing.geometry import OutputTransform, iso_wkb
from processes.features.writing.result import ResultLayer, RowBatch
from processes.features.writing.values import flat, plain_id_type, plain_ids

_NO_ZERO = "\ufffd"
"""Replaces a zero byte, at which GDAL ends a text."""


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
    errors: list[ServiceError] = []

    def watched_batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except ServiceError as err:
            errors.append(err)
            raise

    crs = None if transform is None else epsg_name(transform.crs_transform.target)
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
    fields += [
        pa.field(item.name.replace("\0", _NO_ZERO), _gdal_values(pa.array([], item.type)).type)
        for item in result.schema
    ]
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
    columns += [_gdal_values(values) for values in rows.attributes.columns]
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


def _gdal_values(values: pa.Array) -> pa.Array:
    plain = flat(values)
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
