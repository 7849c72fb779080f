"""The slots of this machine, for a runner that works alone."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from processes.jobs.admission import SlotCounts
from processes.jobs.gpu_reports import GpuReport
from processes.jobs.job import Job
from processes.jobs.slots import SlotPool, report_of, slot_count
from processes.jobs.step_queue import QueuedStep
from processes.jobs.steps import Step, StepReport
from processes.model.runtime.runtimes import count_gpus, missing_gpu
from processes.settings import Settings

_logger = logging.getLogger(__name__)


class LocalSlots:
    """Slots of this machine, with a thread for each that waits for its report.

    Args:
        configuration: the `pygeoapi-config.yml`.
        settings: what it says.
    """

    def __init__(self, configuration: Path, settings: Settings) -> None:
        self._timeout_s = settings.limits.section_timeout_s
        self._slots = SlotPool(configuration, settings, slot_count(settings))
        self._threads = ThreadPoolExecutor(self._slots.count, "slot")
        self._starting: asyncio.Task[None] | None = None
        self.gpus = GpuReport(self._slots.count) if count_gpus() else GpuReport(0, missing_gpu())
        """Those of this machine."""
        self._counts = SlotCounts(self._slots.count, self.gpus.slots or 0)

    def counts(self) -> SlotCounts:
        """Return the numbers of slots at present."""
        return self._counts

    async def start(self) -> None:
        """Begin to start the slots' processes; steps wait until they are there."""
        await asyncio.to_thread(self._slots.make_folder)
        self._starting = asyncio.create_task(self._start_processes())

    async def close(self) -> None:
        """Stop all steps and end the slots."""
        await asyncio.to_thread(self._slots.interrupt)
        await asyncio.to_thread(self._slots.close)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def connect(self) -> None:
        """Do nothing: there is nothing between a runner and the slots of its machine."""

    async def look_for_gpus(self) -> None:
        """Do nothing: those of this machine do not come and go."""

    async def run(self, queued: QueuedStep, step: Step, job: Job) -> StepReport:
        """Do a step in the next free slot, and return its report.

        Args:
            queued: its place in the queue, which is not needed here.
            step: what to do.
            job: whose step it is.
        """
        if self._starting is not None:
            await asyncio.shield(self._starting)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._threads, report_of, self._slots, step, self._timeout_s, job.recycle_interval
        )

    async def _start_processes(self) -> None:
        try:
            await asyncio.to_thread(self._slots.start_processes)
        except OSError:  # each is started again when a step needs it
            _logger.exception("slots could not be started")

    async def stop_step(self, key: str) -> bool:
        """Stop the step of a key; return whether a slot works on it."""
        return self._slots.stop_step(key)

    async def stop(self, job_id: str, fence: int) -> None:
        """Stop all steps of a job that were claimed under a fence, or an older one; return when they have ended."""
        await asyncio.to_thread(self._slots.stop, job_id, fence)
