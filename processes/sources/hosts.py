"""Hosts that may be asked: looked up once, connected to at that address, in bounded time.

The configuration names the hosts. A host's address is looked up once and that address is connected to, so a name cannot
be allowed with one address and reached at another. Redirects are followed by the same rules.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import urllib3

from processes.errors import ForbiddenError, InputError, LimitError
from processes.settings import Settings

_MAX_REDIRECTS = 5
_CONNECT_S, _READ_S, _FETCH_S = 10, 30, 600
_REDIRECTS = (301, 302, 303, 307, 308)

BrokenOffError = urllib3.exceptions.HTTPError
"""What reading an answer raises where it breaks off."""


@dataclass(slots=True)
class DownloadBudget:
    """What may yet be fetched for one input."""

    limit_mb: int
    """The limit max_download_mb."""
    left_bytes: int
    deadline: float
    """In seconds of the monotonic clock."""

    @classmethod
    def of(cls, settings: Settings) -> DownloadBudget:
        limit_mb = settings.limits.max_download_mb
        return cls(limit_mb, limit_mb * 2**20, time.monotonic() + _FETCH_S)

    def take(self, size: int, href: str) -> None:
        """Count bytes that have arrived.

        Raises:
            InputError: it has taken too long.
            LimitError: they are too many.
        """
        self.left_bytes -= size
        if time.monotonic() > self.deadline:
            raise InputError(f"{display_link(href)} did not arrive within {_FETCH_S} s")
        if self.left_bytes < 0:
            raise LimitError("max_download_mb", self.limit_mb, f"{display_link(href)} has more than that")


def display_link(href: str) -> str:
    """Return a link for a message: without user, password, query and fragment."""
    try:
        parts = urlsplit(href)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "that is no link"
    plain = f"{parts.scheme}://{host}{port}{parts.path}" if parts.scheme else parts.path
    return plain[:300]


def split_link(href: str) -> SplitResult:
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
    href: str, settings: Settings, accept: str, allowance: DownloadBudget
) -> Iterator[tuple[urllib3.BaseHTTPResponse, str]]:
    """Ask for a link, following redirects, each checked as the first one; yield the answer and where it is from."""
    for _ in range(_MAX_REDIRECTS + 1):
        allowance.take(0, href)
        parts = split_link(href)
        if parts.scheme not in ("http", "https"):
            raise ForbiddenError(f"a host leads to a link of scheme {parts.scheme!r}; only http and https are followed")
        with _pool(parts, settings) as pool:
            headers = {"Host": parts.netloc.rsplit("@", 1)[-1], "Accept-Encoding": "identity", "Accept": accept}
            try:
                response = pool.request(
                    "GET",
                    _target(parts),
                    headers=headers,
                    redirect=False,
                    retries=False,
                    preload_content=False,
                )
            except urllib3.exceptions.HTTPError as err:
                raise InputError(f"{display_link(href)}: the host does not answer") from err
            with response:
                if response.status in _REDIRECTS and response.headers.get("Location"):
                    href = _redirected(href, response.headers["Location"])
                    continue
                if response.status != 200:
                    raise InputError(f"{display_link(href)}: the host answers with status {response.status}")
                yield response, href
                return
    raise InputError(f"{display_link(href)}: the host redirects more than {_MAX_REDIRECTS} times")


def _target(parts: SplitResult) -> str:
    path = parts.path or "/"
    return f"{path}?{parts.query}" if parts.query else path


def _redirected(href: str, location: str) -> str:
    try:
        return urljoin(href, location)
    except ValueError as err:
        raise InputError(f"{display_link(href)}: the host redirects to what is no link") from err


def _pool(parts: SplitResult, settings: Settings) -> urllib3.HTTPConnectionPool:
    """Return connections to the address of an allowed host."""
    host = require_host(parts, settings)
    address = _address(host, settings.hosts)
    timeout = urllib3.Timeout(connect=_CONNECT_S, read=_READ_S)
    if parts.scheme == "http":
        return urllib3.HTTPConnectionPool(address, parts.port or 80, timeout=timeout)
    return urllib3.HTTPSConnectionPool(
        address, parts.port or 443, timeout=timeout, server_hostname=host, assert_hostname=host
    )


def require_host(parts: SplitResult, settings: Settings) -> str:
    """Return the host of a link; raise ForbiddenError where the configuration does not allow it."""
    host = (parts.hostname or "").lower()
    if not any(host == name or (name.startswith("*.") and host.endswith(name[1:])) for name in settings.hosts):
        raise ForbiddenError(f"{display_link(parts.geturl())}: this server does not allow links to the host {host!r}")
    return host


def _address(host: str, named: tuple[str, ...]) -> str:
    """Look a host up; an address that is not public is taken only where the configuration names the host itself."""
    try:
        found = {item[4][0] for item in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as err:
        raise InputError(f"the host {host!r} cannot be found") from err
    public = sorted(str(address) for address in found if ipaddress.ip_address(str(address).split("%")[0]).is_global)
    if len(public) != len(found) and host not in named:
        raise ForbiddenError(f"the host {host!r} has a private address, which this server does not allow")
    return (public or sorted(map(str, found)))[0]


def post(href: str, settings: Settings, body: bytes, media_type: str, timeout_s: float) -> int:
    """Send a body to a link and return the status of the answer; redirects are not followed.

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
                _target(parts),
                body,
                headers=headers,
                redirect=False,
                retries=False,
                timeout=urllib3.Timeout(total=timeout_s),
                preload_content=False,  # only the status counts; a body can go on for ever
            )
        except urllib3.exceptions.HTTPError as err:
            raise InputError(f"{display_link(href)}: the host does not answer") from err
        response.close()
        return response.status
