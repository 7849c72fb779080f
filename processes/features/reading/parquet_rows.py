"""Rows of a Parquet file in batches, of a file that may be made to burst.

A value that is there once can count for many rows: in a dictionary, by run lengths, as a prefix of the next one. So
what a file claims is checked before it is read, and what comes is counted before it is unpacked.
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


def read_batches(path: Path, names: Sequence[str], called: str) -> Iterator[pa.RecordBatch]:
    """Yield all rows, texts in dictionaries as the file has them.

    Args:
        path: the file.
        names: of the columns, each there once.
        called: what the client calls the file, for messages.

    Raises:
        LayerError: the rows come to far more than the file's size.
        pa.ArrowException: the file is broken.
    """
    allowed = max(MAX_RATIO * path.stat().st_size, FREE_BYTES)
    with pq.ParquetFile(path) as file:
        chunks = list(_chunks(file, called))
    if any(chunk.total_uncompressed_size < 0 or chunk.num_values < 0 for chunk in chunks):
        raise LayerError(f"{called} cannot be read; the Parquet file is broken")
    _check(sum(map(_claimed_bytes, chunks)), allowed, called)
    counted = {chunk.path_in_schema for chunk in chunks if _is_counted(chunk)}
    rows = min(
        [_BATCH_ROWS, *(allowed // max(c.total_uncompressed_size, 1) for c in chunks if _may_repeat_prefixes(c))]
    )
    size = 0
    with pq.ParquetFile(path, read_dictionary=sorted(counted)) as file:
        for batch in file.iter_batches(max(rows, 1), columns=list(names), use_threads=False):
            size += sum(map(_plain_bytes, batch.columns))
            _check(size, allowed, called)
            yield batch


def _chunks(file: pq.ParquetFile, called: str) -> Iterator[Any]:
    """Yield what the metadata say of each column of each group of rows."""
    metadata = file.metadata
    if metadata.num_row_groups * metadata.num_columns > _MAX_CHUNKS:
        raise LayerError(f"{called} has {metadata.num_row_groups} groups of rows, too many to be read")
    for group in range(metadata.num_row_groups):
        if metadata.row_group(group).num_rows <= 0:
            continue
        # broken metadata of a column end the whole process where they are looked at first in the next line; the reader
        # looks at them too, and says what is wrong
        next(file.iter_batches(1, row_groups=[group], use_threads=False), None)
        for column in range(metadata.num_columns):
            yield metadata.row_group(group).column(column)


def _check(size: int, allowed: int, called: str) -> None:
    if size > allowed:
        raise LayerError(f"{called} unpacks to more than {MAX_RATIO} times its size")


def _claimed_bytes(chunk: Any) -> int:
    return int(max(chunk.total_uncompressed_size, chunk.num_values * _WIDTHS.get(chunk.physical_type, 8)))


def _is_counted(chunk: Any) -> bool:
    return chunk.physical_type == "BYTE_ARRAY" and any("DICTIONARY" in encoding for encoding in chunk.encodings)


def _may_repeat_prefixes(chunk: Any) -> bool:
    return "DELTA_BYTE_ARRAY" in chunk.encodings or chunk.physical_type == "FIXED_LEN_BYTE_ARRAY"


def _plain_bytes(values: pa.Array) -> int:
    """Return how many bytes a column has once its dictionaries are resolved."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        each = pc.take(pc.binary_length(values.dictionary).cast(pa.int64()), values.indices)
        return int(pc.sum(each).as_py() or 0) + _OFFSET_BYTES * len(values)
    if isinstance(values, pa.ExtensionArray):
        return _plain_bytes(values.storage)
    if pa.types.is_struct(kind):
        return sum(map(_plain_bytes, values.flatten()))
    if pa.types.is_map(kind):
        return _plain_bytes(values.keys) + _plain_bytes(values.items) + _OFFSET_BYTES * len(values)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _plain_bytes(values.flatten()) + _OFFSET_BYTES * len(values)
    return int(values.nbytes)
