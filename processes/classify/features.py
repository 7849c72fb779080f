"""The features of a request: inline, in a file, or page by page from an OGC API - Features service."""

from __future__ import annotations

from pathlib import Path

import msgspec

from processes.classify.feature_links import ACCEPT, first_file, read_page, service_layer
from processes.errors import LayerError, RequestError, ServiceError
from processes.features.layer import Layer
from processes.features.reading.collection import BOM, looks_like_json
from processes.features.reading.files import read_layer, refuse_options
from processes.features.reading.geojson import read_geojson, read_pages
from processes.features.reading.page_links import leads_to_items
from processes.features.reading.paging import FeaturePage
from processes.ogc.request import InputValue
from processes.ogc.schema import quoted
from processes.settings import Settings
from processes.sources.download_budget import DownloadBudget
from processes.sources.host_links import display_link
from processes.sources.links import LinkedFile, allowed_path, fetch, file_name
from processes.sources.media_types import GEOJSON, plain_media_type
from processes.sources.stamps import DATABASE_ENDINGS, SHAPEFILE_ENDINGS, FileStamp, stamp_file

_ITEMS = "a link to features names a file, or the items of a collection as GeoJSON, as …/collections/NAME/items?f=json"


class _Members(msgspec.Struct):
    """The members that show what a features input is. The members of a collection are not read here."""

    href: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    type: msgspec.Raw = msgspec.Raw(b"null")
    """Of a link its media type; of features theirs."""
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    mediaType: str | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 - OGC's spelling


def read_features(value: InputValue, settings: Settings, folder: Path, budget: DownloadBudget) -> Layer:
    """Read the features of a request.

    Args:
        value: the input's value.
        settings: what is allowed.
        folder: for fetched files.
        budget: of the request's downloads.

    Raises:
        ServiceError: they cannot be fetched or read; a RequestError where a member of the value is wrong.
    """
    members = _members(value)
    if members.href is not msgspec.UNSET:
        try:
            return _linked(_href(members.href), _stated_type(members.type), settings, folder, budget)
        except ServiceError as err:
            raise RequestError.at(f"{value.pointer}/href", err) from err
    if members.value is msgspec.UNSET:
        return read_geojson(bytes(value.text), "features", settings.limits)
    if members.mediaType not in (msgspec.UNSET, GEOJSON, "application/json"):
        raise RequestError.at(
            f"{value.pointer}/mediaType",
            LayerError(f"features of media type {quoted(members.mediaType)} must be linked; inline they are {GEOJSON}"),
        )
    return read_geojson(bytes(members.value), "features", settings.limits)


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
    stamp = None if path is None else stamp_file(pointer, path, file_name(href), _beside(path))
    return [] if stamp is None else [stamp]


def _beside(path: Path) -> tuple[str, ...]:
    """Return the endings of the files beside a linked file that belong to it."""
    return SHAPEFILE_ENDINGS if path.suffix.lower() == ".shp" else DATABASE_ENDINGS


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


def _stated_type(text: msgspec.Raw) -> str:
    value = msgspec.json.decode(text)
    return plain_media_type(value) if isinstance(value, str) else ""


def _linked(href: str, media_type: str, settings: Settings, folder: Path, budget: DownloadBudget) -> Layer:
    service = service_layer(href, media_type, lambda url: fetch(url, settings, folder, ACCEPT, budget))
    if service is not None:
        name, first, following = service
        return read_pages(first, following, name, settings.limits)
    file = first_file(href, settings, folder, budget)
    key, _, value = file.fragment.partition("=")
    named = {key: value} if value else {}
    if file.url is not None:
        with file.path.open("rb") as opened:
            head = opened.read(4096)
        if file.media_type in ("text/html", "application/xhtml+xml") and head.lstrip(BOM + b" \t\r\n").startswith(b"<"):
            raise LayerError(f"{display_link(href)} answers with a web page; {_ITEMS}")
        if head and looks_like_json(head):
            refuse_options(head, file.name, named.get("layer"), named.get("crs"))
            return _read_pages(file, settings, folder, budget)
    return read_layer(file.path, file.name, named.get("layer"), settings.limits, folder, named.get("crs"))


def _read_pages(first: LinkedFile, settings: Settings, folder: Path, budget: DownloadBudget) -> Layer:
    """Read the pages of a collection's items; the first one is there."""
    page = _page(first)
    try:
        return read_pages(
            page,
            lambda url: _page(fetch(url, settings, folder, ACCEPT, budget)),
            Path(first.name).stem,
            settings.limits,
        )
    except LayerError as err:
        if leads_to_items(page.text):
            raise LayerError(f"{display_link(str(first.url))} is not features itself; {_ITEMS}") from err
        raise


def _page(file: LinkedFile) -> FeaturePage:
    """Return a page that was downloaded; its file is removed."""
    page = read_page(file)
    file.path.unlink()
    return page
