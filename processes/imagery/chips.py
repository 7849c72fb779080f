"""Chips as pixels: cut, blackened, zeroed, resampled, in batches.

The order is that of Esri's tool: read, zero what is outside, nodata or blackened, resample; normalisation is the
model's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from PIL import Image as PillowImage

from processes.imagery.grid import ChipRule, Floats, Grid, Ints, areas
from processes.imagery.outline import keeps_no_centre, polygon_masks, representative_cell
from processes.imagery.tiles import Cells, Mask, TileReader

REDUCE_ABOVE = 16
"""Windows of more than so many times the chip along an axis are first reduced by block averages, …"""
REDUCE_TO = 8
"""… to no less than so many times the chip: near enough to the exact result, and small enough to be held."""
_PART_PX = 1024

Footprints = Callable[[NDArray[np.int64]], NDArray[np.object_]]
"""Geometries of some rows, in the images' CRS."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the chips of rows are cut: geometry only."""

    image: NDArray[np.int32]
    """Position of the image whose grid the chip uses, -1 = no image, `(n,)`."""
    windows: Ints
    """Column, row, width, height in that image's cells, `(n, 4)`."""

    def names_of(self, names: Sequence[str]) -> pa.Array:
        """Return the name of each row's image, null = no image, `(n,)`."""
        return pa.array(names, pa.string()).take(pa.array(self.image, mask=self.image < 0))


@dataclass(frozen=True, slots=True)
class Batch:
    """Chips of some rows."""

    rows: NDArray[np.int64]
    """Their places in the plan, `(n,)`."""
    chips: NDArray[np.uint8] | NDArray[np.float32]
    """`(n, bands, height, width)`, cells as they are in the image, zero where there is none."""
    touched: Mask
    """True = the chip shares a cell with an image, `(n,)`."""
    valid: Mask
    """True = the chip has a valid cell, blackening included, `(n,)`."""


