"""The tiles of an image of a service: fetched by several threads, and opened one by one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec
import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.windows import Window

from processes.errors import ImageError
from processes.imagery.cell_reader import CellReader
from processes.imagery.grid import Mask
from processes.imagery.remote_source import TilePlace, TileRequest
from processes.imagery.services.any_service import AnyService
from processes.imagery.services.tile_content import ServedTile, decode_tile, require_picture
from processes.imagery.services.tile_grid import TileGrid
from processes.settings import Settings
from processes.sources.host_links import display_link

_MAX_TILE_BYTES = 2**26
_ABSENT = (204, 404)
"""Statuses of tiles that are not there, in pyramids that may lack some."""
_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


class ServedGrid(msgspec.Struct, frozen=True):
    """The cells of an image of a service, and how they are asked for."""

    service: AnyService
    grid: TileGrid
    bands: int
    dtype: str
    name: str
    """What the client calls the image."""

    @property
    def tile_bytes(self) -> int:
        """Size of a tile, decoded."""
        return self.grid.tile_height * self.grid.tile_width * self.bands * np.dtype(self.dtype).itemsize


class ServiceTiles:
    """What is fetched for the tiles of an image of a service.

    Args:
        served: the image.
        settings: name the allowed hosts, and the limits.
    """

    def __init__(self, served: ServedGrid, settings: Settings) -> None:
        from processes.sources.host_requests import PASSING, HostRequests  # slow to import, and most images are files

        self._served = served
        self._requests = HostRequests(settings)
        self._passing = set(PASSING) - {500}
        """Statuses of answers that may be others when asked again; services answer with 500 when they refuse."""

    def key(self, tile: TilePlace) -> str:
        return f"service {self._href(tile)}"

    def requests(self, tiles: Sequence[TilePlace]) -> list[TileRequest]:
        return [TileRequest((tile,), self._served.tile_bytes) for tile in tiles]

    def fetch(self, request: TileRequest) -> list[bytes]:
        return [self._answer(self._href(tile)) for tile in request.tiles]

    def open_tile(self, tile: TilePlace, content: bytes) -> DatasetReader:
        served, window = self._served, self._served.grid.window(*tile)
        if not content:
            cells = np.zeros((served.bands, window.height, window.width), served.dtype)
            return _TileReader(served, ServedTile(cells, np.zeros(cells.shape[1:], bool)))
        decoded = decode_tile(content, window, served.bands, display_link(self._href(tile)))
        return _TileReader(served, _conformed(decoded, served))

    def close(self) -> None:
        self._requests.close()

    def _href(self, tile: TilePlace) -> str:
        return self._served.service.href(self._served.grid.window(*tile))

    def _answer(self, href: str) -> bytes:
        """Return what a service answers; empty = it has no such tile.

        Raises:
            ForbiddenError, InputError: it does not answer, or not with a picture.
        """
        service = self._served.service
        absent = _ABSENT if service.may_be_absent else ()
        content = self._requests.fetch(href, service.accept, _MAX_TILE_BYTES, self._passing, absent)
        if content is None:
            return b""
        require_picture(content, display_link(href))
        return content


class GridReader(CellReader):
    """Tells what an image of a service is; its cells are had tile by tile.

    Args:
        served: the image.
        warnings: what its user should know.
    """

    driver = "service"

    def __init__(self, served: ServedGrid, warnings: tuple[str, ...]) -> None:
        grid = served.grid
        place = grid.transform, CRS.from_wkt(grid.crs_wkt), grid.height, grid.width
        super().__init__(place, (served.dtype,) * served.bands, (grid.tile_height, grid.tile_width))
        if served.bands == len(_RGB) and served.dtype == "uint8":
            self.colorinterp = _RGB
        self.warnings = warnings

    def _band(self, index: int, window: Window, shape: tuple[int, int]) -> NoReturn:
        raise io.UnsupportedOperation("an image of a service is read tile by tile")

    def _mask(self, window: Window, shape: tuple[int, int]) -> NoReturn:
        raise io.UnsupportedOperation("an image of a service is read tile by tile")


class _TileReader(CellReader):
    """Reads the cells of a tile.

    Args:
        served: the image.
        tile: what the service gave.
    """

    driver = "tile"

    def __init__(self, served: ServedGrid, tile: ServedTile) -> None:
        shape = tile.cells.shape[1:]
        super().__init__((served.grid.transform, None, *shape), (served.dtype,) * served.bands, shape)
        self._tile = tile

    def _band(self, index: int, window: Window, shape: tuple[int, int]) -> NDArray[Any]:
        cells: NDArray[Any] = self._tile.cells[index - 1][_slices(window)]
        return cells

    def _mask(self, window: Window, shape: tuple[int, int]) -> Mask:
        return np.ones(shape, bool) if self._tile.valid is None else self._tile.valid[_slices(window)]


def _slices(window: Window) -> tuple[slice, slice]:
    rows, columns = window.toslices()
    return rows, columns


def _conformed(tile: ServedTile, served: ServedGrid) -> ServedTile:
    """Return a tile with the bands of the image: a grey picture may be one of a coloured one."""
    cells = tile.cells
    if len(cells) == 1 and served.bands == len(_RGB) and cells.dtype == served.dtype:
        cells = np.repeat(cells, served.bands, axis=0)
    if len(cells) != served.bands or cells.dtype != served.dtype:
        raise ImageError(
            f"image {served.name!r}: a tile has {len(cells)} bands of type {cells.dtype}, where {served.bands} of type "
            f"{served.dtype} are expected"
        )
    return ServedTile(cells, tile.valid)
