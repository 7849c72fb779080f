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
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
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

_COLORS = {ColorInterp.red: "Red", ColorInterp.green: "Green", ColorInterp.blue: "Blue"}
"""Esri's well-known names of bands that GDAL knows by their colour."""
_GDAL_ERRORS = (RasterioError, CPLE_BaseError)
_MAX_BLOCK_BYTES = 2**30
_MAX_PRJ_BYTES = 2**16
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
    """All bands, alpha too; a palette counts as the three that it expands to."""
    data_bands: tuple[int, ...]
    """Positions of those that are no alpha, from 0."""
    band_names: tuple[str, ...]
    """Descriptions; without one Red, Green or Blue where that is a band's colour, else empty."""
    ranges: tuple[tuple[float, float] | None, ...]
    """Least and greatest value of each band, by its statistics, else its type; None = a float band without them."""
    palette: NDArray[np.uint8] | None
    """`(places, 3)` colours where the first band holds places in a palette."""
    orientation: int
    """As EXIF counts it, 1 = upright, to 8; only pictures without reference are ever turned."""
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
    driver = _driver(path)
    if driver is None:
        raise ValueError("not an image of a known format")
    return rasterio.open(path, driver=driver)


def _driver(path: Path) -> str | None:
    """Return the driver that a file's first bytes call for, None = none."""
    with path.open("rb") as file:
        head = file.read(max(map(len, _DRIVERS)))
    return next((driver for magic, driver in _DRIVERS.items() if head.startswith(magic)), None)


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
        for mask in (path.with_name(f"{path.name}{ending}") for ending in (".msk", ".MSK")):
            if mask.exists() and _driver(mask) != "GTiff":  # GDAL would open whatever it is
                raise ImageError(f"image {name!r}: the mask beside it is no GeoTIFF")
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
    tile = _tile(dataset, name)
    dtypes = {np.dtype(dtype) for dtype in dataset.dtypes}
    if any(dtype.kind not in "uif" for dtype in dtypes):
        raise ImageError(
            f"image {name!r} has cells of type {dataset.dtypes[0]}; whole and real numbers can be classified"
        )
    data_bands = tuple(band for band, color in enumerate(dataset.colorinterp) if color != ColorInterp.alpha)
    if not data_bands:
        raise ImageError(f"image {name!r} has no band but alpha")
    palette = _palette(dataset) if data_bands == (0,) else None
    crs_wkt = _crs(dataset, path, name)
    return Image(
        name=name,
        path=path,
        grid=Grid(dataset.transform, dataset.width, dataset.height),
        crs_wkt=crs_wkt,
        dtype=np.result_type(*dtypes),
        bands=dataset.count if palette is None else 3,
        data_bands=data_bands if palette is None else (0, 1, 2),
        band_names=_band_names(dataset) if palette is None else tuple(_COLORS.values()),
        ranges=tuple(_range(dataset, index) for index in dataset.indexes) if palette is None else ((0.0, 255.0),) * 3,
        palette=palette,
        orientation=_orientation(dataset) if crs_wkt is None else 1,
        has_mask=any(MaskFlags.all_valid not in flags for flags in dataset.mask_flag_enums),
        tile=tile,
    )


def _crs(dataset: DatasetReader, path: Path, name: str) -> str | None:
    """Return the CRS of an image that has a geotransform too, from the file itself or the `.prj` beside it."""
    has_transform = dataset.transform != Affine.identity()
    if dataset.gcps[0] and not has_transform:
        raise ImageError(f"image {name!r} has ground control points and no geotransform; rectify it first")
    crs = (dataset.crs or _crs_beside(path, name)) if has_transform else None
    if crs is None:
        return None
    determinant = dataset.transform.determinant
    if not np.isfinite(dataset.transform[:6]).all() or not np.isfinite(determinant) or determinant == 0:
        raise ImageError(f"image {name!r} has a geotransform that cannot be inverted")
    wkt = str(crs.to_wkt())
    if not names_places(wkt):
        raise ImageError(f"image {name!r} has a CRS that is not one of places on the ground; set the right one")
    return wkt


def _crs_beside(path: Path, name: str) -> CRS | None:
    """Return the CRS of the `.prj` that goes with a world file, which GDAL's raster drivers leave aside."""
    beside = next((found for ending in (".prj", ".PRJ") if (found := path.with_suffix(ending)).is_file()), None)
    if beside is None:
        return None
    try:
        with beside.open("rb") as file:
            return CRS.from_wkt(file.read(_MAX_PRJ_BYTES).decode(), morph_from_esri_dialect=True)
    except (CRSError, UnicodeDecodeError) as err:
        raise ImageError(f"image {name!r}: the .prj file beside it names no CRS") from err


def _band_names(dataset: DatasetReader) -> tuple[str, ...]:
    pairs = zip(dataset.descriptions, dataset.colorinterp, strict=True)
    return tuple(description or _COLORS.get(color, "") for description, color in pairs)


def _palette(dataset: DatasetReader) -> NDArray[np.uint8] | None:
    """Return the colours of the first band's palette, where it has one."""
    dtype = np.dtype(dataset.dtypes[0])
    if dataset.colorinterp[0] != ColorInterp.palette or dtype not in ("uint8", "uint16"):
        return None
    colors = np.zeros((np.iinfo(dtype).max + 1, 3), np.uint8)
    for place, color in dataset.colormap(1).items():
        if place < len(colors):
            colors[place] = color[:3]
    return colors


def _range(dataset: DatasetReader, index: int) -> tuple[float, float] | None:
    """Return a band's own range: its statistics as GDAL keeps them, else what its whole numbers can hold."""
    tags = dataset.tags(index)
    try:
        low, high = float(tags["STATISTICS_MINIMUM"]), float(tags["STATISTICS_MAXIMUM"])
        if np.isfinite([low, high]).all() and low < high:
            return low, high
    except (KeyError, ValueError):
        pass
    dtype = np.dtype(dataset.dtypes[index - 1])
    return (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)) if dtype.kind in "ui" else None


def _orientation(dataset: DatasetReader) -> int:
    """Return the EXIF orientation of a JPEG; 1 where there is none that EXIF knows."""
    text = dataset.tags().get("EXIF_Orientation", "") if dataset.driver == "JPEG" else ""
    return int(text) if text in {str(number) for number in range(1, 9)} else 1


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
