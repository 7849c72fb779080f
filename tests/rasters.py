"""Small real images and geometries for tests.

Every cell's content is random, so that a chip that is off by one cell, band, row order or turn shows. Geometries are
written in pixel coordinates, (column, row) from the image's upper left corner, and moved to the map with `to_map`.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from shapely.geometry.base import BaseGeometry

type Box = tuple[int, int, int, int]
"""(first column, first row, columns, rows)."""

NORTH_UP: Final = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
SOUTH_UP: Final = Affine(0.5, 0, 500_000, 0, 0.5, 5_000_000)


def rotated(degrees: float, cell: float = 0.5, origin: tuple[float, float] = (500_000, 5_000_000)) -> Affine:
    """Return the transform of a grid turned counterclockwise around its upper left corner, square cells."""
    cosine, sine = cell * math.cos(math.radians(degrees)), cell * math.sin(math.radians(degrees))
    return Affine(cosine, sine, origin[0], sine, -cosine, origin[1])


def random_values(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 0) -> NDArray[Any]:
    """Return random values over the range of the dtype's everyday use; integers avoid 0, so that 0 means zeroed."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.uniform(-1000, 1000, shape).astype(kind)
    high = min(int(np.iinfo(kind).max), 10**6)
    return rng.integers(1, high, shape, dtype=kind, endpoint=True)


def make_raster(
    path: Path,
    *,
    width: int = 64,
    height: int = 48,
    bands: int = 3,
    dtype: str = "uint8",
    crs: str | None = "EPSG:32633",
    transform: Affine | None = None,
    values: NDArray[Any] | None = None,
    nodata: float | None = None,
    nodata_boxes: Sequence[Box] = (),
    mask: NDArray[np.bool_] | None = None,
    alpha: bool | NDArray[np.uint8] = False,
    tiled: bool = True,
    blocksize: int = 512,
    compress: str | None = None,
    driver: str = "GTiff",
    seed: int = 0,
    colormap: Mapping[int, tuple[int, int, int, int]] | None = None,
    statistics: tuple[float, float] | None = None,
    descriptions: Sequence[str] = (),
    overviews: Sequence[int] = (),
    **options: Any,
) -> Path:
    """Write an image and return its path.

    Args:
        path: where to.
        width: columns.
        height: rows.
        bands: number of bands, not counting alpha.
        dtype: of all bands.
        crs: None = no spatial reference (then no transform either, unless one is given).
        transform: from pixel to map coordinates; `NORTH_UP` where there is a CRS and none is given.
        values: `(bands, height, width)` to write; width, height, bands and dtype are then taken from it.
        nodata: the nodata value; random cells do not have it.
        nodata_boxes: the cells that get the nodata value in all bands.
        mask: internal mask, `(height, width)`, True = valid.
        alpha: whether to add an alpha band, 255 everywhere; an array `(height, width)` is its content.
        tiled: blocks of `blocksize`, else strips.
        blocksize: side of a block in cells; a strip has so many rows.
        compress: GDAL's name of the compression.
        driver: GDAL's name of the format.
        seed: of the random values.
        colormap: palette of the first band.
        statistics: minimum and maximum recorded for each band.
        descriptions: of the bands.
        overviews: decimation factors of internal overviews.
        **options: creation options of the driver.
    """
    if values is None:
        values = random_values((bands, height, width), dtype, seed)
        if nodata is not None:
            values[values == nodata] = _another(nodata)
    values = values.copy()
    for column, row, columns, rows in nodata_boxes:
        values[:, row : row + rows, column : column + columns] = nodata
    data_bands = len(values)
    if alpha is not False:
        opacity = np.full(values.shape[1:], 255) if alpha is True else alpha
        values = np.concatenate([values, opacity[np.newaxis].astype(values.dtype)])
    profile: dict[str, Any] = {
        "driver": driver,
        "count": len(values),
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype.name,
        "crs": crs,
        "transform": transform or (NORTH_UP if crs else None),
        "nodata": nodata,
        **(_layout(tiled, blocksize, compress) if driver == "GTiff" else {}),
        **options,
    }
    with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **{key: value for key, value in profile.items() if value is not None}) as image:
            if alpha is not False:
                image.colorinterp = [*image.colorinterp[:data_bands], ColorInterp.alpha]
            _describe(image, colormap, statistics, descriptions)
            image.write(values)
            if mask is not None:
                image.write_mask(mask)
            if overviews:
                image.build_overviews(list(overviews))
    return path


def _another(nodata: float) -> float:
    """Return a value near a nodata value that fits where it fits."""
    return nodata + 1 if nodata <= 0 else nodata - 1


def _layout(tiled: bool, blocksize: int, compress: str | None) -> dict[str, Any]:
    """Return a GeoTIFF's creation options."""
    block = {"tiled": True, "blockxsize": blocksize, "blockysize": blocksize} if tiled else {"blockysize": blocksize}
    # Unless told, GDAL takes the fourth of four uint8 bands for alpha; a real alpha band is marked afterwards.
    return {**block, "compress": compress, "alpha": "unspecified"}


def _describe(
    image: Any,
    colormap: Mapping[int, tuple[int, int, int, int]] | None,
    statistics: tuple[float, float] | None,
    descriptions: Sequence[str],
) -> None:
    if colormap is not None:
        image.write_colormap(1, dict(colormap))
    if statistics is not None:
        for band in image.indexes:
            image.update_tags(band, STATISTICS_MINIMUM=statistics[0], STATISTICS_MAXIMUM=statistics[1])
    for band, description in enumerate(descriptions, 1):
        image.set_band_description(band, description)


def to_map(geometry: BaseGeometry, transform: Affine = NORTH_UP) -> BaseGeometry:
    """Return a geometry in pixel coordinates as one in map coordinates."""
    a, b, c, d, e, f = transform[:6]

    def moved(cells: NDArray[np.float64]) -> NDArray[np.float64]:
        column, row = cells[:, 0], cells[:, 1]
        return np.column_stack([a * column + b * row + c, d * column + e * row + f])

    return shapely.transform(geometry, moved)


def box_around(column: float, row: float, width: float, height: float) -> shapely.Polygon:
    """Return a box by its centre, in pixel coordinates."""
    return shapely.box(column - width / 2, row - height / 2, column + width / 2, row + height / 2)


def box_with_hole(outer: shapely.Polygon, *holes: shapely.Polygon) -> shapely.Polygon:
    """Return a polygon with other polygons' outlines as its holes."""
    return shapely.Polygon(outer.exterior.coords, [hole.exterior.coords for hole in holes])


def triangle_through_centres(column: int, row: int, side: int) -> shapely.Polygon:
    """Return the right triangle whose three edges run through the cell centres of its legs and diagonal.

    Its right angle is at the centre of cell (column, row), its legs run to the right and downwards.
    """
    x, y = column + 0.5, row + 0.5
    return shapely.Polygon([(x, y), (x + side, y), (x, y + side)])


def multi_part(*parts: shapely.Polygon) -> shapely.MultiPolygon:
    """Return polygons, also overlapping ones, as the parts of one."""
    return shapely.MultiPolygon(list(parts))
