"""Links to hosts: how they are read, told to clients, and which of them the configuration allows."""

from __future__ import annotations

from http.client import HTTP_PORT, HTTPS_PORT
from urllib.parse import SplitResult, unquote, urlsplit

from processes.allowed_hosts import normal_host
from processes.errors import ForbiddenError, InputError
from processes.settings import Settings


def display_link(href: str) -> str:
    """Return a link for messages, cut to 300 characters: without user, password, query and fragment."""
    try:
        parts = urlsplit(href)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "that is no link"
    if not parts.netloc and not parts.path.startswith("/"):
        return f"{parts.scheme}:{parts.path}"[:300] if parts.scheme else parts.path[:300]
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


def port_of(parts: SplitResult) -> int:
    """Return the port of a link, that of its scheme where it names none."""
    if parts.port is not None:
        return parts.port
    return HTTPS_PORT if parts.scheme == "https" else HTTP_PORT


def require_host(parts: SplitResult, settings: Settings) -> str:
    """Return the host of a link; raise ForbiddenError where the configuration does not allow it, or its port."""
    host, port = normal_host(parts.hostname or ""), port_of(parts)
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
    return f"{normal_host(parts.hostname or '')}:{port_of(parts)}"
