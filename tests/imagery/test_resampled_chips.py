"""Chips that are resampled, by several threads: few of them at a time, but no thread waits for another's tiles."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from processes.imagery.chips import ChipReader, Placement
from processes.imagery.decoded_tile import Tile
from processes.imagery.grid import ChipRule
from processes.imagery.image import open_image
from processes.imagery.pillow_resampling import resample
from processes.imagery.source import FileSource, gdal_settings
from processes.imagery.tiles import BandSelection, TileReader
from rasters import make_raster, random_values

TILE = 256
SIDE = 3 * TILE + 20
RULE = ChipRule(32, 24, False, None)
WAIT_S = 30


def windows_within(count: int) -> NDArray[np.int32]:
    rng = np.random.default_rng(5)
    sides = rng.integers(1, 200, (count, 2))
    return np.concatenate([rng.integers(0, SIDE - sides), sides], axis=1).astype(np.int32)


def read(reader: ChipReader, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    with gdal_settings():
        return reader.read(rows).chips.astype(np.float32)


def test_threads_read_the_chips_that_one_would(tmp_path: Path) -> None:
    values = random_values((3, SIDE, SIDE))
    path = make_raster(tmp_path / "a.tif", values=values, blocksize=TILE)
    windows = windows_within(200)
    placement = Placement(np.zeros(200, np.int32), windows)
    with TileReader([open_image(FileSource(path, "a"), 10**9)], [BandSelection((2, 0))]) as tiles:
        reader = ChipReader(tiles, placement, RULE, None, None)
        with ThreadPoolExecutor(4) as pool:
            found = np.concatenate(list(pool.map(lambda rows: read(reader, rows), np.arange(200).reshape(-1, 5))))
    for chip, (column, row, width, height) in zip(found, windows.tolist(), strict=True):
        cells = values[[2, 0], row : row + height, column : column + width]
        np.testing.assert_array_equal(chip, resample(cells, RULE.size))


class _SlowTile(TileReader):
    """Decodes the first tile only when `go_on` says so."""

    asked, go_on = threading.Event(), threading.Event()

    def _decode(self, index: int, row: int, column: int) -> Tile:
        if (row, column) == (0, 0):
            self.asked.set()
            assert self.go_on.wait(WAIT_S), "the other thread was not through meanwhile"
        return super()._decode(index, row, column)


def test_a_tile_is_decoded_while_another_thread_resamples(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "a.tif", values=random_values((3, SIDE, SIDE)), blocksize=TILE)
    windows = np.array([[5, 5, 40, 40], [600, 600, 40, 40]], np.int32)
    placement = Placement(np.zeros(2, np.int32), windows)
    with _SlowTile([open_image(FileSource(path, "a"), 10**9)], [BandSelection((0,))]) as tiles:
        reader = ChipReader(tiles, placement, RULE, None, None)
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(read, reader, np.array([0]))
            assert tiles.asked.wait(WAIT_S)
            assert read(reader, np.array([1])).any()
            tiles.go_on.set()
            assert slow.result().any()


def test_tiles_of_a_window_that_has_more_of_them_than_are_kept_are_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = random_values((1, SIDE, SIDE))
    path = make_raster(tmp_path / "a.tif", values=values, blocksize=TILE)
    decoded: list[tuple[int, int]] = []
    decode = TileReader._decode

    def note(self: TileReader, index: int, row: int, column: int) -> Tile:
        decoded.append((row, column))
        return decode(self, index, row, column)

    monkeypatch.setattr(TileReader, "_decode", note)
    placement = Placement(np.zeros(1, np.int32), np.array([[3, 3, SIDE - 5, SIDE - 5]], np.int32))
    rule, budget_bytes = ChipRule(64, 64, False, None), 5 * TILE**2
    with TileReader([open_image(FileSource(path, "a"), 10**9)], [BandSelection((0,))], (1, 1), budget_bytes) as tiles:
        (chip,) = read(ChipReader(tiles, placement, rule, None, None), np.array([0]))
    np.testing.assert_array_equal(chip, resample(values[:, 3:-2, 3:-2], rule.size))
    assert len(decoded) == len(set(decoded)) == 16
