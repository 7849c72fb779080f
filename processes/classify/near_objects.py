"""Which images of a catalog objects may touch, by what the catalog states: no image is opened to find that out.

It errs on the side of images that are opened and not needed. An image that is left out touches no chip, neither where
the catalog says that it lies (`proj:`) nor near the box of its item; where an image that was opened lies elsewhere than
its catalog says, none is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import numpy as np
import pyproj
import shapely
from affine import Affine
from numpy.typing import NDArray

from processes.classify.image_links import LinkedImage
from processes.classify.planning.extent import Extent
from processes.crs import CRS84, CrsTransform, horizontal, names_places, parse_crs
from processes.crs.longitudes import full_turn
from processes.errors import InputError
from processes.features.layer import Layer
from processes.imagery.grid import ChipRule, Grid
from processes.imagery.stac import StatedGrid

_OBJECTS_AT_ONCE = 2**14
"""Objects that are Python objects at the same time."""
_CELLS = 128
"""Boxes of objects are joined within so many columns and rows of the layer."""
_OWN_SIDES = 2
"""A box is wider by so many of its sides: an object's box in the CRS of an image may be as much larger."""
_LEAST_COSINE = 0.02
_EDGE_PARTS, _BENT = 20, 0.02
"""Parts of an edge that is transformed, and share of the sides by which the box around is wider than its corners."""
_SAME = 1e-4
"""Share by which a coordinate may differ after the way to longitudes and back."""
_CELL = 1.0
"""Corners that lie within a cell of where a catalog has them are where it has them."""


class NearObjects:
    """Says which images objects may touch. Several threads may ask.

    Args:
        layer: the objects.
        extent: those of them that count; None = all.
        rule: how chips are cut.
    """

    def __init__(self, layer: Layer, extent: Extent | None, rule: ChipRule) -> None:
        self._layer = layer
        self._extent = extent
        self._rule = rule
        self._lock = Lock()
        self._objects: shapely.STRtree | None = None
        self._trusts_catalogs = layer.crs is not None
        self._opened: list[Grid] = []
        """One grid of each CRS among the opened images: the one whose chips reach farthest."""
        self._left_out: set[StatedGrid] = set()

    def may_touch(self, image: LinkedImage) -> bool:
        """Return whether a chip of an object may have cells of an image."""
        if image.grid is None or image.bands or not self._trusts_catalogs:
            return True
        is_near = self._is_near(image.grid)
        if not is_near:
            self._left_out.add(image.grid)
        return is_near

    def learn(self, opened: Sequence[tuple[Grid, StatedGrid | None]]) -> bool:
        """Take note of images that were opened; return whether these are all that objects may touch.

        Args:
            opened: grid of each, and the one that a catalog states.
        """
        if not self._left_out:
            return True
        stated = [(grid, told) for grid, told in opened if told is not None]
        if not opened or not all(_is_true(told, grid) for grid, told in stated):
            self._trusts_catalogs = False
            self._left_out.clear()
            return False
        farthest: list[Grid] = []
        for grid in sorted((grid for grid, _ in opened), key=self._rule.reach, reverse=True):
            if grid.crs_wkt is not None and not any(grid.shares_crs(other) for other in farthest):
                farthest.append(grid)
        self._opened = farthest
        left_out, self._left_out = self._left_out, set()
        return not any(self._is_near(grid) for grid in left_out)

    def _is_near(self, stated: StatedGrid) -> bool:
        """Return whether a chip may reach where a catalog says that an image lies, or the box of its item."""
        grid = _grid_of(stated)
        if grid is None:
            return True
        reach = max(self._rule.reach(other) for other in (grid, *self._opened) if other.shares_crs(grid))
        west, south, east, north = stated.bbox
        turns = 360 if east < west else 0
        corners = np.array([[west, south], [east + turns, north]])
        return self._has_object_in(grid.corners(), reach, grid) or self._has_object_in(corners, 0, None)

    def _has_object_in(self, points: NDArray[np.float64], reach: float, grid: Grid | None) -> bool:
        """Return whether an object may lie in a box.

        Args:
            points: the box is around these, `(n, 2)`.
            reach: it is so much wider on each side, in their units.
            grid: has their CRS; None = it is CRS84.
        """
        layer_crs = self._layer.crs
        if layer_crs is None:
            return True
        crs = parse_crs(CRS84) if grid is None else grid.crs
        (west, south), (east, north) = points.min(axis=0) - reach, points.max(axis=0) + reach
        outline = _outline(west, south, east, north)
        try:
            (moved,) = CrsTransform(crs, layer_crs).objects(np.array([outline]))
        except InputError:  # there is no way between the CRS, which is told where the image is used
            return True
        west, south, east, north = moved.bounds
        if not np.isfinite([west, south, east, north]).all():
            return True
        turn = full_turn(layer_crs)
        if turn is not None and east - west > turn / 2:
            return True
        across, along = (east - west) * _BENT, (north - south) * _BENT
        box = np.array([west - across, south - along, east + across, north + along])
        shifts: tuple[float, ...] = (0.0,)
        if turn is not None:  # boxes of objects begin between 0 and a whole turn
            box[[0, 2]] -= np.floor(box[0] / turn) * turn
            shifts = (-turn, 0.0, turn)
        tree = self._boxes(layer_crs)
        return tree is None or any(len(tree.query(shapely.box(box[0] + x, box[1], box[2] + x, box[3]))) for x in shifts)

    def _boxes(self, layer_crs: pyproj.CRS) -> shapely.STRtree | None:
        """Return boxes that hold all objects, in the layer's CRS; None = it cannot be told where objects lie."""
        with self._lock:
            if self._objects is None and self._trusts_catalogs:
                bounds, turn = self._bounds(layer_crs), full_turn(layer_crs)
                if bounds is None or (turn is None and not _lie_once(_joined(bounds), layer_crs)):
                    self._trusts_catalogs = False
                    return None
                bounds = _wider(bounds, turn)
                if turn is not None:
                    bounds[:, [0, 2]] -= (np.floor(bounds[:, 0] / turn) * turn)[:, None]
                west, south, east, north = _joined(bounds).T
                self._objects = shapely.STRtree(shapely.box(west, south, east, north))
            return self._objects

    def _bounds(self, layer_crs: pyproj.CRS) -> NDArray[np.float64] | None:
        """Return the boxes of the objects that count, `(n, 4)`; None = a geometry is one that the plan refuses."""
        layer, found = self._layer, [np.zeros((0, 4))]
        try:
            for start in range(0, len(layer), _OBJECTS_AT_ONCE):
                geometries = layer.geometries(start, min(start + _OBJECTS_AT_ONCE, len(layer)))
                if self._extent is not None:
                    geometries = geometries[self._extent.touches(geometries, layer_crs)]
                bounds = shapely.bounds(geometries)
                found.append(bounds[np.isfinite(bounds).all(axis=1)])
        except InputError:  # told where objects are placed, as a fault of the features
            return None
        return np.concatenate(found)


