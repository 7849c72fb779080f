"""Cells of an image that is no dataset of GDAL's, by as much of a dataset's interface as is used."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from processes.imagery.grid import Mask


class CellReader(ABC):
    """Reads the cells of an image as those of a dataset. All bands have the same mask."""

    driver = "cells"
    gcps: tuple[list[Any], None] = ([], None)
    warnings: tuple[str, ...] = ()
    """What the user of the image should know; datasets of GDAL have none."""

    def __init__(
        self, grid: tuple[Affine, CRS | None, int, int], dtypes: Sequence[str], block_shape: tuple[int, int]
    ) -> None:
        """Store what the image is.

        Args:
            grid: transform, CRS, height and width.
            dtypes: of the bands.
            block_shape: (height, width) of the parts that it is stored in.
        """
        self._opened = ExitStack()
        """What is closed with this."""
        self.transform, self.crs, self.height, self.width = grid
        self.count = len(dtypes)
        self.indexes = tuple(range(1, self.count + 1))
        self.dtypes = tuple(dtypes)
        self.block_shapes = [block_shape] * self.count
        self.colorinterp = (ColorInterp.undefined,) * self.count
        self.descriptions: tuple[str | None, ...] = (None,) * self.count
        self.scales, self.offsets = (1.0,) * self.count, (0.0,) * self.count
        self.mask_flag_enums = [[MaskFlags.per_dataset]] * self.count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    def close(self) -> None:
        """Close what is open."""
        self._opened.close()

    def tags(self, index: int | None = None, ns: str | None = None) -> dict[str, str]:
        """Return the tags of a band.

        Args:
            index: of the band, from 1; None = those of the image, which has none.
            ns: their domain.
        """
        return {}

    def overviews(self, index: int) -> list[int]:
        """Return by how much the sides of the overviews of a band are shorter; `index` counts from 1."""
        return []

    def read(
        self,
        indexes: int | Sequence[int],
        window: Window,
        out: NDArray[Any] | None = None,
        out_shape: tuple[int, ...] | None = None,
    ) -> NDArray[Any]:
        """Return cells, `(bands, height, width)`, of one band `(height, width)`.

        Args:
            indexes: of the bands, from 1.
            window: of the image.
            out: gets the cells.
            out_shape: of what is returned, by the nearest cells; None = all cells.
        """
        shape = _shape(window, out_shape)
        if isinstance(indexes, int):
            return self._band(indexes, window, shape)
        cells = np.empty((len(indexes), *shape), np.result_type(*self.dtypes)) if out is None else out
        for place, index in enumerate(indexes):
            cells[place] = self._band(index, window, shape)
        return cells

    def read_masks(
        self, indexes: int | Sequence[int], window: Window, out_shape: tuple[int, ...] | None = None
    ) -> NDArray[np.uint8]:
        """Return which cells are valid, 255 = valid: `(height, width)`, or that for each band.

        Args:
            indexes: of the bands, from 1.
            window: of the image.
            out_shape: of what is returned, by the nearest cells; None = all cells.
        """
        mask = self._mask(window, _shape(window, out_shape)).astype(np.uint8) * 255
        return mask if isinstance(indexes, int) else np.stack([mask] * len(indexes))

    @abstractmethod
    def _band(self, index: int, window: Window, shape: tuple[int, int]) -> NDArray[Any]:
        """Return the cells of a band in a window, `shape`."""

    @abstractmethod
    def _mask(self, window: Window, shape: tuple[int, int]) -> Mask:
        """Return which cells of a window are valid, `shape`."""


def _shape(window: Window, out_shape: tuple[int, ...] | None) -> tuple[int, int]:
    height, width = (int(window.height), int(window.width)) if out_shape is None else out_shape[-2:]
    return height, width
