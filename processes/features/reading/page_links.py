"""Links of an answer, in the document or in its header: to the next page, to the one before, to items."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from processes.errors import LayerError
from processes.features.reading.collection import FeatureCollection, read_member
from processes.sources.media_types import GEOJSON, JSON, plain_media_type

_TYPES = (GEOJSON, JSON, "")
"""Media types of a link to a page, the best first; the last is for a link without one."""
_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*:/|\.{0,2}/|\?)\S*$|[^\s?]+\?[^\s=]+=\S*$", re.IGNORECASE)
_PAGES = ("next", "next_page", "next_url", "previous", "prev")
"""Members of `pagination` and `meta`."""
_TO_ITEMS = ("items", "data", "http://www.opengis.net/def/rel/ogc/1.0/data")
_VALUE = r"""(?:"((?:[^"\\]|\\.)*+)"|'([^',;"]*+)'|([^\s,;"]++))"""
"""Of a parameter; some hosts have it in single quotes."""
_NAME = r"[\w!#$&+.^`|~*-]++"
_LINK = re.compile(rf"[\s,]*+<([^>]*+)>((?:\s*+;\s*+(?:{_NAME}\s*+(?:=\s*+{_VALUE})?+)?+)*+)\s*+(?:,[\s,]*+|$)")
"""An element of a list may be empty (RFC 9110, 5.6.1), and so may a parameter."""
_PARAMETER = re.compile(rf";\s*+({_NAME})\s*+(?:=\s*+{_VALUE})?+")


class _Document(msgspec.Struct):
    links: Any = None
    features: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_document = msgspec.json.Decoder(_Document)


class NextLink(msgspec.Struct, frozen=True):
    """A link to the next page."""

    href: str | None
    """As the answer has it; None = no page of features can be had by it."""
    why_not: str = ""
    """Why none can be had by it."""


def next_link(collection: FeatureCollection, header: str, is_answer: bool) -> NextLink | None:
    """Return the link to the next page; None = there is none.

    Args:
        collection: the page.
        header: the answer's header `Link`, empty = none.
        is_answer: True = the page is a host's answer. In a file, a foreign member `next` may be anything.
    """
    links = [link for link in links_of(collection, header) if is_rel(link, "next")]
    offered = [link for link in links if isinstance(link.get("href"), str)]
    if not is_answer:
        offered = [link for link in offered if not link.get("is_foreign") or _URL.match(link["href"])]
    if not offered:
        is_number = is_answer and any(link.get("is_foreign") and _is_number(link.get("href")) for link in links)
        return NextLink(None, "is a number and no URL") if is_number else None
    hrefs: dict[str, str] = {}
    for link in offered:
        if str(link.get("method", "GET")).upper() == "GET":
            hrefs.setdefault(_media_type(link), link["href"])
    best = next((hrefs[media_type] for media_type in _TYPES if media_type in hrefs), None)
    best = best or next((href for media_type, href in hrefs.items() if media_type.endswith("json")), None)
    if best is not None:
        return NextLink(best)
    return NextLink(None, f"is of type {next(iter(hrefs))!r}" if hrefs else "is to be requested by POST")


def leads_to_items(text: bytes | memoryview) -> bool:
    """Return whether a document has no features but a link to them, as the description of a collection has."""
    try:
        document = _document.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    links = document.links if isinstance(document.links, list) else []
    return document.features is msgspec.UNSET and any(
        isinstance(link, dict) and link.get("rel") in _TO_ITEMS for link in links
    )


def links_of(collection: FeatureCollection, header: str) -> Iterator[dict[str, Any]]:
    """Yield the links of an answer as objects with `rel` and `href`, whatever form they have in the document."""
    yield from _document_links(collection)
    yield from _header_links(header)


def _document_links(collection: FeatureCollection) -> Iterator[dict[str, Any]]:
    pagination = read_member(collection.pagination)
    meta = read_member(collection.meta)
    inner = meta.get("pagination") if isinstance(meta, dict) else None
    for name, href in (
        ("next", read_member(collection.next)),
        ("next", read_member(collection.next_page)),
        ("next", read_member(collection.odata_next)),
        ("previous", read_member(collection.previous)),
        *((name, item.get(name)) for item in (pagination, meta, inner) if isinstance(item, dict) for name in _PAGES),
    ):
        if href:
            yield {"rel": name.partition("_")[0], "href": href, "is_foreign": True}
    properties = read_member(collection.properties)
    for links in (
        read_member(collection.links),
        read_member(collection.hal_links),
        properties.get("links") if isinstance(properties, dict) else None,
    ):
        if isinstance(links, list):
            yield from (link for link in links if isinstance(link, dict))
        elif isinstance(links, dict):
            for name, value in links.items():
                for link in value if isinstance(value, list) else [value]:
                    yield {"rel": name} | (link if isinstance(link, dict) else {"href": link})


def _header_links(header: str) -> Iterator[dict[str, Any]]:
    """Yield the links of a header `Link` (RFC 8288).

    Raises:
        LayerError: what cannot be read of it may be the link to the next page.
    """
    position = 0
    while match := _LINK.match(header, position):
        link = {"href": match[1]}
        for name, quoted, single, plain in _PARAMETER.findall(match[2]):
            link.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) or single or plain)
        yield link
        position = match.end()
    rest = header[position:].strip()
    if "next" in rest.lower():
        raise LayerError(f"the answer's header Link cannot be read from {rest[:80]!r} on")


def is_rel(link: dict[str, Any], rel: str) -> bool:
    """Return whether a link has a relation, which may be one of several."""
    return isinstance(link.get("rel"), str) and rel in link["rel"].lower().split()


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _media_type(link: dict[str, Any]) -> str:
    media_type = link.get("type")
    return plain_media_type(media_type) if isinstance(media_type, str) else ""
