"""The images of a request: in the request itself, behind a link, or in a folder.

`_linked_sources` turns a link into image sources. A new kind of link is a branch there, and a class in
`processes.imagery.source`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from processes.classify.description import INLINE_IMAGES
from processes.errors import Fault, ImageError, LimitError, RequestError, ServiceError, collect_faults
from processes.imagery.image import Image, open_image
from processes.imagery.source import ENDINGS, FileSource, ImageSource, unique_names
from processes.ogc.request import ExecuteRequest, InputValue
from processes.ogc.schema import quoted
from processes.settings import Settings
from processes.sources.links import allowed_path, exists, file_name, is_folder, list_folder, resolve
from processes.sources.stamps import FileStamp


@dataclass(frozen=True, slots=True)
class _InlineImage:
    """An image that the request itself holds."""

    data: bytes
    ending: str
    pointer: str


@dataclass(frozen=True, slots=True)
class _ImageLink:
    """A link to an image, or to a folder of images."""

    href: str
    pointer: str


@dataclass(frozen=True, slots=True)
class _NamedSource:
    """An image that a request names."""

    name: str
    """What the client calls it."""
    source: ImageSource | None
    """None = it has to be written or fetched first."""


def open_images(
    request: ExecuteRequest, settings: Settings, folder: Path, faults: list[Fault]
) -> list[tuple[Image, str]]:
    """Return the images of a request with their pointers; faults of others are added to `faults`.

    Args:
        request: the request.
        settings: the allowed links and the limits.
        folder: for inline and fetched files.
        faults: gets the faults.
    """
    sources: list[tuple[ImageSource, str]] = []
    limit, numbers = settings.limits.max_images, count(1)
    values = request.inputs.get("image", ())
    for value in values if len(values) <= limit else ():
        with collect_faults(faults, value.pointer):
            image = _read_value(value)
            named = _sources(image, numbers, settings, folder)
            sources.extend((item.source, image.pointer) for item in named if item.source is not None)
        if len(sources) > limit:
            break
    if not _few(max(len(values), len(sources)), limit, faults):
        return []
    images = []
    names = unique_names(source.name for source, _ in sources)
    for (source, pointer), name in zip(sources, names, strict=True):
        with collect_faults(faults, pointer):
            images.append((open_image(source.named(name), settings.limits.max_image_pixels), pointer))
    return images


def stamp_images(request: ExecuteRequest, settings: Settings, faults: list[Fault]) -> tuple[list[FileStamp], str]:
    """Return the linked images of a request as they are now, and the name of the first of all images.

    No image is opened. A file that is not there has no stamp.

    Args:
        request: the request.
        settings: the allowed links and the limits.
        faults: gets the faults that show without opening an image.
    """
    file_stamps: list[FileStamp] = []
    names: list[str] = []
    limit, numbers = settings.limits.max_images, count(1)
    values = request.inputs.get("image", ())
    for value in values if _few(len(values), limit, faults) else ():
        with collect_faults(faults, value.pointer):
            image = _read_value(value)
            for item in _sources(image, numbers, settings, None):
                names.append(item.name)
                stamp = None if item.source is None else item.source.stamp(image.pointer)
                if stamp is not None:
                    file_stamps.append(stamp)
    return file_stamps, names[0] if names else "image"


def _few(images: int, limit: int, faults: list[Fault]) -> bool:
    if images > limit:
        faults.append(Fault("/inputs/image", LimitError("max_images", limit, f"{images} images in one request")))
    return images <= limit


def _read_value(value: InputValue) -> _InlineImage | _ImageLink:
    """Read an image's value.

    Raises:
        ImageError: it is neither a link nor an image.
        RequestError: the image's own text cannot be read.
    """
    content = value.read()
    match content:
        case {"href": str(), "type": kind} if not isinstance(kind, str):
            raise RequestError.at(f"{value.pointer}/type", ImageError(f"type is {quoted(kind)}, not a media type"))
        case {"href": str() as href}:
            return _ImageLink(href, f"{value.pointer}/href")
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


def _sources(
    image: _InlineImage | _ImageLink, numbers: Iterator[int], settings: Settings, folder: Path | None
) -> list[_NamedSource]:
    """Return the images that a value of the request stands for.

    Args:
        image: the value.
        numbers: of inline images.
        settings: the allowed links and the limits.
        folder: for inline and fetched files; None = nothing is written or fetched.
    """
    if isinstance(image, _ImageLink):
        try:
            return _linked_sources(image.href, settings, folder)
        except ServiceError as err:
            raise RequestError.at(image.pointer, err) from err
    number = next(numbers)
    name = f"image-{number}"
    if folder is None:
        return [_NamedSource(name, None)]
    path = folder / f"inline-{number}{image.ending}"
    path.write_bytes(image.data)
    return [_NamedSource(name, FileSource(path, name))]


def _linked_sources(href: str, settings: Settings, folder: Path | None) -> list[_NamedSource]:
    """Return the images behind a link; arguments as `_sources` has them."""
    if folder is not None:
        files = list_folder(href, settings, ENDINGS) if is_folder(href) else [resolve(href, settings, folder)]
    elif (path := allowed_path(href, settings)) is None:
        return [_NamedSource(file_name(href), None)]
    elif not is_folder(href):
        return [_NamedSource(file_name(href), FileSource(path, file_name(href)))]
    else:
        files = list_folder(href, settings, ENDINGS) if exists(path.is_dir) else []
    return [_NamedSource(file.name, FileSource(file.path, file.name)) for file in files]
