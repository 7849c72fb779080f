"""What a layer's coordinates say of themselves: degrees that are none, places far from all images, rough ways."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from processes.crs import CrsTransform, crs_label
from processes.crs.accuracy import Way, metres_between, missing_grid, way_at
from processes.crs.longitudes import full_turn
from processes.errors import LayerError
from processes.features.layer import Layer
from processes.imagery.image import Image

_SLACK = 1e-9
"""Part of a turn by which rounding may lead beyond a pole."""
_LOOKED_AT = 16
"""At most so many images are asked for the way to them."""


_AT_ONCE = 2**14
"""Objects that are Python objects at the same time."""

_Box = tuple[float, float, float, float]


class DegreesCheck(msgspec.Struct):
    """Counts the objects of a layer whose coordinates cannot be longitude and latitude, though its CRS has these."""

    crs: pyproj.CRS | None
    """Of the layer."""
    impossible: int = 0
    possible: int = 0
    first: int = 0
    """Position of the first impossible one, from 1."""
    example: tuple[float, float] = (0.0, 0.0)
    """x and y of a corner of it."""

    def add(self, start: int, geometries: NDArray[np.object_]) -> None:
        """Count geometries; `start` is the index of the first one in the layer."""
        turn = None if self.crs is None else full_turn(self.crs)
        if turn is None:
            return
        bounds = shapely.bounds(geometries)
        reach = np.fmax(np.abs(bounds[:, :2]), np.abs(bounds[:, 2:]))
        with np.errstate(invalid="ignore"):
            is_beyond = np.flatnonzero((reach > np.array([turn, turn / 4]) * (1 + _SLACK)).any(axis=1))
        self.possible += int(np.count_nonzero(~np.isnan(reach[:, 0]))) - len(is_beyond)
        if len(is_beyond) and not self.impossible:
            self.first = start + int(is_beyond[0]) + 1
            self.example = (float(bounds[is_beyond[0], 0]), float(bounds[is_beyond[0], 1]))
        self.impossible += len(is_beyond)

    def warnings(self) -> list[str]:
        """Return a warning where some objects have impossible coordinates.

        Raises:
            LayerError: all objects have.
        """
        if not self.impossible or self.crs is None:
            return []
        x, y = self.example
        if not self.possible:
            raise LayerError(
                f"the features' CRS is {crs_label(self.crs)}, but none of them has coordinates that can be longitude "
                f"and latitude: feature {self.first} lies at {x:.10g}, {y:.10g}; say which CRS they are in "
                "(GeoJSON without the member crs is CRS84)"
            )
        have = "feature has coordinates" if self.impossible == 1 else "features have coordinates"
        return [
            f"{self.impossible} {have} that cannot be longitude and latitude in {crs_label(self.crs)}; "
            f"the first is feature {self.first}, at {x:.10g}, {y:.10g}"
        ]


def far_warning(layer: Layer, objects: NDArray[np.int64], images: Sequence[Image]) -> str:
    """Return a warning that no object meets an image, with the boxes of both in the layer's CRS.

    Args:
        layer: the layer.
        objects: indices of the objects that were looked for, `(n,)`.
        images: the images.
    """
    crs = layer.crs or images[0].grid.crs
    box = _joined_box([_bounds(layer, part) for part in np.array_split(objects, len(objects) // _AT_ONCE + 1)])
    outlines = [
        CrsTransform(image.grid.crs, crs).objects(np.array([shapely.Polygon(image.grid.corners())])) for image in images
    ]
    images_box = _joined_box([shapely.total_bounds(outline) for outline in outlines])
    west, south, east, north = box
    hint = ""
    if shapely.box(south, west, north, east).intersects(shapely.box(*images_box)):
        hint = "; with x and y exchanged they would meet: is latitude before longitude?"
    return (
        f"no object meets an image: the objects lie within {_told(box)}, the images within {_told(images_box)} "
        f"(west, south, east, north in {crs_label(crs)}){hint}"
    )


def _bounds(layer: Layer, objects: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the box around objects whose indices ascend."""
    first = int(objects[0])
    return np.asarray(shapely.total_bounds(layer.geometries(first, int(objects[-1]) + 1)[objects - first]))


