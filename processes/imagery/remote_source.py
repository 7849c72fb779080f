"""Images that lie elsewhere and are read by parts.

A source of this kind gives a `RemoteImage`, which knows what has to be fetched for each tile, and makes of that what
GDAL opens. `processes.imagery.tile_fetching` fetches, ahead of those who read, whatever the kind is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Protocol, Self, runtime_checkable

import msgspec
import rasterio
from rasterio.crs import CRS
from rasterio.io import DatasetReader

from processes.errors import ImageError
from processes.imagery.sidecars import refuse_overview_file
from processes.imagery.tiled_tiff import TiledTiff, merged, overview_shapes, read_tiled_tiff
from processes.settings import Settings
from processes.sources.part_cache import PartCache
from processes.sources.ranges import RemoteBytes, open_ranges
from processes.sources.remote_files import RangeReader, RemoteFile
from processes.sources.stamps import FileStamp

_GAP_BYTES = 2**12
"""Longest gap between blocks that is fetched with them: COGs have some bytes between theirs."""
_REQUEST_BYTES = 2**20
"""A request gets no further tile once it has so many bytes."""

_ROUNDED = 1.01
"""Sides of overviews are rounded up: their cells are a little smaller than they are meant to be, or larger."""

TilePlace = tuple[int, int]
"""Row and column of a tile, among the tiles of its image."""


class RemoteAccess(msgspec.Struct, frozen=True):
    """How remote images are reached while a step is done."""

    settings: Settings
    cache: PartCache
    """Of the job."""


class TileRequest(msgspec.Struct, frozen=True):
    """Tiles of one image that are fetched together."""

    tiles: Sequence[TilePlace]
    size_bytes: int


class RemoteImage(Protocol):
    """What has to be fetched for the tiles of a remote image, and how it is opened. Several threads use it."""

    def key(self, tile: TilePlace) -> str:
        """Return what a tile's content is kept under."""

    def requests(self, tiles: Sequence[TilePlace]) -> list[TileRequest]:
        """Return what is fetched for tiles, in the order in which the tiles are given; neighbours go together.

        Tiles that need nothing are left out.
        """

    def fetch(self, request: TileRequest) -> list[bytes]:
        """Return the content of each tile of a request.

        Raises:
            ForbiddenError, InputError: it cannot be fetched.
        """

    def open_tile(self, tile: TilePlace, content: bytes) -> DatasetReader:
        """Open a tile alone, of its content; empty content is that of a tile that needs nothing."""

    def close(self) -> None:
        """Close what the calling thread has open."""


@runtime_checkable
class RemoteImageSource(Protocol):
    """An `ImageSource` of an image that is read by parts."""

    @property
    def access(self) -> RemoteAccess | None:
        """How it is reached; None = in a saved plan."""

    @property
    def tile(self) -> tuple[int, int] | None:
        """(height, width) of the tiles in which it is read, in cells; None = as its blocks suggest."""

    def open_tiles(self, shape: tuple[int, int], tile: tuple[int, int], bands: Collection[int] | None) -> RemoteImage:
        """Open the image to read tiles of it.

        Args:
            shape: (height, width) of the image, in cells.
            tile: (height, width) of its tiles.
            bands: indices of those that will be read, from 0; None = all.

        Raises:
            ForbiddenError, InputError: it cannot be reached.
            ValueError: it is broken.
        """

    def coarser(self, factor: int) -> tuple[Self, tuple[float, float]] | None:
        """Return a source of the same image with larger cells, to be looked at; None = there is none.

        Its cells are at most so many times as high and wide. Beside it stands how many times they are.

        Raises:
            ForbiddenError, InputError: the image cannot be reached.
        """


