"""Large chips: windows of many times the chip's cells, reduced by block averages, part by part.

A part is some whole tiles of the image, so that each tile is decoded once. Parts without a cell that counts are not
read: those whose tiles are absent in the files, and those that lie outside the polygon that is blackened around. A step
of a job reads some parts; what it read is kept as sums, and another step goes on with the next part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
import shapely
from numpy.typing import NDArray

from processes.imagery.decoded_tile import Cells
from processes.imagery.grid import Floats, Mask, Windows
from processes.imagery.tiles import TileReader

REDUCE_ABOVE = 16
"""A window of more than this many times the chip's cells along an axis is first reduced by block averages."""
REDUCE_TO = 8
"""The reduced window has at least this many times the chip's cells: close to the exact result, and small enough to be
held."""
_PART_PX = 1024
"""Side of the parts in which a large window is read, in cells, where tiles are no larger."""
_PART_CELLS = 2**20
"""A tile that is larger is cut out of in pieces of so many cells."""

Window = tuple[int, int, int, int]
"""Column, row, width, height, in an image's cells."""
Position = tuple[int, int]
"""Where reading goes on: row of parts, and number of its parts that were read."""
ReadPart = Callable[[Window], tuple[Cells, bool, bool]]
"""Returns the cells of a part `(bands, height, width)`, whether it touches an image, and has a valid cell."""


class PartialChip(msgspec.Struct, frozen=True):
    """What one step read of a large chip."""

    start: Position | None
    """None = the first part."""
    end: Position | None
    """None = the window was read to its end."""
    first_row: int
    """Of the reduced window, of `sums`."""
    sums: Floats
    """Sums of blocks of cells, of those rows of the reduced window that were read, `(bands, rows, columns)`."""
    touched: bool
    """True = the part that was read shares a cell with an image."""
    valid: bool
    """True = it has a valid cell, blackening included."""
    share: float
    """How much of the window lies above `end`, 0..1."""


