"""The images of a request: in the request itself, behind a link, or in a folder."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from processes.classify.description import INLINE_IMAGES
from processes.errors import Fault, ImageError, LimitError, RequestError, ServiceError, collect_faults
from processes.imagery.image import ENDINGS, Image, open_image, unique_names
from processes.ogc.request import ExecuteRequest, InputValue
from processes.ogc.schema import quoted
from processes.settings import Settings
from processes.sources.links import allowed_path, exists, file_name, is_folder, list_folder, resolve
from processes.sources.stamps import FileStamp, stamp_file


@dataclass(frozen=True, slots=True)
class _Inline:
    """An image that the request itself holds."""

    data: bytes
    ending: str
    pointer: str


@dataclass(frozen=True, slots=True)
class _Link:
    """A link to an image, or to a folder of images."""

    href: str
    pointer: str


@dataclass(frozen=True, slots=True)
class _Source:
    """A file to open, and where it stands in the request."""

    path: Path
    name: str
    pointer: str


def open_images(
    request: ExecuteRequest, settings: Settings, folder: Path, faults: list[Fault]
) -> list[tuple[Image, str]]:
    """Return the images of a request with their pointers; what is wrong with others is added to `faults`.

    Args:
        request: the request.
        settings: what is allowed.
        folder: where inline and fetched files go.
        faults: what is wrong with the request already.
    """
    sources: list[_Source] = []
    limit, inline = settings.limits.max_images, count(1)
    values = request.inputs.get("image", ())
    for value in values if len(values) <= limit else ():
        with collect_faults(faults, value.pointer):
            sources.extend(_sources(_given(value), inline, settings, folder))
        if len(sources) > limit:
            break
    if not _few(max(len(values), len(sources)), limit, faults):
        return []
    images = []
    for source, name in zip(sources, unique_names([source.name for source in sources]), strict=True):
        with collect_faults(faults, source.pointer):
            images.append((open_image(source.path, name, settings.limits.max_image_pixels), source.pointer))
    return images


def stamp_images(request: ExecuteRequest, settings: Settings, faults: list[Fault]) -> tuple[list[FileStamp], str]:
    """Return the linked images of a request as they are now, and the name of the first of all images.

    No image is opened; what can be told to be wrong without that is added to `faults`. A file that is not there has no
    pin.
    """
    file_stamps: list[FileStamp] = []
    names: list[str] = []
    limit, inline = settings.limits.max_images, count(1)
    values = request.inputs.get("image", ())
    for value in values if _few(len(values), limit, faults) else ():
        with collect_faults(faults, value.pointer):
            given = _given(value)
            if isinstance(given, _Inline):
                names.append(f"image-{next(inline)}")
                continue
            try:
                files = _linked(given.href, settings)
            except ServiceError as err:
                raise RequestError.at(given.pointer, err) from err
            names.extend(name for _, name in files)
            found = (stamp_file(given.pointer, path, name) for path, name in files if path is not None)
            file_stamps.extend(pinned for pinned in found if pinned is not None)
    return file_stamps, names[0] if names else "image"


def _few(found: int, limit: int, faults: list[Fault]) -> bool:
    if found > limit:
        faults.append(Fault("/inputs/image", LimitError("max_images", limit, f"{found} images in one request")))
    return found <= limit


def _given(value: InputValue) -> _Inline | _Link:
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
            return _Link(href, f"{value.pointer}/href")
        case {"href": other}:
            raise RequestError.at(f"{value.pointer}/href", ImageError(f"href is {quoted(other)}, not a text"))
        case {"value": str() as text, "encoding": "base64", "mediaType": str() as kind} if kind in INLINE_IMAGES:
            pointer = f"{value.pointer}/value"
            try:
                return _Inline(base64.b64decode("".join(text.split()), validate=True), INLINE_IMAGES[kind], pointer)
            except (binascii.Error, ValueError) as err:
                raise RequestError.at(pointer, ImageError("the image's value is not base64")) from err
        case {"value": _}:
            raise ImageError(
                f"an image in the request has value, encoding base64 and a mediaType, one of {', '.join(INLINE_IMAGES)}"
            )
        case _:
            raise ImageError(f"{quoted(content)} is no image: give a link with href, or value, encoding and mediaType")


def _sources(given: _Inline | _Link, inline: Iterator[int], settings: Settings, folder: Path) -> list[_Source]:
    if isinstance(given, _Inline):
        number = next(inline)
        path = folder / f"inline-{number}{given.ending}"
        path.write_bytes(given.data)
        return [_Source(path, f"image-{number}", given.pointer)]
    try:
        if is_folder(given.href):
            files = list_folder(given.href, settings, ENDINGS)
        else:
            files = [resolve(given.href, settings, folder)]
    except ServiceError as err:
        raise RequestError.at(given.pointer, err) from err
    return [_Source(file.path, file.name, given.pointer) for file in files]


def _linked(href: str, settings: Settings) -> list[tuple[Path | None, str]]:
    """Return the files behind a link, with their names; no path = it is elsewhere, or not there."""
    path = allowed_path(href, settings)
    if is_folder(href) and path is not None:
        if not exists(path.is_dir):
            return []
        return [(file.path, file.name) for file in list_folder(href, settings, ENDINGS)]
    return [(path, file_name(href))]
