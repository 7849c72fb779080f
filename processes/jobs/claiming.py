"""Which job a runner claims next, as a query, and which jobs have lost their runner."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from processes.jobs.job import JobStatus
from processes.jobs.tables import job

LEASE_S = 10
"""Seconds after which the jobs of a silent runner can be claimed by others."""


def is_over(lease: sa.ColumnElement[float], now: float) -> sa.ColumnElement[bool]:
    """Return the condition that a lease has ended.

    One that seems to last for much longer than any lease does was given before the clock was set back. Its runner, if
    it lives, renews it within seconds.

    Args:
        lease: when it ends, in seconds of the database's clock.
        now: time of that clock.
    """
    return sa.or_(lease < now, lease > now + 2 * LEASE_S)


def ready(
    now: float, busy: Iterable[str], room: int, priority_room: int, beyond: int, has_gpu: bool
) -> list[sa.ColumnElement[bool]]:
    """Return the conditions under which a job can be claimed.

    Args:
        now: time of the database's clock, in seconds.
        busy: jobs that the runner works on.
        room: number of further jobs that it has room for; 0 or less = it is full.
        priority_room: the same for jobs that a client waits for.
        beyond: number of jobs of each kind that it has room for beyond that, of clients none of whose jobs runs.
        has_gpu: False = jobs that need a GPU wait until there is one.
    """
    is_lost = sa.and_(job.c.status == JobStatus.RUNNING, is_over(job.c.lease, now))
    is_free = sa.or_(job.c.status == JobStatus.ACCEPTED, is_lost)
    has_room: list[sa.ColumnElement[bool]] = []
    for is_kind, places in ((_is_background, room), (_is_awaited, priority_room)):
        if places > 0:
            has_room.append(is_kind(job))
        elif places + beyond > 0:
            other = job.alias()
            served = (other.c.status == JobStatus.RUNNING, sa.not_(is_over(other.c.lease, now)), is_kind(other))
            has_room.append(sa.and_(is_kind(job), job.c.client.not_in(sa.select(other.c.client).where(*served))))
    # where the clock was set back, what was created later than now has waited long enough
    is_due = sa.or_(job.c.due <= now, job.c.created > now)
    has_what_it_needs = sa.true() if has_gpu else job.c.needs_gpu.is_(False)
    return [is_free, is_due, sa.or_(sa.false(), *has_room), job.c.id.not_in(list(busy)), has_what_it_needs]


def next_job(
    now: float, busy: Iterable[str], room: int, priority_room: int, beyond: int, has_gpu: bool
) -> sa.Select[tuple[str]]:
    """Return the query for the job to claim next; arguments as `ready` has them."""
    running = (
        sa.select(job.c.client, sa.func.count().label("jobs"))
        .where(job.c.status == JobStatus.RUNNING)
        .group_by(job.c.client)
        .subquery()
    )
    return (
        sa.select(job.c.id)
        .outerjoin(running, running.c.client == job.c.client)
        .where(*ready(now, busy, room, priority_room, beyond, has_gpu))
        .order_by(
            job.c.priority.desc(),
            job.c.status.desc(),  # "running" comes before "accepted"
            sa.func.coalesce(running.c.jobs, 0),
            job.c.created,
        )
        .limit(1)
        .with_for_update(of=job, skip_locked=True)
    )


def _is_awaited(jobs: sa.FromClause) -> sa.ColumnElement[bool]:
    return jobs.c.priority > 0


def _is_background(jobs: sa.FromClause) -> sa.ColumnElement[bool]:
    return jobs.c.priority <= 0
