"""Links by which the maker of a job lets others read it: whoever has one needs no name.

A link holds 32 random bytes. The job store has their SHA-256 alone, so that nobody who reads it can use one.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from datetime import UTC, datetime

import msgspec
import sqlalchemy as sa

from processes.errors import LimitError
from processes.jobs.database import Database, serialise
from processes.jobs.job import JobStatus
from processes.jobs.tables import job, share

_SECRET_BYTES = 32
_MAX_SHARES = 100
"""Of one job."""


class Share(msgspec.Struct, frozen=True):
    """A link to a job that was made, without its secret."""

    id: str
    job: str
    """Id of the job."""
    created: datetime


class Shares:
    """The links to jobs.

    Each method raises UnavailableError where the database does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def make(self, job_id: str) -> tuple[Share, str]:
        """Make a link to a job; return it, and its secret, which nobody can have again.

        Raises:
            KeyError: there is no such job, or it was dismissed, or its time is over.
            LimitError: the job has many links already.
        """
        share_id, secret = str(uuid.uuid4()), secrets.token_urlsafe(_SECRET_BYTES)
        with self._database.write() as connection:
            serialise(connection)
            lives = (job.c.id == job_id, job.c.status != JobStatus.DISMISSED, job.c.is_expired.is_(False))
            if connection.scalar(sa.select(job.c.id).where(*lives)) is None:
                raise KeyError(job_id)
            number = sa.select(sa.func.count()).select_from(share).where(share.c.job == job_id)
            if (connection.scalar(number) or 0) >= _MAX_SHARES:
                raise LimitError("shares of a job", _MAX_SHARES, "one more link to this job is")
            now = self._database.now(connection)
            connection.execute(share.insert().values(id=share_id, job=job_id, digest=_digest(secret), created=now))
        return Share(share_id, job_id, datetime.fromtimestamp(now, UTC)), secret

    def of(self, job_id: str) -> list[Share]:
        """Return the links to a job, the oldest first."""
        query = share.select().where(share.c.job == job_id).order_by(share.c.created, share.c.id)
        with self._database.read() as connection:
            rows = connection.execute(query)
            return [Share(row.id, row.job, datetime.fromtimestamp(row.created, UTC)) for row in rows]

    def revoke(self, job_id: str, share_id: str) -> bool:
        """Revoke a link to a job; return whether there was one."""
        with self._database.write() as connection:
            gone = connection.execute(share.delete().where(share.c.job == job_id, share.c.id == share_id))
            return bool(gone.rowcount)

    def job_of(self, secret: str) -> str | None:
        """Return the id of the job that a secret gives reading of; None = of none."""
        with self._database.read() as connection:
            return connection.scalar(sa.select(share.c.job).where(share.c.digest == _digest(secret)))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
