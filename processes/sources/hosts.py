"""Requests to hosts: only to those that the configuration allows, and in bounded time.

A host's addresses are looked up once, checked, and connected to. So a name cannot pass the check with one address and
be reached at another. Every redirect is checked as the first link.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import SplitResult, urljoin

import urllib3
from urllib3.exceptions import HTTPError

from processes.errors import ForbiddenError, HostStatusError, InputError
from processes.settings import Settings
from processes.sources.connections import pool_of
from processes.sources.deadlines import Deadline
from processes.sources.download_budget import DownloadBudget
from processes.sources.host_links import display_link, port_of, require_host, split_link

_MAX_REDIRECTS = 5
_REDIRECT_STATUSES = (301, 302, 303, 307, 308)


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
                        err = HostStatusError(f"{display_link(href)}: the host answers with status {response.status}")
                        err.status = response.status
                        raise err
                    try:
                        yield response, href
                    except HTTPError as broken:
                        raise InputError(f"{display_link(href)}: the host broke off its answer") from broken
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
    port = port_of(parts)
    is_named = any(entry.allows(host, port) and not entry.is_wildcard for entry in settings.hosts)
    return pool_of(parts.scheme, ascii_host, port, deadline, allows_private=is_named)


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
