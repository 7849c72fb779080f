"""FlatGeobuf, whose layers are of one type of geometry, or of unknown type in x and y only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyproj
import shapely
from numpy.typing import NDArray

from processes.features.writing.format import Format
from processes.features.writing.gdal import gdal_batch, gdal_schema, output_wkb, pyogrio_type_name, write_with_gdal
from processes.features.writing.geometry import (
    OutputTransform,
    iso_wkb,
    late_warnings,
    output_transform,
    without_measures,
)
from processes.features.writing.result import ResultLayer, RowBatch
from processes.features.writing.values import encode_json

_TYPE_NAMES = ("Unknown", "Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon")
"""GDAL's names by ISO type."""


def write_flatgeobuf(result: ResultLayer, crs: pyproj.CRS | None, path: Path) -> Sequence[str]:
    """Write in the rows' order, hence without a spatial index. Arguments as `Format.write` has them.

    The summary is the layer's description. It stands before the rows, so it does not count the geometries that have no
    place in the CRS of the output.
    """
    transform = output_transform(result.crs, crs)
    has_id, layer_type = result.id_type is not None, _layer_type(result.iso_types)
    is_one_type = result.iso_types <= {layer_type} or max(result.iso_types) < 1000
    geometry = _free_name(result.schema.names)
    schema = gdal_schema(result, [], has_id, geometry)

    def batches() -> Iterator[pa.RecordBatch]:
        for rows in result.rows():
            yield gdal_batch(schema, rows, [], has_id, _wkb(rows, transform, None if is_one_type else layer_type))

    write_with_gdal(
        schema,
        batches(),
        transform,
        path,
        layer=result.name,
        driver="FlatGeobuf",
        geometry_name=geometry,
        geometry_type=pyogrio_type_name(_type_name(layer_type) if result.iso_types else result.geometry_type),
        SPATIAL_INDEX="NO",
        DESCRIPTION=encode_json(result.summary()).decode(),
    )
    return late_warnings(transform)


def _wkb(rows: RowBatch, transform: OutputTransform | None, iso_type: int | None) -> pa.Array | None:
    """Return the geometries in the CRS of the output.

    Args:
        rows: the rows.
        transform: of the geometries.
        iso_type: type that all get; None = they stay as they are.
    """
    if transform is None or iso_type is None:
        return output_wkb(rows, transform)
    return iso_wkb(_in_one_type(transform.apply(rows.geometry, rows.attributes.num_rows), iso_type))


def _free_name(names: Sequence[str]) -> str:
    """Return a name for the geometry, which has none in the file, that no attribute has."""
    name, used = "geom", {item.lower() for item in names}
    while name in used:
        name += "_"
    return name


def _type_name(iso_type: int) -> str:
    """Return GDAL's name of an ISO type."""
    return _TYPE_NAMES[iso_type % 1000] + ("", " Z", " M", " ZM")[iso_type // 1000]


def _layer_type(iso_types: frozenset[int]) -> int:
    """Return the one ISO type that a layer of these types gets; 0 = each geometry has its own, in x and y only.

    Single and multi-part geometries with heights become multi-part ones, as a layer of several types has no heights.
    """
    flat_types = {iso_type % 1000 for iso_type in iso_types}
    dimensions = {iso_type // 1000 for iso_type in iso_types}
    families = {flat_type if flat_type <= 3 else flat_type - 3 for flat_type in flat_types}
    if len(families) != 1 or (len(flat_types) > 1 and dimensions == {0}):
        return 0
    common = flat_types.pop() if len(flat_types) == 1 else families.pop() + 3
    if len(dimensions) == 1:
        return common + 1000 * dimensions.pop()
    return common + (1000 if dimensions & {1, 3} else 0)


def _in_one_type(geometries: NDArray[np.object_], iso_type: int) -> NDArray[np.object_]:
    """Return geometries in the type of the layer; a height that one does not have is 0, as in GDAL."""
    result = (geometries if iso_type >= 2000 else without_measures(geometries)).copy()
    result[shapely.is_empty(result)] = None  # a FlatGeobuf has no empty ones
    if iso_type == 0:
        return np.asarray(shapely.force_2d(result))
    if iso_type // 1000 % 2:
        is_flat = ~shapely.has_z(result)
        result[is_flat] = shapely.force_3d(result[is_flat])
    if iso_type % 1000 > 3:
        result = _multi_part(result, iso_type % 1000)
    return result


def _multi_part(geometries: NDArray[np.object_], multi_type: int) -> NDArray[np.object_]:
    collectors: dict[int, Callable[..., Any]] = {
        4: shapely.multipoints,
        5: shapely.multilinestrings,
        6: shapely.multipolygons,
    }
    type_ids = shapely.get_type_id(geometries)
    is_single = (type_ids >= 0) & (type_ids != multi_type)
    result = geometries.copy()
    result[is_single] = collectors[multi_type](geometries[is_single], indices=np.arange(np.count_nonzero(is_single)))
    return result


def _reserved_names(result: ResultLayer) -> set[str]:
    ids = set() if result.id_type is None else {"id"}
    return ids | {"ogc_fid"}  # GDAL takes such a column for its own count and drops it


def _kept_dimensions(iso_types: frozenset[int]) -> int:
    return _layer_type(iso_types) // 1000


FLATGEOBUF = Format(
    media_type="application/vnd.flatgeobuf",
    name="FlatGeobuf",
    ending=".fgb",
    schema={"type": "string", "format": "binary"},
    write=write_flatgeobuf,
    needs_geometry=True,
    is_caseless=True,
    reserved_names=_reserved_names,
    kept_dimensions=_kept_dimensions,
    why_left_out="FlatGeobuf has them only where all geometries are alike",
)
