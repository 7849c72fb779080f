"""Images side by side: an object has a chip in each image that it touches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from processes.imagery.chips import Placement
from processes.imagery.grid import ChipRule, pixel_boxes
from processes.imagery.image import Image

_SLACK_PX = 1e-3
"""Rounding moves a coordinate by less than this many cells."""


@dataclass(frozen=True, slots=True)
class ObjectImagePairs:
    """Objects with the images that they touch, in the order of the objects, then of the images."""

    objects: NDArray[np.int64]
    """Index of each row's object among the geometries, `(n,)`."""
    placement: Placement
    """No image = the object touches none, and has one row."""


class SeparateImages:
    """Images in an index of their extents for each CRS."""

    def __init__(self, images: Sequence[Image]) -> None:
        self.images = images
        self.crs_list, self._crs_of = crs_groups(images)
        """The CRS that occur, in the order of the images."""
        self._members = [np.flatnonzero(self._crs_of == crs) for crs in range(len(self.crs_list))]
        self._trees = [
            shapely.STRtree([shapely.Polygon(images[index].grid.corners()) for index in members.tolist()])
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
        for image in np.unique(images[images >= 0]).tolist():
            rows = np.flatnonzero(images == image)
            grid = self.images[image].grid
            shapes = geometries[self._crs_of[image]][objects[rows]]
            windows[rows] = rule.windows(pixel_boxes(shapes, grid), grid)
        return ObjectImagePairs(objects, Placement(images.astype(np.int32), windows))

    def _touching(self, geometries: Sequence[NDArray[np.object_]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return pairs of an object and an image that touch.

        Candidates are searched in map coordinates; rounded pixel coordinates decide.
        """
        objects, images = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for shapes, tree, members in zip(geometries, self._trees, self._members, strict=True):
            bounds = shapely.bounds(shapes)
            present = np.flatnonzero(np.isfinite(bounds).all(axis=1))
            slack = max(max(self.images[index].grid.cell_size) for index in members.tolist()) * _SLACK_PX
            near, near_member = tree.query(shapely.box(*(bounds[present] + (-slack, -slack, slack, slack)).T))
            for member in np.unique(near_member).tolist():
                grid = self.images[members[member]].grid
                candidates = present[near[near_member == member]]
                pixels = shapely.transform(shapes[candidates], grid.to_pixels)
                touching = candidates[shapely.intersects(pixels, shapely.box(0, 0, grid.width, grid.height))]
                objects.append(touching)
                images.append(np.full(len(touching), members[member], np.int64))
        return np.concatenate(objects), np.concatenate(images)


def crs_groups(images: Sequence[Image]) -> tuple[list[pyproj.CRS], NDArray[np.int32]]:
    """Return the CRS of images, each WKT once, and the index of each image's CRS among them, `(images,)`.

    All images have a reference.
    """
    indices = {wkt: index for index, wkt in enumerate(dict.fromkeys(image.grid.crs_wkt for image in images))}
    crs_of_image = np.array([indices[image.grid.crs_wkt] for image in images], np.int32)
    _, firsts = np.unique(crs_of_image, return_index=True)
    return [images[first].grid.crs for first in firsts.tolist()], crs_of_image
