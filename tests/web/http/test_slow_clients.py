"""Clients that are slow, silent or gone: none of them costs the others anything."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from small_server import CLOSE, MAX_PER_ADDRESS, PACE, THREADS, Small, read_response, small_server

CROWD = 20 * THREADS
QUICK_S = 2.0
"""What takes no thread takes far less; what waits for a slow client takes far more."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    with small_server(tmp_path_factory.mktemp("small")) as small:
        yield small


@contextmanager
def crowd(small: Small, begin: bytes, drip: bytes = b"", count: int = CROWD) -> Iterator[list[socket.socket]]:
    """Open connections that send a beginning, and then a byte of `drip` again and again."""
    done = threading.Event()
    with ExitStack() as stack:
        sockets = [stack.enter_context(small.connect(receive_bytes=4096)) for _ in range(count)]
        for item in sockets:
            item.sendall(begin)
        thread = threading.Thread(target=_drip, args=(sockets, drip, done))
        thread.start()
        try:
            yield sockets
        finally:
            done.set()
            thread.join()


def _drip(sockets: list[socket.socket], drip: bytes, done: threading.Event) -> None:
    index, left = 0, list(sockets)
    while drip and not done.wait(0.2):
        for item in list(left):
            try:
                item.send(drip[index % len(drip) :][:1])
            except OSError:
                left.remove(item)
        index += 1


def ended_within(sockets: list[socket.socket], seconds: float) -> list[bytes]:
    """Wait until the server has ended all connections; return what was sent on each."""
    deadline_s, found = time.monotonic() + seconds, []
    for item in sockets:
        content = b""
        with suppress(ConnectionError):
            item.settimeout(max(0.01, deadline_s - time.monotonic()))
            while block := item.recv(2**16):
                content += block
        found.append(content)
    return found