class LargeWindow(msgspec.Struct, frozen=True):
    """A window to be reduced."""

    own: int
    """Index of the image whose grid it uses."""
    window: Window
    across: int
    down: int
    """Columns and rows of the cells that are averaged."""
    neighbours: Sequence[tuple[int, float]]
    """The other images that it may share cells with, as `Mosaic.neighbours` has them."""
    footprint: shapely.Geometry | None
    """The polygon to blacken around, in pixel coordinates; None = nothing is blackened."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the reduced window."""
        return -(-self.window[3] // self.down), -(-self.window[2] // self.across)


def large_windows(windows: Windows, sides: NDArray[np.int64]) -> Mask:
    """Return which windows are so large that they are reduced, `(n,)`.

    Args:
        windows: the windows.
        sides: cells of each one's chip along a row and along a column of its image, `(n, 2)`.
    """
    return np.asarray((windows[:, 2:] > REDUCE_ABOVE * sides).any(axis=1))


def reduction(side: int, chip_side: int, other: int, other_chip: int) -> int:
    """Return how many cells of a window are averaged along an axis before it is resampled; 1 = none are.

    Args:
        side: of the window, along the axis.
        chip_side: of the chip, along it.
        other: side of the window along the other axis.
        other_chip: of the chip.
    """
    if side <= REDUCE_ABOVE * chip_side and other <= REDUCE_ABOVE * other_chip:
        return 1
    return max(1, side // (REDUCE_TO * chip_side))


def block_means(large: LargeWindow, bands: int, parts: Sequence[PartialChip]) -> Floats:
    """Return the means of the blocks of a window that was read, `(bands, height, width)`.

    Blocks cut off by the window's edge are averaged over the cells they have.

    Args:
        large: the window.
        bands: number of bands.
        parts: all that was read of it.
    """
    sums = parts[0].sums
    if sums.shape[1:] != large.shape:
        sums = np.zeros((bands, *large.shape))
        for part in parts:
            sums[:, part.first_row : part.first_row + part.sums.shape[1]] += part.sums
    _, _, width, height = large.window
    rows = np.minimum(large.down, height - np.arange(0, height, large.down))
    columns = np.minimum(large.across, width - np.arange(0, width, large.across))
    return np.asarray(sums / (rows[:, None] * columns[None, :]))


class LargeChipReader:
    """Reads a large window part by part.

    Args:
        tiles: the images.
        large: the window.
        read_part: reads a part of it.
    """

    def __init__(self, tiles: TileReader, large: LargeWindow, read_part: ReadPart) -> None:
        self._tiles = tiles
        self._large = large
        self._read_part = read_part
        self._grid = tiles.images[large.own].grid
        tile_height, tile_width = tiles.images[large.own].tile
        self._height = max(1, _PART_PX // tile_height) * tile_height
        self._width = max(1, _PART_PX // tile_width) * tile_width
        self._sums = np.zeros((tiles.bands, *large.shape))
        self._touched = self._valid = False
        own_and_others = (large.own, *(other for other, _ in large.neighbours))
        self._is_sequential = any(tiles.images[index].is_sequential for index in own_and_others)

    def read(self, start: Position | None, goes_on: Callable[[], bool]) -> PartialChip:
        """Read from a part on; `goes_on` is called before each part but the first: False = the step is over.

        Images that are read from their first row each time are read to the end.
        """
        outlines = self._outlines()
        first, last = self._rows_of(outlines)
        row, done = (first, 0) if start is None else start
        top, is_first, end, share = row, True, None, 1.0
        while row < last and end is None:
            near = self._near_columns(outlines, row)
            todo, constant = self._sorted_parts(near, row)
            if not is_first and not goes_on() and not self._is_sequential:
                end, share = (row, done), (row - first) / (last - first)
                break
            if not done:
                self._add_constant(constant, row)
            for place in range(done, len(todo)):
                if place > done and not goes_on() and not self._is_sequential:
                    end, share = (row, place), (row - first + place / len(todo)) / (last - first)
                    break
                self._add_part(int(todo[place]), row)
                is_first = False
            else:
                row, done = row + 1, 0
        return self._partial(start, end, top, row, share)

    def _partial(self, start: Position | None, end: Position | None, top: int, row: int, share: float) -> PartialChip:
        """Return what was read of the rows of parts from `top` to `row`."""
        _, window_row, _, height = self._large.window
        low = np.clip(top * self._height - window_row, 0, height)
        high = np.clip((row + 1) * self._height - window_row, 0, height)
        rows = slice(int(low) // self._large.down, -(-int(high) // self._large.down))
        return PartialChip(start, end, rows.start, self._sums[:, rows], self._touched, self._valid, share)

    def _outlines(self) -> NDArray[np.int64]:
        """Return the boxes of the window's parts that lie in an image: left, top, right, bottom, `(images, 4)`."""
        column, row, width, height = self._large.window
        corners = [self._grid.corners()]
        for other, offset in self._large.neighbours:
            corners.append(self._tiles.images[other].grid.corners() - np.array([offset, 0]))
        pixels = self._grid.to_pixels(np.concatenate(corners)).reshape(-1, 4, 2)
        low, high = np.floor(pixels.min(axis=1)), np.ceil(pixels.max(axis=1))
        boxes = np.concatenate([low, high], axis=1)
        return np.asarray(np.clip(boxes, (column, row) * 2, (column + width, row + height) * 2).astype(np.int64))

    def _rows_of(self, outlines: NDArray[np.int64]) -> tuple[int, int]:
        """Return the first row of parts that touches an image, and the one behind the last."""
        boxes = outlines[(outlines[:, :2] < outlines[:, 2:]).all(axis=1)]
        if not len(boxes):
            return 0, 0
        return int(boxes[:, 1].min()) // self._height, -(-int(boxes[:, 3].max()) // self._height)

    def _near_columns(self, outlines: NDArray[np.int64], row: int) -> NDArray[np.int64]:
        """Return the parts of a row that touch an image."""
        top, bottom = row * self._height, (row + 1) * self._height
        here = outlines[(outlines[:, 1] < bottom) & (outlines[:, 3] > top) & (outlines[:, 0] < outlines[:, 2])]
        if not len(here):
            return np.zeros(0, np.int64)
        first, behind = here[:, 0] // self._width, -(-here[:, 2] // self._width)
        low = int(first.min())
        steps = np.zeros(int(behind.max()) - low + 1, np.int64)
        np.add.at(steps, first - low, 1)
        np.add.at(steps, behind - low, -1)
        return np.flatnonzero(steps.cumsum()) + low

    def _sorted_parts(self, columns: NDArray[np.int64], row: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the parts of a row that are to be read, and those that hold what absent tiles hold, and are valid.

        The others hold nothing. This notes whether parts that are not read touch an image.
        """
        boxes = self._boxes(columns, row)
        within = np.clip(boxes, 0, (self._grid.width, self._grid.height) * 2)
        in_own = (within[:, :2] < within[:, 2:]).all(axis=1)
        self._touched = self._touched or bool(in_own.any())
        is_empty = np.zeros(len(columns), bool)
        is_inside = np.ones(len(columns), bool)
        if self._large.footprint is not None:
            is_empty, is_inside = self._by_footprint(boxes)
            is_empty &= in_own
        is_absent = np.zeros(len(columns), bool)
        is_absent[in_own] = self._tiles.is_absent(self._large.own, *within[in_own].T)
        if not is_absent.any():
            return columns[~is_empty], columns[:0]
        is_valid = self._tiles.absent_cells(self._large.own)[1]
        if is_valid:
            alone = not self._large.neighbours or (within == boxes).all(axis=1)
            is_constant = is_absent & is_inside & alone
            return columns[~is_empty & ~is_constant], columns[is_constant]
        is_empty |= is_absent & self._has_no_neighbour(boxes, is_absent & ~is_empty)
        return columns[~is_empty], columns[:0]

    def _boxes(self, columns: NDArray[np.int64], row: int) -> NDArray[np.int64]:
        """Return the boxes of parts of a row, cut to the window: left, top, right, bottom, `(parts, 4)`."""
        column, window_row, width, height = self._large.window
        top = np.full(len(columns), row * self._height)
        boxes = np.stack(
            [columns * self._width, top, (columns + 1) * self._width, top + self._height],
            axis=1,
        )
        return np.asarray(np.clip(boxes, (column, window_row) * 2, (column + width, window_row + height) * 2))

    def _by_footprint(self, boxes: NDArray[np.int64]) -> tuple[Mask, Mask]:
        """Return which boxes lie outside the footprint, and which inside; of an invalid one neither is known."""
        footprint = self._large.footprint
        if not shapely.is_valid(footprint):
            return np.zeros(len(boxes), bool), np.zeros(len(boxes), bool)
        shapely.prepare(footprint)
        shapes = shapely.box(*boxes.T)
        outside, inside = shapely.disjoint(footprint, shapes), shapely.contains_properly(footprint, shapes)
        return np.asarray(outside), np.asarray(inside)

    def _has_no_neighbour(self, boxes: NDArray[np.int64], asked: Mask) -> Mask:
        """Return for which of the boxes that are asked for no other image has a cell."""
        is_alone = asked.copy()
        for other, offset in self._large.neighbours:
            places = np.flatnonzero(is_alone)
            if not len(places):
                break
            left, top, right, bottom = boxes[places].T
            corners = np.stack([left, top, right, top, right, bottom, left, bottom], axis=1).reshape(-1, 2)
            grid = self._tiles.images[other].grid
            there = grid.to_pixels(self._grid.to_map(corners.astype(float)) + np.array([offset, 0])).reshape(-1, 4, 2)
            low = np.clip(np.floor(there.min(axis=1)), 0, (grid.width, grid.height)).astype(np.int64)
            high = np.clip(np.ceil(there.max(axis=1)), 0, (grid.width, grid.height)).astype(np.int64)
            touches = (low < high).all(axis=1)
            touching = np.flatnonzero(touches)
            if not len(touching):
                continue
            is_absent = self._tiles.is_absent(other, *low[touching].T, *high[touching].T)
            if is_absent.any() and self._tiles.absent_cells(other)[1]:
                is_absent[:] = False
            is_alone[places[touching[~is_absent]]] = False
        return is_alone

    def _add_constant(self, columns: NDArray[np.int64], row: int) -> None:
        """Add parts of a row that hold what absent tiles hold."""
        if not len(columns):
            return
        self._valid = True
        values = self._tiles.absent_cells(self._large.own)[0].astype(np.float64)
        if not values.any():
            return
        column, window_row, _, _ = self._large.window
        boxes = np.clip(self._boxes(columns, row), 0, (self._grid.width, self._grid.height) * 2)
        for left, top, right, bottom in (boxes - (column, window_row, column, window_row)).tolist():
            rows, row_counts = np.unique(np.arange(top, bottom) // self._large.down, return_counts=True)
            places, counts = np.unique(np.arange(left, right) // self._large.across, return_counts=True)
            counted = values * (row_counts[:, None] * counts)
            self._sums[:, rows[0] : rows[-1] + 1, places[0] : places[-1] + 1] += counted

    def _add_part(self, column: int, row: int) -> None:
        """Read a part, in pieces where its tiles are large."""
        ((left, top, right, bottom),) = self._boxes(np.array([column]), row).tolist()
        for window in _pieces(left, top, right, bottom):
            cells, touched, valid = self._read_part(window)
            self._touched, self._valid = self._touched or touched, self._valid or valid
            if valid:
                self._add_cells(cells, window[0] - self._large.window[0], window[1] - self._large.window[1])

    def _add_cells(self, cells: Cells, x: int, y: int) -> None:
        """Add the cells from a place of the window on."""
        _, height, width = cells.shape
        rows, row_starts = np.unique(np.arange(y, y + height) // self._large.down, return_index=True)
        columns, column_starts = np.unique(np.arange(x, x + width) // self._large.across, return_index=True)
        by_rows = np.add.reduceat(cells, row_starts, axis=1, dtype=np.float64)
        by_blocks = np.add.reduceat(by_rows, column_starts, axis=2)
        self._sums[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += by_blocks


def _pieces(left: int, top: int, right: int, bottom: int) -> Iterator[Window]:
    """Yield windows that cover a box, of no more cells than are cut out at once."""
    height = min(bottom - top, _PART_PX)
    width = max(1, _PART_CELLS // height)
    for y in range(top, bottom, height):
        for x in range(left, right, width):
            yield x, y, min(width, right - x), min(height, bottom - y)
