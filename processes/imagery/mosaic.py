"""Several images as one: which of them a chip uses. Nothing is ever put together; chips are.

A chip uses the grid of the first image, in the client's order, whose extent holds its centre, else of the first that
its window overlaps by a cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from processes.crs import crs_from_text, same_coordinates
from processes.errors import ImageError
from processes.imagery.chips import Placement
from processes.imagery.grid import ChipRule, holds_centre, overlaps, pixel_boxes
from processes.imagery.image import Image


class Mosaic:
    """Images of one CRS, indexed by where they lie.

    Raises:
        ImageError: images differ in CRS or number of bands; names them.
    """

    def __init__(self, images: Sequence[Image]) -> None:
        first = images[0]
        for image in images[1:]:
            if not _same_crs(image, first):
                raise ImageError(
                    f"images {first.name!r} and {image.name!r} have different CRS and cannot form a mosaic"
                )
            counts = len(first.data_bands), len(image.data_bands)
            if counts[0] != counts[1]:
                raise ImageError(
                    f"images {first.name!r} ({counts[0]} bands) and {image.name!r} ({counts[1]} bands) "
                    "cannot form a mosaic"
                )
        self.images = images
        self._tree = shapely.STRtree([shapely.Polygon(image.grid.corners()) for image in images])

    def place(self, geometries: NDArray[np.object_], rule: ChipRule) -> Placement:
        """Return which image's grid each geometry's chip uses, and its window there.

        Args:
            geometries: in the images' CRS; those missing or empty get no image.
        """
        image = np.full(len(geometries), -1, dtype=np.int32)
        windows = np.zeros((len(geometries), 4), dtype=np.int32)
        rank = np.full(len(geometries), 2 * len(self.images), dtype=np.int64)
        for position, candidates in self._candidates(geometries, rule):
            grid = self.images[position].grid
            boxes = pixel_boxes(geometries[candidates], grid)
            cut = rule.windows(boxes, grid)
            found = np.where(holds_centre(boxes, grid), position, len(self.images) + position)
            better = (overlaps(cut, grid) | (found < len(self.images))) & (found < rank[candidates])
            chosen = candidates[better]
            rank[chosen], image[chosen], windows[chosen] = found[better], position, cut[better]
        return Placement(image, windows)

    def neighbours(self, own: int, window: Sequence[int]) -> list[int]:
        """Return the other images that a window of the image `own` may share cells with, in order."""
        found = self._tree.query(shapely.polygons(self.images[own].grid.window_corners(*window)))
        return [position for position in np.sort(found).tolist() if position != own]

    def _candidates(self, geometries: NDArray[np.object_], rule: ChipRule) -> list[tuple[int, NDArray[np.int64]]]:
        """Return for each image, in order, the geometries whose chips may overlap it."""
        there = np.flatnonzero(~(shapely.is_empty(geometries) | shapely.is_missing(geometries)))
        if len(self.images) == 1:
            return [(0, there)] if len(there) else []
        reach = max(_reach(image, rule) for image in self.images)
        bounds = shapely.bounds(geometries[there])
        finite = np.isfinite(bounds).all(axis=1)
        there, bounds = there[finite], bounds[finite]
        boxes = shapely.box(bounds[:, 0] - reach, bounds[:, 1] - reach, bounds[:, 2] + reach, bounds[:, 3] + reach)
        query, position = self._tree.query(boxes)
        order = np.lexsort((query, position))
        positions, starts = np.unique(position[order], return_index=True)
        return list(zip(positions.tolist(), np.split(there[query[order]], starts[1:]), strict=True))


def _reach(image: Image, rule: ChipRule) -> float:
    """Return how far a chip's window reaches beyond its object's box at most, in units of the CRS."""
    across, along = image.grid.cell_size
    width, height = rule.native_size(image.grid)
    return float(np.hypot((width + 4) * across, (height + 4) * along))


def _same_crs(first: Image, second: Image) -> bool:
    if first.crs_wkt is None or second.crs_wkt is None or first.crs_wkt == second.crs_wkt:
        return first.crs_wkt == second.crs_wkt
    return same_coordinates(crs_from_text(first.crs_wkt), crs_from_text(second.crs_wkt))
