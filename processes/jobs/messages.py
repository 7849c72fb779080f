"""The `message` of a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WAITING = "waiting"
"""Of a job that was accepted."""
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def running_message(done: float, total: int, left_s: float | None) -> str:
    """Return the progress in words: `4200 of 10000 objects, about 3 minutes left`.

    Args:
        done: number of objects that are done; large images count as far as they are read.
        total: number of all objects.
        left_s: estimated seconds until the end; None = there is no estimate.
    """
    amount = f"{done:.2f}" if done % 1 else f"{done:.0f}"
    return f"{amount} of {total} objects" + ("" if left_s is None else f", about {_duration(left_s)} left")


def waiting_for_gpu(message: str) -> str:
    """Return the message of a job that waits for a GPU: `4200 of 10000 objects; waiting for a machine with a GPU`."""
    words = f"{WAITING} for a machine with a GPU"
    return words if message == WAITING else f"{message}; {words}"


def successful_message(summary: Mapping[str, Any] | None, objects: int) -> str:
    """Return the result in words: `300 objects: intact 188, damaged 112; not labelled: nodata 3`."""
    if summary is None:
        return "done"
    counts = ", ".join(f"{name} {count}" for name, count in summary["counts"].items())
    others = ", ".join(f"{name} {count}" for name, count in summary["status"].items() if name != "ok" and count)
    warnings = len(summary["warnings"])
    return (
        f"{objects} {'object' if objects == 1 else 'objects'}: {counts}"
        + (f"; not labelled: {others}" if others else "")
        + (f"; {warnings} {'warning' if warnings == 1 else 'warnings'}" if warnings else "")
    )


def _duration(seconds: float) -> str:
    for unit_s, name in ((_DAY_S, "day"), (_HOUR_S, "hour"), (_MINUTE_S, "minute")):
        if seconds >= 2 * unit_s:
            return f"{round(seconds / unit_s)} {name}s"
    return f"{max(1, round(seconds))} second{'s' if round(seconds) > 1 else ''}"
