"""The views that execute a process, and that validate a request without executing it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import msgspec
from flask import Response, current_app, request
from pygeoapi.api import API

from processes.access.audit import AuditEvent
from processes.access.person import Role
from processes.errors import RequestError, UnavailableError
from processes.jobs.intake import Intake
from processes.jobs.job import Job, JobStatus
from processes.jobs.manager import JobManager
from processes.jobs.status_info import job_url, status_info
from processes.ogc.execution import Execution
from processes.ogc.media_types import Accept, choose_media_type
from processes.ogc.problem import NoSuchProcessError, NotFoundError, UnsupportedMediaTypeError
from processes.ogc.process import Output, SectionedProcess
from processes.ogc.request import Description, ExecuteRequest, media_types, read_request
from processes.ogc.results import blocks_of, results_document
from processes.plugin import Plugin, work_folder
from processes.sources.media_types import JSON, plain_media_type
from processes.web.body import use_body
from processes.web.prefer import Preferences
from processes.web.problem import problem_response
from processes.web.results import job_error, results_response
from processes.web.views import STOPPING, View, json_response
from processes.web.who import audit_request, current_client, current_person

_MEMORY_WAIT_S = 30
"""Seconds that a large request waits until others have been read."""
_MAX_MEMORY_BYTES = 2**18


def execute_view(api: API, original: View) -> View:
    """Return the execution view: it executes this project's processes, and leaves others to pygeoapi's `original`."""

    def execute(process_id: str) -> Response:
        plugin = _plugin(api, process_id)
        return _execute(api, process_id, plugin) if isinstance(plugin, Plugin) else cast(Response, original(process_id))

    return execute


def validate_view(api: API) -> View:
    """Return the view that validates a request and estimates its execution, without executing it."""

    def validate(process_id: str) -> Response:
        plugin = _plugin(api, process_id)
        if not (isinstance(plugin, Plugin) and isinstance(plugin.process, SectionedProcess)):
            raise NotFoundError(f"requests to {process_id} cannot be validated without executing them")
        choose_media_type([JSON], _accept())
        intake, process = _intake(api), plugin.process
        with intake.waiting_permit(current_client()) as is_permitted:
            if not is_permitted:
                raise UnavailableError("too many clients wait for results; try again later")
            estimate = use_body(
                request,
                plugin.settings,
                _MEMORY_WAIT_S,
                _is_stopping,
                lambda body: _estimate(intake, process, _read(process_id, plugin, body).execution),
            )
        return json_response({"valid": True, **estimate})

    return validate


def _estimate(intake: Intake, process: SectionedProcess, given: Execution) -> Mapping[str, Any]:
    """Validate a request, and return what its execution would take.

    Args:
        intake: which can try it.
        process: that is asked for.
        given: the request; its `Accept` concerns this response, not the output.
    """
    execution = msgspec.structs.replace(given, accept=())
    try:
        requirements = intake.validate(process, execution)
    except RequestError as err:
        raise intake.with_file_faults(process, execution, err, _is_stopping) from err
    return intake.estimate(process, execution, requirements, _is_stopping)


class _WebRequest(msgspec.Struct, frozen=True):
    """An execution, with the client's preferences about the response."""

    execution: Execution
    is_async: bool
    wait_s: int | None
    """Seconds to wait for the result of a job; None = the client does not say."""
    applied: tuple[str, ...]
    """Preferences that a response with the result follows, beside the waiting."""


