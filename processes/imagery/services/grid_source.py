"""An image that a service gives tile by tile. Tiles are fetched when their cells are read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import msgspec
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from processes.errors import ForbiddenError, ImageError, InputError
from processes.imagery.grid import Mask
from processes.imagery.remote_source import RemoteAccess
from processes.imagery.services.any_service import AnyService
from processes.imagery.services.tile_content import ServedTile, decode_tile, fetch_tile
from processes.imagery.services.tile_grid import TileGrid
from processes.settings import Settings
from processes.sources.host_links import display_link
from processes.sources.stamps import FileStamp

_KEPT_TILES = 4
_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


class GridSource(msgspec.Struct, frozen=True, tag="service"):
    """An image of a service."""

    service: AnyService
    grid: TileGrid
    name: str
    bands: int = 3
    """Of data; alpha is none."""
    dtype: str = "uint8"
    warnings: tuple[str, ...] = ()
    settings: Settings | None = None
    """Name the allowed hosts; None = in a saved plan."""

    @property
    def location(self) -> str:
        return self.service.href(self.grid.window(0, 0))

    @property
    def paths(self) -> tuple[Path, ...]:
        return ()

    def open(self) -> GridReader:
        if self.settings is None:
            raise ImageError(f"image {self.name!r} cannot be reached here")
        return GridReader(self, self.settings)

    def open_bytes(self) -> BinaryIO:
        raise OSError("a service has no bytes of an image")

    def crs_beside(self) -> CRS | None:
        return None

    def approximation_beside(self) -> str | None:
        return None

    def stamp(self, pointer: str) -> FileStamp | None:
        return None

    def named(self, name: str) -> Self:
        return msgspec.structs.replace(self, name=name)

    def save(self, folder: Path, keep: Callable[[str, Path], None]) -> Self:
        return msgspec.structs.replace(self, settings=None)

    def locate(self, fetch: Callable[[str], Path], access: RemoteAccess | None) -> Self:
        return msgspec.structs.replace(self, settings=None if access is None else access.settings)


class GridReader:
    """Reads the cells of a service as those of one dataset, with as much of its interface as is used.

    Args:
        source: the image.
        settings: name the allowed hosts.
    """

    driver = "service"
    gcps: tuple[list[Any], None] = ([], None)

    def __init__(self, source: GridSource, settings: Settings) -> None:
        grid = source.grid
        self._source = source
        self._settings = settings
        self._tiles: OrderedDict[tuple[int, int], ServedTile | None] = OrderedDict()
        self.width, self.height = grid.width, grid.height
        self.transform: Affine = grid.transform
        self.crs = CRS.from_wkt(grid.crs_wkt)
        self.count = source.bands
        self.indexes = tuple(range(1, self.count + 1))
        self.dtypes = (source.dtype,) * self.count
        is_picture = source.bands == len(_RGB) and source.dtype == "uint8"
        self.colorinterp = _RGB if is_picture else (ColorInterp.undefined,) * self.count
        self.descriptions = (None,) * self.count
        self.scales, self.offsets = (1.0,) * self.count, (0.0,) * self.count
        self.block_shapes = [(grid.tile_height, grid.tile_width)] * self.count
        self.mask_flag_enums = [[MaskFlags.per_dataset]] * self.count
        self.warnings = source.warnings

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget the tiles."""
        self._tiles.clear()

    def tags(self, index: int | None = None, ns: str | None = None) -> dict[str, str]:
        """Return no tags; arguments are those of a dataset."""
        return {}

    def read(self, indexes: int | Sequence[int], window: Window, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return cells, `(bands, height, width)`, of one band `(height, width)`; 0 where there is no tile.

        Args:
            indexes: of the bands, from 1.
            window: of the image.
            out: gets the cells.
        """
        if isinstance(indexes, int):
            band: NDArray[Any] = self.read([indexes], window)[0]
            return band
        shape = (len(indexes), int(window.height), int(window.width))
        cells = np.zeros(shape, self._source.dtype) if out is None else out
        cells[...] = 0
        for tile, inner, place in self._parts(window):
            if tile is not None:
                cells[:, *place] = tile.cells[[index - 1 for index in indexes]][:, *inner]
        return cells

    def read_masks(self, indexes: int | Sequence[int], window: Window) -> NDArray[np.uint8]:
        """Return which cells are valid, 255 = valid: `(height, width)`, or that for each band.

        Args:
            indexes: of the bands, from 1; all have the same mask.
            window: of the image.
        """
        mask: Mask = np.zeros((int(window.height), int(window.width)), bool)
        for tile, inner, place in self._parts(window):
            if tile is not None:
                mask[place] = True if tile.valid is None else tile.valid[inner]
        whole = mask.astype(np.uint8) * 255
        return whole if isinstance(indexes, int) else np.stack([whole] * len(indexes))

    def _parts(self, window: Window) -> list[tuple[ServedTile | None, tuple[slice, slice], tuple[slice, slice]]]:
        """Return the tiles that a window touches, each with the part that the window has, and where it is in that."""
        grid = self._source.grid
        left, top = int(window.col_off), int(window.row_off)
        right, bottom = left + int(window.width), top + int(window.height)
        parts = []
        for row in range(top // grid.tile_height, (bottom - 1) // grid.tile_height + 1):
            y = row * grid.tile_height
            y1, y2 = max(top, y), min(bottom, y + grid.tile_height)
            for column in range(left // grid.tile_width, (right - 1) // grid.tile_width + 1):
                x = column * grid.tile_width
                x1, x2 = max(left, x), min(right, x + grid.tile_width)
                inner = slice(y1 - y, y2 - y), slice(x1 - x, x2 - x)
                place = slice(y1 - top, y2 - top), slice(x1 - left, x2 - left)
                parts.append((self._tile(row, column), inner, place))
        return parts

    def _tile(self, row: int, column: int) -> ServedTile | None:
        key = row, column
        if key not in self._tiles:
            self._tiles[key] = self._fetched(row, column)
            if len(self._tiles) > _KEPT_TILES:
                self._tiles.popitem(last=False)
        self._tiles.move_to_end(key)
        return self._tiles[key]

    def _fetched(self, row: int, column: int) -> ServedTile | None:
        """Return a tile; None = the service has none there.

        Raises:
            ImageError: the service does not give it.
        """
        source = self._source
        window, service = source.grid.window(row, column), source.service
        href = service.href(window)
        try:
            content = fetch_tile(href, self._settings, service.accept, service.may_be_absent)
        except (ForbiddenError, InputError) as err:
            raise ImageError(f"image {source.name!r}: {err.detail}") from err
        if content is None:
            return None
        shown = f"image {source.name!r}: {display_link(href)}"
        return _conformed(decode_tile(content, window, source.bands, shown), source)


def _conformed(tile: ServedTile, source: GridSource) -> ServedTile:
    """Return a tile with the bands of the image: a grey picture may be one of a coloured one."""
    cells = tile.cells
    if len(cells) == 1 and source.bands == len(_RGB) and cells.dtype == source.dtype:
        cells = np.repeat(cells, source.bands, axis=0)
    if len(cells) != source.bands or cells.dtype != source.dtype:
        raise ImageError(
            f"image {source.name!r}: a tile has {len(cells)} bands of type {cells.dtype}, where {source.bands} of type "
            f"{source.dtype} are expected"
        )
    return ServedTile(cells, tile.valid)
