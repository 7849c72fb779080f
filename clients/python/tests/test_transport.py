"""What is tried again, and to whom headers go, with a server that answers as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ogc_processes import NoAnswer, RequestRefused, Service, UnexpectedAnswer, transport

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


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE_S", 0.01)


CONFORMANCE = (200, {"Content-Type": "application/json"}, b'{"conformsTo": ["a"]}')
DESCRIPTION = (200, {"Content-Type": "application/json"}, b'{"id": "p"}')
BUSY = (503, {"Retry-After": "0"}, b"")


def test_a_get_is_tried_again(serve: Serve) -> None:
    server = serve(BUSY, (502, {}, b""), CONFORMANCE)
    with Service(server.url) as service:
        assert service.conformance == ["a"]
    assert len(server.asked) == 3


def test_a_get_is_given_up_in_the_end(serve: Serve) -> None:
    server = serve(*[BUSY] * transport.TRIES)
    with Service(server.url) as service, pytest.raises(RequestRefused, match="503"):
        _ = service.conformance
    assert len(server.asked) == transport.TRIES


def test_a_post_is_sent_once(serve: Serve) -> None:
    server = serve(DESCRIPTION, BUSY, DESCRIPTION)
    with Service(server.url) as service, pytest.raises(RequestRefused, match="503"):
        service.process("p").execute({})
    assert [method for method, _, _ in server.asked] == ["GET", "POST"]


def test_the_token_goes_to_its_server_only(serve: Serve) -> None:
    other = serve(CONFORMANCE)
    server = serve((302, {"Location": f"{other.url}/conformance"}, b""))
    with Service(server.url, token="secret", headers={"X-Key": "secret"}) as service:  # noqa: S106
        assert service.conformance == ["a"]
    (asked,), (asked_of_other,) = server.asked, other.asked
    assert asked[1] == "/api/conformance"
    assert (asked[2]["authorization"], asked[2]["x-key"]) == ("Bearer secret", "secret")
    assert "secret" not in str(asked_of_other)


def test_what_is_no_json_is_told(serve: Serve) -> None:
    server = serve((200, {"Content-Type": "text/html"}, b"<html>"))
    with Service(server.url) as service, pytest.raises(UnexpectedAnswer, match="something else than JSON"):
        _ = service.conformance


def test_a_server_that_is_not_there_is_told(serve: Serve) -> None:
    server = serve()
    server.stop()
    with Service(server.url) as service, pytest.raises(NoAnswer, match="conformance"):
        _ = service.conformance


def test_a_download_that_breaks_off_is_no_result(serve: Serve) -> None:
    accepted = (201, {"Location": "jobs/1"}, b"")
    done = (200, {"Content-Type": "application/json"}, b'{"jobID": "1", "status": "successful"}')
    server = serve(
        (200, {}, b'{"id": "p", "jobControlOptions": ["async-execute"]}'),
        accepted,
        done,
        (200, {"Content-Length": "100"}, b"half"),
    )
    with Service(server.url) as service:
        job = service.process("p").execute({}, wait=True)
        with pytest.raises(NoAnswer, match="broke off"):
            job.result().read()


def test_a_server_that_asks_for_a_pause_gets_it(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("ogc_processes.job.time.sleep", pauses.append)
    running = b'{"jobID": "1", "status": "running"}'
    server = serve(
        (200, {}, b'{"jobID": "1", "status": "accepted"}'),
        (200, {"Retry-After": "7"}, running),
        (200, {}, running),
        (200, {}, b'{"jobID": "1", "status": "successful"}'),
    )
    with Service(server.url) as service:
        assert service.job("1").wait().status == "successful"
    assert pauses[1] == 7
    assert pauses[0] < pauses[2] < 1
