"""Stamps: size and time of the linked files when a request was accepted.

A stamp covers what belongs to a file and lies beside it, too: a GeoPackage's last changes may still be in its `-wal`.

A job may wait, and then run for hours. If one of its files changes meanwhile, its objects would be classified on two
different images without anybody's knowledge. So the job fails, and its error names the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from processes.errors import Fault, InputError, RequestError

DATABASE_ENDINGS = ("-wal", "-journal")
"""What SQLite adds to a database's name for the files with changes that are not in the database yet, or taken back."""


class FileStamp(msgspec.Struct, frozen=True):
    """Size and time of a linked file when the request was accepted."""

    pointer: str
    """Of the link in the request (RFC 6901)."""
    path: str
    """On this machine."""
    name: str
    """File name as the client's link has it."""
    size_bytes: int
    """With the files beside it."""
    mtime_ns: int
    """Time of the last change of the latest of these files, nanoseconds since 1970."""
    beside: tuple[str, ...] = ()
    """Endings of the files beside it that the stamp covers, each behind the whole name."""


def stamp_file(pointer: str, path: Path, name: str, beside: tuple[str, ...] = ()) -> FileStamp | None:
    """Return the stamp of a file as it is now; None = there is no such file.

    Args:
        pointer: of the link in the request (RFC 6901).
        path: on this machine.
        name: file name as the client's link has it.
        beside: endings of files beside it that belong to it, each behind the whole name.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    size_bytes, mtime_ns = status.st_size, status.st_mtime_ns
    for ending in beside:
        with suppress(OSError):
            status = os.stat(f"{path}{ending}")
            size_bytes, mtime_ns = size_bytes + status.st_size, max(mtime_ns, status.st_mtime_ns)
    return FileStamp(pointer, str(path), name, size_bytes, mtime_ns, beside)


def require_same_files(file_stamps: Iterable[FileStamp], current: Iterable[FileStamp | None]) -> None:
    """Raise RequestError where the current stamps differ from those of the request; the message names each file."""
    before, after = set(file_stamps), set(current) - {None}
    changed = {(item.pointer, item.name) for item in before ^ after if item is not None}
    if changed:
        raise RequestError(
            Fault(pointer, InputError(f"{name!r} was changed after the request was accepted"))
            for pointer, name in sorted(changed)
        )


def require_unchanged_files(file_stamps: Iterable[FileStamp]) -> None:
    """Raise RequestError where files have changed since they were stamped; the message names each file."""
    before = list(file_stamps)
    require_same_files(before, (stamp_file(item.pointer, Path(item.path), item.name, item.beside) for item in before))
