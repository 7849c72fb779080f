"""Counters that all runners add to, and that metrics and estimates are read from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, cast

import sqlalchemy as sa

from processes.jobs.tables import count

PACE_OBJECTS, PACE_SECONDS = "pace_objects", "pace_seconds"
"""Counters of the objects and seconds of sections, by pace key."""

Counts = Mapping[tuple[str, str], float]
"""Amounts, by name and label of the counter."""


def add_counts(connection: sa.Connection, counts: Counts) -> None:
    """Add amounts to counters."""
    insert = _insert_of(connection.dialect)
    for (name, label), value in sorted(counts.items()):  # sorted, so that two runners do not wait for each other
        row = insert(count).values(name=name, label=label, value=value)
        sums = {"value": count.c.value + row.excluded.value}
        connection.execute(row.on_conflict_do_update(index_elements=["name", "label"], set_=sums))


def _insert_of(dialect: sa.Dialect) -> Callable[..., Any]:
    """Return SQLAlchemy's `insert` of a dialect, which knows what to do on a conflict; the others are not imported."""
    return cast("Callable[..., Any]", import_module(f"sqlalchemy.dialects.{dialect.name}").insert)


def read_counts(connection: sa.Connection) -> Counts:
    """Return all counters."""
    return {(row.name, row.label): row.value for row in connection.execute(count.select())}


def read_pace(connection: sa.Connection, key: str) -> float | None:
    """Return objects per second of a slot, in past sections of jobs of a key; None = there were none."""
    query = sa.select(count.c.name, count.c.value).where(count.c.label == key)
    sums = {row.name: row.value for row in connection.execute(query)}
    seconds = sums.get(PACE_SECONDS, 0)
    return sums.get(PACE_OBJECTS, 0) / seconds if seconds else None
