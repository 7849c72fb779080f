"""What links to features lead to on hosts: files, and pages of services.

It loads no reader, so that a process that only downloads is small.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from processes.errors import InputError
from processes.features.reading.collection import BOM, looks_like_json
from processes.features.reading.esri_layer import esri_layer, is_esri_layer
from processes.features.reading.paging import FeaturePage, FetchPage
from processes.features.reading.wfs import is_wfs, wfs_layer
from processes.settings import Settings
from processes.sources.download_budget import DownloadBudget
from processes.sources.links import LinkedFile, SuitsRanges, resolve
from processes.sources.media_types import GEOJSON

ACCEPT = f"{GEOJSON}, application/json;q=0.9, */*;q=0.1"
_ITEMS_PATH = re.compile(r"/collections/[^/]+/items/?$")
_HEAD_BYTES = 4096
_FOLDERS = (".gdb",)
"""Endings of folders that are layers: file geodatabases."""
_PAGE_FEATURES = 1000
"""Features to ask a host for at once."""


def first_file(
    href: str, settings: Settings, folder: Path, budget: DownloadBudget, suits: SuitsRanges | None = None
) -> LinkedFile:
    """Return the file that a link names, or the first bytes of one that can be read in part; of the items of a
    collection, as many as the host gives in one answer.

    OGC API - Features lets a host give ten items where a request has no `limit`, and fewer than the limit, but not an
    error. Where a host gives one all the same, the link is requested as it is.

    Args:
        href: the link.
        settings: what is allowed.
        folder: for downloaded files.
        budget: of the request's downloads.
        suits: says whether a file can be read in part; None = it is not to be.
    """
    try:
        parts = urlsplit(href)
    except ValueError:  # such as a host in brackets that is no address
        return resolve(href, settings, folder, ACCEPT, budget, folders=_FOLDERS)
    is_items = _ITEMS_PATH.search(parts.path) and "limit" not in dict(parse_qsl(parts.query, keep_blank_values=True))
    if is_items and parts.scheme in ("http", "https"):
        query = "&".join(filter(None, (parts.query, f"limit={_PAGE_FEATURES}")))
        try:
            return resolve(urlunsplit(parts._replace(query=query)), settings, folder, ACCEPT, budget)
        except InputError as err:
            if err.__cause__ is not None:  # the host does not answer at all
                raise
    return resolve(href, settings, folder, ACCEPT, budget, suits, folders=_FOLDERS)


def service_layer(
    href: str, media_type: str, get: Callable[[str], LinkedFile]
) -> tuple[str, FeaturePage, FetchPage] | None:
    """Return the layer that a link to a WFS or to Esri's feature service names: its name, its first page, what returns
    the others; None = the link leads to something else.

    Args:
        href: the link.
        media_type: that the client states; empty = none.
        get: returns what a URL names.
    """
    if not href.lstrip().lower().startswith(("http:", "https:")):
        return None
    if is_esri_layer(href):
        return esri_layer(href, lambda url: read_page(get(url)))
    return wfs_layer(href, lambda url: read_page(get(url))) if is_wfs(href, media_type) else None


def read_page(file: LinkedFile) -> FeaturePage:
    """Return a page that was downloaded."""
    text = file.path.read_bytes().removeprefix(BOM)
    return FeaturePage(text, file.url, file.headers.get("content-crs"), file.headers.get("link"))


def has_pages(file: LinkedFile) -> bool:
    """Return whether a downloaded file can be the first page of several: it is JSON."""
    with file.path.open("rb") as opened:
        return looks_like_json(opened.read(_HEAD_BYTES))
