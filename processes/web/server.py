"""The HTTP server: gunicorn with threads. Its own errors have the form of the contract too."""

from __future__ import annotations

import logging
import os
import signal
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

from processes.errors import FailureError, InputError, ServiceError
from processes.ogc.problem import (
    ExpectationFailedError,
    HeadersTooLargeError,
    TransferCodingError,
    UriTooLongError,
    problem_document,
)
from processes.sources.media_types import JSON
from processes.web.views import STOPPING

_logger = logging.getLogger(__name__)

MAX_REQUEST_LINE_BYTES = 8190
BODY_TIMEOUT_S = 10
GRACE_S = 8
"""Seconds that the server waits for running requests when it stops."""

_CLIENT_ERRORS: Mapping[type[Exception], ServiceError] = {
    errors.LimitRequestLine: UriTooLongError(f"the request line is longer than {MAX_REQUEST_LINE_BYTES} bytes"),
    errors.LimitRequestHeaders: HeadersTooLargeError("the request's headers are too large"),
    errors.ExpectationFailed: ExpectationFailedError("the expectation cannot be met"),
    errors.UnsupportedTransferCoding: TransferCodingError("the transfer coding is not supported"),
    errors.ParseException: InputError("the request is not HTTP as this server understands it"),
}
"""The error that a client gets for each of gunicorn's; subclasses stand before their bases."""


class HttpWorker(ThreadWorker):  # type: ignore[misc] # gunicorn is not typed
    """gunicorn's threaded worker, with a time limit for the client's bytes, and with errors as JSON."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        if not self.booted:
            os._exit(0)  # it serves nobody yet; an exception here would end in whatever is being imported
        self.wsgi.extensions[STOPPING].set()  # clients that wait for a job get a response before the end
        super().handle_exit(sig, frame)

    def enqueue_req(self, conn: TConn) -> None:
        # the kernel's own limit: gunicorn sets sockets to blocking again and again, which undoes Python's time-out
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", BODY_TIMEOUT_S, 0))
        super().enqueue_req(conn)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Send the response to an error that occurred outside the application.

        Args:
            req: gunicorn's request; None = it could not be read.
            client: socket of the connection.
            addr: address of the client.
            exc: the error.
        """
        error = next((error for kind, error in _CLIENT_ERRORS.items() if isinstance(exc, kind)), None)
        if error is None:
            _logger.error("request failed outside the application", exc_info=exc)
            error = FailureError("the server failed at this request")
        document = problem_document(error, getattr(req, "path", None) or "/")
        status, body = document["status"], msgspec.json.encode(document)
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            "Connection: close",
            f"Content-Type: {JSON}",
            f"Content-Length: {len(body)}",
        )
        try:
            client.sendall("\r\n".join([*head, "\r\n"]).encode() + body)
        except OSError:
            _logger.info("client disconnected before the error was sent")


class HttpLog(Logger):  # type: ignore[misc]
    """gunicorn's log, in the form of this program's log."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            log.handlers.clear()
            log.propagate = True


class HttpServer(BaseApplication):  # type: ignore[misc]
    """The server of a configuration's application, in the foreground.

    Args:
        configuration: the `pygeoapi-config.yml`.
        address: where the server listens, `host:port`, or `fd://n` for a socket that is already open.
        workers: number of processes.
        threads: number of requests that each process serves at the same time.
        folder: folder for the server's own files.
    """

    def __init__(self, configuration: Path, address: str, workers: int, threads: int, folder: Path) -> None:
        self._configuration = configuration
        self._address = address
        self._workers = workers
        self._threads = threads
        self._folder = folder
        super().__init__()

    def load_config(self) -> None:
        for name, value in {
            "bind": self._address,
            "worker_class": HttpWorker,
            "workers": self._workers,
            "threads": self._threads,
            "timeout": 120,
            "graceful_timeout": GRACE_S,
            "limit_request_line": MAX_REQUEST_LINE_BYTES,
            "control_socket_disable": True,
            "logger_class": HttpLog,
            "worker_tmp_dir": str(self._folder),
            "post_fork": _end_at_sigterm,
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        from processes.web.app import create_application  # it imports pygeoapi, which the workers do and not the master

        return create_application(self._configuration)


def _end_at_sigterm(_arbiter: Any, _worker: HttpWorker) -> None:
    """Let a worker that has just been forked end at SIGTERM; until it has handlers of its own, it has the master's."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
