"""Connections to a database host that hangs: libpq waits for an answer without end."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from typing import Protocol

_POLL_S = 0.1
_IDLE_S = 5
"""Seconds without a connection in use after which the thread ends."""


class _Connection(Protocol):
    def fileno(self) -> int: ...


class HungConnections:
    """Cuts connections in use that have waited too long. Their thread then gets an error in place of an answer.

    Args:
        limit_s: seconds that a connection may be in use.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._used: dict[int, tuple[_Connection, float]] = {}
        self._thread: threading.Thread | None = None

    def begin(self, connection: _Connection) -> None:
        """Let the time of a connection begin."""
        with self._lock:
            self._used[id(connection)] = (connection, time.monotonic())
            if self._thread is None or not self._thread.is_alive():  # there is none in a forked process
                self._thread = threading.Thread(target=self._watch, name="hung connections", daemon=True)
                self._thread.start()

    def end(self, connection: _Connection) -> None:
        """Let the time of a connection end."""
        with self._lock:
            self._used.pop(id(connection), None)

    def _watch(self) -> None:
        idle_since_s = time.monotonic()
        while True:
            time.sleep(_POLL_S)
            now_s = time.monotonic()
            with self._lock:
                for connection, since_s in self._used.values():
                    if now_s - since_s > self._limit_s:
                        _cut(connection)
                if self._used:
                    idle_since_s = now_s
                elif now_s - idle_since_s > _IDLE_S:
                    self._thread = None
                    return


def _cut(connection: _Connection) -> None:
    with contextlib.suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as copy:
        copy.shutdown(socket.SHUT_RDWR)  # where it is closed already, nothing happens
