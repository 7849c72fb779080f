"""The body of a request, read within limits: of its size, and of the memory that all bodies take together."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import cast

from flask import Request

from processes.errors import LimitError, UnavailableError
from processes.settings import Settings
from processes.web.views import BODIES

_SHARES, _SHARE_BYTES = 4, 2**24
"""Memory for the bodies that are being read by all web processes of the machine: so many shares of this size."""
_MAX_OTHER_BYTES = 2**16
_FREE_BYTES = 2**18
"""A smaller body takes no share."""
_POLL_S = 0.02


def limit_other_bodies(request: Request, endpoints: Collection[str]) -> None:
    """Let no view read a large body into memory, but those that read theirs with `request_body`, or into a file.

    A form is parsed as a whole, and pygeoapi reads bodies of each request, also where it does not use them. A larger
    one is answered by 413 where it is read.

    Args:
        request: the request.
        endpoints: of the views that take large bodies.
    """
    if request.endpoint not in endpoints:
        request.max_content_length = _MAX_OTHER_BYTES


@contextlib.contextmanager
def request_body(
    request: Request, settings: Settings, wait_s: float, is_stopping: Callable[[], bool]
) -> Iterator[bytes]:
    """Yield the body of a request. Whoever keeps it, or what is made of it, keeps it no longer than this context.

    Args:
        request: the request.
        settings: what the deployment has decided.
        wait_s: seconds to wait for memory, as long as other large bodies are read.
        is_stopping: returns whether the server stops.

    Raises:
        LimitError: the body is too large.
        UnavailableError: there is no memory for it now.
    """
    max_mb = settings.limits.max_body_mb
    limit = max_mb * 2**20
    size_bytes = request.content_length or 0
    with contextlib.ExitStack() as stack:
        if _FREE_BYTES < size_bytes <= limit:
            count = min(_SHARES, -(-size_bytes // _SHARE_BYTES))
            stack.enter_context(_memory(settings.state / BODIES, count, wait_s, is_stopping))
        body = _read(request, limit) if size_bytes <= limit else b""
        if max(size_bytes, len(body)) > limit:
            raise LimitError("max_body_mb", max_mb, f"the request's body has more than {limit} bytes")
        yield body


def _read(request: Request, limit: int) -> bytes:
    """Return the body, or what is more than the limit."""
    if request.content_length is None:
        return request.stream.read(limit + 1)
    # werkzeug's stream takes as much memory as it is asked for, and copies what it has read
    return cast(bytes, request.environ["wsgi.input"].read(request.content_length))


@contextlib.contextmanager
def _memory(folder: Path, count: int, wait_s: float, is_stopping: Callable[[], bool]) -> Iterator[None]:
    """Hold shares of the memory. They are locks of files, which end with their process, however it ends."""
    end_s = time.monotonic() + wait_s
    while not (files := _lock(folder, count)):
        if time.monotonic() > end_s or is_stopping():
            raise UnavailableError("too many large requests are being read; try again later")
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        _close(files)


def _lock(folder: Path, count: int) -> list[int]:
    """Return the descriptors of as many files as asked for, locked; none if there are not so many free ones."""
    files: list[int] = []
    for number in range(_SHARES):
        file = os.open(folder / f"share-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            continue
        files.append(file)
        if len(files) == count:
            return files
    _close(files)
    return []


def _close(files: list[int]) -> None:
    for file in files:
        os.close(file)
