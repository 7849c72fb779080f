"""HTTP as clients speak it: kept connections, requests in a row, bodies in chunks, expectations, the end."""

from __future__ import annotations

import hashlib
import http.client
import json
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from small_server import CLOSE, MAX_BODY_MB, Small, read_response, small_server


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    with small_server(tmp_path_factory.mktemp("small")) as small:
        yield small


def test_a_connection_is_kept(small: Small) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", small.port, timeout=20)
    for _ in range(3):
        connection.request("GET", "/quick")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"quick")
        assert response.headers["Connection"] == "keep-alive"
        own = connection.sock
        assert own is not None
    connection.request("HEAD", "/quick")
    response = connection.getresponse()
    assert (response.read(), response.headers["Content-Length"]) == (b"", "5")
    connection.request("GET", "/quick", headers={"Connection": "close"})
    assert connection.getresponse().headers["Connection"] == "close"
    connection.close()


def test_requests_in_a_row_are_answered_in_a_row(small: Small) -> None:
    many = "GET /large?mb=1 HTTP/1.1\r\nHost: x\r\n\r\n" + "GET /quick HTTP/1.1\r\nHost: x\r\n\r\n" * 50
    with small.connect() as connection:
        connection.sendall((many + f"GET /nothing HTTP/1.1\r\n{CLOSE}").encode())
        content = b"".join(iter(lambda: connection.recv(2**16), b""))
    assert content.count(b"HTTP/1.1 200 OK") == 51
    assert content.count(b"\r\n\r\nquick") == 50
    assert content.index(b"HTTP/1.1 404") > content.rindex(b"quick")


def test_a_crowd_of_requests_in_a_row_whose_answers_nobody_takes_is_not_held(small: Small) -> None:
    before = small.worker.memory_info().rss
    with small.connect(receive_bytes=4096) as connection:
        connection.settimeout(1)
        with pytest.raises(TimeoutError):
            connection.sendall(b"GET /large?mb=1 HTTP/1.1\r\nHost: x\r\n\r\n" * 500_000)
        assert small.worker.memory_info().rss - before < 20 * 2**20


def test_a_client_that_has_closed_its_side_gets_its_answer(small: Small) -> None:
    with small.connect() as connection:
        connection.sendall(b"GET /wait?s=0.5 HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        assert read_response(connection)[2] == b"waited"


def test_a_body_that_ends_too_early_is_a_400(small: Small) -> None:
    with small.connect() as connection:
        connection.sendall(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
        connection.shutdown(socket.SHUT_WR)
        status, _, content = read_response(connection)
    assert status == 400
    assert "not encoded as its headers say" in json.loads(content)["detail"]


def test_a_client_is_told_to_go_on(small: Small) -> None:
    with small.connect() as connection:
        head = (
            b"POST /body HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nConnection: close\r\nContent-Length: 5\r\n\r\n"
        )
        connection.sendall(head)
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"12345")
        assert json.loads(read_response(connection)[2])["size"] == 5
    status, headers, content = small.ask("GET /quick HTTP/1.1\r\nExpect: tea\r\n" + CLOSE)
    assert (status, headers["connection"]) == (417, "close")
    assert json.loads(content)["instance"] == "/"


BODY = bytes(range(256)) * 400


@pytest.mark.parametrize("chunk_bytes", [1, 1000, len(BODY)])
def test_a_body_in_chunks_is_read(small: Small, chunk_bytes: int) -> None:
    chunks = [BODY[at : at + chunk_bytes] for at in range(0, len(BODY), chunk_bytes)]
    encoded = b"".join(b"%x;a=b\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nx: y\r\n\r\n"
    head = f"POST /body HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{CLOSE}".encode()
    status, _, content = small.ask(head + encoded)
    assert (status, json.loads(content)) == (200, {"size": len(BODY), "sha256": hashlib.sha256(BODY).hexdigest()})


def test_a_body_of_any_size_is_whole(small: Small) -> None:
    for size in (0, 1, 2**16, 2**19 - 1, 2**19, 2**19 + 1, 5 * 2**20 + 7):
        body = (BODY * (size // len(BODY) + 1))[:size]
        status, _, content = small.ask(f"POST /body HTTP/1.1\r\nContent-Length: {size}\r\n{CLOSE}".encode() + body)
        assert (status, json.loads(content)["sha256"]) == (200, hashlib.sha256(body).hexdigest())


def test_a_body_beyond_the_limit_is_not_kept(small: Small) -> None:
    size = (MAX_BODY_MB + 20) * 2**20
    status, _, content = small.ask(f"POST /body HTTP/1.1\r\nContent-Length: {size}\r\n{CLOSE}".encode() + b"x" * size)
    assert (status, json.loads(content)["size"]) == (200, MAX_BODY_MB * 2**20 + 1)  # what the application tells by


def test_a_body_without_end_is_a_413(small: Small) -> None:
    """The server reads some multiple of its limit; a client that goes on after the answer has its connection cut."""
    size = 5 * MAX_BODY_MB * 2**20
    with small.connect() as connection:
        connection.sendall(f"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
        block, sent, answer = b"x" * 2**20, 0, b""
        while not answer and sent < size:
            connection.sendall(block)
            sent += len(block)
            if select.select([connection], [], [], 0)[0]:
                answer = connection.recv(2**16)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"max_body_mb = 40" in answer


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /quick HTTP/1.1\r\n" + f"a: {'x' * 8000}\r\n" * 9, 431),
        ("GET /quick HTTP/1.1\r\n" + f"a: {'x' * 9000}\r\n", 431),
        ("POST /body HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400),
        ("POST /body HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n", 400),
        ("POST /body HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n", 400),
        ("POST /body HTTP/1.1\r\nContent-Length: +3\r\n", 400),
        ("POST /body HTTP/1.1\r\nTransfer-Encoding: chunked, magic\r\n", 501),
        ("GET /quick\r\n", 400),
        ("GET quick HTTP/1.1\r\n", 400),
        ("GET /quick HTTP/1.1\r\nx : y\r\n", 400),
        ("GET /quick HTTP/1.1\r\nx: y\r\n folded\r\n", 400),
        ("GET /quick HTTP/1.1\r\nHost: a\r\nHost: b\r\n", 400),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(small: Small, head: str, status: int) -> None:
    found, headers, content = small.ask(head + "\r\n")
    assert (found, json.loads(content)["status"]) == (status, status), content
    assert headers["connection"] == "close"


def test_a_response_that_breaks_off_is_seen_to(small: Small) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", small.port, timeout=20)
    connection.request("GET", "/broken")
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        connection.getresponse().read()
    connection.close()


def test_it_listens_at_ipv6(tmp_path: Path) -> None:
    with (
        small_server(tmp_path, "::1") as small,
        socket.create_connection(("::1", small.port), timeout=20) as connection,
    ):
        connection.sendall(f"GET /quick HTTP/1.1\r\n{CLOSE}".encode())
        assert read_response(connection)[2] == b"quick"


def test_at_its_end_requests_that_have_begun_are_answered(tmp_path: Path) -> None:
    with small_server(tmp_path) as small, small.connect() as waiting, small.connect() as kept:
        kept.sendall(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"quick" in kept.recv(2**16)
        waiting.sendall(b"GET /wait?s=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        begun = time.monotonic()
        while small.worker.num_threads() < 2:
            assert time.monotonic() < begun + 20
        small.process.terminate()
        status, _, content = read_response(waiting)
        assert (status, content) == (200, b"waited")
        assert kept.recv(1) == b""
        assert small.process.wait(20) == 0
        assert "Traceback" not in small.log.read_text()
