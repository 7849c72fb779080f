"""Lets steps into slots, one by one, in the order of their queue."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from processes.jobs.step_queue import QueuedStep, StepQueue

_logger = logging.getLogger(__name__)

_LOOK_S = 0.1
"""Pause between two looks while steps wait: slots come and go, and patience ends."""


class DismissedError(Exception):
    """The step is not to be done any more."""


@dataclass(frozen=True, slots=True)
class SlotCounts:
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
        self._watch: asyncio.Task[None] | None = None

    async def enter(self, step: QueuedStep) -> None:
        """Wait until a step may have a slot; give that back by `leave`, however the step ends.

        Raises:
            DismissedError: it is to wait no more.
        """
        entry = self._entries[step] = asyncio.get_running_loop().create_future()
        self._queue.add(step, time.monotonic())
        try:
            self._admit()
            if self._watch is None or self._watch.done():
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

    def dismiss(self, is_meant: Callable[[QueuedStep], bool]) -> None:
        """Let steps wait no more."""
        for step, entry in self._entries.items():
            if is_meant(step) and not entry.done():
                entry.set_exception(DismissedError)

    async def close(self) -> None:
        """Let no step wait any more."""
        self.dismiss(lambda _: True)
        if self._watch is not None:
            self._watch.cancel()

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
            step.gave_way = True
            step.gave_way = await self._stop(step)
