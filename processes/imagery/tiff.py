"""The directories of a TIFF: their tags, and the arrays that they point to, read in parts.

Sources: TIFF 6.0 and BigTIFF.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
"""Types of tags that hold whole numbers, and their form in `struct`."""
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Size of a value of each type."""
_MAX_ENTRIES = 2**16 - 1
_MAX_DIRECTORIES = 256


class TiffDirectory(msgspec.Struct, frozen=True):
    """A directory of a TIFF, which describes one of its images."""

    order: str
    """`<` or `>`, as `struct` has the order of bytes."""
    tags: Mapping[int, tuple[int, int, bytes]]
    """Type and number of values of each tag, and its own bytes: the values where they fit, else their offset."""

    def number(self, tag: int) -> int | None:
        """Return the whole number that a tag holds; None = there is none, or there are several."""
        kind, count, content = self.tags.get(tag, (0, 0, b""))
        form = f"{self.order}{_WHOLE_NUMBERS.get(kind, 'Q')}"
        if count != 1 or kind not in _WHOLE_NUMBERS or struct.calcsize(form) > len(content):
            return None
        return int(struct.unpack_from(form, content)[0])

    def has_numbers(self, tag: int) -> bool:
        """Return whether a tag holds whole numbers, one or several."""
        return tag in self.tags and self.tags[tag][0] in _WHOLE_NUMBERS

    def read_numbers(self, file: BinaryIO, tag: int, start: int, count: int) -> NDArray[np.unsignedinteger[Any]]:
        """Return some of the whole numbers that a tag holds, fewer where the file ends.

        Args:
            file: the TIFF.
            tag: its number; it has whole numbers.
            start: index of the first one.
            count: how many.
        """
        kind, values, content = self.tags[tag]
        dtype = np.dtype(f"{self.order}u{struct.calcsize(_WHOLE_NUMBERS[kind])}")
        count = max(0, min(count, values - start))
        if values * dtype.itemsize <= len(content):
            return np.frombuffer(content, dtype, values)[start : start + count]
        offset = self._offset(content)
        if offset + (start + count) * dtype.itemsize > file.seek(0, os.SEEK_END):
            return np.zeros(0, dtype)
        file.seek(offset + start * dtype.itemsize)
        read = file.read(count * dtype.itemsize)
        return np.frombuffer(read, dtype, len(read) // dtype.itemsize)

    def read_values(self, file: BinaryIO, tag: int, max_bytes: int) -> bytes | None:
        """Return the bytes of all values of a tag; None = its type is not known, it is too long, or the file ends.

        Args:
            file: the TIFF.
            tag: its number.
            max_bytes: that are read at most.
        """
        kind, values, content = self.tags[tag]
        size = values * _TYPE_BYTES.get(kind, 0)
        if size <= len(content):
            return content[:size] if size else None
        if size > max_bytes:
            return None
        file.seek(self._offset(content))
        read = file.read(size)
        return read if len(read) == size else None

    def _offset(self, content: bytes) -> int:
        return int(struct.unpack(f"{self.order}{'Q' if len(content) == 8 else 'I'}", content)[0])


def tiff_directory(file: BinaryIO) -> TiffDirectory | None:
    """Read the first directory of a TIFF; None = the file is none."""
    return next(tiff_directories(file), None)


def tiff_directories(file: BinaryIO) -> Iterator[TiffDirectory]:
    """Read the directories of a TIFF one after the other; none where the file is no TIFF."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return
    is_big = head[2:4] in (b"+\0", b"\0+")
    if is_big:
        head = head.ljust(16, b"\0")
    offset_form = f"{order}{'Q' if is_big else 'I'}"
    (start,) = struct.unpack_from(offset_form, head, 8 if is_big else 4)
    count_form, entry_form = (f"{order}Q", f"{order}HHQ8s") if is_big else (f"{order}H", f"{order}HHI4s")
    count_bytes, entry_bytes = struct.calcsize(count_form), struct.calcsize(entry_form)
    known: set[int] = set()
    while (start not in known and len(known) < _MAX_DIRECTORIES) and (start or not known):
        known.add(start)
        file.seek(min(start, size))
        (entries,) = struct.unpack(count_form, file.read(count_bytes).ljust(count_bytes, b"\0"))
        directory = file.read(min(entries, _MAX_ENTRIES) * entry_bytes)
        whole = len(directory) - len(directory) % entry_bytes
        tags: dict[int, tuple[int, int, bytes]] = {}
        for tag, kind, values, content in struct.iter_unpack(entry_form, directory[:whole]):
            tags.setdefault(tag, (kind, values, content))
        following = file.read(struct.calcsize(offset_form)).ljust(8, b"\0")
        yield TiffDirectory(order, tags)
        (start,) = struct.unpack_from(offset_form, following)
