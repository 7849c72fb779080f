"""GeoJSON: RFC 7946, and the `crs` member of 2008, which many files still have."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyproj
import shapely
from numpy.typing import NDArray

from processes.errors import LayerError
from processes.features.layer import Layer
from processes.features.reading.collection import FeatureCollection
from processes.features.reading.columns import AttributeColumn
from processes.features.reading.geojson_coordinates import read_plain
from processes.features.reading.geojson_crs import collection_crs, features_crs
from processes.features.reading.geojson_geometry import read_geometries
from processes.features.reading.json_fg import place_crs, read_places, refuse_place, swapped
from processes.features.reading.limits import require_few_features
from processes.features.reading.oddities import Oddities, Oddity
from processes.features.reading.paging import FeaturePage, FetchPage, PageReader, content_crs, on_page
from processes.features.wkb import common_geometry_type, read_iso_types
from processes.settings import Limits

_SLICE = 8192
"""Features that are parsed at a time."""
_MAX_ATTRIBUTES = 10_000
_MAX_VALUES = 2**25
"""Values that a layer may have whatever its size: features times attributes, absent attributes included. A layer whose
features all have all attributes has far fewer values than its text has bytes."""


class _Feature(msgspec.Struct, gc=False):
    type: str
    geometry: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    properties: dict[str, Any] | None = None
    id: int | float | str | None = None


class _OddFeature(msgspec.Struct):
    """A feature whose properties or id can be anything."""

    type: str
    geometry: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    properties: Any = None
    id: Any = None


_feature = msgspec.json.Decoder(_Feature)
_odd_feature = msgspec.json.Decoder(_OddFeature)


def read_geojson(text: bytes | memoryview, name: str, limits: Limits, can_be_sequence: bool = False) -> Layer:
    """Read a FeatureCollection.

    Args:
        text: the JSON document.
        name: what the client calls the layer.
        limits: of a layer.
        can_be_sequence: True = it may be a sequence of features too, or a single feature.

    Raises:
        LayerError: not a FeatureCollection, or one that RFC 7946 does not allow; with the feature's position from 1.
        LimitError: more features than allowed.
    """
    return read_pages(FeaturePage(text, can_be_sequence=can_be_sequence), None, name, limits)


def read_pages(first: FeaturePage, fetch: FetchPage | None, name: str, limits: Limits) -> Layer:
    """Read a FeatureCollection in one or more pages.

    Args:
        first: the first page.
        fetch: requests another one, when the one before is read; None = there is no way to others.
        name: what the client calls the layer.
        limits: of a layer.

    Raises:
        LayerError: as `read_geojson`, and where the layer says that it has more features than can be had.
        LimitError: more features than allowed.
    """
    collector = _FeatureCollector()
    reader = PageReader(fetch, collector.oddities)
    for number, (page, collection) in enumerate(reader.pages(first), 1):
        with on_page(number):
            fg_crs = place_crs(collection, collector.count)
            crs, is_swapped = fg_crs or _page_crs(page, collection, collector.count)
            collector.crs = collector.crs or crs
            if crs != collector.crs and collection.features:
                raise LayerError(f"its CRS is {crs.name!r}, that of the first {collector.crs.name!r}")
            require_few_features(collector.count + len(collection.features), limits, "the layer")
            collector.text_bytes += len(page.text)
            collector.add(collection.features, is_swapped, fg_crs is not None)
    return msgspec.structs.replace(
        collector.to_layer(name), warnings=(*collector.oddities.warnings(), *reader.warnings)
    )


class _Encoding(NamedTuple):
    """Geometries of a slice that become WKB in another thread, while Python reads the next one."""

    start: int
    """Index of the first one in the layer."""
    features: Sequence[msgspec.Raw]
    geometries: Sequence[msgspec.Raw | msgspec.UnsetType]
    wkb: Future[pa.Array | None]
    """None = one of them is odd."""


class _FeatureCollector(msgspec.Struct):
    """The features so far."""

    crs: pyproj.CRS | None = None
    text_bytes: int = 0
    count: int = 0
    columns: dict[str, AttributeColumn] = msgspec.field(default_factory=dict)
    ids: AttributeColumn = msgspec.field(default_factory=lambda: AttributeColumn(is_exact=True))
    wkb: list[pa.Array] = msgspec.field(default_factory=list)
    oddities: Oddities = msgspec.field(default_factory=Oddities)

    def add(self, texts: Sequence[msgspec.Raw], is_swapped: bool, is_json_fg: bool) -> None:
        """Add the features of a page.

        Args:
            texts: of the features.
            is_swapped: True = their coordinates are in y, x order.
            is_json_fg: True = their geometries are in the member `place`.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="geometries") as pool:
            before: _Encoding | None = None
            for index in range(0, len(texts), _SLICE):
                some, start = texts[index : index + _SLICE], self.count
                features = self.parse(some, start)
                geometries = [feature.geometry for feature in features]
                plain = None if is_swapped or is_json_fg else read_plain(geometries)
                if plain is None:
                    self.finish(before)
                    before = None
                    odd = self.geometries(some, geometries, is_swapped, is_json_fg)
                    self.wkb.append(pa.array(shapely.to_wkb(odd, output_dimension=3), pa.large_binary()))
                else:
                    _refuse_places(some, ~plain.is_present, start)
                    encoding = _Encoding(start, some, geometries, pool.submit(plain.wkb))
                    self.finish(before)
                    before = encoding
                self.add_attributes(features)
            self.finish(before)

    def finish(self, encoding: _Encoding | None) -> None:
        """Add the geometries of a slice that were encoded in another thread."""
        if encoding is None:
            return
        wkb = encoding.wkb.result()
        if wkb is None:
            geometries = read_geometries(encoding.geometries, encoding.start, self.oddities)
            _refuse_places(encoding.features, shapely.is_missing(geometries), encoding.start)
            wkb = pa.array(shapely.to_wkb(geometries, output_dimension=3), pa.large_binary())
        self.wkb.append(wkb)

    def add_attributes(self, features: Sequence[_Feature]) -> None:
        """Add the ids and attributes of a slice."""
        start = self.count
        self.ids.add(start, [msgspec.UNSET if feature.id is None else feature.id for feature in features])
        properties = [feature.properties or {} for feature in features]
        keys = dict.fromkeys(key for values in properties for key in values)
        self.check_values(len(self.columns.keys() | keys.keys()), start + len(features))
        for key in keys:
            values = [values.get(key, msgspec.UNSET) for values in properties]
            self.columns.setdefault(key, AttributeColumn()).add(start, values)
        self.count += len(features)

    def parse(self, texts: Sequence[msgspec.Raw], start: int) -> list[_Feature]:
        """Return features, the first of which has the index `start`; they are looked at one by one if one is odd."""
        try:
            features = [_feature.decode(text) for text in texts]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            features = [_parse_feature(text, index, self.oddities) for index, text in enumerate(texts, start)]
        wrong = next((index for index, feature in enumerate(features, start) if feature.type != "Feature"), None)
        if wrong is not None:
            kind = features[wrong - start].type[:80]
            raise LayerError(f"feature {wrong + 1} is of type {kind!r}, not a GeoJSON Feature")
        return features

    def geometries(
        self,
        texts: Sequence[msgspec.Raw],
        members: Sequence[msgspec.Raw | msgspec.UnsetType],
        is_swapped: bool,
        is_json_fg: bool,
    ) -> NDArray[np.object_]:
        """Return the geometries of a slice in x, y order, `(n,)`.

        Args:
            texts: of the features.
            members: their members `geometry`.
            is_swapped: as `add` has it.
            is_json_fg: as `add` has it.
        """
        start, crs = self.count, self.crs
        if is_json_fg and crs is not None:
            return read_places(texts, (crs, is_swapped), start, self.oddities)
        geometries = read_geometries(members, start, self.oddities)
        _refuse_places(texts, shapely.is_missing(geometries), start)
        return swapped(geometries) if is_swapped else geometries

    def check_values(self, attributes: int, count: int) -> None:
        """Raise LayerError where features have few attributes in common: a short text would become a huge table."""
        if attributes > _MAX_ATTRIBUTES or attributes * count > max(_MAX_VALUES, self.text_bytes):
            raise LayerError(f"{count} features have {attributes} different attributes: too many to be held as a table")

    def to_layer(self, name: str) -> Layer:
        """Return all features as a layer."""
        fields = [column.to_arrow(key, self.count) for key, column in self.columns.items()]
        _, ids = self.ids.to_arrow("id", self.count)
        geometry = pa.chunked_array(self.wkb, pa.large_binary())
        self.oddities.require_geometry(geometry.null_count < len(geometry))
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


