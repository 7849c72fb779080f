"""Chips that are cells as they are, copied by the batch: against the whole image, and how much work they are."""

from __future__ import annotations

import sys
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from msgspec import structs
from numpy.typing import NDArray

from processes.errors import ImageError
from processes.imagery.chip_plan import ChipPlan, reading_order
from processes.imagery.chips import Batch, ChipReader, Placement
from processes.imagery.grid import ChipRule
from processes.imagery.image import Image, open_image
from processes.imagery.mosaic import Mosaic
from processes.imagery.native_chips import NativeChipCutter
from processes.imagery.source import FileSource, gdal_settings
from processes.imagery.tiles import TILE_BUDGET_BYTES, BandSelection, TileReader
from rasters import make_raster, random_values
from tables import each_row

TILE = 256
WIDTH, HEIGHT = 3 * TILE + 70, 2 * TILE + 90
BANDS = (2, 0)
RESCALING = ((0.5, -3.0), (0.25, 1.0))


def opened(path: Path) -> Image:
    return open_image(FileSource(path, path.name), 10**9)


def windows_everywhere(count: int, size: tuple[int, int], seed: int = 3) -> NDArray[np.int32]:
    """Return windows of a (height, width) all over the image and around it; some lie on the corners of tiles."""
    rng = np.random.default_rng(seed)
    height, width = size
    origins = np.stack(
        [rng.integers(-width - 5, WIDTH + 5, count), rng.integers(-height - 5, HEIGHT + 5, count)], axis=1
    )
    corners = [(TILE - 1, TILE - 1), (TILE, TILE), (TILE - width, TILE - height), (0, 0), (2 * TILE - 7, TILE - 3)]
    origins[: len(corners)] = corners
    return np.concatenate([origins, np.broadcast_to([width, height], (count, 2))], axis=1).astype(np.int32)


def plan(images: Sequence[Image], windows: NDArray[np.int32], bands: Sequence[int], rescaling: Any = None) -> ChipPlan:
    height, width = windows[0, 3].item(), windows[0, 2].item()
    selections = [BandSelection(tuple(bands), rescaling)] * len(images)
    placement = Placement(np.zeros(len(windows), np.int32), windows)
    return ChipPlan(images, selections, ChipRule(width, height, True, None), placement, None, None)


def read(chips: ChipPlan, batch: int, threads: int = 1, budget: int = TILE_BUDGET_BYTES) -> list[Batch]:
    """Return all batches; several threads read them."""
    order = reading_order(chips)
    with TileReader(chips.images, chips.selections, chips.rule.shape_of_all, budget) as tiles:
        reader = ChipReader(tiles, chips.placement, chips.rule, None, None)
        return read_all(reader, order, batch, threads)


def read_all(reader: ChipReader, order: NDArray[np.int64], batch: int, threads: int) -> list[Batch]:
    def one(start: int) -> Batch:
        with gdal_settings():
            return reader.read(order[start : start + batch])

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(0, len(order), batch)))


def expected(
    cells: NDArray[Any], valid: NDArray[np.bool_], windows: NDArray[np.int32]
) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.bool_]]:
    """Cut windows out of a whole image with a wide margin of zeros."""
    margin = int(windows[:, 2:].max()) + 10
    around = [(margin, margin)] * 2
    wide, wide_valid = np.pad(np.where(valid, cells, 0), [(0, 0), *around]), np.pad(valid, around)
    inside = np.pad(np.ones_like(valid), around)
    found = []
    for column, row, width, height in (windows + np.array([margin, margin, 0, 0])).tolist():
        part = slice(row, row + height), slice(column, column + width)
        found.append((wide[:, *part], wide_valid[part].any(), inside[part].any()))
    chips, has_valid, touched = zip(*found, strict=True)
    return np.array(chips), np.array(has_valid), np.array(touched)


IMAGES: list[tuple[str, dict[str, Any], Any]] = [
    # what is special, how it is written, rescaling
    ("plain", {}, None),
    ("bands apart, 16 bits", {"dtype": "uint16", "interleave": "band"}, None),
    ("floats, some no numbers", {"dtype": "float32", "holes": np.nan}, None),
    ("doubles with nodata", {"dtype": "float64", "nodata": -5.0, "holes": -5.0}, None),
    ("nodata in some tiles", {"nodata": 0, "holes": 0}, None),
    ("a mask", {"masked": True}, None),
    ("rescaled", {"dtype": "int16"}, RESCALING),
    ("rescaled, with nodata", {"dtype": "int16", "nodata": 7, "holes": 7}, RESCALING),
    ("strips", {"tiled": False, "blocksize": 7}, None),
    ("one tile", {"blocksize": 1024}, None),
]


