"""Lets steps into slots, one by one, in the order of their queue."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import msgspec

from processes.jobs.job import Job
from processes.jobs.step_queue import QueuedStep, StepQueue
from processes.jobs.steps import Step, StepReport, StepStopped

_logger = logging.getLogger(__name__)

_REMEMBERED = 1000
"""Number of jobs that are known to be stopped."""
_LONG_BYTES = 2**23
"""The beginning of a job whose request is larger takes seconds."""
_LOOK_S = 0.1
"""Pause between two looks while steps wait: slots come and go, and patience ends."""


Attempt = Callable[[QueuedStep, Step], Awaitable[StepReport]]
"""Does a step once, in a slot."""


class EngineLostError(Exception):
    """The step was lost on its way to a slot, or its report on the way back."""


class DismissedError(Exception):
    """The step is not to be done any more."""


class SlotCounts(msgspec.Struct, frozen=True):
    """Numbers of slots at present."""

    all: int
    gpu: int = 0
    """Those that have a GPU."""


class Admission:
    """Lets steps into slots.

    Args:
        counts: returns how many slots there are.
        stop: stops a step that is to give way; returns whether it was in a slot.
    """

    def __init__(
        self, counts: Callable[[], SlotCounts], stop: Callable[[QueuedStep], Awaitable[bool]] | None = None
    ) -> None:
        self._counts = counts
        self._stop = stop
        self._queue = StepQueue()
        self._entries: dict[QueuedStep, asyncio.Future[None]] = {}
        """Steps that wait."""
        self._attempts: set[asyncio.Task[StepReport]] = set()
        self._stopped: OrderedDict[str, int] = OrderedDict()
        """Jobs that were stopped, with the fence up to which they were."""
        self._is_closed = False
        self._watch: asyncio.Task[None] | None = None

    async def run(
        self, step: Step, job: Job, attempt: Attempt, beginning: Callable[[], Awaitable[None]] | None = None
    ) -> StepReport:
        """Do a step as soon as it is its turn, and again if it has to give way meanwhile; stopped = its job was.

        The step has its place until its attempt has ended, though nobody may wait for its report any more.

        Args:
            step: what to do.
            job: whose step it is.
            attempt: sends the step to a slot and returns its report. What it raises is raised.
            beginning: is awaited before each attempt.
        """
        order = (job.created.timestamp(), job.id, step.section)
        is_long = step.action == "begin" and job.request_bytes > _LONG_BYTES
        queued = QueuedStep(job.client, job.priority > 0, order, job.needs_gpu, step.fence, is_long=is_long)
        while True:
            had_given_way = queued.gave_way
            queued.key = uuid.uuid4().hex
            try:
                await self.enter(queued)
            except DismissedError:
                return StepReport(StepStopped(), 0)
            work = self._work(queued, attempt, msgspec.structs.replace(step, key=queued.key), beginning)
            working = asyncio.create_task(work)
            self._attempts.add(working)
            working.add_done_callback(self._forget)
            report = await asyncio.shield(working)
            if had_given_way or not queued.gave_way or not isinstance(report.outcome, StepStopped):
                return report
            _logger.info("step gave way", extra={"job": job.id, "action": step.action, "section": step.section})

    async def enter(self, step: QueuedStep) -> None:
        """Wait until a step may have a slot; give that back by `leave`, however the step ends.

        Raises:
            DismissedError: it is to wait no more.
        """
        if self._is_stopped(step):
            raise DismissedError
        entry = self._entries[step] = asyncio.get_running_loop().create_future()
        self._queue.add(step, time.monotonic())
        try:
            self._admit()
            if not entry.done() and (self._watch is None or self._watch.done()):
                self._watch = asyncio.create_task(self._look())
            await entry
        except BaseException:
            self.leave(step)
            raise
        finally:
            del self._entries[step]

    def leave(self, step: QueuedStep) -> None:
        """Give back the place of a step, in a slot or in the queue."""
        self._queue.remove(step, time.monotonic())
        self._admit()

    def stop(self, job_id: str, fence: int) -> None:
        """Let no step of a job wait any more, nor later, that was claimed under a fence, or an older one."""
        self._stopped[job_id] = max(fence, self._stopped.pop(job_id, -1))
        if len(self._stopped) > _REMEMBERED:
            self._stopped.popitem(last=False)
        self._dismiss_stopped()

    def close(self) -> None:
        """Let no step wait any more."""
        self._is_closed = True
        self._dismiss_stopped()
        if self._watch is not None:
            self._watch.cancel()

    async def wait_idle(self, timeout_s: float) -> None:
        """Wait until no attempt works any more, or until the time is over."""
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=timeout_s)

    def _is_stopped(self, step: QueuedStep) -> bool:
        return self._is_closed or step.fence <= self._stopped.get(step.job, -1)

    def _dismiss_stopped(self) -> None:
        for step, entry in self._entries.items():
            if self._is_stopped(step) and not entry.done():
                entry.set_exception(DismissedError)

    async def _work(
        self, queued: QueuedStep, attempt: Attempt, step: Step, beginning: Callable[[], Awaitable[None]] | None
    ) -> StepReport:
        try:
            if beginning is not None:
                await beginning()
            return await attempt(queued, step)
        finally:
            self.leave(queued)

    def _forget(self, attempt: asyncio.Task[StepReport]) -> None:
        self._attempts.discard(attempt)
        if not attempt.cancelled():
            attempt.exception()  # else asyncio complains where nobody waits for the report any more

    def _admit(self) -> None:
        counts = self._counts()
        while (step := self._queue.take(counts.all, counts.gpu, time.monotonic())) is not None:
            entry = self._entries.get(step)
            if entry is None or entry.done():  # it is just leaving
                self._queue.remove(step, time.monotonic())
            else:
                entry.set_result(None)

    async def _look(self) -> None:
        while self._entries:
            await asyncio.sleep(_LOOK_S)
            try:
                self._admit()
                await self._make_way()
            except Exception:
                _logger.exception("the queue of steps failed at something, and goes on")

    async def _make_way(self) -> None:
        """Stop a step where another one has waited for too long."""
        counts = self._counts()
        step = self._queue.one_to_give_way(counts.all, counts.gpu, time.monotonic())
        if step is not None and self._stop is not None:
            step.gave_way = step.is_leaving = True
            if not await self._stop(step):
                step.gave_way = step.is_leaving = False