def _refuse_places(texts: Sequence[msgspec.Raw], is_missing: NDArray[np.bool_], start: int) -> None:
    """Raise LayerError where a feature without geometry has a place; the first feature has the index `start`."""
    for index in np.flatnonzero(is_missing).tolist():
        refuse_place(texts[index], start + index)


def _parse_feature(text: msgspec.Raw, index: int, oddities: Oddities) -> _Feature:
    """Read one feature, which may be the odd one."""
    try:
        try:
            return _feature.decode(text)
        except msgspec.ValidationError:
            odd = _odd_feature.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise LayerError(f"feature {index + 1} is not a GeoJSON Feature: {err}") from err
    has_properties = odd.properties is None or isinstance(odd.properties, dict)
    has_id = isinstance(odd.id, int | float | str | None) and not isinstance(odd.id, bool)
    oddities.add(Oddity.NO_PROPERTIES, index, not has_properties)
    oddities.add(Oddity.NO_ID, index, not has_id)
    return _Feature(odd.type, odd.geometry, odd.properties if has_properties else None, odd.id if has_id else None)


def _page_crs(page: FeaturePage, collection: FeatureCollection, start: int) -> tuple[pyproj.CRS, bool]:
    """Return the CRS of a page, and whether its coordinates are in y, x order; the header goes before the member.

    Args:
        page: the page.
        collection: its frame.
        start: index of its first feature in the layer.
    """
    if page.content_crs is None:
        crs, is_swapped = collection_crs(collection), False
        is_said = collection.crs is not msgspec.UNSET
    else:
        (crs, is_swapped), is_said = content_crs(page.content_crs), True
    return features_crs(page.text, collection, crs, is_said, start), is_swapped
