"""The intake: executions become jobs here, and clients wait for them here. No work is done here."""

from __future__ import annotations

import contextlib
import functools
import math
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from processes.errors import (
    Fault,
    ForbiddenError,
    NameTakenError,
    RequestError,
    ServiceError,
    UnavailableError,
    collect_faults,
    to_record,
)
from processes.jobs.database import WEB_PATIENCE_S, Database, StoreFullError
from processes.jobs.disk import require_space
from processes.jobs.end_watch import EndWatch
from processes.jobs.files import storage_of
from processes.jobs.forms import Forms
from processes.jobs.job import Job, parallel_slots
from processes.jobs.permits import Permits
from processes.jobs.slots import slot_count
from processes.jobs.storage import Storage
from processes.jobs.store import JobStore
from processes.jobs.wakeup_pipe import WakeupPipe
from processes.ogc.execution import DryRun, Execution
from processes.ogc.process import Estimate, Process, Requirements, SectionedProcess
from processes.ogc.request import Subscriber
from processes.settings import Settings
from processes.sources.host_links import split_link
from processes.sources.links import allowed_path
from processes.sources.seal import Seal
from processes.sources.uploads import SCHEME

_LOOK_S = 0.25
"""Pause between two looks whether the server stops."""
_SILENT_S = 10
"""Seconds that who waits for a job puts up with a job store that does not answer."""


