"""GeoPackage: a feature table, or an attribute table, with the summary in its metadata."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import pyproj

from processes.features.writing.format import Format
from processes.features.writing.gdal import gdal_batch, gdal_schema, output_wkb, pyogrio_type_name, write_with_gdal
from processes.features.writing.geometry import late_warnings, output_transform
from processes.features.writing.qgis_style import write_style
from processes.features.writing.result import ResultLayer
from processes.features.writing.values import encode_json

_FID, _GEOMETRY = "fid", "geom"
_SUMMARY = "summary"
"""Key of the summary among the metadata that GDAL writes of a layer."""
_METADATA_OF_GDAL = "md_standard_uri = 'http://gdal.org' AND mime_type = 'text/xml'"
_MAX_COLUMNS = 2000
"""SQLite's limit."""


def write_geopackage(result: ResultLayer, crs: pyproj.CRS | None, path: Path) -> Sequence[str]:
    """Write a feature table, or an attribute table; the fid is the id where ids ascend, else counts the rows.

    Arguments as `Format.write` has them.
    """
    layer_name, transform = _layer_name(result.name), output_transform(result.crs, crs)
    has_id = _has_id(result)
    geometry = None if transform is None else _GEOMETRY
    schema = gdal_schema(result, [pa.field(_FID, pa.int64())], has_id, geometry)

    def batches() -> Iterator[pa.RecordBatch]:
        next_fid = 1
        for rows in result.rows():
            count = rows.attributes.num_rows
            counted = pa.array(np.arange(next_fid, next_fid + count))
            fid = rows.ids.cast(pa.int64()) if result.ids_ascend and rows.ids is not None else counted
            yield gdal_batch(schema, rows, [fid], has_id, output_wkb(rows, transform))
            next_fid += count

    write_with_gdal(
        schema,
        batches(),
        transform,
        path,
        layer=layer_name,
        driver="GPKG",
        geometry_name=geometry,
        geometry_type=None if transform is None else _layer_type(result),
        layer_metadata={_SUMMARY: encode_json(result.summary()).decode()},
    )
    if result.style is not None and transform is not None:
        write_style(path, layer_name, result.style, result.iso_types, result.geometry_type)
    warnings = late_warnings(transform)
    if warnings:
        _replace_summary(path, encode_json(result.summary(warnings)).decode())
    return warnings


def _has_id(result: ResultLayer) -> bool:
    """Return whether the ids are a column beside the fid."""
    return result.id_type is not None and not result.ids_ascend


def _layer_name(name: str) -> str:
    """Return a name that a layer can have.

    Names that begin with gpkg are the GeoPackage's own, one is that of styles, and GDAL wants a letter, a digit or _
    first.
    """
    is_reserved = name.lower().startswith(("gpkg", "rtree_", "sqlite_", "layer_styles"))
    return f"layer_{name}" if is_reserved or not (name[0].isalnum() or name[0] == "_") else name


def _layer_type(result: ResultLayer) -> str:
    """Return pyogrio's name of a layer's type.

    A type with Z or M means in a GeoPackage that each geometry has it (requirements 27 and 28), so where only some
    have it the layer has no type.
    """
    if len({iso_type // 1000 for iso_type in result.iso_types}) > 1:
        return "Unknown"
    return pyogrio_type_name(result.geometry_type)


def _replace_summary(path: Path, text: str) -> None:
    """Replace the summary of the one layer of a GeoPackage that GDAL wrote."""
    with closing(sqlite3.connect(path)) as database, database:
        ((metadata,),) = database.execute(
            f"SELECT metadata FROM gpkg_metadata WHERE {_METADATA_OF_GDAL}"  # noqa: S608 - ours
        )
        document = ET.fromstring(metadata)  # noqa: S314 - written by us a moment ago
        for item in document.iterfind(f"Metadata/MDI[@key='{_SUMMARY}']"):
            item.text = text
        database.execute(
            f"UPDATE gpkg_metadata SET metadata = ? WHERE {_METADATA_OF_GDAL}",  # noqa: S608 - ours
            (ET.tostring(document, "unicode"),),
        )


def _reserved_names(result: ResultLayer) -> set[str]:
    return {_FID, _GEOMETRY, "id"} if _has_id(result) else {_FID, _GEOMETRY}


GEOPACKAGE = Format(
    media_type="application/geopackage+sqlite3",
    name="GeoPackage",
    ending=".gpkg",
    schema={"type": "string", "format": "binary"},
    write=write_geopackage,
    is_caseless=True,
    max_columns=_MAX_COLUMNS,
    reserved_names=_reserved_names,
)
