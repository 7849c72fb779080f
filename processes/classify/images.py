"""The images of a request: in the request itself, behind a link, or in a folder.

`_linked_sources` turns a link into image sources. A new kind of link is a branch there, or in
`processes.classify.image_links`, and a class beside `processes.imagery.source`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial
from itertools import count, islice
from pathlib import Path

import msgspec

from processes.classify.downloads import IsNeeded, download_images, every_image
from processes.classify.image_links import Get, LinkedImage, linked_images, may_be_stac, service_link_of
from processes.classify.image_values import ImageLink, InlineImage, read_image_value
from processes.classify.near_objects import NearObjects
from processes.errors import Fault, ImageError, InputError, LimitError, RequestError, ServiceError, collect_faults
from processes.imagery.endings import ENDINGS
from processes.imagery.image import Image, open_image
from processes.imagery.remote_source import RemoteAccess, RemoteTiffSource
from processes.imagery.services.grid_source import GridSource
from processes.imagery.services.links import ServedFile, ServiceLink, service_images
from processes.imagery.sidecars import ImageFolders
from processes.imagery.source import FileSource, ImageSource, unique_names
from processes.imagery.stac import StatedGrid
from processes.imagery.stack import StackSource
from processes.imagery.tiled_tiff import can_be_read_by_parts
from processes.ogc.request import ExecuteRequest
from processes.settings import Settings
from processes.sources.bucket_links import is_bucket_link
from processes.sources.download_budget import DownloadBudget
from processes.sources.folder_budget import FolderBudget
from processes.sources.host_links import display_link
from processes.sources.links import (
    LinkedFile,
    allowed_path,
    exists,
    file_name,
    is_folder,
    list_bucket_folder,
    list_folder,
    resolve,
)
from processes.sources.ranges import piece_key
from processes.sources.stamps import FileStamp

_ANY = 2**62
"""Cells that the image of a service may have: it may be the world. What is read of it has a limit of its own."""


class _NamedSource(msgspec.Struct, frozen=True):
    """An image that a request names."""

    name: str
    """What the client calls it."""
    source: ImageSource | None
    """None = it has to be written or fetched first, or is not needed."""
    grid: StatedGrid | None = None
    """Where a catalog says that it lies."""


class _Scratch(msgspec.Struct, frozen=True):
    """Where inline and fetched images are written."""

    folder: Path
    budget: DownloadBudget
    """Of the request's downloads."""
    access: RemoteAccess
    is_needed: IsNeeded
    """Says which images of catalogs are fetched."""


def open_images(
    request: ExecuteRequest,
    access: RemoteAccess,
    folder: Path,
    budget: DownloadBudget,
    faults: list[Fault],
    near: NearObjects | None = None,
) -> list[tuple[Image, str]]:
    """Return the images of a request with their pointers; faults of others are added to `faults`.

    Args:
        request: the request.
        access: how remote images are reached, with the allowed links and the limits.
        folder: for inline and fetched files.
        budget: of the request's downloads.
        faults: gets the faults.
        near: says which images of catalogs objects may touch, the others are left out; None = none is.
    """
    while True:
        scratch, found = (
            _Scratch(folder, budget, access, every_image if near is None else near.may_touch),
            list[Fault](),
        )
        download_images(request, access.settings, folder, budget, scratch.is_needed)
        opened = _opened(_named_sources(request, access.settings, scratch, found), access.settings, found)
        if near is None or found or near.learn([(image.grid, grid) for image, grid, _ in opened]):
            faults += found
            return [(image, pointer) for image, _, pointer in opened]


def _opened(
    named: Sequence[tuple[_NamedSource, str]], settings: Settings, faults: list[Fault]
) -> list[tuple[Image, StatedGrid | None, str]]:
    """Open images; beside each stands where a catalog says that it lies, and its pointer."""
    images = []
    names, folders = unique_names(item.name for item, _ in named), ImageFolders()
    for (item, pointer), name in zip(named, names, strict=True):
        if item.source is None:
            continue
        with collect_faults(faults, pointer):
            for path in item.source.paths:
                folders.require_plain_files(path, name)
            max_pixels = _ANY if isinstance(item.source, GridSource) else settings.limits.max_image_pixels
            images.append((open_image(item.source.named(name), max_pixels), item.grid, pointer))
    return images


def stamp_images(request: ExecuteRequest, settings: Settings, faults: list[Fault]) -> tuple[list[FileStamp], str]:
    """Return the linked images of a request as they are now, and the name of the first of all images.

    No image is opened. A file that is not there has no stamp.

    Args:
        request: the request.
        settings: the allowed links and the limits.
        faults: gets the faults that show without opening an image.
    """
    named = _named_sources(request, settings, None, faults)
    stamps = [item.source.stamp(pointer) for item, pointer in named if item.source is not None]
    return [stamp for stamp in stamps if stamp is not None], named[0][0].name if named else "image"


def _named_sources(
    request: ExecuteRequest, settings: Settings, scratch: _Scratch | None, faults: list[Fault]
) -> list[tuple[_NamedSource, str]]:
    """Return the images that a request names, with their pointers; none where they are too many.

    Args:
        request: the request.
        settings: the allowed links and the limits.
        scratch: for inline and fetched files; None = nothing is written or fetched.
        faults: gets the faults.
    """
    limit, numbers, folders = settings.limits.max_images, count(1), FolderBudget.of(settings)
    values = request.inputs.get("image", ())
    named: list[tuple[_NamedSource, str]] = []
    if len(values) > limit:
        faults.append(_too_many(len(values), limit))
        return []
    for value in values:
        with collect_faults(faults, value.pointer):
            image = read_image_value(value)
            if isinstance(image, ImageLink):
                link = service_link_of(image.href, image.media_type, request)
                named += [(item, image.pointer) for item in _links_sources(link, image, settings, scratch, folders)]
            else:
                named.append((_inline_source(image, next(numbers), scratch), image.pointer))
        if folders.is_spent or len(named) > limit:
            if not folders.is_spent:
                faults.append(_too_many(len(named), limit))
            return []
    return named


