"""Images as tiles of a web map.

A tile is read from the overview that suits it, and costs some tenths of a second at most: where it would cost more, it
is not made.

rio-tiler does such work too. It has other rules for what is nodata than chips have, and is a dozen packages more, so
this is GDAL's own reading and warping.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject
from rasterio.windows import Window

from processes.crs import CRS84, horizontal, parse_crs
from processes.crs.transform import transformer_between
from processes.crs.web_mercator import MAX_ZOOM, WORLD_METRES, TileAddress, WorldBox, to_longitude_latitude, to_world
from processes.imagery.image import Image
from processes.imagery.map_cells import MapCells, map_cells

TILE_PX = 512
_MAX_BYTES = 2**26
"""Cells that are decoded for a tile of an image have no more bytes."""
_SAMPLE_PX = 256
_STRETCH = (2, 98)
"""Percentiles of the cells of a sample that are shown as black and as white, where no range of the cells is known."""
_EDGE_PLACES = 9
_LEAST = 1e-12
_COLORS = 3

Picture = NDArray[np.uint8]
"""Red, green, blue and alpha, `(4, height, width)`."""


class ShownImage(msgspec.Struct, frozen=True):
    """An image as a map shows it."""

    image: Image
    bands: tuple[int, ...]
    """Indices of the bands that are red, green and blue, from 0; of one band it is grey."""
    box: WorldBox
    """The box around it, its centre in the world; NaN where it has no place on the map."""

    @property
    def cell_size(self) -> float:
        """About the side of a cell, in units of the world."""
        return max(self.box.east - self.box.west, self.box.south - self.box.north, _LEAST) / max(self.image.shape)


def shown_image(image: Image, bands: Sequence[int]) -> ShownImage:
    """Return an image as a map shows it: the first three bands that a model reads, as the pictures of chips do."""
    return ShownImage(image, tuple(bands[:_COLORS] if len(bands) >= _COLORS else bands[:1]), _box_on_map(image))


def _box_on_map(image: Image) -> WorldBox:
    """Return the box of an image with a reference on the map; NaN where it has no place there."""
    share = np.linspace(0, 1, _EDGE_PLACES)
    x, y = (sides.reshape(-1) for sides in np.meshgrid(share * image.grid.width, share * image.grid.height))
    longitude, latitude = _transformer(image, True).transform(*image.grid.to_map(np.stack([x, y], axis=1)).T)
    places = to_world(np.stack([longitude, latitude], axis=1))
    places = places[np.isfinite(places).all(axis=1)]
    if not len(places):
        return WorldBox(math.nan, math.nan, math.nan, math.nan)
    (west, north), (east, south) = places.min(axis=0).tolist(), places.max(axis=0).tolist()
    turn = math.floor((west + east) / 2)
    return WorldBox(west - turn, north, east - turn, south)


def zooms(shown: ShownImage) -> tuple[int, int]:
    """Return the first zoom at which tiles of an image do not cost too much, and the last one.

    At the last one its cells are about as large as those of a tile.

    Raises:
        ImageError: it cannot be read.
    """
    image, box = shown.image, shown.box
    last = max(0, min(MAX_ZOOM, math.ceil(-math.log2(shown.cell_size * TILE_PX))))
    middle = (box.west + box.east) / 2, (box.north + box.south) / 2
    with map_cells(image) as cells:
        for zoom in range(last):
            address = TileAddress(zoom, *(int(place * 2**zoom) for place in middle))
            window = _window(shown, address)
            if window is None or cells.cost(window, _factor(shown, address)) <= _MAX_BYTES:
                return zoom, last
    return last, last


def draw(shown: ShownImage, address: TileAddress, picture: Picture) -> None:
    """Draw an image where nothing is drawn yet.

    Args:
        shown: the image.
        address: of the tile.
        picture: the tile, `(4, TILE_PX, TILE_PX)`.

    Raises:
        ImageError: the image cannot be read.
    """
    image = shown.image
    window, factor = _window(shown, address), _factor(shown, address)
    if window is None:
        return
    with map_cells(image) as cells:
        if cells.cost(window, factor) > _MAX_BYTES:
            return
        own = _read(cells, shown, window, factor)
        side = WORLD_METRES / 2**address.zoom
        drawn = np.zeros_like(picture)
        reproject(
            own,
            drawn,
            src_transform=_transform(image, window, (window.width / own.shape[2], window.height / own.shape[1])),
            src_crs=CRS.from_wkt(image.grid.crs_wkt),
            src_alpha=4,
            dst_transform=Affine(
                side / TILE_PX,
                0,
                address.column * side - WORLD_METRES / 2,
                0,
                -side / TILE_PX,
                WORLD_METRES / 2 - address.row * side,
            ),
            dst_crs=CRS.from_epsg(3857),
            dst_alpha=4,
            resampling=Resampling.bilinear if factor > 1 else Resampling.nearest,
        )
    np.copyto(picture, drawn, where=picture[3] == 0)


def _transformer(image: Image, is_forward: bool) -> Any:
    own, lonlat = horizontal(image.grid.crs).to_wkt(), parse_crs(CRS84).to_wkt()
    return transformer_between(own, lonlat) if is_forward else transformer_between(lonlat, own)


def _window(shown: ShownImage, address: TileAddress) -> Window | None:
    """Return the cells of an image that a tile may show, with one more all around; None = there are none."""
    image, box = shown.image, shown.box
    share, found = np.linspace(0, 1, _EDGE_PLACES), []
    for world in (0, 1, -1):
        tile = WorldBox(address.box.west + world, address.box.north, address.box.east + world, address.box.south)
        west, north = max(tile.west, box.west), max(tile.north, box.north)
        east, south = min(tile.east, box.east), min(tile.south, box.south)
        if not (west < east and north < south):
            continue
        left, bottom, right, top = to_longitude_latitude(WorldBox(west, north, east, south))
        longitude, latitude = np.meshgrid(left + share * (right - left), bottom + share * (top - bottom))
        x, y = _transformer(image, False).transform(longitude.reshape(-1), latitude.reshape(-1))
        for offset in (0.0,) if image.grid.turn is None else (0.0, image.grid.turn, -image.grid.turn):
            places = image.grid.to_pixels(np.stack([np.asarray(x) + offset, y], axis=1))
            places = places[np.isfinite(places).all(axis=1)]
            if len(places):
                low = np.maximum(np.floor(places.min(axis=0)) - 1, 0)
                high = np.minimum(np.ceil(places.max(axis=0)) + 1, [image.grid.width, image.grid.height])
                found.append((*low.tolist(), *np.maximum(high - low, 0).tolist()))
    largest = max(found, key=lambda item: item[2] * item[3], default=(0, 0, 0, 0))
    return Window(*map(int, largest)) if min(largest[2:]) > 0 else None


def _transform(image: Image, window: Window, scale: tuple[float, float]) -> Affine:
    """Return the transform of a window's cells, so many times wider and higher than those of the image."""
    t, (across, along) = image.grid.transform, scale
    ((x, y),) = image.grid.to_map(np.array([[window.col_off, window.row_off]], np.float64)).tolist()
    return Affine(t.a * across, t.b * along, x, t.d * across, t.e * along, y)


