"""What a TIFF's and a PNG's own bytes state, whole and broken; Pillow is the other reader."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from processes.imagery.headers import png_orientation, tiff_compression, tiff_orientation
from tables import each_row

ORIENTATION = 0x0112


def tiff(order: str, big: bool, entries: list[tuple[int, int, int, bytes]], before: bytes = b"") -> bytes:
    """Return a TIFF of one directory and no cells: tag, type, number of values, the bytes of its value or offset."""
    mark = b"II" if order == "<" else b"MM"
    start = (16 if big else 8) + len(before)
    if big:
        head = mark + struct.pack(f"{order}HHHQ", 43, 8, 0, start)
        directory = struct.pack(f"{order}Q", len(entries))
        directory += b"".join(struct.pack(f"{order}HHQ8s", *entry) for entry in entries) + bytes(8)
    else:
        head = mark + struct.pack(f"{order}HI", 42, start)
        directory = struct.pack(f"{order}H", len(entries))
        directory += b"".join(struct.pack(f"{order}HHI4s", *entry) for entry in entries) + bytes(4)
    return head + before + directory


@each_row(
    ("order", "big", "kind", "form"),
    [
        ("<", False, 3, "H"),
        (">", False, 3, "H"),
        ("<", True, 3, "H"),
        (">", True, 3, "H"),
        (">", False, 1, "B"),
        ("<", False, 4, "I"),
        (">", True, 4, "I"),
        (">", True, 16, "Q"),
    ],
)
def test_a_tag_in_every_order_size_and_type(order: str, big: bool, kind: int, form: str) -> None:
    for value in range(1, 9):
        entries = [(256, 4, 1, b"\1"), (ORIENTATION, kind, 1, struct.pack(order + form, value)), (277, 3, 1, b"\1")]
        assert tiff_orientation(BytesIO(tiff(order, big, entries, before=b"x" * 9))) == value


@each_row(
    "entry",
    [
        (ORIENTATION, 3, 1, b"\0\0"),
        (ORIENTATION, 3, 1, b"\x09\0"),
        (ORIENTATION, 3, 2, b"\6\0\6\0"),  # two values
        (ORIENTATION, 2, 1, b"6"),  # a text
        (ORIENTATION, 16, 1, b"\6\0\0\0"),  # which does not fit
        (273, 3, 1, b"\6\0"),
    ],
)
def test_what_is_no_orientation_turns_nothing(entry: tuple[int, int, int, bytes]) -> None:
    assert tiff_orientation(BytesIO(tiff("<", False, [entry]))) == 1


def test_broken_bytes_turn_nothing() -> None:
    whole = tiff("<", False, [(ORIENTATION, 3, 1, b"\6\0")])
    assert tiff_orientation(BytesIO(whole)) == 6
    for end in range(len(whole) - 4):
        assert tiff_orientation(BytesIO(whole[:end])) == 1
    for broken in (
        b"II*\0\xff\xff\xff\xff",
        b"II+\0\x08\0\0\0" + b"\xff" * 8,
        b"MM\0+",
        whole[:8] + b"\xff\xff",  # more entries than there are bytes
        b"GIF89a" + whole[6:],
    ):
        assert tiff_orientation(BytesIO(broken)) == 1
        assert tiff_compression(BytesIO(broken)) is None


def png(path: Path, orientation: int, **options: Any) -> bytes:
    exif = PillowImage.Exif()
    exif[ORIENTATION] = orientation
    PillowImage.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6)).save(path, exif=exif, **options)
    return path.read_bytes()


def test_a_png_s_chunk_before_and_behind_its_cells(tmp_path: Path) -> None:
    for orientation in range(1, 9):
        content = png(tmp_path / "a.png", orientation)
        place = content.index(b"eXIf") - 4
        (length,) = struct.unpack_from(">I", content, place)
        chunk = content[place : place + length + 12]
        end = len(content) - 12
        assert png_orientation(BytesIO(content)) == orientation
        late = content[:place] + content[place + len(chunk) : end] + chunk + content[end:]
        with PillowImage.open(BytesIO(late)) as picture:
            picture.load()
            assert picture.getexif()[ORIENTATION] == orientation
        assert png_orientation(BytesIO(late)) == orientation


def test_a_png_that_ends_too_early_is_told(tmp_path: Path) -> None:
    content = png(tmp_path / "a.png", 6)
    for end in range(len(content)):
        with pytest.raises(ValueError, match="no end"):
            png_orientation(BytesIO(content[:end]))
    assert png_orientation(BytesIO(content + b"what some tools put behind")) == 6


def test_the_first_directory_of_several_pages_counts(tmp_path: Path) -> None:
    pages = [PillowImage.new("L", (4, 4)) for _ in range(2)]
    tags = ImageFileDirectory_v2()
    tags[ORIENTATION] = 3
    pages[0].save(tmp_path / "a.tif", tiffinfo=tags, save_all=True, append_images=pages[1:])
    with PillowImage.open(tmp_path / "a.tif") as picture:
        expected = picture.getexif().get(ORIENTATION, 1)
    with (tmp_path / "a.tif").open("rb") as file:
        assert tiff_orientation(file) == expected


@each_row(
    ("number", "name"),
    [
        (1, "TIFF compression 1"),
        (5, "LZW"),
        (6, "old-style JPEG"),
        (34712, "JPEG 2000"),
        (50002, "JPEG XL"),
        (61234, "TIFF compression 61234"),
    ],
)
def test_names_of_compressions(number: int, name: str) -> None:
    for order in "<>":
        entries = [(259, 3, 1, struct.pack(order + "H", number))]
        assert tiff_compression(BytesIO(tiff(order, True, entries))) == name