def _joined_box(boxes: Sequence[NDArray[np.float64]]) -> _Box:
    """Return the box around boxes: west, south, east, north."""
    low, high = np.fmin.reduce(boxes)[:2].tolist(), np.fmax.reduce(boxes)[2:].tolist()
    return low[0], low[1], high[0], high[1]


def _told(box: _Box) -> str:
    return "[" + ", ".join(f"{number:.10g}" for number in box) + "]"


class _Roughness(msgspec.Struct, frozen=True):
    """The way from the layer's CRS to an image, and a cell of that image."""

    way: Way
    transform: CrsTransform
    image: Image
    place: tuple[float, float]
    cell_m: float

    @property
    def cells(self) -> float:
        """How many cells the way may lead beside."""
        return float("inf") if self.way.has_no_shift else (self.way.accuracy_m or 0) / self.cell_m


def way_warnings(layer_crs: pyproj.CRS | None, images: Sequence[Image]) -> list[str]:
    """Return a warning where the way from the layer's CRS to the images' is known to be worse than a cell.

    Args:
        layer_crs: CRS of the objects; None = that of the images.
        images: the images.
    """
    if layer_crs is None:
        return []
    some = images[:: -(-len(images) // _LOOKED_AT)]
    ways = [found for image in some if (found := _way_to(image, layer_crs)) is not None and found.cells > 1]
    if not ways:
        return []
    worst = max(ways, key=lambda found: found.cells)
    names = f"from {crs_label(layer_crs)} to {crs_label(worst.transform.target)}"
    better = missing_grid(worst.transform, *worst.place)
    hint = "" if better is None else f"; the file {better[0]}, which is not here, would make it {better[1]:g} m"
    if worst.way.has_no_shift:
        return [f"no datum shift {names} is known: chips may lie some hundred metres beside their objects{hint}"]
    return [
        f"the way {names} is good to {worst.way.accuracy_m:g} m, and a cell of image {worst.image.name!r} has "
        f"{worst.cell_m:.3g} m: chips may lie beside their objects{hint}"
    ]


def _way_to(image: Image, layer_crs: pyproj.CRS) -> _Roughness | None:
    """Return the way from the layer's CRS to the middle of an image; None = both CRS are one."""
    grid, transform = image.grid, CrsTransform(layer_crs, image.grid.crs)
    column, row = grid.width / 2, grid.height / 2
    middle, right, below = grid.to_map(np.array([[column, row], [column + 1, row], [column, row + 1]])).tolist()
    way = way_at(transform, *middle)
    if way is None:
        return None
    cell_m = min(metres_between(grid.crs, middle, other) for other in (right, below))
    return _Roughness(way, transform, image, tuple(middle), cell_m)


def unknown_shift_warnings(source: pyproj.CRS | None, target: pyproj.CRS | None, images: Sequence[Image]) -> list[str]:
    """Return a warning where the coordinates of a result are in another datum, without a known shift to it.

    Args:
        source: CRS of the rows; None = the result is a table.
        target: CRS of the output; None = that of the rows.
        images: the images, at the first of which the way is looked for.
    """
    if source is None or target is None or not images[0].is_georeferenced:
        return []
    back = CrsTransform(target, source)
    if back.is_identity:
        return []
    grid = images[0].grid
    middle = shapely.Point(grid.to_map(np.array([[grid.width / 2, grid.height / 2]]))[0])
    (place,) = CrsTransform(grid.crs, source).geometries(np.array([middle]))
    way = way_at(back, place.x, place.y)
    if way is None or not way.has_no_shift:
        return []
    return [
        f"no datum shift from {crs_label(source)} to {crs_label(target)} is known: "
        "the coordinates of the result may lie some hundred metres beside their place"
    ]
