"""Rows of a Parquet file in batches. The file may be made to unpack to far more than its size.

A value that is stored once can stand for many rows: in a dictionary, by run lengths, as a prefix of the next one. So
the headers of all pages are looked at before a page is read, for the metadata may lie, and the bytes of a batch are
counted before it is unpacked.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from processes.errors import LayerError
from processes.features.reading.parquet_pages import ParquetPage, read_pages

MAX_RATIO = 200
FREE_BYTES = 256 * 2**20
"""Up to this size the ratio does not matter."""
_BATCH_ROWS = 65536
_SHORT_BYTES = 4096
"""Values of at most so many bytes need no dictionary to be counted before they are unpacked: few rows are enough."""
_BUFFER_BYTES = 2**20
"""Of a column that is read; else Arrow holds all columns of a group at once as the file has them."""
_MAX_CHUNKS = 200_000
MAX_PAGES = 1_000_000
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
    of_groups = list(_groups(path, subject, groups))
    chunks = [chunk for group in of_groups for chunk in group.chunks]
    _check(sum(chunk.unpacked_bytes for chunk in chunks), allowed, subject)
    _refuse_twin_paths(of_groups, subject)
    longest = _longest_in_dictionaries(path, of_groups)
    in_dictionaries = {name for name, length in longest.items() if length > _SHORT_BYTES}
    row_bytes = sum(length for length in longest.values() if length <= _SHORT_BYTES)
    prefixed = (chunk.unpacked_bytes for chunk in chunks if chunk.repeats_prefixes)
    rows = min([_BATCH_ROWS, int(FREE_BYTES // max(row_bytes, 1)), *(allowed // max(size, 1) for size in prefixed)])
    unpacked_bytes = 0
    with _opened(path, in_dictionaries) as file:
        for some in _read_together(of_groups):
            for batch in file.iter_batches(max(rows, 1), row_groups=some, columns=list(names), use_threads=False):
                unpacked_bytes += sum(map(_plain_bytes, batch.columns))
                _check(unpacked_bytes, allowed, subject)
                yield batch


def _opened(path: Path, in_dictionaries: Iterable[str] = ()) -> pq.ParquetFile:
    """Open a file; of the columns of these paths Arrow makes dictionaries, also of values that the file has plain."""
    return pq.ParquetFile(path, read_dictionary=sorted(in_dictionaries), pre_buffer=False, buffer_size=_BUFFER_BYTES)


class _Chunk(NamedTuple):
    """A column in a group of rows."""

    path: str
    unpacked_bytes: int
    """Of all its pages, or of its values where they are larger once unpacked."""
    has_dictionary: bool
    """Of values of any length."""
    repeats_prefixes: bool
    """Each value may be as long as all pages."""


class _Group(NamedTuple):
    """A group of rows."""

    number: int
    chunks: list[_Chunk]


def _read_together(groups: Sequence[_Group]) -> Iterator[list[int]]:
    """Yield the numbers of groups that are read in one go: all, or one by one where columns have columns of their own.

    Arrow cannot put texts of several groups together in those.
    """
    if any("." in chunk.path for group in groups for chunk in group.chunks):
        yield from ([group.number] for group in groups)
    elif groups:
        yield [group.number for group in groups]


class _DataReadError(Exception):
    """Data were asked for, behind the metadata."""


class _NoData(io.FileIO):
    """A file of which only the size is told."""

    def read(self, _size: int | None = -1, /) -> bytes:
        raise _DataReadError


def _groups(path: Path, subject: str, groups: Sequence[int] | None) -> Iterator[_Group]:
    """Yield the groups that have rows. Arrow reads none of the others, whatever pages they have."""
    with _opened(path) as file, path.open("rb") as source:
        metadata, schema = file.metadata, file.schema
        if metadata.num_row_groups * metadata.num_columns > _MAX_CHUNKS:
            raise LayerError(f"{subject} has {metadata.num_row_groups} groups of rows, too many to be read")
        left = MAX_PAGES
        for number in range(metadata.num_row_groups) if groups is None else groups:
            group = metadata.row_group(number)
            if group.num_rows <= 0:
                continue
            _require_sound_chunks(path, metadata, number)
            chunks = []
            for column in range(metadata.num_columns):
                pages = islice(read_pages(source, group.column(column)), left + 1)
                chunk, count = _chunk(group.column(column), schema.column(column).length, pages)
                left -= count
                if left < 0:
                    raise LayerError(f"{subject} has more than {MAX_PAGES} pages, too many to be read")
                chunks.append(chunk)
            yield _Group(number, chunks)


def _require_sound_chunks(path: Path, metadata: pq.FileMetaData, group: int) -> None:
    """Raise an error where the metadata of a column contradict themselves.

    They end the whole process where Python asks for them first. The reader of rows reads them too, all of a group
    before the first data, and reports what is wrong.
    """
    options = {"metadata": metadata, "pre_buffer": False, "buffer_size": _BUFFER_BYTES}
    with _NoData(path) as source, pq.ParquetFile(source, **options) as file:
        try:
            next(file.iter_batches(1, row_groups=[group], use_threads=False), None)
        except _DataReadError:
            return


def _chunk(metadata: Any, value_bytes: int, pages: Iterable[ParquetPage]) -> tuple[_Chunk, int]:
    """Return what is known of a column in a group of rows, and the number of its pages.

    Args:
        metadata: of the column in the group.
        value_bytes: of each value, where its type has a fixed length.
        pages: of the column in the group.
    """
    is_fixed, is_bytes = (metadata.physical_type == name for name in ("FIXED_LEN_BYTE_ARRAY", "BYTE_ARRAY"))
    has_dictionary = repeats_prefixes = False
    page_count = unpacked_bytes = value_count = 0
    for page in pages:
        page_count += 1
        unpacked_bytes += page.unpacked_bytes
        value_count += page.value_count
        has_dictionary |= is_bytes and page.is_dictionary
        repeats_prefixes |= page.repeats_prefixes
    of_values = value_count * (value_bytes if is_fixed else _WIDTHS.get(metadata.physical_type, 8))
    largest = max(metadata.total_uncompressed_size, unpacked_bytes, of_values)
    return _Chunk(metadata.path_in_schema, largest, has_dictionary, repeats_prefixes), page_count


def _refuse_twin_paths(groups: Sequence[_Group], subject: str) -> None:
    """Raise LayerError where `a.b` is a column and also a part of the column `a`: Arrow finds one of them only."""
    for group in groups:
        paths = [chunk.path for chunk in group.chunks]
        if len(set(paths)) < len(paths):
            twin = next(path for path in paths if paths.count(path) > 1)
            raise LayerError(f"{subject}: two columns have the path {twin[:80]!r}")


def _longest_in_dictionaries(path: Path, groups: Sequence[_Group]) -> dict[str, float]:
    """Return the bytes of the longest value that a dictionary of a column has, by the column's path."""
    paths = [{chunk.path for chunk in group.chunks if chunk.has_dictionary} for group in groups]
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
