"""The job store as runners use it: claim jobs, record their progress, end them.

A runner holds a job by a lease that it renews. Each claim has a number, the fence, and every write names it. A runner
that was frozen while another one claimed its job can change nothing any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from processes.errors import ServiceError, to_record
from processes.jobs.callbacks import add_callback, end_callbacks
from processes.jobs.claiming import LEASE_S, is_over, next_job, ready
from processes.jobs.class_counts import first_counts, more_counts
from processes.jobs.client_limits import require_objects
from processes.jobs.counters import Counts, add_counts
from processes.jobs.database import Database
from processes.jobs.gpu_reports import GpuReport, save_report
from processes.jobs.job import Job, JobStatus, ResultFile, Section
from processes.jobs.retention import expire
from processes.jobs.sections_again import mark_again
from processes.jobs.tables import job, section
from processes.ogc.process import Sections
from processes.settings import Limits


class LeaseLostError(Exception):
    """The job is not this runner's any more: it was dismissed, or another runner has it."""


class RunnerStore:
    """The job store of one runner.

    Each method raises UnavailableError where the database does not answer, and those that write to a job raise
    LeaseLostError where it is not the runner's any more.

    Args:
        database: the job store.
        owner: the runner's name, which no other runner has.
        limits: of the configuration.
    """

    def __init__(self, database: Database, owner: str, limits: Limits = Limits()) -> None:  # noqa: B008 - it is frozen
        self._database = database
        self._owner = owner
        self._limits = limits

    def claim(
        self, busy: Iterable[str], room: int, priority_room: int, beyond: int = 0, has_gpu: bool = True
    ) -> Job | None:
        """Claim the next job: one that lost its runner, else one that waits.

        Those of higher priority come first, then those of clients with the fewest running jobs, then the oldest.

        Args:
            busy: jobs that this runner works on.
            room: number of further jobs that this runner has room for.
            priority_room: number of further jobs of those that a client waits for.
            beyond: number of jobs of each kind that it claims beyond that, of clients none of whose jobs runs: long
                jobs of one client, claimed before others came, do not keep these out.
            has_gpu: False = jobs that need a GPU wait.
        """
        with self._database.write(is_durable=False) as connection:
            now = self._database.now(connection)
            job_id = connection.scalar(next_job(now, busy, room, priority_room, beyond, has_gpu))
            if job_id is None:
                return None
            connection.execute(
                job.update()
                .where(job.c.id == job_id)
                .values(
                    status=JobStatus.RUNNING,
                    message=sa.case((job.c.status == JobStatus.RUNNING, job.c.message), else_="reading the inputs"),
                    owner=self._owner,
                    lease=now + LEASE_S,
                    fence=job.c.fence + 1,
                    started=sa.func.coalesce(job.c.started, now),
                    updated=now,
                )
            )
            claimed = Job.from_row(connection.execute(job.select().where(job.c.id == job_id)).mappings().one())
            if claimed.fence == 1 and claimed.subscriber is not None and claimed.subscriber.in_progress_uri is not None:
                add_callback(connection, claimed, "in-progress", claimed.subscriber.in_progress_uri, now)
            return claimed

    def renew(self, fences: Mapping[str, int], gpus: GpuReport) -> set[str]:
        """Say that this runner works, and with which GPUs; renew leases; return the jobs that are not its any more."""
        with self._database.write(is_durable=False) as connection:
            now = self._database.now(connection)
            save_report(connection, self._owner, gpus, now)
            return {
                job_id
                for job_id, fence in fences.items()
                if not connection.execute(self._held(job_id, fence).values(lease=now + LEASE_S)).rowcount
            }

    def lost_jobs(self, fences: Mapping[str, int]) -> set[str]:
        """Return those of some jobs, given with their fences, that are not the runner's any more."""
        if not fences:
            return set()
        query = sa.select(job.c.id, job.c.fence).where(job.c.id.in_(list(fences)), job.c.status == JobStatus.RUNNING)
        with self._database.read() as connection:
            held = {row.id for row in connection.execute(query) if row.fence == fences[row.id]}
        return set(fences) - held

    def has_waiting(
        self, busy: Iterable[str], room: int, priority_room: int, beyond: int = 0, has_gpu: bool = True
    ) -> bool:
        """Return whether there is a job to claim; arguments as `claim` has them."""
        with self._database.read() as connection:
            conditions = ready(self._database.now(connection), busy, room, priority_room, beyond, has_gpu)
            return connection.scalar(sa.select(job.c.id).where(*conditions).limit(1)) is not None

    def release(self) -> None:
        """Release all jobs of this runner, or of a former one of its name."""
        held = (job.c.owner == self._owner, job.c.status == JobStatus.RUNNING)
        with self._database.write() as connection:
            connection.execute(job.update().where(*held).values(owner=None, lease=0))

    def save_plan(self, job_id: str, fence: int, plan: str, sections: Sections, message: str, counts: Counts) -> None:
        """Record a plan and its sections, of which the first is done.

        Args:
            job_id: the job.
            fence: number of the claim.
            plan: folder of the plan among the job's files.
            sections: that the work was cut into.
            message: that clients read.
            counts: for the counters.

        Raises:
            QuotaError: they are too many objects for the job's client today.
        """
        with self._database.write() as connection:
            if connection.scalar(sa.select(job.c.plan).where(job.c.id == job_id, job.c.fence == fence)) == plan:
                return  # it was recorded before, and the answer was lost
            objects = sections.without_chip + sum(sections.objects)
            require_objects(connection, job_id, objects, self._limits, self._database.now(connection))
            done, counted = sections.without_chip + sections.objects[0], first_counts(sections.classes)
            values = {"plan": plan, "objects": objects, "done": done, "message": message, "summary": counted}
            self._update(connection, job_id, fence, **values)
            sizes = enumerate(sections.objects)
            rows = [{"job": job_id, "number": number, "objects": size, "is_done": not number} for number, size in sizes]
            connection.execute(section.insert(), rows)
            add_counts(connection, counts)

    def sections(self, job_id: str) -> list[Section]:
        """Return the sections of a job that are not done, in their order."""
        query = section.select().where(section.c.job == job_id, section.c.is_done.is_(False)).order_by(section.c.number)
        with self._database.read() as connection:
            rows = connection.execute(query)
            return [Section(row.number, row.objects, False, row.errors, row.losses) for row in rows]

    def record_sections(
        self,
        job_id: str,
        fence: int,
        done: Sequence[Section],
        failed: Sequence[Section],
        message: str,
        counts: Counts,
    ) -> None:
        """Record sections that are done, and those that failed and will be tried again.

        Args:
            job_id: the job.
            fence: number of the claim.
            done: sections that are done.
            failed: sections that will be tried again, with their errors and losses.
            message: that clients read.
            counts: for the counters.
        """
        with self._database.write() as connection:
            rows = (section.c.job == job_id, section.c.number.in_([item.number for item in done]))
            # some of it may have been recorded before, and the answer was lost
            recorded = set(connection.scalars(sa.select(section.c.number).where(*rows, section.c.is_done)))
            new = [item for item in done if item.number not in recorded]
            self._update(connection, job_id, fence, message=message, **more_counts(connection, job_id, new))
            connection.execute(section.update().where(*rows).values(is_done=True))
            for item in failed:
                row = section.update().where(section.c.job == job_id, section.c.number == item.number)
                connection.execute(row.values(errors=item.errors, losses=item.losses))
            add_counts(connection, counts)

    def record_attempt(self, job_id: str, fence: int, *, is_end: bool, errors: int, losses: int) -> None:
        """Record how often the beginning or the end of a job failed, so that the next runner knows it, too.

        Args:
            job_id: the job.
            fence: number of the claim.
            is_end: True = the end of the job, False = its beginning.
            errors: attempts that reported an error.
            losses: slot processes that it ended, one after the other.
        """
        step = "finish" if is_end else "begin"
        with self._database.write() as connection:
            self._update(connection, job_id, fence, **{f"{step}_errors": errors, f"{step}_losses": losses})

    def redo(self, job_id: str, fence: int, sections: Sequence[int], max_losses: int) -> bool:
        """Let sections be done again, or all of a job, and release it; return False where there were too many losses.

        Args:
            job_id: the job.
            fence: number of the claim.
            sections: their numbers; none = the job has no plan any more.
            max_losses: number of losses of the last step, this one included, with which nothing is done again.
        """
        with self._database.write() as connection:
            losses = connection.scalar(sa.select(job.c.finish_losses).where(job.c.id == job_id)) or 0
            if losses + 1 >= max_losses:
                return False
            values = mark_again(connection, job_id, sections) | {"finish_losses": losses + 1}
            self._update(connection, job_id, fence, owner=None, lease=0, **values)
            return True

    def set_message(self, job_id: str, fence: int, message: str) -> None:
        """Set the message that clients read.

        Args:
            job_id: the job.
            fence: number of the claim.
            message: the new one.
        """
        with self._database.write(is_durable=False) as connection:
            self._update(connection, job_id, fence, message=message)

    def succeed(
        self,
        job_id: str,
        fence: int,
        message: str,
        result: ResultFile,
        summary: Mapping[str, Any] | None,
        objects: int,
        counts: Counts,
    ) -> None:
        """End a job whose result is published.

        Args:
            job_id: the job.
            fence: number of the claim.
            message: that clients read.
            result: file of the result.
            summary: counts and warnings; None = there are none.
            objects: number of objects of the job.
            counts: for the counters.
        """
        self._end(
            job_id,
            fence,
            "success",
            counts,
            status=JobStatus.SUCCESSFUL,
            message=message,
            result=msgspec.json.encode(result).decode(),
            is_layer=result.layer is not None,
            summary=None if summary is None else msgspec.json.encode(summary).decode(),
            objects=objects,
            done=objects,
        )

    def fail(self, job_id: str, fence: int, error: ServiceError, counts: Counts) -> None:
        """End a job that cannot be done.

        Args:
            job_id: the job.
            fence: number of the claim.
            error: why.
            counts: for the counters.
        """
        self._end(
            job_id,
            fence,
            "failed",
            counts,
            status=JobStatus.FAILED,
            message=error.detail,
            error=msgspec.json.encode(to_record(error)).decode(),
        )

    def mark_removed(self, job_id: str) -> None:
        """Record that the files of a job are removed."""
        with self._database.write() as connection:
            connection.execute(
                job.update().where(job.c.id == job_id).values(has_files=False, is_untidy=False, owner=None, lease=0)
            )
            connection.execute(section.delete().where(section.c.job == job_id))

    def removable(self, busy: Iterable[str], limit: int = 100) -> list[str]:
        """Return up to `limit` jobs whose files are not needed any more, and that no runner works on."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            query = (
                sa.select(job.c.id)
                .where(job.c.is_untidy, job.c.id.not_in(list(busy)))
                .where(sa.or_(job.c.owner.is_(None), job.c.owner == self._owner, is_over(job.c.lease, now)))
                .limit(limit)
            )
            return list(connection.scalars(query))

    def expire(self, retention_days: int) -> None:
        """Mark results that are older than the retention, and remove the records of those twice as old."""
        with self._database.write() as connection:
            expire(connection, self._database.now(connection), retention_days)

    def with_files(self, job_ids: Iterable[str]) -> set[str]:
        """Return those of some ids that are jobs whose files may be needed."""
        with self._database.read() as connection:
            return set(connection.scalars(sa.select(job.c.id).where(job.c.id.in_(list(job_ids)), job.c.has_files)))

    def add_counts(self, counts: Counts) -> None:
        """Add to counters."""
        with self._database.write(is_durable=False) as connection:
            add_counts(connection, counts)

    def _held(self, job_id: str, fence: int) -> sa.Update:
        return job.update().where(
            job.c.id == job_id,
            job.c.fence == fence,
            job.c.owner == self._owner,
            job.c.status == JobStatus.RUNNING,
        )

    def _update(self, connection: sa.Connection, job_id: str, fence: int, **values: Any) -> None:
        changed = self._held(job_id, fence).values(updated=self._database.now(connection), **values)
        if not connection.execute(changed).rowcount:
            raise LeaseLostError(job_id)

    def _end(self, job_id: str, fence: int, event: str, counts: Counts, **values: Any) -> None:
        with self._database.write() as connection:
            now = self._database.now(connection)
            if event == "success":
                require_objects(connection, job_id, values["objects"], self._limits, now)
            self._update(connection, job_id, fence, finished=now, owner=None, lease=0, **values)
            add_counts(connection, counts)
            row = connection.execute(job.select().where(job.c.id == job_id)).mappings().one()
            end_callbacks(connection, Job.from_row(row), event, now)
