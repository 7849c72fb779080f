"""GeoParquet 1.0 and 1.1: rows of an Apache Parquet file, read in batches, and its metadata `geo`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import shapely

from processes.crs import CRS84, parse_crs
from processes.errors import LayerError
from processes.features.layer import Layer, from_wkb
from processes.features.reading.attributes import plain_table, refuse_twins, with_signed_numbers
from processes.features.reading.geoarrow import ENCODINGS, wkb_of
from processes.features.reading.limits import require_few_features
from processes.features.reading.parquet_rows import read_batches
from processes.features.wkb import common_geometry_type, is_plain, read_iso_types, refuse_unread
from processes.settings import Limits

_MAX_GEO_BYTES = 8 * 2**20
_BROKEN = (pa.ArrowException, OSError, ValueError, OverflowError, KeyError)


class _Column(msgspec.Struct):
    encoding: str
    geometry_types: list[str]
    crs: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    covering: dict[str, dict[str, list[str]]] | None = None


class _Geo(msgspec.Struct):
    version: str
    primary_column: str
    columns: dict[str, _Column]


def read_geoparquet(path: Path, name: str, limits: Limits) -> Layer:
    """Read the primary geometry column and the attributes, in the order of the rows; there are no ids.

    Other geometry columns are left out, and so are columns of bounding boxes. Arguments and errors as `read_layer` has
    them.
    """
    subject = f"features {name!r}"
    try:
        with pq.ParquetFile(path) as file:
            rows = file.metadata.num_rows
            require_few_features(rows, limits, subject)
            geo = _geo((file.metadata.metadata or {}).get(b"geo"), subject)
        return _layer(path, rows, geo, subject, Path(name).stem)
    except _BROKEN as err:
        raise LayerError(f"{subject} cannot be read; the Parquet file is broken") from err


def _geo(text: bytes | None, subject: str) -> _Geo:
    if text is None:
        raise LayerError(f"{subject}: a Parquet file without the metadata `geo` is no GeoParquet")
    try:
        if len(text) > _MAX_GEO_BYTES:
            raise msgspec.ValidationError(f"larger than {_MAX_GEO_BYTES} bytes")
        geo = msgspec.json.decode(text, type=_Geo)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise LayerError(f"{subject}: the metadata `geo` is not that of a GeoParquet: {err}") from err
    if not geo.version.startswith("1."):
        raise LayerError(f"{subject} is GeoParquet {geo.version[:20]!r}; 1.0 and 1.1 are read")
    if geo.primary_column not in geo.columns:
        raise LayerError(f"{subject}: the metadata `geo` does not describe the primary column")
    return geo


def _layer(path: Path, rows: int, geo: _Geo, subject: str, stem: str) -> Layer:
    primary = geo.columns[geo.primary_column]
    crs = _crs(primary.crs, subject)
    if primary.encoding != "WKB" and primary.encoding not in ENCODINGS:
        encodings = ", ".join(("WKB", *ENCODINGS))
        raise LayerError(f"{subject}: the encoding {primary.encoding[:40]!r} is not known; {encodings} are")
    schema = _columns_to_read(path, geo, subject)
    empty = pa.RecordBatch.from_pylist([], schema=schema)
    geometry: list[pa.Array] = []
    attributes: list[pa.Table] = []
    read_count = 0
    for batch in chain([empty], read_batches(path, schema.names, subject)):
        geometry.append(_wkb(batch.column(geo.primary_column), primary.encoding, read_count, subject))
        attributes.append(plain_table(pa.Table.from_batches([batch]).drop_columns([geo.primary_column])))
        read_count += batch.num_rows
    if read_count != rows:
        raise LayerError(f"{subject} cannot be read to its end; the Parquet file is broken")
    column = pa.chunked_array(geometry, pa.large_binary())
    return Layer(
        name=stem,
        crs=crs,
        geometry=column,
        geometry_type=common_geometry_type(read_iso_types(column)),
        attributes=with_signed_numbers(pa.concat_tables(attributes)),
        ids=None,
    )


def _columns_to_read(path: Path, geo: _Geo, subject: str) -> pa.Schema:
    """Return the columns to read: the primary geometry and all attributes."""
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
    refuse_twins(schema.names)
    if geo.primary_column not in schema.names:
        raise LayerError(f"{subject}: there is no column {geo.primary_column[:80]!r} as the metadata says")
    left_out = set(geo.columns)
    for column in geo.columns.values():
        left_out.update(keys[0] for keys in ((column.covering or {}).get("bbox") or {}).values() if keys)
    return pa.schema([item for item in schema if item.name == geo.primary_column or item.name not in left_out])


def _crs(member: Mapping[str, Any] | msgspec.UnsetType | None, subject: str) -> pyproj.CRS:
    """Return the CRS of a PROJJSON; coordinates in a GeoParquet are always in x, y order."""
    if member is msgspec.UNSET:
        return parse_crs(CRS84)
    if member is None:
        raise LayerError(f"{subject} has no CRS: the metadata `geo` says that it is not known")
    try:
        crs = pyproj.CRS.from_json_dict(dict(member))
    except (pyproj.exceptions.CRSError, RecursionError, TypeError, ValueError) as err:
        raise LayerError(f"{subject}: the metadata `geo` has a CRS that cannot be read") from err
    if not (crs.is_projected or crs.is_geographic):
        raise LayerError(f"{subject}: {crs.name[:80]!r} is no CRS of places on the ground")
    return crs


def _wkb(values: pa.Array, encoding: str, first: int, subject: str) -> pa.Array:
    """Return geometries as ISO WKB; `first` is the index of the first one in the layer, for messages."""
    if encoding != "WKB":
        return wkb_of(values, encoding, subject)
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if not (pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)):
        raise LayerError(f"{subject}: the primary column is of type {str(values.type)[:80]}, which is no WKB")
    column = values.cast(pa.large_binary())
    refuse_unread(pa.chunked_array([column]), first)
    if is_plain(column):
        return column
    geometries = shapely.set_srid(from_wkb(column.to_pylist(), first), 0)
    return pa.array(shapely.to_wkb(geometries, output_dimension=4, byte_order=1, flavor="iso"), pa.large_binary())
