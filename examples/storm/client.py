"""Run the service as a child process and talk to it with the standard library."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

START_LIMIT_S = 60
STOP_LIMIT_S = 15
REQUEST_LIMIT_S = 600
LOG_LINES = 25


class DemoError(Exception):
    """The demonstration cannot go on; the message says why."""


class Service:
    """A running service."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._opener: OpenerDirector = build_opener(ProxyHandler({}))

    def get(self, path: str) -> Any:
        """Return the JSON document at a path."""
        return json.loads(self._send(Request(self.url + path, headers={"Accept": "application/json"})))

    def execute(self, process: str, body: dict[str, Any]) -> bytes:
        """Execute a process synchronously and return the body of the answer."""
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        return self._send(Request(f"{self.url}/processes/{process}/execution", data, headers))

    def answers(self) -> bool:
        """Tell whether the service takes requests."""
        try:
            with self._opener.open(self.url + "/conformance", timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def _send(self, request: Request) -> bytes:
        try:
            with self._opener.open(request, timeout=REQUEST_LIMIT_S) as answer:
                return bytes(answer.read())
        except HTTPError as err:
            problem = err.read().decode(errors="replace")
            raise DemoError(f"{request.get_method()} {request.full_url}: {err.code}\n{problem}") from err
        except OSError as err:
            raise DemoError(f"{request.get_method()} {request.full_url}: {err}") from err


@contextmanager
def running_service(root: Path, imagery: Path) -> Iterator[Service]:
    """Start the service, wait until it answers, and stop it in the end whatever happens.

    Args:
        root: folder with `models/` and the configuration.
        imagery: folder below which images and features may be read; the service's state and log go there too.
    """
    port = _free_port()
    log = imagery / "service.log"
    with log.open("wb") as sink:
        child = subprocess.Popen(
            [sys.executable, "-m", "processes.programs.cli", "serve"],
            cwd=root,
            env=_environment(port, imagery),
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        service = Service(f"http://127.0.0.1:{port}")
        _await_start(service, child, log)
        yield service
    finally:
        _stop(child)


def _environment(port: int, imagery: Path) -> dict[str, str]:
    """Return the caller's environment with this service's settings alone."""
    settings = {
        "CLASSIFY_HOST": "127.0.0.1",
        "CLASSIFY_PORT": str(port),
        "CLASSIFY_IMAGERY": str(imagery),
        "CLASSIFY_STATE": str(imagery / "state"),
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("CLASSIFY_")} | settings


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_start(service: Service, child: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_LIMIT_S
    while not service.answers():
        if child.poll() is not None:
            raise DemoError(f"the service ended with status {child.returncode}:\n{_last_lines(log)}")
        if time.monotonic() > end:
            raise DemoError(f"the service did not answer within {START_LIMIT_S} s:\n{_last_lines(log)}")
        time.sleep(0.2)


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Ask the service to end, and end it with all its processes if it does not."""
    child.terminate()
    try:
        child.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
