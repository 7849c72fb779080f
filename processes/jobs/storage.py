"""The files of jobs, in a folder or in an object store: a job's execution, its plan, its sections, its result.

    <job>/execution           the request
    <job>/<plan>/…            files of a process for later steps of its work
    <job>/<plan>/result-…     the result
    <job>/forms/…             other forms of it, and what they are made from
    <job>/near/…              what a machine keeps for its next steps

A file appears under its name when it is whole, never before, and is not changed after. Its content is on the disk then.
Its name is only where a job could not be mended without it: for executions, plans and results, not for single sections.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from processes.errors import NO_SPACE, FailureError
from processes.ogc.process import JobFiles
from processes.sources.seal import Seal

FORMS = "forms"
"""Folder of the forms of a job's result, and of what they are made from."""
NEAR = "near"
EXECUTION = "execution"
ORDER = "order"
"""The same in jobs that were accepted by version 0.3.0."""
NO_SEAL = Seal(None)


class Storage(Protocol):
    """Where the files of all jobs are."""

    @property
    def seal(self) -> Seal:
        """For what holds links with credentials."""

    def put_execution(self, job_id: str, content: bytes, *, is_durable: bool = True) -> None:
        """Keep an execution; it is the first file of a job.

        Args:
            job_id: the job.
            content: the execution.
            is_durable: True = it survives a loss of power. Who waits for a result is gone then, and needs it no more.

        Raises:
            FailureError: it cannot be stored.
        """

    def execution(self, job_id: str) -> bytes:
        """Return the execution that `put_execution` kept.

        Raises:
            FileNotFoundError: the job's files are gone.
        """

    def files(self, job_id: str, plan: str, scratch: Path) -> JobFiles:
        """Return the files of a plan of a job.

        Args:
            job_id: the job.
            plan: folder of the plan.
            scratch: an empty folder of this machine, for the step.
        """

    def open_result(self, job_id: str, name: str) -> BinaryIO:
        """Open a result for reading at any place.

        Raises:
            FileNotFoundError: it is gone.
        """

    def keep_only(self, job_id: str, name: str) -> None:
        """Remove all of a job's files but its result and its forms."""

    def remove(self, job_id: str) -> None:
        """Remove all files of a job."""

    def jobs(self) -> Iterator[tuple[str, float]]:
        """Yield the jobs that have files, each with its age in seconds."""


@contextlib.contextmanager
def storing() -> Iterator[None]:
    """Translate failures to write into errors that a client may read."""
    try:
        yield
    except OSError as err:
        reason = NO_SPACE if err.errno in (errno.ENOSPC, errno.EDQUOT) else "its results cannot be stored"
        raise FailureError(f"the server failed: {reason}") from err
