"""Resampling of chips as scikit-image does it, which Esri's KerasClassifier calls.

The rule is that of `skimage.transform.resize` with order 1, mode "constant" and no antialiasing: each new cell is the
bilinear mean of the four cells around its centre, in float64, and the result is cut to whole numbers.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Resampling = Literal["pillow", "skimage"]
"""`pillow`: bilinear, with antialiasing when it shrinks. `skimage`: as this module does it."""


def resample_bilinear(
    chips: NDArray[Any], size: tuple[int, int], extent: tuple[float, float] | None = None
) -> NDArray[Any]:
    """Return chips at another size, bilinear without antialiasing, cut to whole numbers.

    Args:
        chips: `(n, bands, height, width)`.
        size: (height, width) of the result.
        extent: (height, width) of the part of a chip that is resampled, in its cells; None = all.

    Returns:
        `(n, bands, *size)`, of the same type. What lies outside a chip counts as 0; no cell leaves the range of its
        chip.
    """
    extent = extent or chips.shape[2:]
    if chips.shape[2:] == extent == size:
        return chips
    taps = [_taps(*axis) for axis in zip(chips.shape[2:], extent, size, strict=True)]
    result = np.zeros((*chips.shape[:2], *size))
    for rows, row_weights in taps[0]:
        columns_of_rows = chips[:, :, rows]
        for columns, column_weights in taps[1]:
            # the order of scikit-image's sum, so that what is cut off is the same
            result += columns_of_rows[..., columns] * row_weights[:, None] * column_weights
    edges = (1, 2, 3)
    np.clip(result, chips.min(axis=edges, keepdims=True), chips.max(axis=edges, keepdims=True), out=result)
    return np.trunc(result).astype(chips.dtype)


def resample_to_square(chips: NDArray[Any], side: int, extent: tuple[float, float] | None = None) -> NDArray[Any]:
    """Return chips as squares: resampled by `resample_bilinear` to the given longer side, with zeros around the rest.

    That is what Esri's KerasClassifier does before its network.

    Args:
        chips: `(n, bands, height, width)`.
        side: of the squares, in cells.
        extent: as `resample_bilinear` has it.
    """
    height, width = extent or chips.shape[2:]
    scale = side / max(height, width)
    fitted = resample_bilinear(chips, (max(1, round(height * scale)), max(1, round(width * scale))), extent)
    missing = [side - extent for extent in fitted.shape[2:]]
    if not any(missing):
        return fitted
    padding = [(0, 0), (0, 0), *((lack // 2, lack - lack // 2) for lack in missing)]
    return np.pad(fitted, padding)


def _taps(side: int, extent: float, new_side: int) -> list[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Return the two cells along an axis that each new cell is made of, as indices and weights, `(new_side,)` each."""
    zoom = extent / new_side
    centres = (np.arange(new_side) + 0.5) * zoom - 0.5
    low = np.floor(centres).astype(np.intp)
    share = np.asarray(centres - low, np.float64)
    taps = []
    for index, weight in ((low, 1 - share), (low + 1, share)):
        taps.append((np.clip(index, 0, side - 1), np.where((index >= 0) & (index < side), weight, 0.0)))
    return taps
