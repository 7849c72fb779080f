"""Tables out: a Table Schema document as pandas reads it, without geometry; and CSV (RFC 4180), with it."""

from __future__ import annotations

import base64
from pathlib import Path

import pyarrow as pa
import pyproj
import shapely
from pyarrow.csv import CSVWriter, WriteOptions

from processes.features.cells import (
    encode_json,
    flat,
    flat_type,
    iso_texts,
    json_values,
    plain_id_type,
    plain_ids,
    text_ids,
)
from processes.features.outgoing import relocation_to
from processes.features.result import Result

_EVERY_DIGIT = 20
"""Decimals with which GEOS writes each double so that it can be read back."""


def write_table(result: Result, _crs: pyproj.CRS | None, path: Path) -> int:
    """Write a Table Schema document as pandas reads with `orient="table"`; without geometry."""
    key, fields = result.key, [_table_field(item) for item in result.schema]
    has_key = key in result.schema.names
    if not has_key:
        fields.insert(0, {"name": key, "type": "string"})
    names = [item["name"] for item in fields]
    document = {"fields": fields, "primaryKey": [key], "pandas_version": "1.4.0"}
    with path.open("xb") as file:
        file.write(b'{"schema": %s, "data": [' % encode_json(document))
        separator = b"\n"
        for rows in result.rows():
            columns = [] if has_key else [text_ids(rows.ids, rows.positions)]
            for item, values in zip(rows.attributes.schema, rows.attributes.columns, strict=True):
                columns.append(json_values(item, values, None))
            for row in zip(*columns, strict=True):
                file.write(separator + encode_json(dict(zip(names, row, strict=True))))
                separator = b",\n"
        file.write(b'\n], "summary": %s}\n' % encode_json(result.summary(0)))
    return 0


def _table_field(item: pa.Field) -> dict[str, str]:
    dtype = flat_type(item.type)
    if pa.types.is_integer(dtype):
        return {"name": item.name, "type": "integer", "extDtype": "Int64"}
    if pa.types.is_boolean(dtype):
        return {"name": item.name, "type": "boolean", "extDtype": "boolean"}
    if pa.types.is_floating(dtype):
        return {"name": item.name, "type": "number"}
    if pa.types.is_timestamp(dtype) or pa.types.is_date(dtype):
        zone = dtype.tz if pa.types.is_timestamp(dtype) else None
        return {"name": item.name, "type": "datetime"} | ({"tz": zone} if zone else {})
    return {"name": item.name, "type": "string"}


def write_csv(result: Result, crs: pyproj.CRS | None, path: Path) -> int:
    """Write CSV: texts in quotes, so that an empty one is no null; the geometry as WKT in the last column."""
    relocation = relocation_to(result.crs, crs)
    fields = [] if result.id_type is None else [pa.field("id", plain_id_type(result.id_type))]
    fields += [pa.field(item.name, _cells(pa.array([], item.type)).type) for item in result.schema]
    if relocation is not None:
        fields.append(pa.field("WKT", pa.large_string()))
    schema = pa.schema(fields)
    with path.open("xb") as file, CSVWriter(file, schema, write_options=WriteOptions(quoting_style="needed")) as writer:
        for rows in result.rows():
            columns = [] if rows.ids is None else [plain_ids(rows.ids)]
            columns += [_cells(values) for values in rows.attributes.columns]
            if relocation is not None:
                shapes = relocation.moved(rows.geometry, rows.attributes.num_rows)
                texts = shapely.to_wkt(shapes, rounding_precision=_EVERY_DIGIT, output_dimension=4)
                columns.append(pa.array(texts, pa.large_string()))
            writer.write_batch(pa.record_batch(columns, schema=schema))
    return 0 if relocation is None else relocation.lost


def _cells(values: pa.Array) -> pa.Array:
    """Return values that Arrow writes as CSV's readers know them: ISO 8601 times, bytes as base64."""
    plain = flat(values)
    if pa.types.is_timestamp(plain.type) or pa.types.is_date(plain.type):
        return iso_texts(plain)
    if pa.types.is_binary(plain.type):
        texts = [None if data is None else base64.b64encode(data).decode() for data in plain.to_pylist()]
        return pa.array(texts, pa.string())
    return plain
