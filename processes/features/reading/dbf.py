"""The .dbf of a Shapefile as it stands: dates that are none, and numbers that a double or GDAL's parser changes."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence, Set
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from processes.errors import LayerError
from processes.features.reading.attributes import dates_of_values, plain_attributes, refuse_twins, unread_warning
from processes.features.reading.columns import AttributeColumn

_HEADER_BYTES = 32
_FIELD_BYTES = 32
_END_OF_FIELDS = 0x0D
_DELETED = ord("*")
_EXACT_IN_DOUBLE = 2**53
_ROWS_AT_ONCE = 65536
_FOXPRO = range(0x30, 0x33)
"""Versions, the first byte of the file, of Visual FoxPro."""
_BINARY = frozenset("IBO+@TYMGP")
"""Types of dBASE 7 and FoxPro whose bytes are no text, and those whose texts are in another file."""
_DATE_BYTES = 8
_PLAIN_DATE = re.compile(r"^(\d{4})(\d\d)(\d\d)$", re.ASCII)
_BLANK, _SIGN, _DIGIT, _OTHER = range(4)
_RANKS = np.full(256, _OTHER, np.uint8)
"""What a byte is in a cell of a whole number."""
_RANKS[list(b" \0")], _RANKS[list(b"+-")], _RANKS[list(b"0123456789")] = _BLANK, _SIGN, _DIGIT
_PAIRS = np.zeros(16, bool)
"""True = these two ranks, 4 times the first plus the second, may follow each other in a cell."""
_PAIRS[[4 * a + b for a, b in ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 0))]] = True
_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0], np.uint8)
"""Days that a month has in any year, by its number from 1."""


class DbfField(msgspec.Struct, frozen=True):
    """A field of a .dbf."""

    type: str
    """A letter: C text, N or F number, D date, L flag; dBASE 7 and FoxPro have others."""
    start: int
    """Position of its first byte in a record."""
    size_bytes: int
    decimals: int
    """Digits behind the decimal point."""


def open_records(path: Path) -> NDArray[np.uint8]:
    """Return the records of a .dbf whose size was checked, `(n, bytes of a record)`, deleted ones included."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    count, header_bytes, record_bytes = (int.from_bytes(head[a:b], "little") for a, b in ((4, 8), (8, 10), (10, 12)))
    if not count:
        return np.empty((0, record_bytes), np.uint8)
    return np.memmap(path, np.uint8, "r", header_bytes, (count, record_bytes))


