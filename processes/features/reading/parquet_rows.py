"""Rows of a Parquet file in batches. The file may be made to unpack to far more than its size.

A value that is stored once can stand for many rows: in a dictionary, by run lengths, as a prefix of the next one. So
the claims of a file are checked before it is read, and the bytes of a batch are counted before it is unpacked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from processes.errors import LayerError

MAX_RATIO = 200
FREE_BYTES = 256 * 2**20
"""Up to this size the ratio does not matter."""
_BATCH_ROWS = 65536
_MAX_CHUNKS = 200_000
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT96": 12}
_OFFSET_BYTES = 8


def read_batches(
    path: Path, names: Sequence[str], subject: str, groups: Sequence[int] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield rows, texts in dictionaries as the file has them.

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
    with pq.ParquetFile(path) as file:
        chunks = list(_chunks(file, subject, groups))
    if any(chunk.total_uncompressed_size < 0 or chunk.num_values < 0 for chunk in chunks):
        raise LayerError(f"{subject} cannot be read; the Parquet file is broken")
    _check(sum(map(_claimed_bytes, chunks)), allowed, subject)
    in_dictionaries = {chunk.path_in_schema for chunk in chunks if _has_dictionary(chunk)}
    rows = min(
        [_BATCH_ROWS, *(allowed // max(c.total_uncompressed_size, 1) for c in chunks if _may_repeat_prefixes(c))]
    )
    unpacked_bytes = 0
    with pq.ParquetFile(path, read_dictionary=sorted(in_dictionaries)) as file:
        for batch in file.iter_batches(max(rows, 1), row_groups=groups, columns=list(names), use_threads=False):
            unpacked_bytes += sum(map(_plain_bytes, batch.columns))
            _check(unpacked_bytes, allowed, subject)
            yield batch


def _chunks(file: pq.ParquetFile, subject: str, groups: Sequence[int] | None) -> Iterator[Any]:
    """Yield the metadata of each column of each group of rows."""
    metadata = file.metadata
    if metadata.num_row_groups * metadata.num_columns > _MAX_CHUNKS:
        raise LayerError(f"{subject} has {metadata.num_row_groups} groups of rows, too many to be read")
    for group in range(metadata.num_row_groups) if groups is None else groups:
        if metadata.row_group(group).num_rows <= 0:
            continue
        # broken metadata of a column end the whole process where the last line of this function reads them first; the
        # reader of rows reads them too, and reports what is wrong
        next(file.iter_batches(1, row_groups=[group], use_threads=False), None)
        for column in range(metadata.num_columns):
            yield metadata.row_group(group).column(column)


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
