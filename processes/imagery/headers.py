"""What an image's own bytes state and GDAL does not tell: how a TIFF or a PNG is turned, and how a TIFF is compressed.

Sources: TIFF 6.0 and BigTIFF, EXIF 2.3 (whose data is a small TIFF), PNG's third edition (chunk `eXIf`).
"""

from __future__ import annotations

import os
import struct
from io import BytesIO
from typing import BinaryIO

from processes.imagery.tiff import tiff_directory

_ORIENTATION, _COMPRESSION = 274, 259
_MAX_EXIF_BYTES = 2**16

_MAX_CHUNKS = 2**20
_PNG_INTERLACE = 28
"""Offset of the byte that says how the rows of a PNG are interlaced; 1 = Adam7."""

_COMPRESSIONS = {
    2: "CCITT",
    3: "CCITT",
    4: "CCITT",
    5: "LZW",
    6: "old-style JPEG",
    7: "JPEG",
    8: "Deflate",
    9: "JBIG",
    10: "JBIG",
    22610: "JPEG XR",
    32766: "NeXT",
    32771: "CCITT",
    32773: "PackBits",
    32809: "ThunderScan",
    32909: "PixarLog",
    32946: "Deflate",
    32947: "Kodak DCS",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34676: "SGI LogLuv",
    34677: "SGI LogLuv",
    34712: "JPEG 2000",
    34713: "Nikon NEF",
    34887: "LERC",
    34892: "lossy JPEG",
    34925: "LZMA",
    34934: "JPEG XR",
    50000: "ZSTD",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
"""Of TIFF, by the number of its tag."""


def tiff_orientation(file: BinaryIO) -> int:
    """Return the orientation of a TIFF's first image, as EXIF counts it, 1 to 8; 1 where it states none of these."""
    number = _tiff_number(file, _ORIENTATION)
    return number if number is not None and 1 <= number <= 8 else 1


def png_orientation(file: BinaryIO) -> int:
    """Return the orientation that a PNG states, as EXIF counts it, 1 to 8; 1 where it states none of these.

    Raises:
        ValueError: the file ends before the PNG does. GDAL reads such a PNG whole without an error, and gives noise.
    """
    size = file.seek(0, os.SEEK_END)
    position, orientation = 8, 1
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        length, kind = struct.unpack(">I4s", file.read(8).ljust(8, b"\0"))
        if kind == b"eXIf":
            exif = file.read(min(length, _MAX_EXIF_BYTES))
            orientation = tiff_orientation(BytesIO(exif.removeprefix(b"Exif\0\0")))
        position += length + 12  # with its length, its kind and its checksum
        if position > size:
            break
        if kind == b"IEND":
            return orientation
    raise ValueError("the PNG has no end")


def png_is_interlaced(file: BinaryIO) -> bool:
    """Return whether a PNG is interlaced."""
    file.seek(_PNG_INTERLACE)
    return file.read(1) == b"\1"


def tiff_compression(file: BinaryIO) -> str | None:
    """Return the name of a TIFF's compression; None = the file is no TIFF, or states none."""
    number = _tiff_number(file, _COMPRESSION)
    return None if number is None else _COMPRESSIONS.get(number, f"TIFF compression {number}")


def _tiff_number(file: BinaryIO, tag: int) -> int | None:
    """Return the whole number that a tag of the first directory holds; None = there is no such TIFF, tag or number."""
    directory = tiff_directory(file)
    return None if directory is None else directory.number(tag)
