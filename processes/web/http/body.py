"""The body of a request while it arrives: in memory within one budget for all bodies, beyond it in a file."""

from __future__ import annotations

import io
import os
import tempfile
import threading
from pathlib import Path
from typing import BinaryIO, cast

_MAX_MEMORY_BYTES = 2**19
"""A body that is larger lies in a file."""
_STEP_BYTES = 2**16
_WRITE_BYTES = 2**14
"""A body in a file is written in blocks of this size: a chunk can be a single byte."""


class BodyMemory:
    """The memory that the bodies of all requests of a process take together.

    Args:
        size_bytes: size of the memory.
    """

    def __init__(self, size_bytes: int) -> None:
        self._free_bytes = size_bytes
        self._lock = threading.Lock()

    def take(self, size_bytes: int) -> bool:
        """Take some memory; False = there is not enough left, and none is taken."""
        with self._lock:
            if size_bytes > self._free_bytes:
                return False
            self._free_bytes -= size_bytes
            return True

    def give_back(self, size_bytes: int) -> None:
        """Give memory back."""
        with self._lock:
            self._free_bytes += size_bytes


class RequestBody:
    """A body. The event loop appends to it; when it is complete, a thread reads it.

    Args:
        memory: the memory of all bodies.
        folder: folder of the file in which a large body lies. The file has no name and ends with this object.
        max_bytes: what lies beyond is counted, and dropped.
    """

    def __init__(self, memory: BodyMemory, folder: Path, max_bytes: int) -> None:
        self._memory = memory
        self._folder = folder
        self._max_bytes = max_bytes
        self._blocks = bytearray()
        self._taken_bytes = 0
        self._file: BinaryIO | None = None
        self.size_bytes = 0
        """Size of what has arrived."""

    def append(self, block: bytes) -> None:
        """Add what has arrived.

        Raises:
            OSError: there is no room for it.
        """
        room = max(0, self._max_bytes - self.size_bytes)
        self.size_bytes += len(block)
        self._blocks += block[:room]
        if self._file is None and not self._fits():
            self._file = _nameless_file(self._folder)
        if self._file is not None and len(self._blocks) >= _WRITE_BYTES:
            self._write()

    def open(self) -> BinaryIO:
        """Return the complete body, to be read from its beginning.

        Raises:
            OSError: there is no room for it.
        """
        if self._file is None:
            return io.BytesIO(self._blocks)
        self._write()
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Drop the body."""
        if self._file is not None:
            self._file.close()
        self._blocks = bytearray()
        self._give_back()

    def _fits(self) -> bool:
        missing_bytes = len(self._blocks) - self._taken_bytes
        if missing_bytes <= 0:
            return True
        missing_bytes += -missing_bytes % _STEP_BYTES
        if self._taken_bytes + missing_bytes > _MAX_MEMORY_BYTES or not self._memory.take(missing_bytes):
            return False
        self._taken_bytes += missing_bytes
        return True

    def _write(self) -> None:
        left = memoryview(self._blocks)
        while left and self._file is not None:
            left = left[self._file.write(left) :]
        left.release()
        self._blocks = bytearray()
        self._give_back()

    def _give_back(self) -> None:
        self._memory.give_back(self._taken_bytes)
        self._taken_bytes = 0


def _nameless_file(folder: Path) -> BinaryIO:
    """Return a new file without a name; where the file system lets it, it can be given one (`linkat`)."""
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:  # a file system without such files, or no room, of which the next line tells
        return cast(BinaryIO, tempfile.TemporaryFile(dir=folder, buffering=0))
    return cast(BinaryIO, os.fdopen(descriptor, "r+b", buffering=0))
