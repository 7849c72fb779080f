"""The way of a job store from each version of the tables to the next, in SQL that SQLite and PostgreSQL both know.

A step that was released is never changed: there are stores that have taken it. Programs of the version before may still
run while a store is migrated, so new columns have defaults in the database itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from processes.jobs import tables

_OF_JOB_6 = (
    "id, process, client, priority, status, message, created, updated, started, finished, wanted, result_name, "
    "parallel_factor, recycle_interval, retries, needs_gpu, subscriber, pace_key, plan, objects, done, result, "
    "summary, error, owner, lease, fence, has_files, is_expired, is_untidy, is_dry_run, request_bytes, due, is_layer, "
    "begin_errors, begin_losses, finish_errors, finish_losses"
)
"""Columns of the table of jobs in version 6."""

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
    6: (  # SQLite cannot let go of a column's being unique: the tables are made anew
        """
        CREATE TABLE job_of_7 (
            id VARCHAR(36) NOT NULL PRIMARY KEY,
            process TEXT NOT NULL,
            client TEXT NOT NULL,
            priority INTEGER NOT NULL,
            status VARCHAR(10) NOT NULL,
            message TEXT NOT NULL,
            created DOUBLE PRECISION NOT NULL,
            updated DOUBLE PRECISION NOT NULL,
            started DOUBLE PRECISION,
            finished DOUBLE PRECISION,
            wanted TEXT NOT NULL,
            result_name VARCHAR(64),
            parallel_factor VARCHAR(8) NOT NULL,
            recycle_interval BIGINT NOT NULL,
            retries INTEGER NOT NULL,
            needs_gpu BOOLEAN NOT NULL,
            subscriber TEXT,
            pace_key VARCHAR(80),
            plan TEXT,
            objects BIGINT,
            done BIGINT NOT NULL,
            result TEXT,
            summary TEXT,
            error TEXT,
            owner TEXT,
            lease DOUBLE PRECISION NOT NULL,
            fence INTEGER NOT NULL,
            has_files BOOLEAN NOT NULL,
            is_expired BOOLEAN NOT NULL,
            is_untidy BOOLEAN NOT NULL,
            is_dry_run BOOLEAN NOT NULL DEFAULT FALSE,
            request_bytes BIGINT NOT NULL DEFAULT 0,
            due DOUBLE PRECISION NOT NULL DEFAULT 0,
            is_layer BOOLEAN NOT NULL DEFAULT FALSE,
            begin_errors INTEGER NOT NULL DEFAULT 0,
            begin_losses INTEGER NOT NULL DEFAULT 0,
            finish_errors INTEGER NOT NULL DEFAULT 0,
            finish_losses INTEGER NOT NULL DEFAULT 0,
            maker TEXT NOT NULL DEFAULT ''
        )
        """,
        f"INSERT INTO job_of_7 ({_OF_JOB_6}) SELECT {_OF_JOB_6} FROM job",  # noqa: S608 - no text of others
        "DROP TABLE job",
        "ALTER TABLE job_of_7 RENAME TO job",
        "CREATE INDEX ix_job_created ON job (created)",
        "CREATE INDEX ix_job_is_untidy ON job (is_untidy)",
        "CREATE INDEX job_by_status ON job (status, created)",
        "CREATE INDEX job_by_client ON job (client, status)",
        "CREATE INDEX job_by_end ON job (finished)",
        "CREATE INDEX job_by_layer ON job (is_layer, created)",
        "CREATE INDEX job_by_maker ON job (maker, created)",
        "CREATE UNIQUE INDEX job_by_name ON job (maker, result_name)",
        "CREATE TABLE name_count_of_7 (maker TEXT NOT NULL DEFAULT '', stem VARCHAR(64) NOT NULL, "
        "last INTEGER NOT NULL, PRIMARY KEY (maker, stem))",
        "INSERT INTO name_count_of_7 (maker, stem, last) SELECT '', stem, last FROM name_count",
        "DROP TABLE name_count",
        "ALTER TABLE name_count_of_7 RENAME TO name_count",
        "CREATE TABLE share (id VARCHAR(36) NOT NULL PRIMARY KEY, job VARCHAR(36) NOT NULL, "
        "digest VARCHAR(64) NOT NULL, created DOUBLE PRECISION NOT NULL)",
        "CREATE INDEX ix_share_job ON share (job)",
        "CREATE UNIQUE INDEX share_by_digest ON share (digest)",
        "CREATE TABLE upload (id VARCHAR(32) NOT NULL PRIMARY KEY, client TEXT NOT NULL, size_bytes BIGINT NOT NULL, "
        "expires DOUBLE PRECISION NOT NULL)",
        "CREATE INDEX ix_upload_client ON upload (client)",
    ),
}
"""By the version that they start from."""


class JobStoreError(ValueError):
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
