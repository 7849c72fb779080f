"""FlatGeobuf: its features are counted to the end of the file first, so that no part of a file passes for the whole."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Sequence, Set
from functools import partial
from io import BufferedReader
from pathlib import Path

import numpy as np
import pyarrow as pa

from processes.errors import LayerError
from processes.features.layer import Layer
from processes.features.reading.attributes import plain_attributes
from processes.features.reading.gdal import plain_link, read_with_gdal
from processes.features.reading.limits import require_few_features
from processes.settings import Limits

_MAGIC_BYTES = 8
_MAX_HEADER_BYTES = 10 * 2**20
"""GDAL's limit."""
_COLUMNS, _FEATURES_COUNT, _INDEX_NODE_SIZE = 7, 8, 9
"""Indices of fields in the table `Header` of FlatGeobuf's header.fbs."""
_COLUMN_TYPE, _ULONG = 1, 8
"""Index of a field in the table `Column`, and its value for unsigned whole numbers of 64 bits."""
_EXACT_IN_DOUBLE = 2**53
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
            file.seek(_MAGIC_BYTES)
            is_unsigned = _are_unsigned(file.read(struct.unpack("<I", file.read(4))[0]))
    except struct.error as err:
        raise LayerError(f"{subject} cannot be read; the FlatGeobuf is broken") from err
    with plain_link(path, ".fgb", scratch) as link:
        read_attributes = partial(_with_whole_numbers, is_unsigned)
        result = read_with_gdal(link, "FlatGeobuf", subject, count, read_attributes=read_attributes)
    return dataclasses.replace(result, name=Path(name).stem)


def _with_whole_numbers(
    is_unsigned: Sequence[bool], attributes: pa.Table, _incomplete: Set[str]
) -> tuple[pa.Table, Sequence[str]]:
    """Return attributes with unsigned whole numbers, which GDAL gives as doubles, as whole ones where those are exact.

    Args:
        is_unsigned: of each attribute.
        attributes: as GDAL gives them.
    """
    table, warnings = plain_attributes(attributes)
    for index in np.flatnonzero(is_unsigned[: table.num_columns]).tolist():
        name, values = table.column_names[index], table.column(index)
        if not pa.types.is_floating(values.type):  # as another version of GDAL may have it
            continue
        is_rounded = np.nan_to_num(values.to_numpy()) >= _EXACT_IN_DOUBLE
        if not is_rounded.any():
            table = table.set_column(index, name, values.cast(pa.int64()))
            continue
        count, first = int(is_rounded.sum()), int(is_rounded.argmax()) + 1
        numbers, are = ("number", "is") if count == 1 else ("numbers", "are")
        warnings.append(
            f"{count} whole {numbers} of the attribute {name!r} {are} larger than 2^53 and rounded to 16 digits; "
            f"the first is that of feature {first}"
        )
    return table, warnings


def _are_unsigned(header: bytes) -> list[bool]:
    """Return of each attribute whether it has unsigned whole numbers of 64 bits."""
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


def _index_bytes(count: int, node_size: int) -> int:
    """Return the size of the packed Hilbert R-tree."""
    nodes = level = count
    while True:  # a single feature has a node above it, too
        level = -(-level // node_size)
        nodes += level
        if level == 1:
            break
    return nodes * _INDEX_NODE_BYTES
