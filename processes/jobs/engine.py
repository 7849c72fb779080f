"""The engine: sends steps to slots, on this machine or on a cluster, no more of them than there are free slots.

It holds no state that matters. A step that is lost, with its worker or with the scheduler, is done again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, Self

from processes.jobs.admission import Admission, SlotCounts
from processes.jobs.download_slots import DownloadSlots
from processes.jobs.gpu_reports import GpuReport
from processes.jobs.job import Job
from processes.jobs.local_slots import LocalSlots
from processes.jobs.step_queue import QueuedStep
from processes.jobs.steps import Step, StepReport
from processes.settings import Settings


class _Slots(Protocol):
    """Where steps are done: `LocalSlots` or `ClusterSlots`, which say more."""

    def counts(self) -> SlotCounts: ...
    async def start(self) -> None: ...
    async def close(self) -> None: ...
    async def connect(self) -> None: ...
    @property
    def gpus(self) -> GpuReport: ...
    async def look_for_gpus(self) -> None: ...
    async def run(self, queued: QueuedStep, step: Step, job: Job) -> StepReport: ...
    async def stop_step(self, key: str) -> bool: ...
    async def stop(self, job_id: str, fence: int) -> None: ...


class Engine:
    """Runs steps in slots and returns their reports.

    Args:
        configuration: the `pygeoapi-config.yml`.
        settings: what it says.
    """

    def __init__(self, configuration: Path, settings: Settings) -> None:
        self._slots = _slots_of(configuration, settings)
        self._admission = Admission(self._slots.counts, lambda queued: self._slots.stop_step(queued.key))
        self._downloads = DownloadSlots(configuration, settings)
        self._has_hosts = bool(settings.hosts or settings.buckets)
        self._starting: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._slots.start()
        if self._has_hosts:
            self._starting = asyncio.create_task(self._downloads.start())  # a step that needs it waits
        return self

    async def __aexit__(self, *_: object) -> None:
        self._admission.close()
        await self._downloads.close()
        await self._admission.wait_idle(1)
        await self._slots.close()

    def slot_count(self) -> int:
        """Return the number of slots at present."""
        return self._slots.counts().all

    @property
    def gpus(self) -> GpuReport:
        """The GPUs at present, as far as `look_for_gpus` has found them."""
        return self._slots.gpus

    async def look_for_gpus(self) -> None:
        """Look for the GPUs of a cluster's workers. Those of this machine are known; they do not come and go.

        Raises:
            EngineLostError: the scheduler does not answer.
        """
        await self._slots.look_for_gpus()

    async def connect(self) -> None:
        """Connect to the scheduler of a cluster where the connection is lost.

        Raises:
            EngineLostError: it does not answer.
        """
        await self._slots.connect()

    async def run(self, step: Step, job: Job, beginning: Callable[[], Awaitable[None]] | None = None) -> StepReport:
        """Do a step in a slot, as soon as it is its turn; one that needs a GPU waits until there is one.

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
        return await self._admission.run(step, job, lambda queued, step: self._slots.run(queued, step, job), beginning)

    async def end_unused(self) -> None:
        """End processes that have had nothing to do for long."""
        await self._downloads.end_unused()

    async def stop(self, job_id: str, fence: int) -> None:
        """Stop all steps of a job that were claimed under a fence, or an older one; return when they have ended."""
        self._admission.stop(job_id, fence)
        await self._downloads.stop(job_id, fence)
        await self._slots.stop(job_id, fence)


def _slots_of(configuration: Path, settings: Settings) -> _Slots:
    if settings.scheduler is None:
        return LocalSlots(configuration, settings)
    from processes.jobs.cluster_slots import ClusterSlots  # without a cluster nobody waits for Dask to be imported

    return ClusterSlots(settings, settings.scheduler)
