"""Requests to hosts end: at the deadline, whatever the host does, and however long its name takes to be found."""

from __future__ import annotations

import http.server
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme

from dripping_hosts import ANSWERS, HANDSHAKES, Answer, dripping_host
from processes.allowed_hosts import AllowedHost
from processes.errors import InputError
from processes.settings import Settings
from processes.sources import links
from processes.sources.hosts import post
from service import ROOT
from tables import each_row

SECONDS = 1


def _settings(folder: Path, *hosts: str) -> Settings:
    return Settings.from_plugin({"hosts": ",".join(hosts), "limits": {"max_download_s": SECONDS}}, folder)


def _error(request: Callable[[int], object], answer: Answer) -> tuple[str, float]:
    """Return what is said of a host that drips, and after how many seconds."""
    with dripping_host(answer) as port:
        start_s = time.monotonic()
        with pytest.raises(InputError) as caught:
            request(port)
        return caught.value.detail, time.monotonic() - start_s


ROWS = [("http", name, answer) for name, answer in ANSWERS.items()]
TLS_ROWS = [("https", name, answer) for name, answer in HANDSHAKES.items()]


def test_download_ends_at_its_deadline_whatever_the_host_drips(tmp_path: Path) -> None:
    def error(scheme: str, name: str, answer: Answer) -> tuple[str, float]:
        folder = tmp_path / scheme / name
        folder.mkdir(parents=True)
        return _error(
            lambda port: links.resolve(
                f"{scheme}://127.0.0.1:{port}/a.tif", _settings(folder, f"127.0.0.1:{port}"), folder
            ),
            answer,
        )

    rows = ROWS + TLS_ROWS
    with ThreadPoolExecutor(len(rows)) as pool:
        for row, (said, seconds) in zip(rows, pool.map(lambda row: error(*row), rows), strict=True):
            assert f"did not arrive within {SECONDS} s, which the limit max_download_s" in said, row
            assert SECONDS * 0.9 < seconds < SECONDS + 5, row


def test_call_ends_at_its_deadline_whatever_the_host_drips(tmp_path: Path) -> None:
    def error(scheme: str, _: str, answer: Answer) -> tuple[str, float]:
        body = b"x" * 10**7
        return _error(
            lambda port: post(
                f"{scheme}://127.0.0.1:{port}/", _settings(tmp_path, f"127.0.0.1:{port}"), body, "a/b", SECONDS
            ),
            answer,
        )

    rows = [row for row in ROWS if row[1] not in ("body", "chunks", "redirects")] + TLS_ROWS
    with ThreadPoolExecutor(len(rows)) as pool:
        for row, (said, seconds) in zip(rows, pool.map(lambda row: error(*row), rows), strict=True):
            assert f"the host does not answer within {SECONDS} s" in said, row
            assert seconds < SECONDS + 5, row


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.headers["Host"].encode())

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str] | threading.Event]:
    """Return the addresses of host names, which a test fills in; an event = the lookup hangs until it is set."""
    names: dict[str, list[str] | threading.Event] = {}
    look_up = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *, flags: int = 0, **options: Any) -> list[Any]:
        if host not in names or flags:
            return list(look_up(host, port, flags=flags, **options))
        found = names[host]
        if isinstance(found, threading.Event):
            found.wait(60)
            raise socket.gaierror("not found")
        return [item for address in found for item in look_up(address, port, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


@each_row(
    "addresses", [["::1", "127.0.0.1"], ["127.0.0.2", "127.0.0.1"], ["100::1", "127.0.0.1"], ["127.0.0.1", "::1"]]
)
def test_addresses_are_tried_in_turn(
    named: dict[str, list[str] | threading.Event], port: int, tmp_path: Path, addresses: list[str]
) -> None:
    """Also where one of them is of IPv6, and this machine or the host has none."""
    named["images.test"] = addresses
    file = links.resolve(f"http://images.test:{port}/a", _settings(tmp_path, f"images.test:{port}"), tmp_path)
    assert file.path.read_text() == f"images.test:{port}"


def test_host_all_of_whose_addresses_are_silent_gets_a_share_of_the_time_for_each(
    named: dict[str, list[str] | threading.Event], tmp_path: Path
) -> None:
    named["images.test"] = ["127.0.0.1", "127.0.0.2"]
    with socket.socket() as full:  # its queue of connections is full, so that it answers none
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))
        start_s = time.monotonic()
        with socket.create_server(("127.0.0.2", port)) as other:
            threading.Thread(target=_accept_one, args=(other,), daemon=True).start()
            post(f"http://images.test:{port}/", _settings(tmp_path, f"images.test:{port}"), b"", "a/b", 4)
        assert 1 < time.monotonic() - start_s < 4
        for connection in waiting:
            connection.close()


