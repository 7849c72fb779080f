"""The jobs as a pygeoapi process manager: no threads, no engine, nothing but the store.

This project's own views use it, and those views of pygeoapi that they do not replace. Processes of other projects run
as in a pygeoapi without a manager: at once, and without a job.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import msgspec
from pygeoapi.process.base import BaseProcessor, JobNotFoundError, JobResultNotFoundError
from pygeoapi.process.manager.base import BaseManager
from pygeoapi.util import JobStatus as PygeoapiStatus
from pygeoapi.util import RequestedProcessExecutionMode, Subscriber

from processes.errors import FailureError, ServiceError
from processes.jobs.intake import Intake
from processes.jobs.job import Job, JobStatus
from processes.jobs.store import JobFilter
from processes.jobs.struct_types import prepare_struct_types
from processes.ogc.execution import Execution
from processes.ogc.request import read_request
from processes.plugin import WAITS, Plugin, pygeoapi_content, pygeoapi_error
from processes.registry import PLUGINS
from processes.settings import Settings
from processes.sources.media_types import JSON

_MAX_JOBS = 10_000


class JobManager(BaseManager):  # type: ignore[misc] # pygeoapi is not typed
    """Stores jobs, which runners execute. Nothing is opened before it is needed."""

    def __init__(self, manager_def: Mapping[str, Any]) -> None:
        prepare_struct_types()  # the threads of the server come later
        processes = {name: _without_waiting(item) for name, item in manager_def.get("processes", {}).items()}
        super().__init__({**manager_def, "processes": processes})
        self.is_async = True
        self.supports_subscribing = True

    @cached_property
    def intake(self) -> Intake:
        """Return the intake, where requests become jobs."""
        for item in self.processes.values():
            if item["processor"].get("name") in PLUGINS:
                return Intake(Settings.from_plugin(item["processor"]))
        raise ValueError("the configuration has none of the processes whose settings say where jobs are kept")

    def get_jobs(
        self, status: PygeoapiStatus | None = None, limit: int | None = None, offset: int | None = None
    ) -> dict[str, Any]:
        """Return jobs as pygeoapi's pages show them, the newest first.

        Args:
            status: of the jobs; None = any.
            limit: largest number of jobs; None = 10,000.
            offset: number of jobs that are skipped.
        """
        job_filter = JobFilter(statuses=[status.value] if status is not None else [])
        jobs = self.intake.store.find(job_filter, (limit or _MAX_JOBS) + 1, offset or 0)
        page = jobs[: limit or _MAX_JOBS]
        return {"jobs": [_record(job) for job in page], "numberMatched": (offset or 0) + len(jobs)}

    def get_job(self, job_id: str) -> dict[str, Any]:
        """Return a job as pygeoapi's pages show it."""
        return _record(self._job(job_id))

    def get_job_result(self, job_id: str) -> tuple[str, Any]:
        """Return the media type and the content of a result."""
        job = self._job(job_id)
        if job.result is None:
            raise JobResultNotFoundError
        with self.intake.storage.open_result(job.id, job.result.name) as file:
            return job.result.media_type, pygeoapi_content(job.result.media_type, file.read())

    def delete_job(self, job_id: str) -> bool:
        """Dismiss a job; return whether it could still be dismissed."""
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
    ) -> tuple[str, str, Any, PygeoapiStatus, dict[str, str]]:
        """Execute a process for pygeoapi's own view.

        Args:
            process_id: id of the process.
            data_dict: the inputs.
            execution_mode: what `Prefer` names; None = synchronous.
            requested_outputs: `outputs` of the request; None = all.
            subscriber: URLs to call when the job proceeds; None = none.
            requested_response: not used; pygeoapi's view makes the document.

        Returns:
            Id of the job, media type, content, status, headers of the response.

        Raises:
            ProcessorExecuteError: what is wrong with the request, with its status.
        """
        plugin = self.get_processor(process_id)
        if not isinstance(plugin, Plugin):
            return self._execute_at_once(plugin, data_dict, requested_outputs)
        is_async = execution_mode == RequestedProcessExecutionMode.respond_async
        try:
            execution = _execution(process_id, plugin, data_dict, requested_outputs, subscriber, not is_async)
            job = self.intake.accept(plugin.process, execution)
            if is_async:
                return job.id, JSON, None, PygeoapiStatus.accepted, {"Preference-Applied": "respond-async"}
            job = self.intake.wait(job, None, lambda: False)
            if job.status is not JobStatus.SUCCESSFUL:
                raise job.error or FailureError(f"the job was {job.status.value}")
        except ServiceError as err:
            raise pygeoapi_error(err) from err
        return job.id, *self.get_job_result(job.id), PygeoapiStatus.successful, {}

    def _job(self, job_id: str) -> Job:
        job = self.intake.store.get(job_id)
        if job is None:
            raise JobNotFoundError
        return job

    def _execute_at_once(
        self, processor: BaseProcessor, inputs: dict[str, Any], outputs: dict[str, Any] | None
    ) -> tuple[str, str, Any, PygeoapiStatus, dict[str, str]]:
        options = {"outputs": outputs} if processor.supports_outputs else {}
        media_type, content = processor.execute(inputs, **options)
        return str(uuid.uuid4()), media_type, content, PygeoapiStatus.successful, {}


def _without_waiting(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return a process of the configuration whose requests do not wait for the checks of models."""
    processor = resource["processor"]
    return {**resource, "processor": {**processor, WAITS: False} if processor.get("name") in PLUGINS else processor}


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
    """Return a job as pygeoapi's pages take it; for a job that has not started they show when it was created."""
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
        "mimetype": JSON if job.result is None else job.result.media_type,
        "location": None,
    }
