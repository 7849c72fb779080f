"""Chips to labels: knows no job and no HTTP.

Each of several threads repeats this: it picks the next batch of rows in reading order, cuts their chips, and runs the
network on them with one core. The threads share the network and the decoded tiles, so each tile is decoded once. No
thread waits for another inside the network, so this is as fast as the network with all cores.

A step of a job may stop this: between two batches, between two chips of a batch, and within a large chip.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processes.classify.labels import ClassStatus, FunctionValues, Labels, unlabelled
from processes.imagery.chip_plan import ChipPlan
from processes.imagery.chips import Batch, ChipReader, large_rows, resample
from processes.imagery.large_chips import PartialChip
from processes.imagery.mosaic import neighbours_of
from processes.imagery.resampling import resample_bilinear, resample_to_square
from processes.imagery.source import gdal_settings
from processes.imagery.tiles import TileReader
from processes.model.arguments import ModelArguments
from processes.model.function_session import FunctionSession
from processes.model.runtime.runtime import Chips
from processes.model.session import Session

_MAX_BATCH_CELLS = 2**25
"""A thread holds at most so many cells at once, whatever the batch size."""


def never() -> bool:
    """Return that nothing ends the work before its end."""
    return False


@dataclass(frozen=True, slots=True)
class Pause:
    """When work on rows is to stop, to go on in another step. Both are called often, by several threads."""

    no_more_batches: Callable[[], bool] = never
    """Returns whether no further batch is to be begun."""
    at_once: Callable[[], bool] = never
    """Returns whether batches and large chips are to be left as they are."""


@dataclass(frozen=True, slots=True)
class Classified:
    """What was done of the rows that were asked for."""

    labels: Labels
    """Of all rows of the plan."""
    done: NDArray[np.bool_]
    """Which of the rows that were asked for are done, `(k,)`."""
    parts: Mapping[int, PartialChip] = field(default_factory=dict)
    """What was read of large chips that are not done, by their rows."""


def classify(
    chips: ChipPlan,
    rows: NDArray[np.int64],
    session: Session | FunctionSession,
    arguments: ModelArguments,
    progress: Callable[[int], None],
    threads: int,
    pause: Pause | None = None,
    parts: Mapping[int, Sequence[PartialChip]] | None = None,
) -> Classified:
    """Classify rows of a plan.

    Args:
        chips: the chip of each row.
        rows: those to classify, in reading order, `(k,)`.
        session: the opened network, or the raster function that labels are of.
        arguments: of the model.
        progress: is called with the number of rows done since the last call, by one thread at a time. An error that it
            raises ends the work after the batch. With 0 it is called while a large chip is read.
        threads: number of threads that work at the same time.
        pause: when to stop before the end; None = never. Of a batch that is begun a chip is read in any case, of a
            large chip a part.
        parts: what was read of large chips before, by their rows; None = nothing.

    Raises:
        ImageError: an image cannot be read.
        PackageError: the network cannot be run, or the raster function fails.
        LimitError: the raster function takes too long, or needs too much memory.
    """
    function = session if isinstance(session, FunctionSession) else None
    labels = unlabelled(len(chips.placement.image), session.key.definition, arguments)
    if function is not None:
        labels = replace(labels, values=FunctionValues.empty(len(labels.status), len(function.key.fields)))
    pause, before = pause or Pause(), parts or {}
    done, read = np.zeros(len(rows), bool), dict[int, PartialChip]()
    is_large = large_rows(chips.images, chips.placement, chips.rule, rows)
    end_of = _batches(chips, rows, is_large, arguments.batch_size or session.batch_size)
    lock, stopped, causes = threading.Lock(), threading.Event(), list[BaseException]()
    started = 0

    def goes_on() -> bool:
        return not pause.at_once()

    def goes_on_with_part() -> bool:
        with lock:
            progress(0)
        return goes_on()

    with TileReader(chips.images, chips.selections) as tiles:
        neighbours = neighbours_of(chips.images, chips.mosaic)
        reader = ChipReader(
            tiles, chips.placement, chips.rule, chips.footprints, neighbours, has_masks=function is not None
        )

        def next_batch() -> tuple[int, int]:
            """Return where the next batch begins and ends; both are the same where there is none."""
            nonlocal started
            with lock:
                if stopped.is_set() or started >= len(rows) or pause.no_more_batches():
                    return started, started
                start, started = started, end_of(started)
                return start, started

        def read_large(row: int) -> Batch | None:
            """Read a large chip; None = it is not read to its end."""
            known = before.get(row, ())
            part = reader.read_part(row, known[-1].end if known else None, goes_on_with_part)
            if part.end is None:
                return reader.join(row, [*known, part])
            read[row] = part
            return None

        def run_batches() -> None:
            try:
                with gdal_settings():
                    while (places := next_batch())[0] < places[1]:
                        start, end = places
                        large = is_large[start]
                        batch = read_large(int(rows[start])) if large else reader.read(rows[start:end], goes_on)
                        if batch is None:
                            continue
                        if isinstance(session, FunctionSession):
                            _label_by_function(batch, session, arguments, labels, tiles.dtype, stopped.is_set)
                        else:
                            _label(batch, session, arguments, labels)
                        with lock:
                            done[start : start + len(batch.rows)] = True
                            progress(len(batch.rows))
            except BaseException as err:
                causes.append(err)
                stopped.set()
                if function is not None:  # it must not go on for work that is over
                    function.stop()
                raise

        with ThreadPoolExecutor(threads, thread_name_prefix="classify") as pool:
            futures = [pool.submit(run_batches) for _ in range(threads)]
            try:
                for future in futures:
                    future.result()
            except BaseException as err:
                if function is not None:
                    function.stop()
                if err in causes and err is not causes[0]:  # it is what the end of another thread has caused
                    raise causes[0] from err
                raise
            finally:  # an interrupt of this thread ends the others after their batch
                stopped.set()
    return Classified(labels, done, read)


def _batches(chips: ChipPlan, rows: NDArray[np.int64], is_large: NDArray[np.bool_], size: int) -> Callable[[int], int]:
    """Return the function that says where a batch ends that begins at a place in the rows.

    A batch has no more rows than the network takes at once, and no more cells than a thread may hold; a large chip is
    a batch of its own.
    """
    bands = len(chips.selections[0].bands)
    size = min(size, max(1, _MAX_BATCH_CELLS // (prod(chips.rule.size) * bands)))
    if chips.rule.is_native:
        return lambda start: min(start + size, len(rows))
    cells = chips.placement.windows[rows, 2:].astype(np.int64).prod(axis=1) * bands
    cells = np.where(is_large, _MAX_BATCH_CELLS + 1, np.minimum(cells, _MAX_BATCH_CELLS))
    sums = np.concatenate([[0], np.cumsum(cells)])

    def end_of(start: int) -> int:
        fitting = int(np.searchsorted(sums, sums[start] + _MAX_BATCH_CELLS, side="right")) - 1
        return max(start + 1, min(start + size, fitting))

    return end_of


def _label(batch: Batch, session: Session, arguments: ModelArguments, labels: Labels) -> None:
    labels.status[batch.rows[batch.touched & ~batch.valid]] = ClassStatus.NODATA
    rows = batch.rows if batch.valid.all() else batch.rows[batch.valid]
    if not len(rows):
        return
    chips = _as_taken(batch.chips if len(rows) == len(batch.rows) else batch.chips[batch.valid], session)
    scores = _scores(session, chips, arguments.test_time_augmentation)
    is_finite = np.isfinite(scores).all(axis=1)
    if not is_finite.all():
        labels.status[rows[~is_finite]] = ClassStatus.NOT_FINITE
        rows, scores = rows[is_finite], scores[is_finite]
    winner = scores.argmax(axis=1).astype(np.int32)
    confidence = scores[np.arange(len(rows)), winner]
    labels.winner[rows], labels.confidence[rows], labels.status[rows] = winner, confidence, ClassStatus.OK
    if not session.key.definition.multi_label:
        labels.status[rows[confidence < arguments.score_threshold]] = ClassStatus.BELOW_THRESHOLD
    if labels.scores is not None:
        labels.scores[rows] = scores


def _label_by_function(
    batch: Batch,
    session: FunctionSession,
    arguments: ModelArguments,
    labels: Labels,
    dtype: np.dtype[np.generic],
    is_over: Callable[[], bool],
) -> None:
    """Label a batch by a raster function, which gets cells of the images' type."""
    labels.status[batch.rows[batch.touched & ~batch.valid]] = ClassStatus.NODATA
    rows = batch.rows[batch.valid]
    if not len(rows) or labels.values is None:
        return
    chips = batch.chips[batch.valid]
    whole = np.rint(chips) if dtype.kind in "iu" and chips.dtype != dtype else chips
    masks = np.ones((len(rows), *chips.shape[2:]), bool) if batch.cells is None else batch.cells[batch.valid]
    found = session.classify(whole.astype(dtype, copy=False), masks, is_over)
    labels.values.put(rows, FunctionValues(found.labels, found.fields))
    labels.winner[rows], labels.confidence[rows], labels.status[rows] = found.winner, found.confidence, ClassStatus.OK
    if labels.scores is not None:
        labels.scores[rows] = found.scores
    else:
        labels.status[rows[found.confidence < arguments.score_threshold]] = ClassStatus.BELOW_THRESHOLD
    broken = rows[~found.is_finite | (found.labels == None)]  # noqa: E711 - of each of them
    labels.status[broken] = ClassStatus.NOT_FINITE
    labels.winner[broken], labels.confidence[broken] = -1, np.nan


