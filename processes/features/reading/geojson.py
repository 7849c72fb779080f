"""GeoJSON: RFC 7946, and the `crs` member of 2008, which many files still have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyproj
import shapely
from numpy.typing import NDArray

from processes.crs import CRS84, parse_crs
from processes.errors import InputError, LayerError
from processes.features.layer import Layer, refuse_collections
from processes.features.reading.columns import AttributeColumn
from processes.features.reading.limits import require_few_features
from processes.features.reading.paging import FeaturePage, content_crs
from processes.features.wkb import common_geometry_type, read_iso_types
from processes.settings import Limits

_SLICE = 8192
"""Features that are parsed at a time."""
_MAX_ATTRIBUTES = 10_000
_MAX_VALUES = 2**25
"""Values that a layer may have whatever its size: features times attributes, absent attributes included. A layer whose
features all have all attributes has far fewer values than its text has bytes."""


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


def read_geojson(text: bytes | memoryview, name: str, limits: Limits) -> Layer:
    """Read a FeatureCollection.

    Args:
        text: the JSON document.
        name: what the client calls the layer.
        limits: of a layer.

    Raises:
        LayerError: not a FeatureCollection, or one that RFC 7946 does not allow; with the feature's position from 1.
        LimitError: more features than allowed.
    """
    return read_pages([FeaturePage(text)], name, limits)


def read_pages(pages: Iterable[FeaturePage], name: str, limits: Limits) -> Layer:
    """Read a FeatureCollection in one or more pages, each requested after the one before is read.

    Arguments and errors as `read_geojson` has them.
    """
    collector = _FeatureCollector()
    for number, page in enumerate(pages, 1):
        try:
            collection = _read_collection(page.text)
            crs, is_swapped = _page_crs(page, collection)
            collector.crs = collector.crs or crs
            if crs != collector.crs:
                raise LayerError(f"its CRS is {crs.name!r}, that of the first {collector.crs.name!r}")
            count = collector.count + len(collection.features)
            require_few_features(count, limits, "the layer")
            collector.text_bytes += len(page.text)
            collector.add(collection.features, is_swapped)
        except LayerError as err:
            raise (LayerError(f"page {number}: {err.detail}") if number > 1 else err) from err
    return collector.to_layer(name)


def _read_collection(text: bytes | memoryview) -> _Collection:
    try:
        collection = _collection.decode(text)
    except msgspec.ValidationError as err:
        raise LayerError(f"the features are not a GeoJSON FeatureCollection: {err}") from err
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise LayerError(f"the features are not JSON: {err}") from err
    if collection.type != "FeatureCollection":
        raise LayerError(f"the features are of type {collection.type[:80]!r}, not a GeoJSON FeatureCollection")
    return collection


@dataclass(slots=True)
class _FeatureCollector:
    """The features so far."""

    crs: pyproj.CRS | None = None
    text_bytes: int = 0
    count: int = 0
    columns: dict[str, AttributeColumn] = field(default_factory=dict)
    ids: AttributeColumn = field(default_factory=lambda: AttributeColumn(is_exact=True))
    wkb: list[pa.Array] = field(default_factory=list)

    def add(self, texts: Sequence[msgspec.Raw], is_swapped: bool) -> None:
        """Add the features of a page; `is_swapped`: True = their coordinates are in y, x order."""
        for index in range(0, len(texts), _SLICE):
            start = self.count
            features = [_parse_feature(text, start + index) for index, text in enumerate(texts[index : index + _SLICE])]
            geometries = _geometries([feature.geometry for feature in features], start)
            if is_swapped:
                geometries = _swapped(geometries)
            self.wkb.append(pa.array(shapely.to_wkb(geometries, output_dimension=3), pa.large_binary()))
            self.ids.add(start, [msgspec.UNSET if feature.id is None else feature.id for feature in features])
            properties = [feature.properties or {} for feature in features]
            keys = dict.fromkeys(key for values in properties for key in values)
            self.check_values(len(self.columns.keys() | keys.keys()), start + len(features))
            for key in keys:
                values = [values.get(key, msgspec.UNSET) for values in properties]
                self.columns.setdefault(key, AttributeColumn()).add(start, values)
            self.count += len(features)

    def check_values(self, attributes: int, count: int) -> None:
        """Raise LayerError where features have few attributes in common: a short text would become a huge table."""
        if attributes > _MAX_ATTRIBUTES or attributes * count > max(_MAX_VALUES, self.text_bytes):
            raise LayerError(f"{count} features have {attributes} different attributes: too many to be held as a table")

    def to_layer(self, name: str) -> Layer:
        """Return all features as a layer."""
        fields = [column.to_arrow(key, self.count) for key, column in self.columns.items()]
        _, ids = self.ids.to_arrow("id", self.count)
        geometry = pa.chunked_array(self.wkb, pa.large_binary())
        return Layer(
            name=name,
            crs=self.crs,
            geometry=geometry,
            geometry_type=common_geometry_type(read_iso_types(geometry)),
            attributes=pa.table([values for _, values in fields], schema=pa.schema([item for item, _ in fields]))
            if fields
            else pa.table({}).select([]),
            ids=None if ids.null_count == len(ids) else ids,
        )


def _swapped(geometries: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return geometries with x and y exchanged, heights as they are."""
    result = np.array(geometries, dtype=object)
    has_z = shapely.has_z(geometries)
    result[~has_z] = shapely.transform(geometries[~has_z], lambda xy: xy[:, ::-1])
    result[has_z] = shapely.transform(geometries[has_z], lambda xyz: xyz[:, [1, 0, 2]], include_z=True)
    return result


