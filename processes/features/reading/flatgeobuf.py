"""FlatGeobuf: its features are counted to the end of the file first, so that no part of a file passes for the whole."""

from __future__ import annotations

import dataclasses
import struct
from io import BufferedReader
from pathlib import Path

from processes.errors import LayerError
from processes.features.layer import Layer
from processes.features.reading.gdal import plain_link, read_with_gdal
from processes.features.reading.limits import require_few_features
from processes.settings import Limits

_MAGIC_BYTES = 8
_MAX_HEADER_BYTES = 10 * 2**20
"""GDAL's limit."""
_FEATURES_COUNT, _INDEX_NODE_SIZE = 8, 9
"""Indices of fields in the table `Header` of FlatGeobuf's header.fbs."""
_INDEX_NODE_BYTES = 40
_MIN_FEATURE_BYTES = 8


def read_flatgeobuf(path: Path, name: str, limits: Limits, scratch: Path | None) -> Layer:
    """Read the one layer of a file, in the order of the file; arguments and errors as `read_layer` has them.

    There are no ids: the fid is only a position.
    """
    subject = f"features {name!r}"
    try:
        with path.open("rb") as file:
            count = _count_features(file, path.stat().st_size, subject, limits)
    except struct.error as err:
        raise LayerError(f"{subject} cannot be read; the FlatGeobuf is broken") from err
    with plain_link(path, ".fgb", scratch) as link:
        result = read_with_gdal(link, "FlatGeobuf", subject, count)
    return dataclasses.replace(result, name=Path(name).stem)


def _count_features(file: BufferedReader, size: int, subject: str, limits: Limits) -> int:
    """Count the features, from one to the next to the end of the file.

    Raises:
        LayerError: the file does not end with a feature, or has another number of features than it claims.
        LimitError: more features than allowed.
        struct.error: the file ends within a number.
    """
    broken = LayerError(f"{subject} cannot be read; the FlatGeobuf is broken")
    file.seek(_MAGIC_BYTES)
    (header_bytes,) = struct.unpack("<I", file.read(4))
    if not 8 <= header_bytes <= min(_MAX_HEADER_BYTES, size):
        raise broken
    header = file.read(header_bytes)
    claimed, node_size = _field(header, _FEATURES_COUNT, "<Q", 0), _field(header, _INDEX_NODE_SIZE, "<H", 16)
    if claimed > size // _MIN_FEATURE_BYTES or node_size == 1:
        raise broken
    position = _MAGIC_BYTES + 4 + header_bytes
    if claimed and node_size:
        position += _index_bytes(claimed, node_size)
        file.seek(position)
    count = 0
    while position < size:
        (feature_bytes,) = struct.unpack("<I", file.read(4))
        file.seek(feature_bytes, 1)
        position += 4 + feature_bytes
        count += 1
        if count > limits.max_objects:  # the file may claim more than was counted
            require_few_features(max(claimed, count), limits, subject)
    if position != size or (claimed and claimed != count):
        raise broken
    return count


def _field(table: bytes, field: int, form: str, default: int) -> int:
    """Return a number of the root table of a flatbuffer."""
    (root,) = struct.unpack_from("<I", table)
    (back,) = struct.unpack_from("<i", table, root)
    vtable = root - back
    if vtable < 0:
        raise struct.error
    (vtable_bytes,) = struct.unpack_from("<H", table, vtable)
    slot = 4 + 2 * field
    (offset,) = struct.unpack_from("<H", table, vtable + slot) if slot + 2 <= vtable_bytes else (0,)
    return int(struct.unpack_from(form, table, root + offset)[0]) if offset else default


def _index_bytes(count: int, node_size: int) -> int:
    """Return the size of the packed Hilbert R-tree."""
    nodes = level = count
    while True:  # a single feature has a node above it, too
        level = -(-level // node_size)
        nodes += level
        if level == 1:
            break
    return nodes * _INDEX_NODE_BYTES
