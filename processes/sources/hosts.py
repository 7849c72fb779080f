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

from processes.allowed_hosts import normal_host
from processes.errors import ForbiddenError, HostStatusError, InputError
from processes.settings import Settings
from processes.sources.connections import CurrentDeadline, pool_of
from processes.sources.deadlines import Deadline
from processes.sources.download_budget import DownloadBudget
from processes.sources.host_links import display_link, port_of, require_host, split_link

MAX_REDIRECTS = 5
PARTIAL = 206
"""Status of an answer that holds a part of what the link names."""
_REDIRECT_STATUSES = (301, 302, 303, 307, 308)


@contextmanager
def open_link(
    href: str, settings: Settings, accept: str, budget: DownloadBudget, first_bytes: int | None = None
) -> Iterator[tuple[urllib3.BaseHTTPResponse, str]]:
    """Request a link, follow redirects, and yield the answer with its final link.

    Args:
        href: the link, `http:` or `https:`.
        settings: name the allowed hosts.
        accept: media types for the header `Accept`.
        budget: of the request that the link belongs to. All that happens until the end of the block takes its time.
        first_bytes: number of bytes from the start that are asked for alone; a host may answer with them, by status
            206, or with all. None = all.

    Raises:
        ForbiddenError: the configuration does not allow the link, or a redirect.
        InputError: the host cannot be found, does not answer, breaks off its answer, or answers with another status
            than 200; or the time is over.
        LimitError: the budget is spent.
    """
    first = href
    with budget.spending_time(first) as deadline:
        for _ in range(MAX_REDIRECTS + 1):
            budget.spend(0, href)
            parts = split_redirect(href)
            with pool_for(parts, settings, lambda: deadline) as pool:
                headers = {"Accept-Encoding": "identity", "Accept": accept}
                if first_bytes is not None:
                    headers["Range"] = f"bytes=0-{first_bytes - 1}"
                with send(pool, "GET", parts, headers) as response:
                    if (target := redirect_target(href, response)) is not None:
                        href = target
                        continue
                    if response.status != 200 and (first_bytes is None or response.status != PARTIAL):
                        err = HostStatusError(f"{display_link(href)}: the host answers with status {response.status}")
                        err.status = response.status
                        raise err
                    try:
                        yield response, href
                    except HTTPError as broken:
                        raise InputError(f"{display_link(href)}: the host broke off its answer") from broken
                    return
        raise InputError(f"{display_link(first)}: the host redirects more than {MAX_REDIRECTS} times")


def send(
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

    Raises:
        InputError: the host does not answer.
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


def split_redirect(href: str) -> SplitResult:
    """Return the parts of a link that a host may have led to; raise ForbiddenError where it is none to a host."""
    parts = split_link(href)
    if parts.scheme not in ("http", "https"):
        raise ForbiddenError(f"a host leads to a link of scheme {parts.scheme!r}; only http and https are followed")
    return parts


def redirect_target(href: str, response: urllib3.BaseHTTPResponse) -> str | None:
    """Return the link that an answer leads to; None = it is the answer itself.

    Raises:
        InputError: it leads to what is no link.
    """
    location = response.headers.get("Location")
    if response.status not in _REDIRECT_STATUSES or not location:
        return None
    try:
        return urljoin(href, location)
    except ValueError as err:
        raise InputError(f"{display_link(href)}: the host redirects to what is no link") from err


def pool_for(parts: SplitResult, settings: Settings, deadline: CurrentDeadline) -> urllib3.HTTPConnectionPool:
    """Return a pool of connections to the host of a link.

    Args:
        parts: of the link.
        settings: name the allowed hosts.
        deadline: returns the one of what is done with the pool now.

    Raises:
        ForbiddenError: the configuration does not allow the host.
        InputError: the host cannot be found.
    """
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
    with pool_for(parts, settings, lambda: deadline) as pool:
        try:
            response = send(pool, "POST", parts, {"Content-Type": media_type}, body)
        except InputError as err:
            if deadline.is_over:
                raise InputError(f"{display_link(href)}: the host does not answer within {timeout_s:g} s") from err
            raise
        response.close()  # only the status counts; a body may never end
        return response.status


def ask_document(href: str, form: bytes | None, *, allows_private: bool, timeout_s: float, max_bytes: int) -> bytes:
    """Return a small document of a host that the operator named, or that one names which the operator named.

    Redirects are not followed.

    Args:
        href: the link, `http:` or `https:`.
        form: fields of a form that is sent; None = it is only asked for the document.
        allows_private: True = the host may have private addresses.
        timeout_s: seconds for all of it, from the lookup of the host to the last byte.
        max_bytes: size of the largest document.

    Raises:
        ForbiddenError: the host has a private address.
        InputError: the host cannot be found, does not answer in time, or answers with more.
        HostStatusError: it answers with another status than 200.
    """
    parts, deadline = split_link(href), Deadline.after(timeout_s)
    host = normal_host(parts.hostname or "")
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    if form is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    with pool_of(parts.scheme, host, port_of(parts), lambda: deadline, allows_private=allows_private) as pool:
        response = send(pool, "GET" if form is None else "POST", parts, headers, form)
        try:
            body = response.read(max_bytes + 1)
        except HTTPError as err:
            raise InputError(f"{display_link(href)}: the host broke off its answer") from err
        finally:
            response.close()
    if response.status != 200:
        error = HostStatusError(f"{display_link(href)}: the host answers with status {response.status}")
        error.status = response.status
        raise error
    if len(body) > max_bytes:
        raise InputError(f"{display_link(href)}: the answer has more than {max_bytes} bytes")
    return bytes(body)
