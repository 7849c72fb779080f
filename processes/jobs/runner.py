"""The runner: claims jobs and executes them. It can be killed at any time, and started again.

All its state lies in the job store and in the files of the jobs. Several runners may share both.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from processes.errors import UnavailableError
from processes.jobs.admission import EngineLostError
from processes.jobs.callback_sender import CallbackSender
from processes.jobs.callbacks import Callbacks
from processes.jobs.claiming import LEASE_S
from processes.jobs.database import Database
from processes.jobs.engine import Engine
from processes.jobs.execution import JobExecution
from processes.jobs.files import storage_of
from processes.jobs.job import is_job_id
from processes.jobs.runner_store import RunnerStore
from processes.jobs.threads import Threads
from processes.jobs.wakeup_pipe import WakeupPipe
from processes.settings import Settings
from processes.sources.uploads import remove_expired

_logger = logging.getLogger(__name__)

_POLL_S, _OWN_POLL_S = 0.05, 1
"""Pauses between two looks for work and for dismissed jobs, unless somebody wakes the runner: where other machines may
bring work, and where all who bring it wake the runner, as the job store is a file of this machine."""
_GPU_LOOK_S = 2
"""Pause between two looks for the GPUs of a cluster."""
_RETRY_S = 1
"""Pause before a job store that does not answer is tried again."""
_CLEAN_S = 2
_EXPIRE_S = 60
_STRAY_CHECK_S = 3600
_STRAY_AGE_S = 3600
"""Age at which files of no job are removed. Younger ones may belong to a job that is just being accepted."""
_BEYOND_SHARE = 4
"""A quarter of the jobs that a runner works on may be added for clients none of whose jobs runs."""


class _ActiveJob(msgspec.Struct):
    """A job that this runner works on."""

    execution: JobExecution
    task: asyncio.Task[None]
    stopping: asyncio.Task[None] | None = None


class Runner:
    """Works on jobs until it is told to stop.

    Args:
        configuration: the `pygeoapi-config.yml`.
        settings: what it says.
        base_url: of the service, for links in callbacks.
        name: which no other runner has; one that is started in the place of another has its name.
    """

    def __init__(self, configuration: Path, settings: Settings, base_url: str, name: str) -> None:
        self._settings = settings
        self._database = Database(settings.job_store)
        self._store = RunnerStore(self._database, name, settings.limits)
        self._storage = storage_of(settings)
        self._engine = Engine(configuration, settings)
        self._callback_sender = CallbackSender(Callbacks(self._database, self._storage, settings, base_url))
        self._active: dict[str, _ActiveJob] = {}
        self._wakeup_pipe = WakeupPipe(settings.state)
        self._woken = asyncio.Event()
        self._has_ended = asyncio.Event()
        """Set where a job has ended whose files may be to remove."""
        self._removals: dict[str, asyncio.Task[None]] = {}
        """Jobs whose files are being removed."""
        self._threads = Threads()

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set; then release the jobs that are not finished."""
        if not await self._prepare(stopping):
            return
        async with self._engine:
            with self._wakeup_pipe.sets(self._woken):
                await self._work(stopping)
            await self._return_jobs()
        self._threads.close()
        self._database.close()
        _logger.info("runner stopped")

    async def _work(self, stopping: asyncio.Event) -> None:
        _logger.info("runner started", extra={"slots": self._engine.slot_count()})
        loops = (
            self._connect,
            self._claim,
            self._renew,
            self._remove_files,
            self._expire,
            self._keep_reserve,
            self._remove_strays,
            self._send_callbacks,
            *([] if self._settings.scheduler is None else [self._look_for_gpus]),
        )
        tasks = [asyncio.create_task(self._repeat(loop)) for loop in loops]
        await stopping.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _prepare(self, stopping: asyncio.Event) -> bool:
        """Prepare the store as soon as it answers; release the jobs of a former runner of this name."""
        while not stopping.is_set():
            try:
                await asyncio.to_thread(self._database.prepare)
                await asyncio.to_thread(self._store.release)
            except UnavailableError:
                _logger.warning("the job store does not answer")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), _RETRY_S)
            else:
                return True
        return False

    async def _repeat(self, action: Callable[[], Coroutine[Any, Any, float]]) -> None:
        """Repeat an action, with the pause in seconds that it returns, whatever happens."""
        is_down = False
        while True:
            try:
                pause_s = await action()
                is_down = False
            except UnavailableError:
                if not is_down:
                    _logger.warning("the job store does not answer")
                is_down, pause_s = True, _RETRY_S
            except Exception:
                _logger.exception("the runner failed at something, and goes on")
                pause_s = _RETRY_S
            await asyncio.sleep(pause_s)

    async def _connect(self) -> float:
        """Connect the engine where it is not connected."""
        try:
            await self._engine.connect()
        except EngineLostError as err:
            _logger.warning("the scheduler does not answer", extra={"reason": str(err)})
        await self._engine.end_unused()
        return _RETRY_S

    async def _look_for_gpus(self) -> float:
        """Look whether GPUs of the cluster have come or gone."""
        before = self._engine.gpus.slots
        with contextlib.suppress(EngineLostError):  # `_connect` tells of it
            await self._engine.look_for_gpus()
        gpus = self._engine.gpus
        if gpus.slots != before:
            _logger.info("GPUs came or went", extra={"slots": gpus.slots, "before": before, "reason": gpus.missing})
        return _GPU_LOOK_S

    async def _claim(self) -> float:
        """Stop jobs that are not this runner's any more, and claim the next job if there is room."""
        self._woken.clear()
        fences = {job_id: active.execution.job.fence for job_id, active in self._active.items()}
        for job_id in await self._threads.store(self._store.lost_jobs, fences) if fences else ():
            self._abandon(job_id)
        has_gpu = bool(self._engine.gpus.slots)
        jobs = [active.execution.job for active in self._active.values()]
        jobs = [job for job in jobs if has_gpu or not job.needs_gpu]  # those that wait for one keep out no others
        awaited = sum(job.priority > 0 for job in jobs)
        room = self._settings.limits.max_running_jobs - (len(jobs) - awaited)
        priority_room = self._settings.limits.max_running_jobs - awaited
        beyond = max(1, self._settings.limits.max_running_jobs // _BEYOND_SHARE)
        rooms = (list(self._active), room, priority_room, beyond, has_gpu)
        job = None
        if self._engine.slot_count() and await self._threads.store(self._store.has_waiting, *rooms):
            job = await self._threads.store(self._store.claim, *rooms)
        if job is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), _OWN_POLL_S if self._database.is_file else _POLL_S)
            return 0
        execution = JobExecution(job, self._store, self._engine, self._storage, self._threads)
        self._active[job.id] = _ActiveJob(execution, asyncio.create_task(self._execute(execution)))
        return 0

    async def _execute(self, execution: JobExecution) -> None:
        try:
            await execution.run()
        finally:
            del self._active[execution.job.id]
            self._has_ended.set()
            self._callback_sender.wake()

    def _abandon(self, job_id: str) -> None:
        """Stop the execution of a job that is not this runner's any more."""
        active = self._active.get(job_id)
        if active is not None and active.stopping is None:
            active.stopping = asyncio.create_task(active.execution.abandon())

    async def _renew(self) -> float:
        fences = {job_id: active.execution.job.fence for job_id, active in self._active.items()}
        for job_id in await self._threads.renew(self._store.renew, fences, self._engine.gpus):
            self._abandon(job_id)
        return LEASE_S / 4

    async def _remove_files(self) -> float:
        """Remove the files of jobs that were dismissed, or whose time is over."""
        self._has_ended.clear()
        busy = [*self._active, *self._removals]
        for job_id in await self._threads.store(self._store.removable, busy):
            self._removals[job_id] = asyncio.create_task(self._remove(job_id))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._has_ended.wait(), _CLEAN_S)
        return 0

    async def _remove(self, job_id: str) -> None:
        try:
            await self._threads.files(self._storage.remove, job_id)
            await self._threads.store(self._store.mark_removed, job_id)
            _logger.info("files removed", extra={"job": job_id})
        except UnavailableError:
            _logger.warning("the job store does not answer")
        except Exception:
            _logger.exception("files could not be removed", extra={"job": job_id})
            await asyncio.sleep(_RETRY_S)
        finally:
            del self._removals[job_id]

    async def _expire(self) -> float:
        await self._threads.store(self._store.expire, self._settings.limits.retention_days)
        return _EXPIRE_S

    async def _keep_reserve(self) -> float:
        """Take back what the database kept in reserve on its disk, where there is room for it again."""
        await self._threads.store(self._database.take_reserve)
        return _RETRY_S

    async def _remove_strays(self) -> float:
        """Remove files that belong to no job, and uploads whose time is over."""
        await self._threads.files(self._remove_stray_files)
        if count := await self._threads.files(remove_expired, self._settings):
            _logger.info("uploads removed", extra={"uploads": count})
        return _STRAY_CHECK_S

    def _remove_stray_files(self) -> None:
        old = [name for name, age_s in self._storage.jobs() if age_s > _STRAY_AGE_S and is_job_id(name)]
        for start in range(0, len(old), 500):
            part = old[start : start + 500]
            for job_id in set(part) - self._store.with_files(part):
                self._storage.remove(job_id)
                _logger.info("files of no job removed", extra={"job": job_id})

    async def _send_callbacks(self) -> float:
        await self._callback_sender.send_due()
        return 0

    async def _return_jobs(self) -> None:
        """Stop all steps and release the jobs, for the next runner."""
        active = list(self._active.values())
        with contextlib.suppress(TimeoutError):
            take_back = (item.execution.take_back() for item in active)
            await asyncio.wait_for(asyncio.gather(*take_back, return_exceptions=True), _RETRY_S)
        with contextlib.suppress(UnavailableError):
            await self._threads.store(self._store.release)
        if active:
            await asyncio.gather(*(item.execution.abandon() for item in active))
            await asyncio.wait([item.task for item in active], timeout=LEASE_S / 4)
