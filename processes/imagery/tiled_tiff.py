"""A TIFF of tiles that is read by parts: where the blocks of each part lie, and small TIFFs of these alone.

GDAL never sees the file itself. It gets the header with no block in it, which tells what the image is, and for each
part of the image a TIFF of a few blocks, which has the same tags. So nothing is read that was not fetched, and blocks
are decoded as those of the file would be.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from processes.imagery.tiff import TiffDirectory, tiff_directories

_SUBFILE, _WIDTH, _HEIGHT, _COMPRESSION, _BANDS, _PLANAR = 254, 256, 257, 259, 277, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES = 322, 323, 324, 325
_SEPARATE = 2
_REDUCED, _MASK = 1, 4
"""Bits of the tag that says what a directory's image is."""
_COMPRESSIONS = {1, 5, 7, 8, 32773, 32946, 34887, 34925, 50000, 50001, 50002, 52546}
"""Those whose blocks stand alone, with what the tags say of them: of old-style JPEG they do not."""
_LEFT_OUT = {273, 279, 288, 289, 330, 513, 514, 519, 520, 521, 34665, 34853}
"""Tags that hold places in the file: of strips, free space, other directories, tables of old-style JPEG."""
_OF_PLACE = {33550, 33922, 34264, 34735, 34736, 34737}
"""Tags that say where the image lies: GDAL takes four times as long to open a small TIFF that has them."""
_MAX_BLOCKS = 2**22
_MAX_TAG_BYTES = 2**24
_LONG8, _SHORT = 16, 3
_ENTRY = "HHQ8s"

_Values = tuple[int, int, bytes]
"""Type, number of values, and the values themselves."""


