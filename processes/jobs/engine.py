"""The engine: sends steps to slots, on this machine or on a cluster, no more of them than there are free slots.

It holds no state that matters. A step that is lost, with its worker or with the scheduler, is done again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import msgspec
from distributed import Client, Future, KilledWorker, Worker, get_worker
from distributed.client import FutureCancelledError
from distributed.comm import CommClosedError

from processes.errors import FailureError, InputError, RequestError, to_record
from processes.jobs.admission import Admission, SlotCounts
from processes.jobs.dask_parts import (
    GPU,
    HeadlessScheduler,
    HeadlessWorker,
    LentSlotsPlugin,
    OwnSlotsPlugin,
    security_of,
    set_up_dask,
)
from processes.jobs.download_slots import DownloadSlots
from processes.jobs.files import NO_SPACE
from processes.jobs.job import Job
from processes.jobs.slots import SlotPool, slot_count
from processes.jobs.step_queue import QueuedStep
from processes.jobs.steps import Step, StepFailed, StepReport
from processes.model.runtime.runtimes import count_gpus
from processes.settings import Settings

_logger = logging.getLogger(__name__)

_ANSWER_S = 5
_GATHER_S = 0.001
_LOST = (FutureCancelledError, KilledWorker, CommClosedError, TimeoutError, OSError)


class EngineLostError(Exception):
    """The step was lost in the engine."""


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
        self._admission = Admission(self._slot_counts, self._let_give_way)
        self._downloads = DownloadSlots(configuration, settings)
        self._futures: dict[QueuedStep, Future] = {}
        """Of steps that were sent to a slot, and whose reports are not there yet."""
        self._gpu_slots = 0
        self._is_closing = False

    async def __aenter__(self) -> Self:
        set_up_dask(is_cluster=self._settings.scheduler is not None)
        if self._settings.hosts:
            await self._downloads.start()
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
                resources={GPU: slots.count} if count_gpus() else {},
                plugins=[LentSlotsPlugin(slots)],
            )
            await self._own.enter_async_context(worker)
            self._client = await Client(scheduler.address, asynchronous=True)
            _gather_quickly(self._client.scheduler_comm, worker.batched_stream)
            _gather_quickly(*scheduler.stream_comms.values(), *scheduler.client_comms.values())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_closing = True
        self._admission.close()
        await self._downloads.close()
        if self._client is not None:
            await self._client.close(timeout=1)
        await self._admission.wait_idle(1)
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
            if self._settings.scheduler is None or self._is_closing:
                raise EngineLostError("the engine ends")
            if self._client is not None:
                lost, self._client = self._client, None
                try:
                    await lost.close(timeout=1)
                except Exception:  # whatever it is: the client is replaced
                    _logger.warning("a lost connection could not be closed", exc_info=True)
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

    async def run(self, step: Step, job: Job, beginning: Callable[[], Awaitable[None]] | None = None) -> StepReport:
        """Do a step in a slot, as soon as it is its turn.

        Args:
            step: what to do.
            job: whose step it is.
            beginning: is awaited when there is a slot for it.

        Raises:
            EngineLostError: the step was lost.
        """
        if step.action == "fetch":
            return await self._downloads.run(step, job, beginning)
        await self.connect()
        if job.needs_gpu and not await self._has_gpu():
            missing = InputError("processorType is GPU, but no machine of this server has one that can be used")
            return StepReport(
                StepFailed(to_record(RequestError.at("/inputs/processorType", missing)), is_final=True), 0
            )
        return await self._admission.run(step, job, lambda queued, step: self._send(queued, step, job), beginning)

    async def _send(self, queued: QueuedStep, step: Step, job: Job) -> StepReport:
        """Send a step to a slot, and return its report when it is there."""
        await self.connect()
        if self._client is None:
            raise EngineLostError("there is no connection")
        future = self._futures[queued] = self._client.submit(
            run_step,
            msgspec.msgpack.encode(step),
            self._settings.limits.section_timeout_s,
            job.recycle_interval,
            key=f"section-{step.key}",
            priority=job.priority,
            resources={GPU: 1} if job.needs_gpu else None,
            pure=False,
        )
        try:
            return msgspec.msgpack.decode(await future.result(), type=StepReport)
        except _LOST as err:
            raise EngineLostError(str(err) or type(err).__name__) from err
        finally:
            del self._futures[queued]
            future.release()

    def _slot_counts(self) -> SlotCounts:
        return SlotCounts(self.slot_count(), self._gpu_slots)

    async def _let_give_way(self, queued: QueuedStep) -> bool:
        """Stop a step that is to be done again later; return whether a slot works on it."""
        if self._slots is not None:
            return self._slots.stop_step(queued.key)
        if self._client is None or self._client.status != "running":
            return False
        try:
            answers = await asyncio.wait_for(self._client.run(stop_step, queued.key, on_error="ignore"), _ANSWER_S)
        except _LOST:
            return False
        return any(answer is True for answer in answers.values())

    async def _has_gpu(self) -> bool:
        if self._client is None:
            raise EngineLostError("there is no connection")
        try:
            workers = (await self._client.scheduler.identity(n_workers=-1))["workers"]
        except _LOST as err:
            raise EngineLostError(str(err)) from err
        self._gpu_slots = sum(int(worker["resources"].get(GPU, 0)) for worker in workers.values())
        return self._gpu_slots > 0

    async def end_unused(self) -> None:
        """End processes that have had nothing to do for long."""
        await self._downloads.end_unused()

    async def stop(self, job_id: str, fence: int) -> None:
        """Stop all steps of a job that were claimed under a fence, or an older one; return when they have ended."""
        self._admission.stop(job_id, fence)
        await self._downloads.stop(job_id, fence)
        if self._slots is not None:
            await asyncio.to_thread(self._slots.stop, job_id, fence)
        elif self._client is not None and self._client.status == "running":
            with contextlib.suppress(*_LOST):
                await asyncio.wait_for(self._client.run(stop_steps, job_id, fence, on_error="ignore"), _ANSWER_S)
        waiting = [future for queued, future in self._futures.items() if queued.job == job_id and queued.fence <= fence]
        if waiting and self._client is not None:  # for a slot, which other jobs may keep for long
            with contextlib.suppress(*_LOST):
                await asyncio.wait_for(self._client.cancel(waiting), _ANSWER_S)


def _gather_quickly(*streams: Any) -> None:
    """Send messages within a process at once. Dask collects them for up to 10 ms, which suits networks."""
    for stream in streams:
        stream.interval = _GATHER_S


def run_step(step: bytes, timeout_s: float, recycle_interval: int) -> bytes:
    """Do a step in a slot of the Dask worker that this runs in, and return its report; both as MessagePack.

    Args:
        step: what to do.
        timeout_s: seconds that a section may take.
        recycle_interval: of the job.
    """
    slots: SlotPool = get_worker().slots
    try:
        return slots.run(msgspec.msgpack.decode(step, type=Step), timeout_s, recycle_interval).encode()
    except OSError as err:  # no folder can be made for it, or no process
        _logger.exception("a slot cannot work")
        reason = NO_SPACE if err.errno == errno.ENOSPC else "no process can be started for the work"
        return StepReport(StepFailed(to_record(FailureError(f"the server failed: {reason}"))), 0).encode()


async def stop_steps(job_id: str, fence: int, dask_worker: Worker) -> None:
    """Stop steps in the slots of a Dask worker.

    Args:
        job_id: the job.
        fence: number of the claim; steps of older claims are stopped too.
        dask_worker: the worker, as Dask passes it.
    """
    await asyncio.to_thread(dask_worker.slots.stop, job_id, fence)


async def stop_step(key: str, dask_worker: Worker) -> bool:
    """Stop a step in a slot of a Dask worker; return whether one of them works on it.

    Args:
        key: of the step.
        dask_worker: the worker, as Dask passes it.
    """
    return bool(dask_worker.slots.stop_step(key))
