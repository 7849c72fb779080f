"""Decoded tiles stay from one reader of a file to the next, within a budget, until the file changes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from msgspec.structs import replace
from numpy.typing import NDArray

from jobs_service import until
from processes.imagery import tiles as tiles_module
from processes.imagery.decoded_tile import Tile
from processes.imagery.image import open_image
from processes.imagery.kept_tiles import KeptTiles
from processes.imagery.source import FileSource, gdal_settings
from processes.imagery.tiles import BandSelection, TileReader
from processes.jobs.steps import SectionDone, StepFailed, StepOutcome, StepStopped
from processes.programs import slot_process
from processes.settings import Limits, Settings
from rasters import make_raster

SIDE, TILE = 1024, 256
TILES = (SIDE // TILE) ** 2
BYTES = 100
"""Of the tiles of these tests that are of no image."""


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> KeptTiles:
    kept = KeptTiles()
    kept.allow(2**25)
    monkeypatch.setattr(tiles_module, "KEPT_TILES", kept)
    return kept


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return a list of the tiles that readers decode from now on."""
    found: list[tuple[int, int]] = []
    decode = TileReader._decode

    def note(self: TileReader, index: int, row: int, column: int) -> Tile:
        found.append((row, column))
        return decode(self, index, row, column)

    monkeypatch.setattr(TileReader, "_decode", note)
    return found


