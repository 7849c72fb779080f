"""The views of jobs: their list, one of them, its dismissal, its results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
from flask import Response, request
from pygeoapi.api import API

from processes.access.audit import AuditEvent
from processes.errors import Fault, InputError, RequestError, ServiceError, collect_faults
from processes.features.writing.formats import FORMATS
from processes.jobs.intake import Intake
from processes.jobs.job import Job, JobStatus
from processes.jobs.manager import JobManager
from processes.jobs.status_info import execution_path, status_info
from processes.jobs.store import JobFilter
from processes.ogc.problem import GoneError, NoSuchJobError, NotFoundError
from processes.ogc.schema import quoted
from processes.web.forms import form_response, stored_result
from processes.web.pages import job_page, jobs_page, results_page, wants_page
from processes.web.paging import HTML_FORM, JSON_FORM, ListPage
from processes.web.problem import problem_response
from processes.web.results import job_error, output_response, results_response
from processes.web.styles import STYLES, style_response
from processes.web.views import View, json_response
from processes.web.visible import find_job
from processes.web.who import audit_request, current_person


def jobs_view(api: API) -> View:
    """Return the view of the list of jobs and of one job, which also dismisses a job."""
    manager = cast(JobManager, api.manager)

    def jobs(job_id: str | None = None) -> Response:
        if job_id is None:
            return _list(manager, api)
        if request.method == "DELETE":
            return _dismiss(manager, job_id, api.base_url)
        job = find_job(manager, job_id)
        is_own = current_person().may_see(job.maker)
        document = _job_document(manager, job, api.base_url, is_own)
        return job_page(api, document, is_own) if wants_page() else json_response(document)

    return jobs


def results_view(api: API) -> View:
    """Return the view of a job's results, and of one output."""
    manager = cast(JobManager, api.manager)

    def results(job_id: str, output: str | None = None) -> Response:
        job = find_job(manager, job_id)
        if job.status is JobStatus.FAILED and not job.is_expired:  # the error that a synchronous request would have got
            return problem_response(job_error(job), execution_path(job))
        if job.status is not JobStatus.SUCCESSFUL or job.is_expired:
            raise job_error(job)
        if output is None:
            others = [] if job.result is None or job.response.nothing else [job.result.media_type]
            is_page = wants_page(*others)
            if is_page:
                return results_page(api, job, *offered(manager.intake, job))
            return results_response(manager.intake, job, api.base_url)
        if job.result is not None and output in STYLES:
            return style_response(manager.intake, job, output, api.base_url)
        form = form_response(manager.intake, job, output)
        if form is not None:
            return form
        if job.result is None or output != job.result.output:
            available = "none" if job.result is None else job.result.output
            raise NotFoundError(f"job {job.id} has no output {output!r}; there is {available}")
        return output_response(manager.intake, job)

    return results


def offered(intake: Intake, job: Job) -> tuple[list[dict[str, str]], list[str]]:
    """Return the forms that a result can have, with their endings, and its styles; none where no more is kept."""
    if job.result is None or job.response.nothing:
        return [], []
    try:
        stored = stored_result(intake, job)
    except ServiceError:
        return [], []
    forms = [{"name": item.name, "ending": item.ending} for item in FORMATS if stored.why_not(item) is None]
    styles = [name for name in STYLES if stored.crs is not None and (stored.family is not None or name == "style.json")]
    return forms, styles


def _job_document(manager: JobManager, job: Job, base_url: str, is_own: bool) -> dict[str, Any]:
    """Return a job, with its error if it failed, and with its request if it is of who asks.

    A link that shares a job does not show its request: that names folders, files and subscribers of its maker.
    """
    document = status_info(job, base_url)
    request_text = manager.intake.store.request(job.id) if is_own else None
    if request_text is not None:
        document["request"] = msgspec.Raw(request_text.encode())
    return document


def _dismiss(manager: JobManager, job_id: str, base_url: str) -> Response:
    find_job(manager, job_id, to_change=True)
    try:
        job = manager.intake.dismiss(job_id)
    except KeyError as err:
        raise NoSuchJobError(f"there is no job {job_id!r}") from err
    if job is None:
        raise GoneError(f"the job {job_id} was dismissed already, or its time is over")
    audit_request(AuditEvent.DISMISSAL, job=job_id)
    return json_response(status_info(job, base_url))


def _list(manager: JobManager, api: API) -> Response:
    """Return the list of jobs that match the request's parameters."""
    faults: list[Fault] = []
    page, job_filter, is_page = ListPage.read(faults), _filter(faults), False
    with collect_faults(faults, "/f"):
        is_page = wants_page()
    if faults:
        raise RequestError(faults)
    types = _words("type")
    is_known_type = not types or "process" in types
    matches = manager.intake.store.find(job_filter, page.limit + 1, page.offset) if is_known_type else []
    links = page.links(f"{api.base_url}/jobs", len(matches) > page.limit, HTML_FORM if is_page else JSON_FORM)
    documents = [status_info(job, api.base_url) for job in matches[: page.limit]]
    if not is_page:
        return json_response({"jobs": documents, "links": links})
    chosen = {"status": _words("status"), "process": _words("processID")}
    return jobs_page(api, documents, links, page.offset, chosen)


def _filter(faults: list[Fault]) -> JobFilter:
    statuses = _words("status")
    for status in statuses:
        if status not in list(JobStatus):
            allowed = ", ".join(JobStatus)
            faults.append(Fault("/status", InputError(f"status is {quoted(status)}; it can be {allowed}")))
    created_from, created_to = requested_interval(faults)
    return JobFilter(
        processes=_words("processID"),
        statuses=statuses,
        created_from=created_from,
        created_to=created_to,
        min_duration_s=_seconds("minDuration", faults),
        max_duration_s=_seconds("maxDuration", faults),
        person=current_person(),
    )


def _words(name: str) -> Sequence[str]:
    """Return the values of a parameter; each value may be a list with commas."""
    return [word.strip() for value in request.args.getlist(name) for word in value.split(",") if word.strip()]


def _seconds(name: str, faults: list[Fault]) -> float | None:
    text = request.args.get(name)
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        faults.append(Fault(f"/{name}", InputError(f"{name} is {quoted(text)}, not a number of seconds of 0 or more")))
        return None
    return seconds


def requested_interval(faults: list[Fault]) -> tuple[datetime | None, datetime | None]:
    """Read `datetime`: an instant, or an interval `from/to`, either of which may be open (`..` or nothing)."""
    text = request.args.get("datetime")
    if text is None:
        return None, None
    parts = text.split("/")
    with collect_faults(faults, "/datetime"):
        if len(parts) == 1:
            instant = _time(parts[0])
            return instant, instant
        if len(parts) == 2 and not all(_is_open(part) for part in parts):
            start, end = (None if _is_open(part) else _time(part) for part in parts)
            if start is not None and end is not None and start > end:
                raise InputError(f"datetime is {quoted(text)}, which ends before it begins")
            return start, end
        raise InputError(f"datetime is {quoted(text)}, neither a time nor an interval of two")
    return None, None


def _is_open(text: str) -> bool:
    return text in ("", "..")


def _time(text: str) -> datetime:
    """Read a time of RFC 3339; a date alone is its first moment, a time without zone is UTC."""
    try:
        time = datetime.fromisoformat(text.upper())
        return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    except ValueError as err:
        raise InputError(f"datetime has {quoted(text)}, which is no time as 2026-11-25T12:00:00Z") from err
