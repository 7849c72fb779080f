"""A connection in the event loop. It costs no thread until a request is complete, and none while its client is slow."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Executor
from enum import IntEnum, auto
from typing import Any

import msgspec
from gunicorn.asgi.parser import LimitRequestHeaders, PythonProtocol
from gunicorn.config import Config

from processes.errors import InputError
from processes.ogc.problem import RequestTimeoutError
from processes.settings import Settings
from processes.web.http.body import BodyMemory, RequestBody
from processes.web.http.body_limit import BodyLimit
from processes.web.http.exchange import Application, Exchange, ResponsePart
from processes.web.http.outflow import Outflow
from processes.web.http.pace import Pace
from processes.web.http.refusal import MAX_REQUEST_LINE_BYTES, refusal
from processes.web.http.request import HttpRequest
from processes.web.views import BODIES

_READ_BYTES, _READ_BODY_BYTES = 2**14, 2**18
"""What is parsed at once: a chunk can be a single byte. A body of known size needs no parsing."""
_AHEAD_BYTES = 2**16
_WORK_S = 0.1
"""A thread that sends to a quick client makes room for others after so long."""
_MAX_HEAD_BYTES = 2**16
"""The parser limits lines and their number, which allows a head of 800 kB."""


class Host(msgspec.Struct, frozen=True):
    """What the connections of a process share."""

    application: Application
    configuration: Config
    threads: Executor
    memory: BodyMemory
    settings: Settings
    pace: Pace
    is_stopping: Callable[[], bool]


class Phase(IntEnum):
    """What a connection waits for, the most useless first."""

    SILENT = auto()
    """Its first byte."""
    HEAD = auto()
    """The rest of a request's head."""
    CLOSING = auto()
    """The client's end of the connection."""
    SLOW_BODY = auto()
    """The rest of a body that arrives below the minimum rate."""
    IDLE = auto()
    """Another request."""
    STALLED_READER = auto()
    """A client that does not take what it was sent."""
    BODY = auto()
    READER = auto()
    """A client that takes its response."""
    WORKING = auto()
    """The application."""


