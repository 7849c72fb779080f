"""Requests to hosts: only to those that the configuration allows, and in bounded time.

A host's address is resolved once, checked, and that address is connected to. So a name cannot pass the check with one
address and be reached at another. Every redirect is checked as the first link.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTP_PORT, HTTPS_PORT
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import urllib3

from processes.errors import ForbiddenError, InputError, LimitError
from processes.settings import Settings

_MAX_REDIRECTS = 5
_CONNECT_TIMEOUT_S = 10
"""Longest time to connect to a host, in seconds."""
_READ_TIMEOUT_S = 30
"""Longest pause within an answer, in seconds."""
_DOWNLOAD_TIMEOUT_S = 600
"""Longest time for all files of one input, in seconds."""
_REDIRECT_STATUSES = (301, 302, 303, 307, 308)

DownloadError = urllib3.exceptions.HTTPError
"""Raised while an answer is read: it ends too early, or pauses too long."""


@dataclass(slots=True)
class DownloadBudget:
    """Bytes and time that remain to download one input."""

    limit_mb: int
    """The limit `max_download_mb`."""
    remaining_bytes: int
    deadline_s: float
    """Of `time.monotonic`."""

    @classmethod
    def of(cls, settings: Settings) -> DownloadBudget:
        """Return the budget of an input of which nothing is downloaded yet."""
        limit_mb = settings.limits.max_download_mb
        return cls(limit_mb, limit_mb * 2**20, time.monotonic() + _DOWNLOAD_TIMEOUT_S)

    def spend(self, size_bytes: int, href: str) -> None:
        """Count bytes that have arrived from a link.

        Raises:
            InputError: the time is over.
            LimitError: more bytes have arrived than the limit allows.
        """
        self.remaining_bytes -= size_bytes
        if time.monotonic() > self.deadline_s:
            raise InputError(f"{display_link(href)} did not arrive within {_DOWNLOAD_TIMEOUT_S} s")
        if self.remaining_bytes < 0:
            raise LimitError("max_download_mb", self.limit_mb, f"{display_link(href)} has more than that")


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
        budget: of the input that the link belongs to.

    Raises:
        ForbiddenError: the configuration does not allow the link, or a redirect.
        InputError: the host cannot be found, does not answer, or answers with another status than 200.
        LimitError: the budget is spent.
    """
    for _ in range(_MAX_REDIRECTS + 1):
        budget.spend(0, href)
        parts = split_link(href)
        if parts.scheme not in ("http", "https"):
            raise ForbiddenError(f"a host leads to a link of scheme {parts.scheme!r}; only http and https are followed")
        with _pool(parts, settings) as pool:
            headers = {"Host": parts.netloc.rsplit("@", 1)[-1], "Accept-Encoding": "identity", "Accept": accept}
            try:
                response = pool.request(
                    "GET",
                    _request_path(parts),
                    headers=headers,
                    redirect=False,
                    retries=False,
                    preload_content=False,
                )
            except urllib3.exceptions.HTTPError as err:
                raise InputError(f"{display_link(href)}: the host does not answer") from err
            with response:
                if response.status in _REDIRECT_STATUSES and response.headers.get("Location"):
                    href = _redirect_target(href, response.headers["Location"])
                    continue
                if response.status != 200:
                    raise InputError(f"{display_link(href)}: the host answers with status {response.status}")
                yield response, href
                return
    raise InputError(f"{display_link(href)}: the host redirects more than {_MAX_REDIRECTS} times")


def _request_path(parts: SplitResult) -> str:
    path = parts.path or "/"
    return f"{path}?{parts.query}" if parts.query else path


def _redirect_target(href: str, location: str) -> str:
    try:
        return urljoin(href, location)
    except ValueError as err:
        raise InputError(f"{display_link(href)}: the host redirects to what is no link") from err


def _pool(parts: SplitResult, settings: Settings) -> urllib3.HTTPConnectionPool:
    """Return a pool of connections to the address of an allowed host."""
    host = require_host(parts, settings)
    address = _address(host, settings.hosts)
    timeout = urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=_READ_TIMEOUT_S)
    if parts.scheme == "http":
        return urllib3.HTTPConnectionPool(address, parts.port or HTTP_PORT, timeout=timeout)
    return urllib3.HTTPSConnectionPool(
        address, parts.port or HTTPS_PORT, timeout=timeout, server_hostname=host, assert_hostname=host
    )


def require_host(parts: SplitResult, settings: Settings) -> str:
    """Return the host of a link; raise ForbiddenError where the configuration does not allow it."""
    host = (parts.hostname or "").lower()
    if not any(host == name or (name.startswith("*.") and host.endswith(name[1:])) for name in settings.hosts):
        raise ForbiddenError(f"{display_link(parts.geturl())}: this server does not allow links to the host {host!r}")
    return host


def _address(host: str, allowed_hosts: tuple[str, ...]) -> str:
    """Resolve a host; a private address is allowed only where the configuration names the host without a wildcard."""
    try:
        addresses = {str(item[4][0]) for item in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as err:
        raise InputError(f"the host {host!r} cannot be found") from err
    public = sorted(address for address in addresses if ipaddress.ip_address(address.split("%")[0]).is_global)
    if len(public) != len(addresses) and host not in allowed_hosts:
        raise ForbiddenError(f"the host {host!r} has a private address, which this server does not allow")
    return (public or sorted(addresses))[0]


def post(href: str, settings: Settings, body: bytes, media_type: str, timeout_s: float) -> int:
    """Send a body to a link and return the HTTP status of the answer; redirects are not followed.

    Args:
        href: the link, `http:` or `https:`.
        settings: name the allowed hosts.
        body: what is sent.
        media_type: of the body.
        timeout_s: seconds for the whole request.

    Raises:
        ForbiddenError: the configuration does not allow the link.
        InputError: the host cannot be found, or does not answer in time.
    """
    parts = split_link(href)
    if parts.scheme not in ("http", "https"):
        raise ForbiddenError(f"{display_link(href)}: only http and https links can be called")
    headers = {"Host": parts.netloc.rsplit("@", 1)[-1], "Content-Type": media_type}
    with _pool(parts, settings) as pool:
        try:
            response = pool.request(
                "POST",
                _request_path(parts),
                body,
                headers=headers,
                redirect=False,
                retries=False,
                timeout=urllib3.Timeout(total=timeout_s),
                preload_content=False,  # only the status counts; a body may never end
            )
        except urllib3.exceptions.HTTPError as err:
            raise InputError(f"{display_link(href)}: the host does not answer") from err
        response.close()
        return response.status
