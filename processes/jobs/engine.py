"""The engine: sends steps to slots, on this machine or on a cluster. The only home of Dask.

It holds no state that matters. A step that is lost, with its worker or with the scheduler, is done again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import dask.config
import msgspec
from distributed import Client, Future, KilledWorker, Scheduler, Security, Worker, WorkerPlugin, get_worker
from distributed.client import FutureCancelledError
from distributed.comm import CommClosedError
from distributed.scheduler import DEFAULT_EXTENSIONS

from processes.errors import FailureError, InputError, RequestError, to_record
from processes.jobs.files import NO_SPACE
from processes.jobs.slots import SlotPool, slot_count
from processes.jobs.steps import Step, StepFailed, StepReport
from processes.model.runtime.runtimes import count_gpus
from processes.settings import Settings, find_configuration, load_settings

_logger = logging.getLogger(__name__)

_GPU = "GPU"
_ANSWER_S = 5
_GATHER_S = 0.001
_SILENT_S = 30
"""Seconds after which a silent worker of a cluster counts as lost."""
_DASK: Mapping[str, Any] = {
    "distributed.scheduler.allowed-failures": 1_000_000,  # the job store counts them
    "distributed.scheduler.work-stealing": False,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.low-level-log-length": 100,
    "distributed.admin.log-length": 100,
    "distributed.comm.timeouts.connect": "10s",
}
_LOST = (FutureCancelledError, KilledWorker, CommClosedError, TimeoutError, OSError)


class EngineLostError(Exception):
    """The step was lost in the engine."""


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
            await worker.set_resources(**{_GPU: worker.state.nthreads})

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


def set_up_dask(*, is_cluster: bool) -> None:
    """Configure Dask in this process; it logs errors only.

    Args:
        is_cluster: whether workers run in other processes. Within one process no worker can be lost alone: a process
            that was frozen for a while has lost nothing.
    """
    dask.config.set({**_DASK, "distributed.scheduler.worker-ttl": f"{_SILENT_S}s" if is_cluster else None})
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


class Engine:
    """Runs steps in slots and returns their reports.

    Args:
        configuration: the `pygeoapi-config.yml`.
        settings: what it says.
    """

    def __init__(self, configuration: Path, settings: Settings) -> None:
        self._configuration = configuration
        self._settings = settings
        self._own = contextlib.AsyncExitStack()
        self._client: Client | None = None
        self._slots: SlotPool | None = None
        self._connecting = asyncio.Lock()
        self._sent: dict[Future, Step] = {}
        """Steps that were sent, and whose reports are not there yet."""

    async def __aenter__(self) -> Self:
        set_up_dask(is_cluster=self._settings.scheduler is not None)
        if self._settings.scheduler is None:
            slots = self._slots = SlotPool(self._configuration, self._settings, slot_count(self._settings))
            await asyncio.to_thread(slots.start)
            scheduler = HeadlessScheduler(protocol="inproc://", port=0, dashboard=False)
            await self._own.enter_async_context(scheduler)
            worker = HeadlessWorker(
                scheduler.address,
                nthreads=slots.count,
                memory_limit=0,
                local_directory=str(slots.folder),
                resources={_GPU: slots.count} if count_gpus() else {},
                plugins=[LentSlotsPlugin(slots)],
            )
            await self._own.enter_async_context(worker)
            self._client = await Client(scheduler.address, asynchronous=True)
            _gather_quickly(self._client.scheduler_comm, worker.batched_stream)
            _gather_quickly(*scheduler.stream_comms.values(), *scheduler.client_comms.values())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.close(timeout=1)
        await self._own.aclose()
        if self._slots is not None:
            await asyncio.to_thread(self._slots.close)

    def slot_count(self) -> int:
        """Return the number of slots at present."""
        if self._slots is not None:
            return self._slots.count
        if self._client is None or self._client.status != "running":
            return 0
        return int(self._client.scheduler_info(n_workers=0).get("total_threads", 0))

    async def connect(self) -> None:
        """Connect to the scheduler of a cluster where the connection is lost.

        Raises:
            EngineLostError: it does not answer.
        """
        async with self._connecting:
            if self._client is not None and self._client.status == "running":
                return
            if self._client is not None:
                with contextlib.suppress(*_LOST):
                    await self._client.close(timeout=1)
                self._client = None
            try:
                client = await Client(
                    self._settings.scheduler,
                    asynchronous=True,
                    security=security_of(self._settings),
                    timeout=_ANSWER_S,
                    set_as_default=False,
                )
                await client.register_plugin(OwnSlotsPlugin())
            except _LOST as err:
                raise EngineLostError(str(err)) from err
            self._client = client
            _logger.info("connected to the scheduler", extra={"scheduler": self._settings.scheduler})

    async def run(self, step: Step, priority: int, recycle_interval: int, needs_gpu: bool) -> StepReport:
        """Do a step in a slot.

        Args:
            step: what to do.
            priority: steps of a higher one go first.
            recycle_interval: of the job.
            needs_gpu: True = the slot must have a GPU.

        Raises:
            EngineLostError: the step was lost.
        """
        await self.connect()
        if self._client is None:
            raise EngineLostError("there is no connection")
        if needs_gpu and not await self._has_gpu(self._client):
            missing = InputError("processorType is GPU, but no machine of this server has one that can be used")
            return StepReport(
                StepFailed(to_record(RequestError.at("/inputs/processorType", missing)), is_final=True), 0
            )
        future = self._client.submit(
            run_step,
            msgspec.msgpack.encode(step),
            self._settings.limits.section_timeout_s,
            recycle_interval,
            key=f"section-{uuid.uuid4().hex}",
            priority=priority,
            resources={_GPU: 1} if needs_gpu else None,
            pure=False,
        )
        self._sent[future] = step
        try:
            return msgspec.msgpack.decode(await future.result(), type=StepReport)
        except _LOST as err:
            raise EngineLostError(str(err) or type(err).__name__) from err
        finally:
            del self._sent[future]
            future.release()

    async def _has_gpu(self, client: Client) -> bool:
        try:
            workers = (await client.scheduler.identity(n_workers=-1))["workers"]
        except _LOST as err:
            raise EngineLostError(str(err)) from err
        return any(worker["resources"].get(_GPU) for worker in workers.values())

    async def stop(self, job_id: str, fence: int) -> None:
        """Stop all steps of a job that were claimed under a fence, or an older one; return when they have ended."""
        if self._slots is not None:
            await asyncio.to_thread(self._slots.stop, job_id, fence)
        elif self._client is not None and self._client.status == "running":
            with contextlib.suppress(*_LOST):
                await asyncio.wait_for(self._client.run(stop_steps, job_id, fence, on_error="ignore"), _ANSWER_S)
        waiting = [future for future, step in self._sent.items() if step.job == job_id and step.fence <= fence]
        if waiting and self._client is not None:  # for a slot, which other jobs may keep for long
            with contextlib.suppress(*_LOST):
                await asyncio.wait_for(self._client.cancel(waiting), _ANSWER_S)


def _gather_quickly(*streams: Any) -> None:
    """Send messages within a process at once. Dask collects them for up to 10 ms, which suits networks."""
    for stream in streams:
        stream.interval = _GATHER_S


def run_step(step: bytes, timeout_s: float, recycle_interval: int) -> bytes:
    """Do a step in a slot of the Dask worker that this runs in."""
    slots: SlotPool = get_worker().slots
    try:
        return slots.run(msgspec.msgpack.decode(step, type=Step), timeout_s, recycle_interval).encode()
    except OSError as err:  # no folder can be made for it, or no process
        _logger.exception("a slot cannot work")
        reason = NO_SPACE if err.errno == errno.ENOSPC else "no process can be started for the work"
        return StepReport(StepFailed(to_record(FailureError(f"the server failed: {reason}"))), 0).encode()


async def stop_steps(job_id: str, fence: int, dask_worker: Worker) -> None:
    """Stop steps in the slots of a Dask worker."""
    await asyncio.to_thread(dask_worker.slots.stop, job_id, fence)
