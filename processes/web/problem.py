"""Errors as responses of the web application."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from flask import Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from processes.errors import ServiceError
from processes.ogc.problem import is_server_fault, is_temporary, problem_document, status_document
from processes.sources.media_types import JSON, PROBLEM_JSON, plain_media_type

_KEPT_HEADERS = ("Allow", "Retry-After", "Content-Range")
RETRY_AFTER_S = 5
"""Seconds after which a client may try again."""


class ProblemResponse(Response):
    """A response that already has the form of the contract."""


def problem_response(
    error: ServiceError, instance: str | None = None, members: Mapping[str, Any] | None = None
) -> ProblemResponse:
    """Return the response to an error.

    Args:
        error: what is wrong.
        instance: path that the error concerns; None = the request's own.
        members: further members of the document; None = none.
    """
    body = problem_document(error, instance or request.path) | dict(members or {})
    return _response(body, _headers_of(body["status"]))


def http_exception_response(error: HTTPException) -> ProblemResponse:
    """Return the response to an error that Flask found, such as an unknown path or a wrong method."""
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    match error:
        case NotFound():
            detail = f"there is nothing at {request.path}"
        case MethodNotAllowed():
            detail = f"the method {request.method} is not allowed at {request.path}"
        case _:
            detail = HTTPStatus(status).description or HTTPStatus(status).phrase
    headers = {name: value for name, value in error.get_headers() if name in _KEPT_HEADERS}
    return _response(status_document(status, detail, request.path), headers)


def pygeoapi_error_response(response: Response) -> ProblemResponse:
    """Return an error response of one of pygeoapi's own views in the form of the contract."""
    status = response.status_code
    detail = _description(response) or HTTPStatus(status).phrase
    return _response(status_document(status, detail, request.path), {})


def _headers_of(status: int) -> dict[str, str]:
    """Return what an answer of a status says beside its body."""
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": "Bearer"}
    return {"Retry-After": str(RETRY_AFTER_S)} if is_temporary(status) else {}


def _description(response: Response) -> str | None:
    """Return the words of pygeoapi's error document; None = there are none, or they may reveal something internal."""
    if is_server_fault(response.status_code):
        return None
    try:
        body = msgspec.json.decode(response.get_data())
    except (msgspec.DecodeError, RuntimeError):
        return None
    text = body.get("description") if isinstance(body, dict) else None
    return text if isinstance(text, str) else None


def _response(body: Mapping[str, Any], headers: Mapping[str, str]) -> ProblemResponse:
    return ProblemResponse(msgspec.json.encode(body), body["status"], dict(headers), content_type=_media_type())


def _media_type() -> str:
    """Return `application/problem+json` where the client names it, else plain JSON."""
    accepted = (plain_media_type(item) for item, quality in request.accept_mimetypes if quality > 0)
    return PROBLEM_JSON if PROBLEM_JSON in accepted else JSON
