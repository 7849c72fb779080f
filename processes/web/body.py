"""The body of a request, read within limits."""

from __future__ import annotations

from flask import Request

from processes.errors import LimitError


def read_body(request: Request, max_mb: int) -> bytes:
    """Return the body of a request.

    Raises:
        LimitError: the body is too large.
    """
    limit = max_mb * 2**20
    body = request.stream.read(limit + 1)
    if len(body) > limit:
        raise LimitError("max_body_mb", max_mb, f"the request's body has more than {limit} bytes")
    return body
