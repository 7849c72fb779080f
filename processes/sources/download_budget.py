"""What the downloads of a request may take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import msgspec

from processes.errors import InputError, LimitError
from processes.settings import Settings
from processes.sources.deadlines import Deadline
from processes.sources.host_links import display_link


class DownloadBudget(msgspec.Struct):
    """Bytes and time that remain for all downloads of one request together. Several threads may download."""

    limit_mb: int
    """The limit `max_download_mb`."""
    timeout_s: int
    """The limit `max_download_s`."""
    remaining_bytes: int
    remaining_s: float
    """Seconds; they pass only while something is downloaded."""
    _lock: Lock = msgspec.field(default_factory=Lock)
    _running: int = 0
    """Downloads that are going on."""
    _since_s: float = 0
    """When the first of these began, of `time.monotonic`."""

    @classmethod
    def of(cls, settings: Settings) -> DownloadBudget:
        """Return the budget of a request of which nothing is downloaded yet."""
        limits = settings.limits
        return cls(limits.max_download_mb, limits.max_download_s, limits.max_download_mb * 2**20, limits.max_download_s)

    def spend(self, size_bytes: int, href: str) -> None:
        """Count bytes that have arrived from a link.

        Raises:
            LimitError: more bytes have arrived than the limit allows.
        """
        with self._lock:
            self.remaining_bytes -= size_bytes
            is_spent = self.remaining_bytes < 0
        if is_spent:
            raise LimitError(
                "max_download_mb", self.limit_mb, f"the downloads of the request, with {display_link(href)}, are larger"
            )

    @contextmanager
    def spending_time(self, href: str) -> Iterator[Deadline]:
        """Yield the deadline of a download, whose time counts.

        Raises:
            InputError: the time is over, and the block failed, or nothing was left for it.
        """
        late = InputError(
            f"{display_link(href)} did not arrive within {self.timeout_s} s, which the limit max_download_s gives "
            "to all downloads of a request together"
        )
        with self._lock:
            if self._running == 0:
                self._since_s = time.monotonic()
            deadline = Deadline(self.timeout_s, self._since_s + self.remaining_s)
            if deadline.is_over:
                raise late
            self._running += 1
        try:
            yield deadline
        except InputError as err:
            if deadline.is_over:
                raise late from err
            raise
        finally:
            with self._lock:
                self._running -= 1
                if self._running == 0:
                    self.remaining_s -= time.monotonic() - self._since_s
