"""GeoParquet's native encodings, those of GeoArrow with separate coordinates, as WKB."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from processes.errors import LayerError

ENCODINGS: Mapping[str, tuple[shapely.GeometryType, int]] = {
    "point": (shapely.GeometryType.POINT, 0),
    "linestring": (shapely.GeometryType.LINESTRING, 1),
    "polygon": (shapely.GeometryType.POLYGON, 2),
    "multipoint": (shapely.GeometryType.MULTIPOINT, 1),
    "multilinestring": (shapely.GeometryType.MULTILINESTRING, 2),
    "multipolygon": (shapely.GeometryType.MULTIPOLYGON, 3),
}
"""By name of the encoding: the type of geometry, and the depth of the lists around its coordinates."""

_ORDINATES = (("x", "y"), ("x", "y", "z"))


def wkb_of(values: pa.Array, encoding: str, subject: str) -> pa.Array:
    """Return geometries as WKB, null where one is missing, `(n,)`.

    Args:
        values: the column, `(n,)`.
        encoding: a key of ENCODINGS.
        subject: how messages name the layer.

    Raises:
        LayerError: the column does not have the type of the encoding, or coordinates are missing.
    """
    geometry_type, depth = ENCODINGS[encoding]
    offsets: list[NDArray[np.int64]] = []
    missing = values.is_null().to_numpy(zero_copy_only=False)
    level = values
    for _ in range(depth):
        if not (pa.types.is_list(level.type) or pa.types.is_large_list(level.type)):
            raise _wrong_type(values.type, encoding, subject)
        edges = level.offsets.to_numpy().astype(np.int64)
        if level is not values and level.null_count:
            raise LayerError(f"{subject}: a part of a geometry is null")
        level = level.values.slice(edges[0], edges[-1] - edges[0])
        offsets.insert(0, edges - edges[0])
    if not pa.types.is_struct(level.type) or tuple(item.name for item in level.type) not in _ORDINATES:
        raise _wrong_type(values.type, encoding, subject)
    if not all(pa.types.is_float64(item.type) for item in level.type):
        raise _wrong_type(values.type, encoding, subject)
    if level.null_count and depth:
        raise LayerError(f"{subject}: a coordinate of a geometry is null")
    columns = level.flatten()
    if depth and any(column.null_count for column in columns):
        raise LayerError(f"{subject}: a coordinate of a geometry is null")
    coordinates = np.column_stack([column.to_numpy(zero_copy_only=False) for column in columns])
    try:
        if depth and not len(coordinates):  # shapely cannot make geometries of no coordinates at all
            geometries = np.full(len(values), shapely.from_wkt(f"{geometry_type.name} EMPTY"), dtype=object)
        else:
            rows = np.ascontiguousarray(coordinates)
            geometries = shapely.from_ragged_array(geometry_type, rows, tuple(offsets) or None)
    except (shapely.errors.ShapelyError, ValueError) as err:
        raise LayerError(f"{subject}: a geometry cannot be read") from err
    geometries[missing] = None
    return pa.array(shapely.to_wkb(geometries, output_dimension=3, flavor="iso"), pa.large_binary())


def _wrong_type(dtype: pa.DataType, encoding: str, subject: str) -> LayerError:
    return LayerError(
        f"{subject}: the primary column is of type {str(dtype)[:80]}, which is not the encoding {encoding}"
    )
