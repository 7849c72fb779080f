"""Chips as geometry: which window of which image belongs to an object. No pixels here.

Pixel coordinates are (column, row), continuous, with (0, 0) the outer corner of the first cell; the centre of that cell
is (0.5, 0.5). They are rounded to 1e-6 cells before anything is derived from them, and so is what is derived before it
is rounded to whole cells, half to even: noise of the last digits of a coordinate moves no chip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Self

import msgspec
import numpy as np
import pyproj
import shapely
from affine import Affine
from numpy.typing import NDArray

from processes.crs import crs_from_text, same_coordinates
from processes.crs.longitudes import full_turn
from processes.imagery.resampling import Resampling

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Windows = NDArray[np.int32]
"""Column, row, width, height of windows, in an image's cells, `(n, 4)`."""

DECIMALS = 6
"""Pixel coordinates are rounded to so many decimals of a cell."""
_FAR_PX = 2**30
"""Windows begin within this many cells of the image: a window farther away touches no image, and this fits into 32
bits."""
_FAR_CELLS = 2.0**40
"""Coordinates of fewer cells have rounding errors of less than a hundredth of a cell …"""
_SURELY = 0.01
"""… and a centre that is farther from an edge of another grid's cell lies in it."""


class Grid(msgspec.Struct, frozen=True):
    """The cells of an image: where they lie, and how many there are."""

    transform: Affine
    """Pixel coordinates to map coordinates, which are in the CRS."""
    width: int
    height: int
    crs_wkt: str | None = None
    """The CRS as WKT; None = the image has no reference."""

    @property
    def crs(self) -> pyproj.CRS:
        """Return the CRS.

        Raises:
            ValueError: the image has no reference.
        """
        if self.crs_wkt is None:
            raise ValueError("the grid of an image without a reference has no CRS")
        return crs_from_text(self.crs_wkt)

    def shares_crs(self, other: Grid) -> bool:
        """Return whether map coordinates mean the same in both grids, or neither has a reference."""
        if self.crs_wkt is None or other.crs_wkt is None or self.crs_wkt == other.crs_wkt:
            return self.crs_wkt == other.crs_wkt
        return same_coordinates(self.crs, other.crs)

    @property
    def turn(self) -> float | None:
        """360 degrees in units of x, where x is a longitude; None = it is none."""
        return None if self.crs_wkt is None else _turn_of(self.crs_wkt)

    @property
    def is_axis_aligned(self) -> bool:
        """Whether columns run along x and rows along y, south-up included."""
        return self.transform.b == 0 and self.transform.d == 0

    @property
    def cell_size(self) -> tuple[float, float]:
        """Side of a cell along a row and along a column, in units of the CRS."""
        t = self.transform
        return float(np.hypot(t.a, t.d)), float(np.hypot(t.b, t.e))

    def to_pixels(self, xy: Floats) -> Floats:
        """Return `(n, 2)` map coordinates as pixel coordinates, rounded to 1e-6 cells."""
        return _to_pixels(xy, np.array((~self.transform)[:6]))

    def shift_to(self, other: Grid, offset: float = 0.0) -> tuple[int, int] | None:
        """Return columns and rows from each cell to that of another grid which holds its centre.

        None = they are not the same for all cells, or rounding errors could make a difference.

        Args:
            other: the other grid, in the same CRS.
            offset: what is added to x to get there, in units of the CRS.
        """
        own, its = self.transform, other.transform
        if not self.is_axis_aligned or (own.a, own.b, own.d, own.e) != (its.a, its.b, its.d, its.e):
            return None
        farthest = max(map(abs, (own.c, own.f, its.c, its.f, offset)))
        if farthest > _FAR_CELLS * min(abs(own.a), abs(own.e)):
            return None
        places = (own.c + offset - its.c) / own.a + 0.5, (own.f - its.f) / own.e + 0.5
        if any(not _SURELY < place % 1 < 1 - _SURELY for place in places):
            return None
        return math.floor(places[0]), math.floor(places[1])

    def to_map(self, pixels: Floats) -> Floats:
        """Return `(n, 2)` pixel coordinates in the image's CRS."""
        t = self.transform
        column, row = pixels[:, 0], pixels[:, 1]
        return np.stack([column * t.a + row * t.b + t.c, column * t.d + row * t.e + t.f], axis=1)

    def corners(self) -> Floats:
        """Return the outline's corners in the image's CRS, `(4, 2)`, in order around the image."""
        return self.window_corners(0, 0, self.width, self.height)

    def window_corners(self, column: int, row: int, width: int, height: int) -> Floats:
        """Return a window's corners in the image's CRS, `(4, 2)`, in order around it.

        Args:
            column: first column.
            row: first row.
            width: number of columns.
            height: number of rows.
        """
        right, bottom = column + width, row + height
        return self.to_map(np.array([[column, row], [right, row], [right, bottom], [column, bottom]], np.float64))


