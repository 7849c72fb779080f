"""Who a request comes from, behind proxies and without."""

from __future__ import annotations

import pytest
from flask import Flask, request

from processes.web.client import client_address, trust_proxies


def answered(proxies: int, headers: dict[str, str]) -> tuple[str, str, str]:
    """Return address, host and scheme that a request has for the application behind so many proxies."""
    app = Flask(__name__)
    app.add_url_rule("/", view_func=lambda: [client_address(request), request.host, request.scheme])
    trust_proxies(app, proxies)
    answer = app.test_client().get("/", headers=headers, environ_base={"REMOTE_ADDR": "203.0.113.1"})
    address, host, scheme = answer.get_json()
    return address, host, scheme


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "192.0.2.7", "203.0.113.1"),
        (1, "192.0.2.7", "192.0.2.7"),
        (1, "10.0.0.1, 198.51.100.9,192.0.2.7", "192.0.2.7"),
        (2, "10.0.0.1, 192.0.2.7, 10.1.0.1", "192.0.2.7"),
        (1, None, "203.0.113.1"),
        (1, " , ", "203.0.113.1"),
        (1, " , 192.0.2.7", "192.0.2.7"),
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
    assert answered(proxies, headers)[0] == address


@pytest.mark.parametrize(("proxies", "forwarded"), [(2, "192.0.2.7"), (3, ", 192.0.2.7, 10.1.0.1"), (2, "")])
def test_a_request_that_did_not_come_through_all_proxies_has_its_own_address(proxies: int, forwarded: str) -> None:
    assert answered(proxies, {"X-Forwarded-For": forwarded})[0] == "203.0.113.1"


@pytest.mark.parametrize("added", ["192.0.2.7", "192.0.2.7, 10.1.0.1"])
@pytest.mark.parametrize(
    "forged", ["10.0.0.1", "10.0.0.1, 10.0.0.2, 10.0.0.3", ",,,", '"', '"10.0.0.1, ', '10.0.0.1, "\\', '"a", "b']
)
def test_whatever_a_client_writes_proxies_have_the_last_word(forged: str, added: str) -> None:
    proxies = len(added.split(","))
    assert answered(proxies, {"X-Forwarded-For": f"{forged}, {added}"})[0] == "192.0.2.7"


@pytest.mark.parametrize("proxies", [0, 1])
def test_no_other_forwarded_header_is_believed(proxies: int) -> None:
    forged = {"Host": "evil.example", "Proto": "https", "Port": "1", "Prefix": "/x", "Server": "evil.example"}
    headers = {f"X-Forwarded-{name}": value for name, value in forged.items()}
    assert answered(proxies, headers)[1:] == ("localhost", "http")
