"""Chips that are cells of an image as they are: all of one size, copied by the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from processes.imagery.decoded_tile import Cells
from processes.imagery.grid import Mask, Windows
from processes.imagery.tiles import TileReader
from processes.imagery.whole_windows import copy_whole

Complete = Callable[[int, Sequence[int], Cells, Mask], bool]
"""Fills the cells of an image's window that are not valid from other images, and returns whether it touches one."""
_KINDS = 3
_CUT, _ONE_BY_ONE, _TOGETHER = range(_KINDS)
"""How windows are cut: as they may lie outside or on absent tiles; whole; whole, and the tile has room for them."""
_NativeChips = tuple[Cells, Mask | None, Mask]
_ROWS_AT_ONCE = 2**16


class NativeChipCutter:
    """Cuts windows of one size, for several threads at once.

    Args:
        tiles: the images.
        images: index of each row's image, -1 = none, `(n,)`.
        windows: each row's window, `(n, 4)`.
        complete: completes windows that lack cells; None = nothing does.

    Raises:
        ImageError: an image cannot be read.
    """

    def __init__(
        self, tiles: TileReader, images: NDArray[np.int32], windows: Windows, complete: Complete | None
    ) -> None:
        self._tiles = tiles
        self._images = images
        self._windows = windows
        self._complete = complete
        self._keys = np.zeros(len(images), np.int64)
        for start in range(0, len(images), _ROWS_AT_ONCE):
            rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(images)))
            rows = rows[images[rows] >= 0]
            self._keys[rows] = _keys(tiles, images[rows], windows[rows])

    def cut(self, rows: NDArray[np.int64], goes_on: Callable[[], bool]) -> _NativeChips:
        """Cut the windows of rows, each of which has an image.

        Args:
            rows: their indices, in reading order, `(k,)`.
            goes_on: is called before windows but the first; False = those before are enough.

        Returns:
            Of the first windows: the cells, `(k, bands, height, width)`; which of them are valid, `(k, height, width)`,
            None = all; which windows share a cell with an image, `(k,)`. Cells that are not valid may hold anything.
        """
        keys, images, windows = self._keys[rows], self._images[rows], self._windows[rows]
        starts = [0, *(np.flatnonzero(keys[1:] != keys[:-1]) + 1).tolist()]
        kinds = (keys[starts] % _KINDS).tolist()
        if kinds == [_TOGETHER]:
            cells, valid = _copy_together(self._tiles, int(images[0]), windows)
            found: _NativeChips = cells.astype(self._tiles.dtype, copy=False), valid, np.ones(len(rows), bool)
        else:
            found = _cut_runs(self._tiles, images, windows, starts, kinds, goes_on)
        cells, valid, touched = found
        if self._complete is not None and valid is not None:
            for place in np.flatnonzero(~valid.all(axis=(1, 2))).tolist():
                others = self._complete(int(images[place]), windows[place].tolist(), cells[place], valid[place])
                touched[place] = touched[place] or others
        return found


def _keys(tiles: TileReader, images: NDArray[np.int32], windows: Windows) -> NDArray[np.int64]:
    """Return a number for each window: windows are cut together where it is the same, and its remainder says how.

    They are whole where they lie in their image, and all their tiles are in its file.
    """
    left, top, width, height = windows.T.astype(np.int64)
    right, bottom = left + width, top + height
    rows, columns, tile_height, tile_width, room_below, room_right = tiles.shapes[images].T
    row, column = top // tile_height, left // tile_width
    is_whole = (left >= 0) & (top >= 0) & (right <= columns) & (bottom <= rows)
    for index in np.unique(images).tolist():
        stored = tiles.stored_tiles(index)
        if stored is not None:
            some = np.flatnonzero(is_whole & (images == index))
            row_behind, column_behind = -(-bottom[some] // tile_height[some]), -(-right[some] // tile_width[some])
            touched = (row_behind - row[some]) * (column_behind - column[some])
            is_whole[some] = stored.count(row[some], column[some], row_behind, column_behind) == touched
    has_room = (height <= room_below + 1) & (width <= room_right + 1)
    kinds = np.where(is_whole, np.where(has_room, _TOGETHER, _ONE_BY_ONE), _CUT)
    tiles_of_images = -(-tiles.shapes[:, 0] // tiles.shapes[:, 2]) * -(-tiles.shapes[:, 1] // tiles.shapes[:, 3])
    first = np.cumsum(tiles_of_images) - tiles_of_images
    number = first[images] + row * -(-columns // tile_width) + column
    return np.where(is_whole, number, 0) * _KINDS + kinds


def _cut_runs(
    tiles: TileReader,
    images: NDArray[np.int32],
    windows: Windows,
    starts: Sequence[int],
    kinds: Sequence[int],
    goes_on: Callable[[], bool],
) -> _NativeChips:
    """Cut windows that are not all copied together."""
    count, (width, height) = len(windows), windows[0, 2:].tolist()
    cells = np.empty((count, tiles.bands, height, width), tiles.dtype)
    valid: Mask | None = None
    touched = np.ones(count, bool)
    for start, end, kind in _steps(starts, kinds, count):
        if start and not goes_on():
            return cells[:start], None if valid is None else valid[:start], touched[:start]
        index, window = int(images[start]), windows[start].tolist()
        mask: Mask | None = None
        if kind == _TOGETHER:
            cells[start:end], mask = _copy_together(tiles, index, windows[start:end])
        elif kind == _CUT or not copy_whole(tiles, index, window, cells[start]):
            cells[start], mask = 0, np.zeros((1, height, width), bool)
            touched[start] = tiles.cut(index, window, cells[start], mask[0])
        if mask is not None:
            valid = np.ones((count, height, width), bool) if valid is None else valid
            valid[start:end] = mask
    return cells, valid, touched


def _steps(starts: Sequence[int], kinds: Sequence[int], count: int) -> Iterator[tuple[int, int, int]]:
    """Yield where windows begin and end that are cut at once, and how."""
    for start, end, kind in zip(starts, [*starts[1:], count], kinds, strict=True):
        if kind == _TOGETHER:
            yield start, end, kind
        else:
            yield from ((place, place + 1, kind) for place in range(start, end))


def _copy_together(tiles: TileReader, index: int, windows: Windows) -> tuple[Cells, Mask | None]:
    """Return the cells of whole windows that begin in one tile of an image, as `Tile.windows` has them."""
    tile_height, tile_width = tiles.images[index].tile
    column, row, width, height = windows[0].tolist()
    tile_row, tile_column = row // tile_height, column // tile_width
    tile = tiles.tile(index, tile_row, tile_column)
    rows, columns = windows[:, 1] - tile_row * tile_height, windows[:, 0] - tile_column * tile_width
    down, right = (rows + (height - 1)) // tile_height, (columns + (width - 1)) // tile_width
    for reached in set(zip(down.tolist(), right.tolist(), strict=True)):
        for place in product(range(reached[0] + 1), range(reached[1] + 1)):
            if not tile.has(place):
                other = tiles.tile(index, tile_row + place[0], tile_column + place[1])
                tile.add(place, other, place[0] * tile_height, place[1] * tile_width)
    return tile.windows(rows, columns, (height, width))
