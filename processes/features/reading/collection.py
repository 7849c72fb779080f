"""The frame of a FeatureCollection: its features as texts, and the members around them.

A FeatureCollection is a GeoJSON document, or a sequence of features: RFC 8142, or a feature on each line.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import msgspec

from processes.errors import LayerError
from processes.features.reading.oddities import Oddities, Oddity

BOM = b"\xef\xbb\xbf"
RECORD_SEPARATOR = b"\x1e"
NULL = msgspec.Raw(b"null")
NO_NUMBER = b"null\t \t "
"""What stands for NaN and infinity in a text that had them: null to every reader of JSON, with blanks that tell it."""

_BLANKS = b" \t\r\n"
_HEAD_BYTES = 4096
_NO_NUMBER_AHEAD = re.compile(rb"[:,\[]\s*[+-]?(?:NaN|Inf)", re.IGNORECASE)
_TEXT_OR_NO_NUMBER = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|([+-]?(?:NaN|Infinity|Inf)\b)', re.IGNORECASE | re.DOTALL)


class FeatureCollection(msgspec.Struct):
    """A FeatureCollection whose features and foreign members are not yet read."""

    type: str
    features: list[msgspec.Raw]
    crs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """The legacy member of 2008."""
    coordinate_system: msgspec.Raw = msgspec.field(default=NULL, name="coordRefSys")
    """The CRS of the members `place` (JSON-FG)."""
    conformance: msgspec.Raw = msgspec.field(default=NULL, name="conformsTo")
    """Conformance classes (JSON-FG)."""
    links: msgspec.Raw = NULL
    hal_links: msgspec.Raw = msgspec.field(default=NULL, name="_links")
    next: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """The URL of the next page (Django REST framework)."""
    previous: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    next_page: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """The same, or the number of that page."""
    odata_next: msgspec.Raw | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="@odata.nextLink")
    """The same (OData 4)."""
    pagination: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """The same as `next`, and how many features there are."""
    meta: msgspec.Raw = NULL
    number_matched: msgspec.Raw = msgspec.field(default=NULL, name="numberMatched")
    """Features of the layer (OGC API - Features, WFS 2.0)."""
    number_returned: msgspec.Raw = msgspec.field(default=NULL, name="numberReturned")
    """Features of this page."""
    total_features: msgspec.Raw = msgspec.field(default=NULL, name="totalFeatures")
    """Features of the layer (GeoServer)."""
    total_results: msgspec.Raw = msgspec.field(default=NULL, name="totalResults")
    """Features of the layer (OGC 17-047, OpenSearch)."""
    count: msgspec.Raw = NULL
    """Features of the layer (Django REST framework)."""
    total: msgspec.Raw = NULL
    """The same, in many answers in pages; in others anything."""
    context: msgspec.Raw = NULL
    """`matched` and `returned` (STAC API)."""
    search_metadata: msgspec.Raw = msgspec.field(default=NULL, name="search:metadata")
    """The same, in older STAC APIs."""
    metadata: msgspec.Raw = NULL
    properties: msgspec.Raw = NULL
    """What Esri's and OpenSearch's answers say of themselves."""
    exceeded_transfer_limit: msgspec.Raw = msgspec.field(default=NULL, name="exceededTransferLimit")
    """Whether the answer is cut off (Esri)."""


class _FeatureFrame(msgspec.Struct):
    type: str
    properties: msgspec.Raw = NULL


_collection = msgspec.json.Decoder(FeatureCollection)
_feature = msgspec.json.Decoder(_FeatureFrame)


def read_collection(
    text: bytes | memoryview, can_be_sequence: bool, oddities: Oddities, start: int = 0
) -> FeatureCollection:
    """Read the frame of a FeatureCollection.

    Args:
        text: the document.
        can_be_sequence: True = it may be a sequence of features too, or a single feature.
        oddities: counts numbers that JSON does not know; they become null.
        start: index of its first feature in the layer.

    Raises:
        LayerError: it is none.
    """
    try:
        if can_be_sequence and bytes(text[:_HEAD_BYTES]).lstrip(_BLANKS).startswith(RECORD_SEPARATOR):
            return _sequence(_mended(bytes(text)).split(RECORD_SEPARATOR), oddities, start)
        try:
            collection = _collection.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            mended = _mended(bytes(text))
            lines = _feature_lines(mended) if can_be_sequence else None
            if lines is not None:
                return _sequence(lines, oddities, start)
            collection = _collection.decode(mended)
            _count_no_numbers(collection.features, oddities, start)
    except msgspec.ValidationError as err:
        raise LayerError(f"the features are not a GeoJSON FeatureCollection: {err}") from err
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise LayerError(f"the features are not JSON: {err}") from err
    if collection.type != "FeatureCollection":
        raise LayerError(f"the features are of type {collection.type[:80]!r}, not a GeoJSON FeatureCollection")
    return collection


def read_member(text: msgspec.Raw | msgspec.UnsetType) -> Any:
    """Return the value of a foreign member; None where it cannot be read, as foreign members may be anything."""
    if text is msgspec.UNSET:
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def looks_like_json(head: bytes) -> bool:
    """Return whether a text begins as a JSON document, or as a sequence of them, does."""
    return head.removeprefix(BOM).lstrip(_BLANKS)[:1] in (b"{", b"[", RECORD_SEPARATOR, b"")


def _sequence(texts: list[bytes], oddities: Oddities, start: int) -> FeatureCollection:
    """Return the features of a sequence; each is read, or refused, by itself."""
    features = [msgspec.Raw(text) for text in texts if text.strip(_BLANKS)]
    _count_no_numbers(features, oddities, start)
    return FeatureCollection("FeatureCollection", features)


def _feature_lines(text: bytes) -> list[bytes] | None:
    """Return the lines of a text whose first one is a feature, or the text if it is a feature; None = it is neither."""
    lines = text.strip(_BLANKS).split(b"\n")
    return lines if _is_feature(lines[0]) else [text] if len(lines) > 1 and _is_feature(text) else None


def _is_feature(text: bytes) -> bool:
    try:
        return _feature.decode(text).type == "Feature"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _mended(text: bytes) -> bytes:
    """Return a text with NO_NUMBER for each number that JSON does not know."""
    if not _NO_NUMBER_AHEAD.search(text):
        return text
    return _TEXT_OR_NO_NUMBER.sub(lambda match: NO_NUMBER if match[1] else match[0], text)


def _count_no_numbers(features: list[msgspec.Raw], oddities: Oddities, start: int) -> None:
    for index, text in enumerate(features, start):
        if NO_NUMBER in bytes(text):
            with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # the feature's reader reports it
                oddities.add(Oddity.NO_NUMBER, index, bytes(_feature.decode(text).properties).count(NO_NUMBER))
