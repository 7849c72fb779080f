"""The features of a request: inline, in a file, or page by page from an OGC API - Features service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urldefrag, urljoin

import msgspec

from processes.errors import LayerError, RequestError, ServiceError
from processes.features.layer import Layer
from processes.features.reading.files import BOM, looks_like_json, read_layer
from processes.features.reading.geojson import read_geojson, read_pages
from processes.features.reading.paging import FeaturePage, leads_to_items, next_href
from processes.ogc.media_types import GEOJSON
from processes.ogc.request import InputValue
from processes.ogc.schema import quoted
from processes.settings import Settings
from processes.sources.hosts import DownloadBudget, display_link
from processes.sources.links import LinkedFile, allowed_path, fetch, file_name, resolve
from processes.sources.stamps import FileStamp, stamp_file

_ACCEPT = f"{GEOJSON}, application/json;q=0.9, */*;q=0.1"
_ITEMS = "a link to features names a file, or the items of a collection as GeoJSON, as …/collections/NAME/items?f=json"


class _Members(msgspec.Struct):
    """The members that show what a features input is. The members of a collection are not read here."""

    href: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    mediaType: str | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 - OGC's spelling


def read_features(value: InputValue, settings: Settings, folder: Path) -> Layer:
    """Read the features of a request.

    Args:
        value: the input's value.
        settings: what is allowed.
        folder: for fetched files.

    Raises:
        ServiceError: they cannot be fetched or read; a RequestError where a member of the value is wrong.
    """
    members = _members(value)
    limit = settings.limits.max_objects
    if members.href is not msgspec.UNSET:
        try:
            return _linked(_href(members.href), settings, folder)
        except ServiceError as err:
            raise RequestError.at(f"{value.pointer}/href", err) from err
    if members.value is msgspec.UNSET:
        return read_geojson(bytes(value.text), "features", limit)
    if members.mediaType not in (msgspec.UNSET, GEOJSON, "application/json"):
        raise RequestError.at(
            f"{value.pointer}/mediaType",
            LayerError(f"features of media type {quoted(members.mediaType)} must be linked; inline they are {GEOJSON}"),
        )
    return read_geojson(bytes(members.value), "features", limit)


def stamp_features(value: InputValue, settings: Settings) -> list[FileStamp]:
    """Return the stamp of the linked file; nothing is opened, and a file that is not there has no stamp.

    Raises:
        ServiceError: the value is no features, or the configuration does not allow its link.
    """
    members = _members(value)
    if members.href is msgspec.UNSET:
        return []
    pointer = f"{value.pointer}/href"
    try:
        href = _href(members.href)
        path = allowed_path(href, settings)
    except ServiceError as err:
        raise RequestError.at(pointer, err) from err
    stamp = None if path is None else stamp_file(pointer, path, file_name(href))
    return [] if stamp is None else [stamp]


def _members(value: InputValue) -> _Members:
    try:
        return msgspec.json.decode(value.text, type=_Members)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise LayerError("features is neither a GeoJSON FeatureCollection nor a link") from err


def _href(text: msgspec.Raw) -> str:
    href = msgspec.json.decode(text)
    if not isinstance(href, str):
        raise LayerError(f"href is {quoted(href)}, not a text")
    return href


def _linked(href: str, settings: Settings, folder: Path) -> Layer:
    budget = DownloadBudget.of(settings)
    file = resolve(href, settings, folder, _ACCEPT, budget)
    limit = settings.limits.max_objects
    if file.url is not None:
        with file.path.open("rb") as opened:
            head = opened.read(4096)
        if file.media_type in ("text/html", "application/xhtml+xml") and head.lstrip(BOM + b" \t\r\n").startswith(b"<"):
            raise LayerError(f"{display_link(href)} answers with a web page; {_ITEMS}")
        if head and looks_like_json(head):
            return read_pages(_pages(file, settings, folder, budget), Path(file.name).stem, limit)
    return read_layer(file.path, file.name, _layer_name(file), limit, folder)


def _pages(first: LinkedFile, settings: Settings, folder: Path, budget: DownloadBudget) -> Iterator[FeaturePage]:
    """Yield the pages of a collection's items. Each is fetched when the page before is read."""
    page, seen = first, {_key(str(first.url))}
    while True:
        text = page.path.read_bytes().removeprefix(BOM)
        page.path.unlink()
        href = next_href(text)
        if href is None and leads_to_items(text):
            raise LayerError(f"{display_link(str(page.url))} is not features itself; {_ITEMS}")
        yield FeaturePage(text, page.headers.get("content-crs"))
        if href is None:
            return
        try:
            url = urljoin(str(page.url), href)
        except ValueError as err:
            raise LayerError("the link to the next page cannot be read") from err
        page = fetch(url, settings, folder, _ACCEPT, budget)
        keys = {_key(url), _key(str(page.url))}
        if keys & seen:
            raise LayerError(f"the pages go in a circle: {display_link(url)} comes a second time")
        seen |= keys


def _key(url: str) -> str:
    """Return the part of a URL by which pages differ."""
    return urldefrag(url)[0]


def _layer_name(file: LinkedFile) -> str | None:
    key, _, name = file.fragment.partition("=")
    return name if key == "layer" and name else None
