"""Opening images: what an image is, without its pixels."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # some of GDAL's errors come out as they are
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from processes.crs import names_places
from processes.errors import ImageError, LimitError
from processes.imagery.grid import Grid

_DRIVERS = {
    b"II*\0": "GTiff",
    b"MM\0*": "GTiff",
    b"II+\0": "GTiff",  # BigTIFF
    b"MM\0+": "GTiff",
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JP2OpenJPEG",
    b"\xff\x4f\xff\x51": "JP2OpenJPEG",
}
"""First bytes of the formats that are read, and GDAL's drivers for them. GDAL itself is never left to guess: what looks
like an image to it may be a VRT, which can point anywhere."""
ENDINGS = (".tif", ".tiff", ".jpg", ".jpeg", ".png", ".jp2", ".j2k")

_GDAL_ERRORS = (RasterioError, CPLE_BaseError)
_MAX_BLOCK_BYTES = 2**30
_TILE_BYTES = 8 * 2**20
_MIN_TILE_PX = 256
_GDAL_OPTIONS = {
    "GDAL_CACHEMAX": 64 * 2**20,  # blocks are read once and kept by us; GDAL's default is a share of the memory
    "GDAL_ERROR_ON_LIBJPEG_WARNING": True,  # a truncated JPEG is an error, not a grey area
}

logging.getLogger("rasterio").setLevel(logging.CRITICAL)  # what goes wrong is raised, in our words
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)


@dataclass(frozen=True, slots=True)
class Image:
    """An image that can be read."""

    name: str
    """What the client calls it; unique within a request."""
    path: Path
    grid: Grid
    """Without reference: cells of side 1."""
    crs_wkt: str | None
    """None = the image has no reference."""
    dtype: np.dtype[np.generic]
    bands: int
    """Bands without alpha; a palette counts as the three that it expands to."""
    band_indexes: tuple[int, ...]
    """Their numbers in the file, from 1."""
    band_names: tuple[str, ...]
    """Descriptions, empty where there is none."""
    palette: NDArray[np.uint8] | None
    """`(256, 3)` colours where the file holds places in a palette."""
    has_mask: bool
    """True = some cells may be nodata: by a value, a mask or alpha."""
    tile: tuple[int, int]
    """(height, width) of the windows to read it in: whole blocks of the file."""

    @property
    def is_georeferenced(self) -> bool:
        return self.crs_wkt is not None


@contextmanager
def gdal_settings() -> Iterator[None]:
    """Read with this project's GDAL options, in this thread."""
    with rasterio.Env(**_GDAL_OPTIONS):
        yield


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn GDAL's failures to read the image `name` into an ImageError."""
    try:
        yield
    except (*_GDAL_ERRORS, OSError, ValueError) as err:
        raise ImageError(f"image {name!r} cannot be read: it is truncated or broken") from err


def open_dataset(path: Path) -> DatasetReader:
    """Open a file with the driver that its first bytes call for.

    Raises:
        ValueError: it is of no format that is read.
    """
    with path.open("rb") as file:
        head = file.read(max(map(len, _DRIVERS)))
    driver = next((driver for magic, driver in _DRIVERS.items() if head.startswith(magic)), None)
    if driver is None:
        raise ValueError("not an image of a known format")
    return rasterio.open(path, driver=driver)


def open_image(path: Path, name: str, max_pixels: int) -> Image:
    """Read the header of an image.

    Args:
        path: the file.
        name: what the client calls it.
        max_pixels: limit of width times height.

    Raises:
        ImageError: not an image of an allowed format, broken, or of a kind that cannot be classified.
        LimitError: more pixels than allowed.
    """
    try:
        with gdal_settings(), open_dataset(path) as dataset:
            return _describe(dataset, path, name, max_pixels)
    except (*_GDAL_ERRORS, OSError, ValueError) as err:
        raise ImageError(
            f"image {name!r} cannot be opened: it is not a sound GeoTIFF, JPEG, PNG or JPEG 2000 file"
        ) from err


