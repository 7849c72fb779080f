"""Which tiles of a TIFF are in its file. The blocks of the others are absent, as GDAL's `SPARSE_OK` leaves them: such
tiles have one value, that of GDAL for absent blocks, and need not be read.

A block is absent where its size in the file is 0. The sizes of all blocks are read at once: GDAL tells them one by one,
which takes minutes where there are millions.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from processes.imagery.grid import Mask
from processes.imagery.image import Image
from processes.imagery.tiff import TiffDirectory, tiff_directory

_FEW_TILES = 16
"""Images of so many tiles are read as they are: it costs less than to look."""
_MAX_BLOCKS = 2**28
_BLOCKS_AT_ONCE = 2**22
_PADDED = 4
"""Of arrays of so many sizes libtiff takes those that are missing for 0; longer ones that are too short are errors."""
_WIDTH, _HEIGHT, _BANDS, _STRIP_ROWS, _STRIP_SIZES, _PLANAR = 256, 257, 277, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILE_SIZES = 322, 323, 325
_SEPARATE = 2

_Indices = NDArray[np.int64]


class StoredTiles(msgspec.Struct, frozen=True):
    """How many tiles of an image are in its file, of any rectangle of them."""

    sums: NDArray[np.int64]
    """Number of stored tiles above and left of each corner of tiles, `(tile rows + 1, tile columns + 1)`."""

    def count(self, top: Any, left: Any, bottom: Any, right: Any) -> Any:
        """Return how many tiles are stored in a rectangle of them.

        Args:
            top: first row, or an array of them, for as many rectangles.
            left: first column.
            bottom: row behind the last one.
            right: column behind the last one.
        """
        return self.sums[bottom, right] - self.sums[top, right] - self.sums[bottom, left] + self.sums[top, left]


class _Layout(msgspec.Struct, frozen=True):
    """How a TIFF's cells are cut into blocks."""

    width: int
    height: int
    """Of a block, in cells."""
    rows: int
    columns: int
    """Blocks of a plane."""
    planes: int
    sizes: int
    """The tag that holds the size of each block, in bytes."""


def read_stored_tiles(image: Image) -> StoredTiles | None:
    """Return which tiles of an image are in its file; None = all are, or it is not known.

    Raises:
        OSError: the file cannot be read.
    """
    rows, columns = (-(-side // tile) for side, tile in zip(image.shape, image.tile, strict=True))
    if rows * columns <= _FEW_TILES or image.has_mask_apart:
        return None
    try:
        opened = image.source.open_bytes()
    except io.UnsupportedOperation:  # of several files, or of a service
        return None
    with opened as file:
        directory = tiff_directory(file)
        layout = None if directory is None else _layout(directory, image)
        if directory is None or layout is None:
            return None
        stored = _stored(file, directory, layout, image, np.zeros((rows, columns), bool))
    if stored.all():
        return None
    sums = np.zeros((rows + 1, columns + 1), np.int64)
    sums[1:, 1:] = stored.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    return StoredTiles(sums)


def _layout(directory: TiffDirectory, image: Image) -> _Layout | None:
    """Return how a TIFF is cut into blocks; None = it is one block, or is none that is sound."""
    if (directory.number(_HEIGHT), directory.number(_WIDTH)) != image.shape:
        return None
    given = [tag for tag in (_TILE_SIZES, _STRIP_SIZES) if tag in directory.tags]
    width, height = directory.number(_TILE_WIDTH), directory.number(_TILE_HEIGHT)
    if width is None and height is None:
        width, height = image.grid.width, min(directory.number(_STRIP_ROWS) or 2**32, image.grid.height)
    if len(given) != 1 or not width or not height or not directory.has_numbers(given[0]):
        return None
    rows, columns = -(-image.grid.height // height), -(-image.grid.width // width)
    planes = (directory.number(_BANDS) or 1) if directory.number(_PLANAR) == _SEPARATE else 1
    if rows * columns == 1 or rows * columns * planes > _MAX_BLOCKS:
        return None  # libtiff mends the size of a single block
    return _Layout(width, height, rows, columns, planes, given[0])


def _stored(file: BinaryIO, directory: TiffDirectory, layout: _Layout, image: Image, stored: Mask) -> Mask:
    """Set the tiles that have a block in the file, in any plane, and return them."""
    height, width = image.shape
    tile_height, tile_width = image.tile
    left = np.arange(stored.shape[1]) * tile_width
    first = left // layout.width
    behind = (np.minimum(left + tile_width, width) - 1) // layout.width + 1
    for plane in range(layout.planes):
        for row in range(0, layout.rows, max(1, _BLOCKS_AT_ONCE // layout.columns)):
            blocks = _blocks(file, directory, layout, plane, row)
            sums = np.zeros((len(blocks), layout.columns + 1), np.int32)
            np.cumsum(blocks, axis=1, out=sums[:, 1:])
            in_columns = sums[:, behind] > sums[:, first]
            top = np.arange(row, row + len(blocks)) * layout.height
            top_tile, last_tile = top // tile_height, (np.minimum(top + layout.height, height) - 1) // tile_height
            for step in range(int((last_tile - top_tile).max()) + 1):
                np.logical_or.at(stored, np.minimum(top_tile + step, last_tile), in_columns)
    return stored


def _blocks(file: BinaryIO, directory: TiffDirectory, layout: _Layout, plane: int, row: int) -> Mask:
    """Return which blocks of some rows of a plane are in the file, `(rows, columns)`."""
    rows = min(layout.rows - row, max(1, _BLOCKS_AT_ONCE // layout.columns))
    start = (plane * layout.rows + row) * layout.columns
    sizes = directory.read_numbers(file, layout.sizes, start, rows * layout.columns)
    is_padded = directory.tags[layout.sizes][1] <= _PADDED
    blocks = np.full(rows * layout.columns, not is_padded)
    blocks[: len(sizes)] = sizes != 0
    return blocks.reshape(rows, layout.columns)