class GridRows(msgspec.Struct, frozen=True):
    """A grid for each of several objects, in arrays: all are judged together, each as by its `Grid`."""

    inverses: Floats
    """Map coordinates to pixel coordinates, as `Affine` orders its six numbers, `(n, 6)`."""
    width: NDArray[np.int64]
    height: NDArray[np.int64]
    """In cells, `(n,)`."""
    cell_size: Floats
    """Side of a cell along a row and along a column, in units of the CRS, `(n, 2)`."""
    is_axis_aligned: Mask
    """Whether columns run along x and rows along y, `(n,)`."""

    @classmethod
    def of(cls, grids: Sequence[Grid]) -> Self:
        """Return a row for each grid."""
        return cls(
            inverses=np.array([(~grid.transform)[:6] for grid in grids], np.float64),
            width=np.array([grid.width for grid in grids], np.int64),
            height=np.array([grid.height for grid in grids], np.int64),
            cell_size=np.array([grid.cell_size for grid in grids], np.float64),
            is_axis_aligned=np.array([grid.is_axis_aligned for grid in grids], bool),
        )

    def take(self, rows: NDArray[np.int64]) -> Self:
        """Return some rows."""
        return msgspec.structs.replace(
            self,
            inverses=self.inverses[rows],
            width=self.width[rows],
            height=self.height[rows],
            cell_size=self.cell_size[rows],
            is_axis_aligned=self.is_axis_aligned[rows],
        )

    def to_pixels(self, xy: Floats) -> Floats:
        """Return the map coordinates `(n, 2)` of each row as pixel coordinates, rounded to 1e-6 cells."""
        return _to_pixels(xy, self.inverses)


def _to_pixels(xy: Floats, inverses: Floats) -> Floats:
    x, y = xy[:, 0], xy[:, 1]
    a, b, c, d, e, f = inverses.T
    with np.errstate(over="ignore", invalid="ignore"):  # too large for a float is infinite: it lies nowhere
        return np.round(np.stack([x * a + y * b + c, x * d + y * e + f], axis=1), DECIMALS)


@lru_cache(maxsize=256)
def _turn_of(crs_wkt: str) -> float | None:
    return full_turn(crs_from_text(crs_wkt))


def pixel_boxes(geometries: NDArray[np.object_], grid: Grid | GridRows) -> Floats:
    """Return the bounding boxes in pixel coordinates, `(n, 4)`: min column, min row, max column, max row.

    Geometries are in the grid's CRS. Missing and empty ones give NaN.
    """
    if np.all(grid.is_axis_aligned):  # the box of the transformed points is the transformed box
        bounds = shapely.bounds(geometries)
        first, second = grid.to_pixels(bounds[:, :2]), grid.to_pixels(bounds[:, 2:])
        return np.concatenate([np.minimum(first, second), np.maximum(first, second)], axis=1)
    boxes = np.full((len(geometries), 4), np.nan)
    xy, index = shapely.get_coordinates(geometries, return_index=True)
    if len(index):
        pixels = (grid if isinstance(grid, Grid) else grid.take(index)).to_pixels(xy)
        starts = np.flatnonzero(np.diff(index, prepend=-1))
        boxes[index[starts], :2] = np.minimum.reduceat(pixels, starts)
        boxes[index[starts], 2:] = np.maximum.reduceat(pixels, starts)
    return boxes


def areas(geometries: NDArray[np.object_]) -> Floats:
    """Return the areas of geometries in squares of their unit, `(n,)`; infinite where a float cannot hold one."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(shapely.area(geometries))


def centred_windows(boxes: Floats, size: tuple[int, int] | Floats) -> Windows:
    """Return windows of `size` (width, height) cells around the boxes' centres; of several sizes `(n, 2)`."""
    sides = np.array(size, dtype=np.float64)
    doubled = _doubled_centres(boxes) - sides * 10**DECIMALS
    origins = np.rint(np.rint(doubled / 2) / 10**DECIMALS)
    return _windows(origins, np.broadcast_to(sides, origins.shape))