def _as_taken(chips: Chips, session: Session) -> Chips:
    """Return chips as large as the network takes them, where the package says how they get there."""
    definition, size = session.key.definition, session.chip_size
    if definition.resampling is None or chips.shape[2:] == size:
        return chips
    if definition.is_keras_classifier and size[0] == size[1]:
        return resample_to_square(chips, size[0])
    if definition.resampling == "skimage":
        return resample_bilinear(chips, size)
    height, width = size
    return np.stack([resample(chip, (width, height)) for chip in chips])


def _scores(session: Session, chips: Chips, augment: bool) -> NDArray[np.float32]:
    """Return probabilities; with `augment` they are averaged over turned and mirrored chips.

    These are the ones that Esri's tool uses: in map space the eight turns and mirrors (four where the chip is not
    square), else the chip and its mirror.
    """
    if not augment:
        return session.scores(chips)
    variants: list[NDArray[Any]] = [chips, chips[..., ::-1]]
    if session.key.definition.map_space:
        variants += [variant[..., ::-1, :] for variant in variants]
        if chips.shape[2] == chips.shape[3]:
            variants += [variant.swapaxes(2, 3) for variant in variants]
    scores = [session.scores(np.ascontiguousarray(variant)) for variant in variants]
    return np.asarray(np.mean(scores, axis=0), np.float32)
