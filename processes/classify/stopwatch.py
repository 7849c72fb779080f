"""How fast the rows of a run are done."""

from __future__ import annotations

import time

from processes.ogc.process import Progress


class Stopwatch:
    """Measures how fast rows are done. The first batch does not count: the network is opened within it.

    Args:
        progress: is called with the number of rows, too.
    """

    def __init__(self, progress: Progress) -> None:
        self._start_s = time.monotonic()
        self._progress = progress
        self._first_s = self._last_s = 0.0
        self._first_rows = self._rows = 0

    def start(self, without_chip: int) -> None:
        """Start the clock, and count the rows that need no work as done."""
        self._progress(without_chip)
        self._start_s = time.monotonic()

    def seconds(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._start_s

    def measured_s(self) -> float:
        """Return the seconds since the first batch; before its end 0."""
        return time.monotonic() - self._first_s if self._first_rows else 0

    def count(self, rows: int) -> None:
        """Count rows that are done; 0 = none, but the work goes on."""
        if not rows:
            self._progress(0)
            return
        self._last_s = time.monotonic()
        self._rows += rows
        if not self._first_rows:
            self._first_s, self._first_rows = self._last_s, rows
        self._progress(rows)

    def seconds_left(self, rows: int) -> float:
        """Return the seconds that the rest of so many rows takes at the speed so far."""
        return (rows - self._rows) / max(self.rows_per_s(), 1e-9)

    def rows_per_s(self) -> float:
        """Return rows per second; of all rows where there was one batch only."""
        if self._last_s > self._first_s:
            return (self._rows - self._first_rows) / (self._last_s - self._first_s)
        return self._rows / max(self.seconds(), 1e-9)
