"""Images of billions of cells in small files: sparse ones, and ones all of whose tiles are the same bytes."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

TRANSFORM = Affine(0.01, 0, 500_000, 0, -0.01, 5_000_000)
_BLOCK = 512


def write_sparse(path: Path, side: int = 199_000, **options: Any) -> Path:
    """Write a GeoTIFF of three bands and a large side none of whose blocks is in the file: about 20 KB."""
    profile = {
        "driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8", "sparse_ok": True,
        "crs": "EPSG:32633", "transform": TRANSFORM, "bigtiff": "yes", "tiled": True,
        "blockxsize": 4096, "blockysize": 4096,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile | options):
        pass
    return path


def write_repeated(path: Path, side: int, value: int = 90) -> Path:
    """Write a GeoTIFF of three bands of one value, all of whose tiles lie at the same place: 8 bytes for each tile."""
    count = (-(-side // _BLOCK)) ** 2
    block = zlib.compress(bytes([value]) * (3 * _BLOCK * _BLOCK), 9)
    scale = struct.pack("<3d", TRANSFORM.a, -TRANSFORM.e, 0)
    tie = struct.pack("<6d", 0, 0, 0, TRANSFORM.c, TRANSFORM.f, 0)
    keys = struct.pack("<16H", 1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633)
    bits = struct.pack("<3H", 8, 8, 8)
    after = bits + scale + tie + keys
    start = 8 + 2 + 12 * 15 + 4
    places = np.cumsum([start, len(bits), len(scale), len(tie), len(keys), 4 * count, 4 * count]).tolist()
    tags = {
        256: (4, 1, side), 257: (4, 1, side), 258: (3, 3, places[0]), 259: (3, 1, 8), 262: (3, 1, 2), 277: (3, 1, 3),
        284: (3, 1, 1), 322: (4, 1, _BLOCK), 323: (4, 1, _BLOCK), 324: (4, count, places[4]), 325: (4, count, places[5]),
        339: (3, 1, 1), 33550: (12, 3, places[1]), 33922: (12, 6, places[2]), 34735: (3, 16, places[3]),
    }  # fmt: skip
    directory = struct.pack("<H", len(tags))
    directory += b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in sorted(tags.items())) + bytes(4)
    offsets = np.full(count, places[6], "<u4").tobytes()
    sizes = np.full(count, len(block), "<u4").tobytes()
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + directory + after + offsets + sizes + block)
    return path


def inline(path: Path) -> dict[str, str]:
    """Return an image as it stands in a request."""
    return {"value": base64.b64encode(path.read_bytes()).decode(), "encoding": "base64", "mediaType": "image/tiff"}
