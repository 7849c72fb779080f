"""Decoded tiles, out of which many chips are copied at once.

Chips of one size are copied by the batch. A copy for each chip would cost more than the copying, and threads that cut
chips would hand the interpreter lock to each other at each of them: two were no faster than one.
"""

from __future__ import annotations

from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processes.imagery.grid import Mask

Cells = NDArray[np.generic]


class Tile:
    """A decoded tile, with room for what chips that begin in it need of the tiles right of it and below.

    Args:
        cells: its cells and the room, `(bands, height, width)`, contiguous.
        mask: which of its cells are valid, `shape`; None = all.
        shape: (height, width) of the tile alone.
    """

    def __init__(self, cells: Cells, mask: Mask | None, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._cells = cells
        self._mask: Mask | None = None
        self._added: set[tuple[int, int]] = set()
        self._lock = Lock()
        if mask is not None:
            self._add_mask(mask, 0, 0)

    @property
    def cells(self) -> Cells:
        """Its cells, `(bands, height, width)`."""
        return self._cells[:, : self.shape[0], : self.shape[1]]

    @property
    def mask(self) -> Mask | None:
        """Which of them are valid; None = all."""
        return None if self._mask is None else self._mask[: self.shape[0], : self.shape[1]]

    @property
    def nbytes(self) -> int:
        return self._cells.nbytes + (0 if self._mask is None else self._mask.nbytes)

    def has(self, place: tuple[int, int]) -> bool:
        """Return whether the tile so many rows and columns of tiles further was added; it itself always is."""
        return place == (0, 0) or place in self._added

    def add(self, place: tuple[int, int], other: Tile, row: int, column: int) -> None:
        """Add what there is room for of another tile.

        Args:
            place: rows and columns of tiles from this one to the other.
            other: the other tile.
            row: where its first row lies, from this tile's first row.
            column: where its first column lies.
        """
        room = self._cells[:, row : row + other.shape[0], column : column + other.shape[1]]
        _, height, width = room.shape
        room[...] = other.cells[:, :height, :width]
        if (mask := other.mask) is not None:
            self._add_mask(mask[:height, :width], row, column)
        self._added.add(place)

    def windows(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], size: tuple[int, int]
    ) -> tuple[Cells, Mask | None]:
        """Copy windows that begin in the tile and end in it or in tiles that were added.

        Args:
            rows: their first rows, from the tile's first row, `(n,)`.
            columns: their first columns.
            size: (height, width) of each.

        Returns:
            Their cells, `(n, bands, height, width)`, and which of them are valid, `(n, height, width)`; None = all.
        """
        mask = self._mask
        valid = None if mask is None else _windows(mask[None], rows, columns, size)[:, 0]
        return _windows(self._cells, rows, columns, size), valid

    def _add_mask(self, mask: Mask, row: int, column: int) -> None:
        with self._lock:
            if self._mask is None:
                self._mask = np.ones(self._cells.shape[1:], bool)
            self._mask[row : row + mask.shape[0], column : column + mask.shape[1]] = mask


def _windows(
    cells: NDArray[Any], rows: NDArray[np.int64], columns: NDArray[np.int64], size: tuple[int, int]
) -> NDArray[Any]:
    """Copy windows of contiguous cells; a row of a window is one element, so that one call of numpy copies them all."""
    bands, height, width = cells.shape
    row_of_window = np.dtype((np.void, size[1] * cells.itemsize))
    starts = bands * height * width - size[1] + 1
    all_rows = np.ndarray((starts,), row_of_window, cells, 0, (cells.itemsize,))  # they overlap
    offsets = _row_offsets(bands, height * width, width, size[0])
    copied = all_rows[(rows * width + columns)[:, None, None] + offsets]
    windows: NDArray[Any] = copied.view(cells.dtype).reshape(len(rows), bands, *size)
    return windows


@lru_cache(maxsize=64)
def _row_offsets(bands: int, band_cells: int, row_cells: int, height: int) -> NDArray[np.int64]:
    """Return where the rows of a window begin, counted in cells from its first one, `(bands, height)`."""
    return np.arange(bands)[:, None] * band_cells + np.arange(height) * row_cells


def zero_all_but(cells: Cells, mask: Mask) -> None:
    """Set cells to zero where a mask, which is broadcast to them, is False.

    By their bits, as `numpy.copyto` with a mask takes fifty times as long.
    """
    bits = np.dtype(f"i{cells.itemsize}")
    of_cells = cells.view(bits)
    np.bitwise_and(of_cells, np.negative(mask.astype(bits)), out=of_cells)
