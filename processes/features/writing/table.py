"""A table without geometry: a Table Schema document as pandas reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyproj

from processes.features.writing.format import Format
from processes.features.writing.result import ResultLayer
from processes.features.writing.values import encode_json, flat_type, json_values, text_ids


def write_table(result: ResultLayer, _crs: pyproj.CRS | None, path: Path) -> Sequence[str]:
    """Write a Table Schema document that pandas reads with `orient="table"`, without geometry.

    Arguments as `Format.write` has them.
    """
    key, fields = result.key, [table_field(item) for item in result.schema]
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
                columns.append(json_values(item, values))
            for row in zip(*columns, strict=True):
                file.write(separator + encode_json(dict(zip(names, row, strict=True))))
                separator = b",\n"
        file.write(b'\n], "summary": %s}\n' % encode_json(result.summary()))
    return ()


def table_field(item: pa.Field) -> dict[str, str]:
    """Return a field as Table Schema has it, with the members that pandas adds."""
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


def _reserved_names(result: ResultLayer) -> set[str]:
    return {"id"} if result.key == "id" else set()


TABLE = Format(
    media_type="application/json",
    name="table",
    ending=".json",
    schema={"type": "object", "title": "Table of image ID and label"},
    write=write_table,
    is_offered_for_layers=False,
    reserved_names=_reserved_names,
)
