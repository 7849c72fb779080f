"""Classified layers to files: GeoJSON, GeoPackage, and a table as a Table Schema document.

Rows stream: at most `ROWS_AT_ONCE` of them are Python objects at a time.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyogrio
import pyproj
import shapely
from numpy.typing import NDArray

from processes.crs import CRS84, Reprojection, epsg_name, parse_crs
from processes.features.layer import JSON_TEXT, OMIT_NULLS, from_wkb

ROWS_AT_ONCE = 16384

MediaType = Literal["application/geo+json", "application/geopackage+sqlite3", "application/json"]
GEOJSON: MediaType = "application/geo+json"
GEOPACKAGE: MediaType = "application/geopackage+sqlite3"
TABLE: MediaType = "application/json"
FILE_ENDINGS: Mapping[MediaType, str] = {GEOJSON: ".geojson", GEOPACKAGE: ".gpkg", TABLE: ".json"}

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Rows:
    """A range of rows of a result."""

    ids: pa.Array | None
    """`(n,)`; None = the rows have no ids."""
    geometry: pa.Array | None
    """WKB, `(n,)`; None = a table."""
    attributes: pa.RecordBatch
    """The input's attributes and the added fields."""


@dataclass(frozen=True, slots=True)
class Result:
    """A classified layer, ready to be written."""

    name: str
    crs: pyproj.CRS | None
    """Of the geometry that `rows` gives; None = a table without geometry."""
    geometry_type: str
    key: str
    """Name of the column that tells rows apart in a table."""
    id_type: pa.DataType | None
    """None = the rows have no ids."""
    ids_ascend: bool
    """True = all ids are whole numbers, each larger than the one before."""
    schema: pa.Schema
    """Of the attributes and the added fields."""
    rows: Callable[[], Iterator[Rows]]
    summary: Mapping[str, Any]


def write_result(result: Result, media_type: MediaType, crs: pyproj.CRS | None, path: Path) -> None:
    """Write a result to a new file.

    Args:
        result: what to write.
        media_type: the format.
        crs: CRS of the output; None = the result's own.
        path: the file; its folder is there.
    """
    match media_type:
        case "application/geo+json":
            _write_geojson(result, path)
        case "application/geopackage+sqlite3":
            _write_geopackage(result, crs or result.crs, path)
        case _:
            _write_table(result, path)


def reserved_names(media_type: MediaType, result_has_own_ids: bool) -> set[str]:
    """Return the names, in lower case, that attributes cannot have in a format."""
    match media_type:
        case "application/geo+json":
            return set()
        case "application/geopackage+sqlite3":
            return {"fid", "geom"} | ({"id"} if result_has_own_ids else set())
        case _:
            return {"id"}


def rename_taken(schema: pa.Schema, taken: set[str], minds_case: bool = True) -> tuple[pa.Schema, list[str]]:
    """Give attributes whose names are taken, compared without case, a number behind; say so in warnings.

    Args:
        schema: of the attributes.
        taken: names in lower case.
        minds_case: False = the format holds only one of names that differ in case alone.
    """
    used = {name.lower() for name in schema.names} | taken
    fields, warnings, before = [], [], set(taken)
    for item in schema:
        name, number = item.name, 0
        while name.lower() in before or (number and name.lower() in used):
            number += 1
            name = f"{item.name}_{number}"
        if number:
            used.add(name.lower())
            warnings.append(
                f"attribute {item.name!r} is named {name!r} in the result: the name is taken in this format"
            )
        if not minds_case:
            before.add(name.lower())
        fields.append(item.with_name(name))
    return pa.schema(fields), warnings


