"""Parts of a file of a host, by requests with the header `Range`.

Connections are kept, one for each thread and host. Faults that pass (a reset, a time-out, 429, 503) are met by trying
again, after pauses that grow; the host may say how long they are.
"""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress

import urllib3
from urllib3.exceptions import HTTPError

from processes.errors import InputError
from processes.settings import Settings
from processes.sources.deadlines import Deadline
from processes.sources.host_links import display_link
from processes.sources.hosts import MAX_REDIRECTS, PARTIAL, pool_for, redirect_target, send, split_redirect
from processes.sources.remote_files import ContentRange, RemoteFile

_PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Statuses of answers that may be others when asked again."""
_TRIES = 8
"""Requests in a row that may fail so."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 20.0
_SHARE_OF_SECTION = 0.5
"""Of the time of a section, for one part with all its tries: the section itself can then still end and say why."""


class _PassingError(Exception):
    """What may succeed when it is tried again; the argument says what happened.

    Args:
        reason: what happened.
        pause_s: what the host asks to wait, in seconds; None = nothing.
    """

    def __init__(self, reason: str, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


class HostRanges:
    """Reads parts of a file of a host.

    Args:
        file: what is known of it.
        settings: name the allowed hosts, and the limits.
        patience_s: seconds for one part with all its tries; None = a share of the limit of sections.
    """

    def __init__(self, file: RemoteFile, settings: Settings, patience_s: float | None = None) -> None:
        self._file = file
        self._settings = settings
        limits = settings.limits
        self._patience_s = patience_s or limits.section_timeout_s * _SHARE_OF_SECTION
        self._request_s = limits.request_timeout_s
        self._href = file.href
        """Where the host has led: asked for first, until that fails."""
        self._of_thread = threading.local()

    def read(self, start: int, end: int) -> bytes:
        deadline, parts, failures = Deadline.after(self._patience_s), list[bytes](), 0
        while start < end:
            try:
                part = self._part(start, end, deadline)
            except _PassingError as err:
                failures += 1
                pause_s = _pause_s(failures, err.pause_s)
                if failures == _TRIES or time.monotonic() + pause_s >= deadline.end_s:
                    tried = f", asked {failures} times" if failures > 1 else ""
                    raise InputError(f"{display_link(self._file.href)}: {err}{tried}") from err
                time.sleep(pause_s)
                continue
            parts.append(part)
            start, failures = start + len(part), 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        for pool in self._pools().values():
            pool.close()
        self._pools().clear()

    def _part(self, start: int, end: int, deadline: Deadline) -> bytes:
        """Return bytes from `start` on, at least one: a host may answer with fewer than it is asked for."""
        self._of_thread.deadline = deadline.at_most(self._request_s)
        href = self._href
        for _ in range(MAX_REDIRECTS + 1):
            parts = split_redirect(href)
            key = (parts.scheme, parts.netloc)
            pool = self._pools().get(key)
            if pool is None:
                pool = self._pools()[key] = pool_for(parts, self._settings, lambda: self._of_thread.deadline)
            headers = {"Accept-Encoding": "identity", "Accept": "*/*", "Range": f"bytes={start}-{end - 1}"}
            try:
                response = send(pool, "GET", parts, headers)
            except InputError as err:
                raise _PassingError("the host does not answer") from err
            is_whole = False
            try:
                if (target := redirect_target(href, response)) is not None:
                    href = target
                    continue
                content = self._content(response, href, start, end)
                is_whole = True
                return content
            except (HTTPError, OSError) as err:
                raise _PassingError("the host broke off its answer") from err
            finally:
                if is_whole:
                    response.release_conn()
                else:
                    response.close()  # its connection with it: there is more in it
        raise InputError(f"{display_link(self._file.href)}: the host redirects more than {MAX_REDIRECTS} times")

    def _content(self, response: urllib3.BaseHTTPResponse, href: str, start: int, end: int) -> bytes:
        if response.status != PARTIAL:
            raise self._refusal(response, href)
        link, found = display_link(self._file.href), ContentRange.of(response.headers.get("Content-Range"))
        if found is None or found.start != start or found.end > end:
            raise InputError(f"{link}: the host answers with another part than it was asked for")
        self._file.require_same(found.size_bytes, *stamps_of(response))
        content = response.read(found.end - start + 1)
        if len(content) < found.end - start:
            raise _PassingError("the host broke off its answer")
        if len(content) > found.end - start:
            raise InputError(f"{link}: the host answers with more than it says")
        self._href = href
        return content

    def _refusal(self, response: urllib3.BaseHTTPResponse, href: str) -> Exception:
        """Return the error of an answer that holds no part of the file."""
        if href != self._file.href and response.status >= 400:
            self._href = self._file.href  # where it led once may have held for a while only
            return _PassingError(f"the host answers with status {response.status}", 0)
        if response.status in _PASSING:
            pause_s = None
            with suppress(ValueError):
                pause_s = float(response.headers.get("Retry-After", ""))
            return _PassingError(f"the host answers with status {response.status}", pause_s)
        link = display_link(self._file.href)
        if response.status in (200, 416):  # the file is there, but not as it was
            return InputError(f"{link} can no longer be read by parts, or was changed")
        return InputError(f"{link}: the host answers with status {response.status}")

    def _pools(self) -> dict[tuple[str, str], urllib3.HTTPConnectionPool]:
        pools: dict[tuple[str, str], urllib3.HTTPConnectionPool] = self._of_thread.__dict__.setdefault("pools", {})
        return pools


def stamps_of(response: urllib3.BaseHTTPResponse) -> tuple[str | None, str | None]:
    """Return what an answer says of the file's state: `ETag`, and `Last-Modified`."""
    return response.headers.get("ETag"), response.headers.get("Last-Modified")


def _pause_s(failures: int, asked_s: float | None) -> float:
    if asked_s is not None and asked_s >= 0:
        return min(asked_s, _LONGEST_PAUSE_S)
    return min(_FIRST_PAUSE_S * 2.0 ** (failures - 1), _LONGEST_PAUSE_S) * random.uniform(0.75, 1.25)  # noqa: S311
