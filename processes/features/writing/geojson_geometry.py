"""Geometries of GeoJSON as text: numbers are written and joined by Arrow, many at once, beside other threads of Python.

A number has as few digits as are read back as the same one, and whole numbers have one behind the point. What has an
empty part or a vertex without a height is left to GEOS, which may give a number a digit more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray
from shapely import GeometryType

from processes.features.writing.texts import TEXT, joined, joined_lists

_NAMES: Mapping[int, str] = {
    GeometryType.POINT: "Point",
    GeometryType.LINESTRING: "LineString",
    GeometryType.POLYGON: "Polygon",
    GeometryType.MULTIPOINT: "MultiPoint",
    GeometryType.MULTILINESTRING: "MultiLineString",
    GeometryType.MULTIPOLYGON: "MultiPolygon",
}
_WITH_EXPONENT = 1e10
"""From here on, Arrow writes numbers with an exponent."""


def geometry_texts(geometries: NDArray[np.object_]) -> pa.Array:
    """Return geometries as the JSON texts of GeoJSON, `null` where there is none, `(n,)`."""
    kinds = shapely.get_type_id(geometries)
    is_plain = np.isin(kinds, list(_NAMES)) & ~shapely.is_empty(geometries)
    groups = np.where(is_plain, 2 * kinds + shapely.has_z(geometries), -1)
    texts, places = [pa.array([], TEXT)], np.empty(len(groups), np.int64)
    count = 0
    for group in np.unique(groups).tolist():
        own = np.flatnonzero(groups == group)
        found = _plain_texts(geometries[own], group // 2, bool(group % 2)) if group >= 0 else None
        texts.append(_odd_texts(geometries[own]) if found is None else found)
        places[own] = np.arange(count, count + len(own))
        count += len(own)
    return texts[1] if len(texts) == 2 else pa.concat_arrays(texts).take(pa.array(places))


def _odd_texts(geometries: NDArray[np.object_]) -> pa.Array:
    """Return the texts of any geometries, as GEOS writes them."""
    texts: list[str | None] = np.asarray(shapely.to_geojson(geometries)).tolist()
    # GEOS gives an empty polygon an empty ring, which RFC 7946 does not know
    return pa.array(["null" if text is None else text.replace("[[]]", "[]") for text in texts], TEXT)


def _plain_texts(geometries: NDArray[np.object_], kind: int, has_z: bool) -> pa.Array | None:
    """Return the texts of geometries that are not empty; None = a part of one is, or a number is not finite.

    Args:
        geometries: of one type.
        kind: shapely's id of it.
        has_z: whether they have heights.
    """
    positions, levels = _positions(geometries, kind, has_z)
    if not np.isfinite(positions).all() or not all((np.diff(offsets) > 0).all() for offsets in levels):
        return None
    if levels and levels[0][-1] != len(positions):  # an empty point of several has no position, but is counted
        return None
    first, *others = (_number_texts(numbers) for numbers in positions.T)
    texts = joined(first, *chain.from_iterable((",", other) for other in others))
    for depth, offsets in enumerate(levels, 1):
        texts = joined_lists(texts, offsets, f"{']' * depth},{'[' * depth}")
    depth = len(levels) + 1
    return joined(f'{{"type":"{_NAMES[kind]}","coordinates":{"[" * depth}', texts, f"{']' * depth}}}")


def _positions(
    geometries: NDArray[np.object_], kind: int, has_z: bool
) -> tuple[NDArray[np.float64], Sequence[NDArray[np.signedinteger]]]:
    """Return all positions, `(k, 2 or 3)`, and from the inside out the offsets of parts in what they consist of.

    Arguments as `_plain_texts` has them.
    """
    if kind == GeometryType.POLYGON and not shapely.get_num_interior_rings(geometries).any():  # in half the time
        ends = np.cumsum(shapely.get_num_coordinates(geometries))
        levels = np.concatenate([[0], ends]), np.arange(len(geometries) + 1)
        return shapely.get_coordinates(geometries, include_z=has_z), levels
    _, positions, offsets = shapely.to_ragged_array(geometries, include_z=has_z, include_m=False)
    return positions, offsets or ()


def _number_texts(numbers: NDArray[np.float64]) -> pa.Array:
    texts = pa.array(numbers).cast(TEXT)
    is_whole = (numbers == np.rint(numbers)) & (np.abs(numbers) < _WITH_EXPONENT)
    if not is_whole.any():
        return texts
    return pc.if_else(pa.array(is_whole), joined(texts, ".0"), texts)