def is_deleted(records: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which records are deleted, `(n,)`."""
    return np.asarray(records[:, 0] == _DELETED)


def correct_attributes(path: Path, table: pa.Table, incomplete: Set[str]) -> tuple[pa.Table, Sequence[str]]:
    """Return attributes of a .dbf as plain ones, those that GDAL has changed as they stand, with warnings.

    GDAL takes a day that no calendar has for another one, gives whole numbers of more than 18 digits as doubles, and
    reads as much of a number as it can; of whole numbers of 10 to 18 digits it does not even say so.

    Args:
        path: the .dbf.
        table: what GDAL made of it.
        incomplete: names of attributes of whose values GDAL says that it read a part only.

    Raises:
        LayerError: two attributes have one name, or the fields are longer than the records.
    """
    refuse_twins(table.column_names)
    fields, is_foxpro = _read_fields(path)
    records = open_records(path)
    if table.num_columns < len(fields) or (fields and fields[-1].start + fields[-1].size_bytes > records.shape[1]):
        raise LayerError("its .dbf is broken: the fields do not fit into its records")
    if table.num_columns > len(fields):
        return plain_attributes(table)
    if len(records) != table.num_rows:
        records = records[~is_deleted(records)]
    warnings: list[str] = []
    corrected: dict[str, tuple[pa.Field, pa.ChunkedArray]] = {}
    for name, values, item in zip(table.column_names, table.columns, fields, strict=True):
        cells = records[:, item.start : item.start + item.size_bytes]
        if item.type == "D" and pa.types.is_date(values.type):
            dates, is_unread = _dates(values, cells)
            warnings += unread_warning("date", name, is_unread)
            if dates is not values:
                corrected[name] = pa.field(name, dates.type), dates
        elif item.type in _BINARY:
            read = _binary_numbers(item, cells) if is_foxpro else None
            if read is None:
                read = pa.chunked_array([pa.nulls(len(cells), pa.string())])
                warnings.append(f"the attribute {name!r} is of the dBASE type {item.type!r}, which is not read")
            corrected[name] = pa.field(name, read.type), read
        elif item.type in ("N", "F"):
            if name in incomplete or (pa.types.is_int64(values.type) and not _are_whole_numbers(cells)):
                corrected[name] = _as_they_stand(name, cells)
            elif not item.decimals and pa.types.is_floating(values.type):
                corrected[name] = _whole_numbers(name, values, cells)
    plain, of_times = plain_attributes(table.select([n for n in table.column_names if n not in corrected]))
    if corrected:
        columns = corrected | {
            item.name: (item, values) for item, values in zip(plain.schema, plain.columns, strict=True)
        }
        ordered = [columns[name] for name in table.column_names]
        plain = pa.table([values for _, values in ordered], schema=pa.schema([item for item, _ in ordered]))
    return plain, [*warnings, *of_times]


def _read_fields(path: Path) -> tuple[list[DbfField], bool]:
    """Return the fields of a .dbf, and whether Visual FoxPro wrote it."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
        texts = file.read(int.from_bytes(head[8:10], "little") - _HEADER_BYTES)
    fields, start = [], 1
    for position in range(0, len(texts) - _FIELD_BYTES + 1, _FIELD_BYTES):
        text = texts[position : position + _FIELD_BYTES]
        if text[0] == _END_OF_FIELDS:
            break
        fields.append(DbfField(chr(text[11]), start, text[16], text[17]))
        start += text[16]
    return fields, head[0] in _FOXPRO


def _are_whole_numbers(cells: NDArray[np.uint8]) -> bool:
    """Return whether each of the cells, `(n, bytes)`, has one whole number or none."""
    starts = range(0, len(cells), _ROWS_AT_ONCE)
    return all(_have_one_number(cells[start : start + _ROWS_AT_ONCE]) for start in starts)


def _have_one_number(cells: NDArray[np.uint8]) -> bool:
    ranks = _RANKS[cells]
    firsts, seconds = ranks[:, :-1], ranks[:, 1:]
    ends_in_sign = ranks[:, -1] == _SIGN
    # nearly all numbers are positive ones at the right of their cells; this is fast
    if (ranks != _SIGN).all() and (ranks != _OTHER).all() and (firsts <= seconds).all():
        return True
    pairs = 4 * firsts + seconds
    if _PAIRS[pairs].all() and (firsts <= seconds).all() and not ends_in_sign.any():
        return True
    words = (ranks[:, 0] != _BLANK) + np.isin(pairs, (_SIGN, _DIGIT)).sum(axis=1)  # their beginnings, behind a blank
    is_odd = ends_in_sign | (words > 1) | ~_PAIRS[pairs].all(axis=1)
    texts = np.ascontiguousarray(cells[is_odd]).view(f"S{cells.shape[1]}").ravel()
    return not any(text.strip(b"\0 *") for text in np.unique(texts).tolist())  # asterisks stand for no number


def _dates(values: pa.ChunkedArray, cells: NDArray[np.uint8]) -> tuple[pa.ChunkedArray, NDArray[np.bool_]]:
    """Return dates, those that GDAL gives where all are right, and where one is none, each `(n,)`."""
    if cells.shape[1] != _DATE_BYTES:  # GDAL takes them apart as if they had no hyphens
        texts = [text.decode("latin-1").strip("\0 ") for text in _bytes_of(cells)]
        plain = [_PLAIN_DATE.sub(r"\1-\2-\3", text) if text.strip("0") else None for text in texts]
        dates, is_unread = dates_of_values(plain)
        return pa.chunked_array([dates]), is_unread
    is_unread = _are_no_dates(cells)
    if is_unread.any():
        values = pc.if_else(pa.array(is_unread), pa.scalar(None, values.type), values)
    return values, is_unread


def _binary_numbers(item: DbfField, cells: NDArray[np.uint8]) -> pa.ChunkedArray | None:
    """Return the numbers of Visual FoxPro's types I and B, `(n,)`; None = it is another type."""
    dtype = {("I", 4): "<i4", ("B", 8): "<f8"}.get((item.type, item.size_bytes))
    return None if dtype is None else pa.chunked_array([np.ascontiguousarray(cells).view(dtype).ravel()])


def _bytes_of(cells: NDArray[np.uint8]) -> list[bytes]:
    """Return cells, `(n, bytes)`, without the zeros at their ends."""
    return list(np.ascontiguousarray(cells).view(f"S{cells.shape[1]}").ravel().tolist())


def _are_no_dates(cells: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which cells, `(n, 8)`, have neither a day of the calendar nor nothing: blanks or zeros."""
    digits = cells - np.uint8(ord("0"))  # what is no digit becomes more than 9
    month, day = digits[:, 4] * 10 + digits[:, 5], digits[:, 6] * 10 + digits[:, 7]
    is_plain = (day - 1 < _DAYS[np.minimum(month, 13)]) & (
        (digits[:, 0] | digits[:, 1] | digits[:, 2] | digits[:, 3]) > 0
    )
    if digits.size and digits.max() > 9:
        is_plain &= (digits <= 9).all(axis=1)
    result = np.zeros(len(cells), bool)
    doubtful = np.flatnonzero(~is_plain)
    texts = np.ascontiguousarray(cells[doubtful]).view("S8").ravel()
    found, places = np.unique(texts, return_inverse=True)
    result[doubtful] = np.array([_is_no_date(text) for text in found.tolist()], bool)[places]
    return result


def _is_no_date(text: bytes) -> bool:
    if not text.strip(b"\0 ").strip(b"0"):
        return False
    text = text.lstrip(b" ").rjust(8, b"0")  # GDAL writes blanks before a year of less than four digits
    try:
        return not (text.isdigit() and dt.datetime.strptime(text.decode(), "%Y%m%d"))  # noqa: DTZ007 - a day
    except ValueError:
        return True


def _whole_numbers(name: str, values: pa.ChunkedArray, cells: NDArray[np.uint8]) -> tuple[pa.Field, pa.ChunkedArray]:
    """Return whole numbers that GDAL gives as doubles."""
    largest = pc.max(pc.abs(values)).as_py()
    if largest is None or largest < _EXACT_IN_DOUBLE:
        return pa.field(name, pa.int64()), values.cast(pa.int64())
    return _as_they_stand(name, cells)


def _as_they_stand(name: str, cells: NDArray[np.uint8]) -> tuple[pa.Field, pa.ChunkedArray]:
    """Return cells as whole numbers, fractions and texts, in the type that holds all."""
    column = AttributeColumn()
    column.add(0, [_value(text.decode("latin-1").strip("\0 ")) for text in _bytes_of(cells)])
    return column.to_arrow(name, len(cells))


def _value(text: str) -> object:
    if not text.strip("*"):
        return None
    if "_" in text:  # which Python takes within a number
        return text
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