def _grid_of(stated: StatedGrid) -> Grid | None:
    """Return a grid that a catalog states; None = it is none."""
    try:
        crs = parse_crs(stated.crs)
    except InputError:
        return None
    transform = Affine(*stated.transform)
    if transform.determinant == 0 or not names_places(crs.to_wkt()):
        return None
    return Grid(transform, stated.shape[1], stated.shape[0], crs.to_wkt())


def _is_true(stated: StatedGrid, grid: Grid) -> bool:
    """Return whether an image lies where a catalog says."""
    told = _grid_of(stated)
    if told is None:
        return True  # it was not left out for that
    if (told.height, told.width) != (grid.height, grid.width) or not told.shares_crs(grid):
        return False
    return bool(np.abs(told.corners() - grid.corners()).max() <= _CELL * max(grid.cell_size))


def _outline(west: float, south: float, east: float, north: float) -> shapely.Polygon:
    """Return a box with points along its edges. It may be a point, for which GEOS raises an error."""
    corners = np.array([[west, south], [east, south], [east, north], [west, north]])
    sides = np.roll(corners, -1, axis=0) - corners
    shares = np.arange(_EDGE_PARTS)[:, None] / _EDGE_PARTS
    return shapely.Polygon((corners[:, None] + sides[:, None] * shares).reshape(-1, 2))


def _lie_once(boxes: NDArray[np.float64], crs: pyproj.CRS) -> bool:
    """Return whether the corners of boxes are where a projected CRS has their longitudes and latitudes.

    Beyond the edge of a projection, as east of 180 degrees in Web Mercator, they are not: the images that are there lie
    at its other end.
    """
    geodetic = horizontal(crs).geodetic_crs
    if geodetic is None:
        return False
    corners = np.concatenate([boxes[:, [0, 1]], boxes[:, [0, 3]], boxes[:, [2, 1]], boxes[:, [2, 3]]])
    try:
        places = CrsTransform(crs, geodetic).geometries(np.asarray(shapely.points(corners)))
        back = CrsTransform(geodetic, crs).geometries(places)
    except InputError:
        return False
    return bool(np.allclose(shapely.get_coordinates(back), corners, rtol=_SAME, atol=_SAME))


def _wider(bounds: NDArray[np.float64], turn: float | None) -> NDArray[np.float64]:
    """Return boxes with room for how an object lies in the CRS of an image; `turn` = 360 degrees of longitude."""
    sides = ((bounds[:, 2] - bounds[:, 0]) + (bounds[:, 3] - bounds[:, 1])) * _OWN_SIDES
    across = sides
    if turn is not None:  # degrees of longitude are shorter than those of latitude
        latitude = np.abs(bounds[:, [1, 3]]).max(axis=1, initial=0) / turn * 2 * np.pi
        across = sides / np.maximum(np.cos(latitude), _LEAST_COSINE)
    return bounds + np.stack([-across, -sides, across, sides], axis=1)


def _joined(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return boxes that hold all boxes, one for those that begin in the same part of the layer."""
    if len(boxes) <= _CELLS:
        return boxes
    corners = boxes[:, :2]
    low, size = corners.min(axis=0), np.maximum(np.ptp(corners, axis=0), 1e-300)
    places = np.minimum((corners - low) / size * _CELLS, _CELLS - 1).astype(np.int64)
    cells = places[:, 1] * _CELLS + places[:, 0]
    order = np.argsort(cells, kind="stable")
    starts = np.flatnonzero(np.diff(cells[order], prepend=-1))
    low_of, high_of = (np.minimum.reduceat(boxes[order, :2], starts), np.maximum.reduceat(boxes[order, 2:], starts))
    return np.concatenate([low_of, high_of], axis=1)
