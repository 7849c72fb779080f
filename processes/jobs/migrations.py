"""The way of a job store from each version of the tables to the next, in SQL that SQLite and PostgreSQL both know.

A step that was released is never changed: there are stores that have taken it. Programs of the version before may still
run while a store is migrated, so new columns have defaults in the database itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from processes.jobs import tables

_STEPS: Mapping[int, Sequence[str]] = {
    1: (  # of 0.3.0
        "ALTER TABLE job ADD COLUMN is_dry_run BOOLEAN NOT NULL DEFAULT FALSE",
        "ALTER TABLE job ADD COLUMN due DOUBLE PRECISION NOT NULL DEFAULT 0",
        "ALTER TABLE job ADD COLUMN begin_errors INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE job ADD COLUMN begin_losses INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE job ADD COLUMN finish_errors INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE job ADD COLUMN finish_losses INTEGER NOT NULL DEFAULT 0",
        # plans of 0.3.0 are of another form: such work begins anew
        "DELETE FROM section WHERE job IN (SELECT id FROM job WHERE status IN ('accepted', 'running'))",
        "UPDATE job SET plan = NULL, objects = NULL, done = 0 WHERE status IN ('accepted', 'running')",
        "ALTER TABLE callback ADD COLUMN host TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX callback_by_host ON callback (host, due)",
        "CREATE INDEX ix_callback_job ON callback (job)",
        "DROP INDEX ix_callback_due",
        "CREATE TABLE runner (name VARCHAR(255) NOT NULL PRIMARY KEY, seen DOUBLE PRECISION NOT NULL)",
    ),
    2: ("ALTER TABLE job ADD COLUMN request_bytes BIGINT NOT NULL DEFAULT 0",),
    3: (
        "ALTER TABLE runner ADD COLUMN gpus INTEGER",
        "ALTER TABLE runner ADD COLUMN gpu_seen DOUBLE PRECISION",
        "ALTER TABLE runner ADD COLUMN gpu_missing TEXT",
    ),
    4: (
        "ALTER TABLE job ADD COLUMN is_layer BOOLEAN NOT NULL DEFAULT FALSE",
        "CREATE INDEX job_by_layer ON job (is_layer, created)",
    ),
    5: (
        "CREATE TABLE token (id VARCHAR(12) NOT NULL PRIMARY KEY, name VARCHAR(100) NOT NULL, "
        "role VARCHAR(10) NOT NULL, salt VARCHAR(32) NOT NULL, digest VARCHAR(64) NOT NULL, "
        "made DOUBLE PRECISION NOT NULL, expires DOUBLE PRECISION, revoked DOUBLE PRECISION)",
        "CREATE INDEX ix_token_name ON token (name)",
        "CREATE TABLE session (digest VARCHAR(64) NOT NULL PRIMARY KEY, token VARCHAR(12), name TEXT NOT NULL, "
        "title TEXT NOT NULL, role VARCHAR(10) NOT NULL, expires DOUBLE PRECISION NOT NULL)",
        "CREATE INDEX ix_session_expires ON session (expires)",
    ),
}
"""By the version that they start from."""


class JobStoreError(Exception):
    """The job store cannot be used until an operator changes something; the message says what, in one line."""


def migrate(connection: sa.Connection) -> None:
    """Give a job store the tables of this program's version; an empty database gets them all.

    Args:
        connection: a transaction that no other program migrates beside.

    Raises:
        JobStoreError: the tables are of a newer version.
    """
    version = _version(connection)
    if version is None:
        tables.metadata.create_all(connection)
        connection.execute(tables.meta.insert().values(version=tables.VERSION))
    elif version > tables.VERSION:
        raise JobStoreError(
            f"the job store has tables of version {version}, of a newer program; this one knows them up to version "
            f"{tables.VERSION}"
        )
    elif version < tables.VERSION:
        for step in range(version, tables.VERSION):
            for statement in _STEPS[step]:
                connection.exec_driver_sql(statement)
        connection.execute(tables.meta.update().values(version=tables.VERSION))


def _version(connection: sa.Connection) -> int | None:
    """Return the version of a store's tables; None = there are none."""
    if not sa.inspect(connection).has_table(tables.meta.name):
        return None
    return connection.scalar(sa.select(tables.meta.c.version))
