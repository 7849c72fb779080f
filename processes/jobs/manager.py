"""The jobs as a pygeoapi process manager: no threads, no engine, nothing but the store.

It is used by this project's own views, and by pygeoapi's own for those that are left. Processes of others run as
pygeoapi itself runs them where it has no manager: at once, and without a job.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from functools import cached_property
from http import HTTPStatus
from typing import Any

import msgspec
from pygeoapi.process.base import (
    BaseProcessor,
    JobNotFoundError,
    JobResultNotFoundError,
    ProcessorExecuteError,
)
from pygeoapi.process.manager.base import BaseManager
from pygeoapi.util import JobStatus as TheirStatus
from pygeoapi.util import RequestedProcessExecutionMode, Subscriber

from processes.errors import FailureError, LimitError, ServiceError
from processes.jobs.intake import Intake
from processes.jobs.job import Job, JobStatus
from processes.jobs.store import JobFilter
from processes.ogc.execution import Execution
from processes.ogc.request import read_request
from processes.plugin import Plugin
from processes.registry import PLUGINS
from processes.settings import Settings

_ALL = 10_000


class JobManager(BaseManager):  # type: ignore[misc] # pygeoapi is not typed
    """Keeps jobs for runners to work on. Nothing is opened before it is needed."""

    def __init__(self, manager_def: Mapping[str, Any]) -> None:
        super().__init__(dict(manager_def))
        self.is_async = True
        self.supports_subscribing = True

    @cached_property
    def intake(self) -> Intake:
        """Return where requests become jobs."""
        for item in self.processes.values():
            if item["processor"].get("name") in PLUGINS:
                return Intake(Settings.from_plugin(item["processor"]))
        raise ValueError("the configuration has none of the processes whose settings say where jobs are kept")

    def get_jobs(
        self, status: TheirStatus | None = None, limit: int | None = None, offset: int | None = None
    ) -> dict[str, Any]:
        """Return jobs as pygeoapi's pages show them, the newest first."""
        wanted = JobFilter(statuses=[status.value] if status is not None else [])
        jobs = self.intake.store.find(wanted, (limit or _ALL) + 1, offset or 0)
        shown = jobs[: limit or _ALL]
        return {"jobs": [_record(job) for job in shown], "numberMatched": (offset or 0) + len(jobs)}

    def get_job(self, job_id: str) -> dict[str, Any]:
        """Return a job as pygeoapi's pages show it."""
        return _record(self._job(job_id))

    def get_job_result(self, job_id: str) -> tuple[str, Any]:
        """Return media type and content of a result."""
        job = self._job(job_id)
        if job.result is None:
            raise JobResultNotFoundError
        with self.intake.storage.open_result(job.id, job.result.name) as file:
            return job.result.media_type, _content(job.result.media_type, file.read())

    def delete_job(self, job_id: str) -> bool:
        """Dismiss a job."""
        try:
            return self.intake.dismiss(job_id) is not None
        except KeyError as err:
            raise JobNotFoundError from err

    def execute_process(
        self,
        process_id: str,
        data_dict: dict[str, Any],
        execution_mode: RequestedProcessExecutionMode | None = None,
        requested_outputs: dict[str, Any] | None = None,
        subscriber: Subscriber | None = None,
        requested_response: str | None = "raw",
    ) -> tuple[str, str, Any, TheirStatus, dict[str, str]]:
        """Execute a process for pygeoapi's own view."""
        plugin = self.get_processor(process_id)
        if not isinstance(plugin, Plugin):
            return self._execute_at_once(plugin, data_dict, requested_outputs)
        is_async = execution_mode == RequestedProcessExecutionMode.respond_async
        try:
            execution = _execution(process_id, plugin, data_dict, requested_outputs, subscriber, not is_async)
            job = self.intake.accept(plugin.process, execution)
            if is_async:
                return job.id, "application/json", None, TheirStatus.accepted, {"Preference-Applied": "respond-async"}
            job = self.intake.wait(job, None, lambda: False)
            if job.status is not JobStatus.SUCCESSFUL:
                raise job.error or FailureError(f"the job was {job.status.value}")
        except ServiceError as err:
            wrong = ProcessorExecuteError(err.detail, user_msg=err.detail)
            wrong.http_status_code = (
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE if isinstance(err, LimitError) else HTTPStatus.BAD_REQUEST
            )
            raise wrong from err
        return job.id, *self.get_job_result(job.id), TheirStatus.successful, {}

    def _job(self, job_id: str) -> Job:
        job = self.intake.store.get(job_id)
        if job is None:
            raise JobNotFoundError
        return job

    def _execute_at_once(
        self, processor: BaseProcessor, inputs: dict[str, Any], outputs: dict[str, Any] | None
    ) -> tuple[str, str, Any, TheirStatus, dict[str, str]]:
        wanted = {"outputs": outputs} if processor.supports_outputs else {}
        media_type, content = processor.execute(inputs, **wanted)
        return str(uuid.uuid4()), media_type, content, TheirStatus.successful, {}


def _execution(
    process_id: str,
    plugin: Plugin,
    inputs: dict[str, Any],
    outputs: dict[str, Any] | None,
    subscriber: Subscriber | None,
    is_awaited: bool,
) -> Execution:
    body: dict[str, Any] = {"inputs": inputs}
    if outputs is not None:
        body["outputs"] = outputs
    if subscriber is not None:
        urls = {
            "successUri": subscriber.success_uri,
            "inProgressUri": subscriber.in_progress_uri,
            "failedUri": subscriber.failed_uri,
        }
        body["subscriber"] = {name: url for name, url in urls.items() if url is not None}
    request = read_request(msgspec.json.encode(body), plugin.process.frame())
    return Execution(
        process_id,
        request,
        client="pygeoapi",
        is_awaited=is_awaited,
        by_reference=request.by_reference,
        max_objects=plugin.settings.limits.sync_max_objects if is_awaited else None,
    )


def _record(job: Job) -> dict[str, Any]:
    """Return a job as pygeoapi's pages take it; of one that has not started they show when it was made."""
    return {
        "type": "process",
        "identifier": job.id,
        "process_id": job.process,
        "status": job.status.value,
        "message": job.message,
        "progress": job.progress,
        "created": job.created.isoformat(),
        "started": (job.started or job.created).isoformat(),
        "updated": job.updated.isoformat(),
        "finished": None if job.finished is None else job.finished.isoformat(),
        "mimetype": "application/json" if job.result is None else job.result.media_type,
        "location": None,
    }


def _content(media_type: str, content: bytes) -> Any:
    """Return a result as pygeoapi's views take it: JSON as values, else bytes."""
    return msgspec.json.decode(content) if media_type == "application/json" else content
