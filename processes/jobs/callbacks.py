"""Callbacks to subscribers: sent in bounded time, when the event is in the job store, without effect on the job."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

import msgspec
import sqlalchemy as sa

from processes.errors import InputError, ServiceError
from processes.jobs.database import Database
from processes.jobs.job import Job, JobStatus
from processes.jobs.status_info import output_link, status_info
from processes.jobs.storage import Storage
from processes.jobs.tables import callback, job
from processes.ogc.results import blocks_of, results_document
from processes.settings import Settings
from processes.sources.host_links import display_link, host_and_port
from processes.sources.hosts import post

_logger = logging.getLogger(__name__)

_TIMEOUT_S = 10
"""Of one try, from the lookup of the host to the end of its answer's head."""
_DELAYS_S = (2, 10, 60, 600)
"""Seconds before each further try. After the last one the callback is given up."""
_CLAIM_S = 60
"""Seconds after which a callback that was claimed, and neither sent nor delayed, can be claimed again."""
_LATEST_S = _DELAYS_S[-1] + _CLAIM_S
"""No callback is due later than in so many seconds, unless the clock was set back: then it is due now."""
_AFTER_ANOTHER = 1e11
"""When a callback is due that waits for the one before it of its job. No clock shows it."""
_AT_ONCE_TO_HOST, _AT_ONCE_TO_PATH = 4, 2
"""Tries to one host at the same time, and to one path of a host, by one runner."""
_HOSTS_AT_ONCE = 200
"""Hosts that are looked through for one claim."""
_CANDIDATES = 100
"""Callbacks of a host that are looked through for one claim."""
_MAX_INLINE_BYTES = 16 * 2**20
"""Of a larger result a link is sent."""
_JSON = "application/json"


