"""Chips and tiles as pictures that people look at."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw

_COLORS = 3
_WEBP_QUALITY, _WEBP_EFFORT = 80, 0
_SHEET_COLUMNS = 8
_SIDE_PX, _LINE_PX, _GAP_PX, _FRAME_PX = 128, 14, 8, 4
_GREY, _BLACK, _RED, _WHITE = (160, 160, 160), (0, 0, 0), (200, 0, 0), (255, 255, 255)
_SHOWN_CHARACTERS = 22


class LabelledChip(msgspec.Struct, frozen=True):
    """A chip of a picture of many."""

    chip: NDArray[Any]
    """Its cells, `(bands, height, width)`."""
    label: str
    """What is written below it."""
    remark: str
    """What is written below that in red; empty = nothing."""
    color: tuple[int, int, int] | None
    """Of its frame, red, green, blue, 0..255; None = grey."""


def sheet_png(chips: Sequence[LabelledChip], is_in_bytes: bool) -> bytes:
    """Return chips with their labels in rows, as PNG; cells that are not bytes are shown by the range of all chips.

    Args:
        chips: at least one, with as many bands as each other.
        is_in_bytes: True = the cells are 0 to 255 as they are.
    """
    width, height = _SIDE_PX + 2 * _FRAME_PX, _SIDE_PX + 2 * (_FRAME_PX + _LINE_PX)
    columns = min(len(chips), _SHEET_COLUMNS)
    rows = -(-len(chips) // columns)
    sheet = PillowImage.new("RGB", (_GAP_PX + columns * (width + _GAP_PX), _GAP_PX + rows * (height + _GAP_PX)), _WHITE)
    draw = ImageDraw.Draw(sheet)
    bands = [np.concatenate([item.chip[band].ravel() for item in chips]) for band in range(len(chips[0].chip))]
    ranges = [(float(band.min()), float(band.max())) for band in bands]
    for number, item in enumerate(chips):
        left = _GAP_PX + number % columns * (width + _GAP_PX)
        top = _GAP_PX + number // columns * (height + _GAP_PX)
        side = _SIDE_PX + 2 * _FRAME_PX
        draw.rectangle((left, top, left + side - 1, top + side - 1), fill=item.color or _GREY)
        with PillowImage.open(io.BytesIO(chip_png(item.chip, ranges, is_in_bytes))) as picture:
            fitted = picture.convert("RGB").resize((_SIDE_PX, _SIDE_PX), PillowImage.Resampling.NEAREST)
        sheet.paste(fitted, (left + _FRAME_PX, top + _FRAME_PX))
        draw.text((left, top + side), item.label[:_SHOWN_CHARACTERS], fill=_BLACK)
        draw.text((left, top + side + _LINE_PX), item.remark[:_SHOWN_CHARACTERS], fill=_RED)
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()


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
