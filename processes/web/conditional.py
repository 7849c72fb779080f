"""Requests that depend on what the client has, and requests for parts: RFC 9110, sections 13 and 14."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from flask import Request
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.http import parse_date

from processes.ogc.problem import HttpError

_BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class PreconditionResult:
    """What of a representation is to be sent."""

    status: HTTPStatus
    """OK, PARTIAL_CONTENT or NOT_MODIFIED."""
    part: range
    """Places of the bytes wanted."""


def evaluate(request: Request, etag: str, modified: datetime, size_bytes: int) -> PreconditionResult:
    """Say what a request wants of a representation; conditions are tried in the order of section 13.2.2.

    Requests by other methods than GET and HEAD, whose answer it happens to be, get all of it.
    One part can be had at a time: a request for several gets all of it, as does one in another unit than bytes.

    Args:
        request: the request.
        etag: of the representation, a strong one.
        modified: when it was made, in whole seconds.
        size_bytes: how long it is.

    Raises:
        HttpError: 412, it is not what the client wants to ask for.
        RequestedRangeNotSatisfiable: the part that is wanted lies beyond the end.
    """
    whole = range(size_bytes)
    if request.method not in ("GET", "HEAD"):
        return PreconditionResult(HTTPStatus.OK, whole)
    if "If-Match" in request.headers:
        if etag not in request.if_match:
            raise HttpError(412, "the output has another ETag than If-Match names")
    elif request.if_unmodified_since is not None and modified > request.if_unmodified_since:
        raise HttpError(412, "the output was made after the time that If-Unmodified-Since names")
    if "If-None-Match" in request.headers:
        is_known = request.if_none_match.contains_weak(etag)
    else:
        is_known = request.if_modified_since is not None and modified <= request.if_modified_since
    if is_known:
        return PreconditionResult(HTTPStatus.NOT_MODIFIED, whole)
    condition = request.headers.get("If-Range")
    is_part = request.method == "GET" and (condition is None or _is_same(condition, etag, modified))
    part = _part(request, size_bytes) if is_part else None
    return (
        PreconditionResult(HTTPStatus.OK, whole)
        if part is None
        else PreconditionResult(HTTPStatus.PARTIAL_CONTENT, part)
    )


def _is_same(condition: str, etag: str, modified: datetime) -> bool:
    """Say whether `If-Range` names a representation; a weak ETag never does."""
    return condition == f'"{etag}"' if condition.startswith(('"', "W/")) else parse_date(condition) == modified


def _part(request: Request, size_bytes: int) -> range | None:
    """Return the places of the part that is wanted; None = all is."""
    wanted = request.range
    if wanted is None or wanted.units.lower() != _BYTES or len(wanted.ranges) != 1:
        return None
    ((start, stop),) = wanted.ranges
    first = max(0, size_bytes + start) if start < 0 else start
    if first >= size_bytes:
        raise RequestedRangeNotSatisfiable(size_bytes)
    return range(first, size_bytes if stop is None else min(stop, size_bytes))
