"""Errors as documents: one table of statuses, one form, RFC 7807 with OGC's exception types where there are some."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from processes.errors import (
    ClientQueueFullError,
    FailureError,
    ForbiddenError,
    InputError,
    LimitError,
    NameTakenError,
    NotAcceptableError,
    QueueFullError,
    RequestError,
    ServiceError,
    UnavailableError,
)

OGC_EXCEPTIONS = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
NO_SUCH_PROCESS = OGC_EXCEPTIONS + "no-such-process"
NO_SUCH_JOB = OGC_EXCEPTIONS + "no-such-job"
RESULT_NOT_READY = OGC_EXCEPTIONS + "result-not-ready"

_STATUSES: Mapping[type[ServiceError], int] = {
    InputError: 400,
    ForbiddenError: 403,
    NotAcceptableError: 406,
    NameTakenError: 409,
    ClientQueueFullError: 429,
    QueueFullError: 503,
    LimitError: 413,
    FailureError: 500,
    UnavailableError: 503,
}
"""The first kind that an error is of counts."""
_TYPES: Mapping[int, str] = {
    400: "InvalidParameterValue",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    408: "RequestTimeout",
    409: "Conflict",
    410: "Gone",
    412: "PreconditionFailed",
    413: "TooLarge",
    415: "UnsupportedMediaType",
    429: "TooManyRequests",
    500: "ServerError",
    503: "Unavailable",
}

_MAX_FAULTS = 1000
_MAX_FAULT, _MAX_DETAIL = 2000, 20_000
"""Characters; a request can be made of nothing but faults, and a fault may name what the client sent."""


class HttpError(ServiceError):
    """A fault of which only HTTP can tell: of method, headers or path."""

    def __init__(self, status: int, detail: str, type_uri: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.type_uri = type_uri


def status_of(error: ServiceError) -> int:
    """Return the HTTP status of an error; of faults of different statuses it is 400."""
    if isinstance(error, HttpError):
        return error.status
    if isinstance(error, RequestError):
        statuses = {status_of(fault.error) for fault in error.faults}
        return statuses.pop() if len(statuses) == 1 else 400
    return next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 500)


def document(status: int, detail: str, instance: str, type_uri: str | None = None) -> dict[str, Any]:
    """Return the body of an error."""
    return {
        "type": type_uri or _TYPES.get(status, "InvalidParameterValue" if status < 500 else "ServerError"),
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": _cut(detail, _MAX_DETAIL),
        "instance": instance,
    }


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def problem_document(error: ServiceError, instance: str) -> dict[str, Any]:
    """Return the body that tells of an error.

    Args:
        error: what is wrong.
        instance: path that it concerns.
    """
    type_uri = error.type_uri if isinstance(error, HttpError) else None
    body = document(status_of(error), error.detail, instance, type_uri)
    if isinstance(error, RequestError):
        body["errors"] = [
            {"pointer": _cut(fault.pointer, _MAX_FAULT), "detail": _cut(fault.detail, _MAX_FAULT)}
            for fault in error.faults[:_MAX_FAULTS]
        ]
        if (more := len(error.faults) - _MAX_FAULTS) > 0:
            body["errors"].append({"pointer": "", "detail": f"and {more} faults more"})
    return body
