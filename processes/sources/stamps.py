"""Pins: the files that a request links to as they were when it was accepted.

A job may wait, and then run for hours. Should one of its files be another one by then, its objects would be classified
on two images, and nobody would know; so the job fails and says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from processes.errors import Fault, InputError, RequestError


class FileStamp(msgspec.Struct, frozen=True):
    """A file as it was."""

    pointer: str
    """Where it stands in the request."""
    path: str
    name: str
    """What the client calls it."""
    size_bytes: int
    mtime_ns: int
    """Time of its last change, nanoseconds since 1970."""


def stamp_file(pointer: str, path: Path, name: str) -> FileStamp | None:
    """Return a file as it is now; None = it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return FileStamp(pointer, str(path), name, status.st_size, status.st_mtime_ns)


def require_same_files(file_stamps: Iterable[FileStamp], now: Iterable[FileStamp | None]) -> None:
    """Raise RequestError where files are not those that were pinned; names each."""
    before, after = set(file_stamps), set(now) - {None}
    changed = {(item.pointer, item.name) for item in before ^ after if item is not None}
    if changed:
        raise RequestError(
            Fault(pointer, InputError(f"{name!r} was changed after the request was accepted"))
            for pointer, name in sorted(changed)
        )


def require_unchanged_files(file_stamps: Iterable[FileStamp]) -> None:
    """Raise RequestError where pinned files are other ones by now; names each."""
    pinned = list(file_stamps)
    require_same_files(pinned, (stamp_file(item.pointer, Path(item.path), item.name) for item in pinned))
