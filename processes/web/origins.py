"""What browsers may do: the names that the service answers to, and the origins whose pages may call it.

A page of any origin can send requests to a service that its reader's browser reaches, also to one on loopback. It reads
an answer only where CORS lets it, or where its own name leads to this service (DNS rebinding); and a plain POST is
carried out before the browser asks. So a request for another name is refused, and so is one that changes something and
comes from a page of another origin.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from flask import request

from processes.allowed_hosts import is_loopback
from processes.errors import ForbiddenError
from processes.ogc.problem import MisdirectedRequestError
from processes.settings import ANY, Settings

_READING = ("GET", "HEAD", "OPTIONS")


def origin_check(settings: Settings, url: str) -> Callable[[], None]:
    """Return what checks each request before anything else does.

    Args:
        settings: of the service.
        url: public base URL of the service.
    """
    names = {name.lower() for name in settings.host_names} or {urlsplit(url).hostname or ""}

    def check() -> None:
        """Raise MisdirectedRequestError or ForbiddenError where the request must not be answered."""
        require_name(request.host, names)
        if request.method not in _READING:
            require_origin(request.headers.get("Origin"), request.host, url, settings.origins)

    return check


def require_name(host: str, names: Collection[str]) -> None:
    """Raise MisdirectedRequestError where a service does not answer to a `Host`.

    Args:
        host: the header, with or without a port.
        names: in lower case, that it answers to beside those of loopback; with `*` it answers to all.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:  # as of half an IPv6 address
        name = ""
    name = name.removesuffix(".")
    if not (ANY in names or name in names or is_loopback(name)):
        raise MisdirectedRequestError(
            f"this service does not answer to the name {name!r}: CLASSIFY_HOST_NAMES lists the names of a service, "
            "by default that of CLASSIFY_URL"
        )


def is_own_origin(origin: str, host: str, url: str) -> bool:
    """Return whether an origin is that of the service's own pages.

    Where its public URL is https, a page of the same name without TLS is not: whoever is in between may have made it.

    Args:
        origin: the header of that name.
        host: the request's header, with its port.
        url: public base URL of the service.
    """
    try:
        given, public = urlsplit(origin.lower()), urlsplit(url.lower())
    except ValueError:  # as of half an IPv6 address
        return False
    if given.netloc == public.netloc:
        return given.scheme == "https" or public.scheme != "https"
    return bool(given.netloc) and given.netloc == host.lower()


def require_origin(origin: str | None, host: str, url: str, allowed: Collection[str]) -> None:
    """Raise ForbiddenError where a page of an origin may not change anything.

    Args:
        origin: the header of that name; None = no page of another origin made the request.
        host: as `is_own_origin` has it.
        url: as `is_own_origin` has it.
        allowed: origins whose pages may call the service.
    """
    if origin is None or ANY in allowed or origin in allowed or is_own_origin(origin, host, url):
        return
    raise ForbiddenError(f"web pages of {origin!r} may not call this service: CLASSIFY_ORIGINS lists those that may")