@each_row(("special", "options", "rescaling"), IMAGES)
def test_chips_are_the_cells_of_the_image_wherever_tiles_meet(
    tmp_path: Path, special: str, options: dict[str, Any], rescaling: Any
) -> None:
    dtype, nodata = options.get("dtype", "uint8"), options.get("nodata")
    values = random_values((3, HEIGHT, WIDTH), dtype)
    holes = np.zeros((HEIGHT, WIDTH), bool)
    holes[200:300, 230:290] = holes[400:, 700:] = True
    if "holes" in options:
        values[:, holes] = options["holes"]
    written: dict[str, Any] = {key: value for key, value in options.items() if key not in ("dtype", "holes", "masked")}
    mask = ~holes if "masked" in options else None
    written.setdefault("blocksize", TILE)
    path = make_raster(tmp_path / "a.tif", values=values, mask=mask, **written)
    valid = ~holes if {"holes", "masked"} & set(options) else np.ones((HEIGHT, WIDTH), bool)
    assert valid.all() == (nodata is None and not {"holes", "masked"} & set(options))
    cells = values[list(BANDS)]
    if rescaling is not None:
        cells = np.stack([(band * f + o).astype(np.float32) for band, (f, o) in zip(cells, rescaling, strict=True)])
    for size, batch in (((20, 31), 5), ((20, 31), 64), ((300, 40), 7), ((40, 530), 16), ((1, 1), 9)):
        windows = windows_everywhere(60, size)
        chips, has_valid, touched = expected(cells, valid, windows)
        batches = read(plan([opened(path)], windows, BANDS, rescaling), batch, threads=2)
        assert sorted(row for found in batches for row in found.rows.tolist()) == list(range(60))
        for found in batches:
            np.testing.assert_array_equal(found.chips, chips[found.rows].astype(found.chips.dtype), special)
            np.testing.assert_array_equal(found.valid, has_valid[found.rows], special)
            np.testing.assert_array_equal(found.touched, touched[found.rows], special)


def test_chips_of_a_sparse_image_are_those_of_its_whole_one(tmp_path: Path) -> None:
    values = random_values((3, 5 * TILE, 5 * TILE))
    is_there = np.zeros((5, 5), bool)
    is_there[1, 1:] = is_there[2:4, 2] = True
    profile = {"driver": "GTiff", "width": 5 * TILE, "height": 5 * TILE, "count": 3, "dtype": "uint8"}
    blocks = {"tiled": True, "blockxsize": TILE, "blockysize": TILE, "sparse_ok": True}
    with rasterio.open(tmp_path / "a.tif", "w", crs="EPSG:32633", **profile, **blocks) as image:
        for row, column in np.argwhere(is_there).tolist():
            part = slice(row * TILE, row * TILE + TILE), slice(column * TILE, column * TILE + TILE)
            image.write(values[:, *part], window=part)
    cells = np.where(np.kron(is_there, np.ones((TILE, TILE), bool)), values, 0)[list(BANDS)]
    windows = windows_everywhere(120, (50, 60))
    chips, has_valid, _ = expected(cells, np.ones(cells.shape[1:], bool), windows)
    for found in read(plan([opened(tmp_path / "a.tif")], windows, BANDS), 8):
        np.testing.assert_array_equal(found.chips, chips[found.rows])
        np.testing.assert_array_equal(found.valid, has_valid[found.rows])


def test_images_of_several_types_and_tiles_give_chips_of_one_type(tmp_path: Path) -> None:
    paths = [
        make_raster(tmp_path / "a.tif", width=WIDTH, height=HEIGHT, blocksize=TILE, seed=1),
        make_raster(tmp_path / "b.tif", width=WIDTH, height=HEIGHT, blocksize=64, dtype="int16", seed=2),
    ]
    images = [opened(path) for path in paths]
    windows = np.concatenate([windows_everywhere(40, (33, 20), seed) for seed in (1, 2)])
    one = plan(images, windows, BANDS)
    chips = ChipPlan(
        images, one.selections, one.rule, Placement(np.arange(80, dtype=np.int32) % 2, windows), None, None
    )
    for found in read(chips, 16):
        assert found.chips.dtype == np.float32
        for row, chip in zip(found.rows.tolist(), found.chips, strict=True):
            with rasterio.open(paths[row % 2]) as dataset:
                cells = dataset.read([band + 1 for band in BANDS])
            whole, _, _ = expected(cells, np.ones(cells.shape[1:], bool), windows[row : row + 1])
            np.testing.assert_array_equal(chip, whole[0])


