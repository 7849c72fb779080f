"""The views that replace pygeoapi's: execution, and its rehearsal."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import msgspec
from flask import Response, current_app, request
from pygeoapi.api import API

from processes.errors import RequestError, UnavailableError
from processes.jobs.intake import Intake
from processes.jobs.job import Job, JobStatus
from processes.jobs.manager import JobManager
from processes.jobs.status_info import job_url, status_info
from processes.ogc.execution import Execution
from processes.ogc.media_types import Accept, choose_media_type
from processes.ogc.problem import NO_SUCH_PROCESS, HttpError
from processes.ogc.process import Output, Process, SectionedProcess
from processes.ogc.request import Description, ExecuteRequest, media_types, read_request
from processes.ogc.results import blocks_of, results_document
from processes.plugin import Plugin, work_folder
from processes.web.body import read_body
from processes.web.client import client_address
from processes.web.prefer import Preferences
from processes.web.problem import problem
from processes.web.results import job_error, results_response
from processes.web.server import STOPPING

View = Callable[..., Any]
"""A Flask view."""

_JSON = "application/json"


def execute_view(api: API, original: View) -> View:
    """Return the execution view: our processes run by the contract, others by pygeoapi's `original`."""

    def execute(process_id: str) -> Response:
        plugin = _plugin(api, process_id)
        return _execute(api, process_id, plugin) if isinstance(plugin, Plugin) else cast(Response, original(process_id))

    return execute


def validate_view(api: API) -> View:
    """Return the view that says what an execution would come to, without doing it."""

    def validate(process_id: str) -> Response:
        plugin = _plugin(api, process_id)
        if not (isinstance(plugin, Plugin) and isinstance(plugin.process, SectionedProcess)):
            raise HttpError(404, f"requests to {process_id} cannot be validated without executing them")
        choose_media_type([_JSON], _accept())
        # what the client accepts concerns this answer, not the output
        execution, intake = replace(_read(process_id, plugin).execution, accept=()), _intake(api)
        with intake.waiting_permit() as is_permitted:
            if not is_permitted:
                raise UnavailableError("too many clients wait for results; try again later")
            try:
                requirements = intake.validate(plugin.process, execution)
            except RequestError as err:
                raise intake.with_file_faults(plugin.process, execution, err, _is_stopping) from err
            estimate = intake.estimate(plugin.process, execution, requirements, _is_stopping)
        return Response(msgspec.json.encode({"valid": True, **estimate}), content_type=_JSON)

    return validate


@dataclass(frozen=True, slots=True)
class _Asked:
    """An execution, and how its answer is wanted."""

    execution: Execution
    is_async: bool
    wait_s: int | None
    returned: tuple[str, ...]
    """Preferences that an answer with the result applies, beside the waiting."""


def _read(process_id: str, plugin: Plugin) -> _Asked:
    """Read the request.

    Raises:
        ServiceError: it is no execute request, or its answer cannot have a form that the client takes.
    """
    if request.mimetype not in ("", _JSON):
        raise HttpError(415, f"the request is {request.mimetype}; {_JSON} is understood")
    body, description = read_body(request, plugin.settings.limits.max_body_mb), plugin.process.frame()
    execute_request = read_request(body, description)
    preferences = Preferences.parse(request.headers.getlist("Prefer"))
    is_async = preferences.respond_async and "async-execute" in description["jobControlOptions"]
    is_sectioned = isinstance(plugin.process, SectionedProcess)
    if not is_async and execute_request.response == "document":
        choose_media_type([_JSON], _accept())
    wait_s = preferences.wait_s if is_async or is_sectioned else None
    link_will_do = preferences.returns == "minimal" and is_sectioned and not execute_request.says_how
    by_reference = link_will_do or execute_request.by_reference
    is_applied = preferences.returns == ("minimal" if by_reference else "representation")
    execution = Execution(
        process_id=process_id,
        request=execute_request,
        accept=_result_accept(execute_request, description, is_async),
        client=client_address(request, plugin.settings.proxies),
        is_awaited=not is_async or wait_s is not None,
        by_reference=by_reference,
        max_objects=plugin.settings.limits.sync_max_objects if not is_async and wait_s is None else None,
    )
    return _Asked(execution, is_async, wait_s, (f"return={preferences.returns}",) if is_applied else ())


