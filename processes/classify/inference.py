"""Chips to labels: knows no job and no HTTP.

On a CPU each of several threads repeats this: it picks the next batch of rows in reading order, cuts their chips, and
runs the network on them with one core. The threads share the network and the decoded tiles, so each tile is decoded
once. No thread waits for another inside the network, so this is as fast as the network with all cores. A GPU runs the
network faster than one thread cuts chips: a few threads run it, and all others read ahead for them.

A step of a job may stop this: between two batches, between two chips of a batch, and within a large chip.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from processes.classify.batches import BatchReader, BatchSource, Pause, ReadAhead
from processes.classify.labels import ClassStatus, FunctionValues, Labels, unlabelled
from processes.imagery.chip_plan import ChipPlan
from processes.imagery.chips import Batch
from processes.imagery.large_chips import PartialChip
from processes.imagery.pillow_resampling import resample
from processes.imagery.resampling import resample_bilinear, resample_to_square
from processes.imagery.source import gdal_settings
from processes.model.arguments import ModelArguments
from processes.model.function_session import FunctionSession
from processes.model.runtime.runtime import Chips
from processes.model.runtime.runtimes import precision_warning
from processes.model.session import Session

GPU_THREADS = 2
"""Threads that run a network on a GPU: one prepares and takes results while the other one's chips are worked on."""


class Classified(msgspec.Struct, frozen=True):
    """What was done of the rows that were asked for."""

    labels: Labels
    """Of all rows of the plan."""
    done: NDArray[np.bool_]
    """Which of the rows that were asked for are done, `(k,)`."""
    parts: Mapping[int, PartialChip] = msgspec.field(default_factory=dict)
    """What was read of large chips that are not done, by their rows."""
    threads: int = 1
    """Number of threads that worked at the same time."""


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
    if isinstance(session, FunctionSession):
        labels = msgspec.structs.replace(
            labels, values=FunctionValues.empty(len(labels.status), len(session.key.fields))
        )
    else:
        warning = precision_warning(session.key.definition.precision, session.key.processor)
        labels.warnings.update(() if warning is None else (warning,))
    pause = pause or Pause()
    done = np.zeros(len(rows), bool)
    lock, causes = threading.Lock(), list[BaseException]()
    on_gpu = function is None and session.key.processor == "GPU" and threads > 1
    labelling = min(GPU_THREADS, threads) if on_gpu else threads

    def tick() -> None:
        with lock:
            progress(0)

    size = arguments.batch_size or session.batch_size
    batches = BatchReader(chips, rows, size, threads, pause, parts or {}, tick, has_masks=function is not None)

    def label_batches(source: BatchSource) -> None:
        try:
            with gdal_settings():
                while (placed := source.next()) is not None:
                    for part in placed.parts(batches.size):
                        if part.start > placed.start and not batches.goes_on():
                            break
                        if isinstance(session, FunctionSession):
                            _label_by_function(
                                part.batch, session, arguments, labels, batches.dtype, batches.is_stopped
                            )
                        else:
                            _label(part.batch, session, arguments, labels, batches.size)
                        with lock:
                            done[part.start : part.start + len(part.batch.rows)] = True
                            progress(len(part.batch.rows))
        except BaseException as err:
            causes.append(err)
            batches.stop()
            if function is not None:  # it must not go on for work that is over
                function.stop()
            raise

    with (
        batches,
        ReadAhead(batches, threads) if on_gpu else nullcontext(batches) as source,
        ThreadPoolExecutor(labelling, thread_name_prefix="classify") as pool,
    ):
        futures = [pool.submit(label_batches, source) for _ in range(labelling)]
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
            batches.stop()
    return Classified(labels, done, batches.parts, threads)


def _label(batch: Batch, session: Session, arguments: ModelArguments, labels: Labels, batch_size: int) -> None:
    labels.status[batch.rows[batch.touched & ~batch.valid]] = ClassStatus.NODATA
    rows = batch.rows if batch.valid.all() else batch.rows[batch.valid]
    if not len(rows):
        return
    chips = _as_taken(batch.chips if len(rows) == len(batch.rows) else batch.chips[batch.valid], session)
    scores = _scores(session, chips, arguments.test_time_augmentation, batch_size)
    limit = session.batch_limit(batch_size)
    if limit is not None:
        labels.batch_limits.add(limit)
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


def _scores(session: Session, chips: Chips, augment: bool, batch_size: int) -> NDArray[np.float32]:
    """Return probabilities; with `augment` they are averaged over turned and mirrored chips.

    These are the ones that Esri's tool uses: in map space the eight turns and mirrors (four where the chip is not
    square), else the chip and its mirror.
    """
    if not augment:
        return session.scores(chips, batch_size)
    variants: list[NDArray[Any]] = [chips, chips[..., ::-1]]
    if session.key.definition.map_space:
        variants += [variant[..., ::-1, :] for variant in variants]
        if chips.shape[2] == chips.shape[3]:
            variants += [variant.swapaxes(2, 3) for variant in variants]
    scores = [session.scores(np.ascontiguousarray(variant), batch_size) for variant in variants]
    return np.asarray(np.mean(scores, axis=0), np.float32)
