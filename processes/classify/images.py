"""The images of a request: in the request itself, behind a link, or in a folder.

`_linked_sources` turns a link into image sources. A new kind of link is a branch there, or in
`processes.classify.image_links`, and a class beside `processes.imagery.source`.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Literal

import msgspec

from processes.classify.description import INLINE_IMAGES
from processes.classify.downloads import download_images
from processes.classify.image_links import LinkedImage, linked_images, may_be_stac, service_link_of
from processes.errors import Fault, ImageError, InputError, LimitError, RequestError, ServiceError, collect_faults
from processes.imagery.endings import ENDINGS
from processes.imagery.image import Image, open_image
from processes.imagery.remote_source import RemoteAccess, RemoteTiffSource
from processes.imagery.services.grid_source import GridSource
from processes.imagery.services.links import ServedFile, ServiceLink, service_images
from processes.imagery.sidecars import ImageFolders
from processes.imagery.source import FileSource, ImageSource, unique_names
from processes.imagery.stack import StackSource
from processes.imagery.tiled_tiff import can_be_read_by_parts
from processes.ogc.request import ExecuteRequest, InputValue
from processes.ogc.schema import quoted
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


@dataclass(frozen=True, slots=True)
class _InlineImage:
    """An image that the request itself holds."""

    data: bytes
    ending: str
    pointer: str


class _InlineValue(msgspec.Struct):
    """An image in a request, whose base64 becomes bytes without having been a text. Others are read as any value is."""

    value: bytes
    encoding: Literal["base64"]
    mediaType: str  # noqa: N815 - OGC's spelling
    href: msgspec.UnsetType = msgspec.UNSET
    """A value that has one is a link."""


@dataclass(frozen=True, slots=True)
class _ImageLink:
    """A link to an image, or to several."""

    href: str
    media_type: str
    """That the client states; empty = none."""
    pointer: str


@dataclass(frozen=True, slots=True)
class _NamedSource:
    """An image that a request names."""

    name: str
    """What the client calls it."""
    source: ImageSource | None
    """None = it has to be written or fetched first."""


@dataclass(frozen=True, slots=True)
class _Scratch:
    """Where inline and fetched images are written."""

    folder: Path
    budget: DownloadBudget
    """Of the request's downloads."""
    access: RemoteAccess


def open_images(
    request: ExecuteRequest, access: RemoteAccess, folder: Path, budget: DownloadBudget, faults: list[Fault]
) -> list[tuple[Image, str]]:
    """Return the images of a request with their pointers; faults of others are added to `faults`.

    Args:
        request: the request.
        access: how remote images are reached, with the allowed links and the limits.
        folder: for inline and fetched files.
        budget: of the request's downloads.
        faults: gets the faults.
    """
    settings = access.settings
    download_images(request, settings, folder, budget)
    named = _named_sources(request, settings, _Scratch(folder, budget, access), faults)
    sources = [(item.source, pointer) for item, pointer in named if item.source is not None]
    images = []
    names = unique_names(source.name for source, _ in sources)
    folders = ImageFolders()
    for (source, pointer), name in zip(sources, names, strict=True):
        with collect_faults(faults, pointer):
            for path in source.paths:
                folders.require_plain_files(path, name)
            max_pixels = _ANY if isinstance(source, GridSource) else settings.limits.max_image_pixels
            images.append((open_image(source.named(name), max_pixels), pointer))
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
            image = _read_value(value)
            if isinstance(image, _ImageLink):
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


def _read_value(value: InputValue) -> _InlineImage | _ImageLink:
    """Read an image's value.

    Raises:
        ImageError: it is neither a link nor an image.
        RequestError: the image's own text cannot be read.
    """
    with contextlib.suppress(msgspec.DecodeError, RecursionError):
        inline = msgspec.json.decode(value.text, type=_InlineValue)
        if inline.mediaType in INLINE_IMAGES:
            return _InlineImage(inline.value, INLINE_IMAGES[inline.mediaType], f"{value.pointer}/value")
    content = value.read()
    match content:
        case {"href": str(), "type": kind} if not isinstance(kind, str):
            raise RequestError.at(f"{value.pointer}/type", ImageError(f"type is {quoted(kind)}, not a media type"))
        case {"href": str() as href}:
            return _ImageLink(href, content.get("type", ""), f"{value.pointer}/href")
        case {"href": other}:
            raise RequestError.at(f"{value.pointer}/href", ImageError(f"href is {quoted(other)}, not a text"))
        case {"value": str() as text, "encoding": "base64", "mediaType": str() as kind} if kind in INLINE_IMAGES:
            pointer = f"{value.pointer}/value"
            try:
                data = base64.b64decode("".join(text.split()), validate=True)
                return _InlineImage(data, INLINE_IMAGES[kind], pointer)
            except (binascii.Error, ValueError) as err:
                raise RequestError.at(pointer, ImageError("the image's value is not base64")) from err
        case {"value": _}:
            raise ImageError(
                f"an image in the request has value, encoding base64 and a mediaType, one of {', '.join(INLINE_IMAGES)}"
            )
        case _:
            raise ImageError(f"{quoted(content)} is no image: give a link with href, or value, encoding and mediaType")


def _links_sources(
    link: ServiceLink, image: _ImageLink, settings: Settings, scratch: _Scratch | None, folders: FolderBudget
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


def _inline_source(image: _InlineImage, number: int, scratch: _Scratch | None) -> _NamedSource:
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
        named = []
        for image in linked_images(href, partial(_resolve, settings=settings, scratch=scratch)):
            folders.spend_file(href)
            named.append(_NamedSource(image.name, _source(image, scratch)))
        return named
    elif path is None:
        return [_NamedSource(file_name(href), None)]
    else:
        return [] if is_folder(href) else _local_sources(href, path, settings)
    return [_NamedSource(file.name, _source_of(file, file.name, scratch)) for file in files]


def _resolve(href: str, by_parts: bool, settings: Settings, scratch: _Scratch) -> LinkedFile:
    suits = can_be_read_by_parts if by_parts else None
    return resolve(href, settings, scratch.folder, budget=scratch.budget, suits=suits)


def _source(image: LinkedImage, scratch: _Scratch | None) -> ImageSource:
    if not image.bands:
        return _source_of(image.files[0], image.name, scratch)
    if any(file.remote is not None for file in image.files):
        raise ImageError(f"image {image.name!r}: its assets are images of the request themselves; link to them alone")
    return StackSource(tuple(FileSource(file.path, image.name) for file in image.files), image.bands, image.name)


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
        images = islice(linked_images(href, partial(_local_file, settings=settings)), settings.limits.max_images)
        named.extend(_NamedSource(image.name, _source(image, None)) for image in images)
    return named


def _local_file(href: str, _by_parts: bool, settings: Settings) -> LinkedFile:
    path = allowed_path(href, settings)
    if path is None:
        raise InputError(f"{display_link(href)} has to be fetched")
    return LinkedFile(path, file_name(href), "")