def _write_geojson(result: Result, path: Path) -> None:
    """Write RFC 7946: CRS84, one feature per line, the summary as a foreign member at the end."""
    lonlat = parse_crs(CRS84)
    reprojection = Reprojection(result.crs or lonlat, lonlat)
    with path.open("xb") as file:
        file.write(b'{"type": "FeatureCollection", "name": %s, "features": [' % _encode(result.name))
        separator = b"\n"
        for rows in result.rows():
            if rows.geometry is None:
                geometries = ["null"] * rows.attributes.num_rows
            else:
                geometries = _geojson_geometries(rows.geometry, reprojection)
            for identifier, geometry, properties in zip(
                _json_ids(rows.ids, len(geometries)), geometries, _objects(rows.attributes, msgspec.UNSET), strict=True
            ):
                member = b'"id": %s, ' % identifier if identifier else b""
                file.write(
                    b'%s{"type": "Feature", %s"geometry": %s, "properties": %s}'
                    % (separator, member, geometry.encode(), _encode(properties))
                )
                separator = b",\n"
        file.write(b'\n], "summary": %s}\n' % _encode(result.summary))


def _geojson_geometries(wkb: pa.Array, reprojection: Reprojection) -> list[str]:
    geometries = reprojection.geometries(from_wkb(wkb.to_pylist(), 0))
    texts: list[str | None] = np.asarray(shapely.to_geojson(_expressible(geometries))).tolist()
    # GEOS gives an empty polygon an empty ring, which RFC 7946 does not know
    return ["null" if text is None else text.replace("[[]]", "[]") for text in texts]


