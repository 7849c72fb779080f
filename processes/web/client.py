"""The address that a request came from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Request
from werkzeug.middleware.proxy_fix import ProxyFix

_MAX_ADDRESS = 64
_WITH_PORT = re.compile(r"\[(?P<six>[^\]]*)\](:\d+)?|(?P<four>[\d.]+):\d+")
_FORWARDED_FOR = "HTTP_X_FORWARDED_FOR"


def trust_proxies(app: Flask, proxies: int) -> None:
    """Let the requests of an application have the address that the outermost trusted proxy saw.

    Of the forwarded headers only that of the address is believed. Host and scheme are not needed: links begin with
    `CLASSIFY_URL`, and a proxy that passes on what a client wrote there would let it name the service as it likes.

    Args:
        app: the application.
        proxies: number of trusted proxies in front of the service. Each has added the address that it got the request
            from at the right of `X-Forwarded-For`; what stands further left comes from the client. Where there are
            fewer addresses than proxies, the request did not come through all of them, and its own address stays.
            0 = the header is not read.
    """
    if proxies:
        app.wsgi_app = _without_quotes(  # type: ignore[method-assign] # Flask's own way to add middleware
            ProxyFix(app.wsgi_app, x_for=proxies, x_proto=0)
        )


def client_address(request: Request) -> str:
    """Return the address of the client, as `trust_proxies` found it."""
    address = request.remote_addr or "unknown"
    match = _WITH_PORT.fullmatch(address)  # some proxies add the port, which is another for each connection
    return (match["six"] or match["four"] if match else address)[:_MAX_ADDRESS]


def _without_quotes(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Keep a client from hiding its address: ProxyFix reads nothing of a header in which it has opened a quote."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if _FORWARDED_FOR in environ:
            environ[_FORWARDED_FOR] = environ[_FORWARDED_FOR].replace('"', "")
        return application(environ, start_response)

    return answer
