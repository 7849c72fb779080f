"""What comes out of a network, made into probabilities: its shape checked, its activation found and applied."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from processes.errors import PackageError
from processes.model.definition import Activation

_ROUNDING = 1e-5  # of probabilities that a network works out: 1.0000001 is one
_SUM_TOLERANCE = 1e-3


def rows_of(output: object, chips: int, classes: int) -> NDArray[np.float32]:
    """Return a network's output as `(chips, outputs)`, one output per class, or one alone for two classes.

    Axes of length one do not matter, and of a single chip the batch axis may be missing.

    Raises:
        PackageError: it has other rows than chips, or other columns than classes.
    """
    array = np.asarray(output)
    if array.dtype.kind != "f" or (chips > 1 and (array.ndim == 0 or array.shape[0] != chips)):
        raise PackageError(f"the network gives {array.dtype} of shape {array.shape} for {chips} chips")
    width = array.size // chips
    if width != classes and not (width == 1 and classes == 2):
        raise PackageError(f"the network has {width} outputs for {classes} classes")
    with np.errstate(over="ignore"):  # becomes infinite, which is told with the object's name
        return array.reshape(chips, width).astype(np.float32)


def probabilities(outputs: NDArray[np.float32], activation: Activation, classes: int) -> NDArray[np.float32]:
    """Apply the activation; a single output for two classes becomes the pair of probabilities."""
    if outputs.shape[1] == 1 and classes == 2:
        second = _tidy(outputs) if activation == "none" else _sigmoid(outputs)
        return np.concatenate([1 - second, second], axis=1)
    match activation:
        case "none":
            return _tidy(outputs)
        case "sigmoid":
            return _sigmoid(outputs)
        case "softmax":
            with np.errstate(over="ignore"):
                raised = np.exp(outputs - outputs.max(axis=1, keepdims=True))
            return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)


def find_activation(outputs: NDArray[np.float32], multi_label: bool) -> Activation:
    """Say from a trial run's outputs `(n, outputs)` what turns them into probabilities."""
    tidy = _tidy(outputs)
    inside = bool(((tidy >= 0) & (tidy <= 1)).all())
    if outputs.shape[1] == 1 or multi_label:
        return "none" if inside else "sigmoid"
    adds_up = bool(np.allclose(outputs.sum(axis=1), 1, atol=_SUM_TOLERANCE))
    return "none" if inside and adds_up else "softmax"


def _tidy(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Put on the edge of 0..1 what rounding alone has carried over it."""
    inside = np.clip(outputs, 0, 1)
    return np.where(np.abs(inside - outputs) <= _ROUNDING, inside, outputs)


def _sigmoid(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * outputs)), np.float32)
