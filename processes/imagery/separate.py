"""Images side by side: an object has a chip in each image that it touches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from processes.imagery.chips import Placement
from processes.imagery.grid import ChipRule, pixel_boxes
from processes.imagery.image import Image

_SLACK_PX = 1e-3
"""More than rounding moves anything."""


@dataclass(frozen=True, slots=True)
class ObjectImagePairs:
    """Objects with the images that they touch, in the order of the objects, then of the images."""

    objects: NDArray[np.int64]
    """Place of each row's object among the geometries, `(n,)`."""
    placement: Placement
    """No image = the object touches none, and has this one row."""


class SeparateImages:
    """Images indexed by where they lie, those of each CRS by themselves."""

    def __init__(self, images: Sequence[Image]) -> None:
        self.images = images
        self.crs_wkts = list(dict.fromkeys(image.crs_wkt or "" for image in images))
        """The CRS that occur."""
        self.crs_of: NDArray[np.int32] = np.array([self.crs_wkts.index(image.crs_wkt or "") for image in images])
        """Place of each image's CRS among them, `(images,)`."""
        self._members = [np.flatnonzero(self.crs_of == place) for place in range(len(self.crs_wkts))]
        self._trees = [
            shapely.STRtree([shapely.Polygon(images[position].grid.corners()) for position in members.tolist()])
            for members in self._members
        ]

    def pair(self, geometries: Sequence[NDArray[np.object_]], rule: ChipRule) -> ObjectImagePairs:
        """Return a row for each object and image whose extent it touches, one without image for any other object.

        Args:
            geometries: the objects in each of the CRS that occur, `(crs, n)`; missing and empty ones touch nothing.
            rule: how chips are cut.
        """
        objects, images = self._touching(geometries)
        count = len(geometries[0])
        alone = np.setdiff1d(np.arange(count), objects)
        objects = np.concatenate([objects, alone])
        images = np.concatenate([images, np.full(len(alone), -1, np.int64)])
        order = np.lexsort((images, objects))
        objects, images = objects[order], images[order]
        windows = np.zeros((len(objects), 4), np.int32)
        for position in np.unique(images[images >= 0]).tolist():
            rows = np.flatnonzero(images == position)
            grid = self.images[position].grid
            shapes = geometries[self.crs_of[position]][objects[rows]]
            windows[rows] = rule.windows(pixel_boxes(shapes, grid), grid)
        return ObjectImagePairs(objects, Placement(images.astype(np.int32), windows))

    def _touching(self, geometries: Sequence[NDArray[np.object_]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return pairs of an object and an image: looked for in the map, found in rounded pixel coordinates."""
        objects, images = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for shapes, tree, members in zip(geometries, self._trees, self._members, strict=True):
            bounds = shapely.bounds(shapes)
            there = np.flatnonzero(np.isfinite(bounds).all(axis=1))
            slack = max(max(self.images[position].grid.cell_size) for position in members.tolist()) * _SLACK_PX
            near, place = tree.query(shapely.box(*(bounds[there] + (-slack, -slack, slack, slack)).T))
            for member in np.unique(place).tolist():
                grid = self.images[members[member]].grid
                candidates = there[near[place == member]]
                pixels = shapely.transform(shapes[candidates], grid.to_pixels)
                touching = candidates[shapely.intersects(pixels, shapely.box(0, 0, grid.width, grid.height))]
                objects.append(touching)
                images.append(np.full(len(touching), members[member], np.int64))
        return np.concatenate(objects), np.concatenate(images)
