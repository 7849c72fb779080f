"""Layers that lie elsewhere, of which only the features in some boxes are fetched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import BinaryIO

import msgspec
import numpy as np
import pyarrow as pa
import pyproj
from numpy.typing import NDArray

from processes.features.layer import Layer

Boxes = NDArray[np.float64]
"""minx, miny, maxx, maxy of each box, `(k, 4)`."""

BoxesIn = Callable[[pyproj.CRS], Sequence[tuple[float, float, float, float]]]
"""Returns boxes in a CRS, x before y, that hold all that is wanted: minx, miny, maxx, maxy."""


class RemoteLayerFile(msgspec.Struct, frozen=True):
    """A file of a layer, whose parts are fetched when they are read."""

    file: BinaryIO
    """For what is small: each reading fetches a piece at least, and keeps it."""
    size_bytes: int
    read: Callable[[int, int], bytes]
    """Fetches the bytes from a place to before another."""
    digest: str
    """Tells it from other files."""


def spread(part: Layer, positions: NDArray[np.int64], count: int) -> Layer:
    """Return a layer whose features have the positions that they have in their file; the others are empty.

    Args:
        part: the features.
        positions: of each of them, from 0, ascending, `(n,)`.
        count: of all features of the file.
    """
    if len(positions) == count:
        return part
    places = np.zeros(count, np.int64)
    places[positions] = np.arange(len(positions))
    is_absent = np.ones(count, bool)
    is_absent[positions] = False
    indices = pa.array(places, mask=is_absent)
    geometry = None if part.geometry is None else part.geometry.take(indices)
    columns = [column.take(indices) for column in part.attributes.columns]
    attributes = pa.table(columns, schema=pa.schema([item.with_nullable(True) for item in part.attributes.schema]))
    if not columns:
        attributes = pa.table({"": pa.nulls(count)}).select([])
    return msgspec.structs.replace(part, geometry=geometry, attributes=attributes)
