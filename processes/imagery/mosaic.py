"""Several images as one: which of them a chip uses. The images are never joined, only a chip's cells are.

A chip uses the grid of the first image, in the client's order, whose extent holds its centre, else of the first that
its window overlaps by a cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from processes.errors import ImageError
from processes.imagery.chips import Placement
from processes.imagery.grid import ChipRule, holds_centre, overlaps, pixel_boxes
from processes.imagery.image import Image


class Mosaic:
    """Images of one CRS, in an index of their extents.

    Raises:
        ImageError: images differ in CRS or number of bands; names them.
    """

    def __init__(self, images: Sequence[Image]) -> None:
        first = images[0]
        for image in images[1:]:
            if not image.grid.shares_crs(first.grid):
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
        """Return the image whose grid each geometry's chip uses, and the chip's window in it.

        Geometries are in the images' CRS; missing and empty ones get no image.
        """
        image = np.full(len(geometries), -1, dtype=np.int32)
        windows = np.zeros((len(geometries), 4), dtype=np.int32)
        rank = np.full(len(geometries), 2 * len(self.images), dtype=np.int64)
        for index, candidates in self._candidates(geometries, rule):
            grid = self.images[index].grid
            boxes = pixel_boxes(geometries[candidates], grid)
            candidate_windows = rule.windows(boxes, grid)
            candidate_rank = np.where(holds_centre(boxes, grid), index, len(self.images) + index)
            touches = overlaps(candidate_windows, grid) | (candidate_rank < len(self.images))
            better = touches & (candidate_rank < rank[candidates])
            chosen = candidates[better]
            rank[chosen], image[chosen], windows[chosen] = candidate_rank[better], index, candidate_windows[better]
        return Placement(image, windows)

    def neighbours(self, own: int, window: Sequence[int]) -> list[int]:
        """Return the indices of the other images that a window of the image `own` may share cells with, in order."""
        near = self._tree.query(shapely.polygons(self.images[own].grid.window_corners(*window)))
        return [index for index in np.sort(near).tolist() if index != own]

    def _candidates(self, geometries: NDArray[np.object_], rule: ChipRule) -> list[tuple[int, NDArray[np.int64]]]:
        """Return for each image, in order, its index and the geometries whose chips may overlap it."""
        present = np.flatnonzero(~(shapely.is_empty(geometries) | shapely.is_missing(geometries)))
        if len(self.images) == 1:
            return [(0, present)] if len(present) else []
        reach = max(_reach(image, rule) for image in self.images)
        bounds = shapely.bounds(geometries[present])
        finite = np.isfinite(bounds).all(axis=1)
        present, bounds = present[finite], bounds[finite]
        boxes = shapely.box(bounds[:, 0] - reach, bounds[:, 1] - reach, bounds[:, 2] + reach, bounds[:, 3] + reach)
        query, image = self._tree.query(boxes)
        order = np.lexsort((query, image))
        images, starts = np.unique(image[order], return_index=True)
        return list(zip(images.tolist(), np.split(present[query[order]], starts[1:]), strict=True))


def _reach(image: Image, rule: ChipRule) -> float:
    """Return how far a chip's window reaches beyond its object's box at most, in units of the CRS, as a distance."""
    across, along = image.grid.cell_size
    width, height = rule.native_size(image.grid)
    return float(np.hypot((width + 4) * across, (height + 4) * along))
