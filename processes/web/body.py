"""The body of a request, read within limits: of its size, and of the memory that all bodies take together."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import cast

from flask import Request

from processes.errors import LimitError, RequestError, UnavailableError, with_causes
from processes.settings import Settings
from processes.web.views import BODIES

_SHARES, _SHARE_BYTES = 4, 2**24
"""Memory for the bodies that are being read by all web processes of the machine: so many shares of this size."""
_MAX_OTHER_BYTES = 2**16
_FREE_BYTES = 2**18
"""A smaller body takes no share."""
_POLL_S = 0.02


def limit_other_bodies(request: Request, endpoints: Collection[str]) -> None:
    """Let no view read a large body into memory, but those that read theirs with `use_body`, or into a file.

    A form is parsed as a whole, and pygeoapi reads bodies of each request, also where it does not use them. A larger
    one is answered by 413 where it is read.

    Args:
        request: the request.
        endpoints: of the views that take large bodies.
    """
    if request.endpoint not in endpoints:
        request.max_content_length = _MAX_OTHER_BYTES


def use_body[T](
    request: Request, settings: Settings, wait_s: float, is_stopping: Callable[[], bool], use: Callable[[bytes], T]
) -> T:
    """Return what is made of the body of a request, which is in memory as long as that takes.

    Args:
        request: the request.
        settings: what the deployment has decided.
        wait_s: seconds to wait for memory, as long as other large bodies are read.
        is_stopping: returns whether the server stops.
        use: makes something of the body; that keeps neither the body nor what is as large.

    Raises:
        LimitError: the body is too large.
        UnavailableError: there is no memory for it now.
    """
    max_mb = settings.limits.max_body_mb
    size_bytes = request.content_length or 0
    with contextlib.ExitStack() as stack:
        if _FREE_BYTES < size_bytes <= max_mb * 2**20:
            count = min(_SHARES, -(-size_bytes // _SHARE_BYTES))
            stack.enter_context(_memory(settings.state / BODIES, count, wait_s, is_stopping))
        try:
            return use(_read(request, max_mb))
        except Exception as err:
            _drop_values(err)
            raise


def _read(request: Request, max_mb: int) -> bytes:
    """Return the body; raise LimitError where it is larger than `max_mb`."""
    limit, size_bytes = max_mb * 2**20, request.content_length
    if size_bytes is None:
        body = request.stream.read(limit + 1)
    else:
        # werkzeug's stream takes as much memory as it is asked for, and copies what it has read
        body = cast(bytes, request.environ["wsgi.input"].read(size_bytes)) if size_bytes <= limit else b""
    if max(size_bytes or 0, len(body)) > limit:
        raise LimitError("max_body_mb", max_mb, f"the request's body has more than {limit} bytes")
    return body


def _drop_values(error: BaseException) -> None:
    """Empty the frames of functions that an error has left.

    The body stands in them. An error that is answered stands in a circle of references, and would keep the body until
    the garbage collector comes: as many bodies as have been refused since. An error that stands in a fault forgets
    where it was raised: its frames lead to those that called them, which are not in the other's traceback.
    """
    for item in with_causes(error):
        traceback.clear_frames(item.__traceback__)
        for fault in item.faults if isinstance(item, RequestError) else ():
            for origin in with_causes(fault.error):
                origin.__traceback__ = None


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
