"""The pages of a column in a Parquet file, as the headers before them say: it is these that Arrow obeys.

The metadata at the end of the file may say something else. A header is a PageHeader of
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift, in Thrift's compact protocol:
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

_FIRST_READ_BYTES = 512
_MAX_HEADER_BYTES = 16 * 2**20
"""As Arrow has it; statistics may hold long values."""
_MAX_FIELDS = 64
_TYPE, _UNPACKED_BYTES, _STORED_BYTES = (1,), (2,), (3,)
_DICTIONARY = 2
_COUNT_AND_ENCODING = {0: ((5, 1), (5, 2)), _DICTIONARY: ((7, 1), (7, 2)), 3: ((8, 1), (8, 4))}
"""By the type of a page: the numbers of the fields that tell of its values. Arrow skips pages of other types."""
_DELTA_BYTE_ARRAY = 7
_BITS = {4: 16, 5: 32, 6: 64}
"""By the type of a field."""
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _STRUCT = 1, 2, 3, 7, 8, 12


class ParquetPage(NamedTuple):
    """What the header of a page says."""

    unpacked_bytes: int
    value_count: int
    """With nulls."""
    is_dictionary: bool
    repeats_prefixes: bool
    """A value is written as what it has in common with the one before, and the rest."""


def read_pages(file: BinaryIO, chunk: Any) -> Iterator[ParquetPage]:
    """Yield the pages that Arrow would read.

    Args:
        file: the file.
        chunk: the metadata of a column in a group of rows.

    Raises:
        KeyError, ValueError: the pages are broken.
    """
    place, first = chunk.data_page_offset, chunk.dictionary_page_offset or 0
    if 0 < first < place:
        place = first
    left = chunk.num_values
    while left > 0:
        header = _read_header(file, place)
        fields, kind = header.fields, header.fields[_TYPE]
        count, encoding = (
            (fields[path] for path in _COUNT_AND_ENCODING[kind]) if kind in _COUNT_AND_ENCODING else (0, 0)
        )
        if min(count, fields[_UNPACKED_BYTES], fields[_STORED_BYTES]) < 0:
            raise ValueError("a page has a size below zero")
        place += header.length + fields[_STORED_BYTES]
        left -= 0 if kind == _DICTIONARY else count
        size = max(fields[_UNPACKED_BYTES], fields[_STORED_BYTES])
        yield ParquetPage(size, count, kind == _DICTIONARY, encoding == _DELTA_BYTE_ARRAY)


def _read_header(file: BinaryIO, place: int) -> _Header:
    size = _FIRST_READ_BYTES
    while True:
        file.seek(place)
        data = file.read(size)
        try:
            return _Header(data)
        except IndexError:
            if len(data) < size or size >= _MAX_HEADER_BYTES:
                raise ValueError("a page has no header") from None
            size *= 8


class _Header:
    """The header at the start of some bytes. What Thrift and this class might understand in two ways is refused."""

    def __init__(self, data: bytes) -> None:
        self.fields: dict[tuple[int, ...], int] = {}
        """Whole numbers, by the numbers of the fields that lead to them."""
        self.length = 0
        """In bytes."""
        self._data = data
        self._known: set[tuple[int, ...]] = set()
        self._read_struct(())

    def _read_struct(self, path: tuple[int, ...]) -> None:
        number = 0
        while kind := (first := self._read_byte()) & 15:
            number = number + (first >> 4) if first >> 4 else self._read_int(16)
            field = (*path, number)
            if not 0 < number < 2**15 or field in self._known or len(self._known) == _MAX_FIELDS:
                raise ValueError("the header of a page has odd fields")
            self._known.add(field)
            if kind in _BITS:
                self.fields[field] = self._read_int(_BITS[kind])
            elif kind == _STRUCT:
                self._read_struct(field)
            elif kind == _BINARY:
                self._skip(self._read_varint())
            elif kind in (_BYTE, _DOUBLE):
                self._skip(1 if kind == _BYTE else 8)
            elif kind not in (_TRUE, _FALSE):
                raise ValueError("the header of a page has a field of a type that headers do not have")

    def _read_int(self, bits: int) -> int:
        number = self._read_varint()
        if number >> bits:
            raise ValueError("the header of a page has a number out of its range")
        return (number >> 1) ^ -(number & 1)

    def _read_varint(self) -> int:
        number = shift = 0
        while (byte := self._read_byte()) & 128:
            number |= (byte & 127) << shift
            shift += 7
            if shift > 63:
                raise ValueError("the header of a page has a number out of its range")
        return number | byte << shift

    def _read_byte(self) -> int:
        byte = self._data[self.length]
        self.length += 1
        return byte

    def _skip(self, count: int) -> None:
        self.length += count
        if self.length > len(self._data):
            raise IndexError
