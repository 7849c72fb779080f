"""A server that answers as a test says, and remembers what it was asked for."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

type Answer = tuple[int, str, bytes]
"""Status, media type, body."""


@dataclass
class ToldHost:
    """A running server."""

    url: str = ""
    authority: str = ""
    """Host and port, as the setting `hosts` takes them."""
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """Media type and body by the path, with its query."""
    services: dict[str, Callable[[dict[str, str]], Answer]] = field(default_factory=dict)
    """What answers below a path, by that: called with the query, and with the rest of the path as `path`."""
    asked: list[str] = field(default_factory=list)

    def answer(self, target: str) -> Answer:
        """Return the answer to a request."""
        if target in self.files:
            return (200, *self.files[target])
        parts = urlsplit(target)
        for path, service in self.services.items():
            if parts.path == path or parts.path.startswith(f"{path}/"):
                return service(
                    {"path": parts.path[len(path) :], **dict(parse_qsl(parts.query, keep_blank_values=True))}
                )
        return 404, "text/plain", b"not here"


@contextmanager
def told_host() -> Iterator[ToldHost]:
    """Start a server that answers nothing yet."""
    told = ToldHost()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked.append(self.path)
            status, media_type, body = told.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    told.authority = f"127.0.0.1:{server.server_port}"
    told.url = f"http://{told.authority}"
    yield told
    server.shutdown()
    server.server_close()
