"""Conditional requests and range requests: RFC 9110, sections 13 and 14."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus

import msgspec
from flask import Request
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.http import parse_date

from processes.ogc.problem import PreconditionFailedError

_BYTES = "bytes"


class PreconditionResult(msgspec.Struct, frozen=True):
    """What to send of a representation."""

    status: HTTPStatus
    """OK, PARTIAL_CONTENT or NOT_MODIFIED."""
    part: range
    """Positions of the bytes to send."""


def evaluate(request: Request, etag: str, modified: datetime, size_bytes: int) -> PreconditionResult:
    """Return what to send of a representation; the conditions are tested in the order of section 13.2.2.

    Requests by other methods than GET and HEAD, such as a synchronous execution, get all of it. A response has at most
    one part: a request for several parts gets all of it, and so does one in another unit than bytes.

    Args:
        request: the request.
        etag: strong ETag of the representation.
        modified: time at which the representation was created, in whole seconds.
        size_bytes: length of the representation.

    Raises:
        PreconditionFailedError: the representation is not the one that the request names.
        RequestedRangeNotSatisfiable: the requested part lies beyond the end.
    """
    whole = range(size_bytes)
    if request.method not in ("GET", "HEAD"):
        return PreconditionResult(HTTPStatus.OK, whole)
    if "If-Match" in request.headers:
        if etag not in request.if_match:
            raise PreconditionFailedError("the output has another ETag than If-Match names")
    elif request.if_unmodified_since is not None and modified > request.if_unmodified_since:
        raise PreconditionFailedError("the output was made after the time that If-Unmodified-Since names")
    if "If-None-Match" in request.headers:
        is_unchanged = request.if_none_match.contains_weak(etag)
    else:
        is_unchanged = request.if_modified_since is not None and modified <= request.if_modified_since
    if is_unchanged:
        return PreconditionResult(HTTPStatus.NOT_MODIFIED, whole)
    condition = request.headers.get("If-Range")
    wants_part = request.method == "GET" and (condition is None or _is_same(condition, etag, modified))
    part = _part(request, size_bytes) if wants_part else None
    return (
        PreconditionResult(HTTPStatus.OK, whole)
        if part is None
        else PreconditionResult(HTTPStatus.PARTIAL_CONTENT, part)
    )


def _is_same(condition: str, etag: str, modified: datetime) -> bool:
    """Return whether `If-Range` names a representation; a weak ETag never does."""
    return condition == f'"{etag}"' if condition.startswith(('"', "W/")) else parse_date(condition) == modified


def _part(request: Request, size_bytes: int) -> range | None:
    """Return the positions of the requested bytes; None = all."""
    requested = request.range
    if requested is None or requested.units.lower() != _BYTES or len(requested.ranges) != 1:
        return None
    ((start, stop),) = requested.ranges
    first = max(0, size_bytes + start) if start < 0 else start
    if first >= size_bytes:
        raise RequestedRangeNotSatisfiable(size_bytes)
    return range(first, size_bytes if stop is None else min(stop, size_bytes))
