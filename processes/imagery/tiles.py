"""Decoded parts of images: a tile is decoded once while chips need it; the least recently used ones are dropped."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from concurrent.futures import Future
from threading import Lock, local
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window

from processes.imagery.decoded_tile import Cells, Tile
from processes.imagery.grid import Mask, Windows
from processes.imagery.image import Image
from processes.imagery.kept_tiles import KEPT_TILES
from processes.imagery.source import FileSource, readable
from processes.imagery.stored_tiles import StoredTiles, read_stored_tiles
from processes.imagery.tile_fetching import TileFetcher
from processes.imagery.window_cells import CellsAndMask, read_window, rescaled

TILE_BUDGET_BYTES = 96 * 2**20
_MAX_OPEN_DATASETS = 64  # of one thread
_MAX_ROOM = 1.6
"""A tile and its room have at most so many times the cells of the tile: what is in the room is copied twice."""

AbsentCells = tuple[Cells, bool]
"""What the cells of absent tiles are, `(bands, 1, 1)`, and whether they are valid."""


class BandSelection(msgspec.Struct, frozen=True):
    """The bands of an image that a model reads."""

    bands: tuple[int, ...]
    """Their indices in the image, from 0, in the model's order."""
    rescaling: tuple[tuple[float, float], ...] | None = None
    """Factor and offset for each of these bands; None = cells stay as they are."""


def _dtype(image: Image, selection: BandSelection) -> np.dtype[np.generic]:
    """Return the type of an image's cells once decoded."""
    if selection.rescaling is not None:
        return np.dtype(np.float32)
    return image.dtype if image.palette is None else np.dtype(np.uint8)


