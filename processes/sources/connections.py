"""Connections to hosts that end at a deadline, however slowly the host does what.

A time-out of a socket is one of each call: a host that sends a byte now and then meets it for ever. Here every call
gets what is left until the deadline: the lookup of the name, connecting, the handshake of TLS, the status line, interim
answers, headers, and the body.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Buffer, Callable, Sequence
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context

from processes.errors import ForbiddenError, InputError
from processes.sources.addresses import LOOKUPS, Address
from processes.sources.deadlines import Deadline

_CONNECT_S = 10
"""Longest time to find the addresses of a host, and again to connect to one of them, in seconds."""
_PAUSE_S = 30
"""Longest pause within an answer, in seconds."""
_MAX_ADDRESSES = 8
"""Addresses of a host that are tried."""

CurrentDeadline = Callable[[], Deadline]
"""Returns the deadline of what is done now: a connection that is kept is used for one request after the other."""


class _EndsAtDeadline(socket.socket):
    """A socket each of whose calls ends at the deadline."""

    deadline: CurrentDeadline | None = None

    def _limit(self) -> None:
        self.settimeout(_PAUSE_S if self.deadline is None else min(_PAUSE_S, self.deadline().remaining_s()))

    def recv_into(self, buffer: Buffer, nbytes: int | None = None, flags: int = 0) -> int:
        self._limit()
        return super().recv_into(buffer, memoryview(buffer).nbytes if nbytes is None else nbytes, flags)

    def sendall(self, data: Buffer, flags: int = 0) -> None:
        self._limit()
        super().sendall(data, flags)

    def send(self, data: Buffer, flags: int = 0) -> int:
        self._limit()
        return super().send(data, flags)


class _PlainSocket(_EndsAtDeadline):
    """A socket of TCP."""


class _TlsSocket(_EndsAtDeadline, ssl.SSLSocket):
    """A socket of TLS. Python's handshake ends at the time-out that the socket of TCP has, as a whole."""


class _Connects(HTTPConnection):
    """A connection to a host all of whose addresses were found allowed, and are tried in turn.

    Args:
        deadline: of what is done now.
        allows_private: True = the host may have private addresses.
    """

    def __init__(self, *args: Any, deadline: CurrentDeadline, allows_private: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline = deadline
        self._allows_private = allows_private

    def _new_conn(self) -> socket.socket:
        try:
            addresses = LOOKUPS.addresses(self.host, self.port, self._deadline().at_most(_CONNECT_S))
        except TimeoutError as err:
            raise InputError(f"the host {self.host!r} was not found in time: {err}") from err
        if not self._allows_private and any(address.is_private for address in addresses):
            raise ForbiddenError(f"the host {self.host!r} has a private address, which this server does not allow")
        try:
            return _connect(addresses[:_MAX_ADDRESSES], self._deadline)
        except TimeoutError:
            raise
        except OSError as err:
            raise NewConnectionError(self, str(err)) from err

    def connect(self) -> None:
        super().connect()
        if isinstance(self.sock, _TlsSocket):
            self.sock.deadline = self._deadline


class _TlsConnects(_Connects, HTTPSConnection):
    """A connection over TLS."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connects


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnects


def pool_of(
    scheme: str, host: str, port: int, deadline: CurrentDeadline, *, allows_private: bool
) -> urllib3.HTTPConnectionPool:
    """Return a pool of connections to a host. It raises ForbiddenError where an address of the host is not allowed.

    Args:
        scheme: `http` or `https`.
        host: a name, or an address without brackets.
        port: of the host.
        deadline: returns the one of what is done with the pool now.
        allows_private: True = the host may have private addresses.
    """
    options: dict[str, Any] = {"deadline": deadline, "allows_private": allows_private}
    if scheme == "http":
        return _Pool(host, port, **options)
    context = create_urllib3_context()
    context.load_default_certs()
    context.sslsocket_class = _TlsSocket
    return _TlsPool(host, port, ssl_context=context, **options)


def _connect(addresses: Sequence[Address], deadline: CurrentDeadline) -> socket.socket:
    """Return a socket that is connected to the first address that answers; each gets a share of the time that is left.

    Raises:
        OSError: none answers; what the last one does.
    """
    connecting = deadline().at_most(_CONNECT_S)
    last_error = OSError("the host has no address")
    for number, address in enumerate(addresses):
        try:
            connection = _PlainSocket(address.family, socket.SOCK_STREAM)
        except OSError as err:  # such as IPv6 on a machine without it
            last_error = err
            continue
        try:
            connection.settimeout(connecting.remaining_s() / (len(addresses) - number))
            connection.connect(address.sockaddr)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(min(_PAUSE_S, deadline().remaining_s()))  # the handshake of TLS takes it over
        except OSError as err:
            connection.close()
            last_error = err
        else:
            connection.deadline = deadline
            return connection
    raise last_error
