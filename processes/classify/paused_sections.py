"""Files of sections that are done in part: what each step but the last one did of a section.

    paused-SECTION-STEP.msgpack     labels of the rows that it classified, and what it read of large chips

Rows count within their section.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from processes.classify.inference import Classified
from processes.classify.label_files import copy_labels, labels_of, objects_of
from processes.classify.labels import FunctionValues, Labels
from processes.imagery.large_chips import PartialChip, Position
from processes.ogc.process import JobFiles


class _Part(msgspec.Struct, frozen=True):
    """A `PartialChip`."""

    row: int
    start: Position | None
    end: Position | None
    first_row: int
    shape: tuple[int, int, int]
    sums: bytes
    touched: bool
    valid: bool
    share: float


class _Step(msgspec.Struct, frozen=True):
    """What a step did of a section."""

    rows: bytes
    winner: bytes
    confidence: bytes
    status: bytes
    scores: bytes | None
    parts: list[_Part]
    values: list[list[str | int | float | None]] | None = None
    """Label and own fields that a raster function gave of each row; None = labels are the network's."""
    batch_limits: tuple[int, ...] = ()
    """As `Labels` has them."""
    warnings: tuple[str, ...] = ()
    """As `Labels` has them."""


class SectionProgress:
    """What earlier steps did of a section.

    Args:
        files: of the job.
        section: number of the section.
        labels: of its rows, not yet filled, `(n,)`.
    """

    def __init__(self, files: JobFiles, section: int, labels: Labels) -> None:
        self.labels = labels
        self.done = np.zeros(len(labels.status), bool)
        """Which rows are classified, `(n,)`."""
        self.parts: dict[int, list[PartialChip]] = {}
        """What was read of large chips, by their rows."""
        self.steps = 0
        """Number of the steps."""
        self._files = files
        self._section = section

    def load(self) -> None:
        """Read what the steps have kept."""
        while self._files.has(_name(self._section, self.steps)):
            path = self._files.fetch(_name(self._section, self.steps))
            step = msgspec.msgpack.decode(path.read_bytes(), type=_Step)
            self.steps += 1
            rows = np.frombuffer(step.rows, np.int64)
            self._add(rows, _labels(step, len(rows)))
            for part in step.parts:
                read = self.parts.setdefault(part.row, [])
                if part.start == (read[-1].end if read else None):  # two processes may have done the same step
                    read.append(_partial_chip(part))

    def add(self, rows: NDArray[np.int64], found: Classified) -> None:
        """Add what one more step did of the rows that it was asked for."""
        done = rows[found.done]
        self._add(done, labels_of(found.labels, done))
        for row, part in found.parts.items():
            self.parts.setdefault(row, []).append(part)

    def share(self) -> float:
        """Return how much of the section is done, 0..1; 1 = all of it."""
        if self.done.all():
            return 1.0
        read = sum(parts[-1].share for row, parts in self.parts.items() if parts and not self.done[row])
        return float(min(0.999, (self.done.sum() + read) / len(self.done)))

    def _add(self, rows: NDArray[np.int64], labels: Labels) -> None:
        copy_labels(self.labels, rows, labels)
        self.done[rows] = True


def keep_step(
    files: JobFiles,
    section: int,
    step: int,
    rows: NDArray[np.int64],
    labels: Labels,
    parts: Mapping[int, PartialChip],
) -> None:
    """Keep what a step did of a section.

    Args:
        files: of the job.
        section: number of the section.
        step: number of the step, from 0.
        rows: that it classified, `(k,)`.
        labels: of them, `(k,)`.
        parts: what it read of large chips, by their rows.
    """
    content = _Step(
        rows.astype(np.int64).tobytes(),
        labels.winner.tobytes(),
        labels.confidence.tobytes(),
        labels.status.tobytes(),
        None if labels.scores is None else labels.scores.tobytes(),
        [_saved_part(row, part) for row, part in parts.items()],
        None if labels.values is None else [column.tolist() for column in labels.values.columns],
        tuple(sorted(labels.batch_limits)),
        tuple(sorted(labels.warnings)),
    )
    path = files.scratch / _name(section, step)
    path.write_bytes(msgspec.msgpack.encode(content))
    files.keep(path.name, path)


def _name(section: int, step: int) -> str:
    return f"paused-{section:06}-{step:04}.msgpack"


def _labels(step: _Step, count: int) -> Labels:
    scores = np.frombuffer(step.scores, np.float32).reshape(count, -1) if step.scores and count else None
    winner, confidence = np.frombuffer(step.winner, np.int32), np.frombuffer(step.confidence, np.float32)
    values = None
    if step.values is not None:
        columns = [objects_of(column) for column in step.values]
        values = FunctionValues(columns[0], tuple(columns[1:]))
    status, notes = np.frombuffer(step.status, np.uint8), (set(step.batch_limits), set(step.warnings))
    return Labels(winner, confidence, status, scores, values, *notes)


def _saved_part(row: int, part: PartialChip) -> _Part:
    bands, height, width = part.sums.shape
    about = (part.start, part.end, part.first_row, (bands, height, width), part.sums.tobytes())
    return _Part(row, *about, part.touched, part.valid, part.share)


def _partial_chip(part: _Part) -> PartialChip:
    sums = np.frombuffer(part.sums, np.float64).reshape(part.shape)
    return PartialChip(part.start, part.end, part.first_row, sums, part.touched, part.valid, part.share)