class TileReader:
    """Cuts windows out of images, for several threads at once: they share the decoded tiles.

    What `KEPT_TILES` has of files is not decoded again. Each thread reads under `gdal_settings`.

    Args:
        images: the images, in the client's order.
        selections: the bands that are read of each image; equally many of all.
        chip_shape: (height, width) of all windows that are cut in reading order: tiles have room for those that begin
            in them; (1, 1) = windows have several shapes.
        budget_bytes: size of the decoded tiles that are kept at most.
    """

    def __init__(
        self,
        images: Sequence[Image],
        selections: Sequence[BandSelection],
        chip_shape: tuple[int, int] = (1, 1),
        budget_bytes: int = TILE_BUDGET_BYTES,
    ) -> None:
        self.images = images
        self.dtype = np.result_type(*map(_dtype, images, selections))
        """Type that holds the cells of all the images."""
        self.bands = len(selections[0].bands)
        self._selections = selections
        self.shapes = np.array([(*image.shape, *image.tile, *_room(image.tile, chip_shape)) for image in images])
        """Height and width of the images, of their tiles, and of the room that a tile has below and on the right, in
        cells, `(images, 6)`."""
        self._budget_bytes = budget_bytes
        self._tile_bytes = self._bytes_of_tiles()
        self._kept_bytes = 0
        self._tiles: OrderedDict[tuple[int, int, int], Future[Tile]] = OrderedDict()
        self._counted: dict[tuple[int, int, int], int] = {}
        self._lock = Lock()
        self._states: dict[int, Hashable] = {}
        self._stored: dict[int, StoredTiles | None] = {}
        self._absent: dict[int, AbsentCells] = {}
        self._handles = local()
        self._opened: list[DatasetReader] = []
        self._fetcher = TileFetcher(images, list(map(_bands_read, images, selections)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tiles.clear()
        self._fetcher.close()
        while self._opened:
            self._opened.pop().close()

    def expect(self, image: NDArray[np.int32], windows: Windows) -> None:
        """Fetch ahead what windows of remote images need.

        Args:
            image: index of each window's image, -1 = none, in the order in which they will be cut, `(n,)`.
            windows: `(n, 4)`.
        """
        self._fetcher.expect(image, windows)

    def cut(self, index: int, window: Sequence[int], cells: Cells, valid: Mask) -> bool:
        """Copy the part of a window that lies in an image; cells outside it are left as they are.

        Args:
            index: of the image in `images`.
            window: column, row, width, height.
            cells: gets the cells, `(bands, height, width)`.
            valid: gets True for each cell of the image that is not nodata, `(height, width)`.

        Returns:
            Whether the window shares a cell with the image.
        """
        image = self.images[index]
        column, row, width, height = window
        left, right = max(column, 0), min(column + width, image.grid.width)
        top, bottom = max(row, 0), min(row + height, image.grid.height)
        if left >= right or top >= bottom:
            return False
        is_sparse = self.stored_tiles(index) is not None
        if is_sparse and self.is_absent(index, left, top, right, bottom):
            rows, columns = slice(top - row, bottom - row), slice(left - column, right - column)
            cells[:, rows, columns], valid[rows, columns] = self.absent_cells(index)
            return True
        tile_height, tile_width = image.tile
        for tile_row in range(top // tile_height, (bottom - 1) // tile_height + 1):
            y = tile_row * tile_height
            y1, y2 = max(top, y), min(bottom, y + tile_height)
            for tile_column in range(left // tile_width, (right - 1) // tile_width + 1):
                x = tile_column * tile_width
                x1, x2 = max(left, x), min(right, x + tile_width)
                rows, columns = slice(y1 - row, y2 - row), slice(x1 - column, x2 - column)
                if is_sparse and self.is_absent(index, x1, y1, x2, y2):
                    cells[:, rows, columns], valid[rows, columns] = self.absent_cells(index)
                    continue
                tile = self.tile(index, tile_row, tile_column)
                inner = slice(y1 - y, y2 - y), slice(x1 - x, x2 - x)
                cells[:, rows, columns] = tile.cells[:, *inner]
                valid[rows, columns] = True if (mask := tile.mask) is None else mask[inner]
        return True

    def is_absent(self, index: int, left: Any, top: Any, right: Any, bottom: Any) -> Any:
        """Return whether no tile that a window touches is in the image's file; the window lies in the image.

        Args:
            index: of the image in `images`.
            left: first column, or an array of them, for as many windows.
            top: first row.
            right: column behind the last one.
            bottom: row behind the last one.
        """
        stored = self.stored_tiles(index)
        if stored is None:
            return np.zeros(np.shape(left), bool) if np.ndim(left) else False
        height, width = self.images[index].tile
        return stored.count(top // height, left // width, (bottom - 1) // height + 1, (right - 1) // width + 1) == 0

    def absent_cells(self, index: int) -> AbsentCells:
        """Return what the cells of an image are where tiles are absent: GDAL says it of one of them."""
        absent, stored = self._absent.get(index), self.stored_tiles(index)
        if absent is None and stored is not None:
            row, column = np.argwhere(np.diff(np.diff(stored.sums, axis=0), axis=1) == 0)[0].tolist()
            height, width = self.images[index].tile
            cells, mask = self._read(index, Window(column * width, row * height, 1, 1))
            absent = self._absent[index] = cells, mask is None or bool(mask.all())
        if absent is None:
            raise ValueError(f"no tile of image {self.images[index].name!r} is absent")
        return absent

    def stored_tiles(self, index: int) -> StoredTiles | None:
        """Return which tiles of an image are in its file, as `read_stored_tiles` has it."""
        if index not in self._stored:
            image = self.images[index]
            with readable(image.source):
                self._stored[index] = read_stored_tiles(image)
        return self._stored[index]

    def reading_order(self, image: NDArray[np.int32], windows: Windows) -> NDArray[np.int64]:
        """Return the rows that have an image, in the order in which each tile is decoded once, `(k,)`.

        It goes image by image and, in an image, through strips of columns that are narrow enough for two rows of their
        tiles to be kept, each from top to bottom.

        Args:
            image: index of each row's image, -1 = none, `(n,)`.
            windows: each row's window.
        """
        strip_width = np.maximum(1, self._budget_bytes * 4 // (9 * self._tile_bytes) - 2)  # chips reach beyond it
        rows = np.flatnonzero(image >= 0)
        index = image[rows]
        tile_row, tile_column = self.first_tiles(index, windows[rows])
        return rows[np.lexsort((tile_column, tile_row, tile_column // strip_width[index], index))]

    def most_together(self, index: int) -> int:
        """Return how many tiles can be decoded one after another that no later one of them pushes out.

        Args:
            index: of their image in `images`.
        """
        return self._budget_bytes // (2 * int(self._tile_bytes[index]))

    def first_tiles(self, image: NDArray[np.int32], windows: Windows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return row and column, among the tiles of its image, of the tile that each window begins in, `(n,)` each.

        Args:
            image: index of each window's image, `(n,)`.
            windows: `(n, 4)`.
        """
        tile_heights, tile_widths = self.shapes[image, 2:4].T
        return np.maximum(windows[:, 1], 0) // tile_heights, np.maximum(windows[:, 0], 0) // tile_widths

    def tile(self, index: int, row: int, column: int) -> Tile:
        """Return a tile; the first thread that misses it decodes it, and others that need it meanwhile wait.

        Args:
            index: of the image in `images`.
            row: of the tile among the image's tiles.
            column: of the tile.
        """
        key = (index, row, column)
        with self._lock:
            kept = self._tiles.get(key)
            if kept is None:
                decoded = self._tiles[key] = Future()
            else:
                self._tiles.move_to_end(key)
        if kept is not None:
            return kept.result()
        try:
            place = (self._selections[index], self.shapes[index, 2:].tobytes(), row, column)
            tile = KEPT_TILES.get(self._state(index), place, lambda: self._decode(index, row, column))
        except BaseException as err:
            with self._lock:
                del self._tiles[key]
            decoded.set_exception(err)
            raise
        decoded.set_result(tile)
        self._make_room(key, tile.nbytes)
        return tile

    def is_kept(self, index: int, row: int, column: int) -> bool:
        """Return whether a tile is decoded and kept.

        Args:
            index: of the image in `images`.
            row: of the tile among the image's tiles.
            column: of the tile.
        """
        kept = self._tiles.get((index, row, column))
        return kept is not None and kept.done()

    def _bytes_of_tiles(self) -> NDArray[np.int64]:
        """Return the bytes of the cells of a tile of each image, with its room."""
        itemsizes = [_dtype(item, bands).itemsize for item, bands in zip(self.images, self._selections, strict=True)]
        sides = self.shapes[:, 2:4] + self.shapes[:, 4:]
        return np.asarray(sides.prod(axis=1) * self.bands * np.array(itemsizes))

    def _make_room(self, new: tuple[int, int, int], size: int) -> None:
        """Count the bytes of a new tile, and drop the least recently used ones that exceed the budget."""
        with self._lock:
            if new in self._tiles:  # else another thread has dropped it since it was decoded
                self._kept_bytes += size - self._counted.get(new, 0)
                self._counted[new] = size
            while self._kept_bytes > self._budget_bytes and len(self._tiles) > 1:
                key, oldest = next(iter(self._tiles.items()))
                if not oldest.done():  # others wait for it
                    break
                del self._tiles[key]
                self._kept_bytes -= self._counted.pop(key, 0)  # it may have more by now: those beside it add masks

    def _state(self, index: int) -> Hashable:
        """Return what the image is kept by from one reader to the next: the file as it was at its first tile."""
        if index not in self._states:
            source = self.images[index].source
            self._states[index] = KEPT_TILES.state_of(source.path) if isinstance(source, FileSource) else None
        return self._states[index]

    def _decode(self, index: int, row: int, column: int) -> Tile:
        image, selection = self.images[index], self._selections[index]
        x, y = column * image.tile[1], row * image.tile[0]
        right, below = image.grid.width - x, image.grid.height - y
        height, width = min(image.tile[0], below), min(image.tile[1], right)
        room_below, room_right = self.shapes[index, 4:].tolist()
        size = min(height + room_below, below), min(width + room_right, right)
        cells = np.empty((self.bands, *size), _dtype(image, selection))
        window = Window(x, y, width, height)
        return Tile(cells, self._read(index, window, cells[:, :height, :width])[1], (height, width))

    def _read(self, index: int, window: Window, out: Cells | None = None) -> CellsAndMask:
        """Return the cells of a window, in `out` where that is given, and which of them are valid."""
        image, selection = self.images[index], self._selections[index]
        is_plain = image.palette is None and selection.rescaling is None
        with readable(image.source):
            if self._fetcher.is_remote(index):
                row, column = window.row_off // image.tile[0], window.col_off // image.tile[1]
                within = Window(
                    window.col_off - column * image.tile[1],
                    window.row_off - row * image.tile[0],
                    window.width,
                    window.height,
                )
                with self._fetcher.open_tile(index, row, column) as dataset:
                    cells, mask = read_window(dataset, image, selection.bands, within, out if is_plain else None)
            else:
                dataset = self._dataset(index)
                cells, mask = read_window(dataset, image, selection.bands, window, out if is_plain else None)
        cells = rescaled(cells, selection.rescaling)
        if out is not None and not is_plain:
            out[...] = cells
        return cells, mask

    def _dataset(self, index: int) -> DatasetReader:
        """Return this thread's own handle of an image: GDAL's are not shared between threads."""
        datasets: OrderedDict[int, DatasetReader] = self._handles.__dict__.setdefault("datasets", OrderedDict())
        dataset = datasets.get(index)
        if dataset is None:
            source = self.images[index].source
            dataset = datasets[index] = source.open_cells() if isinstance(source, FileSource) else source.open()
            with self._lock:
                self._opened.append(dataset)
            if len(datasets) > _MAX_OPEN_DATASETS:
                _, least_recent = datasets.popitem(last=False)
                least_recent.close()
                with self._lock:
                    self._opened.remove(least_recent)
        datasets.move_to_end(index)
        return dataset


def _bands_read(image: Image, selection: BandSelection) -> tuple[int, ...] | None:
    """Return which bands of an image are read, with those that say what is nodata; None = all."""
    return None if image.has_mask or image.palette is not None else (*selection.bands, *image.alpha_bands)


def _room(tile: tuple[int, int], chip_shape: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns of the room of a tile for chips that begin in it; (0, 0) = it would be too large."""
    below, right = chip_shape[0] - 1, chip_shape[1] - 1
    return (below, right) if (tile[0] + below) * (tile[1] + right) <= _MAX_ROOM * tile[0] * tile[1] else (0, 0)
