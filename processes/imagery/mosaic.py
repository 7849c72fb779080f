"""Several images as one: which of them a chip uses. The images are never joined, only a chip's cells are.

A chip uses the grid of the first image, in the client's order, whose extent holds its centre, else of the first that
its window overlaps by a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from processes.crs.longitudes import turned
from processes.errors import ImageError
from processes.imagery.chips import Placement
from processes.imagery.grid import ChipRule, GridRows, holds_centre, overlaps, pixel_boxes
from processes.imagery.image import Image

Neighbours = Callable[[int, Sequence[int]], list[tuple[int, float]]]
"""Returns the images that a window of an image may share cells with: see `Mosaic.neighbours`."""

_PAIRS_AT_ONCE = 2**16
"""Pairs of an object and an image that are judged together."""
_HALF_AROUND = 0.5
"""Images that reach over less of the circle have no neighbours at its other end."""


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
        self._grids = GridRows.of([image.grid for image in images])
        outlines = [shapely.Polygon(image.grid.corners()) for image in images]
        self._tree = shapely.STRtree(outlines)
        self._turn = first.grid.turn
        self._west, _, self._east, _ = shapely.total_bounds(outlines).tolist()

    def place(self, geometries: NDArray[np.object_], rule: ChipRule) -> Placement:
        """Return the image whose grid each geometry's chip uses, and the chip's window in it.

        Geometries are in the images' CRS; missing and empty ones get no image.
        """
        image = np.full(len(geometries), -1, dtype=np.int32)
        windows = np.zeros((len(geometries), 4), dtype=np.int32)
        rank = np.full(len(geometries), 2 * len(self.images), dtype=np.int64)
        for places, shapes, _ in self._turned(geometries, rule):
            for candidates, index in self._candidates(shapes, rule):
                grids, place = self._grids.take(index), places[candidates]
                boxes = pixel_boxes(shapes[candidates], grids)
                pair_windows, holds = rule.windows(boxes, grids), holds_centre(boxes, grids)
                pair_rank = np.where(holds, index, len(self.images) + index)
                better = np.flatnonzero((holds | overlaps(pair_windows, grids)) & (pair_rank < rank[place]))
                np.minimum.at(rank, place[better], pair_rank[better])
                best = better[pair_rank[better] == rank[place[better]]]
                image[place[best]], windows[place[best]] = index[best], pair_windows[best]
        return Placement(image, windows)

    @property
    def has_neighbours(self) -> bool:
        """Whether a chip may have cells of another image, or of the other end of an image around the globe."""
        return len(self.images) > 1 or self.goes_around

    @property
    def goes_around(self) -> bool:
        """Whether places in the images, in their longitudes, can be the same one or neighbours around the globe."""
        return self._turn is not None and self._east - self._west >= self._turn * _HALF_AROUND

    def neighbours(self, own: int, window: Sequence[int]) -> list[tuple[int, float]]:
        """Return the other images that a window of the image `own` may share cells with, in order, by their indices.

        Beside each is what is added to x of the window to get there: whole turns of longitudes, usually 0. After a turn
        the image itself may be another one.
        """
        corners = self.images[own].grid.window_corners(*window)
        if not self.goes_around:
            near = self._tree.query(shapely.polygons(corners))
            return [(index, 0.0) for index in np.sort(near).tolist() if index != own]
        found = []
        window_shape = np.array([shapely.polygons(corners)], dtype=object)
        for _, (shape,), offset in turned(window_shape, float(self._turn or 0), self._west, self._east):
            found += [(index, offset) for index in self._tree.query(shape).tolist()]
        return sorted(((index, offset) for index, offset in found if index != own or offset), key=lambda item: item[0])

    def _turned(
        self, geometries: NDArray[np.object_], rule: ChipRule
    ) -> Iterable[tuple[NDArray[np.int64], NDArray[np.object_], float]]:
        """Return geometries, with their indices, as they lie where the images are, whose longitudes are circular."""
        if self._turn is None:
            return [(np.arange(len(geometries)), geometries, 0.0)]
        reach = rule.reach(self._grids)
        return turned(geometries, self._turn, self._west - reach, self._east + reach)

    def _candidates(
        self, geometries: NDArray[np.object_], rule: ChipRule
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield pairs of a geometry and an image that its chip may overlap, by their indices, `(n,)` each."""
        present = np.flatnonzero(~(shapely.is_empty(geometries) | shapely.is_missing(geometries)))
        if len(self.images) == 1:
            found, image = present, np.zeros(len(present), np.int64)
        else:
            reach = rule.reach(self._grids)
            bounds = shapely.bounds(geometries[present])
            finite = np.isfinite(bounds).all(axis=1)
            present, bounds = present[finite], bounds[finite]
            boxes = shapely.box(bounds[:, 0] - reach, bounds[:, 1] - reach, bounds[:, 2] + reach, bounds[:, 3] + reach)
            query, image = self._tree.query(boxes)
            found = present[query]
        for start in range(0, len(found), _PAIRS_AT_ONCE):
            yield found[start : start + _PAIRS_AT_ONCE], image[start : start + _PAIRS_AT_ONCE]


def neighbours_of(images: Sequence[Image], mosaic: Mosaic | None) -> Neighbours | None:
    """Return the function that finds where a chip's missing cells come from; None = from nowhere.

    Args:
        images: the images.
        mosaic: which they form; None = each stands alone, and may at most go on at its other end, around the globe.
    """
    if mosaic is not None:
        return mosaic.neighbours if mosaic.has_neighbours else None
    around = {
        index: alone
        for index, image in enumerate(images)
        if image.grid.turn is not None and (alone := Mosaic([image])).goes_around
    }

    def other_end(own: int, window: Sequence[int]) -> list[tuple[int, float]]:
        return [(own, offset) for _, offset in around[own].neighbours(0, window)] if own in around else []

    return other_end if around else None
