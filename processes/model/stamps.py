"""Stamps of packages: they tell whether a package has changed, without reading it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import msgspec

from processes.sources.zips import MAX_MEMBERS


class PackageStamp(msgspec.Struct, frozen=True):
    """Names, sizes and times of a package's files. While it stays the same, so does the package."""

    digest: str
    size_bytes: int
    newest_ns: int
    """Time of the last change of its latest file, nanoseconds since 1970."""


def stamp_package(path: Path) -> PackageStamp | None:
    """Return the stamp of a package as it is now; None = there is no such package."""
    try:
        status = os.stat(path)
        if not stat.S_ISDIR(status.st_mode):
            return _stamp([("", status)])
        files = islice(_files(os.fspath(path)), MAX_MEMBERS + 1)  # with more it is refused
        return _stamp(sorted(files, key=lambda item: item[0]))
    except OSError:
        return None


def _files(package: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the path of each file in a package, and its status."""
    folders = [package]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:  # else it was removed, or cannot be read
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                    continue
                with suppress(OSError):  # a broken link, or a file that was removed just now
                    yield entry.path, entry.stat()


def _stamp(files: Sequence[tuple[str, os.stat_result]]) -> PackageStamp:
    # a copy can have size and time of its original, as that of `cp -p`; the time of its status it cannot
    lines = (
        f"{path}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_mode}\n"
        for path, status in files
    )
    return PackageStamp(
        hashlib.sha256(os.fsencode("".join(lines))).hexdigest(),
        sum(status.st_size for _, status in files),
        max((max(status.st_mtime_ns, status.st_ctime_ns) for _, status in files), default=0),
    )
