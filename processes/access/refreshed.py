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
        value = self._value
        if value is None:
            return self.renewed()
        if time.monotonic() - self._fetched_s > self._lasts_s and self._begins():
            threading.Thread(target=self._fetch_now, daemon=True).start()
        return value

    def renewed(self) -> T:
        """Return the value as the host has it now, or as it was seconds ago.

        Raises:
            UnavailableError: the host does not answer.
        """
        if self._begins():
            self._fetch_now()
        else:
            self._wait()
        with self._changed:
            if self._is_under_way or self._value is None or self._fetched_s < self._tried_s:
                raise UnavailableError(f"{self._what} cannot be had now; try again later")
            return self._value

    def _begins(self) -> bool:
        """Return whether this thread is to fetch the value now; then no other one does."""
        with self._changed:
            now_s = time.monotonic()
            if self._is_under_way or now_s - self._tried_s <= _PAUSE_S:
                return False
            self._is_under_way, self._tried_s = True, now_s
            return True

    def _fetch_now(self) -> None:
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

    def _wait(self) -> None:
        """Wait a moment for what another thread fetches, unless enough others do."""
        with self._changed:
            if self._waiting < _WAITING:
                self._waiting += 1
                self._changed.wait_for(lambda: not self._is_under_way, _WAIT_S)
                self._waiting -= 1
