"""An image that a service gives tile by tile: an image that is read by parts."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection
from pathlib import Path
from typing import BinaryIO, Self

import msgspec
from rasterio.crs import CRS
from rasterio.io import DatasetReader

from processes.errors import ImageError
from processes.imagery.remote_source import RemoteAccess
from processes.imagery.services.any_service import AnyService
from processes.imagery.services.service_tiles import GridReader, ServedGrid, ServiceTiles
from processes.imagery.services.tile_grid import TileGrid
from processes.sources.stamps import FileStamp


class GridSource(msgspec.Struct, frozen=True, tag="service"):
    """An image of a service."""

    service: AnyService
    grid: TileGrid
    name: str
    bands: int = 3
    """Of data; alpha is none."""
    dtype: str = "uint8"
    warnings: tuple[str, ...] = ()
    access: RemoteAccess | None = None
    """How it is reached; None = in a saved plan."""

    @property
    def served(self) -> ServedGrid:
        return ServedGrid(self.service, self.grid, self.bands, self.dtype, self.name)

    @property
    def location(self) -> str:
        return self.service.href(self.grid.window(0, 0))

    @property
    def paths(self) -> tuple[Path, ...]:
        return ()

    @property
    def tile(self) -> tuple[int, int]:
        return self.grid.tile_height, self.grid.tile_width

    def open(self) -> DatasetReader:
        return GridReader(self.served, self.warnings)

    def open_bytes(self) -> BinaryIO:
        raise io.UnsupportedOperation("a service has no bytes of an image")

    def crs_beside(self) -> CRS | None:
        return None

    def approximation_beside(self) -> str | None:
        return None

    def stamp(self, pointer: str) -> FileStamp | None:
        return None

    def named(self, name: str) -> Self:
        return msgspec.structs.replace(self, name=name)

    def save(self, folder: Path, keep: Callable[[str, Path], None]) -> Self:
        return msgspec.structs.replace(self, access=None)

    def locate(self, fetch: Callable[[str], Path], access: RemoteAccess | None) -> Self:
        return msgspec.structs.replace(self, access=access)

    def open_tiles(self, shape: tuple[int, int], tile: tuple[int, int], bands: Collection[int] | None) -> ServiceTiles:
        if self.access is None:
            raise ImageError(f"image {self.name!r} cannot be reached here")
        if shape != (self.grid.height, self.grid.width) or tile != self.tile:
            raise ValueError("not the grid that it was")
        return ServiceTiles(self.served, self.access.settings)

    def coarser(self, factor: int) -> tuple[Self, tuple[float, float]] | None:
        if not self.service.takes_any_box:
            return None
        return msgspec.structs.replace(self, grid=self.grid.coarser(factor)), (factor, factor)
