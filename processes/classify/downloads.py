"""The links of a request to hosts, downloaded before its work begins.

What is wrong with an input is not told here: `processes.sources.downloads` remembers what came of each request, and who
reads the input meets the same error at the same place, together with those of other inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec

from processes.classify.feature_links import ACCEPT, first_file, has_pages, read_page
from processes.errors import ServiceError
from processes.features.reading.oddities import Oddities
from processes.features.reading.paging import PageReader
from processes.imagery.endings import ENDINGS
from processes.imagery.tiled_tiff import can_be_read_by_parts
from processes.ogc.request import Description, ExecuteRequest, InputValue
from processes.settings import Settings
from processes.sources.bucket_links import is_bucket_link
from processes.sources.download_budget import DownloadBudget
from processes.sources.downloads import recall
from processes.sources.folder_budget import FolderBudget
from processes.sources.links import ANY, fetch, is_folder, list_bucket_folder, resolve
from processes.sources.uploads import SCHEME

FRAME: Description = {
    "inputs": {"image": {"minOccurs": 0, "maxOccurs": "unbounded"}, "features": {"minOccurs": 0}},
    "outputs": {},
    "outputTransmission": [],
}
"""As much of a description as it takes to find the links of a request; what else there is in it is not looked at."""


class _Link(msgspec.Struct):
    href: str


def has_host_links(request: ExecuteRequest, settings: Settings) -> bool:
    """Return whether a request has links to what has to be fetched: from hosts, and uploads from an object store."""
    return any(
        _host_link(value, settings) is not None
        for name in ("image", "features")
        for value in request.inputs.get(name, ())
    )


def download_links(request: ExecuteRequest, settings: Settings, folder: Path) -> None:
    """Download what a request links to on hosts.

    Args:
        request: the request.
        settings: what is allowed.
        folder: for what is downloaded.
    """
    budget = DownloadBudget.of(settings)
    download_images(request, settings, folder, budget)
    for value in request.inputs.get("features", ()):
        features = _host_link(value, settings)
        if features is not None:
            with suppress(ServiceError):
                _download_features(features, settings, folder, budget)


def download_images(request: ExecuteRequest, settings: Settings, folder: Path, budget: DownloadBudget) -> None:
    """Download the images that a request links to on hosts, several at the same time, unless that is done.

    Of those that can be read by parts only the first bytes are downloaded.

    Args:
        request: the request.
        settings: what is allowed.
        folder: for what is downloaded.
        budget: of the request's downloads.
    """

    def download(href: str) -> None:
        with suppress(ServiceError):
            resolve(href, settings, folder, budget=budget, suits=can_be_read_by_parts)

    todo = [href for href in dict.fromkeys(_image_links(request, settings)) if recall(folder, href, ANY) is None]
    if todo:
        with ThreadPoolExecutor(min(len(todo), settings.limits.max_requests), "download") as pool:
            for done in [pool.submit(download, href) for href in todo]:
                done.result()


def _image_links(request: ExecuteRequest, settings: Settings) -> Iterator[str]:
    values, folders = request.inputs.get("image", ()), FolderBudget.of(settings)
    for value in values if len(values) <= settings.limits.max_images else ():
        href = _host_link(value, settings)
        if href is None:
            continue
        if not is_folder(href):
            yield href
        elif is_bucket_link(href):
            with suppress(ServiceError):
                yield from list_bucket_folder(href, settings, ENDINGS, folders)


def _download_features(href: str, settings: Settings, folder: Path, budget: DownloadBudget) -> None:
    """Download the file that a link names, or the pages of a layer."""
    first = first_file(href, settings, folder, budget)
    if first.url is None or not has_pages(first):
        return
    reader = PageReader(lambda url: read_page(fetch(url, settings, folder, ACCEPT, budget)), Oddities())
    for _, collection in reader.pages(read_page(first)):
        if reader.count + len(collection.features) > settings.limits.max_objects:
            return


def _host_link(value: InputValue, settings: Settings) -> str | None:
    """Return the link of a value to what has to be fetched; None = it has none."""
    schemes = ("http:", "https:", "s3:", "gs:", "az:", *[f"{SCHEME}:"] * settings.results.startswith("s3://"))
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        href = msgspec.json.decode(value.text, type=_Link).href
        if href.lstrip().lower().startswith(schemes):
            return href
    return None