def _read(process_id: str, plugin: Plugin, body: bytes) -> _WebRequest:
    """Read the request.

    Args:
        process_id: of the process.
        plugin: the process.
        body: the request's body.

    Raises:
        ServiceError: it is not an execute request, or no form of the response is one that the client accepts.
    """
    if request.mimetype not in ("", JSON):
        raise UnsupportedMediaTypeError(f"the request is {request.mimetype}; {JSON} is understood")
    description = plugin.process.frame()
    execute_request = read_request(body, description)
    preferences = Preferences.parse(request.headers.getlist("Prefer"))
    is_async = preferences.respond_async and "async-execute" in description["jobControlOptions"]
    is_sectioned = isinstance(plugin.process, SectionedProcess)
    if not is_async and execute_request.response == "document":
        choose_media_type([JSON], _accept())
    wait_s = preferences.wait_s if is_async or is_sectioned else None
    prefers_link = preferences.returns == "minimal" and is_sectioned and not execute_request.says_how
    by_reference = prefers_link or execute_request.by_reference
    person = current_person()
    is_applied = preferences.returns == ("minimal" if by_reference else "representation")
    execution = Execution(
        process_id=process_id,
        request=execute_request,
        accept=_result_accept(execute_request, description, is_async),
        client=current_client(),
        maker=person.name or None,
        uploads_of=None if person.role is Role.OPERATOR else person.name,
        is_awaited=not is_async or wait_s is not None,
        by_reference=by_reference,
        max_objects=plugin.settings.limits.sync_max_objects if not is_async and wait_s is None else None,
    )
    return _WebRequest(execution, is_async, wait_s, (f"return={preferences.returns}",) if is_applied else ())


class _Begun(msgspec.Struct, frozen=True):
    """A job that a request has become, and the form of its response. The request itself is not kept in memory."""

    job: Job
    is_async: bool
    wait_s: int | None
    """Seconds to wait for the result; None = the response is the job, or the client waits as long as it takes."""
    applied: tuple[str, ...]
    """Preferences that a response with the result follows, beside the waiting."""


def _execute(api: API, process_id: str, plugin: Plugin) -> Response:
    intake = _intake(api)
    with intake.waiting_permit(current_client()) as is_permitted:
        begun = use_body(
            request,
            plugin.settings,
            _MEMORY_WAIT_S if is_permitted else 0,
            _is_stopping,
            lambda body: _begin(intake, process_id, plugin, body, is_permitted),
        )
        told = {} if isinstance(begun, Response) else {"job": begun.job.id}
        audit_request(AuditEvent.EXECUTION, process_id=process_id, **told)
        if isinstance(begun, Response):
            return begun
        if begun.is_async or begun.wait_s is not None:
            return _respond_in_time(intake, begun, begun.wait_s if is_permitted else None, api.base_url)
        job = intake.wait(begun.job, None, _is_stopping)
        return _with_applied(_ended_job_response(intake, job, api.base_url), begun.applied)


def _begin(intake: Intake, process_id: str, plugin: Plugin, body: bytes, is_permitted: bool) -> _Begun | Response:
    """Make a job of the request, or its response where it needs no job.

    Args:
        intake: where the execution becomes a job.
        process_id: of the process.
        plugin: the process.
        body: the request's body.
        is_permitted: whether the client may wait.
    """
    web_request = _read(process_id, plugin, body)
    process, execution = plugin.process, web_request.execution
    if not web_request.is_async and execution.response.nothing and not execution.request.faults:
        intake.validate(process, execution)
        return Response(b"{}", content_type=JSON)
    if web_request.is_async or web_request.wait_s is not None:
        job = intake.accept(process, execution)
        return _Begun(job, web_request.is_async, web_request.wait_s, web_request.applied)
    if not is_permitted:
        raise UnavailableError("too many clients wait for results; try again later, or send Prefer: respond-async")
    if not (isinstance(process, SectionedProcess) or execution.by_reference):
        return _execute_without_job(intake, plugin, intake.with_subscriber_faults(execution))
    try:
        job = intake.accept(process, execution)
    except RequestError as err:
        raise intake.with_file_faults(process, execution, err, _is_stopping) from err
    return _Begun(job, False, None, web_request.applied)