def test_nodata_in_the_midst_of_an_image_is_filled_from_another(tmp_path: Path) -> None:
    values = random_values((3, HEIGHT, WIDTH))
    values[:, 240:270, 240:270] = 0
    paths = [
        make_raster(tmp_path / "a.tif", values=values, nodata=0, blocksize=TILE),
        make_raster(tmp_path / "b.tif", width=WIDTH, height=HEIGHT, blocksize=TILE, seed=9),
    ]
    images = [opened(path) for path in paths]
    windows = np.array([(230, 230, 40, 40), (500, 100, 40, 40), (260, 250, 40, 40)], np.int32)
    with gdal_settings(), TileReader(images, [BandSelection((0, 1, 2))] * 2, (40, 40)) as tiles:
        rule, placement = ChipRule(40, 40, True, None), Placement(np.zeros(3, np.int32), windows)
        found = ChipReader(tiles, placement, rule, None, Mosaic(images).neighbours).read(np.arange(3))
    with rasterio.open(paths[1]) as dataset:
        whole = np.where(values == 0, dataset.read(), values)
    np.testing.assert_array_equal(found.chips, expected(whole, np.ones((HEIGHT, WIDTH), bool), windows)[0])


def test_reading_stops_between_tiles_with_what_it_has(tmp_path: Path) -> None:
    image = opened(make_raster(tmp_path / "a.tif", width=WIDTH, height=HEIGHT, blocksize=TILE))
    windows = np.array([(10 + 100 * place, 20, 16, 16) for place in range(8)], np.int32)
    chips = plan([image], windows, BANDS)
    answers = iter([True, False])
    with gdal_settings(), TileReader([image], chips.selections, (16, 16)) as tiles:
        reader = ChipReader(tiles, chips.placement, chips.rule, None, None)
        whole = reader.read(np.arange(8))
        some = reader.read(np.arange(8), lambda: next(answers))
    assert some.rows.tolist() == list(range(6)), "columns 10 to 510 begin in the first two tiles"
    np.testing.assert_array_equal(some.chips, whole.chips[:6])
    assert len(some.touched) == len(some.valid) == 6


def test_a_broken_tile_is_an_error_for_each_thread_that_needs_it(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "a.tif", width=WIDTH, height=HEIGHT, blocksize=TILE, compress="deflate")
    image = opened(path)
    content = bytearray(path.read_bytes())
    with rasterio.open(path) as dataset:
        offset, size = (int(dataset.get_tag_item(f"BLOCK_{name}_1_1", "TIFF", bidx=1)) for name in ("OFFSET", "SIZE"))
    content[offset : offset + size] = bytes(size)
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.tif"):
        read(plan([image], windows_everywhere(60, (40, 40)), BANDS), 4, threads=3)


# How much work it is


def _note(made: list[str], _frame: object, event: str, _argument: object) -> None:
    made.append(event)


