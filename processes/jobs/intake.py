"""The desk: where requests become jobs, and where somebody waits for one. No work is done here."""

from __future__ import annotations

import contextlib
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from processes.errors import (
    FailureError,
    Fault,
    ForbiddenError,
    NameTakenError,
    RequestError,
    ServiceError,
    UnavailableError,
    collect_faults,
    to_record,
)
from processes.jobs.database import Database
from processes.jobs.files import Storage, storage_of
from processes.jobs.job import Job, NewJob, ResponseOptions, parallel_slots
from processes.jobs.request_summary import request_summary
from processes.jobs.slots import slot_count
from processes.jobs.steps import DryRun, ExecutionRecord
from processes.jobs.store import JobStore
from processes.jobs.wakeup_pipe import WakeupPipe
from processes.ogc.process import Accept, Estimate, Execution, Process, Requirements, SectionedProcess
from processes.ogc.request import ExecuteRequest
from processes.settings import Settings
from processes.sources.links import allowed_path

WAITED_FOR = 10
"""Priority of a job that a client waits for."""
_FIRST_LOOK_S, _LAST_LOOK_S = 0.005, 0.25
_PATIENCE = 0.05
"""Pause between two looks at a job, as a share of the time that it was waited for."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as it arrived."""

    process_id: str
    process: Process
    body: bytes
    request: ExecuteRequest
    faults: tuple[Fault, ...]
    """What is wrong with its frame."""
    accept: Accept
    client: str
    """Address that it came from."""
    is_waited_for: bool
    max_objects: int | None
    """Limit of a synchronous run; None = it is none."""
    by_reference: bool
    """True = a link to the result is wanted."""


