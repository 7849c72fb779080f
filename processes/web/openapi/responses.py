"""Responses of the OpenAPI document: their headers, and those for errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from processes.sources.media_types import JSON, PROBLEM_JSON
from processes.web.openapi.schemas import Schema, ref


def _header(description: str, schema: Schema | None = None) -> dict[str, Any]:
    return {"description": description, "schema": schema or {"type": "string"}}


HEADERS: Mapping[str, dict[str, Any]] = {
    "Location": _header("The job", {"type": "string", "format": "uri"}),
    "Link": _header("RFC 8288: the job, `rel=monitor`, and by reference the output, its id as `rel`"),
    "Preference-Applied": _header("What of `Prefer` was done"),
    "Retry-After": _header("Seconds after which there may be room", {"type": "integer"}),
    "ETag": _header("Changes where the content does"),
    "Last-Modified": _header("When it was made"),
    "Accept-Ranges": _header("Parts can be had", {"type": "string", "enum": ["bytes"]}),
    "Content-Disposition": _header("Name of the file, as the result is called"),
    "Content-Crs": _header("URI of the CRS of the coordinates, in angle brackets (OGC 18-058r1); absent without one"),
    "Content-Range": _header("Which part of the whole it is"),
}

ERRORS: Mapping[int, str] = {
    400: "The request is faulty, or what it points to cannot be used; `errors` lists all that is wrong",
    403: "The configuration does not allow what a link names",
    404: "There is no such job or output, or the job's result is not ready",
    406: "The client takes none of the forms that the result can have",
    408: "The request's body stopped arriving",
    409: "The result name is taken",
    410: "It was dismissed, or its time is over",
    412: "It has another ETag",
    413: "It is over a configured limit, which is named",
    415: "The request's body is of another media type than application/json",
    416: "The part lies beyond the end",
    429: "Too many jobs of this client wait, or its jobs have had as many objects as they may in a day",
    500: "A fault of the server; its log has more",
    503: "Too many jobs or clients wait, or the job store cannot be reached",
}
"""Meaning of each status of an error. 408 and 413 occur only in responses to requests with a body."""

_ERROR_HEADERS: Mapping[int, Sequence[str]] = {416: ["Content-Range"], 429: ["Retry-After"], 503: ["Retry-After"]}


def _error(description: str, headers: Sequence[str]) -> dict[str, Any]:
    content = {media_type: {"schema": ref("schemas", "problem")} for media_type in (JSON, PROBLEM_JSON)}
    return response(description, content, headers)


def response(description: str, content: Mapping[str, Any] | None = None, headers: Sequence[str] = ()) -> dict[str, Any]:
    """Return a response.

    Args:
        description: what the response means.
        content: schema by media type; None = the response has no body.
        headers: names of headers, which are components.
    """
    return (
        {"description": description}
        | ({"headers": {name: ref("headers", name) for name in headers}} if headers else {})
        | ({"content": dict(content)} if content else {})
    )


RESPONSES: Mapping[str, dict[str, Any]] = {
    **{f"error{status}": _error(words, _ERROR_HEADERS.get(status, ())) for status, words in ERRORS.items()},
    "error": _error("Any other error, such as 405, has the same form", ()),
}


def access_responses() -> dict[str, Any]:
    """Return the responses for errors of who asks, of a service that asks who they are."""
    proves_nothing = _error("The request does not say who makes it, or its token is not good", ["WWW-Authenticate"])
    headers = {"WWW-Authenticate": _header("How to say so: `Bearer`")}
    allows_nothing = "The configuration does not allow what a link names, or the role does not allow the request"
    return {"error401": proves_nothing | {"headers": headers}, "error403": _error(allows_nothing, ())}


def error_responses(statuses: Sequence[int]) -> dict[str, dict[str, str]]:
    """Return the responses for errors of these statuses, and for any other error."""
    references = {str(status): ref("responses", f"error{status}") for status in sorted(statuses)}
    return references | {"default": ref("responses", "error")}
