"""JSON-FG (OGC 21-045r1): GeoJSON whose geometries are in the member `place`, in the CRS of `coordRefSys`.

The member `geometry`, in longitude and latitude, is read where a feature has no place, or one of a type beyond
GeoJSON's, as the standard means it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from processes.crs import CRS84, CrsTransform, is_north_first, parse_crs
from processes.errors import InputError, LayerError
from processes.features.reading.collection import NULL, FeatureCollection, read_member
from processes.features.reading.geojson_geometry import read_geometries
from processes.features.reading.oddities import Oddities, Oddity

_BEYOND_GEOJSON = {
    "CircularString",
    "CompoundCurve",
    "CurvePolygon",
    "MultiCurve",
    "MultiSurface",
    "Polyhedron",
    "MultiPolyhedron",
    "Prism",
    "MultiPrism",
}


_CRS_NAME = b'"coordRefSys"'


class _PlacedFeature(msgspec.Struct):
    geometry: msgspec.Raw = NULL
    place: msgspec.Raw = NULL
    coordRefSys: msgspec.Raw = NULL  # noqa: N815 - the standard's spelling


_feature = msgspec.json.Decoder(_PlacedFeature)


def place_crs(collection: FeatureCollection, start: int) -> tuple[pyproj.CRS, bool] | None:
    """Return the CRS of places, and whether their coordinates are in y, x order; None = the collection is no JSON-FG.

    The axis order is that of the CRS's authority. A feature alone, and a sequence of them, has its CRS in its features.

    Args:
        collection: the frame of a page.
        start: index of its first feature in the layer.

    Raises:
        LayerError: `coordRefSys` names no CRS, or only some features have it.
    """
    conformance = read_member(collection.conformance)
    is_json_fg = isinstance(conformance, list) and any("json-fg" in str(item) for item in conformance)
    member = read_member(collection.coordinate_system)
    if member is None and collection.features:
        try:
            member = read_member(_feature.decode(collection.features[0]).coordRefSys)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            member = None  # the reader of the features reports what is wrong
        if member is not None:
            _require_in_each(collection.features, start)
    return None if member is None and not is_json_fg else _parse(CRS84 if member is None else member)


def read_places(
    texts: Sequence[msgspec.Raw], crs: tuple[pyproj.CRS, bool], start: int, oddities: Oddities
) -> NDArray[np.object_]:
    """Return the geometries of features in the CRS of their places, in x, y order, `(n,)`.

    Args:
        texts: the features.
        crs: as `place_crs` returns it.
        start: index of the first feature in the layer.
        oddities: counts what is odd.

    Raises:
        LayerError: a place cannot be read, or is in another CRS.
    """
    features = [_feature.decode(text) for text in texts]
    for index, feature in enumerate(features, start):
        if _CRS_NAME in bytes(feature.place):
            _refuse_other_crs(feature.place, crs, index)
        if feature.coordRefSys != NULL and _parse(read_member(feature.coordRefSys)) != crs:
            raise LayerError(f"feature {index + 1} has a coordRefSys that is not that of the features before it")
    is_fallback = np.array([_is_beyond_geojson(feature) for feature in features], bool)
    for index in np.flatnonzero(is_fallback).tolist():
        oddities.add(Oddity.FALLBACK_GEOMETRY, start + index)
    has_place = np.array([feature.place != NULL for feature in features], bool) & ~is_fallback
    places = read_geometries(
        [item.place if has else NULL for item, has in zip(features, has_place, strict=True)], start, oddities
    )
    others = read_geometries(
        [NULL if has else item.geometry for item, has in zip(features, has_place, strict=True)], start, oddities
    )
    if crs[1]:
        places = swapped(places)
    return np.where(has_place, places, CrsTransform(parse_crs(CRS84), crs[0]).geometries(others))


def refuse_place(text: msgspec.Raw, index: int) -> None:
    """Raise LayerError where a feature without geometry has a place, though its collection does not say so."""
    if _feature.decode(text).place != NULL:
        raise LayerError(
            f"feature {index + 1} has its geometry in the member `place`, as JSON-FG has it, but neither `conformsTo` "
            "nor `coordRefSys` of the collection says so"
        )


def swapped(geometries: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return geometries with x and y exchanged, heights as they are."""
    result = np.array(geometries, dtype=object)
    has_z = shapely.has_z(geometries)
    result[~has_z] = shapely.transform(geometries[~has_z], lambda xy: xy[:, ::-1])
    result[has_z] = shapely.transform(geometries[has_z], lambda xyz: xyz[:, [1, 0, 2]], include_z=True)
    return result


def _is_beyond_geojson(feature: _PlacedFeature) -> bool:
    """Return whether a place is of a type that is not read, and there is a geometry in its stead."""
    if feature.place == NULL or feature.geometry == NULL:
        return False
    place: Any = read_member(feature.place)
    return isinstance(place, dict) and str(place.get("type")) in _BEYOND_GEOJSON


def _require_in_each(texts: Sequence[msgspec.Raw], start: int) -> None:
    """Raise LayerError where the CRS is that of single features, and one with a place has none."""
    for index, text in enumerate(texts, start):
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # its reader reports what is wrong
            feature = _feature.decode(text)
            if feature.coordRefSys == NULL and feature.place != NULL:
                raise LayerError(f"feature {index + 1} has no coordRefSys, and the features before it have one")


def _refuse_other_crs(place: msgspec.Raw, crs: tuple[pyproj.CRS, bool], index: int) -> None:
    """Raise LayerError where a place has a CRS of its own, as the standard lets it, that is not that of the others."""
    member: Any = read_member(place)
    own = member.get("coordRefSys") if isinstance(member, dict) else None
    if own is not None and _parse(own) != crs:
        raise LayerError(f"the place of feature {index + 1} has a coordRefSys that is not that of the collection")


def _parse(member: Any) -> tuple[pyproj.CRS, bool]:
    """Read `coordRefSys`: a URI, a URI in an object, or `[EPSG:n]`, as drafts of the standard have it."""
    name = member.get("href") if isinstance(member, dict) else member
    if not isinstance(name, str):
        raise LayerError("the features' coordRefSys is none that is read; the URI of one CRS is")
    try:
        crs = parse_crs(name.strip().removeprefix("[").removesuffix("]"))
    except InputError as err:
        raise LayerError(f"the features' coordRefSys cannot be used: {err.detail}") from err
    return crs, is_north_first(crs)
