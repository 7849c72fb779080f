"""The web server with a small application, few threads and little patience: what slow clients do to it is seen quickly."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from flask import Flask, Response, request

from processes.settings import Settings
from processes.web.http.pace import Pace
from processes.web.http.server import HttpServer
from processes.web.http.worker import HttpWorker
from processes.web.views import BODIES, SETTINGS, STOPPING

THREADS = 2
MAX_PER_ADDRESS = 300
MAX_BODY_MB = 40
PACE = Pace(silent_s=6, idle_s=8, head_s=4, pause_s=3, grace_s=5, linger_s=1)
CLOSE = "Host: x\r\nConnection: close\r\n\r\n"


class SmallWorker(HttpWorker):
    """A worker with little patience."""

    pace = PACE
    max_per_address = MAX_PER_ADDRESS


class SmallServer(HttpServer):
    """A server of the small application, with one process."""

    def load_config(self) -> None:
        super().load_config()
        self.cfg.set("worker_class", SmallWorker)

    def load(self) -> Any:
        return application(Path(self.cfg.worker_tmp_dir))


def application(state: Path) -> Flask:
    """Return an application whose responses are large, slow, or say what arrived."""
    app = Flask(__name__)
    settings = Settings.from_plugin({"limits": {"max_body_mb": MAX_BODY_MB}, "state": str(state)})
    (state / BODIES).mkdir(exist_ok=True)
    app.extensions |= {STOPPING: threading.Event(), SETTINGS: settings}

    @app.get("/quick")
    def quick() -> str:
        return "quick"

    @app.get("/wait")
    def wait() -> str:
        app.extensions[STOPPING].wait(float(request.args["s"]))
        return "waited"

    @app.get("/large")
    def large() -> Response:
        size = int(request.args["mb"]) * 2**20
        response = Response(b"x" * 2**16 for _ in range(size // 2**16))
        if "length" in request.args:
            response.content_length = size
        return response

    @app.post("/body")
    def body() -> dict[str, Any]:
        content = request.stream.read()
        return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    @app.get("/broken")
    def broken() -> Response:
        def blocks() -> Iterator[bytes]:
            yield b"x" * 2**18
            raise RuntimeError("the rest is not there")

        return Response(blocks(), headers={"Content-Length": str(2**20)})

    return app


@dataclass(frozen=True)
class Small:
    """A running small server."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def worker(self) -> psutil.Process:
        """The process that answers."""
        (worker,) = psutil.Process(self.process.pid).children()
        return worker

    def connect(self, receive_bytes: int | None = None) -> socket.socket:
        """Return a connection; `receive_bytes` is the size of its receiving buffer."""
        connection = socket.socket()
        if receive_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def ask(self, text: str | bytes) -> tuple[int, dict[str, str], bytes]:
        """Send bytes on a connection of their own, and return status, headers and content of the response."""
        with self.connect() as connection:
            connection.sendall(text.encode() if isinstance(text, str) else text)
            return read_response(connection)

    def quick_s(self) -> float:
        """Return how long a quick request takes."""
        start_s = time.monotonic()
        assert self.ask(f"GET /quick HTTP/1.1\r\n{CLOSE}")[2] == b"quick"
        return time.monotonic() - start_s


def read_response(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read a response to the end of the connection."""
    answer = b"".join(iter(lambda: connection.recv(2**16), b""))
    head, _, content = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers, content


@contextmanager
def small_server(folder: Path, host: str = "127.0.0.1") -> Iterator[Small]:
    """Start a small server in its own process."""
    log = folder / "log"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener, log.open("wb") as output:
        listener.set_inheritable(True)
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, __file__, str(listener.fileno()), str(folder)],
            stdout=output,
            stderr=output,
            pass_fds=[listener.fileno()],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
    small = Small(process, port, log)
    try:
        if family == socket.AF_INET:
            small.quick_s()
        yield small
    finally:
        process.terminate()
        process.wait(20)


if __name__ == "__main__":
    SmallServer(Path("none"), f"fd://{sys.argv[1]}", 1, THREADS, Path(sys.argv[2])).run()
