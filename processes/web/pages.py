"""Pages for people, by pygeoapi's templates, and one of ours for results.

An operator's own templates change all but that one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Response, request
from pygeoapi.api import API
from pygeoapi.util import DATETIME_FORMAT, render_j2_template

from processes.errors import InputError
from processes.jobs.job import Job
from processes.jobs.status_info import job_url, output_link
from processes.ogc.schema import quoted

_JSON, _HTML = "application/json", "text/html"
_TEMPLATES = {"path": str(Path(__file__).with_name("templates"))}


def wants_page(*others: str) -> bool:
    """Say whether the request wants a page rather than JSON.

    Args:
        others: media types beside JSON that there are instead of a page.

    Raises:
        InputError: its parameter `f` names another form.
    """
    form = request.args.get("f")
    if form is None:
        return request.accept_mimetypes.best_match([_JSON, *others, _HTML], _JSON) == _HTML
    if form not in ("json", "html"):
        raise InputError(f"f is {quoted(form)}; it can be json or html")
    return form == "html"


def jobs_page(api: API, jobs: Sequence[Mapping[str, Any]], links: Sequence[Mapping[str, str]], offset: int) -> Response:
    """Return the page of a list of jobs.

    Args:
        api: pygeoapi's.
        jobs: their statuses.
        links: of the list.
        offset: jobs that are passed over.
    """
    data = {"jobs": {"jobs": list(map(_row, jobs)), "links": links}, "links": links, "offset": offset}
    return _page(api, "jobs/index.html", data, api.config["server"]["templates"])


def job_page(api: API, job: Mapping[str, Any]) -> Response:
    """Return the page of a job, given its status."""
    return _page(api, "jobs/job.html", {"jobs": _row(job)}, api.config["server"]["templates"])


def results_page(api: API, job: Job) -> Response:
    """Return the page of the results of a successful job: where they are, and what was found."""
    data: dict[str, Any] = {"job": job.id, "warnings": [], "tables": []}
    links = [{"href": f"{job_url(job, api.base_url)}/results?f=json", "rel": "alternate", "type": _JSON}]
    if job.result is not None and not job.response.nothing:
        data["output"] = {"id": job.result.output, "size": job.result.size_bytes, **output_link(job, api.base_url)}
    if job.summary is not None:
        data["tables"] = [(name, job.summary[name]) for name in ("counts", "status") if name in job.summary]
        data["warnings"] = job.summary.get("warnings", [])
    return _page(api, "results.html", data | {"links": links}, _TEMPLATES)


def _row(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job's status as the templates take it; of one that has not started they show when it was made."""
    return {"started": job["created"], "finished": None, **job}


def _page(api: API, template: str, data: Mapping[str, Any], templates: Mapping[str, str]) -> Response:
    now = {"now": datetime.now(UTC).strftime(DATETIME_FORMAT)}
    page = render_j2_template(api.tpl_config, templates, template, {**data, **now}, api.default_locale)
    return Response(page, content_type="text/html; charset=utf-8")
