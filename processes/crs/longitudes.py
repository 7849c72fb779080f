"""Longitudes are circular: what lies at -179 lies at 181 too. Geometries here are in x, y; heights are dropped."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
_Geometries = NDArray[np.object_]

_MAX_TURNS = 3
"""Coordinates that lie farther away than this many turns are no longitudes."""


def full_turn(crs: pyproj.CRS) -> float | None:
    """Return 360 degrees in units of a CRS whose x is a longitude; None = it is none."""
    if not crs.is_geographic:
        return None
    return 2 * math.pi / float(crs.axis_info[0].unit_conversion_factor)


def shifted(geometries: _Geometries, offsets: _Floats | float) -> _Geometries:
    """Return geometries, None among them, moved along x, each by its own offset."""
    xy, owner = shapely.get_coordinates(geometries, return_index=True)
    xy[:, 0] += np.broadcast_to(offsets, len(geometries))[owner]
    return np.asarray(shapely.set_coordinates(geometries.copy(), xy))


def widths(geometries: _Geometries) -> _Floats:
    """Return how far geometries reach along x, `(n,)`; NaN for missing and empty ones."""
    bounds = shapely.bounds(geometries)
    with np.errstate(invalid="ignore"):
        return np.asarray(bounds[:, 2] - bounds[:, 0])


def unbroken(geometries: _Geometries, turn: float) -> _Geometries:
    """Return geometries whose parts do not jump from one end of the longitudes to the other.

    For what was transformed vertex by vertex from a projected CRS: each vertex comes within half a turn of the one
    before. A part around a pole, which does not close then, stays as it is.
    """
    wide = np.flatnonzero(widths(geometries) > turn / 2)
    if not len(wide):
        return geometries
    parts = shapely.get_parts(geometries[wide])
    xy, part = shapely.get_coordinates(parts, return_index=True)
    with np.errstate(invalid="ignore"):
        jumps = -np.rint(np.diff(xy[:, 0], prepend=xy[0, 0]) / turn)
    jumps[~np.isfinite(jumps)] = 0
    turns = np.cumsum(jumps)
    starts = np.flatnonzero(np.diff(part, prepend=-1))
    turns -= turns[starts][part]
    turns[np.isin(part, _open_parts(parts, turns))] = 0
    xy[:, 0] += turns * turn
    result = geometries.copy()
    result[wide] = _with_coordinates(geometries[wide], xy)
    return result


def beside(geometries: _Geometries, originals: _Geometries, turn: float, original_turn: float) -> _Geometries:
    """Return geometries whose vertices lie as many turns away as those of the originals that they come from.

    For what was transformed from longitudes to longitudes, where a vertex just beyond the antimeridian may have come
    back at the other end.

    Args:
        geometries: the transformed geometries.
        originals: the same before, with the same vertices.
        turn: 360 degrees in units of the transformed ones.
        original_turn: 360 degrees in units of the originals.
    """
    wide = np.flatnonzero(widths(geometries) > turn / 2)
    if not len(wide):
        return geometries
    xy = shapely.get_coordinates(geometries[wide])
    turns = np.rint(shapely.get_coordinates(originals[wide])[:, 0] / original_turn - xy[:, 0] / turn)
    xy[:, 0] += np.where(np.isfinite(turns), turns, 0) * turn
    result = geometries.copy()
    result[wide] = _with_coordinates(geometries[wide], xy)
    return result


def _open_parts(parts: _Geometries, turns: _Floats) -> NDArray[np.int64]:
    """Return the indices of the polygons of which a ring ends in another turn than it begins in."""
    rings, ring_part = shapely.get_rings(parts, return_index=True)
    is_area = np.isin(shapely.get_type_id(parts), (shapely.GeometryType.POLYGON, shapely.GeometryType.LINEARRING))
    of_areas = turns[np.repeat(is_area, shapely.get_num_coordinates(parts))]
    ends = np.cumsum(shapely.get_num_coordinates(rings))
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    return np.asarray(ring_part[of_areas[starts] != of_areas[ends - 1]])


def _with_coordinates(geometries: _Geometries, xy: _Floats) -> _Geometries:
    return np.asarray(shapely.set_coordinates(geometries.copy(), xy))


def in_one_piece(geometries: _Geometries, turn: float) -> _Geometries:
    """Return geometries with the parts of each side by side, as on the globe.

    Parts are moved by whole turns so that together they take as little of the circle as they can: of an object that is
    cut at the antimeridian (RFC 7946, 3.1.9) the western half of the globe follows the eastern one. Where that makes no
    difference they stay.
    """
    wide = np.flatnonzero(widths(geometries) > turn / 2)
    wide = wide[shapely.get_num_geometries(geometries[wide]) > 1]
    if not len(wide):
        return geometries
    parts, owner = shapely.get_parts(geometries[wide], return_index=True)
    bounds = shapely.bounds(parts)
    turns = _turns_of_parts(bounds[:, 0], bounds[:, 2], owner, turn)
    xy, part = shapely.get_coordinates(parts, return_index=True)
    xy[:, 0] += (turns * turn)[part]
    result = geometries.copy()
    result[wide] = _with_coordinates(geometries[wide], xy)
    return result


def _turns_of_parts(west: _Floats, east: _Floats, owner: NDArray[np.int64], turn: float) -> _Floats:
    """Return by how many turns each part is moved, `(parts,)`: the largest gap of each owner's circle is left out."""
    usable = np.isfinite(west) & np.isfinite(east)
    base = -np.floor(np.where(usable, west, 0) / turn + 0.5)  # all begin within one turn
    begin = np.where(usable, west, 0) + base * turn
    end = begin + np.where(usable, east - west, 0)
    order = np.lexsort((begin, owner))
    own, begin, end = owner[order], begin[order], end[order]
    starts = np.flatnonzero(np.diff(own, prepend=-1))
    lane = own * (4 * turn)  # far enough from the lanes of others for one running maximum of all
    reached = np.maximum.accumulate(end + lane) - lane
    ends = np.append(starts[1:], len(own)) - 1
    gaps = begin - np.roll(reached, 1)
    gaps[starts] = begin[starts] + turn - reached[ends]
    gaps = np.round(gaps, 9)
    largest = np.maximum.reduceat(gaps, starts)
    rank = np.arange(len(own)) - starts[np.searchsorted(starts, np.arange(len(own)), side="right") - 1]
    is_largest = gaps == np.repeat(largest, ends - starts + 1)
    first = np.minimum.reduceat(np.where(is_largest, rank, len(own)), starts)
    moved = np.zeros(len(own))
    moved[order] = (rank < np.repeat(first, ends - starts + 1)).astype(float)
    return np.where(usable, base + moved, 0)


