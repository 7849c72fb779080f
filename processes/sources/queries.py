"""Queries of links to services: the parameters that a client gave, and those that a request adds."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from processes.errors import InputError

_SAFE = ":/,"
"""Letters that stay as they are in values: URNs of CRS, media types, lists of numbers."""


def service_link(href: str) -> tuple[SplitResult, dict[str, str]]:
    """Return the parts of a link without its query and fragment, and the parameters of its query.

    Raises:
        InputError: the link cannot be read.
    """
    try:
        parts = urlsplit(href)
    except ValueError as err:
        raise InputError("the link cannot be read") from err
    return parts._replace(query="", fragment=""), dict(parse_qsl(parts.query, keep_blank_values=True))


def parameter(query: Mapping[str, str], name: str) -> str | None:
    """Return the value of a parameter, whose name is in any case, as OGC's services take it; None = there is none."""
    return next((value for key, value in query.items() if key.lower() == name.lower()), None)


def with_query(parts: SplitResult, given: Mapping[str, str], **added: str | int | None) -> str:
    """Return a link with a query: the parameters that were given, but for those that are added.

    Args:
        parts: of the link.
        given: parameters, with names in any case.
        added: others; None = there is to be none of that name.
    """
    names = {name.lower() for name in added}
    query = {name: value for name, value in given.items() if name.lower() not in names}
    query |= {name: str(value) for name, value in added.items() if value is not None}
    return urlunsplit(parts._replace(query=urlencode(query, safe=_SAFE)))


def link_with(base: str, query: Mapping[str, str]) -> str:
    """Return a link of what stands before its query, and of the query."""
    return f"{base}?{urlencode(query, safe=_SAFE)}" if query else base
