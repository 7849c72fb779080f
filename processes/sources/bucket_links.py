"""Links to objects in buckets: how they are read, and which of them the configuration allows."""

from __future__ import annotations

from urllib.parse import quote, unquote

import msgspec

from processes.allowed_hosts import BUCKET_SCHEMES
from processes.errors import ForbiddenError, InputError
from processes.settings import Settings
from processes.sources.host_links import display_link, split_link


class ObjectLink(msgspec.Struct, frozen=True):
    """An object, or a folder of objects, that a link names."""

    scheme: str
    bucket: str
    key: str
    """Decoded; a folder's ends in a slash, or is empty."""

    @property
    def href(self) -> str:
        """The link, without a fragment."""
        return f"{self.scheme}://{self.bucket}/{quote(self.key)}"


def is_bucket_link(href: str) -> bool:
    """Return whether a link is one to an object store."""
    return href.lstrip().lower().startswith(tuple(f"{scheme}:" for scheme in BUCKET_SCHEMES))


def allowed_object(href: str, settings: Settings) -> ObjectLink:
    """Return what a link to an object store names.

    Raises:
        ForbiddenError: the configuration does not allow it.
        InputError: the link cannot be read.
    """
    parts = split_link(href)
    key = unquote(parts.path.removeprefix("/"))
    if not any(bucket.allows(parts.scheme, parts.netloc, key) for bucket in settings.buckets):
        raise ForbiddenError(f"{display_link(href)}: this server allows no links to this bucket, or this part of it")
    if parts.query:
        raise InputError(f"{display_link(href)}: a link to an object has no query; write ? in a key as %3F")
    inner = key.removesuffix("/").split("/") if key else []
    if any(part in ("", ".", "..") for part in inner):
        raise InputError(f"{display_link(href)}: the parts of a key between slashes are neither empty, nor . or ..")
    return ObjectLink(parts.scheme, parts.netloc, key)
