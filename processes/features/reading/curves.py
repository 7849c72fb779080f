"""Arcs as lines of many points, by GDAL with its default step of 4 degrees."""

from __future__ import annotations

import uuid
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyogrio
import shapely

from processes.errors import LayerError
from processes.features.wkb import find_curves

_MEASURED = 2000
"""ISO types from here on have measures."""


def without_curves(geometry: pa.ChunkedArray) -> tuple[pa.ChunkedArray, str]:
    """Return a column of WKB, some of them curves, as lines and polygons, with a warning that counts the curves.

    Heights stay; GDAL gives the points of an arc no measures.

    Raises:
        LayerError: a curve cannot be read.
    """
    indices, iso_types = find_curves(geometry)
    column = geometry.combine_chunks() if geometry.num_chunks != 1 else geometry.chunk(0)
    is_curve = np.zeros(len(column), bool)
    is_curve[indices] = True
    lines = _linear_wkb(column.take(pa.array(indices)), int(indices[0]))
    if lines.null_count:
        index = int(indices[lines.is_null().index(True).as_py()])
        raise LayerError(f"feature {index + 1} has a curve that cannot be read")
    replaced = pc.replace_with_mask(column, pa.array(is_curve), lines.cast(column.type))
    measures = " without measures (M)" if (iso_types >= _MEASURED).any() else ""
    first = int(indices[0]) + 1
    if len(indices) == 1:
        said = f"1 geometry with curves is read as lines of many points{measures}: that of feature {first}"
    else:
        said = f"{len(indices)} geometries with curves are read as lines of many points{measures}; "
        said += f"the first is that of feature {first}"
    return pa.chunked_array([replaced]), said


def _linear_wkb(curves: pa.Array, first: int) -> pa.Array:
    """Return curves as ISO WKB of lines and polygons, by way of a layer in memory; pyogrio's own reader has no curves.

    Args:
        curves: WKB, `(n,)`.
        first: index of the first one in the layer, for messages.
    """
    path = f"/vsimem/classify-{uuid.uuid4()}.gpkg"
    try:
        pyogrio.write_arrow(
            pa.table({"geom": curves}),
            path,
            driver="GPKG",
            geometry_name="geom",
            geometry_type="Unknown",
            crs="EPSG:3857",  # any: coordinates stay as they are
            SPATIAL_INDEX="NO",
        )
        _, _, texts, _ = pyogrio.raw.read(path, columns=[])
        return pa.array(shapely.to_wkb(shapely.from_wkb(texts), output_dimension=4, flavor="iso"), pa.large_binary())
    except (RuntimeError, TypeError, pa.ArrowException, shapely.errors.ShapelyError) as err:
        raise LayerError(f"a curve cannot be read; the first is that of feature {first + 1}") from err
    finally:
        with suppress(FileNotFoundError):
            pyogrio.vsi_unlink(path)
