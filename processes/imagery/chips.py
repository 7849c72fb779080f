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

from processes.imagery.grid import ChipRule, Mask, Windows, areas
from processes.imagery.outline import keeps_no_centre, polygon_masks, representative_cell
from processes.imagery.tiles import Cells, TileReader

REDUCE_ABOVE = 16
"""A window of more than this many times the chip's cells along an axis is first reduced by block averages."""
REDUCE_TO = 8
"""The reduced window has at least this many times the chip's cells: close to the exact result, and small enough to be
held."""
_PART_PX = 1024
"""Side of the parts in which a large window is read, in cells."""

Footprints = Callable[[NDArray[np.int64]], NDArray[np.object_]]
"""Returns the geometries of some rows, each in the CRS of its row's image."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the chips of rows are cut: geometry only."""

    image: NDArray[np.int32]
    """Index of the image whose grid the chip uses, -1 = no image, `(n,)`."""
    windows: Windows
    """In that image's cells."""

    def names_of(self, names: Sequence[str]) -> pa.Array:
        """Return the name of each row's image, null = no image, `(n,)`."""
        return pa.array(names, pa.string()).take(pa.array(self.image, mask=self.image < 0))


@dataclass(frozen=True, slots=True)
class Batch:
    """Chips of some rows."""

    rows: NDArray[np.int64]
    """Their indices in the plan, `(n,)`."""
    chips: NDArray[np.uint8] | NDArray[np.float32]
    """`(n, bands, height, width)`, cells as they are in the image; 0 outside it, where it has nodata, and where a chip
    is blackened."""
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
        footprints: returns the polygons to blacken around; None = nothing is blackened.
        neighbours: returns the indices of the other images that a window of the image `own` may share cells with, in
            order, each with what is added to x of the window there; None = chips have cells of one image only.
    """

    def __init__(
        self,
        tiles: TileReader,
        placement: Placement,
        rule: ChipRule,
        footprints: Footprints | None,
        neighbours: Callable[[int, Sequence[int]], Sequence[tuple[int, float]]] | None,
    ) -> None:
        self._tiles = tiles
        self._placement = placement
        self._rule = rule
        self._footprints = footprints
        self._neighbours = neighbours

    def read(self, rows: NDArray[np.int64]) -> Batch:
        """Return the chips of some rows, each of which has an image."""
        native = self._rule.fixed_size and self._rule.cell_size is None
        return self._native_batch(rows) if native else self._resampled_batch(rows)

    def _native_batch(self, rows: NDArray[np.int64]) -> Batch:
        shape = (self._rule.height, self._rule.width)
        cells = np.zeros((len(rows), self._tiles.bands, *shape), self._tiles.dtype)
        valid = np.zeros((len(rows), *shape), bool)
        touched = np.zeros(len(rows), bool)
        images, windows = self._placement.image[rows].tolist(), self._placement.windows[rows].tolist()
        for index, (image, window) in enumerate(zip(images, windows, strict=True)):
            touched[index] = self._cut(image, window, cells[index], valid[index])
        if self._footprints is not None:
            origins = self._placement.windows[rows, :2]
            valid &= _inside(self._to_pixels(self._footprints(rows), rows), origins, (shape[1], shape[0]))
        if valid.all():
            return Batch(rows, _as_network_input(cells), touched, np.ones(len(rows), bool))
        np.copyto(cells, 0, where=~valid[:, None])
        return Batch(rows, _as_network_input(cells), touched, valid.any(axis=(1, 2)))

    def _resampled_batch(self, rows: NDArray[np.int64]) -> Batch:
        chips = np.zeros((len(rows), self._tiles.bands, self._rule.height, self._rule.width), np.float32)
        valid, touched = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
        footprints = None if self._footprints is None else self._to_pixels(self._footprints(rows), rows)
        for index, row in enumerate(rows.tolist()):
            footprint = None if footprints is None else footprints[index : index + 1]
            chips[index], touched[index], valid[index] = self._resampled_chip(row, footprint)
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

        Blocks cut off by the window's edge are averaged over the cells they have. Parts that touch no image are not
        read and are 0.
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
        grid = self._tiles.images[own].grid
        outlines = [grid.corners()]
        column, row, width, height = window
        if self._neighbours is not None:
            outlines += [
                self._tiles.images[other].grid.corners() - np.array([offset, 0])
                for other, offset in self._neighbours(own, window)
            ]
        seen = set()
        for outline in outlines:
            corners = grid.to_pixels(outline)
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
        for neighbour in self._neighbours(own, window):
            touched = self._fill(own, neighbour, window, cells, valid) or touched
            if valid.all():
                break
        return touched

    def _fill(self, own: int, neighbour: tuple[int, float], window: Sequence[int], cells: Cells, valid: Mask) -> bool:
        """Fill the cells that are still missing from another image: each from its cell that holds the centre."""
        other, offset = neighbour
        missing_row, missing_column = np.nonzero(~valid)
        centres = np.stack([missing_column + window[0] + 0.5, missing_row + window[1] + 0.5], axis=1)
        own_grid, grid = self._tiles.images[own].grid, self._tiles.images[other].grid
        source_cells = np.floor(grid.to_pixels(own_grid.to_map(centres) + np.array([offset, 0]))).astype(np.int64)
        inside = ((source_cells >= 0) & (source_cells < (grid.width, grid.height))).all(axis=1)
        if not inside.any():
            return False
        source_cells, missing_row, missing_column = source_cells[inside], missing_row[inside], missing_column[inside]
        low = source_cells.min(axis=0)
        width, height = (source_cells.max(axis=0) - low + 1).tolist()
        source = np.zeros((self._tiles.bands, height, width), self._tiles.dtype)
        source_valid = np.zeros((height, width), bool)
        self._tiles.cut(other, (int(low[0]), int(low[1]), width, height), source, source_valid)
        column, row = (source_cells - low).T
        usable = source_valid[row, column]
        cells[:, missing_row[usable], missing_column[usable]] = source[:, row[usable], column[usable]]
        valid[missing_row[usable], missing_column[usable]] = True
        return True

    def _to_pixels(self, geometries: NDArray[np.object_], rows: NDArray[np.int64]) -> NDArray[np.object_]:
        """Return the polygons of rows in pixel coordinates of their images; None for what is not blackened around."""
        polygons = geometries.copy()
        polygons[~(areas(geometries) > 0)] = None
        images = self._placement.image[rows]
        for image in np.unique(images).tolist():
            in_image = images == image
            polygons[in_image] = shapely.transform(polygons[in_image], self._tiles.images[image].grid.to_pixels)
        return polygons


def resample(
    cells: Cells, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> NDArray[np.float32]:
    """Return cells `(bands, height, width)` at another size, bilinear, with antialiasing when it shrinks.

    Args:
        cells: of any type; they are resampled in float32, band by band.
        size: (width, height) of the result.
        box: left, top, right and bottom edge of the part of the cells that is resampled, in cells; None = all.
    """
    planes = (PillowImage.fromarray(np.ascontiguousarray(band, np.float32)) for band in cells)
    return np.stack([np.asarray(plane.resize(size, PillowImage.Resampling.BILINEAR, box=box)) for plane in planes])


def upright(cells: NDArray[np.float32], orientation: int) -> NDArray[np.float32]:
    """Return a picture `(bands, height, width)` turned upright, from its EXIF orientation (1 to 8)."""
    if orientation >= 5:
        cells = cells.transpose(0, 2, 1)
    if orientation in (2, 3, 6, 7):
        cells = cells[:, :, ::-1]
    if orientation in (3, 4, 7, 8):
        cells = cells[:, ::-1, :]
    return cells


def _reduction(side: int, chip_side: int, other: int, other_chip: int) -> int:
    """Return how many cells of a long window are averaged along an axis before it is resampled; 1 = none are."""
    if side <= REDUCE_ABOVE * chip_side and other <= REDUCE_ABOVE * other_chip:
        return 1
    return max(1, side // (REDUCE_TO * chip_side))


def _inside(footprints: NDArray[np.object_], origins: NDArray[np.int32], size: tuple[int, int]) -> Mask:
    """Return the cells that blackening keeps, `(n, height, width)`; all of a chip's where its polygon is None."""
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


def _as_network_input(cells: Cells) -> NDArray[np.uint8] | NDArray[np.float32]:
    return cast("NDArray[np.uint8]", cells) if cells.dtype == np.uint8 else cells.astype(np.float32)
