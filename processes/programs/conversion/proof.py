"""The proof of a conversion: the same chips through the framework and through the service's own session."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from processes.errors import PackageError
from processes.model.definition import Activation, ModelDefinition
from processes.model.runtime.runtime import Chips
from processes.model.scores import probabilities
from processes.model.session import Session

LIMIT = 1e-3
"""Most that a probability may differ."""
_TIE = 1e-5
"""Two probabilities that differ by less may be in either order, by rounding alone."""
_LABEL_OF_SEVERAL = 0.5
"""Probability from which on a class of a multi-label model is a label."""


class Comparison(msgspec.Struct, frozen=True):
    """The labels and probabilities of some chips, from both sides."""

    chips: str
    """What the chips are, in words."""
    count: int
    """Number of chips."""
    equal: int
    """How many have the same label on both sides."""
    difference: float
    """Most that a probability differs."""
    labels: dict[str, int]
    """How many chips have which label."""

    def __str__(self) -> str:
        """Return the figures as a sentence."""
        labels = ", ".join(f"{name} {count}" for name, count in self.labels.items())
        return (
            f"{self.count} {self.chips}: {self.equal} of {self.count} labels equal ({labels}), "
            f"probabilities differ by at most {self.difference:.1e}"
        )

    def record(self) -> dict[str, Any]:
        """Return the figures for the .emd."""
        return msgspec.structs.asdict(self)


def write_inputs(chips: Chips, session: Session, path: Path) -> None:
    """Write chips as the network itself takes them: normalised, `(n, bands, height, width)`, float32.

    Args:
        chips: as a session takes them.
        session: of the converted network.
        path: the file.
    """
    values = np.asarray(chips, np.float64)
    if session.normalization is not None:
        scale, offset = (
            np.reshape(item, (-1, 1, 1)) for item in (session.normalization.scale, session.normalization.offset)
        )
        values = values * scale + offset
    np.save(path, values.astype(np.float32))


def compare(
    words: str,
    outputs: NDArray[np.float32],
    scores: NDArray[np.float32],
    definition: ModelDefinition,
    activation: Activation,
) -> Comparison:
    """Compare what the framework gives with the probabilities of a session.

    Args:
        words: what the chips are.
        outputs: of the framework, before the activation, `(n, outputs)`.
        scores: of the session for the same chips, `(n, classes)`.
        definition: of the model.
        activation: what turns outputs into probabilities.

    Raises:
        PackageError: they give other labels, or other probabilities, or what is no finite number.
    """
    names = [item.name for item in definition.classes]
    theirs = probabilities(outputs, activation, len(names))
    if not (np.isfinite(theirs).all() and np.isfinite(scores).all()):
        raise PackageError(f"the network gives what is no finite number for {words}: nothing was written")
    difference = float(np.abs(theirs - scores).max(initial=0))
    is_equal = _equal(theirs, scores, definition.multi_label)
    found = Comparison(words, len(scores), int(is_equal.sum()), difference, _counts(theirs, names, definition))
    if found.equal < found.count or difference > LIMIT:
        raise PackageError(
            f"the converted network is another one than that of the framework; {found} (limit {LIMIT:g}): "
            "nothing was written"
        )
    return found


def _equal(theirs: NDArray[np.float32], ours: NDArray[np.float32], multi_label: bool) -> NDArray[np.bool_]:
    """Return which chips have the same label on both sides, ties counted as the same, `(n,)`."""
    if multi_label:
        same = (theirs >= _LABEL_OF_SEVERAL) == (ours >= _LABEL_OF_SEVERAL)
        return np.asarray((same | (np.abs(theirs - _LABEL_OF_SEVERAL) < _TIE)).all(axis=1))
    ordered = np.sort(theirs, axis=1)
    is_tie = ordered[:, -1] - ordered[:, -2] < _TIE
    return np.asarray((theirs.argmax(axis=1) == ours.argmax(axis=1)) | is_tie)


def _counts(scores: NDArray[np.float32], names: list[str], definition: ModelDefinition) -> dict[str, int]:
    if definition.multi_label:
        sums = (scores >= _LABEL_OF_SEVERAL).sum(axis=0).tolist()
        return dict(zip(names, sums, strict=True))
    counted = Counter(scores.argmax(axis=1).tolist())
    return {name: counted[place] for place, name in enumerate(names) if counted[place]}
