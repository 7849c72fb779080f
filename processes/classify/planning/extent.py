"""The extent: the rectangle that objects must touch to be classified.

It is a rectangle in its own CRS. Geometries are transformed into that CRS, vertex by vertex, and tested there. To cut
an image, only the corners of the rectangle are transformed into the CRS of the image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from processes.crs import CRS84, CrsTransform, is_in_x_y_order, is_north_first, parse_crs, same_coordinates
from processes.crs.longitudes import full_turn, turned
from processes.crs.transform import transformer_between
from processes.errors import InputError, RequestError

_TOLERANCE = 1e-7
"""A corner has a true position in another CRS where its transform there and back changes it by no more than this, as a
share of its coordinates and in units of the CRS."""

_EDGE_POINTS, _MARGIN = 21, 0.1
"""Points of an edge that is transformed into another CRS, and share of the sides by which the box around is wider."""

Box = tuple[float, float, float, float]
"""West, south, east, north."""


class Extent(msgspec.Struct, frozen=True):
    """Where objects are classified."""

    boxes: tuple[Box, ...]
    """One, or the two on either side of the antimeridian."""
    crs: pyproj.CRS

    def touches(self, geometries: NDArray[np.object_], crs: pyproj.CRS) -> NDArray[np.bool_]:
        """Return which geometries share a point with the extent, edges included; missing and empty ones do not."""
        transformed = CrsTransform(crs, self.crs).objects(geometries)
        touched = np.zeros(len(geometries), bool)
        for box in self.boxes:
            for near, shapes, _ in self._turned(transformed, box):
                touched[near] |= shapely.intersects(shapes, _shape(box))
        return touched

    def _turned(
        self, geometries: NDArray[np.object_], box: Box
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.object_], float]]:
        """Yield finite geometries as they lie where the box is, where longitudes are circular: see `turned`."""
        turn = full_turn(self.crs)
        if turn is not None:
            yield from turned(geometries, turn, box[0], box[2])
            return
        near = np.flatnonzero(np.isfinite(shapely.bounds(geometries)).all(axis=1))
        yield near, geometries[near], 0.0

    def boxes_in(self, crs: pyproj.CRS) -> list[Box]:
        """Return boxes in a CRS that hold all that touches the extent.

        An object whose edges are so long that another CRS bends them by a tenth of the extent may be left out.

        Args:
            crs: of the objects.
        """
        if same_coordinates(crs, self.crs):
            boxes = list(self.boxes)
        else:
            transformer = transformer_between(self.crs.to_wkt(), crs.to_wkt())
            boxes = [_wider(transformer.transform_bounds(*box, densify_pts=_EDGE_POINTS)) for box in self.boxes]
        turn = full_turn(crs)
        shifts = (0.0,) if turn is None else (0.0, turn, -turn)
        return [(west + shift, south, east + shift, north) for west, south, east, north in boxes for shift in shifts]

    def parts(self, outline: NDArray[np.float64], crs: pyproj.CRS) -> list[NDArray[np.float64]]:
        """Return for each box that an image touches points around the part they share, `(n, 2)`, in the image's CRS.

        They are the corners of the box; of the image, where it lies within the box; or of the intersection of both,
        where a corner of the box has no true position in the image's CRS, as that of a box as large as the world.

        Args:
            outline: the image's corners, `(4, 2)`.
            crs: of the image.
        """
        forth = CrsTransform(crs, self.crs)
        outlines = forth.objects(np.array([shapely.Polygon(outline)]))
        parts = []
        for box in self.boxes:
            shape = _shape(box)
            for _, (footprint,), offset in self._turned(outlines, box):
                if shapely.covers(shape, footprint):
                    parts.append(outline)
                elif shapely.intersects(shape, footprint):
                    parts.append(self._moved_back(shape, footprint, offset, forth))
        return parts

    def _moved_back(
        self, shape: shapely.Geometry, footprint: shapely.Geometry, offset: float, forth: CrsTransform
    ) -> NDArray[np.float64]:
        """Return the corners of a box, or of what it shares with an image, in the CRS of the image, `(n, 2)`.

        Args:
            shape: the box.
            footprint: of the image, where the box is.
            offset: what was added to the image's x, in units of this CRS, to bring it there.
            forth: from the CRS of the image.
        """
        turn, image_turn = full_turn(self.crs), full_turn(forth.source)
        back = CrsTransform(self.crs, forth.source)

        def moved_back(part: shapely.Geometry) -> NDArray[np.float64]:
            xy, there = shapely.get_coordinates(back.geometries(np.array([part]))), shapely.get_coordinates(part)
            if turn is not None and image_turn is not None:
                xy[:, 0] += _turns((there[:, 0] - offset) / turn - xy[:, 0] / image_turn) * image_turn
            return xy

        moved, there = moved_back(shape), shapely.get_coordinates(shape)
        returned = shapely.get_coordinates(forth.geometries(np.array([shapely.multipoints(moved)])))
        if turn is not None:
            returned[:, 0] += _turns((there[:, 0] - returned[:, 0]) / turn) * turn
        if np.allclose(returned, there, rtol=_TOLERANCE, atol=_TOLERANCE):
            return moved
        return moved_back(shapely.intersection(shape, footprint))


def everywhere(_crs: pyproj.CRS) -> list[Box]:
    """Return a box that holds all."""
    return [(-math.inf, -math.inf, math.inf, math.inf)]


def _wider(box: Box) -> Box:
    """Return a box with a margin; one that is not finite, or is none, becomes the plane."""
    west, south, east, north = box
    if not all(map(math.isfinite, box)) or west > east or south > north:
        return -math.inf, -math.inf, math.inf, math.inf
    across, along = (east - west) * _MARGIN, (north - south) * _MARGIN
    return west - across, south - along, east + across, north + along


def _turns(difference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the whole turns in differences of longitudes, in turns; none where one is not finite."""
    return np.where(np.isfinite(difference), np.rint(difference), 0)


