"""How much one client may have: jobs that wait, and objects in a day. A client is a person, else an address."""

from __future__ import annotations

import sqlalchemy as sa

from processes.errors import ClientQueueFullError, QueueFullError, QuotaError
from processes.jobs.job import JobStatus
from processes.jobs.tables import job
from processes.ogc.execution import Execution
from processes.settings import Limits

_DAY_S = 86_400


def require_room(connection: sa.Connection, execution: Execution, limits: Limits, now: float) -> None:
    """Raise an error where no further job like an execution may be accepted now.

    Dry runs have the same limits as jobs, but take no room of theirs, and their objects do not count.

    Args:
        connection: a transaction.
        execution: that is to become a job.
        limits: of the configuration.
        now: time of the database's clock, in seconds.

    Raises:
        QueueFullError: too many jobs wait.
        ClientQueueFullError: too many jobs of the client wait.
        QuotaError: the jobs of the client have had too many objects since yesterday.
    """
    waiting = sa.select(sa.func.count()).select_from(job).where(job.c.status == JobStatus.ACCEPTED)
    waiting = waiting.where(job.c.is_dry_run.is_(execution.dry_run is not None))
    if (connection.scalar(waiting) or 0) >= limits.max_waiting_jobs:  # not how many wait: they are others'
        raise QueueFullError("max_waiting_jobs", limits.max_waiting_jobs, "with the jobs that wait one more is")
    own = connection.scalar(waiting.where(job.c.client == execution.client)) or 0
    if own >= limits.max_waiting_jobs_per_client:
        raise ClientQueueFullError(
            "max_waiting_jobs_per_client",
            limits.max_waiting_jobs_per_client,
            f"with {own} jobs of this client that wait one more is",
        )
    if execution.dry_run is None:
        _require_objects(connection, execution.client, 1, limits, now)


def require_objects(connection: sa.Connection, job_id: str, objects: int, limits: Limits, now: float) -> None:
    """Raise QuotaError where a job has more objects than its client may have today; asked once for each job.

    Args:
        connection: a transaction.
        job_id: of the job.
        objects: number of its objects.
        limits: of the configuration.
        now: time of the database's clock, in seconds.
    """
    is_new = (job.c.id == job_id, job.c.is_dry_run.is_(False), job.c.objects.is_(None))
    query = sa.select(job.c.client).where(*is_new)
    client = connection.scalar(query) if limits.max_objects_per_day else None
    if client is not None:
        _require_objects(connection, client, objects, limits, now, job_id)


def _require_objects(
    connection: sa.Connection, client: str, objects: int, limits: Limits, now: float, job_id: str = ""
) -> None:
    """Raise QuotaError where so many objects more than those of other jobs are too many for a client."""
    limit = limits.max_objects_per_day
    if not limit:
        return
    is_broken_off = job.c.status.in_((JobStatus.FAILED, JobStatus.DISMISSED))
    counted = sa.case((is_broken_off, job.c.done), else_=sa.func.coalesce(job.c.objects, 0))
    others = (job.c.client == client, job.c.id != job_id, job.c.is_dry_run.is_(False), job.c.created > now - _DAY_S)
    before = int(connection.scalar(sa.select(sa.func.sum(counted)).where(*others)) or 0)
    if before + objects > limit:
        what = f"{objects} objects" if objects != 1 else "one object"
        told = f"with the {before} objects of this client's jobs in 24 hours {what} more is"
        raise QuotaError("max_objects_per_day", limit, told)
