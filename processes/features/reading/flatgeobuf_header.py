"""The header of a FlatGeobuf, and how long its index is: https://github.com/flatgeobuf/flatgeobuf."""

from __future__ import annotations

import struct
from typing import BinaryIO, Self

import msgspec

MAGIC = b"fgb\x03fgb"
_MAGIC_BYTES = 8
_MAX_HEADER_BYTES = 10 * 2**20
"""GDAL's limit."""
_COLUMNS, _FEATURES_COUNT, _INDEX_NODE_SIZE = 7, 8, 9
"""Indices of fields in the table `Header` of FlatGeobuf's header.fbs."""
_COLUMN_TYPE, _ULONG = 1, 8
"""Index of a field in the table `Column`, and its value for unsigned whole numbers of 64 bits."""
NODE_BYTES = 40
_MIN_FEATURE_BYTES = 8


class FlatGeobufHeader(msgspec.Struct, frozen=True):
    """What a header says."""

    start: bytes
    """What stands before the header's own bytes: the magic number and their length."""
    content: bytes
    count: int
    """Of the features; 0 = it is not known."""
    node_size: int
    """Of the index: children of a node; 0 = there is no index."""

    @classmethod
    def read(cls, file: BinaryIO, size_bytes: int) -> Self | None:
        """Read the header of a file; None = it cannot be one.

        Args:
            file: the FlatGeobuf.
            size_bytes: of the file.

        Raises:
            struct.error: it ends within a number.
            OSError: it cannot be read.
        """
        file.seek(0)
        start = file.read(_MAGIC_BYTES + 4)
        (header_bytes,) = struct.unpack_from("<I", start, _MAGIC_BYTES)
        if not 8 <= header_bytes <= min(_MAX_HEADER_BYTES, size_bytes):
            return None
        content = file.read(header_bytes)
        count, node_size = _field(content, _FEATURES_COUNT, "<Q", 0), _field(content, _INDEX_NODE_SIZE, "<H", 16)
        if count > size_bytes // _MIN_FEATURE_BYTES or node_size == 1:
            return None
        return cls(start, content, count, node_size if count else 0)

    @property
    def index_start(self) -> int:
        """Where the index begins in the file."""
        return len(self.start) + len(self.content)

    @property
    def features_start(self) -> int:
        """Where the first feature begins in the file."""
        return self.index_start + (sum(self.level_sizes()) * NODE_BYTES if self.node_size else 0)

    def level_sizes(self) -> list[int]:
        """Return how many nodes each level of the packed Hilbert R-tree has, that of the features first."""
        sizes = [self.count]
        while len(sizes) == 1 or sizes[-1] > 1:  # a single feature has a node above it, too
            sizes.append(-(-sizes[-1] // self.node_size))
        return sizes

    def are_unsigned(self) -> list[bool]:
        """Return of each attribute whether it has unsigned whole numbers of 64 bits."""
        header = self.content
        (root,) = struct.unpack_from("<I", header)
        place = _place(header, root, _COLUMNS)
        if place is None:
            return []
        vector = place + struct.unpack_from("<I", header, place)[0]
        (count,) = struct.unpack_from("<I", header, vector)
        result = []
        for slot in range(vector + 4, vector + 4 + 4 * min(count, len(header)), 4):
            place = _place(header, slot + struct.unpack_from("<I", header, slot)[0], _COLUMN_TYPE)
            result.append(place is not None and struct.unpack_from("<B", header, place)[0] == _ULONG)
        return result

    def without_index(self) -> bytes:
        """Return the header of a file of some of the features: it has no index, and does not say how many they are.

        A new list of fields is put behind the table, in which both numbers are the same zero.

        Raises:
            struct.error: the header is broken, or has no number of features.
        """
        content = bytearray(self.content)
        (table,) = struct.unpack_from("<I", content)
        count_at = _place(self.content, table, _FEATURES_COUNT)
        if count_at is None:
            raise struct.error
        struct.pack_into("<Q", content, count_at, 0)
        vtable = table - struct.unpack_from("<i", content, table)[0]
        (vtable_bytes,) = struct.unpack_from("<H", content, vtable)
        slot = 4 + 2 * _INDEX_NODE_SIZE
        fields = bytearray(content[vtable : vtable + vtable_bytes].ljust(slot + 2, b"\0"))
        struct.pack_into("<H", fields, 0, len(fields))
        struct.pack_into("<H", fields, slot, count_at - table)
        content += bytes(-len(content) % 8)
        struct.pack_into("<i", content, table, table - len(content))
        content += fields + bytes(-len(fields) % 8)
        return self.start[:_MAGIC_BYTES] + struct.pack("<I", len(content)) + bytes(content)


def _field(data: bytes, field: int, form: str, default: int) -> int:
    """Return a number of the root table of a flatbuffer."""
    (root,) = struct.unpack_from("<I", data)
    place = _place(data, root, field)
    return default if place is None else int(struct.unpack_from(form, data, place)[0])


def _place(data: bytes, table: int, field: int) -> int | None:
    """Return where a flatbuffer has a field of a table; None = the table does not have it."""
    (back,) = struct.unpack_from("<i", data, table)
    vtable = table - back
    if vtable < 0:
        raise struct.error
    (vtable_bytes,) = struct.unpack_from("<H", data, vtable)
    slot = 4 + 2 * field
    (offset,) = struct.unpack_from("<H", data, vtable + slot) if slot + 2 <= vtable_bytes else (0,)
    return table + offset if offset else None