def read_extent(value: Mapping[str, Any], pointer: str) -> Extent:
    """Read OGC's bounding box, `{"bbox": […], "crs"?: …}`.

    Without `crs` it is CRS84. Coordinates are in x, y order where the CRS is named `AUTHORITY:CODE`, else in the order
    of its authority. West beyond east crosses the antimeridian.

    Args:
        value: the box, its members of the right types.
        pointer: where it stands in the request.

    Raises:
        RequestError: the numbers or the CRS make no rectangle; points to the member at fault.
    """
    name = value.get("crs", CRS84)
    try:
        crs = parse_crs(name)
    except InputError as err:
        raise RequestError.at(f"{pointer}/crs", err) from err
    try:
        west, south, east, north = _x_y_order(_horizontal(value["bbox"]), name, crs)
        return Extent(tuple(_boxes(west, south, east, north, crs)), crs)
    except InputError as err:
        raise RequestError.at(f"{pointer}/bbox", err) from err


def _horizontal(numbers: Sequence[float]) -> Box:
    """Return the four numbers of a box of four or, with heights, of six."""
    if len(numbers) not in (4, 6):
        raise InputError(f"the extent's bbox has {len(numbers)} numbers, not four, or six with heights")
    if not all(math.isfinite(number) for number in numbers):
        raise InputError("the extent's bbox has a number that is not finite")
    half = len(numbers) // 2
    return numbers[0], numbers[1], numbers[half], numbers[half + 1]


def _x_y_order(box: Box, name: str, crs: pyproj.CRS) -> Box:
    if is_in_x_y_order(name) or not is_north_first(crs):
        return box
    first_low, second_low, first_high, second_high = box
    return second_low, first_low, second_high, first_high


def _boxes(west: float, south: float, east: float, north: float, crs: pyproj.CRS) -> list[Box]:
    if south > north:
        raise InputError(f"the extent's southern edge {south:g} lies north of its northern one, {north:g}")
    if west <= east:
        return [(west, south, east, north)]
    if not crs.is_geographic:
        raise InputError(f"the extent's western edge {west:g} lies east of its eastern one, {east:g}")
    antimeridian = math.pi / crs.axis_info[0].unit_conversion_factor
    return [(west, south, antimeridian, north), (-antimeridian, south, east, north)]


def _shape(box: Box) -> shapely.Geometry:
    """Return a box as a shape; one without width or height is a line or a point."""
    west, south, east, north = box
    if west == east and south == north:
        return shapely.Point(west, south)
    if west == east or south == north:
        return shapely.LineString([(west, south), (east, north)])
    return shapely.box(west, south, east, north)
