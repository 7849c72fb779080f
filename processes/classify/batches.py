"""The batches of chips that a network gets: which rows they are of, and who reads them.

On a CPU each thread reads a batch and runs the network on it: no thread waits for another. A GPU is faster than one
thread reads, so that several read ahead for the one that runs it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from math import prod
from queue import SimpleQueue
from types import TracebackType
from typing import Protocol, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from processes.imagery.chip_plan import ChipPlan
from processes.imagery.chips import Batch, ChipReader, large_rows
from processes.imagery.large_chips import PartialChip
from processes.imagery.mosaic import neighbours_of
from processes.imagery.source import gdal_settings
from processes.imagery.tiles import TileReader

_MAX_BATCH_CELLS = 2**25
"""A thread holds at most so many cells at once, whatever the batch size."""
_LOT_BYTES = 2**21
"""Chips of so many bytes are read together, for several calls of the network: each reading has costs of its own, and
the chips still lie in the processor's cache when the network gets them."""
_MAX_LOT_BYTES = 2**24
"""At most so many bytes, where more of a tile's chips are read together."""
_SHARES = 4
"""A thread takes at most this part of its share of what is left, so that all threads end at about the same time."""


def never() -> bool:
    """Return that nothing ends the work before its end."""
    return False


class Pause(msgspec.Struct, frozen=True):
    """When work on rows is to stop, to go on in another step. Both are called often, by several threads."""

    no_more_batches: Callable[[], bool] = never
    """Returns whether no further batch is to be begun."""
    at_once: Callable[[], bool] = never
    """Returns whether batches and large chips are to be left as they are."""


def pause_after(seconds: float) -> Pause:
    """Return a pause after so many seconds; one batch is begun in any case, so that each step gets on."""
    end_s, begun = time.monotonic() + seconds, count()
    return Pause(lambda: next(begun) > 0 and time.monotonic() > end_s, lambda: time.monotonic() > end_s)


class PlacedBatch(msgspec.Struct, frozen=True):
    """A batch, and which of the rows that were asked for it is of."""

    start: int
    """Place of its first row among them; the others follow."""
    batch: Batch

    def parts(self, size: int) -> Iterator[PlacedBatch]:
        """Yield it in parts of at most so many chips."""
        if len(self.batch.rows) <= size:
            yield self
            return
        for start in range(0, len(self.batch.rows), size):
            yield PlacedBatch(self.start + start, _part(self.batch, slice(start, start + size)))


def _part(batch: Batch, some: slice) -> Batch:
    cells = None if batch.cells is None else batch.cells[some]
    return Batch(batch.rows[some], batch.chips[some], batch.touched[some], batch.valid[some], cells)


class BatchSource(Protocol):
    """Gives batches in reading order. Several threads may ask."""

    def next(self) -> PlacedBatch | None:
        """Return the next batch; None = there is no further one.

        Raises:
            ImageError: an image cannot be read.
        """