class RemoteTiffSource(msgspec.Struct, frozen=True, tag="remote-tiff"):
    """A TIFF of tiles on a host or in an object store."""

    file: RemoteFile
    name: str
    access: RemoteAccess | None = None
    level: int = 0
    """Of its overviews, counted from 1, the one that is read; 0 = the image itself."""

    @property
    def tile(self) -> None:
        return None

    @property
    def location(self) -> str:
        return self.file.href

    @property
    def paths(self) -> tuple[Path, ...]:
        return ()

    def open(self) -> DatasetReader:
        with self._bytes() as file:
            tiff = read_tiled_tiff(file.as_file(), self.file.size_bytes, level=self.level)
        if tiff is None:
            raise ValueError("not a TIFF that can be read by parts")
        dataset = open_content(tiff.header(), "GTiff")
        try:
            refuse_overview_file(dataset.tags(ns="OVERVIEWS"), self.name)
        except ImageError:
            dataset.close()
            raise
        return dataset

    def open_bytes(self) -> BinaryIO:
        return self._bytes().as_file()

    def crs_beside(self) -> CRS | None:
        return None

    def approximation_beside(self) -> str | None:
        return None

    def stamp(self, pointer: str) -> FileStamp | None:
        return None  # each answer is compared with what is known of the file

    def named(self, name: str) -> Self:
        return msgspec.structs.replace(self, name=name)

    def save(self, folder: Path, keep: Callable[[str, Path], None]) -> Self:
        return msgspec.structs.replace(self, access=None)

    def locate(self, fetch: Callable[[str], Path], access: RemoteAccess | None) -> Self:
        return msgspec.structs.replace(self, access=access)

    def open_tiles(self, shape: tuple[int, int], tile: tuple[int, int], bands: Collection[int] | None) -> RemoteImage:
        with self._bytes() as file:
            tiff = read_tiled_tiff(file.as_file(), self.file.size_bytes, tile, self.level)
        if tiff is None or (tiff.height, tiff.width) != shape:
            raise ValueError("not the TIFF that it was")
        return _RemoteTiff(f"{self.file.digest} level {self.level}", tiff, tile, bands, self._reader())

    def coarser(self, factor: int) -> tuple[Self, tuple[float, float]] | None:
        with self._bytes() as file:
            shapes = overview_shapes(file.as_file())
        (height, width), found = shapes[0], None
        for level, shape in enumerate(shapes[1:], 1):
            factors = height / shape[0], width / shape[1]
            if max(factors) <= factor * _ROUNDED:
                found = msgspec.structs.replace(self, level=level), factors
        return found

    def _reader(self) -> RangeReader:
        return open_ranges(self.file, self._access().settings)

    def _bytes(self) -> RemoteBytes:
        return RemoteBytes(self.file, self._reader(), self._access().cache)

    def _access(self) -> RemoteAccess:
        if self.access is None:
            raise ImageError(f"image {self.name!r} cannot be reached here")
        return self.access


class _RemoteTiff(msgspec.Struct, frozen=True):
    """The tiles of a TIFF."""

    digest: str
    """Of the file, with what is read of it."""
    tiff: TiledTiff
    tile: tuple[int, int]
    bands: Collection[int] | None
    reader: RangeReader

    def key(self, tile: TilePlace) -> str:
        bands = "" if self.bands is None or len(self.tiff.rasters[0].offsets) == 0 else self._bands_key()
        return f"{self.digest} {self.tile[0]}x{self.tile[1]} {tile[0]} {tile[1]}{bands}"

    def requests(self, tiles: Sequence[TilePlace]) -> list[TileRequest]:
        found: list[tuple[int, TileRequest]] = []
        group: list[TilePlace] = []
        group_bytes, group_end = 0, 0
        order = {tile: place for place, tile in enumerate(tiles)}

        def end_group() -> None:
            if group:
                found.append((min(order[tile] for tile in group), TileRequest(tuple(group), group_bytes)))
                group.clear()

        for tile in sorted(order):
            blocks = self._blocks(tile)
            if not blocks:
                continue
            start, end = blocks[0][0], sum(blocks[0])  # of the first block: those of one row lie side by side
            is_near = 0 <= start - group_end <= _GAP_BYTES and group and group[-1][0] == tile[0]
            if not is_near or group_bytes >= _REQUEST_BYTES:
                end_group()
                group_bytes = 0
            group.append(tile)
            group_bytes += sum(size for _, size in blocks)
            group_end = max(self._row_end(blocks), end)
        end_group()
        return [request for _, request in sorted(found, key=lambda item: item[0])]

    def fetch(self, request: TileRequest) -> list[bytes]:
        blocks = {tile: self._blocks(tile) for tile in request.tiles}
        ranges = merged([block for of_tile in blocks.values() for block in of_tile], _GAP_BYTES)
        read = [(start, self.reader.read(start, end)) for start, end in ranges]

        def content(offset: int, size: int) -> bytes:
            start, found = next(item for item in reversed(read) if item[0] <= offset)
            return found[offset - start : offset - start + size]

        return [b"".join(content(*block) for block in blocks[tile]) for tile in request.tiles]

    def open_tile(self, tile: TilePlace, content: bytes) -> DatasetReader:
        return open_content(self.tiff.part(*self._window(tile), self.bands, content), "GTiff")

    def close(self) -> None:
        self.reader.close()

    def _window(self, tile: TilePlace) -> tuple[int, int, int, int]:
        """Return first row and column, height and width of a tile."""
        top, left = tile[0] * self.tile[0], tile[1] * self.tile[1]
        return top, left, min(self.tile[0], self.tiff.height - top), min(self.tile[1], self.tiff.width - left)

    def _blocks(self, tile: TilePlace) -> list[tuple[int, int]]:
        return self.tiff.blocks(*self._window(tile), self.bands)

    def _row_end(self, blocks: Sequence[tuple[int, int]]) -> int:
        """Return where the blocks end that follow the first one without a gap."""
        end = sum(blocks[0])
        for offset, size in sorted(blocks):
            if 0 <= offset - end <= _GAP_BYTES:
                end = offset + size
        return end

    def _bands_key(self) -> str:
        return f" bands {sorted(self.bands or ())}" if self.tiff.rasters[0].planes > 1 else ""


def open_content(content: bytes, driver: str) -> DatasetReader:
    """Open an image in memory; it is closed with its dataset."""
    return rasterio.open(BytesIO(content), driver=driver)
