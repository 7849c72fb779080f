"""The work of a step, as a slot's process does it: begin a job, do a section of it, finish it."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from processes.confinement.confinement import NetworkNeededError, file_limit_mb, memory_limit_mb, require_network
from processes.errors import NO_SPACE, FailureError, LimitError, RequestError, ServiceError, from_record, to_record
from processes.jobs.fetched_inputs import place_inputs
from processes.jobs.form_names import stored_name
from processes.jobs.job import ResultFile
from processes.jobs.steps import (
    FilesLost,
    InputsMissing,
    ResultPublished,
    SectionDone,
    SectionPaused,
    Step,
    StepFailed,
    StepNotTaken,
    StepOutcome,
    StepReport,
    StepStopped,
)
from processes.jobs.storage import FORMS, Storage
from processes.model.session import open_session
from processes.ogc.execution import DryRun, Execution
from processes.ogc.process import JobFiles, LostFilesError, Output, Process, SectionedProcess, Sections

_logger = logging.getLogger(__name__)

_FULL_BYTES = 2**20
"""A disk with less space left counts as full."""


class StopError(BaseException):
    """Ends a step between two batches. It is no Exception, so that nothing on its way catches it."""


def do_step(
    step: Step,
    processes: Mapping[str, Process],
    storage: Storage,
    planned: Callable[[], None],
    is_stopped: Callable[[], bool],
) -> StepReport:
    """Do a step and return its report; an error is an outcome too.

    Args:
        step: what to do.
        processes: those of the configuration, by id.
        storage: the files of jobs.
        planned: is called when the work is planned and its first section begins.
        is_stopped: returns whether the step is to end as soon as it can.
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
                content = storage.execution(step.job)
                execution = Execution.decode(content, step.process, process.frame(), step.result_name)
                has_links = process.has_host_links(execution)
                require_network(has_links)  # before anything is done
                if has_links and not place_inputs(storage, step.job, files.scratch):
                    return InputsMissing()
                if execution.dry_run is not None:
                    output = _estimated(_sectioned(process), execution, files, execution.dry_run)
                    return _finished(output, files, storage, step, 0)
                if not isinstance(process, SectionedProcess):
                    return _finished(process.execute(execution, files.scratch), files, storage, step, 1)
                begun = process.begin(execution, files, begin_section, progress, step.cores)
                return begun if isinstance(begun, Sections) else _finished(begun, files, storage, step, total)
            case "section":
                part = _sectioned(process).run_section(files, step.section, progress)
                return SectionDone(part.counts) if part.share == 1 else SectionPaused(part.share)
            case "finish":
                return _finished(_sectioned(process).finish(files), files, storage, step, total)
            case "fetch":
                raise TypeError("a slot fetches nothing")
    except StopError:
        return StepStopped()
    except NetworkNeededError:
        return StepNotTaken(needs_network=True)
    except LostFilesError as err:
        return FilesLost(err.sections)
    except ServiceError as err:
        is_final = step.action == "begin" and not has_begun
        return StepFailed(to_record(err), is_final)
    except Exception as err:
        _logger.exception("a step failed", extra={"job": step.job, "action": step.action, "section": step.section})
        return StepFailed(to_record(_limit_of(err) or failure_of(err, step)))


def _estimated(process: SectionedProcess, execution: Execution, files: JobFiles, dry_run: DryRun) -> Output:
    """Return the estimate of an execution, as JSON.

    Raises:
        ServiceError: all that is wrong with it, what is known to be wrong included.
    """
    known = None if dry_run.error is None else from_record(dry_run.error)
    try:
        estimate = process.estimate(execution, files.scratch, dry_run.measures_speed)
    except RequestError as err:
        if not isinstance(known, RequestError):
            raise
        reported = {(fault.pointer, fault.detail) for fault in err.faults}
        others = [fault for fault in known.faults if (fault.pointer, fault.detail) not in reported]
        raise RequestError([*err.faults, *others]) from err
    if known is not None:
        raise known
    return Output("estimate", "application/json", msgspec.json.encode(estimate))


def _sectioned(process: Process) -> SectionedProcess:
    if not isinstance(process, SectionedProcess):
        raise TypeError(f"{process} has no sections")
    return process


def _finished(output: Output, files: JobFiles, storage: Storage, step: Step, objects: int) -> ResultPublished:
    """Publish an output."""
    if output.stored:
        forms = storage.files(step.job, FORMS, files.scratch)
        for name, stored in output.stored.items():
            forms.keep(stored_name(step.fence, name), stored)
        forms.sync()
    path = output.content
    if isinstance(path, bytes):
        content, path = path, files.scratch / "output"
        path.write_bytes(content)
    size, name = path.stat().st_size, f"result-{step.fence}{path.suffix}"
    files.keep(name, path)
    files.sync()
    result = ResultFile(output.id, output.media_type, f"{step.plan}/{name}", size, output.layer)
    return ResultPublished(result, None if output.summary is None else dict(output.summary), objects)


def _limit_of(err: Exception) -> LimitError | None:
    """Return the error of work that needs more than a slot's process may have; None = it is another one."""
    if isinstance(err, MemoryError) and (memory_mb := memory_limit_mb()) is not None:
        return LimitError("max_slot_mb", memory_mb, "the work needs more memory")
    if isinstance(err, OSError) and err.errno == errno.EFBIG and (file_mb := file_limit_mb()) is not None:
        return LimitError("max_file_mb", file_mb, "a file that the work writes becomes larger")
    return None


def failure_of(err: Exception, step: Step) -> FailureError:
    """Return the error that a client sees for a fault of the service; the log has the rest."""
    reason = _reason(err, step)
    return FailureError(f"the server failed{f': {reason}' if reason else ''}; the log has it as job {step.job}")


def _reason(err: Exception, step: Step) -> str | None:
    """Return the reason of a fault that a client may read; None = there is none."""
    if isinstance(err, MemoryError):
        return "its memory is not enough for the work"
    if isinstance(err, OSError) and err.errno in (errno.ENOSPC, errno.EDQUOT):
        return NO_SPACE
    try:
        return NO_SPACE if shutil.disk_usage(step.scratch).free < _FULL_BYTES else None
    except OSError:
        return None
