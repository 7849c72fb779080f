"""The desk: where requests become jobs, and where somebody waits for one. No work is done here."""

from __future__ import annotations

import contextlib
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from processes.description import Request
from processes.errors import Fault, ForbiddenError, RequestError, UnavailableError, collected, to_record
from processes.jobs.bell import Bell
from processes.jobs.database import Database
from processes.jobs.files import Storage, storage_of
from processes.jobs.job import Job, NewJob, Wanted
from processes.jobs.steps import OrderRecord
from processes.jobs.store import JobStore
from processes.links import allowed
from processes.process import Accept, Order, Process, Terms
from processes.settings import Settings

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
    request: Request
    faults: tuple[Fault, ...]
    """What is wrong with its frame."""
    accept: Accept
    client: str
    """Address that it came from."""
    is_waited_for: bool
    max_objects: int | None
    """Limit of a synchronous run; None = it is none."""


class Desk:
    """Takes requests in.

    Args:
        settings: what the configuration says.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.job_store)
        self.store = JobStore(self.database, settings.limits)
        self.storage: Storage = storage_of(settings)
        self._bell = Bell(settings.state)
        self._places = threading.BoundedSemaphore(max(1, settings.web_threads // 2))

    def accept(self, ask: Ask) -> Job:
        """Make a job of a request.

        Raises:
            RequestError: everything that is wrong with it, as far as no file needs to be opened.
            NameTakenError, CrowdedError, ClientCrowdedError: it cannot be taken now.
            UnavailableError: the job store does not answer.
        """
        faults = list(ask.faults)
        self._check_subscriber(ask.request, faults)
        terms = ask.process.check(Order(ask.request, faults, ask.accept))
        return self._put(ask, terms, OrderRecord(ask.body, list(ask.accept), ask.max_objects, list(terms.pins)))

    def try_out(self, ask: Ask, error: RequestError) -> Job:
        """Make a job of a faulty request, which finds what else is wrong with it, in files that must be opened."""
        return self._put(ask, Terms(), OrderRecord(ask.body, list(ask.accept), ask.max_objects, None, to_record(error)))

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
        self._bell.ring()
        return job

    def forget(self, job: Job) -> None:
        """Remove a job that was tried out, with its files."""
        self.store.forget(job.id)
        self.storage.remove(job.id)

    def _put(self, ask: Ask, terms: Terms, record: OrderRecord) -> Job:
        job_id = str(uuid.uuid4())
        new = NewJob(
            id=job_id,
            process=ask.process_id,
            client=ask.client,
            priority=WAITED_FOR if ask.is_waited_for else 0,
            wanted=_wanted(ask.request),
            result_name=terms.result_name,
            name_stem=terms.name_stem,
            parallel_factor=terms.parallel_factor,
            recycle_interval=terms.recycle_interval,
            retries=terms.retries,
            needs_gpu=terms.needs_gpu,
            subscriber=ask.request.subscriber if record.error is None else None,
        )
        self.storage.put_order(job_id, record.encode())
        try:
            job = self.store.accept(new)
        except BaseException:
            self.storage.remove(job_id)
            raise
        self._bell.ring()
        return job

    def _check_subscriber(self, request: Request, faults: list[Fault]) -> None:
        """Add a fault for each URL of the subscriber that the configuration does not allow to be called."""
        if request.subscriber is None:
            return
        told = request.subscriber
        members = {"successUri": told.success_uri, "inProgressUri": told.in_progress_uri, "failedUri": told.failed_uri}
        for member, url in members.items():
            if url is not None:
                with collected(faults, f"/subscriber/{member}"):
                    if allowed(url, self.settings) is not None:
                        raise ForbiddenError(f"{member} is a file; only http and https links can be called")


def _wanted(request: Request) -> Wanted:
    return Wanted(request.response == "document", request.by_reference, request.outputs == {})
