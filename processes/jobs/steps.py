"""Steps of a job, as a slot's process does them: begin the work, do a section of it, finish it."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from processes.errors import FailureError, RequestError, ServiceError, from_record, to_record
from processes.jobs.files import NO_SPACE, JobFiles, Storage
from processes.jobs.job import ResultFile
from processes.model.session import open_session
from processes.ogc.process import Execution, Output, Process, SectionedProcess, Sections
from processes.ogc.request import read_request
from processes.sources.stamps import FileStamp

_logger = logging.getLogger(__name__)

STOP = b"stop"
"""What a slot sends to its process in place of a step, to stop the one before."""
_FULL_BYTES = 2**20
"""A disk with less than that left is full."""


class DryRun(msgspec.Struct, frozen=True):
    """A request is only tried out, for what it comes to or what is wrong with it."""

    error: dict[str, Any] | None = None
    """What is known to be wrong, as `processes.errors.to_record` has it; None = nothing."""
    measures: bool = False
    """True = speed is to be measured."""


class ExecutionRecord(msgspec.Struct, frozen=True):
    """What was asked for, as it is kept with a job's files."""

    body: bytes
    """The execute request."""
    accept: list[tuple[str, float]] = []
    """Media ranges that the client takes, with their quality."""
    max_objects: int | None = None
    file_stamps: list[FileStamp] | None = None
    dry_run: DryRun | None = None
    """None = it is meant."""

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, content: bytes) -> ExecutionRecord:
        return msgspec.msgpack.decode(content, type=cls)


class Step(msgspec.Struct, frozen=True):
    """What a slot is to do."""

    job: str
    fence: int
    process: str
    action: Literal["begin", "section", "finish"]
    plan: str
    """Folder of the plan among the job's files."""
    section: int = 0
    result_name: str | None = None
    scratch: str = ""
    """An empty folder of the slot's machine; the slot's owner names it, and removes it."""


class ResultPublished(msgspec.Struct, frozen=True, tag=True):
    """The result is there."""

    result: ResultFile
    summary: dict[str, Any] | None
    objects: int


class Cut(msgspec.Struct, frozen=True, tag=True):
    """The work was begun, and cut into sections."""

    sections: tuple[int, ...]
    at_once: int


class SectionDone(msgspec.Struct, frozen=True, tag=True):
    """The section is done."""


class StepFailed(msgspec.Struct, frozen=True, tag=True):
    """The step reported an error."""

    error: dict[str, Any]
    """As `processes.errors.to_record` makes it."""
    is_final: bool = False
    """True = trying again cannot help."""


class SlotEnded(msgspec.Struct, frozen=True, tag=True):
    """The slot's process ended within the step."""

    reason: str


class StepStopped(msgspec.Struct, frozen=True, tag=True):
    """The step was stopped, as it was asked for."""


class PlanMade(msgspec.Struct, frozen=True, tag=True):
    """The first section begins; comes before the report."""


StepOutcome = ResultPublished | Cut | SectionDone | StepFailed | SlotEnded | StepStopped


class StepReport(msgspec.Struct, frozen=True, tag=True):
    """What came of a step, and what it took."""

    outcome: StepOutcome
    seconds: float
    model_loads: int = 0
    """Networks that were opened for it."""
    pid: int = 0
    """Process that did it, on its machine; 0 = none."""

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)


class StopError(BaseException):
    """Ends a step between two batches, however it is caught on its way."""


def do_step(
    step: Step,
    processes: Mapping[str, Process],
    storage: Storage,
    planned: Callable[[], None],
    is_stopped: Callable[[], bool],
) -> StepReport:
    """Do a step and report what came of it; an error is an outcome too.

    Args:
        step: what to do.
        processes: those that there are, by id.
        storage: where the files of jobs are.
        planned: is called when the work is planned and its first section begins.
        is_stopped: says whether the step is to end as soon as it can.
    """
    start_s, opened = time.perf_counter(), open_session.cache_info().misses
    outcome = _outcome(step, processes, storage, planned, is_stopped)
    return StepReport(outcome, time.perf_counter() - start_s, open_session.cache_info().misses - opened, os.getpid())


