"""Zip archives that somebody else made: nothing is written elsewhere, and no more than is allowed."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from processes.errors import InputError

MAX_RATIO = 200
MAX_MEMBERS = 10_000
BROKEN_ZIP = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # a compression that this Python does not have
    RuntimeError,
    ValueError,
)
"""What reading a broken archive raises."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_COPY_BYTES = 2**20


def require_few(members: Iterable[zipfile.ZipInfo], called: str) -> None:
    """Raise InputError where an archive, `called` so to the client, holds too many files."""
    count = len(list(members))
    if count > MAX_MEMBERS:
        raise InputError(f"{called} has {count} files, more than {MAX_MEMBERS}")


def require_sane_size(members: Iterable[zipfile.ZipInfo], called: str, free_bytes: int = 0) -> int:
    """Return the size that members claim to unpack to.

    Args:
        members: of the archive.
        called: what the client calls the archive.
        free_bytes: up to this size the ratio does not matter.

    Raises:
        InputError: they are compressed as only a bomb is.
    """
    sizes = [(member.file_size, member.compress_size) for member in members]
    unpacked, packed = sum(size for size, _ in sizes), sum(size for _, size in sizes)
    if unpacked > max(MAX_RATIO * max(packed, 1), free_bytes):
        raise InputError(f"{called} is compressed {unpacked // max(packed, 1)} times, more than {MAX_RATIO}")
    return unpacked


def safe_name(member: zipfile.ZipInfo, called: str) -> PurePosixPath:
    """Return where a member lies in the archive.

    Raises:
        InputError: it would lie elsewhere, is encrypted, a link, or packed in a way that cannot be unpacked in parts.
    """
    name, shown = PurePosixPath(member.filename.replace("\\", "/")), repr(member.filename[:100])
    if name.is_absolute() or ".." in name.parts or ":" in member.filename or not name.parts:
        raise InputError(f"{called} holds a file that points out of it: {shown}")
    if member.flag_bits & 0x1:
        raise InputError(f"{called} is encrypted")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise InputError(f"{called} holds a link: {shown}")
    if member.compress_type not in _METHODS:  # zipfile unpacks the others into memory, however much comes out
        raise InputError(f"{called} is compressed by method {member.compress_type}; store or deflate it")
    return name


def extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, limit_bytes: int, called: str) -> int:
    """Write one member and return its size, counted as it comes out and not as the archive claims."""
    target.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with archive.open(member) as source, target.open("xb") as file:
        while block := source.read(_COPY_BYTES):
            size += len(block)
            if size > limit_bytes:
                raise InputError(f"{called} unpacks to more than it claims")
            file.write(block)
    return size
