"""Requests to hosts: only to those that the configuration allows, and in bounded time.

A host's addresses are looked up once, checked, and connected to. So a name cannot pass the check with one address and
be reached at another. Every redirect is checked as the first link.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTP_PORT, HTTPS_PORT
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from processes.allowed_hosts import normal_host
from processes.errors import ForbiddenError, InputError, LimitError
from processes.settings import Settings
from processes.sources.connections import pool_of
from processes.sources.deadlines import Deadline

_MAX_REDIRECTS = 5
_REDIRECT_STATUSES = (301, 302, 303, 307, 308)


@dataclass(slots=True)
class DownloadBudget:
    """Bytes and time that remain for all downloads of one request together."""

    limit_mb: int
    """The limit `max_download_mb`."""
    timeout_s: int
    """The limit `max_download_s`."""
    remaining_bytes: int
    remaining_s: float
    """Seconds; they pass only while something is downloaded."""

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
        self.remaining_bytes -= size_bytes
        if self.remaining_bytes < 0:
            raise LimitError(
                "max_download_mb", self.limit_mb, f"the downloads of the request, with {display_link(href)}, are larger"
            )

    @contextmanager
    def spending_time(self, href: str) -> Iterator[Deadline]:
        """Yield the deadline of a download, whose time counts.

        Raises:
            InputError: the time is over, and the block failed, or nothing was left for it.
        """
        start_s = time.monotonic()
        deadline = Deadline(self.timeout_s, start_s + self.remaining_s)
        late = InputError(
            f"{display_link(href)} did not arrive within {self.timeout_s} s, which the limit max_download_s gives "
            "to all downloads of a request together"
        )
        if deadline.is_over:
            raise late
        try:
            yield deadline
        except (InputError, HTTPError) as err:
            if deadline.is_over:
                raise late from err
            raise
        finally:
            self.remaining_s -= time.monotonic() - start_s


def display_link(href: str) -> str:
    """Return a link for messages, cut to 300 characters: without user, password, query and fragment."""
    try:
        parts = urlsplit(href)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "that is no link"
    plain = f"{parts.scheme}://{host}{port}{parts.path}" if parts.scheme else parts.path
    return plain[:300]


def split_link(href: str) -> SplitResult:
    """Return the parts of a link; raise InputError where it cannot be read."""
    try:
        parts = urlsplit(href)
        _ = parts.port
    except ValueError as err:
        raise InputError("the link cannot be read") from err
    if "\0" in unquote(href):
        raise InputError("the link holds a zero byte")
    return parts


@contextmanager
def open_link(
    href: str, settings: Settings, accept: str, budget: DownloadBudget
) -> Iterator[tuple[urllib3.BaseHTTPResponse, str]]:
    """Request a link, follow redirects, and yield the answer with its final link.

    Args:
        href: the link, `http:` or `https:`.
        settings: name the allowed hosts.
        accept: media types for the header `Accept`.
        budget: of the request that the link belongs to. All that happens until the end of the block takes its time.

    Raises:
        ForbiddenError: the configuration does not allow the link, or a redirect.
        InputError: the host cannot be found, does not answer, breaks off its answer, or answers with another status
            than 200; or the time is over.
        LimitError: the budget is spent.
    """
    first = href
    with budget.spending_time(first) as deadline:
        for _ in range(_MAX_REDIRECTS + 1):
            budget.spend(0, href)
            parts = split_link(href)
            if parts.scheme not in ("http", "https"):
                raise ForbiddenError(
                    f"a host leads to a link of scheme {parts.scheme!r}; only http and https are followed"
                )
            with _pool(parts, settings, deadline) as pool:
                headers = {"Accept-Encoding": "identity", "Accept": accept}
                with _request(pool, "GET", parts, headers) as response:
                    if response.status in _REDIRECT_STATUSES and response.headers.get("Location"):
                        href = _redirect_target(href, response.headers["Location"])
                        continue
                    if response.status != 200:
                        raise InputError(f"{display_link(href)}: the host answers with status {response.status}")
                    try:
                        yield response, href
                    except HTTPError as err:
                        raise InputError(f"{display_link(href)}: the host broke off its answer") from err
                    return
        raise InputError(f"{display_link(first)}: the host redirects more than {_MAX_REDIRECTS} times")


def _request(
    pool: urllib3.HTTPConnectionPool,
    method: str,
    parts: SplitResult,
    headers: dict[str, str],
    body: bytes | None = None,
) -> urllib3.BaseHTTPResponse:
    """Send a request and return the answer, whose body is not read.

    Args:
        pool: of the link's host.
        method: of the request.
        parts: of the link.
        headers: of the request, beside those that every request has.
        body: of the request; None = it has none.
    """
    try:
        return pool.request(
            method, _request_path(parts), body, headers=headers, redirect=False, retries=False, preload_content=False
        )
    except HTTPError as err:
        raise InputError(f"{display_link(parts.geturl())}: the host does not answer") from err


def _request_path(parts: SplitResult) -> str:
    path = parts.path or "/"
    return f"{path}?{parts.query}" if parts.query else path


def _redirect_target(href: str, location: str) -> str:
    try:
        return urljoin(href, location)
    except ValueError as err:
        raise InputError(f"{display_link(href)}: the host redirects to what is no link") from err


def _pool(parts: SplitResult, settings: Settings, deadline: Deadline) -> urllib3.HTTPConnectionPool:
    """Return a pool of connections to an allowed host."""
    host = require_host(parts, settings)
    try:
        ascii_host = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError as err:
        raise InputError(f"the host {host!r} cannot be found") from err
    port = _port(parts)
    is_named = any(entry.allows(host, port) and not entry.is_wildcard for entry in settings.hosts)
    return pool_of(parts.scheme, ascii_host, port, deadline, allows_private=is_named)


def _port(parts: SplitResult) -> int:
    if parts.port is not None:
        return parts.port
    return HTTPS_PORT if parts.scheme == "https" else HTTP_PORT


def require_host(parts: SplitResult, settings: Settings) -> str:
    """Return the host of a link; raise ForbiddenError where the configuration does not allow it, or its port."""
    host, port = normal_host(parts.hostname or ""), _port(parts)
    if any(entry.allows(host, port) for entry in settings.hosts):
        return host
    refused = f"{display_link(parts.geturl())}: this server does not allow links to"
    ports = sorted({port for entry in settings.hosts if entry.names(host) for port in entry.ports})
    if not ports:
        raise ForbiddenError(f"{refused} the host {host!r}")
    raise ForbiddenError(f"{refused} port {port} of the host {host!r}, only to {', '.join(map(str, ports))}")


def host_and_port(href: str) -> str:
    """Return the host of a link with its port, by which requests to one host are told from those to others."""
    parts = split_link(href)
    return f"{normal_host(parts.hostname or '')}:{_port(parts)}"


def post(href: str, settings: Settings, body: bytes, media_type: str, timeout_s: float) -> int:
    """Send a body to a link and return the HTTP status of the answer; redirects are not followed.

    Args:
        href: the link, `http:` or `https:`.
        settings: name the allowed hosts.
        body: what is sent.
        media_type: of the body.
        timeout_s: seconds for the whole request, from the lookup of the host to the end of the answer's head.

    Raises:
        ForbiddenError: the configuration does not allow the link.
        InputError: the host cannot be found, or does not answer in time.
    """
    parts = split_link(href)
    if parts.scheme not in ("http", "https"):
        raise ForbiddenError(f"{display_link(href)}: only http and https links can be called")
    deadline = Deadline.after(timeout_s)
    with _pool(parts, settings, deadline) as pool:
        try:
            response = _request(pool, "POST", parts, {"Content-Type": media_type}, body)
        except InputError as err:
            if deadline.is_over:
                raise InputError(f"{display_link(href)}: the host does not answer within {timeout_s:g} s") from err
            raise
        response.close()  # only the status counts; a body may never end
        return response.status
