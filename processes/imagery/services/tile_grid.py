"""Grids of tiles: the cells of an image that a service gives in parts, and the part that is a tile."""

from __future__ import annotations

import math
from typing import Self

import msgspec
from affine import Affine

_SLACK_CELLS = 1e-6
"""A box that is longer than whole cells by no more than this is as long as these."""


class TileWindow(msgspec.Struct, frozen=True):
    """A tile of a grid, or as much of it as lies in the grid."""

    row: int
    """Of the tile, from the grid's upper edge."""
    column: int
    left: float
    """In the CRS, as the other edges."""
    bottom: float
    right: float
    top: float
    width: int
    """Cells of a row."""
    height: int

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right and top edge."""
        return self.left, self.bottom, self.right, self.top


class TileGrid(msgspec.Struct, frozen=True):
    """Cells of one size, north up, in tiles from the upper left corner on."""

    crs_wkt: str
    left: float
    """Of the upper left corner, in the CRS."""
    top: float
    cell_width: float
    """In units of the CRS."""
    cell_height: float
    width: int
    """In cells."""
    height: int
    tile_width: int
    """In cells."""
    tile_height: int

    @classmethod
    def covering(
        cls,
        crs_wkt: str,
        bounds: tuple[float, float, float, float],
        cell: tuple[float, float],
        tile: tuple[int, int],
    ) -> Self:
        """Return the grid that begins in the upper left corner of a box, and covers it.

        Args:
            crs_wkt: the CRS.
            bounds: the box in it: minx, miny, maxx, maxy.
            cell: width and height of a cell.
            tile: width and height of a tile, in cells.
        """
        left, bottom, right, top = bounds
        width = max(1, math.ceil((right - left) / cell[0] - _SLACK_CELLS))
        height = max(1, math.ceil((top - bottom) / cell[1] - _SLACK_CELLS))
        return cls(crs_wkt, left, top, *cell, width, height, min(tile[0], width), min(tile[1], height))

    @property
    def transform(self) -> Affine:
        return Affine(self.cell_width, 0, self.left, 0, -self.cell_height, self.top)

    def coarser(self, factor: int) -> Self:
        """Return the grid whose cells are so many times as long. It may end up to a cell later."""
        bounds = (
            self.left,
            self.top - self.height * self.cell_height,
            self.left + self.width * self.cell_width,
            self.top,
        )
        cell = self.cell_width * factor, self.cell_height * factor
        return self.covering(self.crs_wkt, bounds, cell, (self.tile_width, self.tile_height))

    def window(self, row: int, column: int) -> TileWindow:
        """Return a tile.

        Args:
            row: among the tiles.
            column: among the tiles.
        """
        x, y = column * self.tile_width, row * self.tile_height
        width = min(self.tile_width, self.width - x)
        height = min(self.tile_height, self.height - y)
        left, top = self.left + x * self.cell_width, self.top - y * self.cell_height
        right, bottom = self.left + (x + width) * self.cell_width, self.top - (y + height) * self.cell_height
        return TileWindow(row, column, left, bottom, right, top, width, height)
