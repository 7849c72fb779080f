"""What is sent to a client, and how fast the client takes it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import termios
import threading
from typing import Any

from processes.web.http.pace import Pace

_WRITE_BYTES = 2**16
"""A transport that holds more than this asks for a pause."""
_MOMENT_MS = 2


class Outflow:
    """The sending side of a connection.

    Args:
        transport: asyncio's transport of the connection.
        pace: how slow the client may be.
        now_s: time of the event loop.
    """

    def __init__(self, transport: Any, pace: Pace, now_s: float) -> None:
        self._transport = transport
        self._pace = pace
        self._written_bytes = self._taken_bytes = 0
        self._blocked_s, self._blocked_bytes = 0.0, 0
        """How long the client has let this response wait, and what it had taken before that."""
        self.taken_s = now_s
        """When the client has last taken something, or there was nothing to take."""
        self._lock = threading.Lock()
        self._is_closed = False
        transport.set_write_buffer_limits(high=_WRITE_BYTES)

    @property
    def is_waiting(self) -> bool:
        """Whether something could not be sent yet."""
        return bool(self._transport.get_write_buffer_size())

    def begin(self) -> None:
        """Begin another response."""
        self._blocked_s = 0.0

    def write(self, content: bytes) -> None:
        """Send content, now or when the client takes it."""
        if content:
            self._written_bytes += len(content)
            self._transport.write(content)

    def write_now(self, content: bytes) -> int:
        """Send what the client takes at once, and return how much that is. A thread may call this while nobody writes.

        A thread that sends its response itself saves the client one change of threads.

        Raises:
            OSError: the connection is broken.
        """
        sent_bytes, left = 0, memoryview(content)
        while left:
            with self._lock:
                if self._is_closed:
                    break
                file = self._transport.get_extra_info("socket").fileno()
                try:
                    size_bytes = os.write(file, left)
                except BlockingIOError:
                    size_bytes = 0
            sent_bytes, left = sent_bytes + size_bytes, left[size_bytes:]
            if left and not _is_writable(file):
                break
        self._written_bytes += sent_bytes
        return sent_bytes

    def close(self) -> None:
        """Write nothing more: the descriptor of the connection may be another's from now on."""
        with self._lock:
            self._is_closed = True

    def is_in_time(self, now_s: float, interval_s: float) -> bool:
        """Return whether the client takes what it is sent quickly enough.

        Args:
            now_s: time of the event loop.
            interval_s: seconds since the last call.
        """
        if not self.is_waiting:
            self.taken_s = now_s
            return True
        taken_bytes = self._written_bytes - self._unsent_bytes()
        if taken_bytes > self._taken_bytes:
            self._taken_bytes, self.taken_s = taken_bytes, now_s
        if not self._blocked_s:
            self._blocked_bytes = taken_bytes
        self._blocked_s += interval_s
        is_moving = now_s - self.taken_s <= self._pace.grace_s
        return is_moving and self._pace.is_read_in_time(taken_bytes - self._blocked_bytes, self._blocked_s)

    def _unsent_bytes(self) -> int:
        """Return how much the client has not acknowledged. The kernel alone holds megabytes for a slow client."""
        size: int = self._transport.get_write_buffer_size()
        with contextlib.suppress(OSError):
            queued = fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, b"\0" * 4)
            size += struct.unpack("i", queued)[0]
        return size


def _is_writable(file: int) -> bool:
    """Return whether something can be sent, after a moment in which a quick client takes what is there."""
    poll = select.poll()
    poll.register(file, select.POLLOUT)
    return bool(poll.poll(_MOMENT_MS))
