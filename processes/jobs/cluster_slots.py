"""The slots of a cluster, which a Dask scheduler sends steps to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from typing import Any

import msgspec
from distributed import Client, Future, KilledWorker, Worker, get_worker
from distributed.client import FutureCancelledError
from distributed.comm import CommClosedError

from processes.jobs.admission import EngineLostError, SlotCounts
from processes.jobs.dask_parts import GPU, OwnSlotsPlugin, security_of, set_up_dask
from processes.jobs.gpu_reports import GpuReport
from processes.jobs.job import Job
from processes.jobs.slots import SlotPool, report_of
from processes.jobs.step_queue import QueuedStep
from processes.jobs.steps import Step, StepReport
from processes.model.runtime.runtimes import missing_gpu
from processes.settings import Settings

_logger = logging.getLogger(__name__)

_ANSWER_S = 5
_LOST = (FutureCancelledError, KilledWorker, CommClosedError, TimeoutError, OSError)


class ClusterSlots:
    """Slots of the workers of a cluster.

    Args:
        settings: of this deployment.
        scheduler: address of the cluster's scheduler, `tls://host:port`.
    """

    def __init__(self, settings: Settings, scheduler: str) -> None:
        self._settings = settings
        self._scheduler = scheduler
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._futures: dict[QueuedStep, Future] = {}
        """Of steps that were sent to a slot, and whose reports are not there yet."""
        self.gpus = GpuReport()
        """Those of the workers, as far as `look_for_gpus` has found them."""
        self._workers: frozenset[str] = frozenset()
        """Addresses of the workers when their GPUs were looked for."""
        self._is_closing = False

    def counts(self) -> SlotCounts:
        """Return the numbers of slots at present; 0 = the connection is lost."""
        if self._client is None or self._client.status != "running":
            return SlotCounts(0, self.gpus.slots or 0)
        slots = int(self._client.scheduler_info(n_workers=0).get("total_threads", 0))
        return SlotCounts(slots, self.gpus.slots or 0)

    async def start(self) -> None:
        """Set up Dask; the connection is made when it is needed first."""
        set_up_dask()

    async def close(self) -> None:
        """End the connection."""
        self._is_closing = True
        if self._client is not None:
            await self._client.close(timeout=1)

    async def connect(self) -> None:
        """Connect to the scheduler where the connection is lost.

        Raises:
            EngineLostError: it does not answer.
        """
        async with self._connecting:
            if self._client is not None and self._client.status == "running":
                return
            if self._is_closing:
                raise EngineLostError("the engine ends")
            if self._client is not None:
                lost, self._client = self._client, None
                try:
                    await lost.close(timeout=1)
                except Exception:  # whatever it is: the client is replaced
                    _logger.warning("a lost connection could not be closed", exc_info=True)
            try:
                client = await Client(
                    self._scheduler,
                    asynchronous=True,
                    security=security_of(self._settings),
                    timeout=_ANSWER_S,
                    set_as_default=False,
                )
                await client.register_plugin(OwnSlotsPlugin())
            except _LOST as err:
                raise EngineLostError(str(err)) from err
            self._client = client
            _logger.info("connected to the scheduler", extra={"scheduler": self._scheduler})

    async def look_for_gpus(self) -> None:
        """Look which workers have GPUs, and if none has, why.

        Raises:
            EngineLostError: the scheduler does not answer.
        """
        client = await self._connected()
        try:
            workers = (await asyncio.wait_for(client.scheduler.identity(n_workers=-1), _ANSWER_S))["workers"]
        except _LOST as err:
            raise EngineLostError(str(err)) from err
        slots = sum(int(worker["resources"].get(GPU, 0)) for worker in workers.values())
        if slots or not workers:
            self.gpus = GpuReport(slots or None)
        elif self.gpus.slots != 0 or self._workers != workers.keys():  # each of them is asked once
            reasons = Counter(filter(None, (await self._ask_workers(missing_gpu)).values()))
            self.gpus = GpuReport(0, max(reasons, key=reasons.__getitem__, default=None))
        self._workers = frozenset(workers)

    async def run(self, queued: QueuedStep, step: Step, job: Job) -> StepReport:
        """Send a step to a slot, and return its report when it is there.

        Args:
            queued: its place in the queue.
            step: what to do.
            job: whose step it is.

        Raises:
            EngineLostError: the step was lost.
        """
        client = await self._connected()
        future = self._futures[queued] = client.submit(
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

    async def stop_step(self, key: str) -> bool:
        """Stop the step of a key; return whether a slot works on it."""
        answers = await self._ask_workers(stop_step, key)
        return any(answer is True for answer in answers.values())

    async def stop(self, job_id: str, fence: int) -> None:
        """Stop all steps of a job that were claimed under a fence, or an older one; return when they have ended."""
        await self._ask_workers(stop_steps, job_id, fence)
        waiting = [future for queued, future in self._futures.items() if queued.job == job_id and queued.fence <= fence]
        if waiting and self._client is not None:  # for a slot, which other jobs may keep for long
            with contextlib.suppress(*_LOST):
                await asyncio.wait_for(self._client.cancel(waiting), _ANSWER_S)

    async def _connected(self) -> Client:
        await self.connect()
        if self._client is None:
            raise EngineLostError("there is no connection")
        return self._client

    async def _ask_workers(self, action: Any, *args: object) -> dict[str, Any]:
        """Return what an action of each worker returned, by its address; nothing where the connection is lost."""
        if self._client is None or self._client.status != "running":
            return {}
        try:
            return dict(await asyncio.wait_for(self._client.run(action, *args, on_error="ignore"), _ANSWER_S))
        except _LOST:
            return {}


def run_step(step: bytes, timeout_s: float, recycle_interval: int) -> bytes:
    """Do a step in a slot of the Dask worker that this runs in, and return its report; both as MessagePack.

    Args:
        step: what to do.
        timeout_s: seconds that a section may take.
        recycle_interval: of the job.
    """
    slots: SlotPool = get_worker().slots
    return report_of(slots, msgspec.msgpack.decode(step, type=Step), timeout_s, recycle_interval).encode()


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
