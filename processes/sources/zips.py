"""Zip archives from clients: nothing is written outside the target folder, and never more than a limit."""

from __future__ import annotations

import io
import os
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from processes.errors import InputError

MAX_RATIO = 200
"""Unpacked bytes per packed byte."""
MAX_MEMBERS = 10_000
"""Files in an archive."""
BROKEN_ZIP = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # a compression that this Python lacks
    RuntimeError,
    ValueError,
)
"""Errors that a broken archive raises while it is read."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_COPY_BYTES = 2**20
_MAX_LIST_BYTES = MAX_MEMBERS * 512
"""Of the list of an archive's files: 46 for each, with its name and what else is told of it."""


class _ArchiveFile(io.BufferedReader):
    """A file of an archive. Python reads the list of an archive's files at once, before anybody can count them."""

    def read(self, size: int | None = -1) -> bytes:
        to_end = os.fstat(self.fileno()).st_size - self.tell()
        wanted = to_end if size is None or size < 0 else min(size, to_end)
        if wanted > _MAX_LIST_BYTES:
            raise InputError(f"their list has {wanted} bytes, more than {_MAX_LIST_BYTES}")
        return super().read(wanted)


@contextmanager
def open_archive(path: Path, archive_name: str) -> Iterator[zipfile.ZipFile]:
    """Open an archive whose list of files is of a size that `MAX_MEMBERS` files have.

    Raises:
        InputError: the list is longer; the message calls the archive `archive_name`.
    """
    with _ArchiveFile(io.FileIO(path)) as file:
        try:
            archive = zipfile.ZipFile(file)
        except InputError as err:
            raise InputError(f"{archive_name} has too many files: {err.detail}") from err
        with archive:
            yield archive


def require_few(members: Iterable[zipfile.ZipInfo], archive_name: str) -> None:
    """Raise InputError where an archive holds too many files; the message calls it `archive_name`."""
    count = len(list(members))
    if count > MAX_MEMBERS:
        raise InputError(f"{archive_name} has {count} files, more than {MAX_MEMBERS}")


def require_sane_size(members: Iterable[zipfile.ZipInfo], archive_name: str, ignored_bytes: int = 0) -> int:
    """Return the unpacked size of the members in bytes, as the archive states it.

    Args:
        members: of the archive.
        archive_name: of the archive in messages.
        ignored_bytes: an archive of up to this unpacked size may have any ratio.

    Raises:
        InputError: the unpacked size is more than `MAX_RATIO` times the packed one, as in a zip bomb.
    """
    sizes = [(member.file_size, member.compress_size) for member in members]
    unpacked, packed = sum(size for size, _ in sizes), sum(size for _, size in sizes)
    if unpacked > max(MAX_RATIO * max(packed, 1), ignored_bytes):
        raise InputError(f"{archive_name} is compressed {unpacked // max(packed, 1)} times, more than {MAX_RATIO}")
    return unpacked


def safe_name(member: zipfile.ZipInfo, archive_name: str) -> PurePosixPath:
    """Return the path of a member within the archive.

    Raises:
        InputError: it points out of the archive, is encrypted, a link, or of a compression method that is not allowed.
    """
    name, shown = PurePosixPath(member.filename.replace("\\", "/")), repr(member.filename[:100])
    if name.is_absolute() or ".." in name.parts or ":" in member.filename or not name.parts:
        raise InputError(f"{archive_name} holds a file that points out of it: {shown}")
    if member.flag_bits & 0x1:
        raise InputError(f"{archive_name} is encrypted")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise InputError(f"{archive_name} holds a link: {shown}")
    if member.compress_type not in _METHODS:  # zipfile unpacks other methods into memory, of any size
        raise InputError(f"{archive_name} is compressed by method {member.compress_type}; store or deflate it")
    return name


def extract(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, limit_bytes: int, archive_name: str
) -> int:
    """Write one member to a new file and return its size in bytes, counted while it is unpacked.

    Args:
        archive: the open archive.
        member: of the archive.
        target: the file; its folder is created.
        limit_bytes: of the unpacked size.
        archive_name: of the archive in messages.

    Raises:
        InputError: the member is larger than the limit.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with archive.open(member) as source, target.open("xb") as file:
        while block := source.read(_COPY_BYTES):
            size += len(block)
            if size > limit_bytes:
                raise InputError(f"{archive_name} unpacks to more than it claims")
            file.write(block)
    return size
