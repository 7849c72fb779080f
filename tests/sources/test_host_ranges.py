"""Files of hosts read by parts, and what hosts do instead of answering well."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from processes.errors import ForbiddenError, InputError
from processes.settings import Settings
from processes.sources.host_ranges import HostRanges
from processes.sources.remote_files import RemoteFile
from range_host import Fault, RangeHandler, RangeHost, once, range_host, status

CONTENT = bytes(range(256)) * 400
SECONDS = 2


@pytest.fixture
def host(tmp_path: Path) -> Iterator[RangeHost]:
    (tmp_path / "a.tif").write_bytes(CONTENT)
    with range_host(tmp_path) as running:
        yield running


def reader(host: RangeHost, name: str = "a.tif", patience_s: float = 20, **known: Any) -> HostRanges:
    settings = Settings.from_plugin({"hosts": host.host, "limits": {"request_timeout_s": SECONDS}}, host.folder)
    stamps = {"etag": '"1"', "modified": "Tue, 14 Nov 2023 22:13:20 GMT"} | known
    return HostRanges(RemoteFile(host.link(name), len(CONTENT), **stamps), settings, patience_s)


def reset(handler: RangeHandler, start: int, end: int) -> bool:
    """Begin an answer, and reset the connection in the middle."""
    handler.send_response(206)
    for name, value in handler.stamps().items():
        handler.send_header(name, value)
    handler.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(CONTENT)}")
    handler.send_header("Content-Length", str(end - start))
    handler.end_headers()
    handler.wfile.write(CONTENT[start : start + 10])
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True
    return True


def part(start: int, end: int, size: int | str = len(CONTENT), content: bytes | None = None) -> Fault:
    """Answer with a part of its own choice."""

    def answer(handler: RangeHandler, _: int, __: int) -> bool:
        headers = handler.stamps() | {"Content-Range": f"bytes {start}-{end - 1}/{size}"}
        handler.answer(206, CONTENT[start:end] if content is None else content, headers)
        return True

    return answer


def drip(handler: RangeHandler, start: int, end: int) -> bool:
    """Send a byte now and then, for ever."""
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(CONTENT)}")
    handler.send_header("Content-Length", str(end - start))
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b".")
            time.sleep(0.05)
    except OSError:
        handler.close_connection = True
        return True


def test_parts_come_over_one_connection(host: RangeHost) -> None:
    ports = set()

    def note(handler: RangeHandler, start: int, end: int) -> bool:
        ports.add(handler.client_address)
        return False

    host.fault = note
    ranges = reader(host)
    assert [ranges.read(start, start + 50) for start in (0, 1000, 100)] == [
        CONTENT[start : start + 50] for start in (0, 1000, 100)
    ]
    assert len(ports) == 1
    assert host.sent_bytes == 150
    ranges.close()


PASSING: dict[str, Fault] = {
    "reset in the middle": once(reset),
    "503 thrice": once(status(503), status(503), status(503)),
    "429 that says when": once(status(429, Retry_After="0.1")),
    "a short part": once(part(1000, 1010)),
    "short parts again and again": once(*(part(at, at + 100) for at in range(1000, 1500, 100))),
    "fewer bytes than it says": once(part(1000, 2000, content=CONTENT[1000:1900])),
    "a byte now and then, once": once(drip),
}


@pytest.mark.parametrize("name", PASSING)
def test_a_fault_that_passes_is_met_by_trying_again(name: str, host: RangeHost) -> None:
    host.fault = PASSING[name]
    ranges = reader(host)
    assert ranges.read(1000, 2000) == CONTENT[1000:2000]
    assert len(host.ranges) > 1
    ranges.close()


REFUSED: dict[str, tuple[Fault, str]] = {
    "ignores the range": (lambda handler, *_: handler.answer(200, CONTENT, handler.stamps()) or True, "no longer"),
    "another part": (part(0, 1000), "another part"),
    "more than asked for": (part(1000, 3000), "another part"),
    "no size": (part(1000, 2000, "*"), "another part"),
    "gone": (status(404), "status 404"),
    "not allowed any more": (status(403), "status 403"),
    "always 503": (status(503, Retry_After="0.01"), "status 503, asked 8 times"),
    "another size": (part(1000, 2000, len(CONTENT) + 1), "was changed"),
    "links in a circle": (status(302, Location="/a.tif"), "redirects more than"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_fault_that_stays_is_told(name: str, host: RangeHost) -> None:
    host.fault, words = REFUSED[name]
    ranges = reader(host)
    with pytest.raises(InputError, match=words) as caught:
        ranges.read(1000, 2000)
    assert "a.tif" in caught.value.detail
    ranges.close()


def test_a_file_that_was_replaced_is_noticed(host: RangeHost) -> None:
    ranges = reader(host)
    assert ranges.read(0, 10) == CONTENT[:10]
    host.tag = "2"
    with pytest.raises(InputError, match=r"a\.tif was changed after the request was accepted"):
        ranges.read(10, 20)
    weaker = reader(host, etag=None, modified="Mon, 13 Nov 2023 22:13:20 GMT")
    with pytest.raises(InputError, match="was changed"):
        weaker.read(10, 20)
    assert reader(host, etag=None, modified=None).read(10, 20) == CONTENT[10:20]


def test_a_host_that_never_ends_is_given_up(host: RangeHost) -> None:
    host.fault = drip
    start_s = time.monotonic()
    with pytest.raises(InputError, match=r"does not answer|broke off"):
        reader(host, patience_s=2 * SECONDS).read(0, len(CONTENT))
    assert time.monotonic() - start_s < 6 * SECONDS


def test_a_redirect_is_checked_as_the_first_link(host: RangeHost, tmp_path: Path) -> None:
    host.fault = status(302, Location="http://127.0.0.1:1/a.tif")
    with pytest.raises(ForbiddenError, match="port 1"):
        reader(host).read(0, 10)
    host.fault = status(302, Location="http://example.org/a.tif")
    with pytest.raises(ForbiddenError, match=r"example\.org"):
        reader(host).read(0, 10)
    host.fault = status(302, Location="file:///etc/passwd")
    with pytest.raises(ForbiddenError, match="scheme 'file'"):
        reader(host).read(0, 10)


def test_a_redirect_is_followed_once_and_anew_when_its_target_fails(host: RangeHost) -> None:
    (host.folder / "there.tif").write_bytes(CONTENT)
    is_over = False

    def lead(handler: RangeHandler, start: int, end: int) -> bool:
        if handler.path == "/a.tif":
            handler.answer(302, b"", {"Location": "/there.tif?signature=1"})
            return True
        if is_over and handler.path.endswith("signature=1") and len(host.ranges) == 4:
            handler.answer(403, b"", {})
            return True
        return False

    host.fault = lead
    ranges = reader(host)
    assert ranges.read(0, 10) + ranges.read(10, 20) == CONTENT[:20]
    assert [name for name, _, _ in host.ranges] == ["a.tif", "there.tif", "there.tif"]
    is_over = True
    assert ranges.read(20, 30) == CONTENT[20:30]
    assert [name for name, _, _ in host.ranges][3:] == ["there.tif", "a.tif", "there.tif"]
    ranges.close()


def test_a_host_that_was_led_to_and_is_asked_too_much_gets_its_pause(host: RangeHost) -> None:
    (host.folder / "there.tif").write_bytes(CONTENT)
    first_s: list[float] = []

    def busy(handler: RangeHandler, start: int, end: int) -> bool:
        if handler.path == "/a.tif":
            handler.answer(302, b"", {"Location": "/there.tif"})
            return True
        first_s.append(time.monotonic())
        if first_s[-1] - first_s[0] < 3 * SECONDS / 10:
            handler.answer(503, b"", {"Retry-After": f"{SECONDS / 10}"})
            return True
        return False

    host.fault = busy
    ranges = reader(host)
    assert ranges.read(0, 10) == CONTENT[:10]
    ranges.close()
