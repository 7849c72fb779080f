"""The servers that these tests ask: those that who runs them has started, and one that answers as it is told."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ogc_processes import Service


def setting(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        pytest.fail(f"{name} is not set: `make test-clients` starts the servers and runs these tests")
    return value


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """Return classify-objects with the models `quick` and `slow`."""
    with Service(setting("CLASSIFY_URL")) as service:
        yield service


@pytest.fixture(scope="session")
def pygeoapi() -> Iterator[Service]:
    """Return a pygeoapi as it comes, with its process `hello-world`, and with jobs."""
    with Service(setting("PYGEOAPI_URL")) as service:
        yield service


@pytest.fixture(scope="session")
def image() -> Path:
    return Path(setting("IMAGE"))


@pytest.fixture(scope="session")
def layer() -> Path:
    """Return a GeoJSON file of 12 points on the image."""
    return Path(setting("LAYER"))


Answer = tuple[int, dict[str, str], bytes]


class Server:
    """A server that gives answers in their order, and remembers what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        left = list(answers)
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                asked.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, headers, body = left.pop(0)
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer  # noqa: N815

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/api"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def start(*answers: Answer) -> Server:
        servers.append(Server(*answers))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
