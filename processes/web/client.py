"""The address that a request came from."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Request

_MAX_ADDRESS = 64


def client_address(request: Request, proxies: Sequence[str]) -> str:
    """Return the address of the client. From a trusted proxy it is the first address that the proxy forwards."""
    address = request.remote_addr or "unknown"
    if address not in proxies:
        return address
    first = request.headers.get("X-Forwarded-For", "").split(",")[0].strip()
    return first[:_MAX_ADDRESS] or address