def _parse_feature(text: msgspec.Raw, index: int) -> _Feature:
    try:
        feature = _feature.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise LayerError(f"feature {index + 1} is not a GeoJSON Feature: {err}") from err
    if feature.type != "Feature":
        raise LayerError(f"feature {index + 1} is of type {feature.type[:80]!r}, not a GeoJSON Feature")
    return feature


def _geometries(texts: list[msgspec.Raw], start: int) -> NDArray[np.object_]:
    present = np.empty(len(texts), dtype=object)
    present[:] = [_geometry_text(text, start + index) for index, text in enumerate(texts)]
    try:
        geometries: NDArray[np.object_] = shapely.from_geojson(present)
    except shapely.errors.ShapelyError:
        geometries = np.array([_geometry(text, start + index) for index, text in enumerate(present)], dtype=object)
    refuse_collections(geometries, start)
    return geometries


def _geometry_text(text: msgspec.Raw, index: int) -> str | None:
    """Return a geometry as text, its type checked, as GEOS would read a feature as a geometry."""
    try:
        return None if _geometry_type.decode(text) is None else bytes(text).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise LayerError(f"feature {index + 1} has a geometry that cannot be read: {err}") from err


def _geometry(text: str | None, index: int) -> shapely.Geometry | None:
    """Read one geometry, to find the one that cannot be read."""
    try:
        return None if text is None else shapely.from_geojson(text)
    except shapely.errors.ShapelyError as err:
        reason = str(err).split(":", 1)[-1].strip()
        raise LayerError(f"feature {index + 1} has a geometry that cannot be read: {reason[:200]}") from err


def _page_crs(page: FeaturePage, collection: _Collection) -> tuple[pyproj.CRS, bool]:
    """Return the CRS of a page, and whether its coordinates are in y, x order; the header goes before the member."""
    return (_crs(collection.crs), False) if page.content_crs is None else content_crs(page.content_crs)


def _crs(text: msgspec.Raw | msgspec.UnsetType) -> pyproj.CRS:
    """Return the CRS that the legacy member names, always in x, y order; CRS84 without it."""
    if text is msgspec.UNSET:
        return parse_crs(CRS84)
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
