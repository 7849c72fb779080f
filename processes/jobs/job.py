"""A job: an execution that was accepted, and its state."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

import msgspec

from processes.errors import ServiceError, from_record
from processes.ogc.execution import ResponseOptions
from processes.ogc.process import LayerInfo
from processes.ogc.request import Subscriber


class JobStatus(StrEnum):
    """As OGC API - Processes has it."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    SUCCESSFUL = "successful"
    FAILED = "failed"
    DISMISSED = "dismissed"

    @property
    def has_ended(self) -> bool:
        return self not in (JobStatus.ACCEPTED, JobStatus.RUNNING)


ENDED = tuple(status for status in JobStatus if status.has_ended)


class ResultFile(msgspec.Struct, frozen=True):
    """A result that was published."""

    output: str
    """Id of the output."""
    media_type: str
    name: str
    """Of the file, among the job's."""
    size_bytes: int
    layer: LayerInfo | None = None
    """None = it is not of features that can be had one by one."""


class Section(msgspec.Struct, frozen=True):
    """A part of a job's work."""

    number: int
    objects: int
    is_done: bool
    errors: int
    """Number of attempts that reported an error."""
    losses: int
    """Number of slot processes that it ended, one after the other."""
    counts: tuple[int, ...] = ()
    """Its objects of each class; none = it is not done, or they are not known."""


class Job(msgspec.Struct, frozen=True):
    """A job as the store has it."""

    id: str
    process: str
    client: str
    """Name of who made it, or the address that the request came from."""
    maker: str | None
    """Name of who made it, whose the job is; None = nobody had to say who they are, and it is the operator's."""
    priority: int
    status: JobStatus
    message: str
    created: datetime
    updated: datetime
    started: datetime | None
    finished: datetime | None
    response: ResponseOptions
    result_name: str | None
    parallel_factor: str
    recycle_interval: int
    retries: int
    needs_gpu: bool
    subscriber: Subscriber | None
    pace_key: str | None
    plan: str | None
    """Folder of its plan among its files; None = not planned yet, or one section is enough."""
    objects: int | None
    """Number of objects; None = not known yet."""
    done: int
    """Number of objects done."""
    result: ResultFile | None
    """None = there is none, or it is gone."""
    summary: Mapping[str, Any] | None
    """Before the job is successful nothing but `classes`, as far as they have been counted."""
    error: ServiceError | None
    """Why it failed."""
    fence: int
    """Number of the claim under which a runner works on it. A runner with an older claim may write nothing."""
    is_expired: bool
    """True = its files were removed after the retention."""
    begin_errors: int
    begin_losses: int
    """As a section's, of its beginning, with the download of its inputs."""
    finish_errors: int
    finish_losses: int
    """As a section's, of its end."""
    is_dry_run: bool
    """True = it is no job for anybody but who waits for it: a request is only tried."""
    request_bytes: int
    """Size of the request's body; 0 = not known."""

    @classmethod
    def from_row(cls, row: Mapping[Any, Any]) -> Self:
        """Return the job of a row of the store."""
        subscriber = _decoded(row["subscriber"])
        return cls(
            id=row["id"],
            process=row["process"],
            client=row["client"],
            maker=row["maker"] or None,
            priority=row["priority"],
            status=JobStatus(row["status"]),
            message=row["message"],
            created=_time(row["created"]),
            updated=_time(row["updated"]),
            started=None if row["started"] is None else _time(row["started"]),
            finished=None if row["finished"] is None else _time(row["finished"]),
            response=msgspec.json.decode(row["wanted"], type=ResponseOptions),
            result_name=row["result_name"],
            parallel_factor=row["parallel_factor"],
            recycle_interval=row["recycle_interval"],
            retries=row["retries"],
            needs_gpu=row["needs_gpu"],
            subscriber=None if subscriber is None else Subscriber(**subscriber),
            pace_key=row["pace_key"],
            plan=row["plan"],
            objects=row["objects"],
            done=row["done"],
            result=None if row["result"] is None else msgspec.json.decode(row["result"], type=ResultFile),
            summary=_decoded(row["summary"]),
            error=None if row["error"] is None else from_record(_decoded(row["error"])),
            fence=row["fence"],
            is_expired=row["is_expired"],
            begin_errors=row["begin_errors"],
            begin_losses=row["begin_losses"],
            finish_errors=row["finish_errors"],
            finish_losses=row["finish_losses"],
            is_dry_run=row["is_dry_run"],
            request_bytes=row["request_bytes"],
        )

    @property
    def progress(self) -> int:
        """Share of objects done, in percent; 100 only where the result can be had."""
        if self.status is JobStatus.SUCCESSFUL:
            return 100
        return min(99, 100 * self.done // self.objects) if self.objects else 0

    @property
    def layer(self) -> LayerInfo | None:
        """The layer that its result is; None = it is none, or cannot be had now."""
        return None if self.result is None or self.result_name is None else self.result.layer

    def described(self) -> dict[str, str]:
        """Return what operators see of the job, by name, as text."""
        known = {
            "id": self.id,
            "process": self.process,
            "client": self.client,
            "maker": self.maker,
            "status": self.status,
            "progress": f"{self.progress} %",
            "message": self.message,
            "priority": self.priority,
            "created": self.created,
            "started": self.started,
            "finished": self.finished,
            "result": self.result_name,
            "objects": self.objects,
            "done": self.done,
            "parallel": self.parallel_factor,
            "recycle": self.recycle_interval,
            "retries": self.retries,
            "claims": self.fence,
            "media type": None if self.result is None else self.result.media_type,
            "bytes": None if self.result is None else self.result.size_bytes,
        }
        return {name: str(value) for name, value in known.items() if value is not None}


def is_job_id(text: str) -> bool:
    """Return whether a text can be the id of a job."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def parallel_slots(factor: str, slots: int) -> int:
    """Return the number of sections of a job that may be done at the same time.

    Esri's parallel processing factor: a share of the slots in percent, or a number of them; at least one.

    Args:
        factor: `80%` or `4`.
        slots: number of slots.
    """
    number = int(factor.removesuffix("%"))
    sections = slots * min(number, 100) // 100 if factor.endswith("%") else min(number, slots)
    return max(1, sections)


def _decoded(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
