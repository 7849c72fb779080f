"""The HTTP server: gunicorn, which keeps worker processes running."""

from __future__ import annotations

import gc
import signal
from pathlib import Path
from typing import Any

import pygeoapi.api.itemtypes  # noqa: F401 - it makes a parser as it is imported, 0.2 s, for each worker that does
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from processes.web.app import create_application  # before workers are forked, which share what is imported
from processes.web.http.refusal import MAX_REQUEST_LINE_BYTES
from processes.web.http.worker import HttpWorker

GRACE_S = 8
"""Seconds that the server waits for running requests when it stops."""


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
            "pre_fork": _keep_shared,
            "post_fork": _end_at_sigterm,
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return create_application(self._configuration)


def _keep_shared(_arbiter: Any, _worker: HttpWorker) -> None:
    """Take what there is out of the garbage collector's sight: it would write to it, and each worker get a copy."""
    gc.freeze()


def _end_at_sigterm(_arbiter: Any, _worker: HttpWorker) -> None:
    """Let a worker that has just been forked end at SIGTERM; until it has handlers of its own, it has the master's."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
