"""Answers of an OGC API - Features service: which page comes next, and in which CRS a page is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pyproj

from processes.crs import is_north_first, parse_crs
from processes.errors import InputError, LayerError
from processes.sources.media_types import GEOJSON, JSON, plain_media_type

_TYPES = (GEOJSON, JSON, "")
"""Media types of a link to a page, the best first; the last is for a link that names none."""

_TO_ITEMS = ("items", "data", "http://www.opengis.net/def/rel/ogc/1.0/data")


@dataclass(frozen=True, slots=True)
class FeaturePage:
    """A FeatureCollection, whole or a part of one."""

    text: bytes | memoryview
    content_crs: str | None = None
    """The header `Content-Crs` that came with it."""


class _Document(msgspec.Struct):
    links: Any = None
    features: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_document = msgspec.json.Decoder(_Document)


def next_href(text: bytes) -> str | None:
    """Return the link to the next page as it stands in a document; None = there is none, or the document is broken."""
    found: dict[str, str] = {}
    for link in _links(_read(text)):
        kind = link.get("type")
        plain = plain_media_type(kind) if isinstance(kind, str) else ""
        if link.get("rel") == "next" and isinstance(link.get("href"), str):
            found.setdefault(plain, link["href"])
    return next((found[kind] for kind in _TYPES if kind in found), None)


def leads_to_items(text: bytes) -> bool:
    """Say whether a document is not features, but links to some, as the description of a collection does."""
    document = _read(text)
    return document.features is msgspec.UNSET and any(link.get("rel") in _TO_ITEMS for link in _links(document))


def _read(text: bytes) -> _Document:
    try:
        return _document.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Document()  # whoever reads the features says what is wrong


def _links(document: _Document) -> list[dict[str, Any]]:
    links = document.links
    return [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []


def content_crs(header: str) -> tuple[pyproj.CRS, bool]:
    """Return the CRS of the header `Content-Crs`, and whether its coordinates stand in y, x order.

    OGC 18-058r1, 6.3: the header has the CRS's URI in angle brackets, and the axis order is the CRS's own.

    Raises:
        LayerError: it names no CRS.
    """
    try:
        crs = parse_crs(header.strip().removeprefix("<").removesuffix(">"))
    except InputError as err:
        raise LayerError(f"the answer's header Content-Crs cannot be used: {err.detail}") from err
    return crs, is_north_first(crs)
