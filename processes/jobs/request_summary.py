"""What a job shows of its request later: the JSON without inline data and without possible secrets."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

_MAX_BYTES = 2**16
"""A longer summary is not stored."""
_LINKS = ("href", "successUri", "inProgressUri", "failedUri")


def request_summary(body: bytes) -> str | None:
    """Return an execute request as JSON text that may be shown; None = it is too long, or cannot be read.

    Inline images and features are left out, and in links the user, the password and the query.

    Args:
        body: the request's JSON text.
    """
    try:
        text = msgspec.json.encode(_cleaned(msgspec.json.decode(body)))
    except (msgspec.DecodeError, RecursionError):  # such as a number without end, in the request of a dry run
        return None
    return text.decode() if len(text) <= _MAX_BYTES else None


def _cleaned(value: Any) -> Any:
    match value:
        case {"type": "FeatureCollection", **more} if "features" in more:
            return {"type": "FeatureCollection", **{name: more[name] for name in more if name == "crs"}}
        case {"value": _, "encoding": _, **_more}:
            return {name: item for name, item in value.items() if name != "value"}
        case dict():
            return {name: _without_secrets(item) if name in _LINKS else _cleaned(item) for name, item in value.items()}
        case list():
            return [_cleaned(item) for item in value]
        case _:
            return value


def _without_secrets(link: Any) -> Any:
    if not isinstance(link, str):
        return _cleaned(link)
    try:
        parts = urlsplit(link)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
    except ValueError:
        return ""
