"""The job store as the web server uses it: accept, read, list and dismiss jobs. It is the only truth."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from processes.access.person import EVERYBODY, Person, Role
from processes.jobs.client_limits import require_room
from processes.jobs.counters import Counts, read_counts, read_pace
from processes.jobs.database import Database, serialise
from processes.jobs.gpu_reports import are_gpus_away, require_gpu
from processes.jobs.job import ENDED, Job, JobStatus, Section
from processes.jobs.messages import WAITING, waiting_for_gpu
from processes.jobs.request_summary import request_summary
from processes.jobs.result_names import free_name, require_free
from processes.jobs.tables import callback, job, request, runner, section, share
from processes.ogc.execution import Execution
from processes.ogc.process import Requirements
from processes.settings import Limits

AWAITED_PRIORITY = 10
"""Priority of a job that a client waits for; that of any other is 0."""
_TIME_STEP_S = 0.001
"""Clients see times in milliseconds, so a time that they name stands for one."""


class JobFilter(msgspec.Struct, frozen=True):
    """Which jobs are listed; None and empty = any."""

    processes: Sequence[str] = ()
    statuses: Sequence[str] = ()
    created_from: datetime | None = None
    created_to: datetime | None = None
    min_duration_s: float | None = None
    """Of jobs that run or have ended; with a bound on it others are left out."""
    max_duration_s: float | None = None
    person: Person = EVERYBODY
    """Who asks; they see what is theirs."""


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
            NameTakenError: another job of the same maker has the result name.
            QueueFullError: too many jobs wait.
            ClientQueueFullError: too many jobs of the client wait.
            QuotaError: the client's jobs have had too many objects since yesterday.
        """
        summary = None if execution.dry_run is not None else request_summary(execution.request.body)
        with self._database.write(is_durable=not execution.is_awaited) as connection:
            serialise(connection)
            require_room(connection, execution, self._limits, self._database.now(connection))
            name = requirements.result_name or free_name(connection, requirements.name_stem, execution.maker)
            if name is not None:
                require_free(connection, name, execution.maker)
            now = self._database.now(connection)
            row = _row(job_id, execution, requirements) | {"created": now, "updated": now, "result_name": name}
            connection.execute(job.insert().values(**row, due=now + requirements.delay_s))
            if summary is not None:
                connection.execute(request.insert().values(job=job_id, text=summary))
            return _get(connection, job_id)

    def require_room(self, execution: Execution) -> None:
        """Raise an error, as `accept` does, where no further job like an execution may be accepted now.

        It is asked before anything is written for a job. `accept` asks again, and then nobody can come in between.
        """
        with self._database.read() as connection:
            require_room(connection, execution, self._limits, self._database.now(connection))

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
        query = job.select().where(job.c.is_dry_run.is_(False), _is_seen_by(job_filter.person))
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

    def layers(self, limit: int, offset: int, person: Person = EVERYBODY) -> list[Job]:
        """Return the jobs whose results are layers that can be had now, the newest first.

        Args:
            limit: number of jobs at most.
            offset: number of jobs to skip.
            person: who asks.
        """
        query = job.select().where(job.c.is_layer, job.c.result_name.is_not(None), _is_seen_by(person))
        query = query.order_by(job.c.created.desc(), job.c.id).limit(limit).offset(offset)
        with self._database.read() as connection:
            return [Job.from_row(row) for row in connection.execute(query).mappings()]

    def layer(self, name: str, maker: str | None = None) -> Job | None:
        """Return the job whose result is the layer of this name of a maker; None = there is none."""
        query = job.select().where(job.c.maker == (maker or ""), job.c.result_name == name, job.c.is_layer)
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
            return None if row is None else Job.from_row(row)

    def dismiss(self, job_id: str, *, is_dry_run: bool = False) -> Job | None:
        """Dismiss a job and return it as it is then; None = it was dismissed, or its time was over, before.

        A queued one is never begun and a running one is stopped by its runner, which also removes the files. Of all
        else no more is left than that it was there.

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
                    error=None,
                    subscriber=None,
                )
            )
            for table in (share, callback, request):
                connection.execute(table.delete().where(table.c.job == job_id))
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

    def require_free(self, name: str, maker: str | None = None) -> None:
        """Raise NameTakenError where a job of a maker has a result name; None = nobody has to say who they are."""
        with self._database.read() as connection:
            require_free(connection, name, maker)

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
        return [
            msgspec.structs.replace(item, message=waiting_for_gpu(item.message)) if item.id in waiting else item
            for item in jobs
        ]


def _row(job_id: str, execution: Execution, requirements: Requirements) -> dict[str, Any]:
    subscriber = None if execution.dry_run is not None else execution.request.subscriber
    return {
        "id": job_id,
        "process": execution.process_id,
        "client": execution.client,
        "maker": execution.maker or "",
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
        "subscriber": None if subscriber is None else msgspec.json.encode(msgspec.structs.asdict(subscriber)).decode(),
    }


def _is_seen_by(person: Person) -> sa.ColumnElement[bool]:
    """Return the condition that a job is one that somebody may see, as `Person.may_see` has it."""
    if person.role is Role.OPERATOR:
        return sa.true()
    return sa.and_(job.c.maker == person.name, job.c.maker != "")


def _find(connection: sa.Connection, job_id: str) -> Job | None:
    row = connection.execute(job.select().where(job.c.id == job_id)).mappings().first()
    return None if row is None else Job.from_row(row)


def _get(connection: sa.Connection, job_id: str) -> Job:
    stored = _find(connection, job_id)
    if stored is None:
        raise KeyError(job_id)
    return stored
