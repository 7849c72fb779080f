"""What is done again of a job whose files are lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from processes.jobs.tables import job, section


def mark_again(connection: sa.Connection, job_id: str, sections: Sequence[int]) -> dict[str, Any]:
    """Mark sections as not done, or forget the plan; return what changes of the job itself.

    Args:
        connection: a transaction that writes.
        job_id: the job.
        sections: their numbers; none = the job has no plan any more.
    """
    rows = section.c.job == job_id
    if not sections:
        connection.execute(section.delete().where(rows))
        return {"plan": None, "objects": None, "done": 0, "summary": None}
    lost = (rows, section.c.number.in_(sections), section.c.is_done)
    objects = connection.scalar(sa.select(sa.func.sum(section.c.objects)).where(*lost)) or 0
    connection.execute(section.update().where(*lost).values(is_done=False))
    return {"done": job.c.done - int(objects), "summary": None}  # what was counted of them is not known