def _doubled_centres(boxes: Floats) -> Floats:
    """Return twice the boxes' centres in millionths of a cell: whole numbers, so that halves are halves."""
    with np.errstate(over="ignore", invalid="ignore"):
        millionths = np.rint(boxes * 10**DECIMALS)
        return np.asarray(millionths[:, :2] + millionths[:, 2:])


def covering_windows(boxes: Floats) -> Windows:
    """Return the smallest windows of whole cells that cover the boxes, at least one cell each."""
    origins = np.floor(boxes[:, :2])
    with np.errstate(invalid="ignore"):
        sides = np.maximum(np.ceil(boxes[:, 2:]) - origins, 1)
    return _windows(origins, sides)


def _windows(origins: Floats, sides: Floats) -> Windows:
    far = np.nan_to_num(np.clip(origins, -_FAR_PX, _FAR_PX), nan=_FAR_PX)
    return np.concatenate([far, np.nan_to_num(np.clip(sides, 1, _FAR_PX), nan=1)], axis=1).astype(np.int32)


class ChipRule(msgspec.Struct, frozen=True):
    """How a model's chips are cut."""

    width: int
    height: int
    """Cells of a chip of fixed size, and of the chip that others are resampled to."""
    fixed_size: bool
    """True = all windows have the same size; False = a window covers its object's box."""
    cell_size: float | None
    """Resolution at which fixed-size chips are sampled, in units of the image's CRS; None = the image's own."""
    resampling: Resampling = "pillow"
    """How the cells of a window become those of a chip."""
    side: int | None = None
    """Side of the square that a window becomes, its proportions kept, with zeros around it; None = it becomes a chip of
    `width` x `height`."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the chips that are read."""
        return (self.width, self.height) if self.side is None else (self.side, self.side)

    @property
    def is_native(self) -> bool:
        """Whether chips are cells of the image as they are, not resampled."""
        return self.fixed_size and self.cell_size is None

    @property
    def shape_of_all(self) -> tuple[int, int]:
        """(height, width) of the windows in the image's cells, where all have the same; (1, 1) = they have not."""
        return (self.height, self.width) if self.is_native else (1, 1)

    def native_size(self, grid: Grid) -> tuple[int, int]:
        """Return the cells (width, height) of the image that a fixed-size chip covers."""
        across, along = self._native_sides(grid).tolist()
        return int(across), int(along)

    def _native_sides(self, grid: Grid | GridRows) -> Floats:
        """Return `native_size`, `(2,)`; of rows `(n, 2)`, or `(2,)` where it is that of all."""
        sides = np.array([self.width, self.height], np.float64)
        if self.cell_size is None:
            return sides
        cells = np.round(sides * self.cell_size / np.array(grid.cell_size), DECIMALS)
        return np.asarray(np.clip(np.rint(cells), 1, _FAR_PX))

    def reach(self, grid: Grid | GridRows) -> float:
        """Return how far a chip's window reaches beyond its object's box at most, in units of the CRS."""
        width, height = ((self._native_sides(grid) + 4) * np.array(grid.cell_size)).T
        return float(np.hypot(width, height).max())

    def windows(self, boxes: Floats, grid: Grid | GridRows) -> Windows:
        """Return the window of each pixel box."""
        fixed = centred_windows(boxes, self._native_sides(grid))
        if self.fixed_size:
            return fixed
        is_point = (boxes[:, :2] == boxes[:, 2:]).all(axis=1)
        return np.where(is_point[:, None], fixed, covering_windows(boxes))


def overlaps(windows: Windows, grid: Grid | GridRows) -> Mask:
    """Return which windows share at least one cell with the image, `(n,)`."""
    column, row, width, height = windows.T.astype(np.int64)
    return np.asarray((column < grid.width) & (row < grid.height) & (column + width > 0) & (row + height > 0), bool)


def holds_centre(boxes: Floats, grid: Grid | GridRows) -> Mask:
    """Return which boxes have their centre within the image's extent, edges included, `(n,)`."""
    doubled = _doubled_centres(boxes)
    inside = (doubled >= 0) & (doubled <= 2 * 10**DECIMALS * np.array([grid.width, grid.height], np.float64).T)
    return np.asarray(inside.all(axis=1))
