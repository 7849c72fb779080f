"""Errors as documents of RFC 7807. This module alone decides the HTTP status and the type of every error.

Beside the errors of `processes.errors` there are those that only a request by HTTP can cause:

    ServiceError
    ├── NotFoundError                 there is nothing at the path
    │   ├── NoSuchProcessError
    │   ├── NoSuchJobError
    │   └── ResultNotReadyError       the job has not ended yet
    ├── GoneError                     the job was dismissed, or its results have expired
    ├── PreconditionFailedError       the output is not the one that the request's headers name
    ├── UnsupportedMediaTypeError     the request's body is not JSON
    ├── RequestTimeoutError           the request's body stopped arriving
    ├── UriTooLongError               the request line is too long
    ├── HeadersTooLargeError          the request's headers are too large
    ├── ExpectationFailedError        the server does not do what `Expect` names
    └── TransferCodingError           the server cannot read the request's transfer coding
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from processes.errors import (
    ClientQueueFullError,
    ForbiddenError,
    InputError,
    LimitError,
    NameTakenError,
    NotAcceptableError,
    QueueFullError,
    QuotaError,
    RequestError,
    ServiceError,
    UnauthorizedError,
    UnavailableError,
)


class NotFoundError(ServiceError):
    """There is nothing at the path."""


class NoSuchProcessError(NotFoundError):
    """There is no process of that id."""


class NoSuchJobError(NotFoundError):
    """There is no job of that id."""


class ResultNotReadyError(NotFoundError):
    """The job has not ended yet."""


class GoneError(ServiceError):
    """The job was dismissed, or its results have expired."""


class PreconditionFailedError(ServiceError):
    """The output is not the one that the request's headers name."""


class UnsupportedMediaTypeError(ServiceError):
    """The request's body is not JSON."""


class RequestTimeoutError(ServiceError):
    """The request's body stopped arriving."""


class UriTooLongError(ServiceError):
    """The request line is too long."""


class MisdirectedRequestError(ServiceError):
    """The request is for a service of another name."""


class HeadersTooLargeError(ServiceError):
    """The request's headers are too large."""


class ExpectationFailedError(ServiceError):
    """The server does not do what the request's `Expect` header names."""


class TransferCodingError(ServiceError):
    """The server cannot read the request's transfer coding."""


_OGC = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"

_ANSWERS: Mapping[type[ServiceError], tuple[int, str]] = {
    InputError: (400, "InvalidParameterValue"),
    UnauthorizedError: (401, "Unauthorized"),
    ForbiddenError: (403, "Forbidden"),
    NotFoundError: (404, "NotFound"),
    NoSuchProcessError: (404, _OGC + "no-such-process"),
    NoSuchJobError: (404, _OGC + "no-such-job"),
    ResultNotReadyError: (404, _OGC + "result-not-ready"),
    NotAcceptableError: (406, "NotAcceptable"),
    RequestTimeoutError: (408, "RequestTimeout"),
    NameTakenError: (409, "Conflict"),
    GoneError: (410, "Gone"),
    PreconditionFailedError: (412, "PreconditionFailed"),
    LimitError: (413, "TooLarge"),
    UriTooLongError: (414, "InvalidParameterValue"),
    UnsupportedMediaTypeError: (415, "UnsupportedMediaType"),
    ExpectationFailedError: (417, "InvalidParameterValue"),
    MisdirectedRequestError: (421, "MisdirectedRequest"),
    ClientQueueFullError: (429, "TooManyRequests"),
    QuotaError: (429, "TooManyRequests"),
    HeadersTooLargeError: (431, "InvalidParameterValue"),
    ServiceError: (500, "ServerError"),
    TransferCodingError: (501, "ServerError"),
    QueueFullError: (503, "Unavailable"),
    UnavailableError: (503, "Unavailable"),
}
"""Status and type of each error. An error that is not listed has those of its nearest listed base class."""

_TYPES: Mapping[int, str] = {status: name for status, name in _ANSWERS.values() if not name.startswith(_OGC)} | {
    405: "MethodNotAllowed"
}
"""Type of an error of which only the status is known."""

_REFUSALS = (401, 403, 413, 421, 429)
"""Statuses of errors that are refusals."""
_MAX_FAULTS = 1000
"""Faults that a document lists. A request can consist of nothing but faults."""
_MAX_FAULT, _MAX_DETAIL = 2000, 20_000
"""Characters. A fault can quote what the client sent."""


def status_of(error: ServiceError) -> int:
    """Return the HTTP status of an error; for faults of different statuses it is 400."""
    if isinstance(error, RequestError):
        statuses = {status_of(fault.error) for fault in error.faults}
        return statuses.pop() if len(statuses) == 1 else status_of(InputError())
    return _answer(error)[0]


def type_of(error: ServiceError) -> str:
    """Return the type of an error: OGC's URI where there is one, else a word."""
    return _type_of_status(status_of(error)) if isinstance(error, RequestError) else _answer(error)[1]


def is_error(status: int) -> bool:
    """Return whether a response with this HTTP status is an error."""
    return status >= 400


def is_server_fault(status: int) -> bool:
    """Return whether an HTTP status means that the server failed, not the client."""
    return status >= 500


def is_refusal(error: ServiceError) -> bool:
    """Return whether an error says that somebody may not do what they ask for, or not so much of it."""
    return status_of(error) in _REFUSALS or isinstance(error, QueueFullError)


def is_temporary(status: int) -> bool:
    """Return whether the same request may succeed after a while."""
    return status in (429, 503)


def status_document(status: int, detail: str, instance: str) -> dict[str, Any]:
    """Return the body of an error of which only the status is known.

    Args:
        status: HTTP status.
        detail: what is wrong, in words.
        instance: path that the error concerns.
    """
    return _document(status, _type_of_status(status), detail, instance)


def problem_document(error: ServiceError, instance: str) -> dict[str, Any]:
    """Return the body that describes an error.

    Args:
        error: what is wrong.
        instance: path that the error concerns.
    """
    body = _document(status_of(error), type_of(error), error.detail, instance)
    if isinstance(error, RequestError):
        body["errors"] = [
            {"pointer": _cut(fault.pointer, _MAX_FAULT), "detail": _cut(fault.detail, _MAX_FAULT)}
            for fault in error.faults[:_MAX_FAULTS]
        ]
        if (more := len(error.faults) - _MAX_FAULTS) > 0:
            body["errors"].append({"pointer": "", "detail": f"and {more} faults more"})
    return body


def _answer(error: ServiceError) -> tuple[int, str]:
    return next(_ANSWERS[kind] for kind in type(error).__mro__ if kind in _ANSWERS)


def _type_of_status(status: int) -> str:
    return _TYPES.get(status) or ("ServerError" if is_server_fault(status) else "InvalidParameterValue")


def _document(status: int, type_name: str, detail: str, instance: str) -> dict[str, Any]:
    return {
        "type": type_name,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": _cut(detail, _MAX_DETAIL),
        "instance": instance,
    }


def _cut(text: str, max_length: int) -> str:
    return text if len(text) <= max_length else f"{text[:max_length]}…"
