"""Rows of a Parquet file in batches. The file may be made to unpack to far more than its size.

A value that is stored once can stand for many rows: in a dictionary, by run lengths, as a prefix of the next one. So
the claims of a file are checked before it is read, and the bytes of a batch are counted before it is unpacked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from processes.errors import LayerError

MAX_RATIO = 200
FREE_BYTES = 256 * 2**20
"""Up to this size the ratio does not matter."""
_BATCH_ROWS = 65536
_SHORT_BYTES = 4096
"""Values of at most so many bytes need no dictionary to be counted before they are unpacked: few rows are enough."""
_BUFFER_BYTES = 2**20
"""Of a column that is read; else Arrow holds all columns of a group at once as the file has them."""
_MAX_CHUNKS = 200_000
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT96": 12}
_OFFSET_BYTES = 8


def read_batches(
    path: Path, names: Sequence[str], subject: str, groups: Sequence[int] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield rows, texts in dictionaries where those of the file have long ones.

    Args:
        path: the file.
        names: of the columns, each in the file once.
        subject: how messages name the file.
        groups: of the rows; None = all.

    Raises:
        LayerError: the rows unpack to far more than the file's size.
        pa.ArrowException: the file is broken.
    """
    allowed = max(MAX_RATIO * path.stat().st_size, FREE_BYTES)
    with _opened(path) as file:
        of_groups = list(_groups(file, subject, groups))
    chunks = [chunk for group in of_groups for chunk in group.chunks]
    if any(chunk.total_uncompressed_size < 0 or chunk.num_values < 0 for chunk in chunks):
        raise LayerError(f"{subject} cannot be read; the Parquet file is broken")
    _check(sum(map(_claimed_bytes, chunks)), allowed, subject)
    _refuse_twin_paths(of_groups, subject)
    longest = _longest_in_dictionaries(path, of_groups)
    in_dictionaries = {name for name, length in longest.items() if length > _SHORT_BYTES}
    row_bytes = sum(length for length in longest.values() if length <= _SHORT_BYTES)
    prefixed = (chunk.total_uncompressed_size for chunk in chunks if _may_repeat_prefixes(chunk))
    rows = min([_BATCH_ROWS, int(FREE_BYTES // max(row_bytes, 1)), *(allowed // max(size, 1) for size in prefixed)])
    unpacked_bytes = 0
    with _opened(path, in_dictionaries) as file:
        for batch in file.iter_batches(max(rows, 1), row_groups=groups, columns=list(names), use_threads=False):
            unpacked_bytes += sum(map(_plain_bytes, batch.columns))
            _check(unpacked_bytes, allowed, subject)
            yield batch


def _opened(path: Path, in_dictionaries: Iterable[str] = ()) -> pq.ParquetFile:
    """Open a file; of the columns of these paths Arrow makes dictionaries, also of values that the file has plain."""
    return pq.ParquetFile(path, read_dictionary=sorted(in_dictionaries), pre_buffer=False, buffer_size=_BUFFER_BYTES)


class _Group(NamedTuple):
    """A group of rows."""

    number: int
    chunks: list[Any]
    """The metadata of each column."""


def _groups(file: pq.ParquetFile, subject: str, groups: Sequence[int] | None) -> Iterator[_Group]:
    """Yield the groups that have rows."""
    metadata = file.metadata
    if metadata.num_row_groups * metadata.num_columns > _MAX_CHUNKS:
        raise LayerError(f"{subject} has {metadata.num_row_groups} groups of rows, too many to be read")
    for group in range(metadata.num_row_groups) if groups is None else groups:
        if metadata.row_group(group).num_rows <= 0:
            continue
        # broken metadata of a column end the whole process where the last line of this function reads them first; the
        # reader of rows reads them too, and reports what is wrong
        next(file.iter_batches(1, row_groups=[group], use_threads=False), None)
        yield _Group(group, [metadata.row_group(group).column(column) for column in range(metadata.num_columns)])


def _refuse_twin_paths(groups: Sequence[_Group], subject: str) -> None:
    """Raise LayerError where `a.b` is a column and also a part of the column `a`: Arrow finds one of them only."""
    for group in groups:
        paths = [chunk.path_in_schema for chunk in group.chunks]
        if len(set(paths)) < len(paths):
            twin = next(path for path in paths if paths.count(path) > 1)
            raise LayerError(f"{subject}: two columns have the path {twin[:80]!r}")


def _longest_in_dictionaries(path: Path, groups: Sequence[_Group]) -> dict[str, float]:
    """Return the bytes of the longest value that a dictionary of a column has, by the column's path."""
    paths = [{chunk.path_in_schema for chunk in group.chunks if _has_dictionary(chunk)} for group in groups]
    longest = dict.fromkeys(set[str]().union(*paths), 0.0)
    with _opened(path, longest) as file:
        for group, columns in zip(groups, paths, strict=True):
            if columns:
                rows = file.iter_batches(1, row_groups=[group.number], columns=sorted(columns), use_threads=False)
                first = next(rows, None)  # of a broken file there is none, and the reader of rows reports what is wrong
                values = {} if first is None else dict(zip(first.schema.names, first.columns, strict=True))
                for name in columns:
                    longest[name] = max(longest[name], _longest(values.get(name)))
    return longest


def _longest(first: pa.Array | None) -> float:
    """Return the bytes of the longest value in the dictionary of a group's first row; infinite = it is not known.

    A first value that is not in the file's dictionary is the only one in that of Arrow.
    """
    if first is None or not pa.types.is_dictionary(first.type) or len(first.dictionary) < 2:
        return math.inf
    values = first.dictionary
    if not (pa.types.is_string(values.type) or pa.types.is_binary(values.type)):
        return math.inf
    return float(pc.max(pc.binary_length(values)).as_py())


def _check(size: int, allowed: int, subject: str) -> None:
    if size > allowed:
        raise LayerError(f"{subject} unpacks to more than {MAX_RATIO} times its size")


def _claimed_bytes(chunk: Any) -> int:
    return int(max(chunk.total_uncompressed_size, chunk.num_values * _WIDTHS.get(chunk.physical_type, 8)))


def _has_dictionary(chunk: Any) -> bool:
    return chunk.physical_type == "BYTE_ARRAY" and any("DICTIONARY" in encoding for encoding in chunk.encodings)


def _may_repeat_prefixes(chunk: Any) -> bool:
    return "DELTA_BYTE_ARRAY" in chunk.encodings or chunk.physical_type == "FIXED_LEN_BYTE_ARRAY"


def _plain_bytes(values: pa.Array) -> int:
    """Return the size of a column in bytes once its dictionaries are resolved."""
    dtype = values.type
    if pa.types.is_dictionary(dtype):
        lengths = pc.take(pc.binary_length(values.dictionary).cast(pa.int64()), values.indices)
        return int(pc.sum(lengths).as_py() or 0) + _OFFSET_BYTES * len(values)
    if isinstance(values, pa.ExtensionArray):
        return _plain_bytes(values.storage)
    if pa.types.is_struct(dtype):
        return sum(map(_plain_bytes, values.flatten()))
    if pa.types.is_map(dtype):
        return _plain_bytes(values.keys) + _plain_bytes(values.items) + _OFFSET_BYTES * len(values)
    if pa.types.is_list(dtype) or pa.types.is_large_list(dtype):
        return _plain_bytes(values.flatten()) + _OFFSET_BYTES * len(values)
    return int(values.nbytes)
