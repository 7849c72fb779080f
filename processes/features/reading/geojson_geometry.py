"""Geometries of GeoJSON features. An odd one does not cost the layer: it is mended, or counts as empty, and is told.

Only where the geometries of a slice cannot be read together are they looked at one by one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import shapely
from numpy.typing import NDArray

from processes.errors import LayerError
from processes.features.layer import refuse_collections
from processes.features.reading.oddities import Oddities, Oddity

_LEAST_OF_LINE, _LEAST_OF_RING = 2, 3
"""Positions that a line must have, and a ring, which may be open yet."""


class _Geometry(msgspec.Struct):
    type: Literal[
        "Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection"
    ]


_geometry_type = msgspec.json.Decoder(_Geometry | None)


def read_geometries(
    texts: Sequence[msgspec.Raw | msgspec.UnsetType], start: int, oddities: Oddities
) -> NDArray[np.object_]:
    """Return geometries, None where there is none, `(n,)`.

    Args:
        texts: of the members `geometry`; UNSET where a feature has none.
        start: index of the first feature in the layer.
        oddities: counts what is odd.

    Raises:
        LayerError: one is a GeometryCollection; with the feature's position from 1.
    """
    geometries = np.empty(len(texts), dtype=object)
    try:
        geometries[:] = [None if text is msgspec.UNSET else _checked_text(text) for text in texts]
        geometries = shapely.from_geojson(geometries)
    except (shapely.errors.ShapelyError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        geometries[:] = [_geometry(text, index, oddities) for index, text in enumerate(texts, start)]
    if msgspec.UNSET in texts:
        for index, text in enumerate(texts, start):
            oddities.add(Oddity.NO_GEOMETRY, index, text is msgspec.UNSET)
    refuse_collections(geometries, start)
    return geometries


def _checked_text(text: msgspec.Raw) -> str | None:
    """Return a geometry as text, its type checked, as GEOS would read a feature as a geometry."""
    return None if _geometry_type.decode(text) is None else bytes(text).decode()


def _geometry(text: msgspec.Raw | msgspec.UnsetType, index: int, oddities: Oddities) -> shapely.Geometry | None:
    """Read one geometry, which may be the odd one."""
    if text is msgspec.UNSET:
        return None
    try:
        return shapely.from_geojson(_checked_text(text))
    except UnicodeDecodeError as err:
        raise LayerError(f"feature {index + 1} has a geometry that cannot be read: {err}") from err
    except (shapely.errors.ShapelyError, msgspec.DecodeError, RecursionError) as err:
        why = str(err).split(":", 1)[-1].strip() if isinstance(err, shapely.errors.ShapelyError) else str(err)
    try:
        mended, found = _mend(json.loads(bytes(text)))
        geometry = None if mended is None else shapely.from_geojson(json.dumps(mended))
    except (shapely.errors.ShapelyError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as err:
        oddities.add_unread(index, str(err) if isinstance(err, _UnreadError) else why)
        return None
    for oddity in found:
        oddities.add(oddity, index)
    return geometry


class _UnreadError(ValueError):
    """A geometry cannot be read; the message says why."""


def _mend(geometry: Any) -> tuple[dict[str, Any] | None, set[Oddity]]:
    """Return a geometry that GEOS can read, and what is odd about it; None = there is nothing in it.

    Raises:
        KeyError: its type is unknown.
        ValueError: its coordinates are not those of its type, or no finite numbers.
    """
    name = geometry["type"]
    if not isinstance(name, str):
        raise _UnreadError("its type is no text")
    kind = _KINDS[name.lower()]
    mender = _Mender()
    coordinates = geometry.get("coordinates") or []
    if not isinstance(coordinates, list):
        raise _UnreadError("its coordinates are no array")
    mended: list[Any]
    match kind:
        case "Point":
            mended = mender.position(coordinates) if coordinates else []
        case "MultiPoint":
            mended = [mender.position(part) for part in coordinates]
        case "LineString":
            mended = mender.line(coordinates, is_ring=False)
        case "MultiLineString":
            mended = [line for part in coordinates if (line := mender.line(part, is_ring=False))]
        case "Polygon":
            mended = mender.polygon(coordinates)
        case _:
            mended = [polygon for part in coordinates if (polygon := mender.polygon(part))]
    if not coordinates:
        mender.found.add(Oddity.NO_COORDINATES)
    return {"type": kind, "coordinates": mended} if mended else None, mender.found


_KINDS = {
    kind.lower(): kind for kind in ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon")
}


class _Mender:
    """Mends coordinates, and remembers what was odd about them."""

    def __init__(self) -> None:
        self.found: set[Oddity] = set()

    def polygon(self, rings: Any) -> list[Any]:
        """Return the rings of a polygon; nothing if the outer one has too few points."""
        if not isinstance(rings, list):
            raise _UnreadError("its rings are no array")
        outer, *holes = [self.line(ring, is_ring=True) for ring in rings] or [[]]
        return [outer, *(hole for hole in holes if hole)] if outer else []

    def line(self, positions: Any, is_ring: bool) -> list[list[float]]:
        """Return the positions of a line or a ring; nothing if they are too few."""
        if not isinstance(positions, list):
            raise _UnreadError("its lines are no arrays")
        line = [self.position(position) for position in positions]
        if len(line) < (_LEAST_OF_RING if is_ring else _LEAST_OF_LINE):
            self.found.add(Oddity.TOO_FEW_POINTS)
            return []
        if is_ring and line[0][:2] != line[-1][:2]:
            self.found.add(Oddity.OPEN_RING)
            line.append(line[0])
        return line

    def position(self, values: Any) -> list[float]:
        """Return a position in two or three coordinates."""
        if not isinstance(values, list) or len(values) < 2:
            raise _UnreadError("a position has fewer than two coordinates")
        if not all(map(_is_finite, values[:2])):
            raise _UnreadError("a coordinate is no finite number; NaN and infinity are not JSON")
        if len(values) > 3:
            self.found.add(Oddity.MORE_COORDINATES)
        if len(values) > 2 and values[2] is None:
            self.found.add(Oddity.NO_HEIGHT)
            return values[:2]
        if not all(map(_is_finite, values[2:3])):
            raise _UnreadError("a height is no finite number")
        return values[:3]


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
