"""Reading remote files by parts: who does it for which link, and a file object on top of it."""

from __future__ import annotations

import io
import os
from typing import BinaryIO, cast

from processes.settings import Settings
from processes.sources.bucket_links import is_bucket_link
from processes.sources.part_cache import PartCache
from processes.sources.remote_files import RangeReader, RemoteFile

PIECE_BYTES = 2**15
"""What is read of a file beside its cells comes in pieces of so many bytes. The header of most COGs is one."""


def open_ranges(file: RemoteFile, settings: Settings, patience_s: float | None = None) -> RangeReader:
    """Return what reads parts of a remote file; nothing is asked for yet.

    Args:
        file: the file.
        settings: what the configuration allows, and the limits.
        patience_s: seconds for one part with all its tries; None = a share of the limit of sections.
    """
    if is_bucket_link(file.href):
        from processes.sources.buckets import BucketRanges  # slow to import, and most links name files

        return BucketRanges(file, settings, patience_s)
    from processes.sources.host_ranges import HostRanges

    return HostRanges(file, settings, patience_s)


class RemoteBytes(io.RawIOBase):
    """The bytes of a remote file, read where they are asked for, in pieces that are kept.

    Args:
        file: the file.
        reader: of its parts.
        cache: keeps the pieces; None = nothing does.
        first: the first bytes of the file, as far as they are known, a piece at most.
    """

    def __init__(
        self, file: RemoteFile, reader: RangeReader, cache: PartCache | None = None, first: bytes = b""
    ) -> None:
        self._file = file
        self._reader = reader
        self._cache = cache
        self._digest = file.digest
        self._pieces = {0: first} if len(first) == min(PIECE_BYTES, file.size_bytes) else {}
        self._position = 0
        self.fetched_bytes = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._file.size_bytes}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override] # any buffer
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def read(self, size: int = -1) -> bytes:
        end = self._file.size_bytes if size < 0 else min(self._position + size, self._file.size_bytes)
        if end <= self._position:
            return b""
        first, last = self._position // PIECE_BYTES, (end - 1) // PIECE_BYTES
        self._fetch(first, last)
        content = b"".join(self._pieces[piece] for piece in range(first, last + 1))
        start = self._position - first * PIECE_BYTES
        found = content[start : start + end - self._position]
        self._position = end
        if len(self._pieces) > 64:
            self._pieces.clear()
        return found

    def _fetch(self, first: int, last: int) -> None:
        """Let all pieces from the first to the last be there; those that lack are fetched by one request."""
        missing = []
        for piece in range(first, last + 1):
            if piece not in self._pieces:
                kept = None if self._cache is None else self._cache.get(piece_key(self._digest, piece))
                if kept is None:
                    missing.append(piece)
                else:
                    self._pieces[piece] = kept
        if not missing:
            return
        start, end = missing[0], missing[-1] + 1
        content = self._reader.read(start * PIECE_BYTES, min(end * PIECE_BYTES, self._file.size_bytes))
        self.fetched_bytes += len(content)
        for piece in range(start, end):
            place = (piece - start) * PIECE_BYTES
            self._pieces[piece] = content[place : place + PIECE_BYTES]
            if self._cache is not None:
                self._cache.put(piece_key(self._digest, piece), self._pieces[piece])

    def as_file(self) -> BinaryIO:
        """Return this as a file."""
        return cast(BinaryIO, self)


def piece_key(digest: str, piece: int) -> str:
    """Return the key of a piece in the cache; `digest` is that of its file."""
    return f"{digest} piece {piece}"