class _Raster(msgspec.Struct, frozen=True):
    """The cells of a directory: the image itself, or its mask."""

    tags: Mapping[int, _Values]
    """All but those of the blocks and of its size."""
    width: int
    height: int
    """Of a block, in cells."""
    rows: int
    columns: int
    """Blocks of a plane."""
    planes: int
    offsets: NDArray[np.uint64]
    sizes: NDArray[np.uint64]
    """Of each block in the file, plane by plane; a size of 0 = it is absent, `(planes * rows * columns,)`."""

    def blocks(self, top: int, left: int, height: int, width: int, planes: Collection[int] | None) -> NDArray[np.int64]:
        """Return which blocks a window touches, `(n,)`, plane by plane; the window lies within the image."""
        rows = np.arange(top // self.height, (top + height - 1) // self.height + 1)
        columns = np.arange(left // self.width, (left + width - 1) // self.width + 1)
        within = (rows[:, None] * self.columns + columns).ravel()
        wanted = [plane for plane in range(self.planes) if self.planes == 1 or planes is None or plane in planes]
        return np.concatenate([plane * self.rows * self.columns + within for plane in wanted])


class TiledTiff(msgspec.Struct, frozen=True):
    """Where the blocks of a TIFF lie."""

    order: str
    width: int
    height: int
    """Of the image, in cells."""
    rasters: Sequence[_Raster]
    """The image, and its mask where it has one."""

    def header(self) -> bytes:
        """Return a TIFF that says all that the file says of the image, and has no block."""
        none = [[b""] * len(raster.sizes) for raster in self.rasters]
        return _compose(self.order, (self.height, self.width), self.rasters, none)

    def blocks(
        self, top: int, left: int, height: int, width: int, planes: Collection[int] | None
    ) -> list[tuple[int, int]]:
        """Return offset and size in the file of each block that a window touches, absent ones left out.

        Args:
            top: first row of the window, which lies within the image and begins with a block.
            left: first column.
            height: rows.
            width: columns.
            planes: bands that are read, of a file that keeps bands apart; None = all.
        """
        found: list[tuple[int, int]] = []
        for raster in self.rasters:
            indices = raster.blocks(top, left, height, width, planes)
            found += zip(raster.offsets[indices].tolist(), raster.sizes[indices].tolist(), strict=True)
        return [(offset, size) for offset, size in found if size]

    def part(
        self, top: int, left: int, height: int, width: int, planes: Collection[int] | None, content: bytes
    ) -> bytes:
        """Return a TIFF of a window alone.

        Args:
            top: as `blocks` has it.
            left: as `blocks` has it.
            height: rows.
            width: columns.
            planes: as `blocks` has them; the others are absent.
            content: the bytes of the window's blocks, as `blocks` lists them, one behind the other.
        """
        position, blocks = 0, []
        for raster in self.rasters:
            wanted = set(raster.blocks(top, left, height, width, planes).tolist())
            of_raster = []
            for index in raster.blocks(top, left, height, width, None).tolist():
                size = int(raster.sizes[index]) if index in wanted else 0
                of_raster.append(content[position : position + size])
                position += size
            blocks.append(of_raster)
        return _compose(self.order, (height, width), self.rasters, blocks, left_out=_OF_PLACE)


def overview_shapes(file: BinaryIO) -> list[tuple[int, int]]:
    """Return (height, width) of each level of a TIFF, as `read_tiled_tiff` counts them."""
    directories = list(tiff_directories(file))
    return [_shape(item) for item in (*directories[:1], *_overviews(directories))]


def read_tiled_tiff(
    file: BinaryIO, size_bytes: int, tile: tuple[int, int] | None = None, level: int = 0
) -> TiledTiff | None:
    """Read where the blocks of a TIFF lie; None = it is none, or cannot be read by parts.

    Args:
        file: the TIFF.
        size_bytes: of the file.
        tile: (height, width) of the windows that parts are made of; None = any.
        level: of the overviews, counted from 1, the one that is read; 0 = the image itself.

    Raises:
        OSError: it cannot be read.
    """
    directories = list(tiff_directories(file))
    levels = [*directories[:1], *_overviews(directories)]
    if level >= len(levels):
        return None
    first, shape = levels[level], _shape(levels[level])
    kind = _MASK | _REDUCED if level else _MASK
    masks = [item for item in directories[1:] if _kind(item) == kind and _shape(item) == shape]
    rasters = [_raster(item, file, size_bytes) for item in (first, *masks[:1])]
    read = [raster for raster in rasters if raster is not None]
    if len(read) < len(rasters):
        return None
    main = read[0]
    if any(main.height % raster.height or main.width % raster.width for raster in read[1:]):
        return None
    if tile is not None and any(
        length % block and length < side
        for length, block, side in zip(tile, (main.height, main.width), shape, strict=True)
    ):
        return None
    return TiledTiff(first.order, shape[1], shape[0], read)


def _overviews(directories: Sequence[TiffDirectory]) -> list[TiffDirectory]:
    """Return the overviews of the first directory, the largest one first."""
    return sorted((item for item in directories[1:] if _kind(item) == _REDUCED), key=_shape, reverse=True)


def _kind(directory: TiffDirectory) -> int:
    return (directory.number(_SUBFILE) or 0) & (_MASK | _REDUCED)


def _shape(directory: TiffDirectory) -> tuple[int, int]:
    return directory.number(_HEIGHT) or 0, directory.number(_WIDTH) or 0


def _raster(directory: TiffDirectory, file: BinaryIO, size_bytes: int) -> _Raster | None:
    """Read a directory; None = its blocks are no tiles, or do not stand alone, or are not where they should be."""
    width, height = directory.number(_WIDTH) or 0, directory.number(_HEIGHT) or 0
    block_width, block_height = directory.number(_TILE_WIDTH) or 0, directory.number(_TILE_HEIGHT) or 0
    has_tiles = directory.has_numbers(_TILE_OFFSETS) and directory.has_numbers(_TILE_SIZES)
    if not (width and height and block_width and block_height and has_tiles):
        return None
    if (directory.number(_COMPRESSION) or 1) not in _COMPRESSIONS:
        return None
    planes = (directory.number(_BANDS) or 1) if directory.number(_PLANAR) == _SEPARATE else 1
    rows, columns = -(-height // block_height), -(-width // block_width)
    count = rows * columns * planes
    if count > _MAX_BLOCKS or any(directory.tags[tag][1] != count for tag in (_TILE_OFFSETS, _TILE_SIZES)):
        return None
    offsets, sizes = (
        directory.read_numbers(file, tag, 0, count).astype(np.uint64) for tag in (_TILE_OFFSETS, _TILE_SIZES)
    )
    if len(offsets) < count or len(sizes) < count or (offsets + sizes > size_bytes).any():
        return None
    tags = {}
    for tag in directory.tags.keys() - _LEFT_OUT - {_WIDTH, _HEIGHT, _TILE_OFFSETS, _TILE_SIZES}:
        values = directory.read_values(file, tag, _MAX_TAG_BYTES)
        if values is not None:
            tags[tag] = (*directory.tags[tag][:2], values)
    return _Raster(tags, block_width, block_height, rows, columns, planes, offsets, sizes)


def _compose(
    order: str,
    shape: tuple[int, int],
    rasters: Sequence[_Raster],
    blocks: Sequence[Sequence[bytes]],
    left_out: Collection[int] = (),
) -> bytes:
    """Return a BigTIFF of rasters of one shape (height, width), with these blocks; empty ones are absent.

    Args:
        order: of bytes.
        shape: of the image.
        rasters: which give the tags.
        blocks: of each raster.
        left_out: tags that are left out.
    """
    layouts = [_layout(order, shape, raster, of_raster) for raster, of_raster in zip(rasters, blocks, strict=True)]
    for directory in layouts:
        for tag in directory.keys() & set(left_out):
            del directory[tag]
    position = 16
    for directory in layouts:
        position += _directory_bytes(directory)
    content = bytearray(struct.pack(f"{order}2sHHHQ", b"II" if order == "<" else b"MM", 43, 8, 0, 16))
    for index, (directory, of_raster) in enumerate(zip(layouts, blocks, strict=True)):
        sizes = np.array([len(block) for block in of_raster], np.uint64)
        offsets = np.where(sizes > 0, position + np.cumsum(sizes) - sizes, 0)
        position += int(sizes.sum())
        directory[_TILE_OFFSETS] = _LONG8, len(sizes), offsets.astype(f"{order}u8").tobytes()
        content += _encoded(order, directory, len(content), is_last=index == len(layouts) - 1)
    return b"".join([content, *(block for of_raster in blocks for block in of_raster)])


def _layout(order: str, shape: tuple[int, int], raster: _Raster, blocks: Sequence[bytes]) -> dict[int, _Values]:
    """Return the tags of a raster, with room for the offsets of its blocks."""
    sizes = np.array([len(block) for block in blocks], f"{order}u8")
    tags = dict(raster.tags)
    for tag, number in ((_HEIGHT, shape[0]), (_WIDTH, shape[1])):
        tags[tag] = _LONG8, 1, struct.pack(f"{order}Q", number)
    tags[_TILE_SIZES] = _LONG8, len(blocks), sizes.tobytes()
    tags[_TILE_OFFSETS] = _LONG8, len(blocks), bytes(sizes.nbytes)
    return tags


def _directory_bytes(tags: Mapping[int, _Values]) -> int:
    return 8 + 20 * len(tags) + 8 + sum(_apart(values) for _, _, values in tags.values())


def _apart(values: bytes) -> int:
    """Return how many bytes values take beside their entry: they begin at multiples of 8."""
    return -(-len(values) // 8) * 8 if len(values) > 8 else 0


def _encoded(order: str, tags: Mapping[int, _Values], start: int, *, is_last: bool) -> bytes:
    """Return a directory that begins at `start`, with the values that are too long for its entries behind it."""
    entries, behind = bytearray(struct.pack(f"{order}Q", len(tags))), bytearray()
    values_start = start + 8 + 20 * len(tags) + 8
    for tag, (kind, count, values) in sorted(tags.items()):
        if len(values) <= 8:
            place = values.ljust(8, b"\0")
        else:
            place = struct.pack(f"{order}Q", values_start + len(behind))
            behind += values.ljust(_apart(values), b"\0")
        entries += struct.pack(f"{order}{_ENTRY}", tag, kind, count, place)
    following = 0 if is_last else start + _directory_bytes(tags)
    return bytes(entries + struct.pack(f"{order}Q", following) + behind)


def merged(blocks: Iterator[tuple[int, int]] | Sequence[tuple[int, int]], gap_bytes: int) -> list[tuple[int, int]]:
    """Return ranges (start, end) of a file that hold blocks, given as (offset, size); near ones become one.

    Args:
        blocks: in any order.
        gap_bytes: longest gap that is fetched too.
    """
    ranges: list[tuple[int, int]] = []
    for offset, size in sorted(blocks):
        if ranges and offset <= ranges[-1][1] + gap_bytes:
            ranges[-1] = ranges[-1][0], max(ranges[-1][1], offset + size)
        else:
            ranges.append((offset, offset + size))
    return ranges


def can_be_read_by_parts(file: BinaryIO, size_bytes: int) -> bool:
    """Return whether a file is a TIFF that can be read by parts; `size_bytes` is its size."""
    return read_tiled_tiff(file, size_bytes) is not None
