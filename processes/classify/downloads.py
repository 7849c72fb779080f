"""The links of a request to hosts, downloaded before its work begins.

What is wrong with an input is not told here: `processes.sources.downloads` remembers what came of each request, and who
reads the input meets the same error at the same place, together with those of other inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Lock

import msgspec

from processes.classify.feature_links import ACCEPT, first_file, has_pages, read_page, service_layer
from processes.classify.image_links import (
    LinkedImage,
    begins_as_json,
    first_allowed,
    linked_images,
    may_be_stac,
    service_link_of,
)
from processes.errors import ServiceError
from processes.features.reading.oddities import Oddities
from processes.features.reading.paging import PageReader
from processes.features.reading.parts import can_be_read_in_part
from processes.imagery.endings import ENDINGS
from processes.imagery.services.links import ServedFile, ServiceLink, service_images
from processes.imagery.tiled_tiff import can_be_read_by_parts
from processes.ogc.request import Description, ExecuteRequest, InputValue
from processes.settings import Settings
from processes.sources.bucket_links import is_bucket_link
from processes.sources.download_budget import DownloadBudget
from processes.sources.downloads import recall
from processes.sources.folder_budget import FolderBudget
from processes.sources.links import ANY, LinkedFile, SuitsRanges, fetch, is_folder, list_bucket_folder, resolve
from processes.sources.media_types import plain_media_type
from processes.sources.seal import seal_of
from processes.sources.uploads import SCHEME

FRAME: Description = {
    "inputs": {"image": {"minOccurs": 0, "maxOccurs": "unbounded"}, "features": {"minOccurs": 0}},
    "outputs": {},
    "outputTransmission": [],
}
"""As much of a description as it takes to find the links of a request; what else there is in it is not looked at."""


IsNeeded = Callable[[LinkedImage], bool]
"""Says whether an image that a link leads to is opened."""


class _Link(msgspec.Struct):
    href: str
    type: str = ""


def has_host_links(request: ExecuteRequest, settings: Settings) -> bool:
    """Return whether a request has links to what has to be fetched: from hosts, and uploads from an object store."""
    values = request.inputs.get("image", ()), request.inputs.get("features", ())
    return any(_image_link(value, settings) for value in values[0]) or any(
        _host_link(value, settings) for value in values[1]
    )


def download_links(request: ExecuteRequest, settings: Settings, folder: Path) -> None:
    """Download what a request links to on hosts.

    Args:
        request: the request.
        settings: what is allowed.
        folder: for what is downloaded.
    """
    budget = DownloadBudget.of(settings)
    download_images(request, settings, folder, budget, all_but_stated if "features" in request.inputs else every_image)
    for value in request.inputs.get("features", ()):
        features = _host_link(value, settings)
        if features is not None:
            with suppress(ServiceError):
                suits = can_be_read_in_part if "extent" in request.inputs else None
                _download_features((features, _link_type(value)), settings, folder, budget, suits)


def download_images(
    request: ExecuteRequest, settings: Settings, folder: Path, budget: DownloadBudget, is_needed: IsNeeded
) -> None:
    """Download the images that a request links to on hosts, several at the same time, unless that is done.

    Of those that can be read by parts only the first bytes are downloaded, and of services what tells of them.

    Args:
        request: the request.
        settings: what is allowed.
        folder: for what is downloaded.
        budget: of the request's downloads.
        is_needed: says which images of catalogs are downloaded.
    """
    seal, lock = seal_of(settings), Lock()
    files: dict[str, Future[None]] = {}

    def get(href: str, by_parts: bool) -> LinkedFile:
        return resolve(href, settings, folder, budget=budget, suits=can_be_read_by_parts if by_parts else None)

    def download_file(hrefs: Sequence[str], by_parts: bool) -> None:
        with suppress(ServiceError):
            first_allowed(hrefs, lambda href: get(href, by_parts))

    def download(link: ServiceLink) -> None:
        images = FolderBudget.of(settings)
        with suppress(ServiceError):
            if link.is_service:
                for served in service_images(link, lambda url: get(url, False).path.read_bytes(), None):
                    images.spend_file(link.href)
                    if isinstance(served, ServedFile):
                        get(served.href, True)
                return
            for image in linked_images(link.href, get):
                images.spend_file(link.href)
                for hrefs in image.links if image.file is None and is_needed(image) else ():
                    is_there = not any(map(has_to_be_fetched, hrefs)) or recall(folder, hrefs[0], ANY, seal) is not None
                    with lock:
                        if not is_there and hrefs[0] not in files:
                            files[hrefs[0]] = pool.submit(download_file, hrefs, image.is_by_parts)

    def is_done(link: ServiceLink) -> bool:
        earlier = recall(folder, link.href, ANY, seal)
        return earlier is not None and (earlier.path is None or not begins_as_json(Path(earlier.path)))

    links = [link for link in dict.fromkeys(_image_links(request, settings)) if not is_done(link)]
    if not links:
        return
    with ThreadPoolExecutor(settings.limits.max_requests, "download") as pool:
        for done in [pool.submit(download, link) for link in links]:
            done.result()
        for done in files.values():
            done.result()


def all_but_stated(image: LinkedImage) -> bool:
    """Return whether an image is needed before it is known where objects lie: unless a catalog says where it lies."""
    return image.grid is None or not has_to_be_fetched(image.links[0][0])


def every_image(_: LinkedImage) -> bool:
    """Return that an image is needed."""
    return True


def _image_links(request: ExecuteRequest, settings: Settings) -> Iterator[ServiceLink]:
    values, folders = request.inputs.get("image", ()), FolderBudget.of(settings)
    for value in values if len(values) <= settings.limits.max_images else ():
        href = _image_link(value, settings)
        if href is None:
            continue
        link = service_link_of(href, _link_type(value), request)
        if link.is_service or not is_folder(href):
            yield link
        elif is_bucket_link(href):
            with suppress(ServiceError):
                for each in list_bucket_folder(href, settings, ENDINGS, folders):
                    yield service_link_of(each, "", request)


def _download_features(
    link: tuple[str, str], settings: Settings, folder: Path, budget: DownloadBudget, suits: SuitsRanges | None
) -> None:
    """Download the file that a link names, or its first bytes if it can be read in part, or the pages of a layer."""
    href, media_type = link

    def get(url: str) -> LinkedFile:
        return fetch(url, settings, folder, ACCEPT, budget)

    service = service_layer(href, media_type, get)
    if service is not None:
        _, first_page, following = service
    else:
        first = first_file(href, settings, folder, budget, suits)
        if first.url is None or not has_pages(first):
            return
        first_page, following = read_page(first), lambda url: read_page(get(url))
    reader = PageReader(following, Oddities())
    for _, collection in reader.pages(first_page):
        if reader.count + len(collection.features) > settings.limits.max_objects:
            return


def _image_link(value: InputValue, settings: Settings) -> str | None:
    """Return the link of a value to images that have to be fetched, or to what may lead to them; None = it has none."""
    href = _host_link(value, settings, "file:")
    return href if href is None or not href.lstrip().lower().startswith("file:") or may_be_stac(href) else None


def has_to_be_fetched(href: str, *others: str) -> bool:
    """Return whether a link names what lies on a host or in a bucket, or has one of other schemes."""
    return href.lstrip().lower().startswith(("http:", "https:", "s3:", "gs:", "az:", *others))


def _link_type(value: InputValue) -> str:
    """Return the media type that a link states; empty = none."""
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return plain_media_type(msgspec.json.decode(value.text, type=_Link).type)
    return ""


def _host_link(value: InputValue, settings: Settings, *others: str) -> str | None:
    """Return the link of a value to what has to be fetched, or of other schemes; None = it has none."""
    uploads = [f"{SCHEME}:"] * settings.results.startswith("s3://")
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        href = msgspec.json.decode(value.text, type=_Link).href
        if has_to_be_fetched(href, *others, *uploads):
            return href
    return None
