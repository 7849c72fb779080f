"""All connections of a process: how many there may be, which one makes room, and the clock that ends slow ones."""

from __future__ import annotations

import asyncio
import heapq
import ipaddress
import resource
from collections import defaultdict

from processes.web.http.connection import Connection, Host, Phase

MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS = 2**12, 2**9
"""Connections of one web process."""
_OTHER_FILES, _FILES_EACH = 256, 3
"""Descriptors of the process itself, and of a connection: its socket, its body, its result."""
_AT_ONCE = 16
"""Useless connections that make room together; to find one takes as long as to find all."""
_IPV6_PREFIX = 64


def raise_file_limit() -> int:
    """Let this process open as many files as the system allows; return how many connections that is enough for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return MAX_CONNECTIONS if hard == resource.RLIM_INFINITY else (hard - _OTHER_FILES) // _FILES_EACH


class Connections:
    """The connections of a process. A new one always gets in: the most useless one makes room for it.

    Args:
        host: what the connections share.
        max_total: number of connections.
        max_per_address: number of connections of a client's address; None = it is not known, as all come by a proxy.
    """

    def __init__(self, host: Host, max_total: int, max_per_address: int | None) -> None:
        self._host = host
        self._max_total = max_total
        self._max_per_address = max_per_address
        self._all: set[Connection] = set()
        self._by_address: defaultdict[str, set[Connection]] = defaultdict(set)
        self._checked_s: float | None = None

    def __len__(self) -> int:
        return len(self._all)

    def accept(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(self._host, self._add, self._remove)

    def check(self, now_s: float) -> None:
        """End the connections of clients that are too slow, at a time of the event loop."""
        interval_s = now_s - self._checked_s if self._checked_s is not None else 0
        self._checked_s = now_s
        for connection in list(self._all):
            connection.check(now_s, interval_s)

    def _add(self, connection: Connection) -> None:
        prefix = _prefix(connection.address)
        own = self._by_address.get(prefix, set())
        if self._max_per_address is not None and len(own) >= self._max_per_address:
            self._make_room(own)
        if len(self._all) >= self._max_total:
            self._make_room(self._all)
        self._by_address[prefix].add(connection)
        self._all.add(connection)
        if len(self._all) > self._max_total:  # the application works for all others
            connection.drop()

    def _make_room(self, connections: set[Connection]) -> None:
        now_s = asyncio.get_running_loop().time()
        ranked = heapq.nsmallest(_AT_ONCE, ((*item.rank(now_s), id(item), item) for item in connections))
        useless = [item for phase, _, _, item in ranked if phase <= Phase.SLOW_BODY]
        others = [item for phase, _, _, item in ranked[:1] if phase < Phase.WORKING]
        for connection in useless or others:
            connection.drop()
            self._remove(connection)

    def _remove(self, connection: Connection) -> None:
        self._all.discard(connection)
        prefix = _prefix(connection.address)
        own = self._by_address[prefix]
        own.discard(connection)
        if not own:
            del self._by_address[prefix]


def _prefix(address: str) -> str:
    """Return what the addresses of a client have in common: one who has an IPv6 address has a network of them."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address.partition("%")[0], _IPV6_PREFIX), strict=False))