def _outcome(
    step: Step,
    processes: Mapping[str, Process],
    storage: Storage,
    planned: Callable[[], None],
    is_stopped: Callable[[], bool],
) -> StepOutcome:
    has_begun, total = False, 1

    def begin_section(objects: int) -> None:
        nonlocal has_begun, total
        has_begun, total = True, objects
        planned()

    def progress(_: int) -> None:
        if is_stopped():
            raise StopError

    try:
        process = processes[step.process]
        files = storage.files(step.job, step.plan, Path(step.scratch))
        match step.action:
            case "begin":
                record = ExecutionRecord.decode(storage.order(step.job))
                request, faults = read_request(record.body, process.frame())
                order = Execution(
                    request, faults, record.accept, step.result_name, record.max_objects, record.file_stamps
                )
                if record.dry_run is not None:
                    return _finished(_tried(_sectioned(process), order, files, record.dry_run), files, step, 0)
                if not isinstance(process, SectionedProcess):
                    return _finished(process.execute(order, files.scratch), files, step, 1)
                came = process.begin(order, files, begin_section, progress)
                if isinstance(came, Sections):
                    return Cut(came.sections, came.at_once)
                return _finished(came, files, step, total)
            case "section":
                _sectioned(process).run_section(files, step.section, progress)
                return SectionDone()
            case "finish":
                return _finished(_sectioned(process).finish(files), files, step, total)
    except StopError:
        return StepStopped()
    except ServiceError as err:
        is_final = step.action == "begin" and not has_begun
        return StepFailed(to_record(err), is_final)
    except Exception as err:
        _logger.exception("a step failed", extra={"job": step.job, "action": step.action, "section": step.section})
        return StepFailed(to_record(_fault(step, _reason(err, step))))


def _tried(process: SectionedProcess, order: Execution, files: JobFiles, dry_run: DryRun) -> Output:
    """Return what a request comes to, as JSON.

    Raises:
        ServiceError: all that is wrong with it, with what is known to be wrong.
    """
    known = None if dry_run.error is None else from_record(dry_run.error)
    try:
        outline = process.outline(order, files.scratch, dry_run.measures)
    except RequestError as err:
        if not isinstance(known, RequestError):
            raise
        found = {(fault.pointer, fault.detail) for fault in err.faults}
        more = [fault for fault in known.faults if (fault.pointer, fault.detail) not in found]
        raise RequestError([*err.faults, *more]) from err
    if known is not None:
        raise known
    return Output("outline", "application/json", msgspec.json.encode(outline))


def _sectioned(process: Process) -> SectionedProcess:
    if not isinstance(process, SectionedProcess):
        raise TypeError(f"{process} has no sections")
    return process


def _finished(answer: Output, files: Any, step: Step, objects: int) -> ResultPublished:
    """Publish an answer."""
    path = answer.content
    if isinstance(path, bytes):
        content, path = path, files.scratch / "answer"
        path.write_bytes(content)
    size, name = path.stat().st_size, f"result-{step.fence}{path.suffix}"
    files.keep(name, path)
    result = ResultFile(answer.output, answer.media_type, f"{step.plan}/{name}", size)
    return ResultPublished(result, None if answer.summary is None else dict(answer.summary), objects)


def _fault(step: Step, reason: str | None) -> FailureError:
    """Return what a client is told of a fault of ours; the log has the rest."""
    return FailureError(f"the server failed{f': {reason}' if reason else ''}; the log has it as job {step.job}")


def _reason(err: Exception, step: Step) -> str | None:
    """Return what a client may know of a fault, where there is something to say."""
    if isinstance(err, MemoryError):
        return "its memory is not enough for the work"
    if isinstance(err, OSError) and err.errno in (errno.ENOSPC, errno.EDQUOT):
        return NO_SPACE
    try:
        return NO_SPACE if shutil.disk_usage(step.scratch).free < _FULL_BYTES else None
    except OSError:
        return None
