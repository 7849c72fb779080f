"""The HTTP server: gunicorn with threads, whose own errors have the form of the contract too."""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.http import errors
from gunicorn.workers.gthread import TConn, ThreadWorker

from processes.ogc.problem import document

_logger = logging.getLogger(__name__)

MAX_REQUEST_LINE = 8190
BODY_TIMEOUT_S = 10
GRACE_S = 8
"""So long requests may take that are being answered when the server is told to stop."""
STOPPING = "classify-objects-stopping"
"""Name of the application's extension that tells whether the server stops, a `threading.Event`."""

_CLIENT_ERRORS: Mapping[type[Exception], tuple[int, str]] = {
    errors.LimitRequestLine: (414, f"the request line is longer than {MAX_REQUEST_LINE} bytes"),
    errors.LimitRequestHeaders: (431, "the request's headers are too large"),
    errors.ExpectationFailed: (417, "the expectation cannot be met"),
    errors.UnsupportedTransferCoding: (501, "the transfer coding is not supported"),
    errors.ParseException: (400, "the request is not HTTP as this server understands it"),
}


class HttpWorker(ThreadWorker):  # type: ignore[misc] # gunicorn is not typed
    """gunicorn's threaded worker with a limit on waiting for a client's bytes, and JSON errors."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        if self.wsgi is not None:
            self.wsgi.extensions[STOPPING].set()  # who waits for a job is told, and not cut off
        super().handle_exit(sig, frame)

    def enqueue_req(self, conn: TConn) -> None:
        # the kernel's own limit: gunicorn sets sockets to blocking again and again, which undoes Python's time-out
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", BODY_TIMEOUT_S, 0))
        super().enqueue_req(conn)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        status, detail = next(
            (answer for kind, answer in _CLIENT_ERRORS.items() if isinstance(exc, kind)),
            (500, "the server failed at this request"),
        )
        if status == 500:
            _logger.error("a request failed outside the application", exc_info=exc)
        body = msgspec.json.encode(document(status, detail, getattr(req, "path", None) or "/"))
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            "Connection: close",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        )
        try:
            client.sendall("\r\n".join([*head, "\r\n"]).encode() + body)
        except OSError:
            _logger.info("a client left before it was told of its error")


class HttpLog(Logger):  # type: ignore[misc]
    """gunicorn's log, in the form of this program's own."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            log.handlers.clear()
            log.propagate = True


class HttpServer(BaseApplication):  # type: ignore[misc]
    """The server of `application`, in the foreground.

    Args:
        address: to listen at, `host:port`, or `fd://n` for a socket that is open already.
        workers: processes.
        threads: requests that each of them serves at the same time.
        folder: for the server's own files.
    """

    def __init__(self, address: str, workers: int, threads: int, folder: Path) -> None:
        self._address = address
        self._workers = workers
        self._threads = threads
        self._folder = folder
        super().__init__()

    def load_config(self) -> None:
        for name, value in {
            "bind": self._address,
            "worker_class": f"{__name__}.HttpWorker",
            "workers": self._workers,
            "threads": self._threads,
            "timeout": 120,
            "graceful_timeout": GRACE_S,
            "limit_request_line": MAX_REQUEST_LINE,
            "control_socket_disable": True,
            "logger_class": f"{__name__}.HttpLog",
            "worker_tmp_dir": str(self._folder),
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        from processes.web.app import application  # pygeoapi reads its configuration at import, in the worker

        return application