def _factor(shown: ShownImage, address: TileAddress) -> float:
    """Return how many cells of an image along a side become one cell of a tile, at least 1."""
    return max(1.0, 0.5**address.zoom / TILE_PX / shown.cell_size)


def _read(opened: MapCells, shown: ShownImage, window: Window, factor: float) -> Picture:
    """Return a window in colours, so many times smaller."""
    shape = max(1, round(window.height / factor)), max(1, round(window.width / factor))
    cells, mask = opened.read(shown.bands, window, shape)
    ranges = None if cells.dtype == np.uint8 else _ranges(opened, shown, cells)
    planes = [_in_bytes(band, None if ranges is None else ranges[number]) for number, band in enumerate(cells)]
    opaque = np.full(shape, 255, np.uint8) if mask is None else np.where(mask, 255, 0).astype(np.uint8)
    return np.stack([*(planes if len(planes) == _COLORS else planes * _COLORS), opaque])


def _ranges(opened: MapCells, shown: ShownImage, cells: NDArray[Any]) -> list[tuple[float, float]]:
    """Return which values of each band are black and white: its statistics, else what is usual in a sample of it."""
    image = shown.image
    known = [image.ranges[band] for band in shown.bands]
    whole = _of_type(cells.dtype)
    if all(found is not None and found != whole for found in known):
        return [found for found in known if found is not None]
    width, height = image.grid.width, image.grid.height
    window = Window(0, 0, width, height)
    factor = max(1.0, max(width, height) / _SAMPLE_PX)
    if opened.cost(window, factor) > _MAX_BYTES // 8:
        side = min(width, height, 2 * _SAMPLE_PX)
        window = Window((width - side) // 2, (height - side) // 2, side, side)
        factor = max(1.0, side / _SAMPLE_PX)
    shape = max(1, int(window.height / factor)), max(1, int(window.width / factor))
    sample, mask = opened.read(shown.bands, window, shape)
    ranges = []
    for band, here in zip(sample, cells, strict=True):
        values = band[np.isfinite(band) if mask is None else mask & np.isfinite(band)]
        values = values if values.size else here[np.isfinite(here)]
        low, high = np.percentile(values, _STRETCH).tolist() if values.size else (0.0, 1.0)
        ranges.append((low, high))
    return ranges


def _of_type(dtype: np.dtype[Any]) -> tuple[float, float] | None:
    if dtype.kind not in "ui":
        return None
    return float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)


def _in_bytes(band: NDArray[Any], limits: tuple[float, float] | None) -> NDArray[np.uint8]:
    if limits is None:
        return band.astype(np.uint8)
    low, high = limits
    with np.errstate(invalid="ignore", over="ignore"):
        levels = (band.astype(np.float64) - low) * (255 / (high - low if high > low else 1.0))
    return np.rint(np.clip(np.nan_to_num(levels), 0, 255)).astype(np.uint8)
