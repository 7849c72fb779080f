"""Which cells of a chip lie inside a polygon, for many chips at once.

A cell is inside where its centre is. A centre on the outline is inside on a right or an upper edge of the covered
area and outside on a left or a lower one, as GDAL's `rasterize` counts it in the image's grid; at the edges of holes
too, where `rasterize` also burns centres on horizontal edges.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from processes.imagery.grid import DECIMALS, Floats, Mask

_Indices = NDArray[np.int64]

_CELLS_AT_ONCE = 2**22
"""Cells of the masks that are filled together."""
_CROSSINGS_AT_ONCE = 2**22
"""Crossings of outlines and rows that are held together: each of a million edges may cross each row of a chip."""
_WORD_BITS = 64
_LOW_ROWS = 64
"""Parts of a polygon no higher than this many rows are searched for a cell centre together."""
_HIGH_ROWS_AT_ONCE = 2**16
"""Rows of a higher part that are searched together …"""
_MAX_HIGH_ROWS = 2**20
"""… and in all."""
_MAX_HIGH_CROSSINGS = 2**24
"""Crossings of a higher part that are searched in all."""
_FAR_PX = 2.0**40
"""Pixel coordinates are clipped to this, so that rows fit into 64 bits."""


def kept_cells(footprints: NDArray[np.object_], origins: NDArray[np.int32], size: tuple[int, int]) -> Mask:
    """Return the cells that blackening keeps, `(n, height, width)`; all of a chip's where its polygon is None.

    A polygon that holds no cell centre keeps the cell that holds its representative point.

    Args:
        footprints: polygons in pixel coordinates, or None.
        origins: first column and row of each chip, `(n, 2)`.
        size: (width, height) of every chip, in cells.
    """
    masks = polygon_masks(footprints, origins, size)
    for index in np.flatnonzero(~masks.any(axis=(1, 2))).tolist():
        footprint = footprints[index]
        if footprint is None:
            masks[index] = True
        elif keeps_no_centre(footprint):
            column, row = np.subtract(representative_cell(footprint), origins[index])
            if 0 <= column < size[0] and 0 <= row < size[1]:
                masks[index, row, column] = True
    return masks


def polygon_masks(polygons: NDArray[np.object_], origins: NDArray[Any], size: tuple[int, int]) -> Mask:
    """Return the cells inside each polygon, `(n, height, width)`, True = inside.

    Args:
        polygons: polygons and multi-polygons in pixel coordinates; the parts of one count as their union.
        origins: first column and row of each chip, `(n, 2)`.
        size: (width, height) of every chip, in cells.
    """
    width, height = size
    together = max(1, _CELLS_AT_ONCE // (width * height))
    masks = np.zeros((len(polygons), height, width), dtype=bool)
    for start in range(0, len(polygons), together):
        some = slice(start, start + together)
        masks[some] = _masks(polygons[some], origins[some], size)
    return masks


def _masks(polygons: NDArray[np.object_], origins: NDArray[Any], size: tuple[int, int]) -> Mask:
    parts, owner = shapely.get_parts(polygons, return_index=True)
    if len(parts) == len(polygons) and (owner == np.arange(len(polygons))).all():
        return _filled_parts(parts, origins, size)
    width, height = size
    masks = np.zeros((len(polygons), height, width), dtype=bool)
    bounds = np.nan_to_num(shapely.bounds(parts) - np.tile(origins[owner], 2), nan=-1)
    boxes = np.clip(bounds, 0, (width, height, width, height))
    near = np.flatnonzero((boxes[:, :2] < boxes[:, 2:]).all(axis=1))
    most = shapely.get_num_coordinates(parts[near]) * (np.ceil(boxes[near, 3]) - np.floor(boxes[near, 1]))
    for index in near[most > _CROSSINGS_AT_ONCE].tolist():
        chip = owner[index : index + 1]
        masks[chip] |= _filled_parts(parts[index : index + 1], origins[chip], size)
    for some in _groups(near[most <= _CROSSINGS_AT_ONCE], most[most <= _CROSSINGS_AT_ONCE]):
        masks |= _united_parts(parts[some], owner[some], origins, size)
    return masks


def _groups(indices: _Indices, crossings: Floats) -> list[_Indices]:
    """Return indices in groups of not many more crossings than are held at once."""
    return np.split(indices, np.flatnonzero(np.diff(np.cumsum(crossings) // _CROSSINGS_AT_ONCE)) + 1)


def keeps_no_centre(polygon: shapely.Geometry) -> bool:
    """Return whether a polygon in pixel coordinates holds no cell centre of the whole grid.

    Of a part that is higher than a million rows only the first million are searched, and fewer where it has more than a
    few edges.
    """
    parts = shapely.get_parts(polygon)
    bounds = np.nan_to_num(np.clip(shapely.bounds(parts), -_FAR_PX, _FAR_PX))
    top, bottom = np.floor(bounds[:, 1]), np.floor(bounds[:, 3]) + 1
    edges = np.maximum(1, shapely.get_num_coordinates(parts))
    is_low = (bottom - top <= _LOW_ROWS) & (edges * _LOW_ROWS <= _CROSSINGS_AT_ONCE)
    origins = np.floor(bounds[:, :2]).astype(np.int64)
    for some in _groups(np.flatnonzero(is_low), edges[is_low] * float(_LOW_ROWS)):
        if _holds_centre(parts[some], origins[some], _LOW_ROWS):
            return False
    for index in np.flatnonzero(~is_low).tolist():
        first, last, count = int(top[index]), int(bottom[index]), int(edges[index])
        step = min(_HIGH_ROWS_AT_ONCE, _CROSSINGS_AT_ONCE // count + 1)
        most = min(_MAX_HIGH_ROWS, _MAX_HIGH_CROSSINGS // count + 1)
        for row in range(first, min(last, first + most), step):
            origin = np.array([[origins[index, 0], row]])
            if _holds_centre(parts[index : index + 1], origin, min(step, last - row)):
                return False
    return True


def _holds_centre(parts: NDArray[np.object_], origins: _Indices, height: int) -> bool:
    """Return whether one of some polygons holds a cell centre in the first rows from its origin."""
    for part, row, column in _crossings(parts, origins, height, 2**62):
        order = np.lexsort((column, row, part))  # crossings come in pairs, one into the part and one out of it
        if (column[order][0::2] < column[order][1::2]).any():
            return True
    return False


def representative_cell(polygon: shapely.Geometry) -> tuple[int, int]:
    """Return column and row of the cell that holds the representative point of a polygon in pixel coordinates."""
    point = shapely.point_on_surface(polygon)
    return int(np.floor(point.x)), int(np.floor(point.y))


def _filled_parts(parts: NDArray[np.object_], origins: NDArray[Any], size: tuple[int, int]) -> Mask:
    """Fill each polygon by the even-odd rule, `(n, height, width)`."""
    width, height = size
    row_cells = -(-width // _WORD_BITS) * _WORD_BITS
    counts = np.zeros(len(parts) * height * row_cells, np.uint8)  # modulo 256: only odd or even matters
    for part, row, column in _crossings(parts, origins, height, _CROSSINGS_AT_ONCE):
        within = column < width
        cell = (part[within] * height + row[within]) * row_cells + np.maximum(column[within], 0)
        np.add.at(counts, cell, np.uint8(1))
    return _are_odd_so_far(counts.reshape(len(parts), height, row_cells))[:, :, :width]


def _are_odd_so_far(counts: NDArray[np.uint8]) -> Mask:
    """Return where the sum of a row's counts up to a cell, and with it, is odd; 64 cells are one number.

    It changes `counts`, whose rows have a multiple of 64 cells.
    """
    np.bitwise_and(counts, 1, out=counts)
    words = np.packbits(counts, axis=2, bitorder="little").view("<u8")
    for shift in (1, 2, 4, 8, 16, 32):
        words ^= words << np.uint64(shift)
    if words.shape[2] > 1:
        is_odd_before = np.bitwise_xor.accumulate(words[:, :, :-1] >> np.uint64(_WORD_BITS - 1), axis=2)
        words[:, :, 1:] ^= np.negative(is_odd_before)
    return np.unpackbits(words.view(np.uint8), axis=2, bitorder="little").view(bool)


def _united_parts(parts: NDArray[np.object_], owner: _Indices, origins: NDArray[Any], size: tuple[int, int]) -> Mask:
    """Fill polygons, of which several belong to one chip, `(chips, height, width)`, thousands of them in one pass.

    Along a row, the crossings of a part lead into it and out of it in turn. Their running sum counts the parts that a
    cell is in.
    """
    width, height = size
    depth = np.zeros(len(origins) * height * (width + 1), np.int32)
    for part, row, column in _crossings(parts, origins[owner], height, 2**62):
        order = np.lexsort((column, row, part))
        cell = (owner[part] * height + row) * (width + 1) + np.clip(column, 0, width)
        into, out_of = cell[order][0::2], cell[order][1::2]
        depth += (np.bincount(into, minlength=len(depth)) - np.bincount(out_of, minlength=len(depth))).astype(np.int32)
    inside = np.cumsum(depth.reshape(len(origins), height, width + 1)[:, :, :width], axis=2) > 0
    return np.asarray(inside)


def _crossings(
    parts: NDArray[np.object_], origins: NDArray[Any], height: int, at_once: int
) -> Iterator[tuple[_Indices, _Indices, _Indices]]:
    """Yield where the outlines cross the rows of centres: part, row and the first column whose centre is beyond.

    Rows and columns count from each part's origin; rows are 0 to height - 1. More than about `at_once` crossings are
    yielded in several groups; those of an edge stay together.
    """
    rings, part_of_ring = shapely.get_rings(parts, return_index=True)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    xy = np.clip(np.nan_to_num(xy), -_FAR_PX, _FAR_PX)
    # rounded again: the subtraction uncovers errors of the coordinates' last digits
    xy = np.round(xy - origins[part_of_ring[ring]], DECIMALS)
    start = np.flatnonzero(ring[1:] == ring[:-1])
    x1, y1, x2, y2 = _upper_end_first(xy[start], xy[start + 1])
    first = np.clip(np.ceil(y1 - 0.5), 0, height).astype(np.int64)  # rows r with y1 <= r + 0.5 < y2
    last = np.clip(np.ceil(y2 - 0.5), 0, height).astype(np.int64)
    part = part_of_ring[ring[start]]
    ends = np.cumsum(last - first)
    cuts = np.searchsorted(ends, np.arange(at_once, ends[-1] if len(ends) else 0, at_once))
    for some in np.split(np.arange(len(start)), cuts):
        count = last[some] - first[some]
        edge = np.repeat(some, count)
        row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
        # in GDAL's order of operations, so that a crossing through a centre comes out the same
        x = (row + 0.5 - y1[edge]) * (x2[edge] - x1[edge]) / (y2[edge] - y1[edge]) + x1[edge]
        yield part[edge], row, np.floor(x + 0.5).astype(np.int64)


def _upper_end_first(first: Floats, second: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    swap = first[:, 1] > second[:, 1]
    upper, lower = np.where(swap[:, None], second, first), np.where(swap[:, None], first, second)
    return upper[:, 0], upper[:, 1], lower[:, 0], lower[:, 1]
