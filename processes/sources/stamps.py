"""Stamps: size and time of the linked files when a request was accepted.

A stamp covers what belongs to a file and lies beside it, too: a GeoPackage's last changes may still be in its `-wal`.

A job may wait, and then run for hours. If one of its files changes meanwhile, its objects would be classified on two
different images without anybody's knowledge. So the job fails, and its error names the file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from processes.errors import Fault, InputError, RequestError

DATABASE_ENDINGS = ("-wal", "-journal")
"""What SQLite adds to a database's name for the files with changes that are not in the database yet, or taken back."""

SHAPEFILE_ENDINGS = (".shx", ".dbf", ".prj", ".cpg", ".SHX", ".DBF", ".PRJ", ".CPG")
"""What the files beside a .shp have in its place, the better spelling first."""
_LOCK = ".lock"
"""Ending of what programs put into a geodatabase only to say that they have it open."""


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
    """Endings of the files beside it that the stamp covers, each behind the whole name, or, with a dot, in place of its
    ending."""


def stamp_file(pointer: str, path: Path, name: str, beside: tuple[str, ...] = ()) -> FileStamp | None:
    """Return the stamp of a file, or of all files directly in a folder, as it is now; None = there is none.

    Args:
        pointer: of the link in the request (RFC 6901).
        path: on this machine.
        name: file name as the client's link has it.
        beside: endings of files beside it that belong to it, as `FileStamp` has them.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    # that of a folder changes with the locks in it
    size_bytes, mtime_ns = (0, 0) if stat.S_ISDIR(status.st_mode) else (status.st_size, status.st_mtime_ns)
    for part in [*_parts_beside(path, beside), *_parts_within(path)]:
        with suppress(OSError):
            status = os.stat(part)
            size_bytes, mtime_ns = size_bytes + status.st_size, max(mtime_ns, status.st_mtime_ns)
    return FileStamp(pointer, str(path), name, size_bytes, mtime_ns, beside)


def is_plain_file(path: Path) -> bool:
    """Return whether something is a file itself: no link, which may lead anywhere, and nothing that has no end."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _parts_beside(path: Path, beside: tuple[str, ...]) -> Iterator[Path]:
    """Yield the places of the files beside a file that belong to it."""
    for ending in beside:
        yield path.with_suffix(ending) if ending.startswith(".") else path.with_name(path.name + ending)


def _parts_within(path: Path) -> list[Path]:
    """Return the files directly in a folder; none where it is a file."""
    try:
        return [path / name for name in os.listdir(path) if not name.endswith(_LOCK)]
    except OSError:
        return []


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
