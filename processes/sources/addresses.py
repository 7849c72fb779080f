"""Addresses of hosts: found in bounded time, and told apart into public and private ones.

The system's resolver has no deadline of its own. So it runs in a thread that is given up at the deadline.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future

import msgspec

from processes.errors import InputError
from processes.sources.deadlines import Deadline

_MAX_LOOKUPS = 32
"""Hosts that are looked up at the same time, those that were given up and still hang included."""
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
"""What is in use of IPv6 (https://www.iana.org/assignments/ipv6-address-space)."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""An IPv4 address in its last 32 bits (RFC 6052)."""
_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        (
            "192.88.99.0/24",  # relays of 6to4 (RFC 7526)
            "2001::/23",  # Teredo, and other assignments of protocols
            "2002::/16",  # 6to4: an IPv4 address in the next 32 bits
            "3fff::/20",  # documentation (RFC 9637)
        ),
    )
)
"""What Python 3.12 takes for global, in part or in whole, and no host of others is to be reached by."""


class Address(msgspec.Struct, frozen=True):
    """An address of a host, with a port."""

    family: int
    """As `socket.socket` takes it."""
    sockaddr: tuple[str | int | bytes, ...]
    """As `connect` takes it; the address comes first."""

    @property
    def is_private(self) -> bool:
        """Whether it is not one of the public internet, or may lead to one that is not."""
        has_zone = len(self.sockaddr) == 4 and self.sockaddr[3] != 0
        return has_zone or not _is_public(ipaddress.ip_address(str(self.sockaddr[0])))


class Lookups:
    """Lookups of hosts that run. Those of one host are one."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, int], Future[list[Address]]] = {}
        self._changed = threading.Condition()

    def addresses(self, host: str, port: int, deadline: Deadline) -> Sequence[Address]:
        """Return the addresses of a host in the order in which they are to be tried (RFC 6724).

        Args:
            host: a name or an address.
            port: of the host.
            deadline: after which the lookup is given up.

        Raises:
            InputError: the host cannot be found.
            TimeoutError: the deadline is over.
        """
        try:
            return _look_up(host, port, socket.AI_NUMERICHOST)
        except InputError:  # a name
            return self._running_lookup(host, port, deadline).result(deadline.remaining_s())

    def _running_lookup(self, host: str, port: int, deadline: Deadline) -> Future[list[Address]]:
        key = (host, port)
        with self._changed:
            has_room = self._changed.wait_for(
                lambda: key in self._running or len(self._running) < _MAX_LOOKUPS, deadline.remaining_s()
            )
            if not has_room:
                raise TimeoutError("too many lookups of hosts hang")
            if key not in self._running:
                self._running[key] = Future()
                # no pool: its threads would be waited for when the program ends
                threading.Thread(target=self._run, args=key, name="lookup", daemon=True).start()
            return self._running[key]

    def _run(self, host: str, port: int) -> None:
        future = self._running[host, port]
        try:
            future.set_result(_look_up(host, port))
        except Exception as err:  # noqa: BLE001 - whatever it is, it is for who waits
            future.set_exception(err)
        finally:
            with self._changed:
                del self._running[host, port]
                self._changed.notify_all()


LOOKUPS = Lookups()
"""Of this process: its threads that hang are counted together."""


def _look_up(host: str, port: int, flags: int = 0) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, UnicodeError) as err:
        raise InputError(f"the host {host!r} cannot be found") from err
    return list(dict.fromkeys(Address(family, sockaddr) for family, _, _, _, sockaddr in found))


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        if address in _NAT64:
            return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in _GLOBAL_UNICAST:  # IPv4 in IPv6, site-local, multicast, …
            return False
    return address.is_global and not address.is_multicast and not any(address in network for network in _NOT_PUBLIC)
