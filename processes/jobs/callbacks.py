"""Telling subscribers how their jobs go: after the fact is in the store, in bounded time, and never to a job's harm."""

from __future__ import annotations

import logging
from collections.abc import Iterator
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
"""Pauses before it is tried again; after the last try it is given up."""
_TAKEN_S = 60
"""A callback that was taken up and never heard of again is taken up anew after so long."""
_MAX_INLINE_BYTES = 16 * 2**20
"""A larger result is told of by a link."""
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Callback:
    """Somebody who is to be told of a job."""

    id: int
    job: Job
    event: str
    """`in-progress`, `success` or `failed`."""
    url: str
    tries: int
    """How often it was tried before."""


class Callbacks:
    """Callbacks that are due, and their making.

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

    def take(self) -> Callback | None:
        """Take up the callback whose turn it is; None = none is due."""
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
            found = connection.execute(job.select().where(job.c.id == row.job)).mappings().first()
            if found is None or found["status"] == JobStatus.DISMISSED:
                connection.execute(callback.delete().where(callback.c.id == row.id))
                return None
            taken = {"due": now + _TAKEN_S, "tries": row.tries + 1}
            connection.execute(callback.update().where(callback.c.id == row.id).values(taken))
            return Callback(row.id, Job.from_row(found), row.event, row.url, row.tries)

    def make(self, due: Callback) -> None:
        """Make a callback, and enter that it is made, or when it is to be tried again."""
        told = {"job": due.job.id, "callback": due.event, "url": display_link(due.url)}
        try:
            status = post(due.url, self._settings, self._body(due), _JSON, _TIMEOUT_S)
            if not 200 <= status < 300:
                raise InputError(f"the host answers with status {status}")
        except (ServiceError, OSError) as err:
            if isinstance(err, InputError) and due.tries < len(_DELAYS_S):
                self._delay(due, _DELAYS_S[due.tries])
                _logger.warning("callback failed, tried again later", extra=told | {"reason": str(err)})
                return
            _logger.error("callback given up", extra=told | {"reason": str(err)})
        else:
            _logger.info("callback made", extra=told | {"status": status})
        with self._database.write() as connection:
            connection.execute(callback.delete().where(callback.c.id == due.id))

    def _delay(self, due: Callback, seconds: float) -> None:
        with self._database.write() as connection:
            later = self._database.now(connection) + seconds
            connection.execute(callback.update().where(callback.c.id == due.id).values(due=later))

    def _body(self, due: Callback) -> bytes:
        """Return the results of a successful job as OGC's document, the status of any other."""
        told = due.job
        if due.event != "success" or told.result is None:
            return msgspec.json.encode(status_info(told, self._base_url))
        if told.response.nothing:
            return b"{}"
        if told.response.by_reference or told.result.size_bytes > _MAX_INLINE_BYTES:
            return msgspec.json.encode({told.result.output: output_link(told, self._base_url)})
        return b"".join(self._document(told))

    def _document(self, told: Job) -> Iterator[bytes]:
        if told.result is not None:
            file = self._storage.open_result(told.id, told.result.name)
            yield from results_document(told.result.output, told.result.media_type, blocks_of(file))
