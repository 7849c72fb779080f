"""The parts of Dask as a cluster runs them: its scheduler, its worker, what a worker gets, how they are set up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import dask.config
from distributed import Scheduler, Security, Worker, WorkerPlugin
from distributed.comm import Comm, CommClosedError
from distributed.comm.registry import backends
from distributed.comm.tcp import TLSBackend, TLSConnector
from distributed.scheduler import DEFAULT_EXTENSIONS

from processes.jobs.slots import SlotPool
from processes.model.runtime.runtimes import count_gpus
from processes.settings import Settings, find_configuration, load_settings

GPU = "GPU"
"""Dask's name for what a worker with GPUs has: one for each of its slots."""
_SILENT_S = 30
"""Seconds after which a silent worker of a cluster counts as lost."""
_DASK: Mapping[str, Any] = {
    "distributed.scheduler.worker-ttl": f"{_SILENT_S}s",
    "distributed.scheduler.allowed-failures": 1_000_000,  # the job store counts them
    "distributed.scheduler.work-stealing": False,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.low-level-log-length": 100,
    "distributed.admin.log-length": 100,
    "distributed.comm.timeouts.connect": "10s",
}


class LentSlotsPlugin(WorkerPlugin):  # type: ignore[misc] # Dask is not typed
    """Lends a Dask worker slots that its owner starts and ends."""

    name = "classify-objects-lent-slots"  # not that of `OwnSlotsPlugin`, which would take its place and end it

    def __init__(self, slots: SlotPool) -> None:
        self._slots = slots

    async def setup(self, worker: Worker) -> None:
        """Attach the slots to the worker."""
        worker.slots = self._slots

    async def teardown(self, worker: Worker) -> None:
        """Stop the worker's steps: nobody would receive their reports."""
        await asyncio.to_thread(self._slots.interrupt)


class OwnSlotsPlugin(WorkerPlugin):  # type: ignore[misc]
    """Starts slots for a Dask worker that has none, one per thread, by the configuration of its machine."""

    name = "classify-objects-slots"
    idempotent = True

    def __init__(self) -> None:
        self._slots: SlotPool | None = None

    async def setup(self, worker: Worker) -> None:
        """Start the worker's slots, unless it has some."""
        if hasattr(worker, "slots"):
            return
        configuration = find_configuration()
        worker.slots = self._slots = SlotPool(configuration, load_settings(configuration), worker.state.nthreads)
        await asyncio.to_thread(self._slots.start)
        if count_gpus():
            await worker.set_resources(**{GPU: worker.state.nthreads})

    async def teardown(self, worker: Worker) -> None:
        """End the slots that were started here."""
        if self._slots is not None:
            await asyncio.to_thread(self._slots.close)


class _NoSpans:
    """Replaces Dask's own record of finished tasks, which would grow for ever."""

    def __init__(self, scheduler: Scheduler) -> None:
        """Keep nothing."""

    def observe_tasks(self, *_: object, **__: object) -> dict[Any, Any]:
        """Add no notes to tasks."""
        return {}

    def heartbeat(self, *_: object) -> None:
        """Ignore what a worker reports."""


class HeadlessScheduler(Scheduler):  # type: ignore[misc]
    """A scheduler without web pages that keeps no record of finished tasks.

    Args:
        options: of Dask's scheduler.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(extensions=DEFAULT_EXTENSIONS | {"spans": _NoSpans}, **options)

    def start_http_server(self, *_: object, **__: object) -> None:
        """Start none: it would listen on all interfaces."""


class HeadlessWorker(Worker):  # type: ignore[misc]
    """A worker without web pages."""

    def start_http_server(self, *_: object, **__: object) -> None:
        """Start none: it would listen on all interfaces."""


class _Connector(TLSConnector):  # type: ignore[misc]
    """Connects as Dask does, and calls a connection lost that is closed before its TLS begins.

    Tornado 6.6.1 raises ValueError there, which Dask 2026.8.0 takes for no fault of the network: its client ends its
    attempts to reconnect, and neither reports it nor can be closed.
    """

    async def connect(self, address: str, deserialize: bool = True, **options: Any) -> Comm:
        """Connect to an address; options are Dask's.

        Raises:
            CommClosedError: the connection was closed.
        """
        try:
            return await super().connect(address, deserialize, **options)
        except ValueError as err:
            raise CommClosedError(f"the connection to {address} was closed") from err


class _Backend(TLSBackend):  # type: ignore[misc]
    _connector_class = _Connector


def set_up_dask() -> None:
    """Configure Dask in this process; it logs errors only."""
    backends["tls"] = _Backend()
    dask.config.set(_DASK)
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.ERROR)


def security_of(settings: Settings) -> Security:
    """Return the certificates of a cluster; without any in the configuration, those of Dask's own."""
    if settings.tls is None:
        return Security(require_encryption=True)
    cert, key = str(settings.tls.cert), str(settings.tls.key)
    files = {
        f"tls_{role}_{kind}": path
        for role in ("client", "scheduler", "worker")
        for kind, path in (("cert", cert), ("key", key))
    }
    return Security(require_encryption=True, tls_ca_file=str(settings.tls.ca), **files)