class _Counting(TileReader):
    """Counts how often each tile is decoded."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.decoded: Counter[tuple[int, int, int]] = Counter()

    def _decode(self, index: int, row: int, column: int) -> Any:
        self.decoded[index, row, column] += 1
        return super()._decode(index, row, column)


@pytest.mark.parametrize(("chip", "room"), [(60, 59), (150, 0)])
@pytest.mark.parametrize("threads", [1, 3])
def test_each_tile_is_decoded_once_in_reading_order(tmp_path: Path, threads: int, chip: int, room: int) -> None:
    image = opened(make_raster(tmp_path / "a.tif", width=9 * TILE, height=6 * TILE, blocksize=TILE, bands=1))
    rng = np.random.default_rng(1)
    origins = rng.integers(0, (9 * TILE - chip, 6 * TILE - chip), (2000, 2))
    windows = np.concatenate([origins, np.full((2000, 2), chip)], axis=1).astype(np.int32)
    chips = plan([image], windows, (0,))
    tile_bytes = (TILE + room) ** 2
    for rows_kept, most in ((3, 1), (1, 2)) if threads == 1 else ((3, 1),):  # at the edges of strips twice
        budget = rows_kept * 9 * tile_bytes
        with _Counting([image], chips.selections, (chip, chip), budget) as tiles:
            order = tiles.reading_order(chips.placement.image, windows)
            reader = ChipReader(tiles, chips.placement, chips.rule, None, None)

            read_all(reader, order, 16, threads)
            assert tiles._kept_bytes <= budget + tile_bytes
            assert len(tiles.decoded) == 54
            most_of_all = 54 * most if threads == 1 else 60  # a thread that rests may find tiles dropped meanwhile
            assert sum(tiles.decoded.values()) <= most_of_all, tiles.decoded.most_common(9)


def test_masks_that_tiles_add_to_those_beside_them_do_not_let_more_of_them_stay(tmp_path: Path) -> None:
    tile, count = 256, 6
    values = np.full((1, count * tile, count * tile), 5, np.uint8)
    for row in range(count):
        values[0, row * tile : (row + 1) * tile : 9, (row % 2) * tile :: 2 * tile] = 0
    image = opened(make_raster(tmp_path / "a.tif", values=values, blocksize=tile, nodata=0))
    windows = np.full((3000, 4), 32, np.int32)
    windows[:, :2] = np.random.default_rng(0).integers(0, count * tile - 32, (3000, 2))
    budget_bytes = 8 * tile**2
    with gdal_settings(), TileReader([image], [BandSelection((0,))], (32, 32), budget_bytes) as tiles:
        cutter = NativeChipCutter(tiles, np.zeros(3000, np.int32), windows, None)
        order = tiles.reading_order(np.zeros(3000, np.int32), windows)
        for rows in np.split(order, 100) * 3:
            cutter.cut(rows, lambda: True)
        assert sum(kept.result().nbytes for kept in tiles._tiles.values()) <= 2 * budget_bytes


def test_thin_tiles_have_no_room_and_are_decoded_once_too(tmp_path: Path) -> None:
    values = random_values((3, HEIGHT, WIDTH))
    path = make_raster(tmp_path / "a.tif", values=values, tiled=False, blocksize=7)
    image = structs.replace(opened(path), tile=(7, WIDTH))  # as of an image of hundreds of thousands of columns
    windows = windows_everywhere(200, (40, 30))
    chips, _, _ = expected(values[list(BANDS)], np.ones((HEIGHT, WIDTH), bool), windows)
    with _Counting([image], [BandSelection(BANDS)], (40, 30), 60 * 7 * WIDTH * 2) as tiles:
        order = tiles.reading_order(np.zeros(200, np.int32), windows)
        placement = Placement(np.zeros(200, np.int32), windows)
        for found in read_all(ChipReader(tiles, placement, ChipRule(30, 40, True, None), None, None), order, 16, 2):
            np.testing.assert_array_equal(found.chips, chips[found.rows])
    assert set(tiles.decoded.values()) == {1}
    assert len(tiles.decoded) == -(-HEIGHT // 7)


def test_the_work_of_a_batch_does_not_grow_with_its_chips(tmp_path: Path) -> None:
    image = opened(make_raster(tmp_path / "a.tif", width=WIDTH, height=HEIGHT, blocksize=TILE))
    rng = np.random.default_rng(1)
    origins = rng.integers(0, TILE, (512, 2))  # some reach into the tiles beside
    chips = plan([image], np.concatenate([origins, np.full((512, 2), 64)], axis=1).astype(np.int32), (0, 1, 2))
    calls, peaks = {}, {}
    with gdal_settings(), TileReader([image], chips.selections, (64, 64)) as tiles:
        reader = ChipReader(tiles, chips.placement, chips.rule, None, None)
        reader.read(np.arange(512))
        for count in (32, 512):
            made: list[str] = []
            sys.setprofile(partial(_note, made))
            try:
                reader.read(np.arange(count))
            finally:
                sys.setprofile(None)
            calls[count] = len(made)
            tracemalloc.start()
            try:
                batch = reader.read(np.arange(count))
                peaks[count] = tracemalloc.get_traced_memory()[1] / batch.chips.nbytes
            finally:
                tracemalloc.stop()
    assert calls[512] <= calls[32] + 4, "calls are made for each chip"
    assert peaks[512] < 1.3, "cells of a batch are held twice"
