"""What runners report of the GPUs that they can send steps to. It lies in the job store: web servers know no worker."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from processes.errors import InputError, UnavailableError
from processes.jobs.claiming import LEASE_S
from processes.jobs.tables import runner

REMEMBERED_S = 24 * 3600
"""A GPU that was there within so many seconds is expected to come back: requests for one are accepted, and wait."""
_SILENT_S = 2 * LEASE_S
"""Seconds after which what a silent runner said counts no more."""


class GpuReport(msgspec.Struct, frozen=True):
    """The GPUs that a runner can send steps to."""

    slots: int | None = None
    """Number of slots that have one; None = not known, as no worker is there."""
    missing: str | None = None
    """Why there is none, in words for the client; None = there is one, or it is not known."""


def save_report(connection: sa.Connection, owner: str, report: GpuReport, now: float) -> None:
    """Record that a runner works, and what it reports.

    Args:
        connection: a transaction.
        owner: the runner's name.
        report: of its GPUs.
        now: time of the database's clock.
    """
    values: dict[str, float | str | None] = {"seen": now, "gpus": report.slots, "gpu_missing": report.missing}
    if report.slots:
        values["gpu_seen"] = now
    if not connection.execute(runner.update().where(runner.c.name == owner).values(**values)).rowcount:
        connection.execute(runner.insert().values(name=owner, **values))


def are_gpus_away(connection: sa.Connection, now: float) -> bool:
    """Return whether runners work, and none of them can send steps to a GPU now.

    Args:
        connection: a connection.
        now: time of the database's clock.
    """
    most = sa.select(sa.func.max(sa.func.coalesce(runner.c.gpus, 0))).where(_is_heard(now))
    return connection.scalar(most) == 0


def require_gpu(connection: sa.Connection, now: float) -> None:
    """Raise InputError where no runner has had a GPU for long, with the reason.

    Args:
        connection: a connection.
        now: time of the database's clock.

    Raises:
        UnavailableError: no runner works that knows.
    """
    seen = connection.scalar(sa.select(sa.func.max(runner.c.gpu_seen)))
    if seen is not None and abs(now - seen) < REMEMBERED_S:
        return
    query = sa.select(runner.c.gpu_missing).where(_is_heard(now), runner.c.gpus.is_not(None)).order_by(runner.c.name)
    reports = connection.scalars(query).all()
    if not reports:
        raise UnavailableError("no worker is there, so it is not known whether there is a GPU; try again later")
    reason = next((f": {report}" for report in reports if report is not None), "")
    raise InputError(f"processorType is GPU, but no machine of this service has one that can be used{reason}")


def _is_heard(now: float) -> sa.ColumnElement[bool]:
    """Return the condition that a runner has been heard of lately; the clock may have been set back since."""
    return sa.and_(runner.c.seen > now - _SILENT_S, runner.c.seen < now + _SILENT_S)
