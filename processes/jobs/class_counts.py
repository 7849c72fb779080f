"""What a job that runs has found of each class so far. It stands where the summary will stand at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from processes.jobs.job import Section
from processes.jobs.steps import SectionDone, StepReport
from processes.jobs.tables import job

_MAX_CLASSES = 100
"""Of more classes nothing is told before the end: the text is written again with every section."""


def first_counts(classes: Sequence[dict[str, Any]]) -> str | None:
    """Return the text of the column `summary` when the first section is done; None = nothing is known.

    Args:
        classes: as the summary of the result will have them, with the counts of the first section.
    """
    if not 0 < len(classes) <= _MAX_CLASSES:
        return None
    return msgspec.json.encode({"classes": classes}).decode()


def more_counts(connection: sa.Connection, job_id: str, sections: Sequence[Section]) -> dict[str, Any]:
    """Return what changes of a job when further sections are done: how much is done, and what was found.

    Args:
        connection: a transaction that writes.
        job_id: the job.
        sections: those that are done; one whose counts are not known makes those of the job unknown.
    """
    text = connection.scalar(sa.select(job.c.summary).where(job.c.id == job_id))
    classes: list[dict[str, Any]] = [] if text is None else msgspec.json.decode(text)["classes"]
    for done in sections:
        if len(done.counts) != len(classes):
            classes = []
        for item, count in zip(classes, done.counts, strict=False):
            item["count"] += count
    objects = sum(item.objects for item in sections)
    return {"done": job.c.done + objects, "summary": first_counts(classes)}


def counted(section: Section, report: StepReport | None) -> Section:
    """Return a section with the counts that the report of its end has."""
    if report is None or not isinstance(report.outcome, SectionDone):
        return section
    return msgspec.structs.replace(section, counts=report.outcome.counts)
