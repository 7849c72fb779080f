"""What is fetched from a host now and then, and used in between, also while the host is slow or gone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from processes.errors import UnavailableError

_logger = logging.getLogger(__name__)

_PAUSE_S = 5
"""Seconds after a fetch within which there is no other, whatever came of it: nobody makes us ask all the time."""
_WAIT_S = 1
"""Seconds that somebody waits for what another one fetches, …"""
_WAITING = 8
"""… and how many wait at most: others need their threads."""


class Refreshed[T]:
    """A value of a host.

    Args:
        what: the value's name, for messages.
        fetch: fetches it, in bounded time; raises UnavailableError where the host does not answer.
        lasts_s: seconds after which it is fetched anew, while the old one is used on.
    """

    def __init__(self, what: str, fetch: Callable[[], T], lasts_s: float) -> None:
        self._what = what
        self._fetch = fetch
        self._lasts_s = lasts_s
        self._value: T | None = None
        self._fetched_s = self._tried_s = -float("inf")
        """Times of the monotonic clock of the last fetch that succeeded, and of the last one."""
        self._is_under_way = False
        self._waiting = 0
        self._changed = threading.Condition()

    def value(self) -> T:
        """Return the value.

        Raises:
            UnavailableError: there is none yet, and the host does not answer.
        """
        with self._changed:
            now_s = time.monotonic()
            value = self._value
            is_due = now_s - self._fetched_s > self._lasts_s and now_s - self._tried_s > _PAUSE_S
            if value is None or not is_due or self._is_under_way:
                return self._renew() if value is None else value
            self._begin()
        threading.Thread(target=self._try_to_fetch, daemon=True).start()
        return value

    def renewed(self) -> T:
        """Return the value as the host has it now, or as it was seconds ago.

        Raises:
            UnavailableError: the host does not answer.
        """
        with self._changed:
            return self._renew()

    def _renew(self) -> T:
        """Fetch the value, or let another one do so; the lock is held, and let go of meanwhile."""
        if not self._is_under_way:
            now_s = time.monotonic()
            if now_s - self._tried_s > _PAUSE_S:
                self._begin()
                self._changed.release()
                try:
                    self._try_to_fetch()
                finally:
                    self._changed.acquire()
        elif self._waiting < _WAITING:
            self._waiting += 1
            self._changed.wait_for(lambda: not self._is_under_way, _WAIT_S)
            self._waiting -= 1
        if self._is_under_way or self._value is None or self._fetched_s < self._tried_s:
            raise UnavailableError(f"{self._what} cannot be had now; try again later")
        return self._value

    def _begin(self) -> None:
        self._is_under_way, self._tried_s = True, time.monotonic()

    def _try_to_fetch(self) -> None:
        value = None
        try:
            value = self._fetch()
        except UnavailableError as err:  # who asks finds that there is none
            _logger.warning("%s", err.detail)
        finally:
            with self._changed:
                self._is_under_way = False
                if value is not None:
                    self._value, self._fetched_s = value, time.monotonic()
                self._changed.notify_all()
