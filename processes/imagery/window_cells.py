"""The cells of a window of an opened image, and which of them are there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader
from rasterio.windows import Window

from processes.imagery.decoded_tile import Cells
from processes.imagery.grid import Mask
from processes.imagery.image import Image

_MAX_CELL = 3.4e38
"""The greatest cell, up or down. What is beyond does not fit into the 32 bits of a network, or is the least of them,
which Esri's and others' tools write for nodata."""

CellsAndMask = tuple[Cells, Mask | None]
"""Cells `(bands, height, width)`, and which of them are valid; None = all."""


def read_window(
    dataset: DatasetReader,
    image: Image,
    bands: Sequence[int],
    window: Window,
    out: Cells | None = None,
    shape: tuple[int, int] | None = None,
) -> CellsAndMask:
    """Return the cells of a window as they are stored, and which of them are there.

    A cell is there where the image's nodata value or mask, each alpha band that is not read as data, and the palette
    say so, and where all its values are numbers that fit into a chip.

    Args:
        dataset: of the image, or of a part of it.
        image: the image.
        bands: indices of those that are read, from 0.
        window: in the dataset.
        out: gets the cells; None = they get an array of their own.
        shape: (height, width) of what is returned, by the nearest cells of the overview that suits; None = all cells.
            Only GDAL's datasets have overviews.
    """
    alphas = [alpha for alpha in image.alpha_bands if image.palette is not None or alpha not in bands]
    masks = [_stated_mask(dataset, window, alphas, shape)] if image.has_mask else []
    masks += [_is_opaque(dataset.read(alpha + 1, window=window, **_of(shape))) for alpha in alphas]
    if image.palette is None:
        cells = dataset.read([band + 1 for band in bands], window=window, out=out, **_of(shape, len(bands)))
        if cells.dtype.kind == "f" and not _are_numbers(cells.min(), cells.max()):
            masks.append(_are_numbers(cells, cells).all(axis=0))
    else:
        places = dataset.read(1, window=window, **_of(shape))
        cells = image.palette.T[list(bands)][:, places]
        if not image.palette[:, 3].all():
            masks.append(image.palette[places, 3] != 0)
    mask = reduce(np.logical_and, masks) if masks else None
    return cells, None if mask is None or mask.all() else mask


def _of(shape: tuple[int, int] | None, *bands: int) -> dict[str, tuple[int, ...]]:
    """Return the argument of rasterio for cells of a shape, of so many bands if it is not a single one."""
    return {} if shape is None else {"out_shape": (*bands, *shape)}


def _is_opaque(alpha: Cells) -> Mask:
    opaque = alpha != 0
    return np.asarray(opaque & ~np.isnan(alpha) if alpha.dtype.kind == "f" else opaque)


def _are_numbers(least: Any, greatest: Any) -> Mask:
    """Return where floats from `least` to `greatest` are numbers that a network takes; NaN is none."""
    limit = min(_MAX_CELL, float(np.finfo(least.dtype).max))
    return np.asarray((least >= -limit) & (greatest <= limit))


def _stated_mask(dataset: DatasetReader, window: Window, alphas: Sequence[int], shape: tuple[int, int] | None) -> Mask:
    """Return where the mask of an image, or one of its bands by a nodata value, says that there is a cell.

    Alpha is no data, so the nodata value says nothing of it; `alphas` are the indices of such bands, from 0.

    Of an image of four bands that begins with red, rasterio's `dataset_mask` takes the nodata of the fourth alone.
    """
    if MaskFlags.per_dataset in dataset.mask_flag_enums[0]:
        return np.asarray(dataset.read_masks(1, window=window, **_of(shape)) != 0)
    bands = [index for index in dataset.indexes if index - 1 not in alphas]
    return np.asarray(np.logical_or.reduce(dataset.read_masks(bands, window=window, **_of(shape, len(bands)))))


def rescaled(cells: Cells, rescaling: Sequence[tuple[float, float]] | None) -> Cells:
    """Return cells by the factor and offset of each band; None = as they are."""
    if rescaling is None:
        return cells
    factors, offsets = np.array(rescaling).T[:, :, None, None]
    with np.errstate(over="ignore", invalid="ignore"):  # a nodata value may be anything
        moved: Cells = (cells.astype(np.float64) * factors + offsets).astype(np.float32)
    return moved
