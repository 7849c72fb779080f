"""The database: SQLite by default, PostgreSQL where its URL is configured. The only home of SQLAlchemy's engine."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from processes.errors import UnavailableError
from processes.jobs.disk import DiskReserve
from processes.jobs.hung_connections import HungConnections
from processes.jobs.migrations import JobStoreError, migrate

_LOCK = 20_811_062
"""An arbitrary number, the same in all programs that use the tables."""
PATIENCE_S = 30
"""Seconds that a runner waits for the database."""
WEB_PATIENCE_S = 10
"""Seconds that a thread of the web server waits for the database: others wait for the thread."""
_HUNG, _HUNG_S = 32, 8
"""Where so many transactions are under way and one has been so for so many seconds, further ones are refused."""
_CONNECT_S = 3
_GONE_S = 10
"""Seconds after which a database host that does not answer counts as gone."""
_CACHE_KIB = 512
"""Database pages that a connection caches. SQLite's own 2 MiB are more than a queue of jobs needs."""
_POOL = 8
"""Connections that a process keeps, …"""
_OVERFLOW = 40
"""… and more that it may open for a moment."""
_FULL_BYTES = 2**18
"""A disk with less space left counts as full."""
_UNUSABLE = {
    sqlite3.SQLITE_NOTADB: "the file is no database",
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_READONLY: "the file cannot be written",
    sqlite3.SQLITE_PERM: "the file may not be used",
}
"""Why SQLite cannot use a job store, by its error code; waiting does not help."""


class StoreFullError(UnavailableError):
    """The disk of the job store is full."""


class Database:
    """Transactions, and the one clock of all machines. Missing tables are created, older ones are migrated.

    Args:
        url: of SQLAlchemy. The first transaction connects.
        patience_s: seconds that a transaction waits for the database.
    """

    def __init__(self, url: str, patience_s: float = PATIENCE_S) -> None:
        self._engine = _engine(url, patience_s)
        self._is_prepared = False
        self._lock = threading.Lock()
        self._under_way: dict[int, float] = {}
        """Time of the monotonic clock at which each transaction began."""
        file = self._engine.url.database if self._engine.dialect.name == "sqlite" else None
        self._folder = None if file is None else Path(file).parent
        self._reserve = None if self._folder is None else DiskReserve(self._folder)

    def prepare(self) -> None:
        """Create missing tables, or migrate those of an earlier version.

        Raises:
            UnavailableError: the database does not answer.
            JobStoreError: it cannot be used: it is none, cannot be written, or its tables are of a newer version.
        """
        if self._is_prepared:
            return
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        try:
            with self._transaction(), self._engine.execution_options(writes=True).begin() as connection:
                serialise(connection)  # two programs that start at once must not both create or migrate
                migrate(connection)
        except sa.exc.DBAPIError as err:
            reason = _UNUSABLE.get(_sqlite_code(err))
            if reason is None:
                raise
            raise JobStoreError(f"the job store {self._engine.url} cannot be used: {reason}") from err
        self._is_prepared = True

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Yield a connection that only reads.

        Raises:
            UnavailableError: the database does not answer.
        """
        self.prepare()
        with self._transaction(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self, *, is_durable: bool = True) -> Iterator[sa.Connection]:
        """Yield a connection whose changes all take effect at the end, or none of them.

        Args:
            is_durable: False = a loss of power may undo them where the database is a file, together with all later ones
                that are not durable either: for what is of no use to anybody once this machine has stopped.

        Raises:
            UnavailableError: the database does not answer; then nothing has changed, or all, and nobody knows.
            StoreFullError: its disk is full. If something was left in reserve, the same works when it is tried again.
        """
        self.prepare()
        options = {"writes": True, "is_durable": is_durable}
        with self._transaction(), self._engine.execution_options(**options).begin() as connection:
            yield connection

    def now(self, connection: sa.Connection) -> float:
        """Return the time by the database's clock, in seconds since 1970: machines' own clocks differ."""
        if connection.dialect.name == "postgresql":
            return float(connection.scalar(sa.select(sa.func.extract("epoch", sa.func.clock_timestamp()))) or 0)
        return time.time()

    @property
    def is_file(self) -> bool:
        """Whether the database is a file of this machine."""
        return self._folder is not None

    def take_reserve(self) -> None:
        """Keep some space of the disk for deletions, if the database is a file of this machine."""
        if self._reserve is not None:
            self._reserve.take()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Translate the errors of a transaction, and refuse it where many others hang."""
        key, now_s = threading.get_ident(), time.monotonic()
        with self._lock:
            if len(self._under_way) >= _HUNG and now_s - min(self._under_way.values()) > _HUNG_S:
                raise UnavailableError("the job store does not answer; try again later")
            self._under_way.setdefault(key, now_s)
        try:
            yield
        except sa.exc.TimeoutError as err:
            raise UnavailableError("the job store does not answer; try again later") from err
        except sa.exc.DBAPIError as err:
            translated = self._translated(err)
            if translated is None:
                raise
            raise translated from err
        finally:
            with self._lock:
                self._under_way.pop(key, None)

    def _translated(self, error: sa.exc.DBAPIError) -> UnavailableError | None:
        """Return what an error of the database means to a client; None = nothing."""
        code = _sqlite_code(error)
        if self._reserve is not None and self._is_full(code):
            self._reserve.give_up()
            return StoreFullError("the disk of the job store is full; try again later")
        if not self._is_prepared and code in _UNUSABLE:
            return None
        is_unavailable = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)
        if is_unavailable or error.connection_invalidated:
            return UnavailableError("the job store does not answer; try again later")
        return None

    def _is_full(self, code: int) -> bool:
        """Return whether an error of SQLite means that the disk is full: it cannot open files either then."""
        if code not in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
            return code == sqlite3.SQLITE_FULL
        return self._folder is not None and shutil.disk_usage(self._folder).free < _FULL_BYTES


