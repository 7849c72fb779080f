"""Answers of an OGC API - Features service: the link to the next page, and the CRS of a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pyproj

from processes.crs import is_north_first, parse_crs
from processes.errors import InputError, LayerError
from processes.sources.media_types import GEOJSON, JSON, plain_media_type

_TYPES = (GEOJSON, JSON, "")
"""Media types of a link to a page, the best first; the last is for a link without one."""

_TO_ITEMS = ("items", "data", "http://www.opengis.net/def/rel/ogc/1.0/data")


@dataclass(frozen=True, slots=True)
class FeaturePage:
    """A FeatureCollection, whole or a part of one."""

    text: bytes | memoryview
    content_crs: str | None = None
    """The header `Content-Crs` of the answer; None = it has none."""


class _Document(msgspec.Struct):
    links: Any = None
    features: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_document = msgspec.json.Decoder(_Document)


def next_href(text: bytes) -> str | None:
    """Return the link to the next page as the document has it; None = there is none, or the document is broken."""
    hrefs: dict[str, str] = {}
    for link in _links(_read(text)):
        media_type = link.get("type")
        plain = plain_media_type(media_type) if isinstance(media_type, str) else ""
        if link.get("rel") == "next" and isinstance(link.get("href"), str):
            hrefs.setdefault(plain, link["href"])
    return next((hrefs[media_type] for media_type in _TYPES if media_type in hrefs), None)


def leads_to_items(text: bytes) -> bool:
    """Return whether a document has no features but a link to them, as the description of a collection has."""
    document = _read(text)
    return document.features is msgspec.UNSET and any(link.get("rel") in _TO_ITEMS for link in _links(document))


def _read(text: bytes) -> _Document:
    try:
        return _document.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Document()  # the reader of the features reports what is wrong


def _links(document: _Document) -> list[dict[str, Any]]:
    links = document.links
    return [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []


def content_crs(header: str) -> tuple[pyproj.CRS, bool]:
    """Return the CRS of the header `Content-Crs`, and whether its coordinates are in y, x order.

    OGC 18-058r1, 6.3: the header has the CRS's URI in angle brackets, and the axis order is the CRS's own.

    Raises:
        LayerError: it names no CRS.
    """
    try:
        crs = parse_crs(header.strip().removeprefix("<").removesuffix(">"))
    except InputError as err:
        raise LayerError(f"the answer's header Content-Crs cannot be used: {err.detail}") from err
    return crs, is_north_first(crs)