def _describe(dataset: DatasetReader, path: Path, name: str, max_pixels: int) -> Image:
    if dataset.width * dataset.height > max_pixels:
        raise LimitError(
            "max_image_pixels", max_pixels, f"image {name!r} has {dataset.width} x {dataset.height} pixels"
        )
    dtypes = {np.dtype(dtype) for dtype in dataset.dtypes}
    if any(dtype.kind not in "uif" for dtype in dtypes):
        raise ImageError(
            f"image {name!r} has cells of type {dataset.dtypes[0]}; whole and real numbers can be classified"
        )
    is_alpha = [color == ColorInterp.alpha for color in dataset.colorinterp]
    indexes = tuple(index for index, alpha in zip(dataset.indexes, is_alpha, strict=True) if not alpha)
    if not indexes:
        raise ImageError(f"image {name!r} has no band but alpha")
    palette = _palette(dataset)
    return Image(
        name=name,
        path=path,
        grid=Grid(dataset.transform, dataset.width, dataset.height),
        crs_wkt=_crs(dataset, name),
        dtype=np.result_type(*dtypes),
        bands=len(indexes) if palette is None else 3,
        band_indexes=indexes,
        band_names=tuple(dataset.descriptions[index - 1] or "" for index in indexes),
        palette=palette,
        has_mask=any(MaskFlags.all_valid not in flags for flags in dataset.mask_flag_enums),
        tile=_tile(dataset, name),
    )


def _crs(dataset: DatasetReader, name: str) -> str | None:
    """Return the CRS of an image that has a geotransform too."""
    has_transform = dataset.transform != Affine.identity()
    if dataset.gcps[0] and not has_transform:
        raise ImageError(f"image {name!r} has ground control points and no geotransform; rectify it first")
    if dataset.crs is None or not has_transform:
        return None
    determinant = dataset.transform.determinant
    if not np.isfinite(dataset.transform[:6]).all() or not np.isfinite(determinant) or determinant == 0:
        raise ImageError(f"image {name!r} has a geotransform that cannot be inverted")
    wkt = str(dataset.crs.to_wkt())
    if not names_places(wkt):
        raise ImageError(f"image {name!r} has a CRS that is not one of places on the ground; set the right one")
    return wkt


def _palette(dataset: DatasetReader) -> NDArray[np.uint8] | None:
    if dataset.count != 1 or dataset.colorinterp[0] != ColorInterp.palette or dataset.dtypes[0] != "uint8":
        return None
    colors = np.zeros((256, 3), np.uint8)
    for place, color in dataset.colormap(1).items():
        if place < 256:
            colors[place] = color[:3]
    return colors


def _tile(dataset: DatasetReader, name: str) -> tuple[int, int]:
    """Choose windows of whole blocks: wide enough to be worth a read, small enough to be kept."""
    height, width = dataset.block_shapes[0]
    cell_bytes = sum(np.dtype(dtype).itemsize for dtype in dataset.dtypes)
    if height * width * cell_bytes > _MAX_BLOCK_BYTES:
        raise ImageError(
            f"image {name!r} is stored in blocks of {width} x {height} cells, too large to read in parts; tile it"
        )
    if width >= dataset.width:
        rows = max(1, _TILE_BYTES // (width * cell_bytes * height)) * height
        return min(rows, dataset.height), dataset.width
    return _whole_blocks(height), _whole_blocks(width)


def _whole_blocks(side: int) -> int:
    return -(-_MIN_TILE_PX // side) * side


def unique_names(names: Iterable[str]) -> list[str]:
    """Return names with a number behind those that occur before: `a.tif`, `a.tif-2`."""
    used: dict[str, int] = {}
    unique: list[str] = []
    taken = set()
    for name in names:
        used[name] = used.get(name, 0) + 1
        candidate = name if used[name] == 1 else f"{name}-{used[name]}"
        while candidate in taken:
            used[name] += 1
            candidate = f"{name}-{used[name]}"
        taken.add(candidate)
        unique.append(candidate)
    return unique
