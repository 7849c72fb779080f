"""All errors of this package, in one tree.

ProcessesError
├── NoAnswer           the server could not be reached, or did not answer in time
├── UnexpectedAnswer   it answered, but not as OGC API - Processes says
├── RequestRefused     it answered with an error; `faults` say what is wrong, and where
├── JobFailed          the job ended without a result
├── JobDismissed       somebody stopped the job
├── WaitTimeout        the job has not ended in the time that was given; it goes on
└── MissingExtra       a package that is optional is needed, and is not installed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class ProcessesError(Exception):
    """Any error of this package."""


class NoAnswer(ProcessesError):
    """The server could not be reached, or did not answer in time."""


class UnexpectedAnswer(ProcessesError):
    """The server answered, but not as OGC API - Processes says."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a part of a request."""

    pointer: str
    """RFC 6901 pointer into the request, such as `/inputs/model`."""
    detail: str
    """What is wrong there."""


class RequestRefused(ProcessesError):
    """The server answered with an error.

    Args:
        status: HTTP status.
        problem: the answer's body, if it is a JSON object (RFC 7807).
    """

    def __init__(self, status: int, problem: Mapping[str, Any] | None = None) -> None:
        self.status = status
        self.problem = dict(problem or {})
        self.detail = detail_of(self.problem) or f"the server answered with status {status}"
        self.faults = faults_of(self.problem)
        lines = [f"{fault.pointer}: {fault.detail}" for fault in self.faults]
        super().__init__("\n".join(lines or [f"{status}: {self.detail}"]))


class JobFailed(ProcessesError):
    """A job ended without a result.

    Args:
        job_id: id of the job.
        message: why, in the server's words.
        problem: the server's error document; empty if it gives none.
    """

    def __init__(self, job_id: str, message: str, problem: Mapping[str, Any] | None = None) -> None:
        self.job_id = job_id
        self.problem = dict(problem or {})
        self.faults = faults_of(self.problem)
        super().__init__(f"job {job_id} failed: {detail_of(self.problem) or message or 'the server does not say why'}")


class JobDismissed(ProcessesError):
    """A job was stopped before it ended."""


class WaitTimeout(ProcessesError, TimeoutError):
    """A job has not ended in the time that was given. It goes on."""


class MissingExtra(ProcessesError, ImportError):
    """A package that is optional is needed, and is not installed."""


def detail_of(problem: Mapping[str, Any]) -> str:
    """Return what an error document says, as far as it says anything; some have nothing but the URI of their type."""
    found = (problem.get(name) for name in ("detail", "description", "title", "type"))
    return next((text for text in found if isinstance(text, str) and text not in ("", "about:blank")), "")


def faults_of(problem: Mapping[str, Any]) -> tuple[Fault, ...]:
    """Return the faults that an error document lists."""
    listed = problem.get("errors")
    return tuple(
        Fault(str(item["pointer"]), str(item.get("detail", "")))
        for item in (listed if isinstance(listed, list) else ())
        if isinstance(item, dict) and "pointer" in item
    )
