"""The outputs of a network as probabilities: shape checked, activation found and applied."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from processes.errors import PackageError
from processes.model.definition import Activation

_ROUNDING = 1e-5
"""A value so close outside 0..1 is still a probability: 1.0000001 is rounding."""
_SUM_TOLERANCE = 1e-3
"""Probabilities of a chip add up to 1 within this."""


def rows_of(output: object, chips: int, classes: int) -> NDArray[np.float32]:
    """Return a network's output as `(chips, outputs)`, one output per class, or one alone for two classes.

    Axes of length one are ignored, and the output of a single chip may lack the batch axis.

    Args:
        output: of the runtime, not yet checked.
        chips: number of chips that the network ran on.
        classes: number of classes of the model.

    Raises:
        PackageError: the number of rows is not that of the chips, or the number of columns not that of the classes.
    """
    array = np.asarray(output)
    if array.dtype.kind != "f" or (chips > 1 and (array.ndim == 0 or array.shape[0] != chips)):
        raise PackageError(f"the network gives {array.dtype} of shape {array.shape} for {chips} chips")
    width = array.size // chips
    if width != classes and not (width == 1 and classes == 2):
        raise PackageError(f"the network has {width} outputs for {classes} classes")
    with np.errstate(over="ignore"):  # becomes infinite, which is reported with the object's name
        return array.reshape(chips, width).astype(np.float32)


def probabilities(outputs: NDArray[np.float32], activation: Activation, classes: int) -> NDArray[np.float32]:
    """Apply the activation; a single output for two classes becomes the pair of probabilities.

    Args:
        outputs: `(n, outputs)`, as the network returns them.
        activation: that of the model.
        classes: number of classes of the model.

    Returns:
        `(n, classes)`, 0..1. A row is NaN where an output is no finite number.
    """
    is_finite = np.isfinite(outputs).all(axis=1)
    if not is_finite.all():
        outputs = np.where(is_finite[:, np.newaxis], outputs, np.float32(np.nan))
    if outputs.shape[1] == 1 and classes == 2:
        second = _clip_rounding(outputs) if activation == "none" else _sigmoid(outputs)
        return np.concatenate([1 - second, second], axis=1)
    match activation:
        case "none":
            return _clip_rounding(outputs)
        case "sigmoid":
            return _sigmoid(outputs)
        case "softmax":
            with np.errstate(over="ignore"):
                raised = np.exp(outputs - outputs.max(axis=1, keepdims=True))
            return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)


def find_activation(outputs: NDArray[np.float32], multi_label: bool, source: str | None = None) -> Activation:
    """Return the activation that turns outputs into probabilities.

    Args:
        outputs: for random chips, `(n, outputs)`.
        multi_label: whether a chip can have several labels.
        source: the operator that makes them; None = not known.
    """
    inside = are_probabilities(outputs)
    if outputs.shape[1] == 1 or multi_label:
        return "none" if inside else "sigmoid"
    # quantised probabilities are rounded to 1/256 each
    tolerance = max(_SUM_TOLERANCE, outputs.shape[1] / 256) if source == "Softmax" else _SUM_TOLERANCE
    adds_up = bool(np.allclose(outputs.sum(axis=1), 1, atol=tolerance))
    return "none" if inside and adds_up else "softmax"


def are_probabilities(outputs: NDArray[np.float32]) -> bool:
    """Return whether all values lie within 0..1, but for rounding."""
    clipped = _clip_rounding(outputs)
    return bool(((clipped >= 0) & (clipped <= 1)).all())


def _clip_rounding(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Clip to 0..1 the values that lie outside by rounding alone."""
    inside = np.clip(outputs, 0, 1)
    return np.where(np.abs(inside - outputs) <= _ROUNDING, inside, outputs)


def _sigmoid(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * outputs)), np.float32)
