"""The limits of a layer, in one place: every reader calls these functions, as early as it knows the numbers."""

from __future__ import annotations

from processes.errors import LimitError
from processes.settings import Limits


def require_few_features(count: int, limits: Limits, subject: str) -> None:
    """Raise LimitError where a layer has too many features.

    Args:
        count: number of features.
        limits: what is allowed.
        subject: what the client calls the layer, for the message.
    """
    if count > limits.max_objects:
        raise LimitError("max_objects", limits.max_objects, f"{subject} has {count} features")


def require_few_features_so_far(count: int, limits: Limits, subject: str) -> None:
    """Raise LimitError where a layer has too many features already, though not all are counted yet.

    Args:
        count: number of features so far.
        limits: what is allowed.
        subject: what the client calls the layer, for the message.
    """
    if count > limits.max_objects:
        raise LimitError("max_objects", limits.max_objects, f"{subject} has more features")
