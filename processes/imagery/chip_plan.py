"""Chips to read: of which images and bands, and where each lies."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from processes.imagery.chips import Footprints, Placement, large_rows
from processes.imagery.grid import ChipRule
from processes.imagery.image import Image
from processes.imagery.mosaic import Mosaic
from processes.imagery.tiles import BandSelection, TileReader


class ChipPlan(msgspec.Struct, frozen=True):
    """The chip of each row: geometry only."""

    images: Sequence[Image]
    selections: Sequence[BandSelection]
    """The bands that are read of each image; equally many of all."""
    rule: ChipRule
    placement: Placement
    mosaic: Mosaic | None
    """Finds the other images that fill a chip's missing cells; None = nothing fills them."""
    footprints: Footprints | None
    """Returns the polygons to blacken around; None = nothing is blackened."""


def reading_order(chips: ChipPlan) -> NDArray[np.int64]:
    """Return the rows that have an image, in the order in which each tile is decoded once, `(k,)`; large chips last."""
    with TileReader(chips.images, chips.selections, chips.rule.shape_of_all) as tiles:
        order = tiles.reading_order(chips.placement.image, chips.placement.windows)
    is_large = large_rows(chips.images, chips.placement, chips.rule, order)
    return np.concatenate([order[~is_large], order[is_large]]) if is_large.any() else order
