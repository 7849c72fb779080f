"""How often the beginning and the end of a job failed. The job store has it too, so that the next runner knows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from processes.errors import FailureError
from processes.jobs.job import Job, Section
from processes.jobs.steps import Action

MAX_LOSSES = 5
"""Slot processes that a section may end, one after the other, before the job fails."""


class FailedError(Exception):
    """The job cannot be done; its argument is the error that the client sees."""


class Attempts:
    """Counts errors and losses of the steps of a job that run alone, as a section's: its beginning and its end.

    Args:
        job: as it was claimed.
        record: records for the end, or else the beginning, the errors and the losses.
    """

    def __init__(self, job: Job, record: Callable[[bool, int, int], Awaitable[None]]) -> None:
        self._counts = {
            False: (job.begin_errors, job.begin_losses),
            True: (job.finish_errors, job.finish_losses),
        }
        self._record = record
        self._lost_a_runner = job.fence > 1
        self._expected: tuple[Action, Section] | None = None
        """What is counted in advance: the step, as it was before; None = nothing."""

    def state(self, action: Action) -> Section:
        """Return the errors and losses of a step so far.

        Raises:
            FailedError: there were too many.
        """
        errors, losses = self._counts[action == "finish"]
        if losses >= MAX_LOSSES:
            raise lost_too_often("its runner ended too")
        return Section(0, 0, False, errors, losses)

    async def expect_loss(self, action: Action, state: Section) -> None:
        """Count a step as lost before it is done, where the job lost a runner before.

        That runner may have ended because of the step, and so may this one: it could not count it then.
        """
        if self._lost_a_runner and action != "section":
            self._expected = (action, state)
            await self._set(action, state.errors, state.losses + 1)

    async def take_back(self) -> None:
        """Take back a loss that is counted in advance, as the runner gives its jobs back."""
        if self._expected is not None:
            await self.set(*self._expected)

    async def set(self, action: Action, state: Section) -> None:
        """Record errors and losses of a step."""
        self._expected = None
        await self._set(action, state.errors, state.losses)

    async def _set(self, action: Action, errors: int, losses: int) -> None:
        is_end = action == "finish"
        if self._counts[is_end] != (errors, losses):
            await self._record(is_end, errors, losses)
            self._counts[is_end] = (errors, losses)


def lost_too_often(reason: str) -> FailedError:
    """Return the error of a job that ended a slot's process too often, with the reason of the last time."""
    return FailedError(
        FailureError(
            f"the server failed: a section of the job ended its process {MAX_LOSSES} times, one after the other; the "
            f"last time {reason}"
        )
    )
