"""GeoPackage and FlatGeobuf out, by GDAL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyogrio
import pyproj
import shapely
from numpy.typing import NDArray

from processes.crs import epsg_name
from processes.errors import ServiceError
from processes.features.writing.geometry import (
    OutputTransform,
    flatgeobuf_kind,
    iso_wkb,
    output_transform,
    without_measures,
)
from processes.features.writing.geopackage_summary import SUMMARY, replace_summary
from processes.features.writing.qgis_style import write_style
from processes.features.writing.result import ResultLayer, RowBatch
from processes.features.writing.values import encode_json, flat, plain_id_type, plain_ids

_NAMES = ("Unknown", "Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon")
"""GDAL's names by ISO type."""
_NO_ZERO = "\ufffd"
"""Stands for a zero byte, at which GDAL ends a text."""


def write_geopackage(result: ResultLayer, crs: pyproj.CRS | None, path: Path) -> int:
    """Write a feature table, or an attribute table; the fid is the id where ids ascend, else counts the rows."""
    name, transform = _layer_name(result.name), output_transform(result.crs, crs)
    own_ids = result.id_type is not None and not result.ids_ascend
    geometry = None if transform is None else "geom"
    schema = _schema(result, [pa.field("fid", pa.int64())], own_ids, geometry)

    def batches() -> Iterator[pa.RecordBatch]:
        place = 1
        for rows in result.rows():
            count = rows.attributes.num_rows
            counted = pa.array(np.arange(place, place + count))
            fid = rows.ids.cast(pa.int64()) if result.ids_ascend and rows.ids is not None else counted
            yield _batch(schema, rows, [fid], own_ids, transform, None)
            place += count

    _write(
        schema,
        batches(),
        path,
        layer=name,
        driver="GPKG",
        geometry_name=geometry,
        geometry_type=None if transform is None else _layer_type(result),
        crs=None if transform is None else epsg_name(transform.crs_transform.target),
        layer_metadata={SUMMARY: encode_json(result.summary(0)).decode()},
    )
    if result.style is not None and transform is not None:
        write_style(path, name, result.style, result.kinds, result.geometry_type)
    if transform is None or not transform.lost:
        return 0
    replace_summary(path, encode_json(result.summary(transform.lost)).decode())
    return transform.lost


def write_flatgeobuf(result: ResultLayer, crs: pyproj.CRS | None, path: Path) -> int:
    """Write in the rows' order, hence without a spatial index.

    The summary is the layer's description. It stands before the rows, and so does not know what is lost of them.
    """
    transform = output_transform(result.crs, crs)
    own_ids, kind = result.id_type is not None, flatgeobuf_kind(result.kinds)
    are_alike = result.kinds <= {kind} or max(result.kinds) < 1000
    geometry = _free_name(result.schema.names)
    schema = _schema(result, [], own_ids, geometry)

    def batches() -> Iterator[pa.RecordBatch]:
        for rows in result.rows():
            yield _batch(schema, rows, [], own_ids, transform, None if are_alike else kind)

    _write(
        schema,
        batches(),
        path,
        layer=result.name,
        driver="FlatGeobuf",
        geometry_name=geometry,
        geometry_type=_pyogrio_name(_type_name(kind) if result.kinds else result.geometry_type),
        crs=None if transform is None else epsg_name(transform.crs_transform.target),
        SPATIAL_INDEX="NO",
        DESCRIPTION=encode_json(result.summary(0)).decode(),
    )
    return 0 if transform is None else transform.lost


def _write(schema: pa.Schema, batches: Iterator[pa.RecordBatch], path: Path, **options: Any) -> None:
    """Let GDAL write batches; an error of ours in making them is raised as it is."""
    errors: list[ServiceError] = []

    def watched() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except ServiceError as err:
            errors.append(err)
            raise

    try:
        pyogrio.write_arrow(pa.RecordBatchReader.from_batches(schema, watched()), path, **options)
    except RuntimeError as err:
        if errors:
            raise errors[0] from err
        raise


def _free_name(names: Sequence[str]) -> str:
    """Return a name for the geometry, which has none in the file, that no attribute has."""
    name, taken = "geom", {item.lower() for item in names}
    while name in taken:
        name += "_"
    return name