def _respond_in_time(intake: Intake, begun: _Begun, wait_s: int | None, base_url: str) -> Response:
    """Return the result of a job if it ends in time, else the job.

    Args:
        intake: which has the job.
        begun: the job.
        wait_s: seconds to wait for the result; None = the response is the job.
        base_url: URL of the service.
    """
    job, applied = begun.job, []
    if wait_s is not None:
        job = intake.wait(job, wait_s, _is_stopping)
        applied = [f"wait={wait_s}"]
        if job.status.has_ended:
            return _with_applied(_ended_job_response(intake, job, base_url), [*applied, *begun.applied])
    response = json_response(status_info(job, base_url), HTTPStatus.CREATED)
    response.headers["Location"] = job_url(job, base_url)
    return _with_applied(response, [*["respond-async"] * begun.is_async, *applied])


def _with_applied(response: Response, applied: Sequence[str]) -> Response:
    """Return a response with a header that names the preferences it follows."""
    if applied:
        response.headers["Preference-Applied"] = ", ".join(applied)
    return response


def _ended_job_response(intake: Intake, job: Job, base_url: str) -> Response:
    """Return the response of a job that has ended, with a link to it."""
    is_successful = job.status is JobStatus.SUCCESSFUL
    response = results_response(intake, job, base_url) if is_successful else problem_response(job_error(job))
    response.headers.add("Link", f'<{job_url(job, base_url)}>; rel="monitor"')
    return response


def _execute_without_job(intake: Intake, plugin: Plugin, execution: Execution) -> Response:
    """Execute a process in this web process; one that only waits for a while takes one of few permits for that."""
    if not plugin.process.validate(execution).delay_s:
        return _execute_here(plugin, execution)
    with intake.pause_permit(execution.client) as may_pause:
        if not may_pause:
            raise UnavailableError("too many clients ask for a pause; try again later, or send Prefer: respond-async")
        return _execute_here(plugin, execution)


def _execute_here(plugin: Plugin, execution: Execution) -> Response:
    """Execute a process in this web process, and return its output; its files are deleted once the response is sent."""
    folder = work_folder(plugin.settings)
    try:
        output = _in_file(plugin.process.execute(execution, Path(folder.name)), Path(folder.name))
    except BaseException:
        folder.cleanup()
        raise
    is_document = execution.response.is_document
    content: bytes | Iterator[bytes] = output.content if isinstance(output.content, bytes) else _blocks(output)
    if is_document:
        content = results_document(output.id, output.media_type, _blocks(output))
    response = Response(content, content_type=JSON if is_document else output.media_type)
    response.call_on_close(folder.cleanup)
    return response


def _in_file(output: Output, folder: Path) -> Output:
    """Return an output whose content lies in a file if it is large: a client may take it slowly."""
    if not isinstance(output.content, bytes) or len(output.content) <= _MAX_MEMORY_BYTES:
        return output
    path = folder / "output"
    path.write_bytes(output.content)
    return msgspec.structs.replace(output, content=path)


def _blocks(output: Output) -> Iterator[bytes]:
    return blocks_of(io.BytesIO(output.content) if isinstance(output.content, bytes) else output.content.open("rb"))


def _result_accept(execute_request: ExecuteRequest, description: Description, is_async: bool) -> Accept:
    """Return the media types that the client accepts for the output itself.

    In a document every media type is accepted. The header of an asynchronous request concerns the response, not the
    output, unless it names a media type that only the output has.
    """
    if execute_request.response == "document":
        return ()
    accept = _accept()
    forms = {form for item in description["outputs"].values() for form in media_types(item["schema"])}
    return accept if not is_async or any(item in forms - {JSON} for item, _ in accept) else ()


def _accept() -> Accept:
    return [(plain_media_type(item), quality) for item, quality in request.accept_mimetypes]


def _plugin(api: API, process_id: str) -> Any:
    """Return the plugin of a process, of this project or of another.

    Raises:
        NoSuchProcessError: there is no process of that id.
    """
    if process_id not in api.manager.processes:
        process_ids = ", ".join(api.manager.processes)
        raise NoSuchProcessError(f"there is no process {process_id!r}; the processes are {process_ids}")
    return api.manager.get_processor(process_id)


def _intake(api: API) -> Intake:
    return cast(JobManager, api.manager).intake


def _is_stopping() -> bool:
    stopping = current_app.extensions.get(STOPPING)
    return stopping is not None and stopping.is_set()
