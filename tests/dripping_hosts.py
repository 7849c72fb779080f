"""Hosts that never come to an end: each meets any time-out of a socket, as it always sends one more byte."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping

PAUSE_S = 0.05
Answer = Callable[[socket.socket], None]


def _drip(connection: socket.socket, text: bytes, start: bytes = b"") -> None:
    connection.sendall(start)
    while True:
        for byte in text:
            connection.sendall(bytes([byte]))
            time.sleep(PAUSE_S)


def _redirect(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Length: 0\r\nX: ")
    time.sleep(8 * PAUSE_S)
    connection.sendall(b"\r\n\r\n")


def _be_silent(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def _flood(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


ANSWERS: Mapping[str, Answer] = {
    "silent": _be_silent,
    "status line": lambda connection: _drip(connection, b"1", b"HTTP/1."),
    "headers": lambda connection: _drip(connection, b"a: b\r\n", b"HTTP/1.1 200 OK\r\n"),
    "one header": lambda connection: _drip(connection, b"a", b"HTTP/1.1 200 OK\r\nX: "),
    "interim answers": lambda connection: _drip(connection, b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a flood of interim answers": _flood,
    "body": lambda connection: _drip(connection, b" ", b"HTTP/1.1 200 OK\r\n\r\n"),
    "chunks": lambda connection: _drip(
        connection, b"1\r\n \r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    ),
    "redirects": _redirect,
}
"""What a host does instead of an answer, by name."""
HANDSHAKES: Mapping[str, Answer] = {
    "silent": _be_silent,
    "handshake": lambda connection: _drip(connection, b"\0", b"\x16\x03\x03\x40\0\x02\0\x3f\xfc"),
}
"""The same over TLS: a record with the beginning of a ServerHello of 16 KiB."""


@contextlib.contextmanager
def dripping_host(answer: Answer, port: int = 0) -> Iterator[int]:
    """Yield the port of a host that answers so.

    Args:
        answer: sends what it will; the connection is closed when it returns.
        port: to listen at; 0 = a free one.
    """
    with socket.create_server(("127.0.0.1", port), backlog=256) as server:
        threading.Thread(target=_accept, args=(server, answer), daemon=True).start()
        try:
            yield server.getsockname()[1]
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, answer: Answer) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(connection, answer), daemon=True).start()


def _answer(connection: socket.socket, answer: Answer) -> None:
    with connection, contextlib.suppress(OSError):
        connection.recv(65536)
        answer(connection)
