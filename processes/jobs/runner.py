"""The runner: claims jobs and drives each through its steps. It can be killed at any time, and started again.

All that it knows stands in the store and in the files of the jobs. Several runners may share both.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes.errors import UnavailableError
from processes.jobs.callbacks import Callback, Callbacks
from processes.jobs.database import Database
from processes.jobs.engine import Engine, EngineLostError
from processes.jobs.execution import JobExecution
from processes.jobs.files import storage_of
from processes.jobs.job import is_job_id
from processes.jobs.runner_store import LEASE_S, RunnerStore
from processes.jobs.wakeup_pipe import WakeupPipe
from processes.settings import Settings

_logger = logging.getLogger(__name__)

_LOOK_S = 0.05
"""Pause between two looks for work, and for jobs that were dismissed, unless somebody rings."""
_RETRY_S = 1
"""Pause before a store that does not answer is asked again."""
_TIDY_S = 0.5
_EXPIRE_S = 60
_SWEEP_S = 3600
_STRAY_S = 3600
"""Files of no job are removed when they are so old; younger ones may be of a job that is just being accepted."""
_CALLBACKS_AT_ONCE = 8


@dataclass(slots=True)
class _Driven:
    """A job that this runner works on."""

    drive: JobExecution
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
        self._store = RunnerStore(self._database, name)
        self._storage = storage_of(settings)
        self._engine = Engine(configuration, settings)
        self._callbacks = Callbacks(self._database, self._storage, settings, base_url)
        self._driven: dict[str, _Driven] = {}
        self._wakeup_pipe = WakeupPipe(settings.state)
        self._rung = asyncio.Event()
        # of their own: hosts that hang must not hold up what else is done in threads
        self._callers = ThreadPoolExecutor(_CALLBACKS_AT_ONCE, "callback")

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set; then give back what is not finished."""
        if not await self._prepare(stopping):
            return
        async with self._engine:
            with self._wakeup_pipe.sets(self._rung):
                await self._work(stopping)
            await self._give_back()
        self._callers.shutdown(wait=False, cancel_futures=True)
        self._database.close()
        _logger.info("runner stopped")

    async def _work(self, stopping: asyncio.Event) -> None:
        _logger.info("runner started", extra={"slots": self._engine.width()})
        loops = (self._connect, self._claim, self._renew, self._tidy, self._expire, self._sweep, self._call)
        tasks = [asyncio.create_task(self._forever(loop)) for loop in loops]
        await stopping.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _prepare(self, stopping: asyncio.Event) -> bool:
        """Make the store ready as soon as it answers; give back what a former runner of this name held."""
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

    async def _forever(self, look: Callable[[], Coroutine[Any, Any, float]]) -> None:
        """Do something again and again, with the pause that it asks for, whatever happens."""
        is_down = False
        while True:
            try:
                pause_s = await look()
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
        """See to it that the engine is connected."""
        try:
            await self._engine.connect()
        except EngineLostError as err:
            _logger.warning("the scheduler does not answer", extra={"reason": str(err)})
        return _RETRY_S

    async def _claim(self) -> float:
        """Stop what is not ours any more, and take the job whose turn it is, if there is room."""
        self._rung.clear()
        fences = {job_id: driven.drive.job.fence for job_id, driven in self._driven.items()}
        for job_id in await asyncio.to_thread(self._store.lost, fences):
            self._abandon(job_id)
        waited_for = sum(driven.drive.job.priority > 0 for driven in self._driven.values())
        room = self._settings.limits.max_running_jobs - (len(self._driven) - waited_for)
        priority_room = self._settings.limits.max_running_jobs - waited_for
        rooms = (list(self._driven), room, priority_room)
        job = None
        if self._engine.width() and await asyncio.to_thread(self._store.waits, *rooms):
            job = await asyncio.to_thread(self._store.claim, *rooms)
        if job is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._rung.wait(), _LOOK_S)
            return 0
        drive = JobExecution(job, self._store, self._engine, self._storage)
        self._driven[job.id] = _Driven(drive, asyncio.create_task(self._drive(drive)))
        return 0

    async def _drive(self, drive: JobExecution) -> None:
        try:
            await drive.run()
        finally:
            del self._driven[drive.job.id]
            with contextlib.suppress(UnavailableError):
                await self._tidy()

    def _abandon(self, job_id: str) -> None:
        """Stop the steps of a job that is not ours any more; that ends its drive."""
        driven = self._driven.get(job_id)
        if driven is not None and driven.stopping is None:
            driven.stopping = asyncio.create_task(driven.drive.abandon())

    async def _renew(self) -> float:
        fences = {job_id: driven.drive.job.fence for job_id, driven in self._driven.items()}
        if fences:
            for job_id in await asyncio.to_thread(self._store.renew, fences):
                self._abandon(job_id)
        return LEASE_S / 4

    async def _tidy(self) -> float:
        """Remove the files of jobs that were dismissed, or whose time is over."""
        for job_id in await asyncio.to_thread(self._store.untidy, list(self._driven)):
            await asyncio.to_thread(self._storage.remove, job_id)
            await asyncio.to_thread(self._store.tidied, job_id)
            _logger.info("files removed", extra={"job": job_id})
        return _TIDY_S

    async def _expire(self) -> float:
        await asyncio.to_thread(self._store.expire, self._settings.limits.retention_days)
        return _EXPIRE_S

    async def _sweep(self) -> float:
        """Remove files of jobs that there are not."""
        await asyncio.to_thread(self._remove_strays)
        return _SWEEP_S

    def _remove_strays(self) -> None:
        old = [name for name, age_s in self._storage.jobs() if age_s > _STRAY_S and is_job_id(name)]
        for start in range(0, len(old), 500):
            part = old[start : start + 500]
            for job_id in set(part) - self._store.known(part):
                self._storage.remove(job_id)
                _logger.info("files of no job removed", extra={"job": job_id})

    async def _call(self) -> float:
        """Make the callbacks that are due."""
        due: dict[str, list[Callback]] = {}
        for _ in range(_CALLBACKS_AT_ONCE):
            found = await asyncio.to_thread(self._callbacks.take)
            if found is None:
                break
            due.setdefault(found.job.id, []).append(found)
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(self._callers, self._make_calls, calls) for calls in due.values()))
        return _TIDY_S

    def _make_calls(self, of_job: Sequence[Callback]) -> None:
        """Make callbacks of one job, in their order."""
        for item in of_job:
            self._callbacks.make(item)

    async def _give_back(self) -> None:
        """Stop all steps and give the jobs back, to be gone on with by whoever comes next."""
        driven = list(self._driven.values())
        with contextlib.suppress(UnavailableError):
            await asyncio.to_thread(self._store.release)
        if driven:
            await asyncio.gather(*(item.drive.abandon() for item in driven))
            await asyncio.wait([item.task for item in driven], timeout=LEASE_S / 4)
