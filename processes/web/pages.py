"""Web pages, from the templates of this package.

They stand in pygeoapi's own place (`server.templates`), so that its views use them too. An operator's own templates
replace them all; those that an operator lacks are then pygeoapi's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from flask import Response, request
from pygeoapi.api import API
from pygeoapi.util import DATETIME_FORMAT, TEMPLATESDIR, render_j2_template

from processes.errors import InputError
from processes.jobs.job import Job, JobStatus
from processes.jobs.status_info import job_url, output_link
from processes.ogc.schema import quoted
from processes.sources.media_types import HTML, JSON, PROBLEM_JSON
from processes.web.roles import DISMISS, EXECUTE, SHARE
from processes.web.visible import layer_id
from processes.web.who import current_person, may, shown_visitor

_TEMPLATES = Path(__file__).with_name("templates")
_BROWSERS = "application/xhtml+xml"
"""What browsers accept where a person opens a page, and no other client."""


def use_own_templates(api: API) -> None:
    """Let pygeoapi's views use the templates of this package, unless an operator has others."""
    for configuration in (api.config, api.tpl_config):
        templates = configuration["server"]["templates"]
        if Path(templates.get("path", TEMPLATESDIR)) == TEMPLATESDIR:
            configuration["server"]["templates"] = {**templates, "path": str(_TEMPLATES)}


def show_visitors(api: API) -> None:
    """Let templates know who makes the request: they call `config['visitor']`."""
    api.tpl_config["visitor"] = shown_visitor


def has_own_templates(api: API) -> bool:
    """Return whether pages are those of this package."""
    return bool(api.config["server"]["templates"]["path"] == str(_TEMPLATES))


def wants_page(*others: str) -> bool:
    """Return whether the request prefers a web page to JSON.

    Args:
        others: media types beside JSON that the response can have.

    Raises:
        InputError: its parameter `f` names another form.
    """
    form = request.args.get("f")
    if form is None:
        return request.accept_mimetypes.best_match([JSON, *others, HTML], JSON) == HTML
    if form not in ("json", "html"):
        raise InputError(f"f is {quoted(form)}; it can be json or html")
    return form == "html"


def wants_error_page() -> bool:
    """Return whether a browser opens the address as a page; programs get errors as JSON."""
    accepted = request.accept_mimetypes
    if request.method != "GET" or _BROWSERS not in accepted.values() or request.args.get("f") == "json":
        return False
    return accepted.best_match([JSON, PROBLEM_JSON, HTML], JSON) == HTML


def page(api: API, template: str, data: Mapping[str, Any]) -> Response:
    """Return a page.

    Args:
        api: pygeoapi's API object.
        template: name of its template.
        data: what the template shows.
    """
    now = {"now": datetime.now(UTC).strftime(DATETIME_FORMAT)}
    templates = api.config["server"]["templates"]
    if not (Path(templates["path"]) / template).exists() and not (Path(TEMPLATESDIR) / template).exists():
        templates = {**templates, "path": str(_TEMPLATES)}
    text = render_j2_template(api.tpl_config, templates, template, {**data, **now}, api.default_locale)
    return Response(text, content_type="text/html; charset=utf-8")


def error_page(api: API, problem: Mapping[str, Any]) -> Response:
    """Return the page of a problem document."""
    response = page(api, "error.html", {"links": [], **problem})
    response.status_code = problem["status"]
    return response


def jobs_page(
    api: API,
    jobs: Sequence[Mapping[str, Any]],
    links: Sequence[Mapping[str, str]],
    offset: int,
    chosen: Mapping[str, Any],
) -> Response:
    """Return the page of a list of jobs.

    Args:
        api: pygeoapi's API object.
        jobs: the `statusInfo` of each job.
        links: links of the list.
        offset: number of jobs before this page.
        chosen: parameters by which the list is filtered.
    """
    choices = {"statuses": [status.value for status in JobStatus], "processes": list(api.manager.processes)}
    data = {"jobs": {"jobs": list(map(_row, jobs)), "links": links}, "links": links, "offset": offset}
    return page(api, "jobs/index.html", {**data, "chosen": chosen, "may_run": may(EXECUTE), **choices})


def job_page(api: API, job: Mapping[str, Any], is_own: bool) -> Response:
    """Return the page of a job.

    Args:
        api: pygeoapi's API object.
        job: its `statusInfo`.
        is_own: whether it is of who asks, who may dismiss and share it, if their role lets them.
    """
    request_text = msgspec.json.format(msgspec.json.encode(job["request"])).decode() if "request" in job else ""
    has_ended = JobStatus(job["status"]).has_ended
    data = {
        "jobs": _row(job),
        "links": [],
        "has_ended": has_ended,
        "request": request_text,
        "may_change": is_own and may(DISMISS),
    }
    return page(api, "jobs/job.html", data)


def results_page(api: API, job: Job, forms: Sequence[Mapping[str, str]] = (), styles: Sequence[str] = ()) -> Response:
    """Return the page of the results of a successful job: links to the output and its forms, the counts, the objects.

    Args:
        api: pygeoapi's API object.
        job: the job.
        forms: `name` and `ending` of the forms that the result can have; none where it has its own alone.
        styles: names of its styles.
    """
    data: dict[str, Any] = {
        "job": job.id,
        "name": job.result_name,
        "collection": layer_id(job),
        "may_share": current_person().may_see(job.maker) and may(SHARE),
        "forms": forms,
        "styles": styles,
        "warnings": [],
        "tables": [],
        "classes": [],
    }
    links = [{"href": f"{job_url(job, api.base_url)}/results?f=json", "rel": "alternate", "type": JSON}]
    if job.result is not None and not job.response.nothing:
        data["output"] = {"id": job.result.output, "size": job.result.size_bytes, **output_link(job, api.base_url)}
    if job.summary is not None:
        data["tables"] = [(name, job.summary[name]) for name in ("counts", "status") if name in job.summary]
        data["warnings"] = job.summary.get("warnings", [])
        data["classes"] = job.summary.get("classes", [])
    return page(api, "results.html", data | {"links": links})


def _row(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return a `statusInfo` as the templates take it; for a job that has not started they show when it was created."""
    times = {name: job[name][:19].replace("T", " ") for name in ("created", "started", "finished") if name in job}
    end = datetime.fromisoformat(job["finished"]) if "finished" in job else datetime.now(UTC)
    took_s = (end - datetime.fromisoformat(job.get("started", job["created"]))).total_seconds()
    return {"started": job["created"], "finished": None, **job, "shown": times, "took": _duration(took_s)}


def _duration(seconds: float) -> str:
    """Return a duration in words, with as much of it as matters."""
    if seconds < 10:
        return f"{max(0, seconds):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"
