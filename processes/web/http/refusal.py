"""Responses to what never becomes a request of the application. They have the form of its errors."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from gunicorn.asgi import parser
from gunicorn.http import errors

from processes.errors import FailureError, InputError, ServiceError, UnavailableError
from processes.ogc.problem import (
    ExpectationFailedError,
    HeadersTooLargeError,
    TransferCodingError,
    UriTooLongError,
    is_temporary,
    problem_document,
)
from processes.sources.media_types import JSON
from processes.web.problem import RETRY_AFTER_S

_logger = logging.getLogger(__name__)

MAX_REQUEST_LINE_BYTES = 8190

_CLIENT_ERRORS: Mapping[type[Exception], ServiceError] = {
    parser.LimitRequestLine: UriTooLongError(f"the request line is longer than {MAX_REQUEST_LINE_BYTES} bytes"),
    parser.LimitRequestHeaders: HeadersTooLargeError("the request's headers are too large"),
    parser.UnsupportedTransferCoding: TransferCodingError("the transfer coding is not supported"),
    parser.InvalidChunkSize: InputError("the request's body is not encoded as its headers say"),
    parser.InvalidChunkExtension: InputError("the request's body is not encoded as its headers say"),
    parser.ChunkMissingTerminator: InputError("the request's body is not encoded as its headers say"),
    errors.ExpectationFailed: ExpectationFailedError("the expectation cannot be met"),
    parser.ParseError: InputError("the request is not HTTP as this server understands it"),
    errors.ParseException: InputError("the request is not HTTP as this server understands it"),
    OSError: UnavailableError("the server has no room for the request's body; try again later"),
}
"""The error that a client gets for each of gunicorn's; subclasses stand before their bases."""


def client_error(error: Exception) -> ServiceError:
    """Return what a client is told of an error that occurred outside the application."""
    if isinstance(error, ServiceError):
        return error
    found = next((found for kind, found in _CLIENT_ERRORS.items() if isinstance(error, kind)), None)
    if found is None or isinstance(error, OSError):
        _logger.error("request failed outside the application", exc_info=error)
    return found or FailureError("the server failed at this request")


def refusal(error: Exception, path: str) -> bytes:
    """Return the response to an error that occurred outside the application, after which the connection ends.

    Args:
        error: the error.
        path: path of the request, as far as it is known.
    """
    document = problem_document(client_error(error), path)
    status, body = document["status"], msgspec.json.encode(document)
    head = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Connection: close",
        f"Content-Type: {JSON}",
        f"Content-Length: {len(body)}",
    ]
    if is_temporary(status):
        head.append(f"Retry-After: {RETRY_AFTER_S}")
    return "\r\n".join([*head, "\r\n"]).encode() + body
