"""The value of an image in a request: the image itself, or a link."""

from __future__ import annotations

import base64
import binascii
import contextlib
from typing import Literal

import msgspec

from processes.classify.description import INLINE_IMAGES
from processes.errors import ImageError, RequestError
from processes.ogc.request import InputValue
from processes.ogc.schema import quoted


class InlineImage(msgspec.Struct, frozen=True):
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


class ImageLink(msgspec.Struct, frozen=True):
    """A link to an image, or to several."""

    href: str
    media_type: str
    """That the client states; empty = none."""
    pointer: str


def read_image_value(value: InputValue) -> InlineImage | ImageLink:
    """Read an image's value.

    Raises:
        ImageError: it is neither a link nor an image.
        RequestError: the image's own text cannot be read.
    """
    with contextlib.suppress(msgspec.DecodeError, RecursionError):
        inline = msgspec.json.decode(value.text, type=_InlineValue)
        if inline.mediaType in INLINE_IMAGES:
            return InlineImage(inline.value, INLINE_IMAGES[inline.mediaType], f"{value.pointer}/value")
    content = value.read()
    match content:
        case {"href": str(), "type": kind} if not isinstance(kind, str):
            raise RequestError.at(f"{value.pointer}/type", ImageError(f"type is {quoted(kind)}, not a media type"))
        case {"href": str() as href}:
            return ImageLink(href, content.get("type", ""), f"{value.pointer}/href")
        case {"href": other}:
            raise RequestError.at(f"{value.pointer}/href", ImageError(f"href is {quoted(other)}, not a text"))
        case {"value": str() as text, "encoding": "base64", "mediaType": str() as kind} if kind in INLINE_IMAGES:
            pointer = f"{value.pointer}/value"
            try:
                data = base64.b64decode("".join(text.split()), validate=True)
                return InlineImage(data, INLINE_IMAGES[kind], pointer)
            except (binascii.Error, ValueError) as err:
                raise RequestError.at(pointer, ImageError("the image's value is not base64")) from err
        case {"value": _}:
            raise ImageError(
                f"an image in the request has value, encoding base64 and a mediaType, one of {', '.join(INLINE_IMAGES)}"
            )
        case _:
            raise ImageError(f"{quoted(content)} is no image: give a link with href, or value, encoding and mediaType")
