"""Opening images: what an image is, without its pixels."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader

from processes.crs import names_places
from processes.errors import ImageError, LimitError
from processes.imagery.grid import Grid
from processes.imagery.headers import png_is_interlaced, png_orientation, tiff_orientation
from processes.imagery.remote_source import RemoteImageSource
from processes.imagery.source import GDAL_ERRORS, ImageSource, gdal_settings, lacks_codec, stated_compression

_COLORS = {ColorInterp.red: "Red", ColorInterp.green: "Green", ColorInterp.blue: "Blue"}
"""Esri's well-known names of bands that GDAL knows by their colour."""
_MAX_BLOCK_BYTES = 2**30
_MAX_SEQUENTIAL_BYTES = 4 * 2**30
_MAX_INTERLACED_BYTES = 2**28
"""GDAL reads an interlaced PNG from its start for each 100 MB of it."""
_TILE_BYTES = 8 * 2**20
_MIN_TILE_PX = 256
_SEQUENTIAL = ("PNG", "JPEG")
"""GDAL's drivers of formats that are read from their first row on."""


class Image(msgspec.Struct, frozen=True):
    """An image that can be read."""

    source: ImageSource
    """Its name is unique within a request."""
    grid: Grid
    dtype: np.dtype[np.generic]
    """Type of the cells as they are stored; of several, the one that holds all."""
    bands: int
    """All bands, alpha too; a palette counts as the three that it expands to."""
    data_bands: tuple[int, ...]
    """Indices of those that are no alpha, from 0."""
    alpha_bands: tuple[int, ...]
    """Indices of the file's alpha bands, from 0. Where one is 0 a cell is nodata, unless that band is read as data."""
    band_names: tuple[str, ...]
    """Descriptions; without one Red, Green or Blue where that is a band's colour, else empty."""
    ranges: tuple[tuple[float, float] | None, ...]
    """Least and greatest value of each band, by its statistics, else its type; None = a float band without them."""
    palette: NDArray[np.uint8] | None
    """`(colours, 4)`, red, green, blue, alpha, where the first band holds indices of colours; None = it does not. Cells
    of colours whose alpha is 0 are nodata."""
    orientation: int
    """As EXIF counts it: 1 = upright, to 8. Always 1 for an image with a reference."""
    has_mask: bool
    """True = a nodata value or a mask says which cells are nodata; alpha and the palette do not count."""
    tile: tuple[int, int]
    """(height, width) of the windows in which it is read, in cells: whole blocks of the file."""
    has_mask_apart: bool = True
    """True = a mask that is stored apart from the cells says which of them are nodata."""
    is_sequential: bool = False
    """True = each reading begins at its first row, as of a PNG or a JPEG; else it begins at any block."""
    warnings: tuple[str, ...] = ()
    """What its user should know, as `scale and offset are not applied`: the image's name is put behind it."""

    @property
    def name(self) -> str:
        """What the client calls it; unique within a request."""
        return self.source.name

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in cells."""
        return self.grid.height, self.grid.width

    @property
    def is_georeferenced(self) -> bool:
        return self.grid.crs_wkt is not None


def open_image(source: ImageSource, max_pixels: int) -> Image:
    """Read the header of an image.

    Args:
        source: where it comes from.
        max_pixels: limit of width times height.

    Raises:
        ImageError: not an image of an allowed format, broken, or of a kind that cannot be classified.
        LimitError: more pixels than allowed.
    """
    try:
        with gdal_settings(), source.open() as dataset:
            return _describe(dataset, source, max_pixels)
    except (*GDAL_ERRORS, OSError, ValueError) as err:
        if lacks_codec(err):
            raise ImageError(
                f"image {source.name!r} is compressed with {stated_compression(source) or 'a variant of JPEG'}, "
                "which this server cannot decode: convert it"
            ) from err
        raise ImageError(
            f"image {source.name!r} cannot be opened: it is not a sound GeoTIFF, JPEG, PNG or JPEG 2000 file"
        ) from err


def _describe(dataset: DatasetReader, source: ImageSource, max_pixels: int) -> Image:
    name = source.name
    if dataset.width * dataset.height > max_pixels:
        raise LimitError(
            "max_image_pixels", max_pixels, f"image {name!r} has {dataset.width} x {dataset.height} pixels"
        )
    own_tile = source.tile if isinstance(source, RemoteImageSource) else None
    tile = own_tile or _tile(dataset, name)
    _refuse_long_reading(dataset, source)
    dtypes = {np.dtype(dtype) for dtype in dataset.dtypes}
    if any(dtype.kind not in "uif" for dtype in dtypes):
        raise ImageError(
            f"image {name!r} has cells of type {dataset.dtypes[0]}; whole and real numbers can be classified"
        )
    data_bands = tuple(band for band, color in enumerate(dataset.colorinterp) if color != ColorInterp.alpha)
    if not data_bands:
        raise ImageError(f"image {name!r} has no band but alpha")
    palette = _palette(dataset) if data_bands == (0,) else None
    grid = Grid(dataset.transform, dataset.width, dataset.height, _crs_wkt(dataset, source))
    return Image(
        source=source,
        grid=grid,
        dtype=np.result_type(*dtypes),
        bands=dataset.count if palette is None else 3,
        data_bands=data_bands if palette is None else (0, 1, 2),
        alpha_bands=tuple(band for band in range(dataset.count) if band not in data_bands),
        band_names=_band_names(dataset) if palette is None else tuple(_COLORS.values()),
        ranges=tuple(_range(dataset, index) for index in dataset.indexes) if palette is None else ((0.0, 255.0),) * 3,
        palette=palette,
        orientation=_orientation(dataset, source, grid),
        has_mask=any(not {MaskFlags.all_valid, MaskFlags.alpha} & set(flags) for flags in dataset.mask_flag_enums),
        has_mask_apart=any(
            MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags for flags in dataset.mask_flag_enums
        ),
        tile=tile,
        is_sequential=dataset.driver in _SEQUENTIAL,
        warnings=_warnings(dataset, data_bands),
    )


def _crs_wkt(dataset: DatasetReader, source: ImageSource) -> str | None:
    """Return the CRS of an image that has a geotransform too, as the image states it, or what stands beside it."""
    name = source.name
    has_transform = dataset.transform != Affine.identity()
    if dataset.gcps[0] and not has_transform:
        raise ImageError(f"image {name!r} has ground control points and no geotransform; rectify it first")
    if not has_transform and (ending := source.approximation_beside()) is not None:
        raise ImageError(
            f"image {name!r} has an approximate reference only, in the {ending} file beside it; rectify it first"
        )
    crs = (dataset.crs or source.crs_beside()) if has_transform else None
    if crs is None:
        return None
    determinant = dataset.transform.determinant
    if not np.isfinite(dataset.transform[:6]).all() or not np.isfinite(determinant) or determinant == 0:
        raise ImageError(f"image {name!r} has a geotransform that cannot be inverted")
    wkt = str(crs.to_wkt())
    if not names_places(wkt):
        raise ImageError(f"image {name!r} has a CRS that is not one of places on the ground; set the right one")
    return wkt


def _band_names(dataset: DatasetReader) -> tuple[str, ...]:
    pairs = zip(dataset.descriptions, dataset.colorinterp, strict=True)
    return tuple(description or _COLORS.get(color, "") for description, color in pairs)


def _palette(dataset: DatasetReader) -> NDArray[np.uint8] | None:
    """Return the colours of the first band's palette, where it has one."""
    dtype = np.dtype(dataset.dtypes[0])
    if dataset.colorinterp[0] != ColorInterp.palette or dtype not in ("uint8", "uint16"):
        return None
    colors = np.full((np.iinfo(dtype).max + 1, 4), (0, 0, 0, 255), np.uint8)
    for index, color in dataset.colormap(1).items():
        if index < len(colors):
            colors[index] = color
    return colors


