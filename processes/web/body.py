"""The body of a request, read within limits."""

from __future__ import annotations

from flask import Request
from gunicorn.http.errors import NoMoreData, ParseException

from processes.errors import InputError, LimitError
from processes.ogc.problem import RequestTimeoutError

_BLOCK_BYTES = 2**18
_READ_FACTOR = 4
"""A body that is too large is read up to this multiple of the limit: a client that still sends reads no response."""


def read_body(request: Request, max_mb: int) -> bytes:
    """Return the body of a request.

    Raises:
        LimitError: the body is too large; it was read to its end, or to four times the limit, and dropped.
        RequestTimeoutError: the body stopped arriving.
        InputError: the body is not encoded as the request's headers say.
    """
    limit, size, blocks = max_mb * 2**20, 0, []
    try:
        while size <= _READ_FACTOR * limit and (block := request.stream.read(_BLOCK_BYTES)):
            size += len(block)
            blocks.append(block)
            if size > limit:
                blocks.clear()
    except (TimeoutError, BlockingIOError) as err:
        raise RequestTimeoutError("the request's body stopped arriving") from err
    except (ParseException, NoMoreData) as err:
        raise InputError("the request's body is not encoded as its headers say") from err
    if size > limit:
        raise LimitError("max_body_mb", max_mb, f"the request's body has more than {limit} bytes")
    return b"".join(blocks)
