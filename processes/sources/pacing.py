"""Requests that fail and may succeed when they are sent again, and how many a host gets at the same time.

Pauses between tries grow; the host may say how long they are. A host that says that the requests are too many gets
fewer at the same time, from all threads.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from processes.errors import InputError
from processes.sources.deadlines import Deadline
from processes.sources.host_links import display_link

_TRIES = 8
"""Requests in a row that may fail so."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 20.0
_ANSWERS_BEFORE_MORE = 16
"""A host that was asked too much gets one more request at the same time after so many answers."""


class PassingError(Exception):
    """What may succeed when it is tried again; the argument says what happened.

    Args:
        reason: what happened.
        pause_s: what the host asks to wait, in seconds; None = nothing.
        is_too_much: True = the host is asked too much.
    """

    def __init__(self, reason: str, pause_s: float | None = None, *, is_too_much: bool = False) -> None:
        super().__init__(reason)
        self.pause_s = pause_s
        self.is_too_much = is_too_much


class Tries:
    """The requests that are made for one answer.

    Args:
        href: the link that messages show.
        deadline: of all of them.
        pace: of the host.
    """

    def __init__(self, href: str, deadline: Deadline, pace: HostPace) -> None:
        self.href = href
        self.deadline = deadline
        self._pace = pace
        self._failures = 0

    def failed(self, err: PassingError) -> None:
        """Wait before the next try.

        Raises:
            InputError: there is to be none.
        """
        self._failures += 1
        pause_s = _pause_s(self._failures, err.pause_s)
        if self._failures == _TRIES or time.monotonic() + pause_s >= self.deadline.end_s:
            tried = f", asked {self._failures} times" if self._failures > 1 else ""
            raise InputError(f"{display_link(self.href)}: {err}{tried}") from err
        if err.is_too_much:
            self._pace.slow_down(pause_s)
        time.sleep(pause_s)

    def succeeded(self) -> None:
        """Count failures anew, as a part of the answer is there."""
        self._failures = 0


class HostPace:
    """How many requests a host gets at the same time, and when the next ones.

    Args:
        most: requests at the same time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._changed = threading.Condition()
        """Guards all that follows."""
        self._allowed = most
        self._busy = 0
        self._answers = 0
        self._pause_end_s = 0.0

    @contextmanager
    def turn(self, deadline: Deadline) -> Iterator[None]:
        """Wait until a request may be sent, and count it as under way; at the deadline it is sent at any rate."""
        with self._changed:
            while deadline.end_s > (now_s := time.monotonic()):
                pause_s = self._pause_end_s - now_s
                if pause_s <= 0 and self._busy < self._allowed:
                    break
                self._changed.wait(min(deadline.end_s - now_s, pause_s if pause_s > 0 else deadline.end_s - now_s))
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._answers += 1
                if self._answers % _ANSWERS_BEFORE_MORE == 0:
                    self._allowed = min(self._allowed + 1, self._most)
                self._changed.notify_all()

    def slow_down(self, pause_s: float) -> None:
        """Let the host have half as many requests at the same time, and none for some seconds."""
        with self._changed:
            now_s = time.monotonic()
            if now_s >= self._pause_end_s:  # of requests that were under way together only one counts
                self._allowed = max(1, min(self._allowed, self._busy + 1) // 2)
                self._answers = 0
            self._pause_end_s = max(self._pause_end_s, now_s + pause_s)


def _pause_s(failures: int, asked_s: float | None) -> float:
    if asked_s is not None:
        return min(asked_s, _LONGEST_PAUSE_S)
    return min(_FIRST_PAUSE_S * 2.0 ** (failures - 1), _LONGEST_PAUSE_S) * random.uniform(0.75, 1.25)  # noqa: S311
