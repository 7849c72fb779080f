"""The CRS of a GeoJSON: the member `crs` of 2008, of the collection, its features or their geometries.

The specification of 2008 lets any of them have it; PostGIS writes it into geometries.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pyproj

from processes.crs import CRS84, parse_crs
from processes.errors import InputError, LayerError
from processes.features.reading.collection import NULL, FeatureCollection

_NAME = b'"crs"'


class _Owner(msgspec.Struct):
    """A feature or a geometry."""

    crs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    geometry: msgspec.Raw = NULL


_owner = msgspec.json.Decoder(_Owner)


def collection_crs(collection: FeatureCollection) -> pyproj.CRS:
    """Return the CRS that the member of a collection names, always in x, y order; CRS84 without it.

    Raises:
        LayerError: it names none.
    """
    return parse_crs(CRS84) if collection.crs is msgspec.UNSET else _named(collection.crs)


def features_crs(
    text: bytes | memoryview, collection: FeatureCollection, crs: pyproj.CRS, is_said: bool, start: int
) -> pyproj.CRS:
    """Return the CRS of all features: that of their collection, or the one that they name themselves.

    Args:
        text: of the whole document; its features are looked at where they may have the member at all.
        collection: its frame.
        crs: of the collection.
        is_said: True = the collection, or its answer's header, names it.
        start: index of its first feature in the layer.

    Raises:
        LayerError: they have several CRSs.
    """
    if bytes(text).count(_NAME) == (collection.crs is not msgspec.UNSET):
        return crs
    parsed: dict[bytes | None, pyproj.CRS] = {}
    common = crs if is_said else None
    for index, feature in enumerate(collection.features, start):
        for member in _members(feature):
            if member not in parsed:
                parsed[member] = crs if member is None else _named(msgspec.Raw(member))
            own = parsed[member]
            common = common or own
            if own is not common and own != common:
                raise LayerError(
                    f"feature {index + 1} is in the CRS {own.name[:80]!r}, by its own member `crs` or without one, and "
                    f"others, or the collection, are in {common.name[:80]!r}; all must be in one"
                )
    return common or crs


def _members(text: msgspec.Raw) -> Iterator[bytes | None]:
    """Yield the members of a feature and its geometry; None = it has a geometry, and neither has one."""
    try:
        feature = _owner.decode(text)
        geometry = _owner.decode(feature.geometry) if _NAME in bytes(feature.geometry) else _Owner()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return  # the reader of the features reports what is wrong
    found = [bytes(item.crs) for item in (feature, geometry) if item.crs is not msgspec.UNSET]
    if found:
        yield from found
    elif feature.geometry != NULL:
        yield None


def _named(text: msgspec.Raw) -> pyproj.CRS:
    try:
        member = msgspec.json.decode(text)
        name = member["properties"]["name"] if member["type"] == "name" else None
    except (TypeError, KeyError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        name = None
    if not isinstance(name, str):
        raise LayerError("the features' crs member names no CRS")
    try:
        return parse_crs(name)
    except InputError as err:
        raise LayerError(f"the features' crs member cannot be used: {err.detail}") from err
