"""Deadlines: moments by which something is done as a whole, however many parts it has."""

from __future__ import annotations

import time
from typing import Self

import msgspec


class Deadline(msgspec.Struct, frozen=True):
    """A moment by which something is done as a whole."""

    seconds: float
    """What was given for it, for messages."""
    end_s: float
    """Of `time.monotonic`."""

    @classmethod
    def after(cls, seconds: float) -> Self:
        """Return the deadline that is so many seconds away."""
        return cls(seconds, time.monotonic() + seconds)

    def at_most(self, seconds: float) -> Deadline:
        """Return this deadline, or the one that is so many seconds away where that is earlier."""
        other = Deadline.after(seconds)
        return other if other.end_s < self.end_s else self

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self.end_s

    def remaining_s(self) -> float:
        """Return the seconds that are left, more than 0.

        Raises:
            TimeoutError: none are left.
        """
        remaining_s = self.end_s - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError(f"it took longer than {self.seconds:g} s")
        return remaining_s
