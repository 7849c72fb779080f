"""The figures of a variant: its labels and its speed beside those of the package that it was made of."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from processes.errors import InputError, PackageError
from processes.model.definition import ModelDefinition
from processes.model.runtime.runtime import Chips
from processes.model.session import Session

_LABEL_OF_SEVERAL = 0.5
"""Probability from which on a class of a multi-label model is a label."""
_ROUNDS = 5
_ROUND_S = 0.5
"""Seconds of a round of either of the two, at least."""
_SHOWN_VALUES, _SHOWN_CHARACTERS = 5, 40


class LabelFigures(msgspec.Struct, frozen=True):
    """The labels of a variant beside those in fp32."""

    objects: int
    """Number of objects that were compared."""
    changed: int
    """How many of them have another label."""
    largest_change: float
    """Most that a probability differs, 0..1."""

    @property
    def share(self) -> float:
        """Return the share of labels that changed, 0..1."""
        return self.changed / self.objects

    def __str__(self) -> str:
        """Return the figures as a sentence."""
        return (
            f"{self.objects} objects: {self.changed} labels changed ({self.share:.2%}), "
            f"probabilities by {self.largest_change:.3f} at most"
        )


class Speeds(msgspec.Struct, frozen=True):
    """Chips per second in fp32 and in the precision of the variant, in rounds that alternate."""

    fp32: tuple[float, ...]
    variant: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Return how many times as fast the variant is, the median of the rounds."""
        return statistics.median(new / old for new, old in zip(self.variant, self.fp32, strict=True))

    def __str__(self) -> str:
        """Return the figures as a sentence."""
        new, old = statistics.median(self.variant), statistics.median(self.fp32)
        return f"{new:,.0f} chips/s, in fp32 {old:,.0f}: {self.ratio:.2f} times as fast"


class Truth(msgspec.Struct, frozen=True):
    """What objects really are."""

    field: str
    """The field of the layer that says so."""
    places: NDArray[np.int64]
    """The place of each object's class in the model's list, -1 = it is none of them, `(n,)`."""

    @property
    def known(self) -> int:
        """Return of how many objects the class is known."""
        return int((self.places >= 0).sum())

    def accuracy(self, scores: NDArray[np.float32]) -> float:
        """Return the share of right labels, 0..1, of the objects whose class is known; scores are `(n, classes)`."""
        known = self.places >= 0
        return float((scores[known].argmax(axis=1) == self.places[known]).mean())


def compare_labels(
    before: NDArray[np.float32], after: NDArray[np.float32], definition: ModelDefinition
) -> LabelFigures:
    """Compare the probabilities of two networks for the same objects.

    Args:
        before: in fp32, `(n, classes)`.
        after: of the variant, `(n, classes)`.
        definition: of the model.

    Raises:
        PackageError: the variant gives what is no finite number where fp32 does not.
    """
    is_finite = np.isfinite(before).all(axis=1)
    before, after = before[is_finite], after[is_finite]
    broken = int((~np.isfinite(after).all(axis=1)).sum())
    if broken or not len(before):
        raise PackageError(f"the variant gives what is no finite number for {broken} of {len(before)} objects")
    if definition.multi_label:
        is_other = ((before >= _LABEL_OF_SEVERAL) != (after >= _LABEL_OF_SEVERAL)).any(axis=1)
    else:
        is_other = before.argmax(axis=1) != after.argmax(axis=1)
    return LabelFigures(len(before), int(is_other.sum()), float(np.abs(before - after).max(initial=0)))


def scores_of(session: Session, chips: Chips) -> NDArray[np.float32]:
    """Return the probabilities of chips, `(n, classes)`, in batches as the service has them."""
    size = session.batch_size
    return np.concatenate([session.scores(chips[start : start + size]) for start in range(0, len(chips), size)])


def measure_speeds(before: Session, after: Session, chips: Chips, threads: int) -> Speeds:
    """Measure two networks on the same chips, as many threads at a time as the service has.

    Args:
        before: in fp32.
        after: the variant.
        chips: as sessions take them.
        threads: that call a session at the same time.
    """
    found: dict[Session, list[float]] = {before: [], after: []}
    with ThreadPoolExecutor(threads) as pool:
        for session in found:
            session.scores(chips[: session.batch_size])  # opens it
        for _ in range(_ROUNDS):
            for session, speeds in found.items():
                parts = [pool.submit(_chips_per_s, session, chips) for _ in range(threads)]
                speeds.append(sum(part.result() for part in parts))
    return Speeds(tuple(found[before]), tuple(found[after]))


def _chips_per_s(session: Session, chips: Chips) -> float:
    size, start, done = session.batch_size, 0, 0
    start_s = time.perf_counter()
    while (seconds := time.perf_counter() - start_s) < _ROUND_S or not done:
        part = chips[start : start + size]
        session.scores(part)
        done += len(part)
        start = 0 if start + size >= len(chips) else start + size
    return done / seconds


def read_truth(
    field: str, columns: Mapping[str, pa.ChunkedArray], rows: NDArray[np.int64], definition: ModelDefinition
) -> Truth:
    """Read what objects really are: the name of a class, or its value.

    Args:
        field: of the layer.
        columns: the fields of the layer, by their names.
        rows: of the objects that are compared, in the layer.
        definition: of the model.

    Raises:
        InputError: there is no such field, or it names no class of the model.
    """
    if field not in columns:
        raise InputError(f"the features have no field {field!r}; they have {_listed(columns)}")
    places = {str(item.value): place for place, item in enumerate(definition.classes)}
    places |= {item.name.strip(): place for place, item in enumerate(definition.classes)}
    texts = [str(value).strip() for value in columns[field].take(pa.array(rows)).to_pylist()]
    found = np.array([places.get(text, -1) for text in texts], np.int64)
    if not (found >= 0).any():
        classes = _listed([item.name for item in definition.classes])
        values = _listed(dict.fromkeys(texts))
        raise InputError(f"the field {field!r} names no class of the model ({classes}), but {values}")
    return Truth(field, found)


def _listed(values: Any) -> str:
    names: Sequence[str] = list(values)
    more = len(names) - _SHOWN_VALUES
    shown = ", ".join(repr(name[:_SHOWN_CHARACTERS]) for name in names[:_SHOWN_VALUES])
    return f"{shown} and {more} more" if more > 0 else shown or "none"
