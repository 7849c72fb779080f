"""Where the inputs of jobs are downloaded: processes of the runner's machine that take no slot from the work.

A download waits for a host most of its time. In a slot it would hold up work; here a host that is slow holds up other
downloads alone, of which no client has all places. The runner's machine calls hosts anyway, to tell subscribers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from processes.jobs.admission import Admission, SlotCounts
from processes.jobs.job import Job
from processes.jobs.slots import SlotPool, report_of
from processes.jobs.step_queue import QueuedStep
from processes.jobs.steps import Step, StepReport
from processes.settings import Settings

_COUNT = 8
"""Downloads at the same time."""
_PROGRAM = "processes.programs.fetch_process"
_UNUSED_S = 60
"""Seconds after which a process that has had nothing to download is ended."""


class DownloadSlots:
    """Does steps that fetch inputs. One process is ready for them; others are started when they are needed.

    Args:
        configuration: the `pygeoapi-config.yml`.
        settings: what it says.
    """

    def __init__(self, configuration: Path, settings: Settings) -> None:
        self._slots = SlotPool(configuration, settings, _COUNT, _PROGRAM, is_kept=False)
        self._timeout_s = settings.limits.section_timeout_s
        self._admission = Admission(lambda: SlotCounts(_COUNT), self._let_give_way)
        self._threads = ThreadPoolExecutor(_COUNT, "download")
        self._starting = asyncio.Lock()
        self._is_started = False

    async def start(self) -> None:
        """Start the first process, unless that is done."""
        async with self._starting:
            if not self._is_started:
                await self._in_thread(self._slots.start)
                self._is_started = True

    async def run(self, step: Step, job: Job, beginning: Callable[[], Awaitable[None]] | None = None) -> StepReport:
        """Fetch the inputs of a job, as soon as it is its turn; arguments as `Engine.run` has them."""
        await self.start()
        return await self._admission.run(step, job, self._fetch, beginning)

    async def stop(self, job_id: str, fence: int) -> None:
        """Stop all steps of a job that were claimed under a fence, or an older one; return when they have ended."""
        self._admission.stop(job_id, fence)
        if self._is_started:
            await asyncio.to_thread(self._slots.stop, job_id, fence)

    async def end_unused(self) -> None:
        """End processes that have had nothing to download for a while."""
        if self._is_started:
            await asyncio.to_thread(self._slots.end_unused, _UNUSED_S)

    async def close(self) -> None:
        """End all processes, and remove their files."""
        self._admission.close()
        if self._is_started:
            await asyncio.to_thread(self._slots.interrupt)
            await self._admission.wait_idle(1)
            await asyncio.to_thread(self._slots.close)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _fetch(self, _: QueuedStep, step: Step) -> StepReport:
        return await self._in_thread(lambda: report_of(self._slots, step, self._timeout_s, 0))

    async def _let_give_way(self, queued: QueuedStep) -> bool:
        return self._slots.stop_step(queued.key)

    async def _in_thread[T](self, action: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, action)
