"""The answer of a service to the request of a tile: checked and decoded."""

from __future__ import annotations

import re
from io import BytesIO

import msgspec
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader

from processes.errors import ImageError
from processes.imagery.decoded_tile import Cells
from processes.imagery.grid import Mask
from processes.imagery.headers import png_orientation
from processes.imagery.services.tile_grid import TileWindow
from processes.imagery.source import GDAL_ERRORS, driver_of, gdal_settings

_BLOCK_BYTES = 2**20
_DRIVERS = ("GTiff", "PNG", "JPEG")
_FAULT_TEXT = re.compile(
    r"<(?:\w+:)?(?:ExceptionText|ServiceException)\b[^>]*>\s*(?:<!\[CDATA\[)?\s*(.*?)\s*(?:\]\]>)?\s*</", re.DOTALL
)
_MAX_FAULT = 300
_HALF_CELL = 0.5


class ServedTile(msgspec.Struct, frozen=True):
    """The cells of a tile."""

    cells: Cells
    """Of its data bands, `(bands, height, width)`."""
    valid: Mask | None
    """`(height, width)`; None = all."""


class _EsriError(msgspec.Struct):
    message: str | None = None
    details: list[str] | None = None


class _EsriFailure(msgspec.Struct):
    error: _EsriError


def require_picture(content: bytes, shown: str) -> None:
    """Raise ImageError where what a service answers does not begin as a picture does; `shown` is what it is called."""
    if driver_of(content[:16]) not in _DRIVERS:
        raise ImageError(f"{shown} answers with {_said(content)}")


def decode_tile(content: bytes, window: TileWindow, bands: int, shown: str) -> ServedTile:
    """Return the cells of a tile.

    Args:
        content: what the service answered.
        window: what was asked for.
        bands: that are expected; where there are just as many, none of them is alpha.
        shown: what the service is called in messages.

    Raises:
        ImageError: the service answers with something else.
    """
    require_picture(content, shown)
    driver = driver_of(content[:16])
    try:
        if driver == "PNG":
            png_orientation(BytesIO(content))  # which reads to its end: GDAL gives noise for what is missing
        with gdal_settings(), rasterio.open(BytesIO(content), driver=driver) as dataset:
            _require_window(dataset, window, shown)
            return _decoded(dataset, bands, shown)
    except (*GDAL_ERRORS, OSError, ValueError) as err:
        raise ImageError(f"{shown} answers with a {driver} that is truncated or broken") from err


def _said(content: bytes) -> str:
    """Return what an answer that is no image says."""
    text = content[:_BLOCK_BYTES].decode(errors="replace").strip()
    try:
        error = msgspec.json.decode(content, type=_EsriFailure).error
        return f"an error: {' '.join(filter(None, (error.message, *(error.details or ()))))[:_MAX_FAULT]}"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    found = " ".join(_FAULT_TEXT.findall(text))
    return f"an exception: {found[:_MAX_FAULT]}" if found else "something that is no PNG, JPEG or GeoTIFF"


def _require_window(dataset: DatasetReader, window: TileWindow, shown: str) -> None:
    """Raise ImageError where an image has another size, or lies elsewhere, than what was asked for."""
    size = dataset.width, dataset.height
    if size != (window.width, window.height):
        raise ImageError(
            f"{shown} answers with {size[0]} x {size[1]} cells to a request for {window.width} x {window.height}"
        )
    if dataset.crs is None or dataset.transform.is_identity:
        return
    slack = abs(dataset.transform.a) * _HALF_CELL
    if any(abs(found - asked) > slack for found, asked in zip(dataset.bounds, window.bounds, strict=True)):
        raise ImageError(f"{shown} answers with the box {_box(dataset.bounds)} to a request for {_box(window.bounds)}")


def _box(bounds: tuple[float, float, float, float]) -> str:
    return f"({', '.join(f'{edge:.10g}' for edge in bounds)})"


def _decoded(dataset: DatasetReader, bands: int, shown: str) -> ServedTile:
    colors = dataset.colorinterp
    if colors[0] == ColorInterp.palette:
        return _of_palette(dataset)
    alphas = [index for index in dataset.indexes if colors[index - 1] == ColorInterp.alpha and dataset.count != bands]
    indexes = [index for index in dataset.indexes if index not in alphas]
    if not indexes:
        raise ImageError(f"{shown} answers with an image that has no band but alpha")
    cells = dataset.read(indexes)
    masks = [dataset.read(index) != 0 for index in alphas]
    flags = [set(dataset.mask_flag_enums[index - 1]) for index in indexes]
    if any(not {MaskFlags.all_valid, MaskFlags.alpha} & item for item in flags):
        masks.append(np.logical_or.reduce(dataset.read_masks(indexes) != 0))
    valid = np.logical_and.reduce(masks) if masks else None
    return ServedTile(cells, None if valid is None or valid.all() else valid)


def _of_palette(dataset: DatasetReader) -> ServedTile:
    table: NDArray[np.uint8] = np.full((256, 4), (0, 0, 0, 255), np.uint8)
    for index, color in dataset.colormap(1).items():
        table[index] = color
    places = dataset.read(1)
    valid = table[places, 3] != 0
    return ServedTile(np.ascontiguousarray(table.T[:3][:, places]), None if valid.all() else valid)
