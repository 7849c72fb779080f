"""Clients that wait for jobs: one look at the job store finds which of all their jobs have ended."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator

import msgspec

from processes.errors import UnavailableError

_logger = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.005, 0.25
_PAUSE_SHARE = 0.05
"""Pause between two looks, as a share of the time that the last who came has waited so far."""
_COST_SHARE = 10
"""The pause is so many times as long as the look before it took, or longer."""
_IDLE_S = 10
"""The thread that looks ends after so many seconds without anybody who waits."""


class _Waiting(msgspec.Struct, eq=False):
    """Somebody who waits for a job."""

    job_id: str
    start_s: float
    """Time of the monotonic clock at which he came."""
    has_ended: threading.Event = msgspec.field(default_factory=threading.Event)


class EndWatch:
    """Watches jobs for those who wait for them, in a thread that lives as long as there are any.

    Args:
        ended: returns those of some jobs that have ended; raises UnavailableError where the job store does not answer.
    """

    def __init__(self, ended: Callable[[Collection[str]], Collection[str]]) -> None:
        self._ended = ended
        self._waiting: set[_Waiting] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._answered_s = 0.0
        """Time of the monotonic clock at which the job store answered last."""

    def silent_s(self) -> float:
        """Return the seconds for which the job store has not answered, as far as it was asked."""
        return time.monotonic() - self._answered_s

    @contextlib.contextmanager
    def watched(self, job_id: str) -> Iterator[threading.Event]:
        """Yield an event that is set when a job has ended.

        Args:
            job_id: the job's id.
        """
        waiting = _Waiting(job_id, time.monotonic())
        with self._changed:
            if not self._waiting:
                self._answered_s = waiting.start_s
            self._waiting.add(waiting)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="end-watch", daemon=True)
                self._thread.start()
            self._changed.notify()
        try:
            yield waiting.has_ended
        finally:
            with self._changed:
                self._waiting.remove(waiting)

    def _watch(self) -> None:
        looked_s = cost_s = 0.0
        while waiting := self._due(looked_s, cost_s):
            start_s = time.monotonic()
            try:
                ended = self._ended({item.job_id for item in waiting})
                self._answered_s = time.monotonic()
            except UnavailableError:
                ended = ()
            except Exception:
                _logger.exception("jobs that clients wait for could not be looked at; they are looked at again")
                ended = ()
            for item in waiting:
                if item.job_id in ended:
                    item.has_ended.set()
            looked_s = time.monotonic()
            cost_s = looked_s - start_s

    def _due(self, looked_s: float, cost_s: float) -> list[_Waiting]:
        """Return those who wait when it is time for the next look; empty = the thread is to end, nobody waits.

        Args:
            looked_s: time of the last look.
            cost_s: seconds that it took.
        """
        with self._changed:
            while True:
                waiting = [item for item in self._waiting if not item.has_ended.is_set()]
                now_s = time.monotonic()
                if not waiting:
                    if not self._changed.wait(_IDLE_S) and not self._waiting:
                        self._thread = None
                        return []
                    continue
                waited_s = looked_s - max(item.start_s for item in waiting)
                pause_s = min(max(_FIRST_PAUSE_S, waited_s * _PAUSE_SHARE, cost_s * _COST_SHARE), _LAST_PAUSE_S)
                left_s = looked_s + pause_s - now_s
                if left_s <= 0:
                    return waiting
                self._changed.wait(left_s)