def _expressible(geometries: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return geometries without those that have no place in their CRS."""
    kept = geometries.copy()
    kept[np.isinf(shapely.bounds(geometries)).any(axis=1)] = None
    return kept


def _json_ids(ids: pa.Array | None, count: int) -> list[bytes | None]:
    if ids is None:
        return [None] * count
    if pa.types.is_large_string(ids.type):  # JSON texts already
        return [None if text is None else text.encode() for text in ids.to_pylist()]
    return [None if value is None else _encode(value) for value in ids.to_pylist()]


def _objects(batch: pa.RecordBatch, absent: msgspec.UnsetType | None) -> Iterator[dict[str, Any]]:
    """Yield rows as JSON objects: JSON texts as what they say, `absent` for attributes that a feature does not have."""
    columns = []
    for item, values in zip(batch.schema, batch.columns, strict=True):
        given = values.to_pylist()
        if item.metadata == JSON_TEXT:
            given = [absent if text is None else msgspec.Raw(text.encode()) for text in given]
        elif item.metadata == OMIT_NULLS:
            given = [absent if value is None else value for value in given]
        columns.append(given)
    names = batch.schema.names
    if not columns:
        yield from ({} for _ in range(batch.num_rows))
    for values in zip(*columns, strict=True):
        yield {name: value for name, value in zip(names, values, strict=True) if value is not msgspec.UNSET}


def _write_geopackage(result: Result, crs: pyproj.CRS | None, path: Path) -> None:
    reprojection = Reprojection(result.crs, crs) if result.crs is not None and crs is not None else None
    own_ids = result.id_type is not None and not result.ids_ascend
    id_type = pa.string() if result.id_type == pa.large_string() else result.id_type
    fields = [pa.field("fid", pa.int64()), *([pa.field("id", id_type)] if own_ids else [])]
    fields += [item.remove_metadata() for item in result.schema]
    if reprojection is not None:
        fields.append(pa.field("geom", pa.large_binary()))
    schema = pa.schema(fields)

    def batches() -> Iterator[pa.RecordBatch]:
        position = 1
        for rows in result.rows():
            count = rows.attributes.num_rows
            fid = (
                rows.ids
                if result.ids_ascend and rows.ids is not None
                else pa.array(np.arange(position, position + count))
            )
            columns = [fid, *([_plain_ids(rows.ids)] if own_ids else []), *rows.attributes.columns]
            if reprojection is not None:
                columns.append(_wkb(rows.geometry, reprojection, count))
            typed = [
                column if column.type == item.type else column.cast(item.type)
                for column, item in zip(columns, schema, strict=True)
            ]
            yield pa.record_batch(typed, schema=schema)
            position += count

    pyogrio.write_arrow(
        pa.RecordBatchReader.from_batches(schema, batches()),
        path,
        layer=result.name,
        driver="GPKG",
        geometry_name="geom" if reprojection is not None else None,
        geometry_type=result.geometry_type if reprojection is not None else None,
        crs=epsg_name(crs) if crs is not None else None,
        layer_metadata={"summary": _encode(result.summary).decode()},
    )


def _wkb(geometry: pa.Array | None, reprojection: Reprojection, count: int) -> pa.Array:
    if geometry is None:
        return pa.nulls(count, pa.large_binary())
    if reprojection.is_identity:
        return geometry
    moved = reprojection.geometries(from_wkb(geometry.to_pylist(), 0))
    return pa.array(shapely.to_wkb(_expressible(moved)), pa.large_binary())


def _write_table(result: Result, path: Path) -> None:
    """Write a Table Schema document as pandas reads with `orient="table"`; without geometry."""
    key, fields = result.key, [_table_field(item) for item in result.schema]
    has_key = key in result.schema.names
    if not has_key:
        fields.insert(0, {"name": key, "type": "string"})
    document = {"fields": fields, "primaryKey": [key], "pandas_version": "1.4.0"}
    with path.open("xb") as file:
        file.write(b'{"schema": %s, "data": [' % _encode(document))
        separator, position = b"\n", 1
        for rows in result.rows():
            ids = _text_ids(rows.ids, rows.attributes.num_rows, position)
            for identifier, values in zip(ids, _objects(rows.attributes, None), strict=True):
                row = values if has_key else {key: identifier, **values}
                file.write(separator + _encode({name: _flat(value) for name, value in row.items()}))
                separator = b",\n"
            position += rows.attributes.num_rows
        file.write(b'\n], "summary": %s}\n' % _encode(result.summary))


def _table_field(item: pa.Field) -> dict[str, str]:
    if pa.types.is_integer(item.type):
        return {"name": item.name, "type": "integer", "extDtype": "Int64"}
    if pa.types.is_boolean(item.type):
        return {"name": item.name, "type": "boolean", "extDtype": "boolean"}
    if pa.types.is_floating(item.type):
        return {"name": item.name, "type": "number"}
    if pa.types.is_timestamp(item.type) or pa.types.is_date(item.type):
        zone = item.type.tz if pa.types.is_timestamp(item.type) else None
        return {"name": item.name, "type": "datetime"} | ({"tz": zone} if zone else {})
    return {"name": item.name, "type": "string"}


def _flat(value: Any) -> Any:
    """Return nested values as JSON text; a table has none."""
    return bytes(value).decode() if isinstance(value, msgspec.Raw) else value


def _plain_ids(ids: pa.Array) -> pa.Array:
    """Return ids as they are, those held as JSON texts as plain texts."""
    if not pa.types.is_large_string(ids.type):
        return ids
    values = [None if text is None else json.loads(text) for text in ids.to_pylist()]
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _text_ids(ids: pa.Array | None, count: int, position: int) -> list[str]:
    """Return ids as text; the position from 1 where a row has none."""
    values = [None] * count if ids is None else _plain_ids(ids).to_pylist()
    return [str(position + place) if value is None else str(value) for place, value in enumerate(values)]


def ids_ascend(ids: pa.ChunkedArray | None) -> bool:
    """Say whether ids are whole numbers, none missing, each larger than the one before."""
    if ids is None or not pa.types.is_integer(ids.type) or ids.null_count:
        return False
    values: NDArray[np.int64] = ids.to_numpy()
    return bool((np.diff(values) > 0).all()) and (len(values) == 0 or values[0] >= 0)


def with_names(rows: Rows, schema: pa.Schema) -> Rows:
    """Return rows whose attributes have the names and types of a schema."""
    return dataclasses.replace(rows, attributes=pa.RecordBatch.from_arrays(rows.attributes.columns, schema=schema))
