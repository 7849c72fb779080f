"""What reading chips costs: the bytes of the tiles that are decoded for them. It is known before any tile is read.

Small windows share their tiles, as they are read in order. A window that is larger than what is kept of decoded tiles
is read alone. Tiles that are not in the file cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from processes.imagery.chip_plan import ChipPlan
from processes.imagery.grid import Grid, Windows
from processes.imagery.image import Image
from processes.imagery.source import readable
from processes.imagery.stored_tiles import StoredTiles, read_stored_tiles
from processes.imagery.tiles import TILE_BUDGET_BYTES

_LARGE_BYTES = TILE_BUDGET_BYTES // 3
"""A window with more bytes of tiles shares none of them with others."""
_LITTLE_BYTES = 2**31
"""Work that reads less is not counted exactly."""
_ROWS_AT_ONCE = 2**16
_SIDES = np.array([[-1, 0], [0, -1], [1, 0], [0, 1]])
"""Turns rectangles into their sides."""
_PAIRS_AT_ONCE = 2**22
_MOST_TILES = 2**26
"""Of an image with more tiles, such as one of the world, it is not counted which of them chips share."""

Rectangles = NDArray[np.int64]
"""First column, first row, column and row behind the last ones, `(n, 4)`."""


class ReadingCost(msgspec.Struct, frozen=True):
    """Bytes that are decoded for chips, of all bands."""

    windows: NDArray[np.int64]
    """Of each row whose window is read alone, 0 = it is not, `(n,)`."""
    total: int
    """Of all rows together."""


def reading_cost(chips: ChipPlan) -> ReadingCost:
    """Return what it costs to read all chips.

    Raises:
        ImageError: an image cannot be read.
    """
    count = len(chips.placement.image)
    windows = np.zeros(count, np.int64)
    shared = 0
    for start in range(0, count, _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, count))
        rows = rows[chips.placement.image[rows] >= 0]
        sizes = _tile_bytes(chips, rows)
        is_large = sizes > _LARGE_BYTES
        windows[rows[is_large]] = sizes[is_large]
        shared += int(sizes[~is_large].sum())
    if shared + int(windows.sum()) > _LITTLE_BYTES:
        shared = _count_stored(chips, windows)
    return ReadingCost(windows, shared + int(windows.sum()))


def _tile_bytes(chips: ChipPlan, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bytes of the tiles that the windows of rows touch, `(k,)`, and of the cells that other images fill."""
    index = chips.placement.image[rows]
    boxes = np.array([(image.grid.width, image.grid.height) * 2 for image in chips.images], np.int64)[index]
    tiles = np.array([image.tile[::-1] for image in chips.images], np.int64)[index]
    cell_bytes = np.array([_cell_bytes(image) for image in chips.images], np.int64)[index]
    rectangles = np.clip(_rectangles(chips.placement.windows[rows]), 0, boxes)
    counts = np.maximum(_in_tiles(rectangles, tiles) @ _SIDES, 0)
    sizes = counts.prod(axis=1) * tiles.prod(axis=1) * cell_bytes
    if chips.mosaic is not None and chips.mosaic.has_neighbours:
        areas = chips.placement.windows[rows, 2:].astype(np.int64).prod(axis=1)
        wide = np.flatnonzero(areas > _LARGE_BYTES // cell_bytes)
        for image in np.unique(index[wide]).tolist():
            own = wide[index[wide] == image]
            others = _cells_of_others(chips.images, image, chips.placement.windows[rows[own]])
            sizes[own] += (others * float(cell_bytes[own[0]])).astype(np.int64)
    return np.asarray(sizes)


def _rectangles(windows: Windows) -> Rectangles:
    origins, sides = windows[:, :2].astype(np.int64), windows[:, 2:]
    return np.concatenate([origins, origins + sides], axis=1)


def _in_tiles(rectangles: Rectangles, tiles: NDArray[np.int64]) -> Rectangles:
    """Return the tiles that rectangles of cells touch; empty ones touch none.

    Args:
        rectangles: in cells of the image, within it.
        tiles: (width, height) of a tile, `(2,)` or `(n, 2)`.
    """
    low, high = rectangles[:, :2], rectangles[:, 2:]
    first = low // tiles
    behind = np.where((low < high).all(axis=1)[:, None], -(-high // tiles), first)
    return np.concatenate([first, behind], axis=1)


def _cell_bytes(image: Image) -> int:
    return image.bands * image.dtype.itemsize


def _cells_of_others(images: Sequence[Image], own: int, windows: Windows) -> NDArray[np.float64]:
    """Return how many cells of windows of an image may lie in other images, at most, `(n,)`."""
    grid = images[own].grid
    boxes = _boxes_of_others(grid, [image.grid for place, image in enumerate(images) if place != own])
    if len(boxes) * len(windows) > _PAIRS_AT_ONCE:  # all of them as one
        boxes = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])[None]
    rectangles = _rectangles(windows).astype(np.float64)
    low = np.maximum(rectangles[:, None, :2], boxes[None, :, :2])
    high = np.minimum(rectangles[:, None, 2:], boxes[None, :, 2:])
    return np.asarray(np.maximum(high - low, 0).prod(axis=2).sum(axis=1))


def _boxes_of_others(grid: Grid, others: list[Grid]) -> NDArray[np.float64]:
    """Return the boxes of other images in pixel coordinates of a grid, `(images, 4)`."""
    if not others:
        return np.zeros((1, 4))
    pixels = grid.to_pixels(np.concatenate([other.corners() for other in others])).reshape(-1, 4, 2)
    return np.concatenate([pixels.min(axis=1), pixels.max(axis=1)], axis=1)


def _count_stored(chips: ChipPlan, windows: NDArray[np.int64]) -> int:
    """Leave the tiles that are not in their files out of what large windows cost; return what the small ones cost."""
    shared = 0
    placed = np.flatnonzero(chips.placement.image >= 0)
    order = placed[np.argsort(chips.placement.image[placed], kind="stable")]
    indices, starts = np.unique(chips.placement.image[order], return_index=True)
    for index, rows in zip(indices.tolist(), np.split(order, starts[1:]), strict=True):
        image = chips.images[index]
        with readable(image.source):
            stored = read_stored_tiles(image)
        bounds = (image.grid.width, image.grid.height) * 2
        tile = np.array(image.tile[::-1])
        tile_bytes = int(tile.prod()) * _cell_bytes(image)
        large, small = rows[windows[rows] > 0], rows[windows[rows] == 0]
        if stored is not None and len(large):
            touched = _in_tiles(np.clip(_rectangles(chips.placement.windows[large]), 0, bounds), tile)
            absent = np.maximum(touched @ _SIDES, 0).prod(axis=1) - _stored_in(stored, touched)
            windows[large] -= absent * tile_bytes
        if (image.grid.height // image.tile[0] + 2) * (image.grid.width // image.tile[1] + 2) > _MOST_TILES:
            shared += int(_tile_bytes(chips, small).sum())  # as if no two chips shared a tile
            continue
        covered = np.zeros((-(-image.grid.height // image.tile[0]) + 1, -(-image.grid.width // image.tile[1]) + 1), int)
        for start in range(0, len(small), _ROWS_AT_ONCE):
            some = chips.placement.windows[small[start : start + _ROWS_AT_ONCE]]
            left, top, right, bottom = _in_tiles(np.clip(_rectangles(some), 0, bounds), tile).T
            for row, column, sign in ((top, left, 1), (bottom, right, 1), (top, right, -1), (bottom, left, -1)):
                np.add.at(covered, (row, column), sign)
        is_covered = covered.cumsum(axis=0).cumsum(axis=1)[:-1, :-1] > 0
        if stored is not None:
            is_covered &= np.diff(np.diff(stored.sums, axis=0), axis=1) > 0
        shared += int(is_covered.sum()) * tile_bytes
    return shared


def _stored_in(stored: StoredTiles, rectangles: Rectangles) -> NDArray[np.int64]:
    left, top, right, bottom = rectangles.T
    return np.asarray(stored.count(top, left, bottom, right))
