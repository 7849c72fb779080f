"""Chips to labels: knows no job and no HTTP.

Each of several threads takes the next batch of rows in reading order, cuts their chips, and runs the network on them
with one core. They share the network and the decoded tiles, so each tile is decoded once; and as no thread waits for
another inside the network, this is as fast as the network with all cores for itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processes.errors import PackageError
from processes.imagery.chips import Batch, ChipReader, Footprints, Placement
from processes.imagery.grid import ChipRule
from processes.imagery.image import Image, gdal_settings
from processes.imagery.mosaic import Mosaic
from processes.imagery.tiles import BandSelection, TileReader
from processes.model.arguments import ModelArguments
from processes.model.definition import ModelDefinition
from processes.model.session import NonFiniteScoresError, Session

_MAX_BATCH_CELLS = 2**25
"""More cells than that are not held at once by a thread, whatever batch size is asked for."""


class ClassStatus(IntEnum):
    """Why a row has a label, or none."""

    OK = 0
    OUTSIDE_IMAGE = 1
    NODATA = 2
    EMPTY_GEOMETRY = 3
    BELOW_THRESHOLD = 4

    @property
    def label(self) -> str:
        """As clients read it."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class ChipPlan:
    """What is to be classified: rows, and where their chips lie."""

    images: Sequence[Image]
    selections: Sequence[BandSelection]
    """What is taken of each image; equally many bands of all."""
    rule: ChipRule
    placement: Placement
    mosaic: Mosaic | None
    """Where a chip's missing cells are looked for; None = nowhere."""
    footprints: Footprints | None
    """Polygons to blacken around; None = nothing is blackened."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What was found for each row."""

    winner: NDArray[np.int32]
    """Place of the most probable class, -1 = not classified, `(n,)`."""
    confidence: NDArray[np.float32]
    """Its probability, 0..1, NaN = not classified, `(n,)`."""
    status: NDArray[np.uint8]
    """A `ClassStatus`, `(n,)`."""
    scores: NDArray[np.float32] | None
    """Probabilities of all classes, `(n, classes)`; None = nobody wants them."""


def reading_order(work: ChipPlan) -> NDArray[np.int64]:
    """Return the rows that have an image, in the order in which each tile has to be decoded once."""
    with TileReader(work.images, work.selections) as tiles:
        return tiles.reading_order(work.placement.image, work.placement.windows)


def unlabelled(count: int, definition: ModelDefinition, arguments: ModelArguments) -> Labels:
    """Return what is known before anything is classified: a row that gets no chip touches no image."""
    wants_scores = arguments.class_scores or definition.multi_label
    return Labels(
        winner=np.full(count, -1, np.int32),
        confidence=np.full(count, np.nan, np.float32),
        status=np.full(count, ClassStatus.OUTSIDE_IMAGE, np.uint8),
        scores=np.full((count, len(definition.classes)), np.nan, np.float32) if wants_scores else None,
    )


def classify(
    work: ChipPlan,
    rows: NDArray[np.int64],
    session: Session,
    arguments: ModelArguments,
    name_row: Callable[[int], str],
    progress: Callable[[int], None],
    threads: int,
    enough: Callable[[], bool] = lambda: False,
) -> tuple[Labels, int]:
    """Classify rows of a work.

    Args:
        work: where the chips lie.
        rows: those to classify, in reading order, `(k,)`.
        session: the opened network.
        arguments: of the model.
        name_row: says what a row is called, for messages.
        progress: is called with the number of rows done since the last call, by one thread at a time. What it raises
            ends the work after the batch.
        threads: how many work at the same time.
        enough: is asked before each batch; True = no further one is begun.

    Returns:
        What was found for all rows of the work, and how many of `rows`, counted from the first, were classified.

    Raises:
        ImageError: an image cannot be read.
        PackageError: the network cannot be run, or gave something that is not a number.
    """
    labels = unlabelled(len(work.placement.image), session.key.definition, arguments)
    chip_cells = work.rule.width * work.rule.height * len(work.selections[0].bands)
    size = min(arguments.batch_size or session.batch_size, max(1, _MAX_BATCH_CELLS // chip_cells))
    taking, stopped = threading.Lock(), threading.Event()
    taken = 0

    with TileReader(work.images, work.selections) as tiles:
        neighbours = work.mosaic.neighbours if work.mosaic is not None and len(work.images) > 1 else None
        reader = ChipReader(tiles, work.placement, work.rule, work.footprints, neighbours)

        def next_rows() -> NDArray[np.int64]:
            nonlocal taken
            with taking:
                if stopped.is_set() or taken >= len(rows) or enough():
                    return rows[:0]
                batch = rows[taken : taken + size]
                taken += len(batch)
                return batch

        def take_turns() -> None:
            try:
                with gdal_settings():
                    while len(batch_rows := next_rows()):
                        batch = reader.read(batch_rows)
                        _label(batch, session, arguments, labels, name_row)
                        with taking:
                            progress(len(batch_rows))
            except BaseException:
                stopped.set()
                raise

        with ThreadPoolExecutor(threads, thread_name_prefix="classify") as pool:
            turns = [pool.submit(take_turns) for _ in range(threads)]
            try:
                for turn in turns:
                    turn.result()
            finally:  # an interrupt of this thread ends the others after their batch
                stopped.set()
    return labels, taken


def _label(
    batch: Batch, session: Session, arguments: ModelArguments, labels: Labels, name_row: Callable[[int], str]
) -> None:
    labels.status[batch.rows[batch.touched & ~batch.valid]] = ClassStatus.NODATA
    rows = batch.rows if batch.valid.all() else batch.rows[batch.valid]
    if not len(rows):
        return
    chips = batch.chips if len(rows) == len(batch.rows) else batch.chips[batch.valid]
    try:
        scores = _scores(session, chips, arguments.test_time_augmentation)
    except NonFiniteScoresError as err:
        raise PackageError(f"{err.detail} for {name_row(int(rows[err.chips[0]]))}") from err
    winner = scores.argmax(axis=1).astype(np.int32)
    confidence = scores[np.arange(len(rows)), winner]
    labels.winner[rows], labels.confidence[rows], labels.status[rows] = winner, confidence, ClassStatus.OK
    if not session.key.definition.multi_label:
        labels.status[rows[confidence < arguments.score_threshold]] = ClassStatus.BELOW_THRESHOLD
    if labels.scores is not None:
        labels.scores[rows] = scores


def _scores(session: Session, chips: NDArray[np.uint8] | NDArray[np.float32], augment: bool) -> NDArray[np.float32]:
    """Return probabilities, averaged over the chip's turns and mirrors where that is wanted.

    The set follows Esri's: in map space the eight turns and mirrors (four where the chip is not square), else the
    chip and its mirror.
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
