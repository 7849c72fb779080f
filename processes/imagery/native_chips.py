"""Chips that are cells of an image as they are: all of one size, copied by the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from processes.imagery.decoded_tile import Cells
from processes.imagery.grid import Mask, Windows
from processes.imagery.tiles import TileReader

Complete = Callable[[int, Sequence[int], Cells, Mask], bool]
"""Fills the cells of an image's window that are not valid from other images, and returns whether it touches one."""
_NativeChips = tuple[Cells, Mask | None, Mask]


def cut_native(
    tiles: TileReader,
    images: NDArray[np.int32],
    windows: Windows,
    complete: Complete | None,
    goes_on: Callable[[], bool],
) -> _NativeChips:
    """Cut windows of one size.

    Args:
        tiles: the images.
        images: index of each window's image, `(n,)`.
        windows: the windows, in reading order, `(n, 4)`.
        complete: completes windows that lack cells; None = nothing does.
        goes_on: is called where windows begin in another tile than the one before; False = those before are enough.

    Returns:
        Of the first k windows: the cells, `(k, bands, height, width)`; which of them are valid, `(k, height, width)`,
        None = all; which windows share a cell with an image, `(k,)`. Cells that are not valid may hold anything.
    """
    starts, are_whole = _runs(tiles, images, windows)
    if are_whole == [True]:
        cells, valid = _copy(tiles, int(images[0]), windows)
        found: _NativeChips = cells.astype(tiles.dtype, copy=False), valid, np.ones(len(windows), bool)
    else:
        found = _cut_runs(tiles, images, windows, starts, are_whole, goes_on)
    cells, valid, touched = found
    if complete is not None and valid is not None:
        for place in np.flatnonzero(~valid.all(axis=(1, 2))).tolist():
            others = complete(int(images[place]), windows[place].tolist(), cells[place], valid[place])
            touched[place] = touched[place] or others
    return found


def _runs(tiles: TileReader, images: NDArray[np.int32], windows: Windows) -> tuple[list[int], list[bool]]:
    """Return where windows begin in another tile than the one before, and whether those from there on are whole.

    They are whole where they lie in their image, all their tiles are in its file, and the tiles have room for them.
    """
    left, top, width, height = windows.T.astype(np.int64)
    right, bottom = left + width, top + height
    rows, columns, tile_height, tile_width, room_below, room_right = tiles.shapes[images].T
    row, column = top // tile_height, left // tile_width
    is_whole = (left >= 0) & (top >= 0) & (right <= columns) & (bottom <= rows)
    is_whole &= bottom <= (row + 1) * tile_height + room_below
    is_whole &= right <= (column + 1) * tile_width + room_right
    for index in np.unique(images).tolist():
        stored = tiles.stored_tiles(index)
        if stored is not None:
            some = np.flatnonzero(is_whole & (images == index))
            row_behind, column_behind = -(-bottom[some] // tile_height[some]), -(-right[some] // tile_width[some])
            touched = (row_behind - row[some]) * (column_behind - column[some])
            is_whole[some] = stored.count(row[some], column[some], row_behind, column_behind) == touched
    keys = np.stack([images, row, column, is_whole])
    starts = np.flatnonzero(np.concatenate([[True], (keys[:, 1:] != keys[:, :-1]).any(axis=0)]))
    return starts.tolist(), is_whole[starts].tolist()


def _cut_runs(
    tiles: TileReader,
    images: NDArray[np.int32],
    windows: Windows,
    starts: Sequence[int],
    are_whole: Sequence[bool],
    goes_on: Callable[[], bool],
) -> _NativeChips:
    """Cut windows that begin in several tiles, or are not whole."""
    count, (width, height) = len(windows), windows[0, 2:].tolist()
    cells = np.empty((count, tiles.bands, height, width), tiles.dtype)
    valid: Mask | None = None
    touched = np.ones(count, bool)
    for start, end, is_whole in zip(starts, [*starts[1:], count], are_whole, strict=True):
        if start and not goes_on():
            return cells[:start], None if valid is None else valid[:start], touched[:start]
        if is_whole:
            cells[start:end], mask = _copy(tiles, int(images[start]), windows[start:end])
        if is_whole and mask is None:
            continue
        if valid is None:
            valid = np.ones((count, height, width), bool)
        if is_whole:
            valid[start:end] = mask
            continue
        cells[start:end], valid[start:end] = 0, False
        for place in range(start, end):
            touched[place] = tiles.cut(int(images[place]), windows[place].tolist(), cells[place], valid[place])
    return cells, valid, touched


def _copy(tiles: TileReader, index: int, windows: Windows) -> tuple[Cells, Mask | None]:
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
