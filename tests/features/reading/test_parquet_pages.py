"""Parquet files whose metadata deny what is in their pages: files that pyarrow writes, changed in the footer.

Each of them is small, and unpacks to gigabytes.
"""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parquet_files import SHAPES, problem, read, save, wkb
from processes.errors import LayerError
from processes.features.reading import parquet_rows

COUNT = 3000
LONG = "x" * 500_000
PLAIN, RLE, DELTA_BYTE_ARRAY, RLE_DICTIONARY = b"\x00", b"\x06", b"\x0e", b"\x10"
"""Encodings, as Thrift has them."""
NAME = b"\x19\x18\x01t"
"""The path of the column `t`, which stands behind them."""
READ = """
import sys
from pathlib import Path
from processes.errors import LayerError
from processes.features.reading.files import read_layer
from processes.settings import Limits
path = Path(sys.argv[1])
try:
    print(len(read_layer(path, path.name, None, Limits())), "rows")
except LayerError as err:
    print(err.detail)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def in_dictionary(text: str = LONG, count: int = COUNT) -> pa.Array:
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), pa.array([text]))


def shapes(count: int) -> pa.Array:
    return in_dictionary(wkb(SHAPES[:1])[0].as_py(), count)


def varint(number: int, length: int = 0) -> bytes:
    """Return a whole number as Thrift has it; `length`: of so many bytes."""
    number, found = number << 1, bytearray()
    while number >> 7 or len(found) + 1 < length:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def change_footer(path: Path, *changes: tuple[bytes, bytes]) -> None:
    """Replace what is once in the footer of a file."""
    content = path.read_bytes()
    (length,) = struct.unpack("<I", content[-8:-4])
    footer = content[-8 - length : -8]
    for old, new in changes:
        assert footer.count(old) == 1
        footer = footer.replace(old, new)
    path.write_bytes(content[: -8 - length] + footer + struct.pack("<I", len(footer)) + b"PAR1")


def first_chunk(path: Path) -> Any:
    return pq.read_metadata(path).row_group(0).column(0)


def deny_dictionary(path: Path) -> None:
    """Let the first column list PLAIN for RLE_DICTIONARY, and not say where its dictionary is."""
    chunk = first_chunk(path)
    places = b"\x26" + varint(chunk.data_page_offset) + b"\x26" + varint(chunk.dictionary_page_offset)
    change_footer(
        path,
        (places + b"\x29", b"\x26" + varint(chunk.dictionary_page_offset) + b"\x49"),
        (RLE + RLE_DICTIONARY + NAME, RLE + PLAIN + NAME),
        (b"ARROW:schema", b"other:schema"),  # which says that texts are to be read as dictionaries
    )
    chunk = first_chunk(path)
    assert chunk.encodings == ("PLAIN", "RLE", "PLAIN")
    assert not chunk.has_dictionary_page


def dictionary(path: Path) -> None:
    save(path, {"t": in_dictionary(), "geometry": shapes(COUNT)}, write_statistics=False)
    deny_dictionary(path)


def dictionary_behind_plain_pages(path: Path) -> None:
    """Arrow writes plain pages behind those of a dictionary; the rows and their pages change places."""
    short = [f"short {n}" for n in range(10)]
    texts = pa.chunked_array([in_dictionary(), pa.array(short).dictionary_encode()])
    columns = {"t": texts, "geometry": shapes(COUNT + 10)}
    save(path, columns, write_statistics=False, compression="none")
    chunk, content = first_chunk(path), path.read_bytes()
    start, end = chunk.dictionary_page_offset, chunk.dictionary_page_offset + chunk.total_compressed_size
    pages = content[start:end]
    headers = re.finditer(rb"\x15\x00\x15.{1,5}\x15.{1,5}\x2c\x15.{1,3}\x15\x00", pages, re.DOTALL)
    (plain,) = [found.start() for found in headers]
    assert b"short 9" in pages[plain:]
    path.write_bytes(content[:start] + pages[plain:] + pages[:plain] + content[end:])
    deny_dictionary(path)


def large_pages(path: Path) -> None:
    """Let the first column claim 100 bytes."""
    columns = {"t": [LONG + str(n) for n in range(600)], "geometry": wkb(SHAPES[:1] * 600)}
    save(path, columns, compression="zstd", use_dictionary=False, data_page_size=2**29, write_statistics=False)
    size = varint(first_chunk(path).total_uncompressed_size)
    change_footer(path, (b"\x16" + size, b"\x16" + varint(100, len(size))))
    assert first_chunk(path).total_uncompressed_size == 100


def values_of_a_fixed_length(path: Path) -> None:
    """Missing values take no place in a file, and their length in memory."""
    save(path, {"t": pa.nulls(COUNT, pa.binary(4)), "geometry": shapes(COUNT)})
    change_footer(
        path,
        (b"\x15\x0e\x15" + varint(4), b"\x15\x0e\x15" + varint(2**20)),
        (b"ARROW:schema", b"other:schema"),
    )
    assert pq.read_schema(path).field("t").type == pa.binary(2**20)


def group_without_rows(path: Path) -> None:
    """Let the first of two groups claim to have no rows. Arrow would read its pages for those of the second."""
    texts = pa.chunked_array([in_dictionary(), pa.array(["a", "b"] * (COUNT // 2)).dictionary_encode()])
    save(path, {"t": texts, "geometry": shapes(2 * COUNT)}, row_group_size=COUNT, write_statistics=False)
    size = b"\x16" + varint(pq.read_metadata(path).row_group(0).total_byte_size) + b"\x16"
    change_footer(
        path,
        (size + varint(COUNT), size + varint(0)),
        (b"\x16" + varint(2 * COUNT) + b"\x19", b"\x16" + varint(COUNT) + b"\x19"),
        (b"ARROW:schema", b"other:schema"),
    )
    metadata = pq.read_metadata(path)
    assert (metadata.num_rows, metadata.row_group(0).num_rows, metadata.row_group(1).num_rows) == (COUNT, 0, COUNT)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (dictionary, "more than 200 times its size"),
        (dictionary_behind_plain_pages, "more than 200 times its size"),
        (large_pages, "more than 200 times its size"),
        (values_of_a_fixed_length, "more than 200 times its size"),
        (group_without_rows, f"{COUNT} rows"),
    ],
)
def test_bomb_that_its_metadata_deny_is_not_unpacked(tmp_path: Path, write: Callable[[Path], None], words: str) -> None:
    path = tmp_path / "a.parquet"
    write(path)
    assert path.stat().st_size < 2**20
    done = subprocess.run([sys.executable, "-c", READ, path], check=True, stdout=subprocess.PIPE, text=True, timeout=60)
    said, peak_kb = done.stdout.splitlines()
    assert words in said
    assert int(peak_kb) < 500_000


def test_prefixes_that_the_metadata_deny_are_read_a_few_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_rows, "FREE_BYTES", 2**20)
    columns = {"t": ["x" * 20_000] * 10_000, "geometry": wkb(SHAPES[:1] * 10_000)}
    encodings = {"t": "DELTA_BYTE_ARRAY", "geometry": "PLAIN"}
    path = save(tmp_path / "a.parquet", columns, use_dictionary=False, column_encoding=encodings)
    change_footer(path, (RLE + DELTA_BYTE_ARRAY + NAME, RLE + PLAIN + NAME))
    assert first_chunk(path).encodings == ("RLE", "PLAIN")
    sizes: list[int] = []
    with pytest.raises(LayerError, match="more than 200 times its size"):
        sizes.extend(batch.nbytes for batch in parquet_rows.read_batches(path, ["t"], "features"))
    assert 0 < max(sizes) <= parquet_rows.MAX_RATIO * path.stat().st_size


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"data_page_version": "2.0", "compression": "zstd"},
        {"data_page_size": 100, "write_batch_size": 10, "write_page_index": True, "write_page_checksum": True},
        {"use_dictionary": False, "compression": "none"},
        {"dictionary_pagesize_limit": 3000, "write_batch_size": 10, "row_group_size": 150},
    ],
)
def test_pages_of_all_kinds_are_read(tmp_path: Path, options: dict[str, Any]) -> None:
    """The headers of pages hold the longest texts, as statistics. pyarrow is the oracle."""
    columns = {
        "t": [chr(97 + n % 26) * (n % 20 * 150) if n % 7 else None for n in range(400)],
        "n": [n if n % 3 else None for n in range(400)],
        "b": [n % 5 > 2 for n in range(400)],
        "geometry": wkb([*SHAPES, SHAPES[0]] * 100),
    }
    path = save(tmp_path / "a.parquet", columns, **options)
    attributes = read(path).attributes
    assert attributes.to_pydict() == pq.read_table(path).drop_columns(["geometry"]).to_pydict()


def test_file_of_too_many_pages_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {"n": range(400), "geometry": wkb(SHAPES[:1] * 400)}
    path = save(tmp_path / "a.parquet", columns, data_page_size=50, write_batch_size=10, use_dictionary=False)
    monkeypatch.setattr(parquet_rows, "MAX_PAGES", 80)
    assert len(read(path)) == 400
    monkeypatch.setattr(parquet_rows, "MAX_PAGES", 79)
    assert "has more than 79 pages, too many to be read" in problem(path)
