"""Layers that come in parts: the way to the next part, and what an answer says of the whole.

A layer whose answers say that they are not all there is, is refused. What is read: OGC API - Features and WFS 2.0
(`numberMatched`, `numberReturned`, links), GeoServer (`totalFeatures`), STAC API (`context`), OpenSearch
(`totalResults`), Esri (`exceededTransferLimit`), Django REST framework (`count`, `next`), and RFC 8288 (header `Link`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urldefrag, urljoin, urlsplit

import msgspec
import pyproj

from processes.crs import is_north_first, parse_crs
from processes.errors import InputError, LayerError
from processes.features.reading.collection import FeatureCollection, read_collection, read_member
from processes.features.reading.oddities import Oddities
from processes.features.reading.page_links import NextLink, is_rel, links_of, next_link

_STARTS = ("offset", "startindex", "resultoffset", "skip")
"""Parameters of a query that say how many features come before the first page, in lower case."""
_UNSURE = ("count", "total", "total_count", "totalCount")
"""Members that say how many features a layer has, but may also be of a page alone, or anything in a file."""
_MAX_EMPTY_PAGES = 10
"""Pages without features in a row, after which no more are asked for though features are missing."""


class FeaturePage(msgspec.Struct, frozen=True):
    """A FeatureCollection, whole or a part of one."""

    text: bytes | memoryview
    url: str | None = None
    """Where it comes from, redirects followed; None = from no host."""
    content_crs: str | None = None
    """The header `Content-Crs` of the answer; None = it has none."""
    link: str | None = None
    """The header `Link` of the answer; None = it has none."""
    matched: int | None = None
    """Features of the layer, where the service tells it apart from its pages; None = it does not."""
    can_be_sequence: bool = True
    """False = it is a part of a JSON document, and so no sequence of features."""


FetchPage = Callable[[str], FeaturePage]
"""Returns the page that a URL names."""


class _FeatureKey(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw(b"null")
    geometry: msgspec.Raw = msgspec.Raw(b"null")


_feature = msgspec.json.Decoder(_FeatureKey)


class PageReader(msgspec.Struct):
    """Reads the pages of a layer, each requested when the one before is used; ends where no more features come."""

    fetch: FetchPage | None
    """None = only the first page can be had."""
    oddities: Oddities
    count: int = 0
    """Features so far."""
    warnings: list[str] = msgspec.field(default_factory=list)
    _total: tuple[str, int] | None = None
    """Features that the layer has, and the name of the member that says so; None = nothing says it."""
    _seen: set[str | bytes] = msgspec.field(default_factory=set)
    """URLs, and digests of features, of the pages so far."""

    def pages(self, first: FeaturePage) -> Iterator[tuple[FeaturePage, FeatureCollection]]:
        """Yield the pages with their features.

        Raises:
            LayerError: a page cannot be read, or the layer says that it has more features than can be had.
        """
        page, number, empty_count = first, 1, 0
        before: int | None = 0
        while True:
            with on_page(number):
                collection = read_collection(page.text, page.can_be_sequence, self.oddities, self.count)
                _require_as_many_as_returned(collection)
            following = next_link(collection, page.link or "", page.url is not None)
            if number == 1:
                before = _features_before(page, collection)
            if (number > 1 or following is not None) and self._is_seen(collection):
                self._require_all(None, f"page {number} has the features of a page before it")
                return
            self._total = _total(page, collection, before) or self._total
            yield page, collection
            self.count += len(collection.features)
            if following is None:
                self._require_all(_says_cut_off(collection))
                return
            empty_count = 0 if collection.features else empty_count + 1
            if empty_count and (not self._is_short or empty_count > _MAX_EMPTY_PAGES):
                self._require_all(None, f"page {number} has no features")
                return
            next_page = self._next_page(page, following)
            if next_page is None:
                self._require_all(None, f"page {number} leads to a page before it")
                return
            page, number = next_page, number + 1

    @property
    def _is_short(self) -> bool:
        """Whether the layer says that it has more features than were read so far."""
        return self._total is not None and self.count < self._total[1]

    @property
    def _is_whole(self) -> bool:
        """Whether the layer says that it has no more features than were read so far; some names may mean a page's."""
        return self._total is not None and self._total[0] not in _UNSURE and not self._is_short

    def _is_seen(self, collection: FeatureCollection) -> bool:
        """Return whether a page with these features came before; remember them."""
        digest = _digest(collection.features)
        is_seen = bool(collection.features) and digest in self._seen
        self._seen.add(digest)
        return is_seen

    def _next_page(self, page: FeaturePage, following: NextLink) -> FeaturePage | None:
        """Request the next page; None = it is one before, or the layer is whole without it."""
        if following.href is None or self.fetch is None or page.url is None:
            if self._is_whole:
                return None
            why = following.why_not or "is not followed from a file"
            raise LayerError(
                f"the layer is not whole: it has {self.count} features and a link to a next page, which {why}"
            )
        try:
            url = urldefrag(urljoin(page.url, following.href))[0]
        except ValueError as err:
            raise LayerError("the link to the next page cannot be read") from err
        self._seen.add(urldefrag(page.url)[0])
        if url in self._seen:
            return None
        self._seen.add(url)
        return self.fetch(url)

    def _require_all(self, cut_off: str | None, why_last: str | None = None) -> None:
        """Raise LayerError where the layer says that it has more features than were read; warn where that is unsure.

        Args:
            cut_off: name of the member that says that the last page is cut off; None = there is none.
            why_last: why the last page is the last, though it offers another one; None = it offers none.
        """
        name, total = self._total or ("", 0)
        if self.count < total:
            raise LayerError(
                f"the layer is not whole: {self.count} of {total} features were read; it says by {name!r} how many it "
                "has, and shows no way to the rest"
            )
        if self._is_whole:
            if self.count > total:
                self.warnings.append(f"the layer says by {name!r} that it has {total} features, and has {self.count}")
        elif cut_off is not None:
            raise LayerError(
                f"the layer is not whole: it says by {cut_off!r} that it is cut off behind {self.count} features, and "
                "shows no way to the rest"
            )
        elif why_last is not None:
            self.warnings.append(f"{why_last}: the layer ends there, with {self.count} features")


