"""Chips as pixels: cut, blackened, zeroed, resampled, in batches.

The order is that of Esri's tool: read, zero what is outside, nodata or blackened, resample; normalisation is the
model's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from threading import Semaphore
from typing import cast

import msgspec
import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from processes.imagery.decoded_tile import Cells, zero_all_but
from processes.imagery.filling import fill
from processes.imagery.grid import ChipRule, Mask, Windows, areas
from processes.imagery.image import Image
from processes.imagery.large_chips import (
    LargeChipReader,
    LargeWindow,
    PartialChip,
    Position,
    Window,
    block_means,
    large_windows,
    reduction,
)
from processes.imagery.native_chips import NativeChipCutter
from processes.imagery.outline import kept_cells
from processes.imagery.pillow_resampling import resample
from processes.imagery.resampling import resample_bilinear, resample_to_square
from processes.imagery.tiles import TileReader
from processes.imagery.whole_windows import are_kept, copy_whole, load

Footprints = Callable[[NDArray[np.int64]], NDArray[np.object_]]
"""Returns the geometries of some rows, each in the CRS of its row's image."""
_CELLS_OF_A_THREAD = 2**14
"""As many threads resample at once as a chip has times so many cells, at least one. For a small chip most of the time
is that of the interpreter, whose lock threads would hand to each other at each step: two were slower than one."""


def _always() -> bool:
    return True


class Placement(msgspec.Struct, frozen=True):
    """Where the chips of rows are cut: geometry only."""

    image: NDArray[np.int32]
    """Index of the image whose grid the chip uses, -1 = no image, `(n,)`."""
    windows: Windows
    """In that image's cells."""

    def names_of(self, names: Sequence[str]) -> pa.Array:
        """Return the name of each row's image, null = no image, `(n,)`."""
        return pa.array(names, pa.string()).take(pa.array(self.image, mask=self.image < 0))


class Batch(msgspec.Struct, frozen=True):
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
    cells: Mask | None = None
    """True = the cell is valid and not blackened, of a resampled chip for half of it at least, `(n, height, width)`;
    None = all of them, or it was not asked for."""


def large_rows(images: Sequence[Image], placement: Placement, rule: ChipRule, rows: NDArray[np.int64]) -> Mask:
    """Return which of some rows have a large chip, which is read part by part, `(k,)`.

    Args:
        images: the images.
        placement: where each row's chip lies.
        rule: how chips are cut.
        rows: indices of the rows, each of which has an image.
    """
    if rule.is_native:
        return np.zeros(len(rows), bool)
    orientation = np.array([image.orientation for image in images])[placement.image[rows]]
    sides = np.array([rule.size])
    return large_windows(placement.windows[rows], np.where(orientation[:, None] < 5, sides, sides[:, ::-1]))