def _schema(result: ResultLayer, first: list[pa.Field], own_ids: bool, geometry: str | None) -> pa.Schema:
    fields = list(first)
    if own_ids:
        fields.append(pa.field("id", plain_id_type(result.id_type)))
    fields += [
        pa.field(item.name.replace("\0", _NO_ZERO), _values(pa.array([], item.type)).type) for item in result.schema
    ]
    if geometry is not None:
        fields.append(pa.field(geometry, pa.large_binary()))
    return pa.schema(fields)


def _batch(
    schema: pa.Schema,
    rows: RowBatch,
    first: list[pa.Array],
    own_ids: bool,
    transform: OutputTransform | None,
    kind: int | None,
) -> pa.RecordBatch:
    """Return rows as GDAL takes them.

    Args:
        schema: of the batch.
        rows: the rows.
        first: columns that come first.
        own_ids: True = the ids are a column.
        relocation: of the geometries; None = there are none.
        kind: ISO type that all geometries get; None = they stay as they are.
    """
    columns = list(first)
    if own_ids:
        columns.append(plain_ids(rows.ids))
    columns += [_values(values) for values in rows.attributes.columns]
    if transform is not None:
        if kind is None and not transform.is_needed and rows.geometry is not None:
            columns.append(rows.geometry.cast(pa.large_binary()))
        else:
            shapes = transform.moved(rows.geometry, rows.attributes.num_rows)
            columns.append(iso_wkb(shapes if kind is None else _alike(shapes, kind)))
    return pa.record_batch(columns, schema=schema)


def _values(values: pa.Array) -> pa.Array:
    """Return values as GDAL takes them."""
    plain = flat(values)
    return pc.replace_substring(plain, "\0", _NO_ZERO) if pa.types.is_string(plain.type) else plain


def _layer_name(name: str) -> str:
    """Return a name that a GeoPackage can have.

    Those that begin with gpkg are its own, one is that of styles, and GDAL wants a letter, a digit or _ first.
    """
    is_own = name.lower().startswith(("gpkg", "rtree_", "sqlite_", "layer_styles"))
    return f"layer_{name}" if is_own or not (name[0].isalnum() or name[0] == "_") else name


def _layer_type(result: ResultLayer) -> str:
    """Return pyogrio's name of a layer's type.

    A type with Z or M means in a GeoPackage that each geometry has it (requirements 27 and 28), so where only some
    have it the layer has no type.
    """
    if len({kind // 1000 for kind in result.kinds}) > 1:
        return "Unknown"
    return _pyogrio_name(result.geometry_type)


def _type_name(kind: int) -> str:
    """Return GDAL's name of an ISO type."""
    return _NAMES[kind % 1000] + ("", " Z", " M", " ZM")[kind // 1000]


def _pyogrio_name(geometry_type: str) -> str:
    """Return pyogrio's name of what GDAL calls `Point`, `Point Z`, `Point M`, `Point ZM`, …"""
    name, _, dimensions = geometry_type.partition(" ")
    match dimensions:
        case "M":
            return "PointM" if name == "Point" else f"Measured {name}"
        case "ZM":
            return f"Measured 3D {name}"
        case _:
            return geometry_type


def _alike(geometries: NDArray[np.object_], kind: int) -> NDArray[np.object_]:
    """Return geometries in the one type that a layer has; a height that one does not have is 0, as GDAL gives it."""
    result = (geometries if kind >= 2000 else without_measures(geometries)).copy()
    result[shapely.is_empty(result)] = None  # there are none in a FlatGeobuf
    if kind == 0:
        return np.asarray(shapely.force_2d(result))
    if kind // 1000 % 2:
        low = ~shapely.has_z(result)
        result[low] = shapely.force_3d(result[low])
    if kind % 1000 > 3:
        result = _multi(result, kind % 1000)
    return result


def _multi(geometries: NDArray[np.object_], multi: int) -> NDArray[np.object_]:
    collectors: dict[int, Callable[..., Any]] = {
        4: shapely.multipoints,
        5: shapely.multilinestrings,
        6: shapely.multipolygons,
    }
    single = (shapely.get_type_id(geometries) >= 0) & (shapely.get_type_id(geometries) != multi)
    result = geometries.copy()
    result[single] = collectors[multi](geometries[single], indices=np.arange(np.count_nonzero(single)))
    return result