def _execute(api: API, process_id: str, plugin: Plugin) -> Response:
    asked, intake = _read(process_id, plugin), _intake(api)
    process, execution = plugin.process, asked.execution
    if not asked.is_async and execution.response.nothing and not execution.request.faults:
        intake.validate(process, execution)
        return Response(b"{}", content_type=_JSON)
    with intake.waiting_permit() as is_permitted:
        if asked.is_async or asked.wait_s is not None:
            return _respond_in_time(intake, process, asked, asked.wait_s if is_permitted else None, api.base_url)
        if not is_permitted:
            raise UnavailableError("too many clients wait for results; try again later, or send Prefer: respond-async")
        if isinstance(process, SectionedProcess) or execution.by_reference:
            return _with_applied(_respond(intake, process, execution, api.base_url), asked.returned)
        return _answer(plugin, intake.with_subscriber_faults(execution))


def _respond(intake: Intake, process: Process, execution: Execution, base_url: str) -> Response:
    """Run an execution as a job and answer when it has ended."""
    try:
        job = intake.accept(process, execution)
    except RequestError as err:
        raise intake.with_file_faults(process, execution, err, _is_stopping) from err
    return _ended(intake, intake.wait(job, None, _is_stopping), base_url)


def _respond_in_time(intake: Intake, process: Process, asked: _Asked, wait_s: int | None, base_url: str) -> Response:
    """Run an execution as a job and answer with its result if that is there in time, else with the job.

    Args:
        intake: where the execution becomes a job.
        process: that is asked for.
        asked: the execution.
        wait_s: time for the result; None = the job is the answer.
        base_url: of the service.
    """
    job = intake.accept(process, asked.execution)
    waited = []
    if wait_s is not None:
        job = intake.wait(job, wait_s, _is_stopping)
        waited = [f"wait={wait_s}"]
        if job.status.has_ended:
            return _with_applied(_ended(intake, job, base_url), [*waited, *asked.returned])
    document = msgspec.json.encode(status_info(job, base_url))
    response = Response(document, 201, {"Location": job_url(job, base_url)}, content_type=_JSON)
    return _with_applied(response, [*["respond-async"] * asked.is_async, *waited])


def _with_applied(response: Response, applied: Sequence[str]) -> Response:
    """Say in a response which preferences of the client it follows."""
    if applied:
        response.headers["Preference-Applied"] = ", ".join(applied)
    return response


def _ended(intake: Intake, job: Job, base_url: str) -> Response:
    """Return the response of a job that has ended, with a link to it."""
    is_there = job.status is JobStatus.SUCCESSFUL
    response = results_response(intake, job, base_url) if is_there else problem(job_error(job))
    response.headers.add("Link", f'<{job_url(job, base_url)}>; rel="monitor"')
    return response


def _answer(plugin: Plugin, execution: Execution) -> Response:
    """Execute a process here and now and return its output; its files go when the response has been sent."""
    folder = work_folder(plugin.settings)
    try:
        output = plugin.process.execute(execution, Path(folder.name))
    except BaseException:
        folder.cleanup()
        raise
    is_document = execution.response.is_document
    content: bytes | Iterator[bytes] = output.content if isinstance(output.content, bytes) else _blocks(output)
    if is_document:
        content = results_document(output.id, output.media_type, _blocks(output))
    response = Response(content, content_type=_JSON if is_document else output.media_type)
    response.call_on_close(folder.cleanup)
    return response


def _blocks(output: Output) -> Iterator[bytes]:
    return blocks_of(io.BytesIO(output.content) if isinstance(output.content, bytes) else output.content.open("rb"))


def _result_accept(execute_request: ExecuteRequest, description: Description, is_async: bool) -> Accept:
    """Return what the client takes as the output itself.

    In a document it takes anything; and the header of an asynchronous request speaks of its answer, not of the output,
    unless it names a form of that.
    """
    if execute_request.response == "document":
        return ()
    accept = _accept()
    forms = {form for item in description["outputs"].values() for form in media_types(item["schema"])}
    return accept if not is_async or any(item in forms - {_JSON} for item, _ in accept) else ()


def _accept() -> Accept:
    return [(item.split(";")[0].strip().lower(), quality) for item, quality in request.accept_mimetypes]


def _plugin(api: API, process_id: str) -> Any:
    """Return a process's processor, whoever's it is.

    Raises:
        HttpError: there is no such process.
    """
    if process_id not in api.manager.processes:
        known = ", ".join(api.manager.processes)
        raise HttpError(404, f"there is no process {process_id!r}; the processes are {known}", NO_SUCH_PROCESS)
    return api.manager.get_processor(process_id)


def _intake(api: API) -> Intake:
    return cast(JobManager, api.manager).intake


def _is_stopping() -> bool:
    stopping = current_app.extensions.get(STOPPING)
    return stopping is not None and stopping.is_set()
