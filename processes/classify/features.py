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
from processes.features.reading.parts import can_be_read_in_part, read_layer_part
from processes.features.reading.remote_layer import BoxesIn, RemoteLayerFile
from processes.ogc.request import InputValue
from processes.ogc.schema import quoted
from processes.settings import Settings
from processes.sources.download_budget import DownloadBudget
from processes.sources.host_links import display_link
from processes.sources.links import LinkedFile, allowed_path, fetch, file_name
from processes.sources.media_types import GEOJSON, plain_media_type
from processes.sources.ranges import RemoteBytes, open_ranges
from processes.sources.remote_files import RemoteFile
from processes.sources.stamps import DATABASE_ENDINGS, SHAPEFILE_ENDINGS, FileStamp, stamp_file

_ITEMS = "a link to features names a file, or the items of a collection as GeoJSON, as …/collections/NAME/items?f=json"


class _Members(msgspec.Struct):
    """The members that show what a features input is. The members of a collection are not read here."""

    href: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    type: msgspec.Raw = msgspec.Raw(b"null")
    """Of a link its media type; of features theirs."""
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    mediaType: str | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 - OGC's spelling


def read_features(
    value: InputValue,
    settings: Settings,
    folder: Path,
    budget: DownloadBudget,
    boxes_in: BoxesIn | None = None,
) -> Layer:
    """Read the features of a request.

    Args:
        value: the input's value.
        settings: what is allowed.
        folder: for fetched files.
        budget: of the request's downloads.
        boxes_in: returns the boxes outside which features of a remote file may be empty; None = all are asked for.

    Raises:
        ServiceError: they cannot be fetched or read; a RequestError where a member of the value is wrong.
    """
    members = _members(value)
    if members.href is not msgspec.UNSET:
        try:
            link = _href(members.href), _stated_type(members.type)
            return _linked(link, settings, folder, budget, boxes_in)
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


def _linked(
    link: tuple[str, str], settings: Settings, folder: Path, budget: DownloadBudget, boxes_in: BoxesIn | None
) -> Layer:
    href, media_type = link
    service = service_layer(href, media_type, lambda url: fetch(url, settings, folder, ACCEPT, budget))
    if service is not None:
        name, first, following = service
        return read_pages(first, following, name, settings.limits)
    file = first_file(href, settings, folder, budget, None if boxes_in is None else can_be_read_in_part)
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
    if file.remote is not None and boxes_in is not None:
        refuse_options(file.path.read_bytes()[:4096], file.name, named.get("layer"), named.get("crs"))
        return _read_part(file, file.remote, settings, folder, budget, boxes_in)
    return read_layer(file.path, file.name, named.get("layer"), settings.limits, folder, named.get("crs"))


def _read_part(
    first: LinkedFile, remote: RemoteFile, settings: Settings, folder: Path, budget: DownloadBudget, boxes_in: BoxesIn
) -> Layer:
    """Read the features in some boxes of a file whose first bytes are there."""
    with budget.spending_time(remote.href) as deadline:
        reader = open_ranges(remote, settings, deadline.remaining_s())

        def read(start: int, end: int) -> bytes:
            budget.spend(end - start, remote.href)
            return reader.read(start, end)

        try:
            with RemoteBytes(remote, reader, first=first.path.read_bytes()) as file:
                part = RemoteLayerFile(file.as_file(), remote.size_bytes, read, remote.digest)
                layer = read_layer_part(part, boxes_in, first.name, settings.limits, folder)
                budget.spend(file.fetched_bytes, remote.href)
                return layer
        finally:
            reader.close()


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
