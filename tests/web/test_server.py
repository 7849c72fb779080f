"""The service as a process: its own HTTP errors, its limits on waiting, its end."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from free_ports import free_port
from service import ROOT, clean_environment

pytestmark = [pytest.mark.jobs, pytest.mark.timed]


@dataclass(frozen=True)
class Service:
    """A started service."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    def talk(self, request: bytes, timeout_s: float = 20) -> tuple[int, dict[str, str], bytes]:
        """Send bytes as they are and return status, headers and body of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as connection:
            connection.sendall(request)
            answer = b""
            while block := connection.recv(65536):
                answer += block
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split()[1]), headers, body

    def web_workers(self) -> list[psutil.Process]:
        """Return the processes that answer requests."""
        parts = psutil.Process(self.process.pid).children()
        (web,) = [part for part in parts if "web" in part.cmdline()]
        return web.children()

    def get(self, path: str) -> tuple[int, Any]:
        """Get a path and return status and JSON."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as response:
            return response.status, json.load(response)


def start(folder: Path) -> Service:
    """Start a service with its state in a folder and wait until it answers."""
    port = free_port()
    variables = {"CLASSIFY_PORT": str(port), "CLASSIFY_STATE": str(folder / "state")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "processes.programs.cli", "serve"],
            env=clean_environment() | variables,
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    service = Service(process, port, folder)
    deadline = time.monotonic() + 110
    while True:
        try:
            assert service.get("/conformance")[0] == 200
            return service
        except OSError:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = start(tmp_path_factory.mktemp("service"))
    yield service
    service.process.terminate()
    service.process.wait(20)


CLOSE = b"Host: localhost\r\nConnection: close\r\n\r\n"


def _assert_form(answer: tuple[int, dict[str, str], bytes], status: int) -> None:
    found, headers, body = answer
    assert found == status, body
    assert headers["content-type"] == "application/json"
    document = json.loads(body)
    assert document["status"] == status
    assert set(document) >= {"type", "title", "status", "detail", "instance"}
    assert "gunicorn" not in body.decode().lower()


def test_a_request_line_of_8190_bytes_arrives(service: Service) -> None:
    path = b"/conformance?" + b"x" * (8190 - len(b"GET /conformance? HTTP/1.1\r\n"))
    assert service.talk(b"GET " + path + b" HTTP/1.1\r\n" + CLOSE)[0] == 200
    _assert_form(service.talk(b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n" + CLOSE), 414)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nbroken header\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"POST /processes/echo/execution HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
)
def test_what_is_no_http_gets_an_error_in_form(service: Service, request_bytes: bytes, status: int) -> None:
    _assert_form(service.talk(request_bytes), status)


def test_a_body_that_stops_arriving_is_a_408(service: Service) -> None:
    head = b"POST /processes/echo/execution HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 50\r\n"
    start_s = time.monotonic()
    _assert_form(service.talk(head + CLOSE + b'{"inputs"', 30), 408)
    assert 8 < time.monotonic() - start_s < 15


def test_a_body_over_the_limit_is_read_and_answered_by_413(service: Service) -> None:
    size = 65 * 2**20
    head = f"POST /processes/echo/execution HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n"
    answer = service.talk(head.encode() + CLOSE + b" " * size, 60)
    _assert_form(answer, 413)
    assert "max_body_mb = 64" in json.loads(answer[2])["detail"]


def test_a_chunked_body_is_read(service: Service) -> None:
    body = b'{"inputs": {"echo": "teststring"}}'
    head = b"POST /processes/echo/execution HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + CLOSE
    status, _, answer = service.talk(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    assert (status, answer) == (200, b'["teststring"]')


def test_more_slow_senders_than_threads_stop_nobody(service: Service) -> None:
    chunked = b"POST /processes/echo/execution HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    done = threading.Event()
    with ExitStack() as stack:

        def connections(begin: bytes) -> list[socket.socket]:
            found = [stack.enter_context(socket.create_connection(("127.0.0.1", service.port))) for _ in range(140)]
            for connection in found:
                connection.sendall(begin)
            return found

        heads, bodies = connections(b"GET /conformance?"), connections(chunked)

        def drip() -> None:
            while not done.wait(1):
                for connection, block in [(item, b"x") for item in heads] + [(item, b"1\r\nx\r\n") for item in bodies]:
                    with suppress(OSError):
                        connection.send(block)

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            for _ in range(5):
                start_s = time.monotonic()
                assert service.get("/conformance")[0] == 200
                assert time.monotonic() - start_s < 5
        finally:
            done.set()
            thread.join()


def test_it_listens_at_the_loopback_address_only(service: Service) -> None:
    listening = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True, check=False).stdout.split("\n")
    if not any(listening):
        pytest.skip("ss is not there")
    own = [line.split()[3] for line in listening if f":{service.port} " in line]
    assert own == [f"127.0.0.1:{service.port}"]


def test_the_openapi_document_names_the_processes(service: Service) -> None:
    _, document = service.get("/openapi?f=json")
    assert "/processes/classify-objects/execution" in document["paths"]


def test_a_killed_worker_is_replaced(service: Service) -> None:
    worker = service.web_workers()[0]
    worker.kill()
    deadline = time.monotonic() + 20
    while worker in (workers := service.web_workers()) or len(workers) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert service.get("/conformance")[0] == 200


def test_it_ends_at_sigterm_and_leaves_no_process(tmp_path: Path) -> None:
    service = start(tmp_path)
    processes = psutil.Process(service.process.pid).children(recursive=True)
    assert len(processes) >= 5  # two parts, a web worker, two slots
    start_s = time.monotonic()
    service.process.terminate()
    assert service.process.wait(10) == 0
    assert time.monotonic() - start_s < 5
    _, left = psutil.wait_procs(processes, 5)  # the checker of models ends when it sees that its owner is gone
    assert not left
    log = (tmp_path / "log").read_text()
    assert "SIGABRT" not in log
    assert "Traceback" not in log  # the second web worker is still starting when the signal comes


def test_uploads_are_whole_or_not_at_all(service: Service) -> None:
    content = b"0123456789abcdef" * 2**16
    head = f"POST /uploads HTTP/1.1\r\nContent-Length: {len(content)}\r\n".encode()
    results: list[tuple[int, dict[str, str], bytes]] = []
    both = [threading.Thread(target=lambda: results.append(service.talk(head + CLOSE + content))) for _ in range(2)]
    with socket.create_connection(("127.0.0.1", service.port)) as cut:
        cut.sendall(head + CLOSE + content[:-1])
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
    documents = [json.loads(body) for _, _, body in results]
    assert [status for status, _, _ in results] == [201, 201]
    assert {item["sha256"] for item in documents} == {hashlib.sha256(content).hexdigest()}
    ids = {item["href"].removeprefix("upload:").split("/")[0] for item in documents}
    time.sleep(0.5)
    assert {entry.name for entry in (service.folder / "state" / "results" / "uploads").iterdir()} == ids
    assert not any(entry.name.startswith("tmp") for entry in (service.folder / "state" / "bodies").iterdir())


def test_the_first_example_of_the_document_runs_on_a_fresh_service(service: Service) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{service.port}/openapi?f=json", timeout=20) as response:
        paths = json.load(response)["paths"]
    for process in ("classify-objects", "describe-model", "echo"):
        path = f"/processes/{process}/execution"
        body = json.dumps(paths[path]["post"]["requestBody"]["content"]["application/json"]["example"]).encode()
        head = f"POST {path} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n".encode()
        status, _, answer = service.talk(head + CLOSE + body, 60)
        assert status == 200, answer
