"""Images side by side: an object has a chip in each image that it touches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from processes.crs import same_coordinates
from processes.crs.longitudes import shifted, turned
from processes.imagery.chips import Placement
from processes.imagery.grid import ChipRule, holds_centre, pixel_boxes
from processes.imagery.image import Image

_SLACK_PX = 1e-3
"""Rounding moves a coordinate by less than this many cells."""


class ObjectImagePairs(msgspec.Struct, frozen=True):
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
        objects, images, offsets = self._touching(geometries)
        count = len(geometries[0])
        alone = np.setdiff1d(np.arange(count), objects)
        objects = np.concatenate([objects, alone])
        images = np.concatenate([images, np.full(len(alone), -1, np.int64)])
        offsets = np.concatenate([offsets, np.zeros(len(alone))])
        order = np.lexsort((images, objects))
        objects, images, offsets = objects[order], images[order], offsets[order]
        windows = np.zeros((len(objects), 4), np.int32)
        for image in np.unique(images[images >= 0]).tolist():
            rows = np.flatnonzero(images == image)
            grid = self.images[image].grid
            shapes = geometries[self._crs_of[image]][objects[rows]]
            if offsets[rows].any():
                shapes = shifted(shapes, offsets[rows])
            windows[rows] = rule.windows(pixel_boxes(shapes, grid), grid)
        return ObjectImagePairs(objects, Placement(images.astype(np.int32), windows))

    def _touching(
        self, geometries: Sequence[NDArray[np.object_]]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return pairs of an object and an image that touch, and what is added to the object's x to be there.

        Candidates are searched in map coordinates; rounded pixel coordinates decide.
        """
        found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, bool))]
        for shapes, tree, members in zip(geometries, self._trees, self._members, strict=True):
            slack = max(max(self.images[index].grid.cell_size) for index in members.tolist()) * _SLACK_PX
            for places, moved, offset in self._turned(shapes, members, slack):
                bounds = shapely.bounds(moved)
                present = np.flatnonzero(np.isfinite(bounds).all(axis=1))
                near, near_member = tree.query(shapely.box(*(bounds[present] + (-slack, -slack, slack, slack)).T))
                for member in np.unique(near_member).tolist():
                    grid = self.images[members[member]].grid
                    candidates = present[near[near_member == member]]
                    pixels = shapely.transform(moved[candidates], grid.to_pixels)
                    touches = shapely.intersects(pixels, shapely.box(0, 0, grid.width, grid.height))
                    touching = places[candidates[touches]]
                    image = np.full(len(touching), members[member], np.int64)
                    is_centred = holds_centre(shapely.bounds(pixels[touches]), grid)
                    found.append((touching, image, np.full(len(touching), offset), is_centred))
        return _once(*(np.concatenate(parts) for parts in zip(*found, strict=True)))

    def _turned(
        self, geometries: NDArray[np.object_], members: NDArray[np.int64], slack: float
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.object_], float]]:
        """Yield geometries as they lie where images are whose longitudes are circular: indices, geometries, offset."""
        turn = self.images[members[0]].grid.turn
        if turn is None:
            yield np.arange(len(geometries)), geometries, 0.0
            return
        west, _, east, _ = shapely.total_bounds(
            [shapely.Polygon(self.images[index].grid.corners()) for index in members.tolist()]
        ).tolist()
        yield from turned(geometries, turn, west - slack, east + slack)


def _once(
    objects: NDArray[np.int64],
    images: NDArray[np.int64],
    offsets: NDArray[np.float64],
    is_centred: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return pairs without those that occur twice: of an image around the globe an object may touch both ends.

    It has one row then, where its centre is, else where it needs the fewest turns.
    """
    order = np.lexsort((np.abs(offsets), ~is_centred, images, objects))
    objects, images, offsets = objects[order], images[order], offsets[order]
    is_first = (np.diff(objects, prepend=-1) != 0) | (np.diff(images, prepend=-1) != 0)
    return objects[is_first], images[is_first], offsets[is_first]


def crs_groups(images: Sequence[Image]) -> tuple[list[pyproj.CRS], NDArray[np.int32]]:
    """Return the CRS of images, each once however it is written, and the index of each image's, `(images,)`.

    All images have a reference.
    """
    crs_list: list[pyproj.CRS] = []
    indices: dict[str | None, int] = {}
    for grid in (image.grid for image in images):
        if grid.crs_wkt in indices:
            continue
        same = (index for index, crs in enumerate(crs_list) if same_coordinates(crs, grid.crs))
        indices[grid.crs_wkt] = index = next(same, len(crs_list))
        if index == len(crs_list):
            crs_list.append(grid.crs)
    return crs_list, np.array([indices[image.grid.crs_wkt] for image in images], np.int32)
