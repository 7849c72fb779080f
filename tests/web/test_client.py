"""Who a request comes from, behind proxies and without."""

from __future__ import annotations

import pytest
from flask import Flask, request

from processes.web.client import client_address


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "192.0.2.7", "203.0.113.1"),
        (1, "192.0.2.7", "192.0.2.7"),
        (1, "10.0.0.1, 198.51.100.9,192.0.2.7", "192.0.2.7"),
        (2, "10.0.0.1, 192.0.2.7, 10.1.0.1", "192.0.2.7"),
        (2, "192.0.2.7", "192.0.2.7"),
        (3, ", 192.0.2.7, 10.1.0.1", "192.0.2.7"),
        (1, None, "203.0.113.1"),
        (1, " , ", "203.0.113.1"),
        (1, "192.0.2.7:50123", "192.0.2.7"),
        (1, "[2001:db8::7]:50123", "2001:db8::7"),
        (1, "2001:db8::7", "2001:db8::7"),
        (1, "x" * 1000, "x" * 64),
    ],
)
def test_the_client_is_the_last_address_that_no_trusted_proxy_wrote(
    proxies: int, forwarded: str | None, address: str
) -> None:
    headers = {"Forwarded": "for=10.9.9.9"} | ({"X-Forwarded-For": forwarded} if forwarded is not None else {})
    with Flask(__name__).test_request_context(headers=headers, environ_base={"REMOTE_ADDR": "203.0.113.1"}):
        assert client_address(request, proxies) == address