class ChipReader:
    """Reads the chips of rows, for several threads at once.

    Args:
        tiles: the images.
        placement: where each row's chip lies.
        rule: how chips are cut.
        footprints: gives the polygons to blacken around; None = nothing is blackened.
        neighbours: gives the other images that a window of an image may share cells with, in order; None = none.
    """

    def __init__(
        self,
        tiles: TileReader,
        placement: Placement,
        rule: ChipRule,
        footprints: Footprints | None,
        neighbours: Callable[[int, Sequence[int]], Sequence[int]] | None,
    ) -> None:
        self._tiles = tiles
        self._placement = placement
        self._rule = rule
        self._footprints = footprints
        self._neighbours = neighbours

    def read(self, rows: NDArray[np.int64]) -> Batch:
        """Return the chips of some rows; each of them has an image."""
        native = self._rule.fixed_size and self._rule.cell_size is None
        return self._native_batch(rows) if native else self._resampled_batch(rows)

    def _native_batch(self, rows: NDArray[np.int64]) -> Batch:
        shape = (self._rule.height, self._rule.width)
        cells = np.zeros((len(rows), self._tiles.bands, *shape), self._tiles.dtype)
        valid = np.zeros((len(rows), *shape), bool)
        touched = np.zeros(len(rows), bool)
        own, windows = self._placement.image[rows].tolist(), self._placement.windows[rows].tolist()
        for place, (image, window) in enumerate(zip(own, windows, strict=True)):
            touched[place] = self._cut(image, window, cells[place], valid[place])
        if self._footprints is not None:
            origins = self._placement.windows[rows, :2]
            valid &= _inside(self._to_pixels(self._footprints(rows), rows), origins, (shape[1], shape[0]))
        if valid.all():
            return Batch(rows, _as_network_takes(cells), touched, np.ones(len(rows), bool))
        np.copyto(cells, 0, where=~valid[:, None])
        return Batch(rows, _as_network_takes(cells), touched, valid.any(axis=(1, 2)))

    def _resampled_batch(self, rows: NDArray[np.int64]) -> Batch:
        chips = np.zeros((len(rows), self._tiles.bands, self._rule.height, self._rule.width), np.float32)
        valid, touched = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
        footprints = None if self._footprints is None else self._to_pixels(self._footprints(rows), rows)
        for place, row in enumerate(rows.tolist()):
            footprint = None if footprints is None else footprints[place : place + 1]
            chips[place], touched[place], valid[place] = self._resampled_chip(row, footprint)
        return Batch(rows, chips, touched, valid)

    def _resampled_chip(
        self, row: int, footprint: NDArray[np.object_] | None
    ) -> tuple[NDArray[np.float32], bool, bool]:
        """Return a chip `(bands, height, width)`, whether it touches an image, and whether it has a valid cell."""
        own, window = int(self._placement.image[row]), tuple(self._placement.windows[row].tolist())
        orientation = self._tiles.images[own].orientation
        size = (self._rule.width, self._rule.height) if orientation < 5 else (self._rule.height, self._rule.width)
        _, _, width, height = window
        across = _reduction(width, size[0], height, size[1])
        down = _reduction(height, size[1], width, size[0])
        if across * down > 1:
            reduced, touched, valid = self._reduced(own, window, across, down, footprint)
        else:
            reduced, touched, valid = self._part(own, window, footprint)
        box = (0.0, 0.0, width / across, height / down)
        return upright(resample(reduced, size, box), orientation), touched, valid

    def _reduced(
        self, own: int, window: tuple[int, ...], across: int, down: int, footprint: NDArray[np.object_] | None
    ) -> tuple[Cells, bool, bool]:
        """Return the means of blocks of `down` x `across` cells of a window, read part by part.

        Blocks left over at the end are averaged over the cells they have. Parts that touch no image are 0 unread.
        """
        column, row, width, height = window
        sums = np.zeros((self._tiles.bands, -(-height // down), -(-width // across)))
        touched, valid = False, False
        for x, y, part_width, part_height in self._parts(own, window):
            part = (column + x, row + y, part_width, part_height)
            cells, part_touched, part_valid = self._part(own, part, footprint)
            touched, valid = touched or part_touched, valid or part_valid
            rows, row_starts = np.unique(np.arange(y, y + part_height) // down, return_index=True)
            columns, column_starts = np.unique(np.arange(x, x + part_width) // across, return_index=True)
            by_rows = np.add.reduceat(cells, row_starts, axis=1, dtype=np.float64)
            by_blocks = np.add.reduceat(by_rows, column_starts, axis=2)
            sums[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += by_blocks
        row_counts = np.minimum(down, height - np.arange(0, height, down))
        column_counts = np.minimum(across, width - np.arange(0, width, across))
        return sums / (row_counts[:, None] * column_counts[None, :]), touched, valid

    def _parts(self, own: int, window: tuple[int, ...]) -> Iterator[tuple[int, int, int, int]]:
        """Yield the parts of a window that may touch an image: column and row in the window, width, height."""
        column, row, width, height = window
        others = self._neighbours(own, window) if self._neighbours is not None else ()
        seen = set()
        for position in (own, *others):
            corners = self._tiles.images[own].grid.to_pixels(self._tiles.images[position].grid.corners())
            low = np.floor(np.clip(corners.min(axis=0) - (column, row), 0, (width, height))).astype(int) // _PART_PX
            high = np.ceil(np.clip(corners.max(axis=0) - (column, row), 0, (width, height))).astype(int)
            for y in range(low[1] * _PART_PX, high[1], _PART_PX):
                for x in range(low[0] * _PART_PX, high[0], _PART_PX):
                    if (x, y) not in seen:
                        seen.add((x, y))
                        yield x, y, min(_PART_PX, width - x), min(_PART_PX, height - y)

    def _part(
        self, own: int, window: tuple[int, ...], footprint: NDArray[np.object_] | None
    ) -> tuple[Cells, bool, bool]:
        """Return the cells of a window, zeroed and blackened, whether it touches an image, and has a valid cell."""
        column, row, width, height = window
        cells = np.zeros((self._tiles.bands, height, width), self._tiles.dtype)
        valid = np.zeros((height, width), bool)
        touched = self._cut(own, window, cells, valid)
        if footprint is not None:
            valid &= _inside(footprint, np.array([[column, row]], np.int32), (width, height))[0]
        np.copyto(cells, 0, where=~valid)
        return cells, touched, bool(valid.any())

    def _cut(self, own: int, window: Sequence[int], cells: Cells, valid: Mask) -> bool:
        """Fill a window of the image `own` from it, and what it lacks from the others in order."""
        touched = self._tiles.cut(own, window, cells, valid)
        if self._neighbours is None or valid.all():
            return touched
        for other in self._neighbours(own, window):
            touched = self._fill(own, other, window, cells, valid) or touched
            if valid.all():
                break
        return touched

    def _fill(self, own: int, other: int, window: Sequence[int], cells: Cells, valid: Mask) -> bool:
        """Take the cells that are still missing from another image: from its cell that holds their centre."""
        missing_row, missing_column = np.nonzero(~valid)
        centres = np.stack([missing_column + window[0] + 0.5, missing_row + window[1] + 0.5], axis=1)
        there = np.floor(_regrid(centres, self._tiles.images[own].grid, self._tiles.images[other].grid)).astype(
            np.int64
        )
        grid = self._tiles.images[other].grid
        inside = ((there >= 0) & (there < (grid.width, grid.height))).all(axis=1)
        if not inside.any():
            return False
        there, at = there[inside], (missing_row[inside], missing_column[inside])
        low = there.min(axis=0)
        width, height = (there.max(axis=0) - low + 1).tolist()
        found = np.zeros((self._tiles.bands, height, width), self._tiles.dtype)
        found_valid = np.zeros((height, width), bool)
        self._tiles.cut(other, (int(low[0]), int(low[1]), width, height), found, found_valid)
        column, row = (there - low).T
        taken = found_valid[row, column]
        cells[:, at[0][taken], at[1][taken]] = found[:, row[taken], column[taken]]
        valid[at[0][taken], at[1][taken]] = True
        return True

    def _to_pixels(self, geometries: NDArray[np.object_], rows: NDArray[np.int64]) -> NDArray[np.object_]:
        """Return the polygons of rows in pixel coordinates of their images; None for what is not blackened around."""
        polygons = geometries.copy()
        polygons[~(areas(geometries) > 0)] = None
        images = self._placement.image[rows]
        for position in np.unique(images).tolist():
            of = images == position
            polygons[of] = shapely.transform(polygons[of], self._tiles.images[position].grid.to_pixels)
        return polygons


def resample(
    cells: Cells, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> NDArray[np.float32]:
    """Return cells `(bands, height, width)` at another size, bilinear, with antialiasing when it shrinks.

    Args:
        cells: of any type; the work is done in float32, band by band.
        size: (width, height) wanted.
        box: the part of the cells to take, in cells; all by default.
    """
    planes = (PillowImage.fromarray(np.ascontiguousarray(band, np.float32)) for band in cells)
    return np.stack([np.asarray(plane.resize(size, PillowImage.Resampling.BILINEAR, box=box)) for plane in planes])


def upright(cells: NDArray[np.float32], orientation: int) -> NDArray[np.float32]:
    """Return a picture `(bands, height, width)` as it is meant to be seen, by its EXIF orientation (1 to 8)."""
    if orientation >= 5:
        cells = cells.transpose(0, 2, 1)
    if orientation in (2, 3, 6, 7):
        cells = cells[:, :, ::-1]
    if orientation in (3, 4, 7, 8):
        cells = cells[:, ::-1, :]
    return cells


def _reduction(side: int, chip_side: int, other: int, other_chip: int) -> int:
    """Return by how many cells a long window is averaged along an axis before it is resampled; 1 = not at all."""
    if side <= REDUCE_ABOVE * chip_side and other <= REDUCE_ABOVE * other_chip:
        return 1
    return max(1, side // (REDUCE_TO * chip_side))


def _inside(footprints: NDArray[np.object_], origins: Ints, size: tuple[int, int]) -> Mask:
    """Return the cells that blackening keeps, `(n, height, width)`; all of them where there is no polygon."""
    masks = polygon_masks(footprints, origins, size)
    for place in np.flatnonzero(~masks.any(axis=(1, 2))).tolist():
        footprint = footprints[place]
        if footprint is None:
            masks[place] = True
        elif keeps_no_centre(footprint):
            column, row = np.subtract(representative_cell(footprint), origins[place])
            if 0 <= column < size[0] and 0 <= row < size[1]:
                masks[place, row, column] = True
    return masks


def _regrid(pixels: Floats, here: Grid, there: Grid) -> Floats:
    return there.to_pixels(here.to_map(pixels))


def _as_network_takes(cells: Cells) -> NDArray[np.uint8] | NDArray[np.float32]:
    return cast("NDArray[np.uint8]", cells) if cells.dtype == np.uint8 else cells.astype(np.float32)