@contextmanager
def on_page(number: int) -> Iterator[None]:
    """Name the page in errors, but for the first one."""
    try:
        yield
    except LayerError as err:
        raise (LayerError(f"page {number}: {err.detail}") if number > 1 else err) from err


def _features_before(page: FeaturePage, collection: FeatureCollection) -> int | None:
    """Return how many features the client left out before the first page; None = some, and it is not known how many.

    A parameter that is there twice says nothing, as hosts differ in which of the two they take.
    """
    query = parse_qsl(urlsplit(page.url or "").query)
    starts = [value for name, value in query if name.lower() in _STARTS]
    if len(starts) == 1 and (start := _whole_number(starts[0])):
        return start
    is_later = any(is_rel(link, rel) for rel in ("prev", "previous") for link in links_of(collection, page.link or ""))
    return None if is_later else 0


def _total(page: FeaturePage, collection: FeatureCollection, before: int | None) -> tuple[str, int] | None:
    """Return how many features the layer has from the first page on, with the name of the member that says so."""
    if before is None:
        return None
    found: dict[str, Any] = {
        "numberMatched": read_member(collection.number_matched),
        "totalFeatures": read_member(collection.total_features),
        "totalResults": read_member(collection.total_results),
    }
    for text in (collection.context, collection.search_metadata, collection.metadata, collection.properties):
        member = read_member(text)
        if isinstance(member, dict):
            found |= {name: member[name] for name in ("matched", "numberMatched", "totalResults") if name in member}
    is_page = _is_page(page, collection)
    if is_page or page.url is not None:
        found["count"] = read_member(collection.count)
    if is_page:
        found["total"] = read_member(collection.total)
        meta = read_member(collection.meta)
        inner = meta.get("pagination") if isinstance(meta, dict) else None
        for member in (meta, inner, read_member(collection.pagination)):
            if isinstance(member, dict):
                found |= {name: member[name] for name in ("total", "total_count", "totalCount") if name in member}
    if page.matched is not None:
        found["numberMatched"] = page.matched
    totals = {name: number for name, value in found.items() if (number := _whole_number(value))}
    if not totals:
        return None
    name = max(totals, key=lambda name: totals[name])
    return name, totals[name] - before if before < totals[name] else totals[name]


def _is_page(page: FeaturePage, collection: FeatureCollection) -> bool:
    """Return whether a collection has a place for a page before or behind it, though there may be none."""
    members = (collection.next, collection.previous, collection.next_page, collection.odata_next, collection.pagination)
    return any(member is not msgspec.UNSET for member in members) or any(
        is_rel(link, rel) for rel in ("next", "prev", "previous") for link in links_of(collection, page.link or "")
    )


def _says_cut_off(collection: FeatureCollection) -> str | None:
    """Return the name of the member by which an answer says that it is cut off; None = it does not."""
    if _is_true(read_member(collection.exceeded_transfer_limit)):
        return "exceededTransferLimit"
    for text in (collection.properties, collection.metadata):
        member = read_member(text)
        for name in ("exceededTransferLimit", "limitExceeded"):
            if isinstance(member, dict) and _is_true(member.get(name)):
                return name
    return None


def _is_true(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.strip().lower() == "true")


def _whole_number(value: Any) -> int:
    """Return a number of features; 0 where the value is none, such as `unknown`."""
    if isinstance(value, str):
        text = value.strip()
        return int(text[:18]) if text.isascii() and text.isdigit() else 0
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1 else 0


def _require_as_many_as_returned(collection: FeatureCollection) -> None:
    returned = _whole_number(read_member(collection.number_returned))
    if returned > len(collection.features):
        raise LayerError(f"the answer says that it has {returned} features and has {len(collection.features)}")


def _digest(features: list[msgspec.Raw]) -> bytes:
    """Return what tells the features of a page from those of others: ids and geometries; attributes may have dates."""
    digest = hashlib.blake2b(digest_size=16)
    for text in features:
        try:
            feature = _feature.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            digest.update(bytes(text))
            continue
        is_named = bytes(feature.id) != b"null"
        digest.update(bytes(feature.id) + bytes(feature.geometry) if is_named else bytes(text))
    return digest.digest()


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
