"""When results go, and the records of jobs."""

from __future__ import annotations

import sqlalchemy as sa

from processes.jobs.tables import callback, job, name_count, request, runner, section, share, upload

_DAY_S = 86_400
_DRY_RUN_S = 3600
"""Seconds after its end at which a dry run is forgotten whose maker did not do it, as it was killed."""


def expire(connection: sa.Connection, now: float, retention_days: int) -> None:
    """Mark results that are older than the retention, and remove the records of those twice as old.

    What was asked for, who was to be told, and the links that share a result go with it.

    Args:
        connection: a transaction that writes.
        now: time of the database's clock, in seconds.
        retention_days: days that results are kept.
    """
    old = now - retention_days * _DAY_S
    connection.execute(
        job.update()
        .where(job.c.finished < old, job.c.is_expired.is_(False))
        .values(is_expired=True, is_untidy=job.c.has_files, result=None, result_name=None, subscriber=None)
    )
    over = sa.select(job.c.id).where(job.c.is_expired)
    for table in (request, callback, share):
        connection.execute(table.delete().where(table.c.job.in_(over)))
    connection.execute(upload.delete().where(upload.c.expires < now))
    named = sa.select(job.c.maker).where(job.c.result_name.is_not(None))
    connection.execute(name_count.delete().where(name_count.c.maker.not_in(named)))
    left = sa.and_(job.c.is_dry_run, job.c.finished < now - _DRY_RUN_S)
    expired = job.update().where(left, job.c.is_expired.is_(False))
    connection.execute(expired.values(is_expired=True, is_untidy=job.c.has_files))
    gone = (sa.or_(left, job.c.finished < old - retention_days * _DAY_S), job.c.has_files.is_(False))
    for table in (request, section, callback, share):
        connection.execute(table.delete().where(table.c.job.in_(sa.select(job.c.id).where(*gone))))
    connection.execute(job.delete().where(*gone))
    connection.execute(runner.delete().where(runner.c.seen < now - _DAY_S))
