"""Requests to hosts by several threads, one after the other: connections are kept, and faults that pass are met by
trying again.

A fault passes when the same request may have another answer later: a reset, a time-out, 429, 503. Pauses between tries
grow; the host may say how long they are. A host that says that the requests are too many gets fewer at the same time,
from all threads.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import urllib3
from urllib3.exceptions import HTTPError

from processes.errors import InputError
from processes.settings import Settings
from processes.sources.deadlines import Deadline
from processes.sources.host_links import display_link
from processes.sources.hosts import MAX_REDIRECTS, pool_for, redirect_target, send, split_redirect
from processes.sources.pacing import HostPace, PassingError, Tries

PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Statuses of answers that may be others when asked again."""
_TOO_MANY = (429, 503)
"""Statuses of hosts that are asked too much."""
_SHARE_OF_SECTION = 0.5
"""Of the time of a section, for one answer with all its tries: the section itself can then still end and say why."""
_DRAINED_BYTES = 2**16


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
        self._pace = HostPace(limits.max_requests)
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
                raise passing_error(response)
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


def passing_error(response: urllib3.BaseHTTPResponse) -> PassingError:
    """Return the error of an answer by its status."""
    pause_s = _asked_pause_s(response.headers.get("Retry-After", ""))
    reason = f"the host answers with status {response.status}"
    return PassingError(reason, pause_s, is_too_much=response.status in _TOO_MANY)


def _asked_pause_s(text: str) -> float | None:
    """Return the seconds of a header `Retry-After`, which has a number or a time; None = it has neither."""
    with suppress(ValueError):
        seconds = float(text)
        return seconds if 0 <= seconds < math.inf else None
    with suppress(TypeError, ValueError, OverflowError):
        return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0)
    return None
