"""Ports to listen at."""

from __future__ import annotations

import contextlib
import secrets
import socket

_FIRST, _END = 20_000, 32_000
"""Below the ports that Linux gives to whoever asks for any one: another test's connection may have such a one by the
time that a program listens at it."""
_TRIES = 100


def free_port() -> int:
    """Return a port at which nobody listens."""
    for _ in range(_TRIES):
        port = _FIRST + secrets.randbelow(_END - _FIRST)
        with contextlib.suppress(OSError), socket.socket() as free:
            free.bind(("", port))
            return port
    raise RuntimeError("no port is free")
