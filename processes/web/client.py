"""The address that a request came from."""

from __future__ import annotations

import re

from flask import Request

_MAX_ADDRESS = 64
_WITH_PORT = re.compile(r"\[(?P<six>[^\]]*)\](:\d+)?|(?P<four>[\d.]+):\d+")


def client_address(request: Request, proxies: int) -> str:
    """Return the address of the client: the last one that no trusted proxy wrote.

    Args:
        request: the request.
        proxies: number of trusted proxies in front of the service. Each has added the address that it got the request
            from at the right of `X-Forwarded-For`; what stands further left comes from the client.
    """
    forwarded = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")]
    trusted = [part for part in forwarded[-proxies:] if part] if proxies else []
    address = trusted[0] if trusted else request.remote_addr or "unknown"
    match = _WITH_PORT.fullmatch(address)  # some proxies add the port, which is another for each connection
    return (match["six"] or match["four"] if match else address)[:_MAX_ADDRESS]
