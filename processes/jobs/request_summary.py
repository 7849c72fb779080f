"""What a job shows of its request later: the JSON without inline data and without possible secrets."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

_MAX_BYTES = 2**16
"""A longer summary is not stored."""
_LINKS = ("href", "successUri", "inProgressUri", "failedUri")
_FEATURES = b'"FeatureCollection"'


class _Request(msgspec.Struct, omit_defaults=True):
    """The members of an execute request."""

    inputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    outputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    response: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    subscriber: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Collection(msgspec.Struct):
    """The members that show whether an object is inline features, and what the summary has of these."""

    type: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    features: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    crs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def request_summary(body: bytes) -> str | None:
    """Return an execute request as JSON text that may be shown; None = it is too long, or cannot be read.

    Inline images and features are left out, and in links the user, the password and the query. They can be large, so
    that they are left out before they are decoded.

    Args:
        body: the request's JSON text.
    """
    try:
        if len(body) <= _MAX_BYTES:
            summary = _cleaned(msgspec.json.decode(body))
        else:
            members = msgspec.structs.asdict(msgspec.json.decode(body, type=_Request))
            summary = {name: _summary(text) for name, text in members.items() if text is not msgspec.UNSET}
        text = msgspec.json.encode(summary)
    except (_TooLongError, msgspec.DecodeError, RecursionError):  # such as a number without end
        return None
    return text.decode() if len(text) <= _MAX_BYTES else None


class _TooLongError(Exception):
    """The summary would be too long."""


def _summary(text: msgspec.Raw) -> Any:
    """Return what the summary has of a value; raise _TooLongError where that is known to be too long."""
    if len(text) <= _MAX_BYTES:
        return _cleaned(msgspec.json.decode(text))
    match bytes(memoryview(text)[:1]):
        case b"{":
            collection = msgspec.json.decode(text, type=_Collection)
            if collection.type == msgspec.Raw(_FEATURES) and collection.features is not msgspec.UNSET:
                crs = {} if collection.crs is msgspec.UNSET else {"crs": _summary(collection.crs)}
                return {"type": "FeatureCollection", **crs}
            members = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
            if members.keys() >= {"value", "encoding"}:
                del members["value"]
            return {name: _summary(member) for name, member in members.items()}
        case b"[" if bytes(text).count(b",") <= _MAX_BYTES:
            return [_summary(item) for item in msgspec.json.decode(text, type=list[msgspec.Raw])]
        case _:
            raise _TooLongError


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
