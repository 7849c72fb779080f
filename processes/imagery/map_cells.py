"""The cells that a map shows of an image: a window of it, with fewer cells than it has there.

Images in files are read from the overview that suits, as GDAL does. Those that are read by parts have levels, each an
image of its own: a service gives its cells in any size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol

import msgspec
import numpy as np
from affine import Affine
from rasterio.io import DatasetReader
from rasterio.windows import Window

from processes.imagery.grid import Grid
from processes.imagery.image import Image
from processes.imagery.remote_source import RemoteImageSource
from processes.imagery.source import gdal_settings, readable
from processes.imagery.tiles import BandSelection, TileReader
from processes.imagery.window_cells import CellsAndMask, read_window

_SLACK = 1.2
"""An overview may have cells that are larger than those of the map by this factor."""
_MOST_TILES = 36
"""Tiles that are fetched for one window at most."""
_TOO_MUCH = 2**62


class MapCells(Protocol):
    """The cells of an image, for a map."""

    def cost(self, window: Window, factor: float) -> int:
        """Return how many bytes are decoded for a window, if it is shown with sides so many times shorter."""

    def read(self, bands: Sequence[int], window: Window, shape: tuple[int, int]) -> CellsAndMask:
        """Return the nearest cells.

        Args:
            bands: indices, from 0.
            window: of the image.
            shape: (height, width) of what is returned.

        Raises:
            ForbiddenError, InputError: the image cannot be had.
        """


@contextmanager
def map_cells(image: Image) -> Iterator[MapCells]:
    """Open an image to show it.

    Raises:
        ImageError: it cannot be read.
    """
    with gdal_settings(), readable(image.source), ExitStack() as opened:
        if isinstance(image.source, RemoteImageSource):
            yield _RemoteCells(image)
        else:
            yield _DatasetCells(opened.enter_context(image.source.open()), image)


class _DatasetCells:
    """The cells of an opened image."""

    def __init__(self, dataset: DatasetReader, image: Image) -> None:
        self._dataset = dataset
        self._image = image
        self._cell_bytes = sum(np.dtype(dtype).itemsize for dtype in dataset.dtypes)

    def cost(self, window: Window, factor: float) -> int:
        overview = max((level for level in self._dataset.overviews(1) if level <= factor * _SLACK), default=1)
        if overview > 1:
            return int(window.width * window.height * self._cell_bytes / overview**2)
        if self._image.is_sequential:
            return int(self._image.grid.width * self._image.grid.height * self._cell_bytes)
        height, width = self._dataset.block_shapes[0]
        return int(_touched(window, (height, width)) * height * width * self._cell_bytes)

    def read(self, bands: Sequence[int], window: Window, shape: tuple[int, int]) -> CellsAndMask:
        return read_window(self._dataset, self._image, bands, window, shape=shape)


class _RemoteCells:
    """The cells of an image that is read by parts."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def cost(self, window: Window, factor: float) -> int:
        level, factors = self._level(factor)
        tiles = _touched(_scaled(window, level, factors), level.tile)
        if tiles > _MOST_TILES:
            return _TOO_MUCH
        return tiles * level.tile[0] * level.tile[1] * level.bands * level.dtype.itemsize

    def read(self, bands: Sequence[int], window: Window, shape: tuple[int, int]) -> CellsAndMask:
        level, factors = self._level(min(window.height / shape[0], window.width / shape[1]))
        part = _scaled(window, level, factors)
        with TileReader([level], [BandSelection(tuple(bands))]) as reader:
            cells = np.zeros((len(bands), part.height, part.width), reader.dtype)
            valid = np.zeros(cells.shape[1:], bool)
            place = part.col_off, part.row_off, part.width, part.height
            reader.expect(np.zeros(1, np.int32), np.array([place], np.int32))
            reader.cut(0, place, cells, valid)
        lengths = ((window.row_off, window.height, part.height), (window.col_off, window.width, part.width))
        offsets = part.row_off, part.col_off
        rows, columns = (
            np.clip(
                np.floor((start + (np.arange(count) + 0.5) * length / count) / factor).astype(int) - offset, 0, most - 1
            )
            for (start, length, most), count, factor, offset in zip(lengths, shape, factors, offsets, strict=True)
        )
        nearest = np.ix_(rows, columns)
        mask = valid[nearest]
        return cells[:, nearest[0], nearest[1]], None if mask.all() else mask

    def _level(self, factor: float) -> tuple[Image, tuple[float, float]]:
        """Return the image with cells so many times as long at most, and how many times as high and wide they are."""
        image, power = self._image, max(0, math.floor(math.log2(factor * _SLACK)))
        found = image.source.coarser(2**power) if power and isinstance(image.source, RemoteImageSource) else None
        if found is None:
            return image, (1.0, 1.0)
        source, (down, across) = found
        with source.open() as header:
            transform = image.grid.transform @ Affine.scale(across, down)
            grid = Grid(transform, header.width, header.height, image.grid.crs_wkt)
            tile = source.tile or header.block_shapes[0]
        return msgspec.structs.replace(image, source=source, grid=grid, tile=tile), (down, across)


def _touched(window: Window, tile: tuple[int, int]) -> int:
    """Return how many tiles (height, width) a window touches."""
    rows = -(-(window.row_off + window.height) // tile[0]) - window.row_off // tile[0]
    columns = -(-(window.col_off + window.width) // tile[1]) - window.col_off // tile[1]
    return int(rows * columns)


def _scaled(window: Window, level: Image, factors: tuple[float, float]) -> Window:
    """Return the window of whole cells of a level that covers one of the image."""
    down, across = factors
    top, left = math.floor(window.row_off / down), math.floor(window.col_off / across)
    bottom = min(math.ceil((window.row_off + window.height) / down), level.grid.height)
    right = min(math.ceil((window.col_off + window.width) / across), level.grid.width)
    return Window(left, top, max(1, right - left), max(1, bottom - top))
