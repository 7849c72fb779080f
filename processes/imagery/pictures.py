"""Chips and tiles as pictures that people look at."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

_COLORS = 3
_WEBP_QUALITY, _WEBP_EFFORT = 80, 0


def chip_png(chip: NDArray[Any], ranges: Sequence[tuple[float, float] | None], is_in_bytes: bool) -> bytes:
    """Return a chip as PNG: its first three bands as red, green and blue; of one or two bands the first in grey.

    Args:
        chip: its cells, `(bands, height, width)`.
        ranges: least and greatest value of each band of its image; None = not known, so those of the chip are taken.
        is_in_bytes: True = the cells are 0 to 255 as they are.
    """
    count = _COLORS if len(chip) >= _COLORS else 1
    planes = [
        _in_bytes(band, None if is_in_bytes else known, is_in_bytes)
        for band, known in zip(chip[:count], ranges, strict=False)
    ]
    picture = PillowImage.fromarray(planes[0] if count == 1 else np.stack(planes, axis=-1))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def picture_webp(picture: NDArray[np.uint8]) -> bytes:
    """Return a picture, red, green, blue and alpha, `(4, height, width)`, as WebP."""
    content = io.BytesIO()
    planes = np.moveaxis(picture if not picture[3].all() else picture[:3], 0, -1)
    image = PillowImage.fromarray(np.ascontiguousarray(planes))
    image.save(content, "WEBP", quality=_WEBP_QUALITY, method=_WEBP_EFFORT)
    return content.getvalue()


def _in_bytes(band: NDArray[Any], known: tuple[float, float] | None, is_in_bytes: bool) -> NDArray[np.uint8]:
    """Return a band `(height, width)` as grey levels."""
    cells = band.astype(np.float64)
    if not is_in_bytes:
        finite = cells[np.isfinite(cells)]
        low, high = known or ((finite.min(), finite.max()) if finite.size else (0.0, 1.0))
        cells = (cells - low) * (255 / (high - low if high > low else 1.0))
    return np.rint(np.clip(np.nan_to_num(cells), 0, 255)).astype(np.uint8)