POST = b"POST /body HTTP/1.1\r\nHost: x\r\n"
SENDERS = {
    "silent": (b"", b""),
    "head": (b"GET /quick HT", b"TP/1.1\r\nx: y"),
    "headers": (b"GET /quick HTTP/1.1\r\n", b"a: b\r\n"),
    "body": (POST + b"Content-Length: 100000\r\n\r\n", b"x"),
    "chunks": (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "chunk size": (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "trailers": (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n"),
}
"""What a client sends at first, and then byte by byte."""


READERS = {
    "streamed": b"GET /large?mb=30 HTTP/1.1\r\nHost: x\r\n\r\n",
    "with a length": b"GET /large?mb=30&length HTTP/1.1\r\nHost: x\r\n\r\n",
}


def test_slow_clients_cost_no_thread(small: Small) -> None:
    with ExitStack() as stack:
        for begin, drip in [*SENDERS.values(), *((begin, b"") for begin in READERS.values())]:
            stack.enter_context(crowd(small, begin, drip, 2 * THREADS))
            assert small.quick_s() < QUICK_S


def test_quick_readers_of_large_results_keep_nobody_waiting(small: Small) -> None:
    def read(connection: socket.socket) -> None:
        with suppress(OSError):
            while connection.recv(2**20):
                pass

    with ExitStack() as stack:
        sockets = [stack.enter_context(small.connect()) for _ in range(2 * THREADS)]
        threads = [threading.Thread(target=read, args=(item,)) for item in sockets]
        for item, thread in zip(sockets, threads, strict=True):
            item.sendall(b"GET /large?mb=10000&length HTTP/1.1\r\nHost: x\r\n\r\n")
            thread.start()
        for _ in range(3):
            assert small.quick_s() < QUICK_S
        for item in sockets:
            item.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


@pytest.mark.jobs
@pytest.mark.timed
@pytest.mark.parametrize(("begin", "drip"), SENDERS.values(), ids=SENDERS.keys())
def test_slow_senders_are_ended(small: Small, begin: bytes, drip: bytes) -> None:
    with crowd(small, begin, drip) as sockets:
        assert small.quick_s() < QUICK_S
        limit_s = max(PACE.silent_s, PACE.head_s, PACE.grace_s) + PACE.linger_s + 10
        answers = ended_within(sockets, limit_s)
        assert small.quick_s() < QUICK_S
    for answer in answers:
        if begin:
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 408 "), answer
            assert json.loads(body)["type"] == "RequestTimeout"
        else:
            assert not answer


@pytest.mark.jobs
@pytest.mark.timed
def test_a_body_that_pauses_for_long_is_a_408(small: Small) -> None:
    start_s = time.monotonic()
    status, _, content = small.ask(POST + b"Content-Length: 50\r\n\r\n{")
    assert status == 408
    assert json.loads(content)["detail"] == "the request's body stopped arriving"
    assert PACE.pause_s < time.monotonic() - start_s < PACE.pause_s + 10


@pytest.mark.jobs
@pytest.mark.timed
def test_a_slow_but_steady_body_is_read(small: Small) -> None:
    size, seconds = int(3 * PACE.min_body_rate * PACE.grace_s), 1.5 * PACE.grace_s
    with small.connect() as connection:
        connection.sendall(POST + f"Content-Length: {size}\r\nConnection: close\r\n\r\n".encode())
        for _ in range(30):
            connection.sendall(b"x" * (size // 30))
            time.sleep(seconds / 30)
        assert read_response(connection)[0] == 200


@pytest.mark.jobs
@pytest.mark.timed
@pytest.mark.parametrize("begin", READERS.values(), ids=READERS.keys())
@pytest.mark.parametrize("bytes_a_s", [0, 500], ids=["nothing", "drops"])
def test_slow_readers_are_dropped(small: Small, begin: bytes, bytes_a_s: int) -> None:
    before = small.worker.memory_info().rss
    with crowd(small, begin) as sockets:
        for item in sockets:
            assert item.recv(16).startswith(b"HTTP/1.1 200")
        assert small.quick_s() < QUICK_S
        assert small.worker.memory_info().rss - before < CROWD * 2**20
        deadline_s = time.monotonic() + 3 * PACE.grace_s + 20
        while _connections(small):
            for item in sockets if bytes_a_s else ():
                with suppress(OSError):
                    item.recv(bytes_a_s // 10)
            assert time.monotonic() < deadline_s
            time.sleep(0.1)


def _connections(small: Small) -> int:
    """Return how many connections the server has."""
    return len([item for item in small.worker.net_connections() if item.status in ("ESTABLISHED", "CLOSE_WAIT")])


@pytest.mark.jobs
@pytest.mark.timed
def test_a_slow_but_steady_reader_gets_all(small: Small) -> None:
    """Also when it takes longer than the time of grace: the kernel's buffers hide what it has taken."""
    with small.connect(receive_bytes=2**16) as connection:
        connection.sendall(f"GET /large?mb=2&length HTTP/1.1\r\n{CLOSE}".encode())
        received, start_s = 0, time.monotonic()
        while block := connection.recv(2**15):
            received += len(block)
            time.sleep(max(0.0, start_s + received / 2**21 * 2 * PACE.grace_s - time.monotonic()))
        assert received > 2**21


@pytest.mark.jobs
@pytest.mark.timed
def test_a_kept_connection_is_ended_when_it_is_idle_for_long(small: Small) -> None:
    with small.connect() as connection:
        connection.sendall(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
        start_s = time.monotonic()
        assert b"quick" in read_response(connection)[2]
        assert PACE.idle_s - 1 < time.monotonic() - start_s < PACE.idle_s + 10


def test_at_the_limit_of_an_address_its_useless_connections_go_first(small: Small) -> None:
    with ExitStack() as stack:
        working = stack.enter_context(small.connect())
        working.sendall(f"GET /wait?s=3 HTTP/1.1\r\n{CLOSE}".encode())
        dripping = stack.enter_context(small.connect())
        dripping.sendall(b"GET /quick HTTP/1.1\r\n")
        silent = [stack.enter_context(small.connect()) for _ in range(2 * MAX_PER_ADDRESS)]
        assert small.quick_s() < QUICK_S
        silent[0].settimeout(5)
        with pytest.raises(ConnectionError):  # reset, or its end
            _end(silent[0])
        dripping.sendall(CLOSE.encode())
        assert read_response(dripping)[2] == b"quick"
        assert read_response(working)[2] == b"waited"


def _end(connection: socket.socket) -> None:
    if not connection.recv(1):
        raise ConnectionResetError


def test_all_files_that_the_system_allows_can_be_open(small: Small) -> None:
    soft, hard = small.worker.rlimit(psutil.RLIMIT_NOFILE)
    assert soft == hard


def test_large_bodies_that_arrive_slowly_take_little_memory(small: Small, tmp_path: Path) -> None:
    before, size = small.worker.memory_info().rss, 20 * 2**20
    with crowd(small, POST + f"Content-Length: {size + 1}\r\n\r\n".encode(), count=6) as sockets:
        for _ in range(0, size, 2**18):
            for item in sockets:
                item.sendall(b"x" * 2**18)
        assert small.worker.memory_info().rss - before < 2**26
        assert small.quick_s() < QUICK_S
