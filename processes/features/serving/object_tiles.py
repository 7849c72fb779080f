"""Objects of a finished result as vector tiles, made when they are asked for.

A tile with few objects has them as they are. One with many has squares in their place, each in the class that most of
the objects in it have, so that the cost of a tile does not grow with the objects in it.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from processes.crs.web_mercator import TileAddress, WorldBox
from processes.features.serving.map_index import FoundObjects, MapIndex, on_map
from processes.features.serving.object_filter import ObjectFilter
from processes.features.serving.stored_result import StoredResult
from processes.features.serving.vector_tile import EXTENT, TileLayer, encode_tile

OBJECTS, SQUARES = "objects", "squares"
"""The layers of a tile: it has objects, or squares where they are many."""
COUNT = "count"
"""Attribute of a square: how many objects are in it."""
_MOST_OBJECTS = 2000
_SQUARES = 64
"""Squares along a side of a tile."""
_MARGIN = 64
"""Units around a tile that belong to it: a symbol at its edge reaches into it."""
_SMALL = 24
"""An object that is smaller, in units of the tile, along both sides is shown as a point."""
_TOLERANCE, _MANY_VERTICES = 4.0, 100
"""An outline of more vertices may be moved by so many units, half a pixel."""
_MOST_COUNTERS = 2**24


def object_tile(stored: StoredResult, index: MapIndex, address: TileAddress, wanted: ObjectFilter) -> bytes:
    """Return a tile with the objects that match.

    Args:
        stored: the result.
        index: its index.
        address: of the tile.
        wanted: which objects.
    """
    box = address.box
    found = index.find(box.widened(_MARGIN / EXTENT), wanted)
    if len(found.rows) > _MOST_OBJECTS:
        return encode_tile([_squares(stored, index, found, box)])
    return encode_tile([_objects(stored, index, found, box)])


def _objects(stored: StoredResult, index: MapIndex, found: FoundObjects, box: WorldBox) -> TileLayer:
    order = np.argsort(found.rows)
    rows, labels, boxes = found.rows[order], found.labels[order], _in_tile(found.boxes[order], box)
    geometries = shapely.transform(on_map(stored, stored.geometries(rows)), lambda xy: _in_tile(xy, box))
    sides = boxes[:, 2:] - boxes[:, :2]
    is_small = (sides < _SMALL).all(axis=1) & (shapely.get_dimensions(geometries) > 0)
    geometries[is_small] = shapely.points((boxes[is_small, :2] + boxes[is_small, 2:]) / 2)
    return TileLayer(OBJECTS, _clipped(geometries, boxes), rows, {stored.style.label_field: _values(index, labels)})


def _in_tile(places: NDArray[np.float64], box: WorldBox) -> NDArray[np.float64]:
    """Return places of the map, `(n, 2)`, or boxes, `(n, 4)`, in units of a tile."""
    origin = np.tile([box.west, box.north], places.shape[1] // 2)
    return np.asarray((places - origin) * (EXTENT / (box.east - box.west)))


def _clipped(geometries: NDArray[np.object_], boxes: NDArray[np.float64]) -> NDArray[np.object_]:
    """Return geometries with few vertices, and without what lies outside the tile and its margin."""
    is_long = shapely.get_num_coordinates(geometries) > _MANY_VERTICES
    geometries[is_long] = shapely.simplify(geometries[is_long], _TOLERANCE, preserve_topology=False)
    low, high = -_MARGIN, EXTENT + _MARGIN
    reaches_out = (boxes[:, :2] < low).any(axis=1) | (boxes[:, 2:] > high).any(axis=1)
    outer = geometries[reaches_out]
    try:
        geometries[reaches_out] = shapely.clip_by_rect(outer, low, low, high, high)
    except shapely.GEOSException:  # an outline that crosses itself
        geometries[reaches_out] = shapely.clip_by_rect(shapely.make_valid(outer), low, low, high, high)
    return geometries


def _values(index: MapIndex, labels: NDArray[np.int32]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the labels that occur, and which of them each object has; -1 = none."""
    used, places = np.unique(labels, return_inverse=True)
    texts: list[str | None] = index.labels.take(pa.array(used)).to_pylist()
    known = [text for text in texts if text is not None]
    numbers = np.array([-1 if text is None else known.index(text) for text in texts], np.int64)
    return known, numbers[places] if len(numbers) else np.zeros(0, np.int64)


def _squares(stored: StoredResult, index: MapIndex, found: FoundObjects, box: WorldBox) -> TileLayer:
    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    cells = np.floor(_in_tile(centres, box) * (_SQUARES / EXTENT)).astype(np.int64)
    is_inside = ((cells >= 0) & (cells < _SQUARES)).all(axis=1)
    numbers = cells[is_inside, 1] * _SQUARES + cells[is_inside, 0]
    kinds = min(len(index.labels), _MOST_COUNTERS // _SQUARES**2)  # rarer ones, of which there are too many, are one
    labels = np.minimum(found.labels[is_inside], kinds - 1)
    counts = np.bincount(numbers * kinds + labels, minlength=_SQUARES**2 * kinds).reshape(-1, kinds)
    totals = counts.sum(axis=1)
    used = np.flatnonzero(totals)
    side = EXTENT // _SQUARES
    left, top = used % _SQUARES * side, used // _SQUARES * side
    different, places = np.unique(totals[used], return_inverse=True)
    attributes = {
        stored.style.label_field: _values(index, counts[used].argmax(axis=1).astype(np.int32)),
        COUNT: (different.tolist(), places),
    }
    return TileLayer(SQUARES, shapely.box(left, top, left + side, top + side), used, attributes)