def serialise(connection: sa.Connection) -> None:
    """Make other writers that serialise wait until this transaction ends. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


def _sqlite_code(error: sa.exc.DBAPIError) -> int:
    """Return SQLite's primary error code; 0 = the error is of another database."""
    return int(getattr(error.orig, "sqlite_errorcode", 0)) & 0xFF


def _engine(url: str, patience_s: float) -> sa.Engine:
    pool = {"pool_size": _POOL, "max_overflow": _OVERFLOW, "pool_timeout": patience_s}
    if sa.make_url(url).get_backend_name() == "sqlite":
        return _sqlite_engine(url, patience_s, pool)
    engine = sa.create_engine(
        url,
        **pool,
        connect_args={
            "connect_timeout": _CONNECT_S,
            "options": f"-c statement_timeout={patience_s}s",
            "keepalives_idle": _CONNECT_S,
            "keepalives_interval": _CONNECT_S,
            "keepalives_count": 3,
            "tcp_user_timeout": _GONE_S * 1000,
        },
    )
    _end_hung_connections(engine, patience_s)
    return engine


def _sqlite_engine(url: str, patience_s: float, pool: dict[str, Any]) -> sa.Engine:
    engine = sa.create_engine(url, **pool, connect_args={"timeout": patience_s})

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions are begun below, not by Python's driver
        timeout, cache = f"busy_timeout = {int(patience_s * 1000)}", f"cache_size = -{_CACHE_KIB}"
        for pragma in (timeout, "journal_mode = WAL", "synchronous = FULL", cache):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        options = connection.get_execution_options()
        if options.get("writes"):
            # in WAL mode NORMAL does not wait for the disk; the next transaction that is FULL does so for both
            is_durable = options.get("is_durable", True)
            connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
        # a transaction that reads first and writes later could not wait for another writer
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes") else "BEGIN")

    return engine


def _end_hung_connections(engine: sa.Engine, patience_s: float) -> None:
    """Let no use of a connection take longer than the patience, and none begin with a connection that is gone."""
    hung = HungConnections(patience_s)

    @sa.event.listens_for(engine, "checkout")
    def begin(connection: Any, _: object, __: object) -> None:
        hung.begin(connection)
        try:
            engine.dialect.do_ping(connection)
        except Exception as err:
            hung.end(connection)
            raise sa.exc.DisconnectionError from err  # the pool then opens another one

    @sa.event.listens_for(engine, "checkin")
    @sa.event.listens_for(engine, "invalidate")
    def end(connection: Any, *_: object) -> None:
        hung.end(connection)
