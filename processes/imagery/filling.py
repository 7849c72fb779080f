"""Cells that a window lacks in its own image, from another image of a mosaic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from processes.imagery.decoded_tile import Cells
from processes.imagery.grid import Mask
from processes.imagery.tiles import TileReader
from processes.imagery.whole_windows import copy_whole


def fill(
    tiles: TileReader, own: int, neighbour: tuple[int, float], window: Sequence[int], cells: Cells, valid: Mask
) -> bool:
    """Fill the missing cells of a window from another image: each from its cell that holds the centre.

    Args:
        tiles: the images.
        own: index of the image that has the window.
        neighbour: index of the other image, and what is added to x to get there.
        window: column, row, width, height.
        cells: of the window, `(bands, height, width)`. Those that are not valid may become anything.
        valid: which of them are valid, and then also those that are filled, `(height, width)`.

    Returns:
        Whether a missing cell lies in the other image.
    """
    other, offset = neighbour
    shift = tiles.images[own].grid.shift_to(tiles.images[other].grid, offset)
    if shift is None:
        return _fill_cell_by_cell(tiles, own, neighbour, window, cells, valid)
    column, row = window[0] + shift[0], window[1] + shift[1]
    return _fill_box(tiles, other, (column, row), cells, valid)


def _fill_box(tiles: TileReader, other: int, origin: tuple[int, int], cells: Cells, valid: Mask) -> bool:
    """Fill the missing cells of a window from an image whose grid it shares, in which it begins at `origin`."""
    grid, (column, row), (height, width) = tiles.images[other].grid, origin, valid.shape
    inside = (
        slice(max(-row, 0), max(min(grid.height - row, height), 0)),
        slice(max(-column, 0), max(min(grid.width - column, width), 0)),
    )
    missing_row, missing_column = np.nonzero(~valid[inside])
    if not len(missing_row):
        return False
    top, left = inside[0].start + int(missing_row[0]), inside[1].start + int(missing_column.min())
    bottom, right = inside[0].start + int(missing_row[-1]) + 1, inside[1].start + int(missing_column.max()) + 1
    source_window = column + left, row + top, right - left, bottom - top
    cells, valid = cells[:, top:bottom, left:right], valid[top:bottom, left:right]
    if len(missing_row) == valid.size and copy_whole(tiles, other, source_window, cells):
        valid[...] = True
        return True
    source, usable = np.zeros_like(cells), np.zeros_like(valid)
    tiles.cut(other, source_window, source, usable)
    usable &= ~valid
    np.copyto(cells, source, where=usable)
    valid |= usable
    return True


def _fill_cell_by_cell(
    tiles: TileReader, own: int, neighbour: tuple[int, float], window: Sequence[int], cells: Cells, valid: Mask
) -> bool:
    """Fill the cells that are still missing from another image: each from its cell that holds the centre."""
    other, offset = neighbour
    missing_row, missing_column = np.nonzero(~valid)
    centres = np.stack([missing_column + window[0] + 0.5, missing_row + window[1] + 0.5], axis=1)
    own_grid, grid = tiles.images[own].grid, tiles.images[other].grid
    source_cells = np.floor(grid.to_pixels(own_grid.to_map(centres) + np.array([offset, 0]))).astype(np.int64)
    inside = ((source_cells >= 0) & (source_cells < (grid.width, grid.height))).all(axis=1)
    if not inside.any():
        return False
    source_cells, missing_row, missing_column = source_cells[inside], missing_row[inside], missing_column[inside]
    low = source_cells.min(axis=0)
    width, height = (source_cells.max(axis=0) - low + 1).tolist()
    source = np.zeros((tiles.bands, height, width), tiles.dtype)
    source_valid = np.zeros((height, width), bool)
    tiles.cut(other, (int(low[0]), int(low[1]), width, height), source, source_valid)
    column, row = (source_cells - low).T
    usable = source_valid[row, column]
    cells[:, missing_row[usable], missing_column[usable]] = source[:, row[usable], column[usable]]
    valid[missing_row[usable], missing_column[usable]] = True
    return True
