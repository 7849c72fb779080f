"""CSV (RFC 4180), with the geometry as WKT, and its CRS in a file beside it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyproj
import shapely
from pyarrow.csv import CSVWriter, WriteOptions

from processes.crs import esri_wkt
from processes.features.writing.format import Format
from processes.features.writing.geometry import late_warnings, output_transform
from processes.features.writing.result import ResultLayer
from processes.features.writing.values import flat, iso_texts, plain_id_type, plain_ids

_GEOMETRY = "WKT"
_CRS_ENDING = ".prj"
_EVERY_DIGIT = 20
"""Decimals with which GEOS writes each double so that it can be read back."""


def write_csv(result: ResultLayer, crs: pyproj.CRS | None, path: Path) -> Sequence[str]:
    """Write CSV: texts in quotes, so that an empty one is no null; the geometry as WKT in the last column.

    The CRS is in the file beside it that GDAL and ArcGIS read, in Esri's WKT: x, y order.

    Arguments as `Format.write` has them.
    """
    transform = output_transform(result.crs, crs)
    fields = [] if result.id_type is None else [pa.field("id", plain_id_type(result.id_type))]
    fields += [pa.field(item.name, _csv_values(pa.array([], item.type)).type) for item in result.schema]
    if transform is not None:
        fields.append(pa.field(_GEOMETRY, pa.large_string()))
    schema = pa.schema(fields)
    with path.open("xb") as file, CSVWriter(file, schema, write_options=WriteOptions(quoting_style="needed")) as writer:
        for rows in result.rows():
            columns = [] if rows.ids is None else [plain_ids(rows.ids)]
            columns += [_csv_values(values) for values in rows.attributes.columns]
            if transform is not None:
                geometries = transform.apply(rows.geometry, rows.attributes.num_rows)
                texts = shapely.to_wkt(geometries, rounding_precision=_EVERY_DIGIT, output_dimension=4)
                columns.append(pa.array(texts, pa.large_string()))
            writer.write_batch(pa.record_batch(columns, schema=schema))
    if transform is not None:
        path.with_suffix(_CRS_ENDING).write_text(esri_wkt(transform.crs_transform.target))
    return late_warnings(transform)


def _csv_values(values: pa.Array) -> pa.Array:
    """Return values that Arrow writes as readers of CSV know them: ISO 8601 times, bytes as base64."""
    plain = flat(values)
    if pa.types.is_timestamp(plain.type) or pa.types.is_date(plain.type):
        return iso_texts(plain)
    if pa.types.is_binary(plain.type):
        texts = [None if data is None else base64.b64encode(data).decode() for data in plain.to_pylist()]
        return pa.array(texts, pa.string())
    return plain


def _reserved_names(result: ResultLayer) -> set[str]:
    ids = set() if result.id_type is None else {"id"}
    return ids if result.crs is None else ids | {_GEOMETRY.lower()}


CSV = Format(
    media_type="text/csv",
    name="CSV",
    ending=".csv",
    schema={"type": "string", "title": "CSV, geometry as WKT"},
    write=write_csv,
    sidecar=_CRS_ENDING,
    reserved_names=_reserved_names,
)
