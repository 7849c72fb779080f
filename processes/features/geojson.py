"""GeoJSON in: RFC 7946, and the `crs` member of 2008, which many files still carry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyproj
import shapely
from numpy.typing import NDArray

from processes.crs import CRS84, parse_crs
from processes.errors import InputError, LayerError, LimitError
from processes.features.columns import Column
from processes.features.layer import Layer, common_geometry_type, refuse_collections

_SLICE = 8192


class _Collection(msgspec.Struct):
    type: str
    features: list[msgspec.Raw]
    crs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Geometry(msgspec.Struct):
    type: Literal[
        "Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection"
    ]


class _Feature(msgspec.Struct):
    type: str
    geometry: msgspec.Raw
    properties: dict[str, Any] | None = None
    id: int | float | str | None = None


_collection = msgspec.json.Decoder(_Collection)
_geometry_type = msgspec.json.Decoder(_Geometry | None)
_feature = msgspec.json.Decoder(_Feature)


def read_geojson(text: bytes | memoryview, name: str, max_objects: int) -> Layer:
    """Read a FeatureCollection.

    Args:
        text: the JSON document.
        name: what the client calls the layer.
        max_objects: limit of the number of features.

    Raises:
        LayerError: not a FeatureCollection, or one that RFC 7946 does not allow; names the feature's position from 1.
        LimitError: more features than allowed.
    """
    try:
        collection = _collection.decode(text)
    except msgspec.ValidationError as err:
        raise LayerError(f"the features are not a GeoJSON FeatureCollection: {err}") from err
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise LayerError(f"the features are not JSON: {err}") from err
    if collection.type != "FeatureCollection":
        raise LayerError(f"the features are of type {collection.type[:80]!r}, not a GeoJSON FeatureCollection")
    if len(collection.features) > max_objects:
        raise LimitError("max_objects", max_objects, f"the layer has {len(collection.features)} features")
    return _layer(collection.features, _crs(collection.crs), name)


def _layer(texts: Sequence[msgspec.Raw], crs: pyproj.CRS, name: str) -> Layer:
    columns: dict[str, Column] = {}
    ids = Column(is_exact=True)
    wkb: list[pa.Array] = []
    types: set[int] = set()
    has_z = False
    for start in range(0, len(texts), _SLICE):
        features = [_parsed(text, start + place) for place, text in enumerate(texts[start : start + _SLICE])]
        geometries = _geometries([feature.geometry for feature in features], start)
        types.update(np.unique(shapely.get_type_id(geometries)).tolist())
        has_z = has_z or bool(shapely.has_z(geometries).any())
        wkb.append(pa.array(shapely.to_wkb(geometries, output_dimension=3), pa.large_binary()))
        ids.add(start, [msgspec.UNSET if feature.id is None else feature.id for feature in features])
        properties = [feature.properties or {} for feature in features]
        for key in dict.fromkeys(key for values in properties for key in values):
            columns.setdefault(key, Column()).add(start, [values.get(key, msgspec.UNSET) for values in properties])
    fields = [column.finished(key, len(texts)) for key, column in columns.items()]
    _, id_values = ids.finished("id", len(texts))
    return Layer(
        name=name,
        crs=crs,
        geometry=pa.chunked_array(wkb, pa.large_binary()),
        geometry_type=common_geometry_type(types, has_z),
        attributes=pa.table([values for _, values in fields], schema=pa.schema([item for item, _ in fields]))
        if fields
        else pa.table({}).select([]),
        ids=None if id_values.null_count == len(id_values) else id_values,
    )


def _parsed(text: msgspec.Raw, place: int) -> _Feature:
    try:
        feature = _feature.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise LayerError(f"feature {place + 1} is not a GeoJSON Feature: {err}") from err
    if feature.type != "Feature":
        raise LayerError(f"feature {place + 1} is of type {feature.type[:80]!r}, not a GeoJSON Feature")
    return feature


def _geometries(texts: list[msgspec.Raw], start: int) -> NDArray[np.object_]:
    present = np.empty(len(texts), dtype=object)
    present[:] = [_geometry_text(text, start + place) for place, text in enumerate(texts)]
    try:
        geometries: NDArray[np.object_] = shapely.from_geojson(present)
    except shapely.errors.ShapelyError:
        geometries = np.array([_geometry(text, start + place) for place, text in enumerate(present)], dtype=object)
    refuse_collections(geometries, start)
    return geometries


def _geometry_text(text: msgspec.Raw, place: int) -> str | None:
    """Return the text of what is a geometry by its type; GEOS would take a feature for one."""
    try:
        return None if _geometry_type.decode(text) is None else bytes(text).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise LayerError(f"feature {place + 1} has a geometry that cannot be read: {err}") from err


def _geometry(text: str | None, place: int) -> shapely.Geometry | None:
    """Read one geometry, to find the one that cannot be read."""
    try:
        return None if text is None else shapely.from_geojson(text)
    except shapely.errors.ShapelyError as err:
        reason = str(err).split(":", 1)[-1].strip()
        raise LayerError(f"feature {place + 1} has a geometry that cannot be read: {reason[:200]}") from err


def _crs(text: msgspec.Raw | msgspec.UnsetType) -> pyproj.CRS:
    """Return the CRS that the legacy member names, always in x, y order; CRS84 without it."""
    if text is msgspec.UNSET:
        return parse_crs(CRS84)
    try:
        member = msgspec.json.decode(text)
        name = member["properties"]["name"] if member["type"] == "name" else None
    except (TypeError, KeyError, msgspec.DecodeError):
        name = None
    if not isinstance(name, str):
        raise LayerError("the features' crs member names no CRS")
    try:
        return parse_crs(name)
    except InputError as err:
        raise LayerError(f"the features' crs member cannot be used: {err.detail}") from err
