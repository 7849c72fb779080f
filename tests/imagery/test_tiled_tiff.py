"""TIFFs of parts: what GDAL reads of them is what it reads of the file, however that is stored."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from processes.imagery.tiled_tiff import TiledTiff, merged, read_tiled_tiff
from rasters import make_raster

WIDTH, HEIGHT, BLOCK = 900, 700, 256
_rng = np.random.default_rng(0)
MASK = _rng.random((HEIGHT, WIDTH)) > 0.3
HALF = np.zeros((3, HEIGHT, WIDTH), np.uint8)
HALF[:, :, : 2 * BLOCK] = 5
KINDS: dict[str, dict[str, Any]] = {
    "not compressed": {},
    "deflate, with a predictor": {"compress": "deflate", "predictor": 2},
    "JPEG": {"compress": "jpeg", "photometric": "YCBCR"},
    "JPEG with a mask": {"compress": "jpeg", "photometric": "YCBCR", "mask": MASK},
    "four blocks a tile": {"blocksize": 128, "compress": "lzw"},
    "bands apart": {"interleave": "band", "compress": "zstd", "bands": 5},
    "bands apart with a mask": {"interleave": "band", "compress": "deflate", "bands": 4, "mask": MASK},
    "BigTIFF": {"BIGTIFF": "YES", "compress": "deflate"},
    "most significant byte first": {"ENDIANNESS": "BIG", "dtype": "uint16", "compress": "deflate", "predictor": 2},
    "BigTIFF of floats, likewise": {"ENDIANNESS": "BIG", "dtype": "float32", "BIGTIFF": "YES", "compress": "lzw"},
    "alpha": {"alpha": True, "compress": "deflate"},
    "nodata": {"nodata": 7, "nodata_boxes": [(0, 0, 300, 200)], "compress": "deflate"},
    "palette": {"bands": 1, "colormap": {n: (n, 255 - n, 3, 255 if n % 3 else 0) for n in range(256)}},
    "LERC": {"compress": "lerc", "dtype": "float32"},
    "4 bits": {"NBITS": 4, "values": _rng.integers(0, 16, (3, HEIGHT, WIDTH), dtype="uint8"), "compress": "deflate"},
    "absent blocks": {"SPARSE_OK": True, "values": HALF},
    "overviews": {"compress": "jpeg", "overviews": [2, 4], "descriptions": ["a", "b", "c"], "statistics": (1, 9)},
}


def tiled(path: Path) -> TiledTiff | None:
    with path.open("rb", buffering=0) as file:
        return read_tiled_tiff(file, path.stat().st_size)


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_has_the_cells_and_masks_of_its_window(kind: str, tmp_path: Path) -> None:
    path = make_raster(tmp_path / "a.tif", **({"width": WIDTH, "height": HEIGHT, "blocksize": BLOCK} | KINDS[kind]))
    tiff, content = tiled(path), path.read_bytes()
    assert tiff is not None
    with rasterio.open(path) as whole, rasterio.open(io.BytesIO(tiff.header()), driver="GTiff") as header:
        assert header.profile == whole.profile
        assert header.mask_flag_enums == whole.mask_flag_enums
        assert (header.colorinterp, header.descriptions) == (whole.colorinterp, whole.descriptions)
        assert [header.tags(band) for band in header.indexes] == [whole.tags(band) for band in whole.indexes]
        for top, left in itertools.product(range(0, HEIGHT, BLOCK), range(0, WIDTH, BLOCK)):
            place = top, left, min(BLOCK, HEIGHT - top), min(BLOCK, WIDTH - left)
            blocks = b"".join(content[offset : offset + size] for offset, size in tiff.blocks(*place, None))
            window = Window(left, top, place[3], place[2])
            with rasterio.open(io.BytesIO(tiff.part(*place, None, blocks)), driver="GTiff") as part:
                assert np.array_equal(part.read(), whole.read(window=window))
                assert np.array_equal(part.read_masks(), whole.read_masks(window=window))
                assert part.mask_flag_enums == whole.mask_flag_enums


def test_of_bands_that_are_stored_apart_only_those_that_are_read_are_needed(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "a.tif", width=512, height=256, blocksize=BLOCK, bands=5, interleave="band")
    tiff, content = tiled(path), path.read_bytes()
    assert tiff is not None
    place = 0, BLOCK, BLOCK, BLOCK
    blocks = tiff.blocks(*place, (4, 1))
    assert [size for _, size in blocks] == [BLOCK * BLOCK] * 2
    cells = b"".join(content[offset : offset + size] for offset, size in blocks)
    with rasterio.open(path) as whole, rasterio.open(io.BytesIO(tiff.part(*place, (4, 1), cells))) as part:
        assert np.array_equal(part.read([5, 2]), whole.read([5, 2], window=Window(BLOCK, 0, BLOCK, BLOCK)))


def test_what_is_no_tiff_of_tiles_cannot_be_read_by_parts(tmp_path: Path) -> None:
    strips = make_raster(tmp_path / "strips.tif", width=WIDTH, height=HEIGHT, tiled=False, blocksize=8).read_bytes()
    whole = make_raster(tmp_path / "whole.tif", width=WIDTH, height=HEIGHT, blocksize=BLOCK).read_bytes()
    picture = make_raster(tmp_path / "picture.png", driver="PNG").read_bytes()
    in_a_circle = b"II*\0\x08\0\0\0\0\0\x08\0\0\0"
    for content in (strips, picture, whole[:-1], whole[:8], in_a_circle, b""):
        assert read_tiled_tiff(io.BytesIO(content), len(content)) is None
    assert read_tiled_tiff(io.BytesIO(whole), len(whole), (2 * BLOCK, BLOCK)) is not None
    assert read_tiled_tiff(io.BytesIO(whole), len(whole), (BLOCK, BLOCK - 1)) is None


def test_near_ranges_become_one() -> None:
    assert merged([(100, 10), (0, 50), (58, 10), (112, 8)], 8) == [(0, 68), (100, 120)]
    assert merged([], 8) == []