def turned(
    geometries: _Geometries, turn: float, west: float, east: float
) -> Iterator[tuple[NDArray[np.int64], _Geometries, float]]:
    """Yield geometries as they lie between two longitudes, for each number of turns that brings some there.

    Args:
        geometries: the geometries; missing, empty and infinite ones lie nowhere.
        turn: 360 degrees in units of the CRS.
        west: western end of the longitudes.
        east: eastern end, which may be more than a turn away.

    Yields:
        Indices of geometries, these moved, and what was added to their x; first those that need no turn.
    """
    bounds = shapely.bounds(geometries)
    with np.errstate(invalid="ignore"):
        first = np.ceil((west - bounds[:, 2]) / turn)
        last = np.floor((east - bounds[:, 0]) / turn)
    first, last = np.fmax(first, -_MAX_TURNS), np.fmin(last, _MAX_TURNS)
    present = np.isfinite(bounds).all(axis=1) & (first <= last)
    if not present.any():
        return
    for turns in sorted(range(int(first[present].min()), int(last[present].max()) + 1), key=abs):
        near = np.flatnonzero(present & (first <= turns) & (turns <= last))
        if len(near):
            shapes = geometries if len(near) == len(geometries) else geometries[near]
            yield near, shapes if turns == 0 else shifted(shapes, turns * turn), turns * turn