class ChipReader:
    """Reads the chips of rows, for several threads at once.

    Args:
        tiles: the images.
        placement: where each row's chip lies.
        rule: how chips are cut.
        footprints: returns the polygons to blacken around; None = nothing is blackened.
        neighbours: returns the indices of the other images that a window of the image `own` may share cells with, in
            order, each with what is added to x of the window there; None = chips have cells of one image only.
        has_masks: True = resampled chips too say which of their cells are valid.
    """

    def __init__(
        self,
        tiles: TileReader,
        placement: Placement,
        rule: ChipRule,
        footprints: Footprints | None,
        neighbours: Callable[[int, Sequence[int]], Sequence[tuple[int, float]]] | None,
        has_masks: bool = False,
    ) -> None:
        self._tiles = tiles
        self._placement = placement
        self._rule = rule
        self._footprints = footprints
        self._neighbours = neighbours
        self._has_masks = has_masks
        places = placement.image, placement.windows, None if neighbours is None else self._complete
        self._native = NativeChipCutter(tiles, *places) if rule.is_native else None
        self._turns = Semaphore(max(1, prod(self._shape) // _CELLS_OF_A_THREAD))

    def read(self, rows: NDArray[np.int64], goes_on: Callable[[], bool] = _always) -> Batch:
        """Return the chips of some rows, each of which has an image.

        Args:
            rows: indices of the rows.
            goes_on: is called before each chip but the first; False = the chips before it are enough.
        """
        native = self._native
        if native is not None:
            return self._native_batch(native, rows, goes_on)
        with self._turns:
            return self._resampled_batch(rows, goes_on)

    def read_part(self, row: int, start: Position | None, goes_on: Callable[[], bool] = _always) -> PartialChip:
        """Read a part of a large chip.

        Args:
            row: its row.
            start: where to begin; None = at the chip's beginning.
            goes_on: is called now and then; False = what was read is enough.
        """
        large = self._large_window(row, None if self._footprints is None else self._footprint(row))

        def read_window(window: Window) -> tuple[Cells, bool, bool]:
            cells, touched, valid = self._part(large.own, window, large.footprint)
            return cells, touched, bool(valid.any())

        return LargeChipReader(self._tiles, large, read_window).read(start, goes_on)

    def join(self, row: int, parts: Sequence[PartialChip]) -> Batch:
        """Return a large chip from all its parts."""
        chip = self._joined(row, parts)
        touched, valid = any(part.touched for part in parts), any(part.valid for part in parts)
        return Batch(np.array([row]), chip[None], np.array([touched]), np.array([valid]))

    def _native_batch(self, native: NativeChipCutter, rows: NDArray[np.int64], goes_on: Callable[[], bool]) -> Batch:
        cells, valid, touched = native.cut(rows, goes_on)
        rows = rows[: len(cells)]
        if self._footprints is not None:
            polygons = self._to_pixels(self._footprints(rows), rows)
            inside = kept_cells(polygons, self._placement.windows[rows, :2], (self._rule.width, self._rule.height))
            valid = inside if valid is None else valid & inside
        if valid is None or valid.all():
            return Batch(rows, _as_network_input(cells), touched, np.ones(len(rows), bool))
        zero_all_but(cells, valid[:, None])
        return Batch(rows, _as_network_input(cells), touched, valid.any(axis=(1, 2)), valid)

    def _resampled_batch(self, rows: NDArray[np.int64], goes_on: Callable[[], bool]) -> Batch:
        chips = np.zeros((len(rows), *self._shape), np.float32)
        valid, touched = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
        masks = np.ones((len(rows), *chips.shape[2:]), bool) if self._has_masks else None
        is_large = large_rows(self._tiles.images, self._placement, self._rule, rows)
        footprints = None if self._footprints is None else self._to_pixels(self._footprints(rows), rows)
        for index, row in enumerate(rows.tolist()):
            if index and not goes_on():
                rows, chips, valid, touched = rows[:index], chips[:index], valid[:index], touched[:index]
                masks = None if masks is None else masks[:index]
                break
            if is_large[index]:
                part = self.read_part(row, None)
                chips[index], touched[index], valid[index] = self._joined(row, [part]), part.touched, part.valid
            else:
                mask = None if masks is None else masks[index]
                footprint = None if footprints is None else footprints[index]
                chips[index], touched[index], valid[index] = self._resampled_chip(row, footprint, mask)
        return Batch(rows, chips, touched, valid, masks)

    def _resampled_chip(
        self, row: int, footprint: shapely.Geometry | None, mask: Mask | None
    ) -> tuple[NDArray[np.float32], bool, bool]:
        """Return a chip `(bands, height, width)`, whether it touches an image, and whether it has a valid cell.

        A mask gets which of its cells are valid.
        """
        own, window = self._own_window(row)
        if not are_kept(self._tiles, own, window):
            self._turns.release()
            try:
                load(self._tiles, own, window)
            finally:
                self._turns.acquire()
        cells, touched, valid = self._part(own, window, footprint)
        box = (float(window[2]), float(window[3]))
        if mask is not None and not valid.all():
            mask[:] = self._resample(own, valid[None], box)[0] >= 0.5
        return self._resample(own, cells, box), touched, bool(valid.any())

    def _joined(self, row: int, parts: Sequence[PartialChip]) -> NDArray[np.float32]:
        """Return a large chip from all its parts, `(bands, height, width)`."""
        large = self._large_window(row, None)
        if not any(part.valid for part in parts):
            return np.zeros(self._shape, np.float32)
        _, _, width, height = large.window
        means = block_means(large, self._tiles.bands, parts)
        return self._resample(large.own, means, (width / large.across, height / large.down))

    def _resample(self, own: int, cells: Cells, box: tuple[float, float]) -> NDArray[np.float32]:
        """Return the chip of cells whose part up to (width, height) `box` counts."""
        orientation, rule = self._tiles.images[own].orientation, self._rule
        if rule.resampling == "pillow":
            return upright(resample(cells, self._size(own), (0.0, 0.0, *box)), orientation)
        extent, (width, height) = (box[1], box[0]), self._size(own)
        if rule.side is not None:
            chips = resample_to_square(cells[None], rule.side, extent)
        else:
            chips = resample_bilinear(cells[None], (height, width), extent)
        return upright(chips[0].astype(np.float32), orientation)

    @property
    def _shape(self) -> tuple[int, int, int]:
        """(bands, height, width) of a chip."""
        width, height = self._rule.size
        return self._tiles.bands, height, width

    def _size(self, own: int) -> tuple[int, int]:
        """Return the chip's (width, height) as its image lies."""
        width, height = self._rule.size
        return (width, height) if self._tiles.images[own].orientation < 5 else (height, width)

    def _own_window(self, row: int) -> tuple[int, Window]:
        column, first_row, width, height = self._placement.windows[row].tolist()
        return int(self._placement.image[row]), (column, first_row, width, height)

    def _large_window(self, row: int, footprint: shapely.Geometry | None) -> LargeWindow:
        own, window = self._own_window(row)
        size = self._size(own)
        across = reduction(window[2], size[0], window[3], size[1])
        down = reduction(window[3], size[1], window[2], size[0])
        neighbours = [] if self._neighbours is None else self._neighbours(own, window)
        return LargeWindow(own, window, across, down, neighbours, footprint)

    def _footprint(self, row: int) -> shapely.Geometry | None:
        """Return the polygon to blacken around, in pixel coordinates; None = nothing is blackened around the row."""
        rows = np.array([row])
        footprint: shapely.Geometry | None = None
        if self._footprints is not None:
            (footprint,) = self._to_pixels(self._footprints(rows), rows)
        return footprint

    def _part(self, own: int, window: Window, footprint: shapely.Geometry | None) -> tuple[Cells, bool, Mask]:
        """Return the cells of a window, zeroed and blackened, whether it touches an image, and which are valid."""
        column, row, width, height = window
        cells = np.empty((height, self._tiles.bands, width), self._tiles.dtype).transpose(1, 0, 2)
        if copy_whole(self._tiles, own, window, cells):
            touched, valid = True, np.ones((height, width), bool)
            if footprint is None:
                return cells, touched, valid
        else:
            cells[...], valid = 0, np.zeros((height, width), bool)
            touched = self._cut(own, window, cells, valid)
        if footprint is not None:
            polygons = np.array([footprint], object)
            valid &= kept_cells(polygons, np.array([[column, row]], np.int32), (width, height))[0]
        zero_all_but(cells, valid)
        return cells, touched, valid

    def _cut(self, own: int, window: Sequence[int], cells: Cells, valid: Mask) -> bool:
        """Fill a window of the image `own` from it, and what it lacks from the others in order."""
        touched = self._tiles.cut(own, window, cells, valid)
        return touched if valid.all() else self._complete(own, window, cells, valid) or touched

    def _complete(self, own: int, window: Sequence[int], cells: Cells, valid: Mask) -> bool:
        """Fill what a window of the image `own` lacks from the others, in order; return whether it touches one."""
        touched = False
        for neighbour in () if self._neighbours is None else self._neighbours(own, window):
            touched = fill(self._tiles, own, neighbour, window, cells, valid) or touched
            if valid.all():
                break
        return touched

    def _to_pixels(self, geometries: NDArray[np.object_], rows: NDArray[np.int64]) -> NDArray[np.object_]:
        """Return the polygons of rows in pixel coordinates of their images; None for what is not blackened around."""
        polygons = geometries.copy()
        polygons[~(areas(geometries) > 0)] = None
        images = self._placement.image[rows]
        for image in np.unique(images).tolist():
            in_image = images == image
            polygons[in_image] = shapely.transform(polygons[in_image], self._tiles.images[image].grid.to_pixels)
        return polygons


def upright(cells: NDArray[np.float32], orientation: int) -> NDArray[np.float32]:
    """Return a picture `(bands, height, width)` turned upright, from its EXIF orientation (1 to 8)."""
    if orientation >= 5:
        cells = cells.transpose(0, 2, 1)
    if orientation in (2, 3, 6, 7):
        cells = cells[:, :, ::-1]
    if orientation in (3, 4, 7, 8):
        cells = cells[:, ::-1, :]
    return cells


def _as_network_input(cells: Cells) -> NDArray[np.uint8] | NDArray[np.float32]:
    return cast("NDArray[np.uint8]", cells) if cells.dtype == np.uint8 else cells.astype(np.float32)
