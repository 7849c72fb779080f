"""The execution of a job by a runner: its beginning, its sections, its end, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from processes.errors import FailureError, QuotaError, ServiceError, UnavailableError, from_record
from processes.jobs.admission import EngineLostError
from processes.jobs.attempts import MAX_LOSSES, Attempts, FailedError, lost_too_often
from processes.jobs.class_counts import counted
from processes.jobs.counters import PACE_OBJECTS, PACE_SECONDS
from processes.jobs.engine import Engine
from processes.jobs.fetched_inputs import FETCHED
from processes.jobs.job import Job, Section, parallel_slots
from processes.jobs.messages import running_message, successful_message
from processes.jobs.runner_store import LeaseLostError, RunnerStore
from processes.jobs.steps import (
    Action,
    FilesLost,
    InputsMissing,
    ResultPublished,
    SectionPaused,
    SlotEnded,
    Step,
    StepFailed,
    StepOutcome,
    StepReport,
    StepStopped,
)
from processes.jobs.storage import Storage
from processes.jobs.threads import Threads
from processes.ogc.process import LostFilesError, Sections

_logger = logging.getLogger(__name__)

_LOST_S = 1
"""Pause before a step that was lost on its way is sent again."""
_MAX_PAUSE_S = 5
_POLL_S = 1
_WRITE_S = 0.1
"""Sections that end within this time are recorded together."""
_TIDY_S = 10
"""Seconds that the end of a job waits until its files are removed; an object store may hang."""


class _StoppedError(Exception):
    """The work on the job was stopped."""


class JobExecution:
    """One job, from its claim to its end.

    Args:
        job: as it was claimed.
        runner_store: the job store.
        engine: does the steps.
        storage: the files of jobs.
        threads: for what blocks.
    """

    def __init__(self, job: Job, runner_store: RunnerStore, engine: Engine, storage: Storage, threads: Threads) -> None:
        self.job = job
        self._store = runner_store
        self._engine = engine
        self._storage = storage
        self._threads = threads
        self._counts: Counter[tuple[str, str]] = Counter()
        """Amounts that are not yet added to the counters."""
        self._begun: dict[int, float] = {}
        """Objects of sections that are done in part: how many that is."""
        self._start_s = time.monotonic()
        self._abandoned = asyncio.Event()
        self._attempts = Attempts(job, self._record_attempt)

    async def run(self) -> None:
        """Work on the job until it ends, is stopped, or belongs to another runner."""
        try:
            self._log("job claimed", process_id=self.job.process)
            if self.job.fence > 1:  # what is left of the former claim must not work beside this one
                await self._engine.stop(self.job.id, self.job.fence - 1)
            await self._succeed(await self._work())
        except (FailedError, QuotaError) as err:
            await self._fail(err.args[0] if isinstance(err, FailedError) else err)
        except LostFilesError as err:
            await self._redo(err.sections)
        except (_StoppedError, LeaseLostError):
            await self._engine.stop(self.job.id, self.job.fence)
            self._log("job let go")
        except Exception:
            _logger.exception("a job could not be executed", extra={"job": self.job.id})
            await self._fail(FailureError(f"the server failed; the log has it as job {self.job.id}"))

    async def abandon(self) -> None:
        """Stop, as the job is not this runner's any more; `run` returns soon after."""
        self._abandoned.set()
        await self._engine.stop(self.job.id, self.job.fence)

    async def _work(self) -> ResultPublished:
        """Begin, do all sections, finish."""
        if self.job.plan is None:
            plan = f"plan-{self.job.fence}"
            begun = await self._run_alone("begin", plan)
            if isinstance(begun, InputsMissing):
                await self._write(self._store.set_message, "fetching the inputs")
                await self._run_alone("fetch", FETCHED)
                await self._write(self._store.set_message, "reading the inputs")
                begun = await self._run_alone("begin", plan)
            if isinstance(begun, ResultPublished):
                return begun
            await self._record_plan(plan, _expect(begun, Sections))
        await self._do_sections()
        await self._write(self._store.set_message, "writing the result")
        return _expect(await self._run_alone("finish", self.job.plan or ""), ResultPublished)

    async def _redo(self, sections: Sequence[int]) -> None:
        """Let the next claim of the job do sections again, or all of it; where that has not helped, fail."""
        await self._engine.stop(self.job.id, self.job.fence)
        self._log("files of the job are lost", logging.ERROR, sections=list(sections) or "all")
        lost = (self.job.id, self.job.fence, sections, MAX_LOSSES)
        with contextlib.suppress(LeaseLostError):
            if not await self._with_patience(lambda: self._store.redo(*lost)):
                await self._fail(FailureError(f"the server failed: files of the job were lost {MAX_LOSSES} times"))

    async def _record_plan(self, plan: str, sections: Sections) -> None:
        done = sections.without_chip + sections.objects[0]
        total = sections.without_chip + sum(sections.objects)
        self.job = msgspec.structs.replace(self.job, plan=plan, objects=total, done=done)
        self._count("objects", "", done)
        await self._write(self._store.save_plan, plan, sections, running_message(done, total, None), self._pop_counts())
        self._log("job cut into sections", objects=total, sections=len(sections.objects))

    async def _do_sections(self) -> None:
        """Do all sections that are not done, at most the allowed number at the same time."""
        todo = deque(await self._with_patience(lambda: self._store.sections(self.job.id)))
        running: dict[asyncio.Task[StepReport | None], Section] = {}
        done: list[Section] = []
        again: list[Section] = []
        begun_s = written_s = time.monotonic()
        before = self.job.done
        try:
            while todo or running or done or again:
                for task in [task for task in running if task.done()]:
                    state = running.pop(task)
                    retried = self._evaluate("section", state, task.result())
                    if retried is None:
                        done.append(counted(state, task.result()))
                    else:
                        again.append(retried)
                        todo.appendleft(retried)
                limit = parallel_slots(self.job.parallel_factor, self._engine.slot_count())
                while todo and len(running) < limit:
                    state = todo.popleft()
                    running[asyncio.create_task(self._attempt("section", self.job.plan or "", state))] = state
                now_s = time.monotonic()
                if (done or again) and (not running or now_s - written_s > _WRITE_S):
                    await self._record_sections(done, again, now_s - begun_s, before)
                    done, again, written_s = [], [], now_s
                elif running:
                    wait_s = _WRITE_S if done or again else _POLL_S
                    await asyncio.wait(running, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in running:
                task.cancel()

    async def _record_sections(
        self, done: Sequence[Section], again: Sequence[Section], seconds: float, before: int
    ) -> None:
        """Record sections that ended.

        Args:
            done: those that are done.
            again: those that will be tried again.
            seconds: time that this runner has worked on sections of the job.
            before: number of objects that were done before that.
        """
        objects = sum(item.objects for item in done)
        self.job = msgspec.structs.replace(self.job, done=self.job.done + objects)
        self._count("objects", "", objects)
        total, now = self.job.objects or 0, self.job.done + sum(self._begun.values())
        message = running_message(now, total, (total - now) * seconds / (now - before) if now > before else None)
        await self._write(self._store.record_sections, done, again, message, self._pop_counts())

    async def _run_alone(self, action: Action, plan: str) -> StepOutcome:
        """Do a step that runs alone, and try it again as often as allowed, by this runner and those before it."""
        state = self._attempts.state(action)
        while True:
            report = await self._attempt(action, plan, state)
            retried = self._evaluate(action, state, report)
            if retried is None and report is not None:
                if not isinstance(report.outcome, ResultPublished | Sections):  # else what follows is recorded anyway
                    await self._attempts.set(action, state)
                return report.outcome
            state = retried or state
            await self._attempts.set(action, state)

    async def take_back(self) -> None:
        """Take back what is recorded in advance, as the runner gives its jobs back."""
        await self._attempts.take_back()

    async def _record_attempt(self, is_end: bool, errors: int, losses: int) -> None:
        await self._write(partial(self._store.record_attempt, is_end=is_end, errors=errors, losses=losses))

    async def _attempt(self, action: Action, plan: str, state: Section) -> StepReport | None:
        """Do a step once; None = it was lost in the engine."""
        await self._pause(min(0.1 * 2**state.errors, _MAX_PAUSE_S) if state.errors else 0)
        job = self.job
        slots = parallel_slots(job.parallel_factor, self._engine.slot_count()) if action == "begin" else 1
        step = Step(job.id, job.fence, job.process, action, plan, state.number, job.result_name, slots=slots)
        try:
            report = await self._engine.run(step, job, lambda: self._attempts.expect_loss(action, state))
            if not isinstance(report.outcome, StepStopped):
                return report
            reason = "it was stopped"
        except EngineLostError as err:
            reason = str(err)
        if not self._abandoned.is_set():
            self._log("step lost", logging.WARNING, action=action, section=state.number, reason=reason)
        await self._pause(_LOST_S)
        return None

    async def _pause(self, seconds: float) -> None:
        """Wait, unless the job is abandoned meanwhile.

        Raises:
            _StoppedError: it is.
        """
        if seconds:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._abandoned.wait(), seconds)
        if self._abandoned.is_set():
            raise _StoppedError

    def _evaluate(self, action: Action, state: Section, report: StepReport | None) -> Section | None:
        """Return None where a report says that the step is done, else the section with its errors and losses, to go on.

        Raises:
            FailedError: there is no further retry.
        """
        if report is None:
            return state
        about: dict[str, Any] = {
            "action": action,
            "section": state.number,
            "seconds": round(report.seconds, 3),
            "pid": report.pid,
        }
        self._counts["model_loads", ""] += report.model_loads
        match report.outcome:
            case StepFailed(error, is_final):
                failure = from_record(error)
                retried = msgspec.structs.replace(state, errors=state.errors + 1)
                self._count_step("failed", report)
                self._log("step failed", logging.WARNING, **about, attempt=retried.errors, reason=failure.detail)
                if is_final or retried.errors > self.job.retries:
                    raise FailedError(failure)
                return retried
            case FilesLost(sections):
                raise LostFilesError(sections)
            case SlotEnded(reason):
                retried = msgspec.structs.replace(state, losses=state.losses + 1)
                self._count_step("lost", report)
                self._log("slot ended within a step", logging.WARNING, **about, loss=retried.losses, reason=reason)
                if retried.losses >= MAX_LOSSES:
                    raise lost_too_often(reason)
                return retried
            case outcome:
                self._count_step("done", report)
                is_paused = isinstance(outcome, SectionPaused)
                if action == "section" and self.job.pace_key is not None:
                    self._count(PACE_OBJECTS, self.job.pace_key, 0 if is_paused else state.objects)
                    self._count(PACE_SECONDS, self.job.pace_key, report.seconds)
                self._begun.pop(state.number, None)
                if not isinstance(outcome, SectionPaused):
                    self._log("step done", **about)
                    return None
                self._begun[state.number] = outcome.share * state.objects
                self._log("section paused", **about, share=round(outcome.share, 3))
                return msgspec.structs.replace(state, errors=0, losses=0)

    async def _succeed(self, finished: ResultPublished) -> None:
        objects = finished.objects if self.job.objects is None else self.job.objects
        message = successful_message(finished.summary, objects)
        self._count("jobs", "successful", not self.job.is_dry_run)
        self._count("objects", "", objects - self.job.done)
        end = (message, finished.result, finished.summary, objects, self._pop_counts())
        await self._write(self._store.succeed, *end)
        self._log("job successful", seconds=round(time.monotonic() - self._start_s, 3))
        await self._remove_files(lambda: self._storage.keep_only(self.job.id, finished.result.name))

    async def _fail(self, error: ServiceError) -> None:
        await self._engine.stop(self.job.id, self.job.fence)
        self._count("jobs", "failed", not self.job.is_dry_run)
        try:
            await self._write(self._store.fail, error, self._pop_counts())
        except LeaseLostError:
            self._log("job let go")
            return
        self._log("job failed", logging.WARNING, reason=error.detail)
        await self._remove_files(lambda: self._storage.remove(self.job.id))

    async def _remove_files(self, remove: Callable[[], None]) -> None:
        """Remove files that are not needed any more. Those that cannot be removed go with the result."""
        try:
            await asyncio.wait_for(self._threads.files(remove), _TIDY_S)
        except OSError:  # or TimeoutError, which is one
            _logger.exception("files could not be removed", extra={"job": self.job.id})

    async def _write(self, write: Callable[..., None], *values: object) -> None:
        """Write to the job store, however long it takes until it answers.

        Raises:
            LeaseLostError: the job is not this runner's any more.
        """
        await self._with_patience(lambda: write(self.job.id, self.job.fence, *values))

    async def _with_patience[T](self, action: Callable[[], T]) -> T:
        while True:
            try:
                return await self._threads.store(action)
            except UnavailableError:
                await asyncio.sleep(_LOST_S)

    def _count(self, name: str, label: str, value: float = 1) -> None:
        self._counts[name, label] += value  # type: ignore[assignment] # seconds are no whole numbers

    def _count_step(self, label: str, report: StepReport) -> None:
        self._count("sections", label)
        self._count("section_seconds", label, report.seconds)

    def _pop_counts(self) -> Mapping[tuple[str, str], float]:
        counts, self._counts = self._counts, Counter()
        return {key: value for key, value in counts.items() if value}

    def _log(self, event: str, level: int = logging.INFO, **about: object) -> None:
        _logger.log(level, event, extra={"job": self.job.id, "fence": self.job.fence} | about)


def _expect[T](outcome: StepOutcome, kind: type[T]) -> T:
    if not isinstance(outcome, kind):
        raise TypeError(f"a step ended with {outcome}")
    return outcome
