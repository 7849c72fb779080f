"""FlatGeobuf: its features are counted to the end of the file first, so that no part of a file passes for the whole."""

from __future__ import annotations

import struct
from collections.abc import Sequence, Set
from functools import partial
from io import BufferedReader
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from processes.errors import LayerError
from processes.features.layer import Layer
from processes.features.reading.attributes import plain_attributes
from processes.features.reading.flatgeobuf_header import FlatGeobufHeader
from processes.features.reading.gdal import plain_link, read_with_gdal
from processes.features.reading.limits import require_few_features
from processes.settings import Limits

_EXACT_IN_DOUBLE = 2**53
_SIZE = struct.Struct("<I")
"""Stands before each feature: its bytes."""
_BYTES_AT_ONCE = 2**20


def read_flatgeobuf(path: Path, name: str, limits: Limits, scratch: Path | None) -> Layer:
    """Read the one layer of a file, in the order of the file; arguments and errors as `read_layer` has them.

    There are no ids: the fid is only a position.
    """
    subject = f"features {name!r}"
    try:
        with path.open("rb") as file:
            size_bytes = path.stat().st_size
            header = FlatGeobufHeader.read(file, size_bytes)
            if header is None:
                raise _broken(subject)
            count = _count_features(file, header, size_bytes, subject, limits)
            is_unsigned = header.are_unsigned()
    except struct.error as err:
        raise _broken(subject) from err
    with plain_link(path, ".fgb", scratch) as link:
        read_attributes = partial(_with_whole_numbers, is_unsigned)
        result = read_with_gdal(link, "FlatGeobuf", subject, count, read_attributes=read_attributes)
    return msgspec.structs.replace(result, name=Path(name).stem)


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


def _broken(subject: str) -> LayerError:
    return LayerError(f"{subject} cannot be read; the FlatGeobuf is broken")


def _count_features(file: BufferedReader, header: FlatGeobufHeader, size: int, subject: str, limits: Limits) -> int:
    """Count the features, from one to the next to the end of the file.

    Raises:
        LayerError: the file does not end with a feature, or has another number of features than it claims.
        LimitError: more features than allowed.
    """
    position, claimed = header.features_start, header.count
    count = 0
    while position < size:
        file.seek(position)
        block = file.read(_BYTES_AT_ONCE)
        if len(block) < _SIZE.size:
            raise _broken(subject)
        place, last = 0, len(block) - _SIZE.size
        while place <= last:
            place += _SIZE.size + _SIZE.unpack_from(block, place)[0]
            count += 1
        position += place
        if count > limits.max_objects:  # the file may claim more than was counted
            require_few_features(max(claimed, count), limits, subject)
    if position != size or (claimed and claimed != count):
        raise _broken(subject)
    return count