class Connection(asyncio.Protocol):
    """A connection with a client.

    Args:
        host: what the connections share.
        opened: called with this connection when it is open.
        closed: called with this connection when it has ended.
    """

    def __init__(self, host: Host, opened: Callable[[Connection], None], closed: Callable[[Connection], None]) -> None:
        self._host = host
        self._opened = opened
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._phase = Phase.SILENT
        self._since_s = self._arrived_s = self._loop.time()
        self._transport: Any = None
        self._outflow: Any = None  # an Outflow, as soon as there is a transport
        self._parser: Any = None
        self._request: HttpRequest | None = None
        self._body: RequestBody | None = None
        self._limit = BodyLimit(host.settings)
        self._exchange: Exchange | None = None
        self._is_stepping = self._is_write_paused = self._is_half_closed = self._is_lost = False
        self._ahead = bytearray()
        self._head_bytes = 0
        self.address = ""
        """Address of the client, as far as it tells clients apart."""

    # events of the transport

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.max_size = _READ_BYTES
        self._outflow = Outflow(transport, self._host.pace, self._since_s)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else ""
        self._parser = PythonProtocol(
            on_headers_complete=self._head_complete,
            on_body=self._body_arrived,
            on_message_complete=self._begin,
            limit_request_line=MAX_REQUEST_LINE_BYTES,
        )
        self._opened(self)

    def data_received(self, data: bytes) -> None:
        self._arrived_s = self._loop.time()
        if self._phase is Phase.WORKING:
            self._ahead += data
            if len(self._ahead) > _AHEAD_BYTES:
                self._transport.pause_reading()
        elif self._phase is not Phase.CLOSING:
            self._parse(data)

    def eof_received(self) -> bool:
        if self._phase is Phase.WORKING:  # a client may close its side when it has sent its request
            self._is_half_closed = True
            return True
        if self._phase is Phase.BODY:
            self._refuse(InputError("the request's body is not encoded as its headers say"))
        return False

    def pause_writing(self) -> None:
        self._is_write_paused = True

    def resume_writing(self) -> None:
        self._is_write_paused = False
        if self._exchange is not None:
            self._step()
        elif self._phase is Phase.WORKING:
            self._next_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._outflow.close()
        self._closed(self)
        if self._exchange is None:
            self._drop_body()
        elif not self._is_stepping:
            self._abandon()

    # a request

    def _parse(self, data: bytes) -> None:
        if self._phase in (Phase.SILENT, Phase.IDLE):
            self._enter(Phase.HEAD)
            self._head_bytes = 0
        self._head_bytes += len(data)
        try:
            self._parser.feed(data)
            if self._phase is Phase.HEAD and self._head_bytes > _MAX_HEAD_BYTES:
                raise LimitRequestHeaders("the head is too large")
        except Exception as err:  # noqa: BLE001 - whatever it is, the client is told
            self._refuse(err)

    def _head_complete(self) -> bool:
        self._request = request = HttpRequest.from_parser(self._parser)
        if sum(len(name) + len(value) for name, value in request.headers_bytes) > _MAX_HEAD_BYTES:
            raise LimitRequestHeaders("the head is too large")
        self._limit = BodyLimit.of(request, self._host.settings)
        self._body = RequestBody(self._host.memory, self._host.settings.state / BODIES, self._limit.max_bytes + 1)
        self._phase = Phase.BODY
        self._transport.max_size = _READ_BYTES if request.chunked else _READ_BODY_BYTES
        if request.awaits_continue:
            self._outflow.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return False

    def _body_arrived(self, block: bytes) -> None:
        if self._body is None:
            return
        self._body.append(block)
        self._limit.require_room(self._body.size_bytes)

    def _begin(self) -> None:
        """Hand the complete request to the threads."""
        if self._request is None or self._body is None:
            return
        self._enter(Phase.WORKING)
        addresses = self._transport.get_extra_info("peername"), self._transport.get_extra_info("sockname")
        self._exchange = Exchange(
            self._host.application,
            self._host.configuration,
            self._request,
            self._body,
            tuple(item or "" for item in addresses),  # type: ignore[arg-type]
            self._host.is_stopping,
        )
        self._outflow.begin()
        self._step()

    def _step(self) -> None:
        if self._exchange is not None and not self._is_stepping:
            self._is_stepping = True
            work = self._loop.run_in_executor(self._host.threads, _work, self._exchange, self._outflow)
            work.add_done_callback(self._stepped)

    def _stepped(self, future: asyncio.Future[ResponsePart]) -> None:
        self._is_stepping = False
        if future.cancelled():
            return
        step = future.result()
        if self._is_lost and not step.has_ended:
            self._abandon()
            return
        if step.has_ended:
            self._exchange = self._body = None
        if self._is_lost:
            return
        self._outflow.write(step.content)
        if step.is_broken:
            self._transport.abort()
        elif not step.has_ended:
            if not self._is_write_paused:
                self._step()
        elif not step.keeps_alive or self._is_half_closed:
            self._close()
        elif not self._is_write_paused:
            self._next_request()

    def _next_request(self) -> None:
        ahead = self._parser.remaining() + bytes(self._ahead)
        self._ahead.clear()
        self._parser.reset()
        self._request = None
        self._enter(Phase.IDLE)
        self._transport.max_size = _READ_BYTES
        self._transport.resume_reading()
        if ahead:
            self._parse(ahead)

    def _abandon(self) -> None:
        if self._exchange is not None:
            with contextlib.suppress(RuntimeError):  # the threads have been told to end
                self._host.threads.submit(self._exchange.close)
        self._exchange = self._body = None

    # the end

    def _refuse(self, error: Exception) -> None:
        """Tell the client what is wrong, and end the connection."""
        self._outflow.write(refusal(error, self._request.path if self._request else "/"))
        self._close()

    def _close(self) -> None:
        """End the connection, and leave the client some time to read: what it still sends is dropped."""
        self._enter(Phase.CLOSING)
        self._drop_body()
        if self._is_half_closed:
            self._transport.close()
            return
        with contextlib.suppress(OSError, RuntimeError):
            self._transport.write_eof()
        self._transport.resume_reading()

    def drop(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    def _drop_body(self) -> None:
        if self._body is not None:
            self._body.close()
        self._body = None

    # the clock

    def rank(self, now_s: float) -> tuple[Phase, float]:
        """Return how useful this connection is, the smallest first: what it waits for, and since when."""
        pace, duration_s = self._host.pace, now_s - self._since_s
        if self._outflow.is_waiting:
            is_stalled = now_s - self._outflow.taken_s > pace.linger_s
            return (Phase.STALLED_READER, self._outflow.taken_s) if is_stalled else (Phase.READER, self._since_s)
        is_new = duration_s < pace.linger_s
        if self._phase is Phase.BODY and not is_new and not pace.is_body_quick(self._body_bytes(), duration_s):
            return Phase.SLOW_BODY, self._since_s
        return self._phase, self._since_s

    def check(self, now_s: float, interval_s: float) -> None:
        """End the connection if its client is too slow.

        Args:
            now_s: time of the event loop.
            interval_s: seconds since the last check.
        """
        if not self._outflow.is_in_time(now_s, interval_s):
            self.drop()
        if self._outflow.is_waiting:
            return
        waited_s = now_s - self._since_s
        match self._phase:
            case Phase.SILENT | Phase.IDLE | Phase.CLOSING:
                if waited_s > self._patience_s():
                    self.drop()
            case Phase.HEAD:
                if waited_s > self._host.pace.head_s:
                    detail = f"the request's headers were not complete after {self._host.pace.head_s} s"
                    self._refuse(RequestTimeoutError(detail))
            case Phase.BODY:
                self._check_body(now_s)

    def _patience_s(self) -> float:
        """Return how long this connection may wait for the client when nothing has begun."""
        pace = self._host.pace
        if self._phase is Phase.CLOSING:
            return pace.linger_s
        if self._host.is_stopping():  # a request may be on its way
            return pace.linger_s / 2
        return pace.silent_s if self._phase is Phase.SILENT else pace.idle_s

    def _check_body(self, now_s: float) -> None:
        pace = self._host.pace
        if now_s - self._arrived_s > pace.pause_s:
            self._refuse(RequestTimeoutError("the request's body stopped arriving"))
        elif not pace.is_body_in_time(self._body_bytes(), now_s - self._since_s):
            rate = f"{pace.min_body_rate:.0f} bytes a second on average after {pace.grace_s} s"
            self._refuse(RequestTimeoutError(f"the request's body arrives too slowly: it has to arrive at {rate}"))

    def _body_bytes(self) -> int:
        return self._body.size_bytes if self._body else 0

    def _enter(self, phase: Phase) -> None:
        self._phase, self._since_s = phase, self._loop.time()


def _work(exchange: Exchange, outflow: Outflow) -> ResponsePart:
    """Make a response, in a thread, as long as the client takes it; return what it has not taken."""
    end_s, is_free = time.monotonic() + _WORK_S, not outflow.is_waiting
    while True:
        part = exchange.step()
        try:
            sent_bytes = outflow.write_now(part.content) if is_free else 0
        except OSError:
            return msgspec.structs.replace(part, content=b"", is_broken=True)
        if sent_bytes < len(part.content) or part.has_ended or time.monotonic() > end_s:
            return msgspec.structs.replace(part, content=part.content[sent_bytes:])
