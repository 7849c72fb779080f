"""GeoParquet 0.1 to 2.0: rows of an Apache Parquet file, read in batches, and its metadata `geo`.

Without that metadata, columns of Parquet's types GEOMETRY and GEOGRAPHY are read, and those of GeoArrow's types.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from processes.errors import LayerError
from processes.features.layer import Layer, from_wkb
from processes.features.reading.attributes import plain_table, refuse_twins, with_signed_numbers
from processes.features.reading.geoarrow import ENCODINGS, wkb_of
from processes.features.reading.limits import require_few_features
from processes.features.reading.parquet_geometry import (
    GeometryColumn,
    GeometryColumns,
    describe_geometry,
    read_crs,
)
from processes.features.reading.parquet_rows import read_batches
from processes.features.wkb import common_geometry_type, is_plain, read_iso_types, refuse_unread
from processes.settings import Limits

_POINTS = (1, 4)
"""ISO types of points and multi-points."""
_BROKEN = (pa.ArrowException, OSError, ValueError, OverflowError, KeyError)


def read_geoparquet(path: Path, name: str, limits: Limits, groups: Sequence[int] | None = None) -> Layer:
    """Read the primary geometry column and the attributes, in the order of the rows; there are no ids.

    `groups` are the groups of rows that are read; None = all.

    Other geometry columns are left out with a warning, and columns of bounding boxes without one. Arguments and errors
    as `read_layer` has them.
    """
    subject = f"features {name!r}"
    try:
        with pq.ParquetFile(path) as file:
            metadata = file.metadata
            require_few_features(metadata.num_rows, limits, subject)
            geo = describe_geometry(file, subject)
        return _layer(path, metadata, geo, (subject, Path(name).stem), groups)
    except _BROKEN as err:
        raise LayerError(f"{subject} cannot be read; the Parquet file is broken") from err


def _layer(
    path: Path, metadata: Any, geo: GeometryColumns, names: tuple[str, str], groups: Sequence[int] | None
) -> Layer:
    (subject, stem), primary = names, geo.primary
    rows = metadata.num_rows if groups is None else sum(metadata.row_group(group).num_rows for group in groups)
    crs = read_crs(primary, subject)
    if primary.encoding != "WKB" and primary.encoding not in ENCODINGS:
        encodings = ", ".join(("WKB", *ENCODINGS))
        raise LayerError(f"{subject}: the encoding {primary.encoding[:40]!r} is not known; {encodings} are")
    schema, others = _columns_to_read(path, geo, subject)
    empty = pa.RecordBatch.from_pylist([], schema=schema)
    geometry: list[pa.Array] = []
    attributes: list[pa.Table] = []
    read_count = 0
    for batch in chain([empty], read_batches(path, schema.names, subject, groups)):
        geometry.append(_wkb(batch.column(geo.primary_column), primary.encoding, read_count, subject))
        attributes.append(plain_table(pa.Table.from_batches([batch]).drop_columns([geo.primary_column])))
        read_count += batch.num_rows
    if read_count != rows:
        raise LayerError(f"{subject} cannot be read to its end; the Parquet file is broken")
    column = pa.chunked_array(geometry, pa.large_binary())
    iso_types = read_iso_types(column)
    return Layer(
        name=stem,
        crs=crs,
        geometry=column,
        geometry_type=common_geometry_type(iso_types),
        attributes=with_signed_numbers(pa.concat_tables(attributes)),
        ids=None,
        warnings=(
            *_warnings(primary, iso_types),
            *(f"the column {name!r} is left out: it is a second geometry" for name in others),
        ),
    )


def _warnings(column: GeometryColumn, iso_types: frozenset[int]) -> tuple[str, ...]:
    """Return a warning where lines and polygons have edges that are not straight in the CRS."""
    has_edges = any(iso_type % 1000 not in _POINTS for iso_type in iso_types)
    if column.edges in (None, "planar") or not has_edges:
        return ()
    return (f"the edges of lines and polygons are {column.edges[:40]!r} in the file; they are read as straight lines",)


def _columns_to_read(path: Path, geo: GeometryColumns, subject: str) -> tuple[pa.Schema, list[str]]:
    """Return the columns to read: the primary geometry and all attributes; and the names of other geometries."""
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
    refuse_twins(schema.names)
    if geo.primary_column not in schema.names:
        raise LayerError(f"{subject}: there is no column {geo.primary_column[:80]!r} as the metadata says")
    left_out = set(geo.columns)
    for column in geo.columns.values():
        left_out.update(keys[0] for keys in ((column.covering or {}).get("bbox") or {}).values() if keys)
    others = [name for name in schema.names if name in geo.columns and name != geo.primary_column]
    return pa.schema([item for item in schema if item.name == geo.primary_column or item.name not in left_out]), others


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