def _too_many(images: int, limit: int) -> Fault:
    return Fault("/inputs/image", LimitError("max_images", limit, f"{images} images in one request"))


def _links_sources(
    link: ServiceLink, image: ImageLink, settings: Settings, scratch: _Scratch | None, folders: FolderBudget
) -> list[_NamedSource]:
    """Return the images that a link of the request stands for.

    Args:
        link: the link.
        image: it, with its pointer.
        settings: the allowed links and the limits.
        scratch: for fetched files; None = nothing is fetched.
        folders: budget of the request's folders.
    """
    try:
        if link.is_service:
            return _service_sources(link, settings, scratch, folders)
        return _linked_sources(link.href, settings, scratch, folders)
    except ServiceError as err:
        raise RequestError.at(image.pointer, err) from err


def _inline_source(image: InlineImage, number: int, scratch: _Scratch | None) -> _NamedSource:
    name = f"image-{number}"
    if scratch is None:
        return _NamedSource(name, None)
    path = scratch.folder / f"inline-{number}{image.ending}"
    path.write_bytes(image.data)
    return _NamedSource(name, FileSource(path, name))


def _service_sources(
    link: ServiceLink, settings: Settings, scratch: _Scratch | None, folders: FolderBudget
) -> list[_NamedSource]:
    """Return the images of a service; arguments as `_links_sources` has them."""
    link.require_known()
    allowed_path(link.href, settings)
    if scratch is None:
        return [_NamedSource(link.name, None)]
    named: list[_NamedSource] = []
    for source in service_images(
        link, lambda url: _resolve(url, False, settings, scratch).path.read_bytes(), scratch.access
    ):
        folders.spend_file(link.href)
        if isinstance(source, ServedFile):
            file = _resolve(source.href, True, settings, scratch)
            named.append(_NamedSource(source.name, _source_of(file, source.name, scratch)))
        else:
            named.append(_NamedSource(source.name, source))
    return named


def _linked_sources(
    href: str, settings: Settings, scratch: _Scratch | None, folders: FolderBudget
) -> list[_NamedSource]:
    """Return the images behind a link to files; arguments as `_links_sources` has them."""
    path = allowed_path(href, settings)
    if is_folder(href) and scratch is not None and is_bucket_link(href):
        links = list_bucket_folder(href, settings, ENDINGS, folders)
        files = [
            resolve(link, settings, scratch.folder, budget=scratch.budget, suits=can_be_read_by_parts) for link in links
        ]
    elif is_folder(href) and (scratch is not None or (path is not None and exists(path.is_dir))):
        files = list_folder(href, settings, ENDINGS, folders)
        return [_NamedSource(file.name, FileSource(file.path, file.name)) for file in files]
    elif scratch is not None:
        named, get = [], partial(_resolve, settings=settings, scratch=scratch)
        for image in linked_images(href, get):
            folders.spend_file(href)
            source = _source(image, get, scratch) if scratch.is_needed(image) else None
            named.append(_NamedSource(image.name, source, image.grid))
        return named
    elif path is None:
        return [_NamedSource(file_name(href), None)]
    else:
        return [] if is_folder(href) else _local_sources(href, path, settings)
    return [_NamedSource(file.name, _source_of(file, file.name, scratch)) for file in files]


def _resolve(href: str, by_parts: bool, settings: Settings, scratch: _Scratch) -> LinkedFile:
    suits = can_be_read_by_parts if by_parts else None
    return resolve(href, settings, scratch.folder, budget=scratch.budget, suits=suits)


def _source(image: LinkedImage, get: Get, scratch: _Scratch | None) -> ImageSource:
    files = image.files(get)
    if not image.bands:
        return _source_of(files[0], image.name, scratch)
    if any(file.remote is not None for file in files):
        raise ImageError(f"image {image.name!r}: its assets are images of the request themselves; link to them alone")
    return StackSource(tuple(FileSource(file.path, image.name) for file in files), image.bands, image.name)


def _source_of(file: LinkedFile, name: str, scratch: _Scratch | None) -> ImageSource:
    if file.remote is None or scratch is None:
        return FileSource(file.path, name)
    scratch.access.cache.put(piece_key(file.remote.digest, 0), file.path.read_bytes())
    return RemoteTiffSource(file.remote, name, scratch.access)


def _local_sources(href: str, path: Path, settings: Settings) -> list[_NamedSource]:
    """Return a file of this machine; of a STAC document also the images that it leads to, as far as they lie here too.

    Nothing is fetched and no image is opened.
    """
    named = [_NamedSource(file_name(href), FileSource(path, file_name(href)))]
    if not may_be_stac(href) or not exists(path.is_file):
        return named
    with contextlib.suppress(ServiceError, OSError):  # the work tells of it
        get = partial(_local_file, settings=settings)
        images = islice(linked_images(href, get), settings.limits.max_images)
        named.extend(_NamedSource(image.name, _source(image, get, None)) for image in images)
    return named


def _local_file(href: str, _by_parts: bool, settings: Settings) -> LinkedFile:
    path = allowed_path(href, settings)
    if path is None:
        raise InputError(f"{display_link(href)} has to be fetched")
    return LinkedFile(path, file_name(href), "")
