"""Links that share a job: made, listed and revoked by its maker, and followed by anybody who has one.

A link is the address of the job with a secret in its query, which no log has. A browser that follows it gets the secret
as a cookie for the addresses of that job alone, and goes on without it in the address; a program may add it to each
address of the job.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote, urlencode, urlsplit

from flask import Response, g, request
from pygeoapi.api import API

from processes.access.audit import AuditEvent
from processes.jobs.manager import JobManager
from processes.jobs.shares import Share, Shares
from processes.jobs.status_info import job_url, rfc3339
from processes.ogc.problem import GoneError, NotFoundError
from processes.web.pages import wants_error_page
from processes.web.views import View, json_response
from processes.web.visible import SHARE, SHARED_JOB, find_job
from processes.web.who import audit_request

SHARED = frozenset(
    {
        "pygeoapi.get_jobs",
        "pygeoapi.get_job_result",
        "job_output",
        "job_events",
        "chip",
        "map",
        "object_tile",
        "imagery_tile",
        "review",
        "pygeoapi.collections",
        "pygeoapi.collection_items",
    }
)
"""Endpoints that a link opens for reading, to those who need no name then."""


def shares_view(api: API) -> View:
    """Return the view of the links to a job, which makes and revokes them."""
    manager = cast(JobManager, api.manager)

    def shares(job_id: str, share_id: str | None = None) -> Response:
        job = find_job(manager, job_id, to_change=True)
        known = Shares(manager.intake.database)
        if share_id is not None:
            if not known.revoke(job.id, share_id):
                raise NotFoundError(f"there is no link {share_id!r} to job {job.id}")
            audit_request(AuditEvent.SHARE_REVOKED, job=job.id, share=share_id)
            return Response(status=HTTPStatus.NO_CONTENT)
        if request.method != "POST":
            return json_response({"shares": [_document(item) for item in known.of(job.id)]})
        try:
            made, secret = known.make(job.id)
        except KeyError as err:
            raise GoneError(f"the job {job.id} was dismissed, or its time is over") from err
        audit_request(AuditEvent.SHARE, job=job.id, share=made.id)
        url = job_url(job, api.base_url)
        response = json_response(_document(made) | {"href": f"{url}?{urlencode({SHARE: secret})}"}, HTTPStatus.CREATED)
        response.headers["Location"] = f"{url}/shares/{made.id}"
        response.cache_control.no_store = True
        return response

    return shares


def share_reader(api: API) -> Callable[[], Response | None]:
    """Return what reads the secret of a request, before the request is answered: it may read that job then."""
    manager = cast(JobManager, api.manager)

    def read() -> Response | None:
        if request.method not in ("GET", "HEAD") or request.endpoint not in SHARED:
            return None
        names = request.view_args
        if not names or names.get("collection_id") in api.config["resources"]:
            return None  # a list, or a collection of the configuration, which is of nobody's job
        in_address = request.args.get(SHARE)
        secret = in_address or request.cookies.get(SHARE)
        job_id = Shares(manager.intake.database).job_of(secret) if secret else None
        if job_id is None:
            return None
        setattr(g, SHARED_JOB, job_id)
        return _without_secret(api, job_id, in_address) if in_address and wants_error_page() else None

    return read


def keep_shared_private(response: Response) -> Response:
    """Return a response, which nobody but its reader keeps or tells others of where a link opened it."""
    if SHARED_JOB in g:
        response.headers["Referrer-Policy"] = "no-referrer"
        response.cache_control.private = True
    return response


def _without_secret(api: API, job_id: str, secret: str) -> Response:
    """Return the redirection of a browser to the same page, with the secret as a cookie instead of in its address."""
    others = [(name, value) for name, value in request.args.items(multi=True) if name != SHARE]
    page = quote(request.path.rpartition("/")[2]) or "."  # a relative address: the service may stand below a folder
    response = Response(status=HTTPStatus.SEE_OTHER, headers={"Location": f"{page}?{urlencode(others)}".rstrip("?")})
    base = urlsplit(api.base_url)
    for folder in ("jobs", "collections"):
        response.set_cookie(
            SHARE,
            secret,
            path=f"{base.path.rstrip('/')}/{folder}/{job_id}",
            secure=base.scheme == "https",
            httponly=True,
            samesite="Lax",
        )
    response.cache_control.no_store = True
    return response


def _document(share: Share) -> dict[str, Any]:
    return {"id": share.id, "created": rfc3339(share.created)}
