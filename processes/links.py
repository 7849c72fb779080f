"""Links: what the configuration allows, and the files behind them.

A `file:` link must point below an allowed folder, with every symbolic link resolved. An `http:` or `https:` link must
name an allowed host; the host's address is looked up once and that address is connected to, so a name cannot be
allowed with one address and reached at another. Redirects are followed by the same rules.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import urllib3

from processes.errors import ForbiddenError, InputError, LimitError
from processes.settings import Settings

_MAX_REDIRECTS = 5
_CONNECT_S, _READ_S, _FETCH_S = 10, 30, 600
_COPY_BYTES = 2**20
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class LinkedFile:
    """A file behind a link, on this machine."""

    path: Path
    name: str
    """File name as the client's link has it."""
    fragment: str
    """What stands behind `#` in the link, decoded."""
    url: str | None = None
    """Where it was fetched from, redirects followed; None = it is on this machine."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of the answer, names in lower case; empty for a file of this machine."""

    @property
    def media_type(self) -> str:
        """Return what the answer says that it is, without parameters; empty = nothing."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(slots=True)
class Allowance:
    """What may yet be fetched for one input."""

    limit_mb: int
    """The limit max_download_mb."""
    left_bytes: int
    deadline: float
    """In seconds of the monotonic clock."""

    @classmethod
    def of(cls, settings: Settings) -> Allowance:
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
            raise InputError(f"{shown(href)} did not arrive within {_FETCH_S} s")
        if self.left_bytes < 0:
            raise LimitError("max_download_mb", self.limit_mb, f"{shown(href)} has more than that")


def resolve(
    href: str, settings: Settings, folder: Path, accept: str = "*/*", allowance: Allowance | None = None
) -> LinkedFile:
    """Return the file behind a link; what is elsewhere is fetched.

    Args:
        href: the link.
        settings: what is allowed.
        folder: where fetched files go.
        accept: media types to ask a host for.
        allowance: what may be fetched; by default as much as the limit allows.

    Raises:
        ForbiddenError: the configuration does not allow the link.
        InputError: there is nothing there, or the host does not answer.
        LimitError: the file is too large to be fetched.
    """
    parts = _split(href)
    match parts.scheme:
        case "file":
            path = _allowed_path(parts, settings)
            if not _is_there(path.is_file):
                raise InputError(f"there is no file {shown(href)}")
            return LinkedFile(path, Path(unquote(parts.path)).name, unquote(parts.fragment))
        case "http" | "https":
            return fetch(href, settings, folder, accept, allowance or Allowance.of(settings))
        case _:
            raise _scheme_not_allowed(href, parts)


def fetch(href: str, settings: Settings, folder: Path, accept: str, allowance: Allowance) -> LinkedFile:
    """Fetch what an `http:` or `https:` link names, and no other one; arguments and errors as `resolve` has them."""
    parts = _split(href)
    name = Path(unquote(parts.path)).name or "download"
    path = folder / f"{len(os.listdir(folder))}-{Path(name).suffix[:16]}"
    with _opened(href, settings, accept, allowance) as (response, url):
        try:
            with path.open("xb") as file:
                # as it arrives, not in full blocks: a host that drips must not outlast the deadline
                while block := response.read1(_COPY_BYTES):
                    allowance.take(len(block), href)
                    file.write(block)
        except urllib3.exceptions.HTTPError as err:
            raise InputError(f"{shown(href)}: the host broke off its answer") from err
        headers = {key.lower(): value for key, value in response.headers.items()}
    return LinkedFile(path, name, unquote(parts.fragment), url, headers)


def list_folder(href: str, settings: Settings, endings: tuple[str, ...]) -> list[LinkedFile]:
    """Return the files with certain endings directly in a linked folder, by code point of their names.

    Raises:
        ForbiddenError: the configuration does not allow the link.
        InputError: there is no such folder, or no such file in it.
    """
    parts = _split(href)
    if parts.scheme != "file":
        raise (
            _scheme_not_allowed(href, parts)
            if parts.scheme not in ("http", "https")
            else InputError(f"{shown(href)}: only file: links can name a folder")
        )
    path = _allowed_path(parts, settings)
    if not _is_there(path.is_dir):
        raise InputError(f"there is no folder {shown(href)}")
    try:
        entries = [entry for entry in path.iterdir() if entry.name.lower().endswith(endings) and entry.is_file()]
    except OSError as err:
        raise InputError(f"the folder {shown(href)} cannot be read") from err
    names = sorted(entry.name for entry in entries)
    files = [LinkedFile(real, name, "") for name in names if (real := _within(path / name, settings)) is not None]
    if not files:
        raise InputError(f"folder {shown(href)} holds no images ({', '.join(endings)})")
    return files


def _is_there(question: Callable[[], bool]) -> bool:
    """Ask the file system; a name that it cannot have is not there."""
    try:
        return question()
    except OSError:
        return False


def shown(href: str) -> str:
    """Return a link for a message: without user, password, query and fragment."""
    try:
        parts = urlsplit(href)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "that is no link"
    plain = f"{parts.scheme}://{host}{port}{parts.path}" if parts.scheme else parts.path
    return plain[:300]


def _split(href: str) -> SplitResult:
    try:
        parts = urlsplit(href)
        _ = parts.port
    except ValueError as err:
        raise InputError("the link cannot be read") from err
    if "\0" in unquote(href):
        raise InputError("the link holds a zero byte")
    return parts


def _scheme_not_allowed(href: str, parts: SplitResult) -> ForbiddenError:
    return ForbiddenError(f"{shown(href)}: links of scheme {parts.scheme!r} are not allowed; file, http and https are")


def _allowed_path(parts: SplitResult, settings: Settings) -> Path:
    href = f"file://{parts.path}"
    if parts.netloc not in ("", "localhost"):
        raise ForbiddenError(f"{shown(href)}: a file: link names no host; it has three slashes")
    path = _within(Path(unquote(parts.path)), settings)
    if path is None:
        raise ForbiddenError(f"{shown(href)} is not below a folder that this server allows")
    return path


def _within(path: Path, settings: Settings) -> Path | None:
    """Return the real path where it lies below an allowed folder, else None."""
    try:
        real = path.resolve()
        allowed = any(real.is_relative_to(root.resolve()) for root in settings.imagery)
    except (OSError, RuntimeError):
        return None
    return real if allowed and path.is_absolute() else None


@contextmanager
def _opened(
    href: str, settings: Settings, accept: str, allowance: Allowance
) -> Iterator[tuple[urllib3.BaseHTTPResponse, str]]:
    """Ask for a link, following redirects, each checked as the first one; yield the answer and where it is from."""
    for _ in range(_MAX_REDIRECTS + 1):
        allowance.take(0, href)
        parts = _split(href)
        if parts.scheme not in ("http", "https"):
            raise ForbiddenError(f"a host leads to a link of scheme {parts.scheme!r}; only http and https are followed")
        with _pool(parts, settings) as pool:
            target = parts.path or "/"
            headers = {"Host": parts.netloc.rsplit("@", 1)[-1], "Accept-Encoding": "identity", "Accept": accept}
            try:
                response = pool.request(
                    "GET",
                    f"{target}?{parts.query}" if parts.query else target,
                    headers=headers,
                    redirect=False,
                    retries=False,
                    preload_content=False,
                )
            except urllib3.exceptions.HTTPError as err:
                raise InputError(f"{shown(href)}: the host does not answer") from err
            with response:
                if response.status in _REDIRECTS and response.headers.get("Location"):
                    href = _redirected(href, response.headers["Location"])
                    continue
                if response.status != 200:
                    raise InputError(f"{shown(href)}: the host answers with status {response.status}")
                yield response, href
                return
    raise InputError(f"{shown(href)}: the host redirects more than {_MAX_REDIRECTS} times")


def _redirected(href: str, location: str) -> str:
    try:
        return urljoin(href, location)
    except ValueError as err:
        raise InputError(f"{shown(href)}: the host redirects to what is no link") from err


def _pool(parts: SplitResult, settings: Settings) -> urllib3.HTTPConnectionPool:
    """Return connections to the address of an allowed host."""
    host = (parts.hostname or "").lower()
    if not _host_allowed(host, settings.hosts):
        raise ForbiddenError(f"{shown(parts.geturl())}: this server does not allow links to the host {host!r}")
    address = _address(host, settings.hosts)
    timeout = urllib3.Timeout(connect=_CONNECT_S, read=_READ_S)
    if parts.scheme == "http":
        return urllib3.HTTPConnectionPool(address, parts.port or 80, timeout=timeout)
    return urllib3.HTTPSConnectionPool(
        address, parts.port or 443, timeout=timeout, server_hostname=host, assert_hostname=host
    )


def _host_allowed(host: str, allowed: tuple[str, ...]) -> bool:
    return any(host == name or (name.startswith("*.") and host.endswith(name[1:])) for name in allowed)


def _address(host: str, allowed: tuple[str, ...]) -> str:
    """Look a host up; an address that is not public is taken only where the configuration names the host itself."""
    try:
        found = {item[4][0] for item in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as err:
        raise InputError(f"the host {host!r} cannot be found") from err
    public = sorted(str(address) for address in found if ipaddress.ip_address(str(address).split("%")[0]).is_global)
    if len(public) != len(found) and host not in allowed:
        raise ForbiddenError(f"the host {host!r} has a private address, which this server does not allow")
    return (public or sorted(map(str, found)))[0]
