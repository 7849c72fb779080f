"""Files that lie elsewhere and are read by parts: what is known of one, and how its parts are had.

A file may be replaced while it is read. Each answer is compared with what was known of the file at first, so that no
two states of it are mixed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, Self

import msgspec

from processes.errors import InputError
from processes.sources.host_links import display_link

_CONTENT_RANGE = re.compile(r"bytes +(\d{1,18})-(\d{1,18})/(\d{1,18})", re.IGNORECASE)


class RemoteFile(msgspec.Struct, frozen=True):
    """A file of a host or an object store, as it was when it was asked for first."""

    href: str
    """The client's link, without its fragment."""
    size_bytes: int
    etag: str | None = None
    modified: str | None = None
    """The header `Last-Modified`, or what an object store says in its place."""

    @property
    def digest(self) -> str:
        """Return what tells this state of the file from others, and from other files."""
        text = "\n".join(str(item) for item in (self.href, self.size_bytes, self.etag, self.modified))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def require_same(self, size_bytes: int, etag: str | None, modified: str | None) -> None:
        """Raise InputError where an answer belongs to another state of the file.

        Args:
            size_bytes: of the whole file.
            etag: of the answer; None = it has none.
            modified: as in the field.
        """
        if self.etag is not None and etag is not None:
            is_same = self.etag == etag
        else:
            is_same = self.modified is None or modified is None or self.modified == modified
        if size_bytes != self.size_bytes or not is_same:
            raise InputError(f"{display_link(self.href)} was changed after the request was accepted")


class RangeReader(Protocol):
    """Reads parts of one remote file. Several threads may do so at the same time."""

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` to before `end`, which lie within the file.

        Raises:
            ForbiddenError: the configuration does not allow the link, or a redirect.
            InputError: the file has changed, or is not answered.
        """

    def close(self) -> None:
        """Close the connections of the thread that calls; those of others are closed when they end."""


class ContentRange(msgspec.Struct, frozen=True):
    """Which part of a file an answer holds."""

    start: int
    end: int
    """Behind the last byte."""
    size_bytes: int
    """Of the whole file."""

    @classmethod
    def of(cls, text: str | None) -> Self | None:
        """Read the header `Content-Range` (RFC 9110, 14.4); None = it does not say all of that."""
        match = _CONTENT_RANGE.fullmatch((text or "").strip())
        if match is None:
            return None
        first, last, size = map(int, match.groups())
        return cls(first, last + 1, size) if first <= last < size else None


def first_part(href: str, headers: Mapping[str, str], path: Path) -> RemoteFile | None:
    """Return what the answer to a request for the first bytes of a file says of it; None = it does not say enough.

    Args:
        href: the link.
        headers: of the answer, names in lower case.
        path: of the bytes that have arrived.
    """
    found = ContentRange.of(headers.get("content-range"))
    if found is None or found.start != 0 or path.stat().st_size != found.end or headers.get("content-encoding"):
        return None
    return RemoteFile(href, found.size_bytes, headers.get("etag"), headers.get("last-modified"))