class Intake:
    """Takes requests in.

    Args:
        settings: what the configuration says.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.job_store)
        self.store = JobStore(self.database, settings.limits)
        self.storage: Storage = storage_of(settings)
        self._wakeup_pipe = WakeupPipe(settings.state)
        self._places = threading.BoundedSemaphore(max(1, settings.web_threads // 2))

    def accept(self, ask: Ask) -> Job:
        """Make a job of a request.

        Raises:
            RequestError: everything that is wrong with it, as far as no file needs to be opened.
            NameTakenError, CrowdedError, ClientCrowdedError: it cannot be taken now.
            UnavailableError: the job store does not answer.
        """
        requirements = self.check(ask)
        return self._put(
            ask,
            requirements,
            ExecutionRecord(ask.body, list(ask.accept), ask.max_objects, list(requirements.file_stamps)),
        )

    def faults_of(self, ask: Ask, error: RequestError, is_stopping: Callable[[], bool]) -> ServiceError:
        """Return all that is wrong with a faulty request: what needs files to be opened is looked for in a slot."""
        if not (isinstance(ask.process, SectionedProcess) and ask.request.inputs):
            return error
        if all(isinstance(fault.error, NameTakenError) for fault in error.faults):  # that is told at once
            return error
        try:
            with self._tried(ask, DryRun(to_record(error)), is_stopping) as job:
                return job.error if isinstance(job.error, RequestError) else error
        except ServiceError:
            return error

    def forecast(self, ask: Ask, requirements: Requirements, is_stopping: Callable[[], bool]) -> dict[str, Any]:
        """Return what a request comes to: images, objects, sections, the result's fields, seconds.

        Args:
            ask: the request.
            terms: on which it can be worked off.
            is_stopping: says whether the server stops.

        Raises:
            ServiceError: it would not be done.
        """
        process = ask.process
        if not isinstance(process, SectionedProcess):
            raise TypeError(f"{ask.process_id} has no sections")
        pace = None if requirements.pace_key is None else self.store.pace(requirements.pace_key)
        with self._tried(ask, DryRun(measures=pace is None), is_stopping) as job:
            if job.error is not None or job.result is None:
                raise job.error or FailureError(f"the job was {job.status}")
            with self.storage.open_result(job.id, job.result.name) as file:
                outline = msgspec.json.decode(file.read(), type=Estimate)
        slots = parallel_slots(requirements.parallel_factor, slot_count(self.settings))
        sections, seconds = process.forecast(outline.objects, pace or outline.objects_per_s or 1, slots)
        return {
            "images": outline.images,
            "objects": outline.objects,
            "sections": sections,
            "fields": outline.fields,
            "estimatedSeconds": round(seconds, 3),
        }

    @contextlib.contextmanager
    def _tried(self, ask: Ask, dry_run: DryRun, is_stopping: Callable[[], bool]) -> Iterator[Job]:
        """Give a job that tried a request out, and has ended; nothing is left of it."""
        job = self._put(
            ask, Requirements(), ExecutionRecord(ask.body, list(ask.accept), ask.max_objects, None, dry_run)
        )
        try:
            job = self.wait(job, None, is_stopping)
            yield job
        finally:
            if job.status.has_ended:
                self.store.forget(job.id)
                self.storage.remove(job.id)
            else:  # the server stops, and nobody will look at it any more
                self.dismiss(job.id)

    @contextlib.contextmanager
    def place(self) -> Iterator[bool]:
        """Give a place to wait in, while there is one; False = all are taken.

        Half of the requests that a web process answers at the same time may wait for something: the others are told of
        jobs, and dismiss them, without delay.
        """
        has_place = self._places.acquire(blocking=False)
        try:
            yield has_place
        finally:
            if has_place:
                self._places.release()

    def wait(self, job: Job, timeout_s: float | None, is_stopping: Callable[[], bool]) -> Job:
        """Wait until a job has ended, or for so many seconds; return it as it is then.

        Raises:
            UnavailableError: the server stops.
        """
        start_s = time.monotonic()
        while not job.status.has_ended:
            waited_s = time.monotonic() - start_s
            left_s = math.inf if timeout_s is None else timeout_s - waited_s
            if left_s <= 0:
                break
            if is_stopping():
                raise UnavailableError(f"the server stops; the job {job.id} goes on when it is back")
            time.sleep(min(max(_FIRST_LOOK_S, waited_s * _PATIENCE), _LAST_LOOK_S, left_s))
            job = self.store.get(job.id) or job
        return job

    def dismiss(self, job_id: str) -> Job | None:
        """Dismiss a job, as `JobStore.dismiss` does, and let its runner know."""
        job = self.store.dismiss(job_id)
        self._wakeup_pipe.ring()
        return job

    def check(self, ask: Ask) -> Requirements:
        """Return on which terms a request can be worked off.

        Raises:
            RequestError: everything that is wrong with it, as far as no file needs to be opened.
        """
        return ask.process.check(self.order(ask))

    def order(self, ask: Ask) -> Execution:
        """Return a request as its process takes it, with what is wrong with its frame and its subscriber."""
        faults = list(ask.faults)
        self._check_subscriber(ask.request, faults)
        return Execution(ask.request, faults, ask.accept, require_free=self.store.require_free)

    def _put(self, ask: Ask, requirements: Requirements, record: ExecutionRecord) -> Job:
        job_id = str(uuid.uuid4())
        new = NewJob(
            id=job_id,
            process=ask.process_id,
            client=ask.client,
            priority=WAITED_FOR if ask.is_waited_for else 0,
            wanted=ResponseOptions(ask.request.response == "document", ask.by_reference, ask.request.outputs == {}),
            result_name=requirements.result_name,
            name_stem=requirements.name_stem,
            parallel_factor=requirements.parallel_factor,
            recycle_interval=requirements.recycle_interval,
            retries=requirements.retries,
            needs_gpu=requirements.needs_gpu,
            subscriber=ask.request.subscriber if record.dry_run is None else None,
            pace_key=requirements.pace_key,
            request=request_summary(ask.body),
        )
        self.storage.put_order(job_id, record.encode())
        try:
            job = self.store.accept(new)
        except BaseException:
            self.storage.remove(job_id)
            raise
        self._wakeup_pipe.ring()
        return job

    def _check_subscriber(self, request: ExecuteRequest, faults: list[Fault]) -> None:
        """Add a fault for each URL of the subscriber that the configuration does not allow to be called."""
        if request.subscriber is None:
            return
        told = request.subscriber
        members = {"successUri": told.success_uri, "inProgressUri": told.in_progress_uri, "failedUri": told.failed_uri}
        for member, url in members.items():
            if url is not None:
                with collect_faults(faults, f"/subscriber/{member}"):
                    if allowed_path(url, self.settings) is not None:
                        raise ForbiddenError(f"{member} is a file; only http and https links can be called")
