"""The job store as the web server uses it: accept, read, list and dismiss jobs. It is the only truth."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from processes.errors import ClientQueueFullError, NameTakenError, QueueFullError
from processes.jobs.counters import Counts, read_counts, read_pace
from processes.jobs.database import Database, serialise
from processes.jobs.gpu_reports import are_gpus_away, require_gpu
from processes.jobs.job import ENDED, Job, JobStatus, Section
from processes.jobs.messages import WAITING, waiting_for_gpu
from processes.jobs.request_summary import request_summary
from processes.jobs.tables import callback, job, name_count, request, runner, section
from processes.ogc.execution import Execution
from processes.ogc.process import Requirements
from processes.settings import Limits

AWAITED_PRIORITY = 10
"""Priority of a job that a client waits for; that of any other is 0."""
_MAX_NAME = 64
_TIME_STEP_S = 0.001
"""Clients see times in milliseconds, so a time that they name stands for one."""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are listed; None and empty = any."""

    processes: Sequence[str] = ()
    statuses: Sequence[str] = ()
    created_from: datetime | None = None
    created_to: datetime | None = None
    min_duration_s: float | None = None
    """Of jobs that run or have ended; with a bound on it others are left out."""
    max_duration_s: float | None = None


class JobStore:
    """Jobs in a database.

    Each method raises UnavailableError where the database does not answer.
    """

    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self._limits = limits

    def accept(self, job_id: str, execution: Execution, requirements: Requirements) -> Job:
        """Put an execution into the queue, as a job.

        Args:
            job_id: of the new job.
            execution: the request.
            requirements: what it needs.

        Raises:
            NameTakenError: another job has the result name.
            QueueFullError: too many jobs wait.
            ClientQueueFullError: too many jobs of the client wait.
        """
        summary = None if execution.dry_run is not None else request_summary(execution.request.body)
        with self._database.write(is_durable=not execution.is_awaited) as connection:
            serialise(connection)
            self._require_room(connection, execution)
            name = requirements.result_name or _free_name(connection, requirements.name_stem)
            if name is not None:
                _require_free(connection, name)
            now = self._database.now(connection)
            row = _row(job_id, execution, requirements) | {"created": now, "updated": now, "result_name": name}
            connection.execute(job.insert().values(**row, due=now + requirements.delay_s))
            if summary is not None:
                connection.execute(request.insert().values(job=job_id, text=summary))
            return _get(connection, job_id)

    def require_room(self, execution: Execution) -> None:
        """Raise QueueFullError or ClientQueueFullError where no further job like an execution may wait now.

        It is asked before anything is written for a job. `accept` asks again, and then nobody can come in between.
        """
        with self._database.read() as connection:
            self._require_room(connection, execution)

    def get(self, job_id: str, *, is_dry_run: bool = False) -> Job | None:
        """Return a job, or a dry run; None = there is none."""
        with self._database.read() as connection:
            found = _find(connection, job_id)
            if found is None or found.is_dry_run != is_dry_run:
                return None
            return self._as_they_wait(connection, [found])[0]

    def ended(self, job_ids: Collection[str]) -> set[str]:
        """Return those of some jobs, or dry runs, that have ended."""
        query = sa.select(job.c.id).where(job.c.id.in_(job_ids), job.c.status.in_(ENDED))
        with self._database.read() as connection:
            return set(connection.scalars(query))

    def request(self, job_id: str) -> str | None:
        """Return the part of a job's request that may be shown, as JSON text; None = nothing."""
        with self._database.read() as connection:
            return connection.scalar(sa.select(request.c.text).where(request.c.job == job_id))

    def sections(self, job_id: str) -> list[Section]:
        """Return the sections of a job that is being worked on, in their order."""
        query = section.select().where(section.c.job == job_id).order_by(section.c.number)
        with self._database.read() as connection:
            return [
                Section(row.number, row.objects, row.is_done, row.errors, row.losses)
                for row in connection.execute(query)
            ]

    def find(self, job_filter: JobFilter, limit: int, offset: int) -> list[Job]:
        """Return jobs, the newest first.

        Args:
            job_filter: which jobs.
            limit: number of jobs at most.
            offset: number of jobs to skip.
        """
        query = job.select().where(job.c.is_dry_run.is_(False))
        query = query.order_by(job.c.created.desc(), job.c.id).limit(limit).offset(offset)
        if job_filter.processes:
            query = query.where(job.c.process.in_(job_filter.processes))
        if job_filter.statuses:
            query = query.where(job.c.status.in_(job_filter.statuses))
        if job_filter.created_from is not None:
            query = query.where(job.c.created >= job_filter.created_from.timestamp())
        if job_filter.created_to is not None:
            query = query.where(job.c.created < job_filter.created_to.timestamp() + _TIME_STEP_S)
        with self._database.read() as connection:
            if job_filter.min_duration_s is not None or job_filter.max_duration_s is not None:
                duration = sa.func.coalesce(job.c.finished, self._database.now(connection)) - job.c.started
                query = query.where(job.c.started.is_not(None))
                if not job_filter.statuses:
                    query = query.where(job.c.status != JobStatus.ACCEPTED)
                if job_filter.min_duration_s is not None:
                    query = query.where(duration >= job_filter.min_duration_s)
                if job_filter.max_duration_s is not None:
                    query = query.where(duration <= job_filter.max_duration_s)
            found = [Job.from_row(row) for row in connection.execute(query).mappings()]
            return self._as_they_wait(connection, found)

    def layers(self, limit: int, offset: int) -> list[Job]:
        """Return the jobs whose results are layers that can be had now, the newest first.

        Args:
            limit: number of jobs at most.
            offset: number of jobs to skip.
        """
        query = job.select().where(job.c.is_layer, job.c.result_name.is_not(None))
        query = query.order_by(job.c.created.desc(), job.c.id).limit(limit).offset(offset)
        with self._database.read() as connection:
            return [Job.from_row(row) for row in connection.execute(query).mappings()]

    def layer(self, name: str) -> Job | None:
        """Return the job whose result is the layer of this name; None = there is none."""
        query = job.select().where(job.c.result_name == name, job.c.is_layer)
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
            return None if row is None else Job.from_row(row)

    def dismiss(self, job_id: str, *, is_dry_run: bool = False) -> Job | None:
        """Dismiss a job and return it as it is then; None = it was dismissed, or its time was over, before.

        A queued one is never begun and a running one is stopped by its runner, which also removes the files.

        Args:
            job_id: the job.
            is_dry_run: True = it is a dry run, which only its maker dismisses.

        Raises:
            KeyError: there is no such job.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            done = connection.execute(
                job.update()
                .where(job.c.id == job_id, job.c.is_dry_run.is_(is_dry_run))
                .where(job.c.status != JobStatus.DISMISSED, job.c.is_expired.is_(False))
                .values(
                    status=JobStatus.DISMISSED,
                    message="dismissed",
                    is_untidy=True,
                    updated=now,
                    finished=sa.func.coalesce(job.c.finished, now),
                    result_name=None,
                    result=None,
                    summary=None,
                    subscriber=None,
                )
            )
            if done.rowcount:
                connection.execute(callback.delete().where(callback.c.job == job_id))
            dismissed = _find(connection, job_id)
            if dismissed is None or dismissed.is_dry_run != is_dry_run:
                raise KeyError(job_id)
            return dismissed if done.rowcount else None

    def forget(self, job_id: str) -> None:
        """Remove the record of a job that has ended."""
        with self._database.write() as connection:
            ended = job.delete().where(job.c.id == job_id, job.c.status.not_in((JobStatus.ACCEPTED, JobStatus.RUNNING)))
            if connection.execute(ended).rowcount:
                connection.execute(section.delete().where(section.c.job == job_id))
                connection.execute(request.delete().where(request.c.job == job_id))

    def require_free(self, name: str) -> None:
        """Raise NameTakenError where a job has a result name."""
        with self._database.read() as connection:
            _require_free(connection, name)

    def require_gpu(self) -> None:
        """Raise InputError where no runner has had a GPU for long, or UnavailableError where nobody knows."""
        with self._database.read() as connection:
            require_gpu(connection, self._database.now(connection))

    def are_gpus_away(self) -> bool:
        """Return whether runners work, and none of them has a GPU at present."""
        with self._database.read() as connection:
            return are_gpus_away(connection, self._database.now(connection))

    def pace(self, key: str) -> float | None:
        """Return objects per second of a slot, in past sections of jobs of a key; None = there were none."""
        with self._database.read() as connection:
            return read_pace(connection, key)

    def queue(self) -> Mapping[str, int]:
        """Return the number of jobs that wait and that run."""
        with self._database.read() as connection:
            waiting = (JobStatus.ACCEPTED, JobStatus.RUNNING)
            query = sa.select(job.c.status, sa.func.count()).group_by(job.c.status)
            query = query.where(job.c.status.in_(waiting), job.c.is_dry_run.is_(False))
            numbers = {row[0]: row[1] for row in connection.execute(query)}
        return {status: numbers.get(status, 0) for status in waiting}

    def runner_silence_s(self) -> float | None:
        """Return the seconds since a runner last said that it works; None = none ever did."""
        with self._database.read() as connection:
            seen = connection.scalar(sa.select(sa.func.max(runner.c.seen)))
            return None if seen is None else abs(self._database.now(connection) - seen)

    def counts(self) -> Counts:
        """Return the counters of all runners, by name and label."""
        with self._database.read() as connection:
            return read_counts(connection)

    def _as_they_wait(self, connection: sa.Connection, jobs: list[Job]) -> list[Job]:
        """Return jobs; the message of those that wait for a GPU says so."""
        waiting = {item.id for item in jobs if item.needs_gpu and not item.status.has_ended}
        if not waiting or not are_gpus_away(connection, self._database.now(connection)):
            return jobs
        return [replace(item, message=waiting_for_gpu(item.message)) if item.id in waiting else item for item in jobs]

    def _require_room(self, connection: sa.Connection, execution: Execution) -> None:
        """Raise QueueFullError or ClientQueueFullError; dry runs have the same limits, but take no room of jobs."""
        waiting = sa.select(sa.func.count()).select_from(job).where(job.c.status == JobStatus.ACCEPTED)
        waiting = waiting.where(job.c.is_dry_run.is_(execution.dry_run is not None))
        limits, number = self._limits, connection.scalar(waiting) or 0
        if number >= limits.max_waiting_jobs:
            raise QueueFullError(
                "max_waiting_jobs", limits.max_waiting_jobs, f"with {number} jobs that wait one more is"
            )
        own = connection.scalar(waiting.where(job.c.client == execution.client)) or 0
        if own >= limits.max_waiting_jobs_per_client:
            raise ClientQueueFullError(
                "max_waiting_jobs_per_client",
                limits.max_waiting_jobs_per_client,
                f"with {own} jobs of this client that wait one more is",
            )


def _row(job_id: str, execution: Execution, requirements: Requirements) -> dict[str, Any]:
    subscriber = None if execution.dry_run is not None else execution.request.subscriber
    return {
        "id": job_id,
        "process": execution.process_id,
        "client": execution.client,
        "priority": AWAITED_PRIORITY if execution.is_awaited else 0,
        "status": JobStatus.ACCEPTED,
        "message": WAITING,
        "wanted": msgspec.json.encode(execution.response).decode(),
        "parallel_factor": requirements.parallel_factor,
        "recycle_interval": requirements.recycle_interval,
        "retries": requirements.retries,
        "needs_gpu": requirements.needs_gpu,
        "pace_key": requirements.pace_key,
        "is_dry_run": execution.dry_run is not None,
        "request_bytes": len(execution.request.body),
        "subscriber": None if subscriber is None else msgspec.json.encode(asdict(subscriber)).decode(),
    }


def _find(connection: sa.Connection, job_id: str) -> Job | None:
    row = connection.execute(job.select().where(job.c.id == job_id)).mappings().first()
    return None if row is None else Job.from_row(row)


def _get(connection: sa.Connection, job_id: str) -> Job:
    stored = _find(connection, job_id)
    if stored is None:
        raise KeyError(job_id)
    return stored


def _require_free(connection: sa.Connection, name: str) -> None:
    if _is_taken(connection, name):
        raise NameTakenError(f"there is a result {name!r} already; choose another resultName")


def _is_taken(connection: sa.Connection, name: str) -> bool:
    return connection.scalar(sa.select(job.c.id).where(job.c.result_name == name)) is not None


def _free_name(connection: sa.Connection, stem: str | None) -> str | None:
    """Return a name that nobody has: the stem, with a number behind it if need be; None where there is no stem."""
    if stem is None or not _is_taken(connection, stem):
        return stem
    query = sa.select(name_count.c.last).where(name_count.c.stem == stem)
    last = connection.scalar(query)
    number = 1 if last is None else last
    while True:
        number += 1
        ending = f"-{number}"
        name = stem[: _MAX_NAME - len(ending)] + ending
        if not _is_taken(connection, name):
            break
    if last is None:
        connection.execute(name_count.insert().values(stem=stem, last=number))
    else:
        connection.execute(name_count.update().where(name_count.c.stem == stem).values(last=number))
    return name