class Callback(msgspec.Struct, frozen=True):
    """A message to a subscriber about a job."""

    id: int
    job: Job
    event: str
    """`in-progress`, `success` or `failed`."""
    url: str
    host: str
    """Of the URL, with its port."""
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
        self._first_host = ""
        """Where the next look at the hosts begins: after one another, where there are many."""

    def claim(self, in_flight: Collection[Callback]) -> Callback | None:
        """Claim a callback that is due, of the host with the fewest tries in flight; None = none is due that may go.

        No host has more than some tries at the same time, so that one that is slow does not have all.

        Args:
            in_flight: what this runner sends already.
        """
        with self._database.read() as connection:
            candidates = self._candidates(connection, in_flight)
        return self._claim_one(candidates) if candidates else None

    def _candidates(self, connection: sa.Connection, in_flight: Collection[Callback]) -> Sequence[int]:
        """Return the ids of callbacks that are due and may go, of one host."""
        now = self._database.now(connection)
        of_host = Counter(item.host for item in in_flight)
        of_path = Counter(_path(item.url) for item in in_flight)
        hosts = connection.execute(_hosts_from(self._first_host)).all()
        self._first_host = hosts[-1].host if len(hosts) == _HOSTS_AT_ONCE else ""
        free = [
            row
            for row in hosts
            if (row.due <= now or now + _LATEST_S < row.due < _AFTER_ANOTHER) and of_host[row.host] < _AT_ONCE_TO_HOST
        ]
        for row in sorted(free, key=lambda row: (of_host[row.host], row.due)):
            query = (
                sa.select(callback.c.id, callback.c.url)
                .where(callback.c.host == row.host, _is_due(now))
                .order_by(callback.c.due, callback.c.id)
                .limit(_CANDIDATES)
            )
            by_tries: dict[int, list[int]] = {}
            for found in connection.execute(query):
                by_tries.setdefault(of_path[_path(found.url)], []).append(found.id)
            if by_tries and min(by_tries) < _AT_ONCE_TO_PATH:
                return by_tries[min(by_tries)]
        return []

    def _claim_one(self, ids: Sequence[int]) -> Callback | None:
        """Claim the first of some callbacks that no other runner has claimed; None = there is none."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            query = (
                callback.select()
                .where(callback.c.id.in_(ids), _is_due(now))
                .order_by(callback.c.due, callback.c.id)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            row = connection.execute(query).first()
            if row is None:
                return None
            job_row = connection.execute(job.select().where(job.c.id == row.job)).mappings().first()
            if job_row is None or job_row["status"] == JobStatus.DISMISSED:
                connection.execute(callback.delete().where(callback.c.job == row.job))
                return None
            claimed = {"due": now + _CLAIM_S, "tries": row.tries + 1}
            connection.execute(callback.update().where(callback.c.id == row.id).values(claimed))
            return Callback(row.id, Job.from_row(job_row), row.event, row.url, row.host, row.tries)

    def send(self, due: Callback) -> None:
        """Send a callback, and record that it is sent, or when the next try is due."""
        context = {"job": due.job.id, "callback": due.event, "url": display_link(due.url)}
        try:
            status = post(self._storage.seal.open_link(due.url), self._settings, self._body(due), _JSON, _TIMEOUT_S)
            if not 200 <= status < 300:
                raise InputError(f"the host answers with status {status}")
        except (ServiceError, OSError) as err:
            if isinstance(err, InputError) and due.tries < len(_DELAYS_S):
                self._end_try(due, _DELAYS_S[due.tries])
                _logger.warning("callback failed, tried again later", extra=context | {"reason": str(err)})
                return
            _logger.error("callback given up", extra=context | {"reason": str(err)})
        else:
            _logger.info("callback sent", extra=context | {"status": status})
        self._end_try(due, None)

    def _end_try(self, due: Callback, delay_s: float | None) -> None:
        """Record that a callback is tried again so many seconds later, None = never; the next of the job may go now."""
        own = (callback.c.id == due.id, callback.c.job == due.job.id, callback.c.tries == due.tries + 1)
        waiting = (callback.c.job == due.job.id, callback.c.due >= _AFTER_ANOTHER)
        with self._database.write() as connection:
            now = self._database.now(connection)
            if delay_s is None:
                connection.execute(callback.delete().where(*own))
            else:
                connection.execute(callback.update().where(*own).values(due=now + delay_s))
            connection.execute(callback.update().where(*waiting).values(due=now))

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


def add_callback(connection: sa.Connection, subject: Job, event: str, url: str, now: float) -> None:
    """Add a callback that is due at once, or when the first try of the one before it of its job has ended.

    Args:
        connection: a transaction.
        subject: the job.
        event: `in-progress`, `success` or `failed`.
        url: of the subscriber.
        now: the time by the database's clock.
    """
    # locked, so that the try before does not end between this look and the insertion
    before = sa.select(callback.c.id).where(callback.c.job == subject.id, callback.c.tries <= 1).with_for_update()
    due = now if connection.execute(before).first() is None else _AFTER_ANOTHER
    values = {"job": subject.id, "event": event, "url": url, "host": host_and_port(url), "due": due}
    connection.execute(callback.insert().values(values))


def end_callbacks(connection: sa.Connection, subject: Job, event: str, now: float) -> None:
    """Add the last callback of a job, if its subscriber wants one, and forget the subscriber.

    Args:
        connection: a transaction.
        subject: the job, which has ended.
        event: `success` or `failed`.
        now: the time by the database's clock.
    """
    if subject.subscriber is None:
        return
    url = subject.subscriber.success_uri if event == "success" else subject.subscriber.failed_uri
    if url is not None:
        add_callback(connection, subject, event, url, now)
    connection.execute(job.update().where(job.c.id == subject.id).values(subscriber=None))


def _path(url: str) -> str:
    """Return a URL without its query, which may differ from job to job."""
    return urlsplit(url)._replace(query="", fragment="").geturl()


def _is_due(now: float) -> sa.ColumnElement[bool]:
    """Return the condition that a callback is due."""
    due = callback.c.due
    return sa.or_(due <= now, sa.and_(due > now + _LATEST_S, due < _AFTER_ANOTHER))


def _hosts_from(first: str) -> sa.Select[tuple[str, float]]:
    """Return the query for hosts with their earliest callback, from one of them on: it jumps from host to host."""
    start = sa.select(sa.func.min(callback.c.host).label("host")).where(callback.c.host >= first)
    hosts = start.cte("hosts", recursive=True)
    following = sa.select(sa.func.min(callback.c.host)).where(callback.c.host > hosts.c.host).scalar_subquery()
    hosts = hosts.union_all(sa.select(following).where(hosts.c.host.is_not(None)))
    due = sa.select(sa.func.min(callback.c.due)).where(callback.c.host == hosts.c.host).scalar_subquery()
    return sa.select(hosts.c.host, due.label("due")).where(hosts.c.host.is_not(None)).limit(_HOSTS_AT_ONCE)
