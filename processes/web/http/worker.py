"""gunicorn's worker process: an event loop for connections, and threads for complete requests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
from gunicorn.workers.base import Worker

from processes.confinement.free_memory import return_large_blocks
from processes.web.http.body import BodyMemory
from processes.web.http.connection import Host
from processes.web.http.connections import (
    MAX_CONNECTIONS,
    MAX_CONNECTIONS_PER_ADDRESS,
    Connections,
    raise_file_limit,
)
from processes.web.http.pace import Pace
from processes.web.views import SETTINGS, STOPPING

_BACKLOG = 2048
_BODY_MEMORY_BYTES = 2**25
_LARGE_BLOCK_BYTES, _ARENAS = 2**18, 2
"""What memory is kept: blocks that are smaller, by so many groups of threads."""
_CHECK_S, _DRAIN_S = 1.0, 0.05
_FINISH_S = 4
"""Seconds in which requests that wait for a job may still get its result when the server stops."""


class HttpWorker(Worker):  # type: ignore[misc] # gunicorn is not typed
    """A process that answers requests."""

    pace = Pace()
    max_per_address = MAX_CONNECTIONS_PER_ADDRESS
    finish_s: float = _FINISH_S
    _is_stopping = False

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Stop at SIGTERM: at once before anybody is served, else when the requests that have begun are answered."""
        if not self.booted:
            os._exit(0)  # an exception here would end in whatever is being imported
        self._is_stopping = True
        super().handle_exit(sig, frame)

    def run(self) -> None:
        """Answer requests until stopped."""
        _return_memory()
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()

        def handle_exit() -> None:
            self.handle_exit(signal.SIGTERM, None)
            # clients that still wait for a job get a response before the end
            loop.call_later(self.finish_s, self.wsgi.extensions[STOPPING].set)
            stop.set()

        loop.add_signal_handler(signal.SIGTERM, handle_exit)
        threads = ThreadPoolExecutor(self.cfg.threads)
        connections = self._connections(threads)
        # asyncio accepts as many connections at once as the backlog has: one, so that all processes get their share
        listeners = [await loop.create_server(connections.accept, sock=item.sock, backlog=1) for item in self.sockets]
        for item in self.sockets:
            item.sock.listen(_BACKLOG)
        while self.alive and os.getppid() == self.ppid:
            self._check(connections)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _CHECK_S)
        for listener in listeners:
            listener.close()
        deadline_s = loop.time() + self.cfg.graceful_timeout
        while len(connections) and loop.time() < deadline_s:
            self._check(connections)
            await asyncio.sleep(_DRAIN_S)
        threads.shutdown(wait=False, cancel_futures=True)

    def _check(self, connections: Connections) -> None:
        self.notify()
        connections.check(asyncio.get_running_loop().time())

    def _connections(self, threads: ThreadPoolExecutor) -> Connections:
        settings = self.wsgi.extensions[SETTINGS]
        host = Host(
            application=self.wsgi,
            configuration=self.cfg,
            threads=threads,
            memory=BodyMemory(_BODY_MEMORY_BYTES),
            settings=settings,
            pace=self.pace,
            is_stopping=lambda: self._is_stopping,
        )
        max_per_address = None if settings.proxies else self.max_per_address
        return Connections(host, min(MAX_CONNECTIONS, raise_file_limit()), max_per_address)


def _return_memory() -> None:
    """Let large blocks go back to the system as soon as they are free, in place of being kept.

    Arrow's own allocator keeps some for each thread that has used it, and a process has many threads.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    return_large_blocks(_LARGE_BLOCK_BYTES, _ARENAS)
