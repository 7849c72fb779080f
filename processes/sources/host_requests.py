"""Requests to hosts by several threads, one after the other: connections are kept, and faults that pass are met by
trying again.

A fault passes when the same request may have another answer later: a reset, a time-out, 429, 503. Pauses between tries
grow; the host may say how long they are. A host that says that the requests are too many gets fewer at the same time,
from all threads.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import urllib3
from urllib3.exceptions import HTTPError

from processes.errors import InputError
from processes.settings import Settings
from processes.sources.deadlines import Deadline
from processes.sources.host_links import display_link
from processes.sources.hosts import MAX_REDIRECTS, pool_for, redirect_target, send, split_redirect

PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Statuses of answers that may be others when asked again."""
_TOO_MANY = (429, 503)
"""Statuses of hosts that are asked too much."""
_TRIES = 8
"""Requests in a row that may fail so."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 20.0
_SHARE_OF_SECTION = 0.5
"""Of the time of a section, for one answer with all its tries: the section itself can then still end and say why."""
_DRAINED_BYTES = 2**16
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

    @classmethod
    def of(cls, response: urllib3.BaseHTTPResponse) -> PassingError:
        """Return the error of an answer by its status."""
        pause_s = _asked_pause_s(response.headers.get("Retry-After", ""))
        reason = f"the host answers with status {response.status}"
        return cls(reason, pause_s, is_too_much=response.status in _TOO_MANY)


class HostRequests:
    """Sends requests to hosts. Several threads may do so at the same time.

    Args:
        settings: name the allowed hosts, and the limits.
        patience_s: seconds for one answer with all its tries; None = a share of the limit of sections.
    """

    def __init__(self, settings: Settings, patience_s: float | None = None) -> None:
        limits = settings.limits
        self._settings = settings
        self._patience_s = patience_s or limits.section_timeout_s * _SHARE_OF_SECTION
        self._request_s = limits.request_timeout_s
        self._pace = _Pace(limits.max_requests)
        self._of_thread = threading.local()

    def tries(self, href: str) -> Tries:
        """Return the tries of what is asked for now; `href` is what messages show."""
        return Tries(href, Deadline.after(self._patience_s), self._pace)

    def get[T](
        self, href: str, headers: Mapping[str, str], tries: Tries, read: Callable[[urllib3.BaseHTTPResponse, str], T]
    ) -> T:
        """Send one request, follow redirects, and return what is read of the answer.

        Args:
            href: the link.
            headers: of the request.
            tries: that this is one of.
            read: reads an answer of any status, with its final link.

        Raises:
            ForbiddenError: the configuration does not allow the link, or a redirect.
            InputError: the host redirects too often, or what `read` raises.
            PassingError: the host does not answer, or breaks off its answer.
        """
        with self._pace.turn(tries.deadline):
            self._of_thread.deadline = tries.deadline.at_most(self._request_s)
            return self._get(href, headers, tries, read)

    def fetch(
        self, href: str, accept: str, max_bytes: int, passing: Collection[int], absent: Collection[int]
    ) -> bytes | None:
        """Return what a link names, as a whole; None = there is no such thing.

        Args:
            href: the link.
            accept: media types for the header `Accept`.
            max_bytes: size of an answer at most.
            passing: statuses of answers that may be others when asked again.
            absent: statuses that say that there is no such thing.

        Raises:
            ForbiddenError: the configuration does not allow the link, or a redirect.
            InputError: the host does not answer, or with another status than 200, or with too much.
        """

        def content(response: urllib3.BaseHTTPResponse, found: str) -> bytes | None:
            if response.status in absent:
                response.read(_DRAINED_BYTES)  # to its end, most of the time: then the connection can be kept
                return None
            if response.status in passing:
                raise PassingError.of(response)
            if response.status != 200:
                raise InputError(f"{display_link(found)}: the host answers with status {response.status}")
            body = response.read(max_bytes + 1)
            if len(body) > max_bytes:
                raise InputError(f"{display_link(found)} answers with more than {max_bytes // 2**20} MiB")
            return body

        tries = self.tries(href)
        while True:
            try:
                return self.get(href, {"Accept": accept}, tries, content)
            except PassingError as err:
                tries.failed(err)

    def close(self) -> None:
        """Close the connections of the thread that calls; those of others are closed when they end."""
        for pool in self._pools().values():
            pool.close()
        self._pools().clear()

    def _get[T](
        self, href: str, headers: Mapping[str, str], tries: Tries, read: Callable[[urllib3.BaseHTTPResponse, str], T]
    ) -> T:
        for _ in range(MAX_REDIRECTS + 1):
            parts = split_redirect(href)
            key = (parts.scheme, parts.netloc)
            pool = self._pools().get(key)
            if pool is None:
                pool = self._pools()[key] = pool_for(parts, self._settings, lambda: self._of_thread.deadline)
            try:
                response = send(pool, "GET", parts, {"Accept-Encoding": "identity", "Accept": "*/*", **headers})
            except InputError as err:
                raise PassingError("the host does not answer") from err
            try:
                target = redirect_target(href, response)
                if target is None:
                    return read(response, href)
                href = target
            except (HTTPError, OSError) as err:
                raise PassingError("the host broke off its answer") from err
            finally:
                response.close()  # its connection too, unless the answer was read to its end
        raise InputError(f"{display_link(tries.href)}: the host redirects more than {MAX_REDIRECTS} times")

    def _pools(self) -> dict[tuple[str, str], urllib3.HTTPConnectionPool]:
        pools: dict[tuple[str, str], urllib3.HTTPConnectionPool] = self._of_thread.__dict__.setdefault("pools", {})
        return pools


class Tries:
    """The requests that are made for one answer.

    Args:
        href: the link that messages show.
        deadline: of all of them.
        pace: of the host.
    """

    def __init__(self, href: str, deadline: Deadline, pace: _Pace) -> None:
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


class _Pace:
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


def _asked_pause_s(text: str) -> float | None:
    """Return the seconds of a header `Retry-After`, which has a number or a time; None = it has neither."""
    with suppress(ValueError):
        seconds = float(text)
        return seconds if 0 <= seconds < math.inf else None
    with suppress(TypeError, ValueError, OverflowError):
        return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0)
    return None
