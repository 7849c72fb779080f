"""Callbacks to subscribers: sent in bounded time, when the event is in the job store, without effect on the job."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import msgspec

from processes.errors import InputError, ServiceError
from processes.jobs.database import Database
from processes.jobs.files import Storage
from processes.jobs.job import Job, JobStatus
from processes.jobs.status_info import output_link, status_info
from processes.jobs.tables import callback, job
from processes.ogc.results import blocks_of, results_document
from processes.settings import Settings
from processes.sources.hosts import display_link, post

_logger = logging.getLogger(__name__)

_TIMEOUT_S = 10
_DELAYS_S = (2, 10, 60, 600)
"""Seconds before each further try. After the last one the callback is given up."""
_CLAIM_S = 60
"""Seconds after which a callback that was claimed, and neither sent nor delayed, can be claimed again."""
_MAX_INLINE_BYTES = 16 * 2**20
"""Of a larger result a link is sent."""
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Callback:
    """A message to a subscriber about a job."""

    id: int
    job: Job
    event: str
    """`in-progress`, `success` or `failed`."""
    url: str
    tries: int
    """Number of tries so far."""


class Callbacks:
    """Callbacks that are due.

    Args:
        database: the job store.
        storage: the files of jobs.
        settings: which hosts may be called.
        base_url: of the service.
    """

    def __init__(self, database: Database, storage: Storage, settings: Settings, base_url: str) -> None:
        self._database = database
        self._storage = storage
        self._settings = settings
        self._base_url = base_url

    def claim(self) -> Callback | None:
        """Claim the callback that has been due for longest; None = none is due."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            query = (
                callback.select()
                .where(callback.c.due <= now)
                .order_by(callback.c.due, callback.c.id)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            row = connection.execute(query).first()
            if row is None:
                return None
            job_row = connection.execute(job.select().where(job.c.id == row.job)).mappings().first()
            if job_row is None or job_row["status"] == JobStatus.DISMISSED:
                connection.execute(callback.delete().where(callback.c.id == row.id))
                return None
            claimed = {"due": now + _CLAIM_S, "tries": row.tries + 1}
            connection.execute(callback.update().where(callback.c.id == row.id).values(claimed))
            return Callback(row.id, Job.from_row(job_row), row.event, row.url, row.tries)

    def send(self, due: Callback) -> None:
        """Send a callback, and record that it is sent, or when the next try is due."""
        context = {"job": due.job.id, "callback": due.event, "url": display_link(due.url)}
        try:
            status = post(due.url, self._settings, self._body(due), _JSON, _TIMEOUT_S)
            if not 200 <= status < 300:
                raise InputError(f"the host answers with status {status}")
        except (ServiceError, OSError) as err:
            if isinstance(err, InputError) and due.tries < len(_DELAYS_S):
                self._delay(due, _DELAYS_S[due.tries])
                _logger.warning("callback failed, tried again later", extra=context | {"reason": str(err)})
                return
            _logger.error("callback given up", extra=context | {"reason": str(err)})
        else:
            _logger.info("callback sent", extra=context | {"status": status})
        with self._database.write() as connection:
            connection.execute(callback.delete().where(callback.c.id == due.id))

    def _delay(self, due: Callback, seconds: float) -> None:
        with self._database.write() as connection:
            later = self._database.now(connection) + seconds
            connection.execute(callback.update().where(callback.c.id == due.id).values(due=later))

    def _body(self, due: Callback) -> bytes:
        """Return the results of a successful job as OGC's document, the status of any other."""
        subject, result = due.job, due.job.result
        if due.event != "success" or result is None:
            return msgspec.json.encode(status_info(subject, self._base_url))
        if subject.response.nothing:
            return b"{}"
        if subject.response.by_reference or result.size_bytes > _MAX_INLINE_BYTES:
            return msgspec.json.encode({result.output: output_link(subject, self._base_url)})
        file = self._storage.open_result(subject.id, result.name)
        return b"".join(results_document(result.output, result.media_type, blocks_of(file)))
