"""Errors as responses of the web application."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from flask import Request, Response, request
from werkzeug.exceptions import HTTPException

from processes.errors import ServiceError
from processes.ogc.problem import document, problem_document

_KEPT_HEADERS = ("Allow", "Retry-After", "Content-Range")
_RETRY_AFTER_S = 5


class ProblemResponse(Response):
    """A response that has the form of the contract already."""


def problem(error: ServiceError, instance: str | None = None) -> ProblemResponse:
    """Return the response to an error.

    Args:
        error: what is wrong.
        instance: path that it concerns; None = the request's own.
    """
    body = problem_document(error, instance or request.path)
    return _response(body, {"Retry-After": str(_RETRY_AFTER_S)} if body["status"] in (429, 503) else {})


def from_http(error: HTTPException) -> ProblemResponse:
    """Return the response to an error that Flask found: an unknown path, a wrong method."""
    status = error.code or 500
    details = {
        404: f"there is nothing at {request.path}",
        405: f"the method {request.method} is not allowed at {request.path}",
    }
    headers = {name: value for name, value in error.get_headers() if name in _KEPT_HEADERS}
    return _response(
        document(
            status, details.get(status, HTTPStatus(status).description or HTTPStatus(status).phrase), request.path
        ),
        headers,
    )


def from_view(response: Response, type_uri: str | None, detail: str | None) -> ProblemResponse:
    """Return a response of 400 or more of pygeoapi's own views in the form of the contract."""
    found = _description(response)
    status = response.status_code
    return _response(document(status, detail or found or HTTPStatus(status).phrase, request.path, type_uri), {})


def _description(response: Response) -> str | None:
    """Return the words of pygeoapi's error document; they may name what the client named, and nothing of ours."""
    if response.status_code >= 500:
        return None
    try:
        body = msgspec.json.decode(response.get_data())
    except (msgspec.DecodeError, RuntimeError):
        return None
    text = body.get("description") if isinstance(body, dict) else None
    return text if isinstance(text, str) else None


def _response(body: Mapping[str, Any], headers: Mapping[str, str]) -> ProblemResponse:
    return ProblemResponse(msgspec.json.encode(body), body["status"], dict(headers), content_type=_media_type(request))


def _media_type(request: Request) -> str:
    """`application/problem+json` where the client names it, else plain JSON."""
    named = (item.partition(";")[0].strip().lower() for item, quality in request.accept_mimetypes if quality > 0)
    return "application/problem+json" if "application/problem+json" in named else "application/json"
