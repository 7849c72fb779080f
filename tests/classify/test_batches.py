"""Which batches the network gets, and threads that read ahead for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from processes.classify.batches import BatchReader, BatchSource, Pause, PlacedBatch, ReadAhead
from processes.errors import ImageError
from processes.imagery.chip_plan import ChipPlan, reading_order
from processes.imagery.chips import Placement
from processes.imagery.grid import ChipRule
from processes.imagery.image import open_image
from processes.imagery.source import FileSource, gdal_settings
from processes.imagery.tiles import BandSelection
from rasters import make_raster, random_values

SIDE = 1024


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make_raster(tmp_path / "a.tif", values=random_values((3, SIDE, SIDE)), blocksize=256, compress="deflate")


def plan(path: Path, count: int, chip: int = 16) -> ChipPlan:
    origins = np.random.default_rng(1).integers(0, SIDE - chip, (count, 2))
    windows = np.concatenate([origins, np.full((count, 2), chip)], axis=1).astype(np.int32)
    placement = Placement(np.zeros(count, np.int32), windows)
    return ChipPlan(
        [open_image(FileSource(path, path.name), 10**9)],
        [BandSelection((0, 1, 2))],
        ChipRule(chip, chip, True, None),
        placement,
        None,
        None,
    )


def reader(
    chips: ChipPlan, size: int, threads: int = 1, pause: Pause | None = None, rows: NDArray[np.int64] | None = None
) -> BatchReader:
    rows = reading_order(chips) if rows is None else rows
    return BatchReader(chips, rows, size, threads, pause or Pause(), {}, lambda: None, has_masks=False)


def all_of(source: BatchSource) -> Iterator[PlacedBatch]:
    with gdal_settings():
        while (found := source.next()) is not None:
            yield found


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_what_is_read_ahead_is_what_is_read_by_those_who_ask(image: Path, threads: int) -> None:
    chips = plan(image, 900)
    with reader(chips, 8) as batches:
        direct = {row: chip for found in all_of(batches) for row, chip in zip(found.batch.rows, found.batch.chips)}  # noqa: B905
    order = reading_order(chips)
    with reader(chips, 8, threads) as batches, ReadAhead(batches, threads) as source:
        ahead = list(all_of(source))
        assert source.next() is None
    assert sorted(row for found in ahead for row in found.batch.rows.tolist()) == list(range(900)) == sorted(direct)
    for found in ahead:
        rows = found.batch.rows
        np.testing.assert_array_equal(rows, order[found.start : found.start + len(rows)])
        np.testing.assert_array_equal(found.batch.chips, [direct[row] for row in rows])


def test_parts_of_a_batch_are_no_larger_than_the_network_takes_and_lie_where_it_lies(image: Path) -> None:
    chips = plan(image, 900)
    with reader(chips, 8) as batches:
        found = next(all_of(batches))
    assert len(found.batch.rows) > 8
    parts = list(found.parts(8))
    assert [part.start for part in parts] == list(range(0, len(found.batch.rows), 8))
    assert {len(part.batch.rows) for part in parts[:-1]} == {8}
    np.testing.assert_array_equal(np.concatenate([part.batch.rows for part in parts]), found.batch.rows)
    assert all(np.shares_memory(part.batch.chips, found.batch.chips) for part in parts)


def test_few_chips_are_shared_by_all_threads(image: Path) -> None:
    with reader(plan(image, 64), 4, threads=4) as batches:
        assert len([*all_of(batches)]) == 16


def test_a_batch_holds_no_more_cells_than_a_thread_may(image: Path) -> None:
    with reader(plan(image, 60, chip=1000), 10**300) as batches:
        assert {len(found.batch.rows) for found in all_of(batches)} <= {11, 60 % 11}


def test_a_pause_that_has_begun_holds_for_all_threads(image: Path) -> None:
    answers = iter([False, True])
    pause = Pause(no_more_batches=lambda: next(answers, False))
    with reader(plan(image, 64), 4, 16, pause) as batches, gdal_settings():
        assert batches.next() is not None
        assert batches.next() is None
        assert batches.next() is None


def held_at_most(image: Path, threads: int) -> int:
    """Return how many batches were read while nobody asked."""
    begun = threading.Semaphore(0)

    def none_is_the_last() -> bool:
        begun.release()
        return False

    pause = Pause(no_more_batches=none_is_the_last)
    with reader(plan(image, 900), 8, 16, pause) as batches, ReadAhead(batches, threads) as source:
        count = 0
        while begun.acquire(timeout=0.5):
            count += 1
        assert source.next() is not None
        assert begun.acquire(timeout=10), "there is room for another one"
    return count


def test_threads_do_not_read_ahead_further_than_there_is_room(image: Path) -> None:
    assert held_at_most(image, 3) == 5


@pytest.mark.timeout(20)
def test_reading_ahead_ends_when_nobody_asks_any_more(image: Path) -> None:
    before = threading.active_count()
    with reader(plan(image, 900), 8, 16) as batches, ReadAhead(batches, 4) as source:
        assert source.next() is not None
        assert threading.active_count() > before
    assert threading.active_count() == before


@pytest.mark.timeout(20)
@pytest.mark.parametrize("asking", [1, 3])
def test_an_error_of_one_who_reads_reaches_one_who_asks_and_ends_the_others(image: Path, asking: int) -> None:
    chips = plan(image, 900)
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    outcomes = list[str]()

    def ask(source: BatchSource) -> None:
        try:
            list(all_of(source))
            outcomes.append("end")
        except ImageError as err:
            outcomes.append(str(err))

    with reader(chips, 8, 16) as batches, ReadAhead(batches, 3) as source:
        threads = [threading.Thread(target=ask, args=(source,)) for _ in range(asking)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert any("'a.tif' cannot be read" in outcome for outcome in outcomes)
    assert len(outcomes) == asking


@pytest.mark.timeout(20)
@pytest.mark.parametrize("ahead", [0, 2])
def test_reading_that_is_stopped_gives_no_further_batch(image: Path, ahead: int) -> None:
    def stops(source: BatchSource, stop: Callable[[], None]) -> None:
        assert source.next() is not None
        stop()
        assert not list(all_of(source)), "what was read ahead is not wanted any more"

    with reader(plan(image, 900), 4, 16) as batches, gdal_settings():
        if ahead:
            with ReadAhead(batches, ahead) as source:
                stops(source, batches.stop)
        else:
            stops(batches, batches.stop)
            assert batches.next() is None
        assert batches.is_stopped()
        assert not batches.goes_on()
