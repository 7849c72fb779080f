"""A job's progress as server-sent events.

An answer is at most one event and ends at once; it tells the client to ask again a second later, as an `EventSource`
does by itself. A stream that stayed open would hold a thread for each page that somebody left open, and a few hundred
of them would stop the service; so the cost of a page is one short request a second, and an idle service stays idle. The
id of an event says what the client has seen: nothing new is an answer without an event, and after the end it is a 204,
at which an `EventSource` stops.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import cast

import msgspec
from flask import Response, request
from pygeoapi.api import API

from processes.jobs.manager import JobManager
from processes.jobs.status_info import status_info
from processes.web.views import View
from processes.web.visible import find_job

EVENTS = "text/event-stream"
_AGAIN_MS = 1000


def events_view(api: API) -> View:
    """Return the view of a job's events."""

    def events(job_id: str) -> Response:
        job = find_job(cast(JobManager, api.manager), job_id)
        state = f"{job.status.value}-{job.updated.timestamp():.6f}"
        is_seen = request.headers.get("Last-Event-ID") == state
        if is_seen and job.status.has_ended:
            return Response(status=HTTPStatus.NO_CONTENT)
        text = f"retry: {_AGAIN_MS}\n\n"
        if not is_seen:
            document = msgspec.json.encode(status_info(job, api.base_url)).decode()
            text += f"id: {state}\nevent: status\ndata: {document}\n\n"
        response = Response(text, content_type=f"{EVENTS}; charset=utf-8")
        response.cache_control.no_store = True
        return response

    return events
