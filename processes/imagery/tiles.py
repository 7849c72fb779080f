"""Decoded parts of images: each tile is decoded once while chips need it, and the least used ones are let go."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Lock, local
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window

from processes.imagery.grid import Ints
from processes.imagery.image import Image, open_dataset, readable

TILE_BUDGET_BYTES = 96 * 2**20
_MAX_OPEN_DATASETS = 64  # by one thread

Cells = NDArray[np.generic]
Mask = NDArray[np.bool_]
Tile = tuple[Cells, Mask | None]
"""Cells `(bands, height, width)`, and which of them are valid; None = all."""


@dataclass(frozen=True, slots=True)
class BandSelection:
    """What is taken of an image's cells."""

    bands: tuple[int, ...]
    """Their positions, from 0, in the model's order."""
    rescaling: tuple[tuple[float, float], ...] | None = None
    """Factor and offset for each band taken; None = cells stay as they are."""


def _dtype(image: Image, selection: BandSelection) -> np.dtype[np.generic]:
    """Return the type of an image's cells once decoded."""
    if selection.rescaling is not None:
        return np.dtype(np.float32)
    return image.dtype if image.palette is None else np.dtype(np.uint8)


class TileReader:
    """Cuts windows out of images, for several threads at once: they share the decoded tiles.

    Each thread reads under `gdal_settings`.

    Args:
        images: the images, in the client's order.
        selections: what is taken of each image; equally many bands of all.
        budget_bytes: how much of decoded tiles is kept.
    """

    def __init__(
        self, images: Sequence[Image], selections: Sequence[BandSelection], budget_bytes: int = TILE_BUDGET_BYTES
    ) -> None:
        self.images = images
        self.dtype = np.result_type(*map(_dtype, images, selections))
        """Type that holds the cells of all the images."""
        self.bands = len(selections[0].bands)
        self._selections = selections
        self._budget_bytes = budget_bytes
        self._kept_bytes = 0
        self._tiles: OrderedDict[tuple[int, int, int], Future[Tile]] = OrderedDict()
        self._lock = Lock()
        self._handles = local()
        self._opened: list[DatasetReader] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tiles.clear()
        while self._opened:
            self._opened.pop().close()

    def cut(self, position: int, window: Sequence[int], cells: Cells, valid: Mask) -> bool:
        """Copy the part of a window that lies in an image; what lies outside is left as it is.

        Args:
            position: of the image in `images`.
            window: column, row, width, height.
            cells: where the cells go, `(bands, height, width)`.
            valid: where True goes for each cell that is not nodata, `(height, width)`.

        Returns:
            Whether the window shares a cell with the image.
        """
        image = self.images[position]
        column, row, width, height = window
        left, right = max(column, 0), min(column + width, image.grid.width)
        top, bottom = max(row, 0), min(row + height, image.grid.height)
        if left >= right or top >= bottom:
            return False
        tile_height, tile_width = image.tile
        for tile_row in range(top // tile_height, (bottom - 1) // tile_height + 1):
            y = tile_row * tile_height
            y1, y2 = max(top, y), min(bottom, y + tile_height)
            for tile_column in range(left // tile_width, (right - 1) // tile_width + 1):
                x = tile_column * tile_width
                x1, x2 = max(left, x), min(right, x + tile_width)
                tile, mask = self._tile(position, tile_row, tile_column)
                there = (slice(y1 - row, y2 - row), slice(x1 - column, x2 - column))
                cells[:, there[0], there[1]] = tile[:, y1 - y : y2 - y, x1 - x : x2 - x]
                valid[there] = True if mask is None else mask[y1 - y : y2 - y, x1 - x : x2 - x]
        return True

    def reading_order(self, image: NDArray[np.int32], windows: Ints) -> NDArray[np.int64]:
        """Return the rows with an image in the order in which each tile has to be decoded once.

        Image by image, in bands of columns narrow enough for two rows of tiles to be kept, downwards in each band.

        Args:
            image: position of each row's image, -1 = none, `(n,)`.
            windows: column, row, width, height of each row's window, `(n, 4)`.
        """
        tile_heights, tile_widths = np.array([item.tile for item in self.images], dtype=np.int64).T
        itemsizes = [_dtype(item, chosen).itemsize for item, chosen in zip(self.images, self._selections, strict=True)]
        tile_bytes = tile_heights * tile_widths * self.bands * np.array(itemsizes)
        per_band = np.maximum(1, self._budget_bytes // (3 * tile_bytes))
        rows = np.flatnonzero(image >= 0)
        of = image[rows]
        tile_row = np.maximum(windows[rows, 1], 0) // tile_heights[of]
        tile_column = np.maximum(windows[rows, 0], 0) // tile_widths[of]
        return rows[np.lexsort((tile_column, tile_row, tile_column // per_band[of], of))]

    def _tile(self, position: int, row: int, column: int) -> Tile:
        """Return a tile; whoever misses it first decodes it, and others who need it meanwhile wait."""
        key = (position, row, column)
        with self._lock:
            kept = self._tiles.get(key)
            if kept is None:
                wanted = self._tiles[key] = Future()
            else:
                self._tiles.move_to_end(key)
        if kept is not None:
            return kept.result()
        try:
            tile = self._decode(position, row, column)
        except BaseException as err:
            with self._lock:
                del self._tiles[key]
            wanted.set_exception(err)
            raise
        wanted.set_result(tile)
        self._make_room(_size(tile))
        return tile

    def _make_room(self, size: int) -> None:
        """Count a new tile, and let the least used ones go that are too much."""
        with self._lock:
            self._kept_bytes += size
            while self._kept_bytes > self._budget_bytes and len(self._tiles) > 1:
                key, oldest = next(iter(self._tiles.items()))
                if not oldest.done():  # others wait for it
                    break
                del self._tiles[key]
                self._kept_bytes -= _size(oldest.result())

    def _decode(self, position: int, row: int, column: int) -> Tile:
        image = self.images[position]
        height, width = image.tile
        x, y = column * width, row * height
        window = Window(x, y, min(width, image.grid.width - x), min(height, image.grid.height - y))
        selection = self._selections[position]
        with readable(image.name):
            dataset = self._dataset(position)
            mask = dataset.dataset_mask(window=window) != 0 if image.has_mask else None
            if image.palette is not None:
                cells = image.palette.T[list(selection.bands)][:, dataset.read(1, window=window)]
            else:
                cells = dataset.read([band + 1 for band in selection.bands], window=window)
        return _rescaled(cells, selection.rescaling), mask

    def _dataset(self, position: int) -> DatasetReader:
        """Return this thread's own handle of an image: GDAL's are not shared between threads."""
        datasets: OrderedDict[int, DatasetReader] = self._handles.__dict__.setdefault("datasets", OrderedDict())
        dataset = datasets.get(position)
        if dataset is None:
            dataset = datasets[position] = open_dataset(self.images[position].path)
            with self._lock:
                self._opened.append(dataset)
            if len(datasets) > _MAX_OPEN_DATASETS:
                _, least_used = datasets.popitem(last=False)
                least_used.close()
                with self._lock:
                    self._opened.remove(least_used)
        datasets.move_to_end(position)
        return dataset


def _rescaled(cells: Cells, rescaling: Sequence[tuple[float, float]] | None) -> Cells:
    if rescaling is None:
        return cells
    factors, offsets = np.array(rescaling).T[:, :, None, None]
    with np.errstate(over="ignore", invalid="ignore"):  # a nodata value may be anything
        rescaled: Cells = (cells.astype(np.float64) * factors + offsets).astype(np.float32)
    return rescaled


def _size(tile: Tile) -> int:
    cells, mask = tile
    return cells.nbytes + (0 if mask is None else mask.nbytes)