def _accept_one(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def test_lookup_that_hangs_is_given_up_and_holds_no_other_up(
    named: dict[str, list[str] | threading.Event], port: int, tmp_path: Path
) -> None:
    hanging = named["hangs.test"] = threading.Event()
    named["images.test"] = ["127.0.0.1"]
    settings = _settings(tmp_path, f"hangs.test:{port}", f"images.test:{port}")
    before = threading.active_count()
    with ThreadPoolExecutor(50) as pool:
        calls = [pool.submit(post, f"http://hangs.test:{port}/", settings, b"", "a/b", 0.5) for _ in range(50)]
        assert links.resolve(f"http://images.test:{port}/a", settings, tmp_path).path.read_text()
        for call in calls:
            with pytest.raises(InputError, match=r"does not answer within 0\.5 s"):
                call.result()
    assert threading.active_count() <= before + 2, "one thread for all lookups of a host"
    hanging.set()


def test_lookups_that_hang_are_bounded_in_number(named: dict[str, list[str] | threading.Event], tmp_path: Path) -> None:
    hanging = threading.Event()
    names = [f"hangs-{number}.test" for number in range(60)]
    named |= dict.fromkeys(names, hanging)
    before = threading.active_count()
    with ThreadPoolExecutor(60) as pool:
        calls = [pool.submit(post, f"http://{name}/", _settings(tmp_path, *names), b"", "a/b", 0.5) for name in names]
        for call in calls:
            with pytest.raises(InputError, match=r"does not answer within 0\.5 s"):
                call.result()
    assert threading.active_count() <= before + 33
    hanging.set()


def test_lookup_that_hangs_does_not_keep_a_program_from_its_end(tmp_path: Path) -> None:
    program = """
import socket, sys, time
from pathlib import Path
from processes.settings import Settings
from processes.sources.hosts import post
def getaddrinfo(*_, flags=0, **__):
    if flags: raise socket.gaierror("a name")
    time.sleep(600)
socket.getaddrinfo = getaddrinfo
try:
    post("http://hangs.test/", Settings.from_plugin({"hosts": "hangs.test"}), b"", "a/b", 0.2)
except Exception as err:
    print(err)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True, cwd=ROOT
    )
    assert "does not answer within 0.2 s" in done.stdout


def test_certificate_must_be_the_host_s(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    for name in ("localhost", "elsewhere.test"):
        context = _server_context(authority, name)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with authority.cert_pem.tempfile(str(tmp_path)) as pem:
            monkeypatch.setenv("SSL_CERT_FILE", pem)
            href, settings = (
                f"https://localhost:{server.server_port}/a",
                _settings(tmp_path, f"localhost:{server.server_port}"),
            )
            if name == "localhost":
                file = links.resolve(href, settings, tmp_path)
                assert file.path.read_text() == f"localhost:{server.server_port}"
            else:
                with pytest.raises(InputError, match="does not answer"):
                    links.resolve(href, settings, tmp_path)
        server.shutdown()
        server.server_close()


def _server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@each_row(
    ("entry", "allowed", "refused"),
    [
        ("example.org", ["example.org:80", "example.org:443"], ["example.org:8080", "a.example.org:80"]),
        ("Example.org:8443", ["example.org:8443"], ["example.org:443"]),
        ("*.example.org", ["a.example.org:80", "a.b.example.org:443"], ["example.org:80", "a.example.org:81"]),
        ("*.example.org:8443", ["a.example.org:8443"], ["a.example.org:443", "aexample.org:8443"]),
        ("[::1]:8080", ["::1:8080"], ["::1:80"]),
        ("[0:0::1]", ["::1:80"], ["::2:80"]),
        ("::1", ["::1:443"], ["::1:8080"]),
        ("127.0.0.1", ["127.0.0.1:80"], ["127.0.0.1:5000"]),
    ],
)
def test_entry_allows_its_ports_alone(entry: str, allowed: list[str], refused: list[str]) -> None:
    found = AllowedHost.parse(entry)
    for text in allowed + refused:
        host, _, number = text.rpartition(":")
        assert found.allows(host, int(number)) == (text in allowed), text


@each_row(
    "entry",
    [
        "http://example.org",
        "example.org/a",
        "a b",
        "example.org:",
        "example.org:0",
        "example.org:70000",
        "*",
        "a.*.org",
        "[example.org]",
        "[::1",
        "user@example.org",
    ],
)
def test_entry_that_is_no_host_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="hosts has"):
        AllowedHost.parse(entry)
