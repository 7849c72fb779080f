"""What the attackers of a siege have in common: their orders, their connections, and what they write down."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec

ASK_S = 600
"""An answer that takes longer is not waited for."""


class Orders(msgspec.Struct):
    """What is attacked, by whom and how."""

    port: int
    """Of the service."""
    host_port: int
    """Where the host and subscriber that drips listens."""
    attacks: dict[str, int]
    """How many of each attack there are."""
    addresses: list[str]
    """Of the loopback network, that the attackers come from by turns."""
    result: str
    """Path of a large result."""
    inputs: dict[str, Any]
    """Of a request for one object."""


class Attack:
    """One kind of attack, and what came of it.

    Args:
        orders: of the siege.
        count: how many attackers do it at the same time.
    """

    def __init__(self, orders: Orders, count: int) -> None:
        self.orders = orders
        self.count = count
        self.open = 0
        self.events: Counter[str] = Counter()

    def address(self, number: int) -> str:
        """Return the address that an attacker comes from."""
        return self.orders.addresses[number % len(self.orders.addresses)]

    @contextlib.asynccontextmanager
    async def connection(self, number: int) -> AsyncIterator[socket.socket]:
        """Yield a connection that lets the kernel take as few bytes as possible."""
        with socket.socket() as client:
            client.setblocking(False)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.bind((self.address(number), 0))
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self.orders.port))
            self.events["connections"] += 1
            self.open += 1
            try:
                yield client
            finally:
                self.open -= 1

    async def ask(self, number: int, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        """Send a request and return status and document of the answer; raise OSError where there is none."""
        address = (self.address(number), 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.orders.port, local_addr=address)
        try:
            writer.write(head(method, path, len(body)) + body)
            async with asyncio.timeout(ASK_S):
                answer = await reader.read()
        finally:
            writer.close()
        start, _, content = answer.partition(b"\r\n\r\n")
        try:
            return int(start.split(b" ", 2)[1]), msgspec.json.decode(content)
        except (IndexError, ValueError) as err:
            raise ConnectionError("the server closed the connection") from err


def head(method: str, path: str, length: int) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", "Content-Type: application/json"]
    lines += ["Prefer: respond-async", "Accept: application/json", f"Content-Length: {length}"]
    return "\r\n".join([*lines, "\r\n"]).encode()


def is_open(client: socket.socket) -> bool:
    """Say whether the server still holds a connection; bytes that were not read say nothing about that."""
    return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1


async def status_line(client: socket.socket, timeout_s: float = 0.2) -> str:
    """Return what the server said before it closed a connection."""
    try:
        answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 64), timeout_s)
    except OSError:  # as a time-out is
        answer = b""
    return answer[9:12].decode(errors="replace") if answer else "closed without a word"