def _range(dataset: DatasetReader, index: int) -> tuple[float, float] | None:
    """Return a band's own range: its statistics as GDAL keeps them, else the range of its whole numbers."""
    tags = dataset.tags(index)
    try:
        low, high = float(tags["STATISTICS_MINIMUM"]), float(tags["STATISTICS_MAXIMUM"])
        if np.isfinite([low, high]).all() and low < high:
            return low, high
    except (KeyError, ValueError):
        pass
    dtype = np.dtype(dataset.dtypes[index - 1])
    if dtype.kind not in "ui":
        return None
    bits, stated = dtype.itemsize * 8, dataset.tags(index, ns="IMAGE_STRUCTURE").get("NBITS")
    if stated in {str(number) for number in range(1, bits)}:
        bits = int(stated)
    low = -(2 ** (bits - 1)) if dtype.kind == "i" else 0
    return float(low), float(low + 2**bits - 1)


def _orientation(dataset: DatasetReader, source: ImageSource, grid: Grid) -> int:
    """Return how an image without a reference is turned, as EXIF counts it; 1 where it states nothing that EXIF knows.

    Raises:
        ValueError: a PNG that is truncated.
    """
    orientation = 1
    if dataset.driver == "JPEG":
        text = dataset.tags().get("EXIF_Orientation", "")
        orientation = int(text) if text in {str(number) for number in range(1, 9)} else 1
    elif dataset.driver == "PNG":
        with source.open_bytes() as file:
            orientation = png_orientation(file)
    elif dataset.driver == "GTiff" and grid.crs_wkt is None:
        with source.open_bytes() as file:
            orientation = tiff_orientation(file)
    return orientation if grid.crs_wkt is None else 1


def _warnings(dataset: DatasetReader, data_bands: Sequence[int]) -> tuple[str, ...]:
    """Return what the user should know of an image that is read all the same."""
    scaled = any(dataset.scales[band] != 1 or dataset.offsets[band] != 0 for band in data_bands)
    own: tuple[str, ...] = getattr(dataset, "warnings", ())
    return (*own, *["scale and offset are not applied"] * scaled)


def _refuse_long_reading(dataset: DatasetReader, source: ImageSource) -> None:
    """Raise ImageError where an image that cannot be read in parts is too large to be read at one go.

    Raises:
        ValueError: a PNG that is truncated.
    """
    if dataset.driver not in _SEQUENTIAL:
        return
    size = dataset.width * dataset.height * sum(np.dtype(dtype).itemsize for dtype in dataset.dtypes)
    interlaced = False
    if dataset.driver == "PNG" and size > _MAX_INTERLACED_BYTES:
        with source.open_bytes() as file:
            interlaced = png_is_interlaced(file)
    if size > (_MAX_INTERLACED_BYTES if interlaced else _MAX_SEQUENTIAL_BYTES):
        kind = f"{'n interlaced' if interlaced else ''} {dataset.driver}"
        raise ImageError(
            f"image {source.name!r} is a{kind} of {dataset.width} x {dataset.height} cells, which is read from its "
            "first row each time; convert it to a tiled GeoTIFF"
        )


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