def read(path: Path, *bands: int, chip: int = 1) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return all cells of an image, and which of them are valid."""
    image = open_image(FileSource(path, path.name), 10**9)
    with gdal_settings(), TileReader([image], [BandSelection(bands or (0, 1, 2))], (chip, chip)) as reader:
        cells = np.zeros((reader.bands, SIDE, SIDE), reader.dtype)
        valid = np.zeros((SIDE, SIDE), bool)
        reader.cut(0, (0, 0, SIDE, SIDE), cells, valid)
    return cells, valid


def raster(path: Path, seed: int = 0, **options: Any) -> Path:
    return make_raster(path, width=SIDE, height=SIDE, blocksize=TILE, seed=seed, **options)


def test_a_second_reader_decodes_nothing_and_finds_the_same(
    kept: KeptTiles, decoded: list[tuple[int, int]], tmp_path: Path
) -> None:
    path = raster(tmp_path / "a.tif", nodata=7)
    first = read(path)
    assert len(decoded) == TILES
    decoded.clear()
    second = read(path)
    assert not decoded
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_other_bands_and_chips_have_tiles_of_their_own(
    kept: KeptTiles, decoded: list[tuple[int, int]], tmp_path: Path
) -> None:
    path = raster(tmp_path / "a.tif")
    whole, _ = read(path)
    np.testing.assert_array_equal(read(path, 2, 0)[0], whole[[2, 0]])
    np.testing.assert_array_equal(read(path, chip=4)[0], whole)
    assert len(decoded) == 3 * TILES


@pytest.mark.parametrize("change", ["cells", "replaced", "mask", "Mask", "nodata"])
def test_a_changed_file_is_read_anew(
    kept: KeptTiles, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = raster(tmp_path / "a.tif", bands=1)
    before, all_valid = read(path, 0)
    assert all_valid.all()
    times = os.stat(path)
    match change:
        case "cells":
            with rasterio.open(path, "r+") as image:
                image.write(255 - image.read())
        case "replaced":
            raster(tmp_path / "b.tif", seed=1, bands=1).rename(path)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        case "mask" | "Mask":
            with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as image:
                image.write_mask(before[0] > 9)
            if change == "Mask":  # GDAL finds it in any case of letters
                path.with_name("a.tif.msk").rename(path.with_name("a.tif.Msk"))
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        case "nodata":
            value = int(before[0, 0, 0])
            content = (
                f'<PAMDataset><PAMRasterBand band="1"><NoDataValue>{value}</NoDataValue></PAMRasterBand></PAMDataset>'
            )
            path.with_name("a.tif.aux.xml").write_text(content)
    after, valid = read(path, 0)
    monkeypatch.setattr(tiles_module, "KEPT_TILES", KeptTiles())  # which keeps none
    expected, expected_valid = read(path, 0)
    np.testing.assert_array_equal(after, expected)
    np.testing.assert_array_equal(valid, expected_valid)
    assert not valid.all() if change in ("mask", "Mask", "nodata") else (after != before).any()


def test_a_process_that_is_allowed_none_keeps_none(decoded: list[tuple[int, int]], tmp_path: Path) -> None:
    path = raster(tmp_path / "a.tif")
    read(path)
    read(path)
    assert len(decoded) == 2 * TILES


@pytest.fixture
def few() -> KeptTiles:
    """Return kept tiles with room for three."""
    kept = KeptTiles()
    kept.allow(3 * BYTES)
    return kept


def tile() -> Tile:
    return Tile(np.zeros((1, 10, BYTES // 10), np.uint8), None, (10, BYTES // 10))


def count(kept: KeptTiles, state: str, places: range) -> int:
    """Return how many tiles of a file were not kept, and ask for each."""
    missed: list[int] = []

    def decode() -> Tile:
        missed.append(1)
        return tile()

    for place in places:
        kept.get(state, place, decode)
    return len(missed)


def test_of_a_file_that_is_too_large_the_first_tiles_stay(few: KeptTiles) -> None:
    assert count(few, "a", range(5)) == 5
    assert count(few, "a", range(5)) == 2


def test_masks_that_tiles_get_later_count_too(few: KeptTiles) -> None:
    kept = [few.get("a", place, tile) for place in range(3)]
    masked = Tile(np.zeros((1, 1, 1), np.uint8), np.zeros((1, 1), bool), (1, 1))
    for each in kept:
        each.add((0, 1), masked, 0, 0)
    count(few, "a", range(3))
    assert few._bytes == sum(each.nbytes for each in kept) > 3 * BYTES
    assert count(few, "b", range(1)) == 1  # a goes
    assert few._bytes == BYTES


def test_the_file_that_was_not_read_for_longest_goes_first(few: KeptTiles) -> None:
    count(few, "a", range(1))
    count(few, "b", range(2))
    count(few, "a", range(1))
    count(few, "c", range(1))  # b goes
    assert count(few, "a", range(1)) == 0
    assert count(few, "c", range(1)) == 0
    assert count(few, "b", range(2)) == 2


def test_tiles_go_when_nobody_has_asked_for_a_while(few: KeptTiles) -> None:
    count(few, "a", range(3))
    few.clear_after(60)
    few.clear_after(0.05)
    until(lambda: few._bytes == 0)
    assert count(few, "a", range(3)) == 3
    few.clear_after(0.05)
    few.clear_after(60)
    time.sleep(0.2)
    assert count(few, "a", range(3)) == 0


@pytest.mark.parametrize(
    ("outcome", "is_kept"),
    [
        (SectionDone(), True),
        (StepFailed({"kind": "request"}, True), False),  # "a.tif was changed after the request was accepted"
        (StepStopped(), False),
    ],
)
def test_none_stays_after_a_step_that_did_not_find_its_files_unchanged(
    kept: KeptTiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: StepOutcome, is_kept: bool
) -> None:
    monkeypatch.setattr(slot_process, "KEPT_TILES", kept)
    monkeypatch.setattr(kept, "state_of", lambda _: "a.tif")  # as if it was replaced between its status and a tile
    before, _ = read(raster(tmp_path / "a.tif"))
    slot_process.choose_kept_tiles(outcome)
    after, _ = read(raster(tmp_path / "a.tif", seed=1))
    assert (after == before).all() == is_kept
    kept.clear_after(0)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [(Limits(max_kept_tiles_mb=800), 100), (Limits(max_kept_tiles_mb=800, max_slot_mb=400), 50)],
)
def test_slots_that_see_one_gpu_each_share_what_may_be_kept(
    limits: Limits, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(Settings.from_plugin({}), limits=limits)
    for name, value in (
        ("slot_count", lambda _: 1),
        ("available_threads", lambda: 16),
        ("memory_bytes", lambda: 2**40),
    ):
        monkeypatch.setattr(slot_process, name, value)
    assert slot_process.kept_bytes(settings, cores=2) == expected * 2**20
