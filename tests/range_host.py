"""A host of files that answers ranges, counts what it sends, answers late, and has the faults that hosts have."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

Fault = Callable[["RangeHandler", int, int], bool]
"""Is called with the range that is asked for; returns True where it has answered itself."""


@dataclass
class RangeHost:
    """What a host has been asked for, and how it answers."""

    folder: Path
    delay_s: float = 0
    takes_ranges: bool = True
    tag: str = "1"
    """In the ETag of all files."""
    fault: Fault | None = None
    sent_bytes: int = 0
    ranges: list[tuple[str, int, int]] = field(default_factory=list)
    """Path, start and end of each request, in the order in which they came."""
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def link(self, name: str) -> str:
        """Return the link to a file of the folder."""
        return f"http://127.0.0.1:{self.port}/{name}"

    @property
    def host(self) -> str:
        """The entry of the setting `hosts`."""
        return f"127.0.0.1:{self.port}"

    def forget(self) -> None:
        """Count anew."""
        with self.lock:
            self.sent_bytes, self.ranges = 0, []


class RangeHandler(BaseHTTPRequestHandler):
    """Answers a request."""

    protocol_version = "HTTP/1.1"
    state: RangeHost
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        state = self.state
        time.sleep(state.delay_s)
        name = unquote(urlsplit(self.path).path.removeprefix("/"))
        path = state.folder / name
        if not path.is_file():
            self.answer(404, b"", {})
            return
        size = path.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = 0, size
        if asked is not None and state.takes_ranges:
            start, end = int(asked[1]), min(int(asked[2] or size) + 1, size)
        with state.lock:
            state.ranges.append((name, start, end))
        if state.fault is not None and state.fault(self, start, end):
            return
        with path.open("rb") as file:
            file.seek(start)
            content = file.read(end - start)
        headers = self.stamps()
        if asked is not None and state.takes_ranges:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
            self.answer(206, content, headers)
        else:
            self.answer(200, content, headers)

    def do_HEAD(self) -> None:
        state = self.state
        time.sleep(state.delay_s)
        path = state.folder / unquote(urlsplit(self.path).path.removeprefix("/"))
        with state.lock:
            state.ranges.append((path.name, 0, 0))
        if path.is_file():
            self.answer(200, b"", self.stamps() | {"Accept-Ranges": "bytes"}, path.stat().st_size)
        else:
            self.answer(404, b"", {})

    def stamps(self) -> dict[str, str]:
        """Return the headers that tell one state of a file from another."""
        return {"ETag": f'"{self.state.tag}"', "Last-Modified": formatdate(1_700_000_000, usegmt=True)}

    def answer(self, status: int, content: bytes, headers: dict[str, str], length: int | None = None) -> None:
        """Send an answer; `length` is what it says of its length, where that is not so."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(content)
            with self.state.lock:
                self.state.sent_bytes += len(content)

    def log_message(self, *_: object) -> None: ...


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that leave."""


@contextlib.contextmanager
def range_host(folder: Path, **options: object) -> Iterator[RangeHost]:
    """Run a host of the files of a folder; `options` are fields of `RangeHost`."""
    state = RangeHost(folder, **options)  # type: ignore[arg-type]
    handler = type("Handler", (RangeHandler,), {"state": state})
    with _Server(("127.0.0.1", 0), handler) as server:
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


def main(folder: Path, delay_s: float) -> None:
    """Run a host until the process ends; its port is the first line. `/?count` gives what was sent since the last one."""
    state = RangeHost(folder, delay_s)

    class Counting(RangeHandler):
        def do_GET(self) -> None:
            if self.path == "/?count":
                with state.lock:
                    found = json.dumps([state.sent_bytes, len(state.ranges)]).encode()
                state.forget()
                self.send_response(200)
                self.send_header("Content-Length", str(len(found)))
                self.end_headers()
                self.wfile.write(found)
            else:
                super().do_GET()

    Counting.state = state
    with _Server(("127.0.0.1", 0), Counting) as server:
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        server.serve_forever()


def once(*faults: Fault) -> Fault:
    """Let each fault happen to one request, in their order, and none after these."""
    left = list(faults)
    return lambda handler, start, end: bool(left) and left.pop(0)(handler, start, end)


def status(code: int, **headers: str) -> Fault:
    """Answer with a status and headers."""

    def answer(handler: RangeHandler, start: int, end: int) -> bool:
        handler.answer(code, b"no", {name.replace("_", "-"): value for name, value in headers.items()})
        return True

    return answer


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
