"""What links to images lead to: a file, or the images of a STAC document, whose pages are followed.

It loads no reader of images, so that a process that only downloads is small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

import msgspec

from processes.classify.feature_links import read_page
from processes.errors import ForbiddenError, ImageError, LayerError, ServiceError
from processes.features.reading.collection import BOM
from processes.features.reading.oddities import Oddities
from processes.features.reading.paging import PageReader
from processes.imagery.services.links import ServiceLink
from processes.imagery.stac import AssetChoice, StacImage, StatedGrid, is_item, stac_image
from processes.ogc.request import ExecuteRequest
from processes.sources.host_links import display_link
from processes.sources.links import LinkedFile
from processes.sources.media_types import plain_media_type

Get = Callable[[str, bool], LinkedFile]
"""Returns the file that a link names, or raises ServiceError; True = the first bytes of one that is read by parts."""

_HEAD_BYTES = 4096
_LARGEST = 1e12
"""No cell is as large."""
_STAC_ENDINGS = (".json", ".geojson")
_EXPECTED = "a link to images names a file, or a STAC Item, ItemCollection or Collection, or a search that gives items"


class LinkedImage(msgspec.Struct, frozen=True):
    """An image that a link leads to."""

    name: str
    """What the client calls it."""
    links: tuple[tuple[str, ...], ...]
    """To each of its files: the first one that is allowed counts. The bands of several files are stacked, in this
    order, on the grid of the first one."""
    bands: tuple[str, ...] = ()
    """What the client calls each of the files, where they are several."""
    grid: StatedGrid | None = None
    """Where a catalog says that it lies; None = none does."""
    file: LinkedFile | None = None
    """The one file, where the link names it; None = the files are not asked for yet."""

    @property
    def is_by_parts(self) -> bool:
        """Whether its file is read by parts if it can be; the files of several bands are not."""
        return not self.bands

    def files(self, get: Get) -> tuple[LinkedFile, ...]:
        """Return its files; `get` returns the file that a link names.

        Raises:
            ServiceError: one cannot be had.
        """
        if self.file is not None:
            return (self.file,)
        return tuple(first_allowed(links, lambda link: get(link, self.is_by_parts)) for links in self.links)


def first_allowed(links: Sequence[str], get: Callable[[str], LinkedFile]) -> LinkedFile:
    """Return the file that the first one of links to it names that the configuration allows.

    Args:
        links: at least one.
        get: returns the file that a link names.

    Raises:
        ForbiddenError: none is allowed; tells of the first one.
        ServiceError: the file cannot be had.
    """
    refused: list[ForbiddenError] = []
    for link in links:
        try:
            return get(link)
        except ForbiddenError as err:
            refused.append(err)
    raise refused[0]


def linked_images(href: str, get: Get) -> Iterator[LinkedImage]:
    """Yield the images that a link leads to, in order. Of a catalog only its documents are got.

    Args:
        href: the link.
        get: returns the file that a link names.

    Raises:
        ServiceError: something that is needed cannot be had or read.
    """
    file = get(href, True)
    if not begins_as_json(file.path):
        yield LinkedImage(file.name, ((href,),), file=file)
        return
    choice = AssetChoice.of(urldefrag(href)[1])
    for image in _stac_images(file, urldefrag(href)[0], choice, get):
        yield LinkedImage(image.name, image.hrefs, image.assets if len(image.hrefs) > 1 else (), image.grid)


def service_link_of(href: str, media_type: str, request: ExecuteRequest) -> ServiceLink:
    """Return a link with what of its request decides about the images of a service.

    What is wrong with the other inputs is told where they are read.

    Args:
        href: the link.
        media_type: that the client states; empty = none.
        request: of the link.
    """
    cell_size, mode = (_value(request, name) for name in ("cellSize", "processingMode"))
    is_number = isinstance(cell_size, int | float) and not isinstance(cell_size, bool)
    size = float(cell_size) if is_number and 0 < cell_size < _LARGEST else None
    return ServiceLink(href, plain_media_type(media_type), size, mode == "separate")


def _value(request: ExecuteRequest, name: str) -> Any:
    """Return the value of an input that is there once; None where it cannot be read."""
    values = request.inputs.get(name, ())
    if len(values) != 1:
        return None
    try:
        value = values[0].read()
    except ServiceError:
        return None
    return value["value"] if isinstance(value, dict) and "value" in value else value


def may_be_stac(href: str) -> bool:
    """Return whether a link to a file names a JSON document."""
    return urlsplit(href).path.lower().endswith(_STAC_ENDINGS)


def begins_as_json(path: Path) -> bool:
    """Return whether a file can be a JSON object, as a STAC document is."""
    with path.open("rb") as opened:
        return opened.read(_HEAD_BYTES).removeprefix(BOM).lstrip().startswith(b"{")


def _stac_images(file: LinkedFile, href: str, choice: AssetChoice, get: Get) -> Iterator[StacImage]:
    """Yield the images of a STAC document.

    Args:
        file: the document.
        href: the link that led to it.
        choice: the assets that are asked for.
        get: returns the file that a link names.
    """
    address, document = file.url or href, _document(file, href)
    kind = document.get("type")
    if is_item(document):
        yield stac_image(document, address, choice, is_alone=True)
    elif kind == "FeatureCollection":
        yield from _items_of_pages(file, href, choice, get)
    elif kind in ("Collection", "Catalog") and document.get("stac_version"):
        yield from _items_of_collection(document, address, choice, get)
    else:
        raise ImageError(f"{display_link(href)} is JSON and no STAC document; {_EXPECTED}")


def _items_of_pages(first: LinkedFile, href: str, choice: AssetChoice, get: Get) -> Iterator[StacImage]:
    """Yield the images of an ItemCollection, or of all pages of one that a host gives.

    Args:
        first: the first page.
        href: the link that led to it.
        choice: the assets that are asked for.
        get: returns the file that a link names.
    """
    reader = PageReader((lambda url: read_page(get(url, False))) if first.url else None, Oddities())
    try:
        for page, collection in reader.pages(read_page(first)):
            for text in collection.features:
                document = msgspec.json.decode(text)
                if not is_item(document):
                    raise ImageError(f"{display_link(href)} has features that are no STAC items; {_EXPECTED}")
                yield stac_image(document, page.url or href, choice, is_alone=False)
    except LayerError as err:
        raise ImageError(f"the items of {display_link(href)}: {err.detail}") from err
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise ImageError(f"{display_link(href)} has a STAC item that cannot be read: {err}") from err
    if not reader.count:
        raise ImageError(f"{display_link(href)} has no items")


def _items_of_collection(document: dict[str, Any], address: str, choice: AssetChoice, get: Get) -> Iterator[StacImage]:
    """Yield the images of a Collection or Catalog: of the pages of its link `items`, else of its links `item`.

    Args:
        document: the Collection or Catalog.
        address: of it.
        choice: the assets that are asked for.
        get: returns the file that a link names.
    """
    links = [
        link for link in document.get("links") or () if isinstance(link, dict) and isinstance(link.get("href"), str)
    ]
    hrefs = {
        rel: [urljoin(address, link["href"]) for link in links if link.get("rel") == rel] for rel in ("items", "item")
    }
    if hrefs["items"]:
        href = hrefs["items"][0]
        yield from _items_of_pages(get(href, False), href, choice, get)
        return
    for href in hrefs["item"]:
        file = get(href, False)
        item = _document(file, href)
        if not is_item(item):
            raise ImageError(f"{display_link(href)} is no STAC item, though it is linked to as one")
        yield stac_image(item, file.url or href, choice, is_alone=True)
    if not hrefs["item"]:
        raise ImageError(f"the STAC {document['type']} {display_link(address)} has no link to items; {_EXPECTED}")


def _document(file: LinkedFile, href: str) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(file.path.read_bytes().removeprefix(BOM))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise ImageError(f"{display_link(href)} begins as JSON does and cannot be read: {err}") from err
    if not isinstance(document, dict):
        raise ImageError(f"{display_link(href)} is JSON and no STAC document; {_EXPECTED}")
    return document
