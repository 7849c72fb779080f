"""Resampling of whole chips as scikit-image does it, which Esri's KerasClassifier calls.

The rule is that of `skimage.transform.resize` with order 1, mode "constant" and no antialiasing: each new cell is the
bilinear mean of the four cells around its centre, in float64, and the result is cut to whole numbers.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

ChipCells = NDArray[np.uint8] | NDArray[np.float32]


def resample_bilinear(chips: ChipCells, size: tuple[int, int]) -> ChipCells:
    """Return chips at another size, bilinear without antialiasing, cut to whole numbers.

    Args:
        chips: `(n, bands, height, width)`.
        size: (height, width) of the result.

    Returns:
        `(n, bands, *size)`, of the same type. What lies outside a chip counts as 0; no cell leaves the range of its
        chip.
    """
    if chips.shape[2:] == size:
        return chips
    taps = [_taps(side, new_side) for side, new_side in zip(chips.shape[2:], size, strict=True)]
    result = np.zeros((*chips.shape[:2], *size))
    for rows, row_weights in taps[0]:
        columns_of_rows = chips[:, :, rows]
        for columns, column_weights in taps[1]:
            # the order of scikit-image's sum, so that what is cut off is the same
            result += columns_of_rows[..., columns] * row_weights[:, None] * column_weights
    edges = (1, 2, 3)
    np.clip(result, chips.min(axis=edges, keepdims=True), chips.max(axis=edges, keepdims=True), out=result)
    return cast("ChipCells", np.trunc(result).astype(chips.dtype))


def resample_to_square(chips: ChipCells, side: int) -> ChipCells:
    """Return chips as squares: resampled by `resample_bilinear` to the given longer side, with zeros around the rest.

    That is what Esri's KerasClassifier does before its network.

    Args:
        chips: `(n, bands, height, width)`.
        side: of the squares, in cells.
    """
    height, width = chips.shape[2:]
    scale = side / max(height, width)
    fitted = resample_bilinear(chips, (max(1, round(height * scale)), max(1, round(width * scale))))
    missing = [side - extent for extent in fitted.shape[2:]]
    if not any(missing):
        return fitted
    padding = [(0, 0), (0, 0), *((lack // 2, lack - lack // 2) for lack in missing)]
    return cast("ChipCells", np.pad(fitted, padding))


def _taps(side: int, new_side: int) -> list[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Return the two cells along an axis that each new cell is made of, as indices and weights, `(new_side,)` each."""
    zoom = side / new_side
    centres = (np.arange(new_side) + 0.5) * zoom - 0.5
    low = np.floor(centres).astype(np.intp)
    share = np.asarray(centres - low, np.float64)
    taps = []
    for index, weight in ((low, 1 - share), (low + 1, share)):
        taps.append((np.clip(index, 0, side - 1), np.where((index >= 0) & (index < side), weight, 0.0)))
    return taps
