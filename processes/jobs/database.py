"""The database: SQLite by default, PostgreSQL where its URL is configured. The only home of SQLAlchemy's engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from processes.errors import UnavailableError
from processes.jobs.migrations import migrate

_LOCK = 20_811_062
"""An arbitrary number, the same in all programs that use the tables."""
_BUSY_S = 30
_CONNECT_S = 3
_GONE_S = 10
"""Seconds after which a database host that does not answer counts as gone."""
_CACHE_KIB = 512
"""Database pages that a connection caches. SQLite's own 2 MiB are more than a queue of jobs needs."""
_POOL = 8
"""Connections that a process keeps, …"""
_OVERFLOW = 40
"""… and more that it may open for a moment."""


class Database:
    """Transactions, and the one clock of all machines. Missing tables are created, older ones are migrated.

    Args:
        url: of SQLAlchemy. The first transaction connects.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._is_prepared = False

    def prepare(self) -> None:
        """Create missing tables, or migrate those of an earlier version.

        Raises:
            UnavailableError: the database does not answer.
            JobStoreError: its tables are of a newer version.
        """
        if self._is_prepared:
            return
        if self._engine.dialect.name == "sqlite" and self._engine.url.database:
            Path(self._engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        with _translated(), self._engine.execution_options(writes=True).begin() as connection:
            serialise(connection)  # two programs that start at once must not both create or migrate
            migrate(connection)
        self._is_prepared = True

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Yield a connection that only reads.

        Raises:
            UnavailableError: the database does not answer.
        """
        self.prepare()
        with _translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Yield a connection whose changes all take effect at the end, or none of them.

        Raises:
            UnavailableError: the database does not answer; then nothing has changed, or all, and nobody knows.
        """
        self.prepare()
        with _translated(), self._engine.execution_options(writes=True).begin() as connection:
            yield connection

    def now(self, connection: sa.Connection) -> float:
        """Return the time by the database's clock, in seconds since 1970: machines' own clocks differ."""
        if connection.dialect.name == "postgresql":
            return float(connection.scalar(sa.select(sa.func.extract("epoch", sa.func.clock_timestamp()))) or 0)
        return time.time()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def serialise(connection: sa.Connection) -> None:
    """Make other writers that serialise wait until this transaction ends. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as err:
        raise UnavailableError("the job store does not answer; try again later") from err
    except sa.exc.DBAPIError as err:
        if err.connection_invalidated:
            raise UnavailableError("the job store does not answer; try again later") from err
        raise


def _engine(url: str) -> sa.Engine:
    if sa.make_url(url).get_backend_name() != "sqlite":
        return sa.create_engine(
            url,
            pool_size=_POOL,
            max_overflow=_OVERFLOW,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": _CONNECT_S,
                "options": f"-c statement_timeout={_BUSY_S}s",
                "keepalives_idle": _CONNECT_S,
                "keepalives_interval": _CONNECT_S,
                "keepalives_count": 3,
                "tcp_user_timeout": _GONE_S * 1000,
            },
        )
    engine = sa.create_engine(url, pool_size=_POOL, max_overflow=_OVERFLOW, connect_args={"timeout": _BUSY_S})

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions are begun below, not by Python's driver
        timeout, cache = f"busy_timeout = {_BUSY_S * 1000}", f"cache_size = -{_CACHE_KIB}"
        for pragma in ("journal_mode = WAL", "synchronous = FULL", timeout, cache):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # a transaction that reads first and writes later could not wait for another writer
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
