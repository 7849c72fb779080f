"""Which tiles a TIFF holds: GDAL tells it block by block, and plain rasterio reads the cells of those that are absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from processes.imagery.image import Image, open_image
from processes.imagery.source import FileSource, gdal_settings
from processes.imagery.stored_tiles import read_stored_tiles
from processes.imagery.tiles import BandSelection, TileReader
from rasters import NORTH_UP, random_values
from tables import each_row

BLOCKS = [(0, 0), (3, 2), (4, 2), (2, 5), (5, 5)]
"""(column, row) of the 256 x 256 cells that are written."""
SIDE = 1400


def sparse(path: Path, **options: Any) -> Path:
    """Write an image of which only some blocks are in the file."""
    profile = {
        "driver": "GTiff", "width": SIDE, "height": SIDE, "count": 2, "dtype": "uint8", "sparse_ok": True, "tiled": True,
        "blockxsize": 256, "blockysize": 256, "crs": "EPSG:32633", "transform": NORTH_UP,
    } | options  # fmt: skip
    alpha = profile.pop("alpha", False)
    with rasterio.open(path, "w", **profile) as dataset:
        if alpha:
            dataset.colorinterp = [ColorInterp.gray, ColorInterp.alpha]
        for number, (column, row) in enumerate(BLOCKS):
            x, y = column * 256, row * 256
            window = Window(x, y, min(256, SIDE - x), min(256, SIDE - y))
            shape = (int(str(profile["count"])), window.height, window.width)
            dataset.write(random_values(shape, str(profile["dtype"]), number), window=window)
    return path


def opened(path: Path) -> Image:
    return open_image(FileSource(path, path.name), 10**12)


def told_by_gdal(path: Path, image: Image) -> NDArray[np.bool_]:
    """Return which tiles have a block in the file."""
    stored = np.zeros([-(-side // tile) for side, tile in zip(image.shape, image.tile, strict=True)], bool)
    with rasterio.open(path) as dataset:
        height, width = dataset.block_shapes[0]
        for band in dataset.indexes:
            for row in range(-(-image.grid.height // height)):
                for column in range(-(-image.grid.width // width)):
                    if dataset.get_tag_item(f"BLOCK_SIZE_{column}_{row}", "TIFF", bidx=band) is not None:
                        stored[row * height // image.tile[0], column * width // image.tile[1]] = True
    return stored


LAYOUTS: list[tuple[str, dict[str, Any]]] = [
    ("blocks of 256", {}),
    ("blocks of 16, of several a tile", {"blockxsize": 16, "blockysize": 16}),
    ("blocks higher than wide", {"blockxsize": 128, "blockysize": 512}),
    ("bands apart", {"interleave": "band"}),
    ("BigTIFF", {"bigtiff": "yes", "compress": "deflate"}),
    ("most significant byte first", {"endianness": "big", "compress": "lzw"}),
    ("strips of one row", {"tiled": False, "blockysize": 1, "dtype": "float64", "count": 40}),
    ("strips", {"tiled": False, "blockysize": 64, "dtype": "float64", "count": 40, "compress": "deflate"}),
    ("a COG", {"copy_src_overviews": False, "compress": "zstd"}),
]


@each_row(("layout", "options"), LAYOUTS)
def test_stored_tiles_are_those_that_gdal_tells(tmp_path: Path, layout: str, options: dict[str, Any]) -> None:
    path = sparse(tmp_path / f"{layout}.tif", **options)
    image = opened(path)
    stored = read_stored_tiles(image)
    assert stored is not None, layout
    expected = told_by_gdal(path, image)
    assert not expected.all()
    np.testing.assert_array_equal(np.diff(np.diff(stored.sums, axis=0), axis=1) > 0, expected, layout)


@each_row(
    ("what", "options", "rescaling"),
    [
        ("no nodata", {}, None),
        ("nodata 0", {"nodata": 0}, None),
        ("another nodata", {"nodata": 7}, None),
        ("not a number", {"dtype": "float32", "nodata": np.nan}, None),
        ("alpha", {"alpha": True}, None),
        ("a range", {}, ((2.0, 3.0), (0.5, -1.0))),
        ("bands apart", {"interleave": "band", "nodata": 3}, None),
    ],
)
def test_cells_of_absent_tiles_are_those_that_rasterio_reads(
    tmp_path: Path, what: str, options: dict[str, Any], rescaling: tuple[tuple[float, float], ...] | None
) -> None:
    path = sparse(tmp_path / "a.tif", **options)
    image = opened(path)
    bands = image.data_bands
    with rasterio.open(path) as dataset:
        expected, mask = dataset.read([band + 1 for band in bands]), dataset.dataset_mask() != 0
    if rescaling is not None:
        expected = np.stack(
            [band * factor + offset for band, (factor, offset) in zip(expected, rescaling, strict=True)]
        )
    with gdal_settings(), TileReader([image], [BandSelection(bands, rescaling)]) as tiles:
        for window in [(0, 0, SIDE, SIDE), (300, 100, 700, 350), (600, 900, 200, 100), (-50, 1300, 300, 200)]:
            column, row, width, height = window
            cells, valid = np.zeros((len(bands), height, width), tiles.dtype), np.zeros((height, width), bool)
            tiles.cut(0, window, cells, valid)
            inside = (slice(max(row, 0), row + height), slice(max(column, 0), column + width))
            part = (slice(max(0, -row), SIDE - row), slice(max(0, -column), SIDE - column))
            np.testing.assert_array_equal(cells[:, *part], expected[:, *inside], what)
            np.testing.assert_array_equal(valid[part], mask[inside], what)
        assert len(tiles._tiles) < 12, "absent tiles are not decoded"


def test_a_mask_apart_is_read_where_cells_are_absent(tmp_path: Path) -> None:
    path = sparse(tmp_path / "a.tif")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(np.eye(SIDE, dtype=bool))
    assert read_stored_tiles(opened(path)) is None


def test_a_file_whose_list_of_blocks_is_broken_is_left_to_gdal(tmp_path: Path) -> None:
    content = sparse(tmp_path / "a.tif", bigtiff="no").read_bytes()
    entry = content.index(b"\x45\x01")  # the sizes of tiles
    for number, change in enumerate((content[entry + 8 :][:4], b"\xff\xff\xff\xff", b"\0\0\0\0")):
        path = tmp_path / f"{number}.tif"
        path.write_bytes(content[: entry + 8] + change + content[entry + 12 :])
        if number == 0:
            assert read_stored_tiles(opened(path)) is not None
            continue
        stored = read_stored_tiles(opened(path))
        assert stored is None or number == 2


@pytest.mark.parametrize("side", [199_000])
def test_a_sparse_image_is_looked_through_at_once(tmp_path: Path, side: int) -> None:
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "sparse_ok": True, "tiled": True, "bigtiff": "yes"}
    with rasterio.open(tmp_path / "a.tif", "w", width=side, height=side, blockxsize=4096, blockysize=4096, **profile):
        pass
    stored = read_stored_tiles(opened(tmp_path / "a.tif"))
    assert stored is not None
    assert stored.sums[-1, -1] == 0