class Intake:
    """Accepts executions.

    Args:
        settings: what the configuration says.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.job_store, WEB_PATIENCE_S)
        self.store = JobStore(self.database, settings.limits)
        self.storage: Storage = storage_of(settings)
        self.forms = Forms(settings, self.storage)
        self._is_shared = settings.scheduler is not None or not self.database.is_file
        """True = jobs may run on other machines, whose GPUs runners report."""
        self._end_watch = EndWatch(self.store.ended)
        self._wakeup_pipe = WakeupPipe(settings.state)
        self._waiting = Permits(max(1, settings.web_threads // 2))
        self._pausing = Permits(max(1, settings.web_threads // 16))

    def validate(self, process: Process, execution: Execution) -> Requirements:
        """Return what an execution needs.

        Raises:
            RequestError: everything that is wrong with it, as far as no file needs to be opened.
        """
        asked = self.with_subscriber_faults(execution)
        require_free = functools.partial(self.store.require_free, maker=execution.maker)
        return process.validate(asked, require_free, self.store.require_gpu if self._is_shared else None)

    def with_subscriber_faults(self, execution: Execution) -> Execution:
        """Return an execution with a fault for each URL of its subscriber that the configuration does not allow."""
        request, faults = execution.request, list[Fault]()
        if request.subscriber is None:
            return execution
        urls = {
            "successUri": request.subscriber.success_uri,
            "inProgressUri": request.subscriber.in_progress_uri,
            "failedUri": request.subscriber.failed_uri,
        }
        for member, url in urls.items():
            if url is not None:
                with collect_faults(faults, f"/subscriber/{member}"):
                    if allowed_path(url, self.settings) is not None or split_link(url).scheme == SCHEME:
                        raise ForbiddenError(f"{member} is a file; only http and https links can be called")
        checked = msgspec.structs.replace(request, faults=(*request.faults, *faults))
        return msgspec.structs.replace(execution, request=checked)

    def accept(self, process: Process, execution: Execution) -> Job:
        """Make a job of an execution.

        Raises:
            RequestError: everything that is wrong with it, as far as no file needs to be opened.
            NameTakenError, QueueFullError, ClientQueueFullError: it cannot be accepted now.
            UnavailableError: the job store does not answer.
            DiskFullError: there is too little space left for new work.
        """
        requirements = self.validate(process, execution)
        accepted = msgspec.structs.replace(
            execution,
            file_stamps=requirements.file_stamps,
            model_sha256=requirements.model_sha256,
            is_delayed=requirements.delay_s > 0,
        )
        return self._put(accepted, requirements)

    def with_file_faults(
        self, process: Process, execution: Execution, error: RequestError, is_stopping: Callable[[], bool]
    ) -> ServiceError:
        """Return all that is wrong with a faulty request, faults that show in its files too: a dry run finds them.

        Args:
            process: that is asked for.
            execution: the request.
            error: what is known to be wrong.
            is_stopping: returns whether the server stops.
        """
        if not (isinstance(process, SectionedProcess) and execution.request.inputs):
            return error
        kinds = [type(fault.error) for fault in error.faults]
        if UnavailableError in kinds or set(kinds) == {NameTakenError}:  # that is reported at once
            return error
        try:
            with self._dry_run(execution, DryRun(to_record(error)), is_stopping) as job:
                return job.error if isinstance(job.error, RequestError) else error
        except ServiceError:
            return error

    def estimate(
        self,
        process: SectionedProcess,
        execution: Execution,
        requirements: Requirements,
        is_stopping: Callable[[], bool],
    ) -> dict[str, Any]:
        """Return the number of images, objects and sections, the result's fields and the seconds of an execution.

        Args:
            process: that is asked for.
            execution: the request.
            requirements: what it needs.
            is_stopping: returns whether the server stops.

        Raises:
            ServiceError: it would fail.
        """
        pace = None if requirements.pace_key is None else self.store.pace(requirements.pace_key)
        can_measure = not requirements.needs_gpu or not self.store.are_gpus_away()
        dry_run = DryRun(measures_speed=pace is None and can_measure)
        needed = Requirements(needs_gpu=requirements.needs_gpu and dry_run.measures_speed)
        with self._dry_run(execution, dry_run, is_stopping, needed) as job:
            if job.error is not None or job.result is None:
                raise job.error or UnavailableError("the request could not be tried to its end; try again later")
            with self.storage.open_result(job.id, job.result.name) as file:
                estimate = msgspec.json.decode(file.read(), type=Estimate)
        slots = parallel_slots(requirements.parallel_factor, slot_count(self.settings))
        sections, seconds = process.estimate_sections(estimate, pace or estimate.objects_per_s or 1, slots)
        return {
            "images": estimate.images,
            "objects": estimate.objects,
            "sections": sections,
            "fields": estimate.fields,
            "estimatedSeconds": round(seconds, 3),
        }

    def waiting_permit(self, client: str) -> AbstractContextManager[bool]:
        """Yield a permit to wait; False = there is none left for the client.

        Half of the requests that a web process answers at the same time may wait for something. The others are about
        jobs and dismissals, and are answered without delay.
        """
        return self._waiting.permit(client)

    def pause_permit(self, client: str) -> AbstractContextManager[bool]:
        """Yield a permit to do nothing for a while; False = there is none left for the client. There are few."""
        return self._pausing.permit(client)

    def wait(self, job: Job, timeout_s: float | None, is_stopping: Callable[[], bool]) -> Job:
        """Wait until a job has ended, or until the time is over; return it as it is then.

        Args:
            job: the job.
            timeout_s: seconds to wait; None = as long as it takes.
            is_stopping: returns whether the server stops.

        Raises:
            UnavailableError: the server stops, or the job store does not answer for a while.
        """
        end_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
        with self._end_watch.watched(job.id) as has_ended:
            while not job.status.has_ended and (left_s := end_s - time.monotonic()) > 0:
                if is_stopping():
                    raise UnavailableError(f"the server stops; the job {job.id} goes on when it is back")
                if has_ended.wait(min(_LOOK_S, left_s)):
                    break
                if self._end_watch.silent_s() > _SILENT_S:
                    raise UnavailableError("the job store does not answer; try again later")
        return self._as_it_is(job)

    def _as_it_is(self, job: Job) -> Job:
        """Return a job as the job store has it now, which may be silent for a while."""
        silent_s = time.monotonic() + _SILENT_S
        while True:
            try:
                return self.store.get(job.id, is_dry_run=job.is_dry_run) or job
            except UnavailableError:
                if time.monotonic() > silent_s:
                    raise
                time.sleep(_LOOK_S)

    def dismiss(self, job_id: str) -> Job | None:
        """Dismiss a job, as `JobStore.dismiss` does, and wake its runner.

        It works with a full disk too, as it makes room: the database then gives up what it has in reserve.
        """
        try:
            job = self.store.dismiss(job_id)
        except StoreFullError:
            job = self.store.dismiss(job_id)
        self._wakeup_pipe.wake()
        return job

    @contextlib.contextmanager
    def _dry_run(
        self,
        execution: Execution,
        dry_run: DryRun,
        is_stopping: Callable[[], bool],
        needed: Requirements = Requirements(),  # noqa: B008 - it is frozen
    ) -> Iterator[Job]:
        """Yield the job of a dry run that has ended; after that nothing of it is left."""
        job = self._put(msgspec.structs.replace(execution, dry_run=dry_run), needed)
        try:
            job = self.wait(job, None, is_stopping)
            yield job
        finally:
            if job.status.has_ended:
                self.store.forget(job.id)
                self.storage.remove(job.id)
            else:  # the server stops, and nobody will read it any more
                self.store.dismiss(job.id, is_dry_run=True)
                self._wakeup_pipe.wake()

    def _put(self, execution: Execution, requirements: Requirements) -> Job:
        require_space(self.settings)
        self.database.take_reserve()
        self.store.require_room(execution)  # before the files are written, which may be large
        job_id = str(uuid.uuid4())
        content = execution.encode()
        if execution.request.may_hold_credentials():
            content = self.storage.seal.close(content)
        self.storage.put_execution(job_id, content, is_durable=not execution.is_awaited)
        try:
            job = self.store.accept(job_id, _with_sealed_subscriber(execution, self.storage.seal), requirements)
        except BaseException:
            self.storage.remove(job_id)
            raise
        self._wakeup_pipe.wake()
        return job


def _with_sealed_subscriber(execution: Execution, seal: Seal) -> Execution:
    """Return an execution as the job store may have it: the subscriber's URLs without what may be a credential."""
    request, subscriber = execution.request, execution.request.subscriber
    if subscriber is None:
        return execution
    urls = msgspec.structs.asdict(subscriber).items()
    sealed_urls = {name: url and seal.close_link(url) for name, url in urls}
    sealed = msgspec.structs.replace(request, subscriber=Subscriber(**sealed_urls))
    return msgspec.structs.replace(execution, request=sealed)