class BatchReader:
    """Reads batches: each thread that asks reads the one that it gets. Its threads share the decoded tiles.

    Args:
        chips: the chip of each row.
        rows: those to read, in reading order, `(k,)`.
        size: chips that the network takes at once.
        threads: number of threads that will ask.
        pause: when to stop before the end. Of a batch that is begun a chip is read in any case, of a large chip a part.
        before: what was read of large chips before, by their rows.
        tick: is called while a large chip is read. An error that it raises ends the reading.
        has_masks: True = resampled chips too say which of their cells are valid.
    """

    def __init__(
        self,
        chips: ChipPlan,
        rows: NDArray[np.int64],
        size: int,
        threads: int,
        pause: Pause,
        before: Mapping[int, Sequence[PartialChip]],
        tick: Callable[[], None],
        has_masks: bool,
    ) -> None:
        self._rows = rows
        self._pause = pause
        self._before = before
        self._tick = tick
        self._tiles = TileReader(chips.images, chips.selections, chips.rule.shape_of_all)
        self.dtype = self._tiles.dtype
        """Of the images' cells."""
        neighbours = neighbours_of(chips.images, chips.mosaic)
        self._tiles.expect(chips.placement.image[rows], chips.placement.windows[rows])
        self._reader = ChipReader(self._tiles, chips.placement, chips.rule, chips.footprints, neighbours, has_masks)
        self._is_large = large_rows(chips.images, chips.placement, chips.rule, rows)
        bands = len(chips.selections[0].bands)
        self.size = min(size, max(1, _MAX_BATCH_CELLS // (prod(chips.rule.size) * bands)))
        """Chips that the network gets at once: no more than it takes, and no more cells than a thread may hold."""
        self._end_of = self._lots(chips, threads) if chips.rule.is_native else self._batches(chips)
        self._started = 0
        self._is_last = False
        """True = no further batch is to be begun, whatever the pause says from now on: threads have ended by that."""
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self.parts: dict[int, PartialChip] = {}
        """What was read of large chips that were left before their end, by their rows."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tiles.__exit__(kind, error, trace)

    def stop(self) -> None:
        """Give no further batch."""
        self._stopped.set()

    def is_stopped(self) -> bool:
        """Return whether the work is over."""
        return self._stopped.is_set()

    def goes_on(self) -> bool:
        """Return whether more of a batch than its first part is to be labelled."""
        return self._reads_on() and not self._ends()

    def next(self) -> PlacedBatch | None:
        while (places := self._next_places())[0] < places[1]:
            start, end = places
            batch = self._read_large(int(self._rows[start])) if self._is_large[start] else self._read(start, end)
            if batch is not None:
                return PlacedBatch(start, batch)
        return None

    def _next_places(self) -> tuple[int, int]:
        """Return where the next batch begins and ends; both are the same where there is none."""
        with self._lock:
            start = self._started
            if start < len(self._rows) and not self._stopped.is_set() and not self._ends():
                self._started = self._end_of(start)
            return start, self._started

    def _read(self, start: int, end: int) -> Batch:
        return self._reader.read(self._rows[start:end], self._reads_on)

    def _read_large(self, row: int) -> Batch | None:
        """Read a large chip; None = it is not read to its end."""
        known = self._before.get(row, ())
        part = self._reader.read_part(row, known[-1].end if known else None, self._goes_on_with_part)
        if part.end is None:
            return self._reader.join(row, [*known, part])
        self.parts[row] = part
        return None

    def _goes_on_with_part(self) -> bool:
        self._tick()
        return self._reads_on()

    def _ends(self) -> bool:
        self._is_last = self._is_last or self._pause.no_more_batches()
        return self._is_last

    def _reads_on(self) -> bool:
        return not (self._stopped.is_set() or self._pause.at_once())

    def _lots(self, chips: ChipPlan, threads: int) -> Callable[[int], int]:
        """Return the function that says where a batch of chips that are not resampled ends, for where it begins.

        It ends with a tile where it can: two threads that begin in one tile wait for each other while it is decoded.
        """
        chip_bytes = prod(chips.rule.size) * self._tiles.bands * self.dtype.itemsize
        image = chips.placement.image[self._rows]
        tiles = np.stack([image, *self._tiles.first_tiles(image, chips.placement.windows[self._rows])])
        tile_ends = np.flatnonzero(np.append((np.diff(tiles) != 0).any(axis=0), True)) + 1

        def end_of(start: int) -> int:
            left = len(self._rows) - start
            share = left // (_SHARES * threads) // self.size
            least = max(1, min(_LOT_BYTES // chip_bytes // self.size, share))
            tile_end = int(tile_ends[np.searchsorted(tile_ends, min(start + least * self.size, len(self._rows)))])
            calls = -(-(tile_end - start) // self.size)
            fitting = min(_MAX_LOT_BYTES // chip_bytes // self.size, share)
            return start + min(left, (calls if calls <= fitting else least) * self.size)

        return end_of

    def _batches(self, chips: ChipPlan) -> Callable[[int], int]:
        """Return the function that says where a batch of resampled chips ends; a large chip is a batch of its own."""
        bands = self._tiles.bands
        cells = chips.placement.windows[self._rows, 2:].astype(np.int64).prod(axis=1) * bands
        cells = np.where(self._is_large, _MAX_BATCH_CELLS + 1, np.minimum(cells, _MAX_BATCH_CELLS))
        sums = np.concatenate([[0], np.cumsum(cells)])

        def end_of(start: int) -> int:
            fitting = int(np.searchsorted(sums, sums[start] + _MAX_BATCH_CELLS, side="right")) - 1
            return max(start + 1, min(start + self.size, fitting))

        return end_of


class ReadAhead:
    """Lets threads of its own read batches, so that those who ask need not.

    Args:
        batches: what is read. So many batches as there are threads, and two more, are held at once.
        threads: number of threads that read.
    """

    def __init__(self, batches: BatchReader, threads: int) -> None:
        self._batches = batches
        self._room = threading.Semaphore(threads + 2)
        self._ready: SimpleQueue[PlacedBatch | BaseException | None] = SimpleQueue()
        """Ends with a None, or an error, from each thread."""
        self._at_work = threads
        self._asking = threading.Lock()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="read")
        for _ in range(threads):
            self._pool.submit(self._read)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._batches.stop()
        self._room.release(self._at_work + 1)
        self._pool.shutdown()

    def next(self) -> PlacedBatch | None:
        with self._asking:
            while self._at_work:
                found = self._ready.get()
                if isinstance(found, PlacedBatch):
                    self._room.release()
                    if not self._batches.is_stopped():
                        return found
                    continue
                self._at_work -= 1
                if found is not None:
                    raise found
        return None

    def _read(self) -> None:
        try:
            with gdal_settings():
                while self._room.acquire() and (batch := self._batches.next()) is not None:
                    self._ready.put(batch)
            self._ready.put(None)
        except BaseException as err:  # noqa: BLE001 - whoever asks next gets it
            self._batches.stop()
            self._ready.put(err)
