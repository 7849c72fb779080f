"""Executing a process: in the request, or as a job that is watched until it has ended."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from qgis.core import QgsFeedback

from .client import Client, Reply
from .problems import ServerError, read_problem

SHORTEST_S: Final = 0.5
LONGEST_S: Final = 5.0
"""Pauses between two questions about a job, the first and the longest."""
LOST_S: Final = 120.0
"""As long may a server be silent before its job is given up."""


@dataclass(frozen=True)
class ExecutionAnswer:
    """What came of an execution."""

    file: Path
    """The body of the answer."""
    media_type: str
    job: str | None
    """Address of the job; None = there is none."""


def execute(
    client: Client, process_id: str, request: Mapping[str, Any], *, as_job: bool, folder: Path, feedback: QgsFeedback
) -> ExecutionAnswer:
    """Execute a process and return its answer.

    Args:
        client: the server.
        process_id: id of the process.
        request: body of the request.
        as_job: whether a job is asked for.
        folder: where the answer is written.
        feedback: is told of messages and progress, and breaks the execution off.

    Raises:
        ServerError: the request is refused, the job fails, or `feedback` is cancelled; then the job is dismissed.
    """
    headers = {"Content-Type": "application/json", **({"Prefer": "respond-async"} if as_job else {})}
    body = json.dumps(request).encode()
    breaks_off = None if as_job else feedback  # so that every job that is made is known
    reply = client.post(client.address("processes", process_id, "execution"), body, headers, breaks_off)
    target = folder / "answer"
    if reply.status == 201 and _job_id(reply):
        job = client.address("jobs", _job_id(reply))
        feedback.pushInfo(f"Job {job}")
        _wait(client, job, feedback)
        reply = client.download(f"{job}/results", target, feedback)
        return ExecutionAnswer(target, reply.media_type, job)
    target.write_bytes(reply.body)
    return ExecutionAnswer(target, reply.media_type, _monitor(client, reply))


def _job_id(reply: Reply) -> str:
    """Return the id of a job that was made; empty = none."""
    try:
        document = reply.json()
    except ServerError:
        document = None
    named = document.get("jobID") if isinstance(document, Mapping) else None
    address = reply.headers.get("location", "").split("?")[0].rstrip("/")
    return str(named or address.rsplit("/", 1)[-1])


def _monitor(client: Client, reply: Reply) -> str | None:
    """Return the job that a finished answer tells of, or None."""
    for link in reply.headers.get("link", "").split(","):
        target, _, rest = link.partition(">")
        if "monitor" in rest:
            return client.address("jobs", target.strip(" <").rstrip("/").rsplit("/", 1)[-1])
    return None


def _wait(client: Client, job: str, feedback: QgsFeedback) -> None:
    """Wait until a job is successful, and tell of it meanwhile."""
    pause, told, last_heard = SHORTEST_S, "", time.monotonic()
    while True:
        if feedback.isCanceled():
            _dismiss(client, job, feedback)
            raise ServerError("cancelled")
        try:
            info = client.get(job).json()
            last_heard = time.monotonic()
        except ServerError as error:
            if 400 <= error.status < 500 or time.monotonic() - last_heard > LOST_S:
                raise
            info = {}  # the job goes on without us
        message = f"{info.get('status', 'no answer')}: {info.get('message') or ''}".rstrip(": ")
        if message != told:
            feedback.pushInfo(message)
            told = message
        feedback.setProgress(float(info.get("progress") or 0))
        if info.get("status") in ("successful", "failed", "dismissed"):
            _finish(client, job, info, feedback)
            return
        _sleep(pause, feedback)
        pause = min(pause * 1.3, LONGEST_S)


def _finish(client: Client, job: str, info: Mapping[str, Any], feedback: QgsFeedback) -> None:
    """Tell of the warnings of a job that has ended, or raise what is wrong with it."""
    if info["status"] == "successful":
        summary = info.get("summary")
        for warning in summary.get("warnings", []) if isinstance(summary, Mapping) else []:
            feedback.pushWarning(str(warning))
        return
    if info["status"] == "failed":
        try:
            client.get(f"{job}/results")
        except ServerError as error:
            if error.faults:
                raise
    raise read_problem(0, json.dumps({"detail": info.get("message") or f"the job is {info['status']}"}).encode())


def _dismiss(client: Client, job: str, feedback: QgsFeedback) -> None:
    try:
        client.delete(job)
    except ServerError as error:
        feedback.reportError(f"The job goes on, the server does not dismiss it: {error}")
    else:
        feedback.pushInfo("The job is dismissed")


def _sleep(pause: float, feedback: QgsFeedback) -> None:
    end = time.monotonic() + pause
    while time.monotonic() < end and not feedback.isCanceled():
        time.sleep(0.05)
