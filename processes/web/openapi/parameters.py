"""Parameters of the OpenAPI document that several operations have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from processes.web.openapi.schemas import NUMBER, TEXTS, Schema, array, ref


def _parameter(location: str, name: str, description: str, schema: Schema, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": location, "description": description, **more, "schema": schema}


def _query(name: str, description: str, schema: Schema, **more: Any) -> dict[str, Any]:
    """Return a query parameter; a list is separated by commas."""
    style = {"style": "form", "explode": False} if schema["type"] == "array" else {}
    return _parameter("query", name, description, schema, **style, **more)


PARAMETERS: Mapping[str, dict[str, Any]] = {
    "jobId": _parameter("path", "jobId", "Id of a job", {"type": "string", "format": "uuid"}, required=True),
    "objectId": _parameter(
        "path",
        "objectId",
        "Id of an object, its position from 1 where it has none",
        {"type": "string", "minLength": 1},
        required=True,
    ),
    "f": _query("f", "Form of the answer; it goes before `Accept`", {"type": "string", "enum": ["json", "html"]}),
    "fWithLd": _query(
        "f", "Form of the answer; it goes before `Accept`", {"type": "string", "enum": ["json", "html", "jsonld"]}
    ),
    "limit": _query(
        "limit",
        "At most so many entries; more than the maximum is the maximum",
        {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 10},
        required=False,  # as it is by default; OGC's tests want to read it, and how the value is written
        style="form",
        explode=False,
    ),
    "offset": _query("offset", "Entries that are passed over", {**NUMBER, "default": 0}),
    "type": _query("type", "Jobs of these types", array({"type": "string", "enum": ["process"]})),
    "processID": _query("processID", "Jobs of these processes", TEXTS),
    "status": _query("status", "Jobs of these statuses", array(ref("schemas", "statusCode"))),
    "datetime": _query(
        "datetime",
        "Jobs made at this time, or in this interval `from/to`, either of which may be open (`..` or nothing)",
        {"type": "string"},
        example="2026-11-01T00:00:00Z/..",
    ),
    "minDuration": _query("minDuration", "Jobs that took so many seconds or more", {"type": "number", "minimum": 0}),
    "maxDuration": _query("maxDuration", "Jobs that took so many seconds or less", {"type": "number", "minimum": 0}),
    "ui": _query("ui", "Viewer of the web page", {"type": "string", "enum": ["swagger", "redoc"]}),
    "Prefer": _parameter(
        "header",
        "Prefer",
        "RFC 7240: `respond-async` asks for a job, `wait=N` for the result if it is there within N seconds, else for "
        "the job; `return=minimal` asks for a link in place of the result, `return=representation` for the result. "
        "What was done stands in `Preference-Applied`",
        {"type": "string"},
        example="respond-async, wait=10",
    ),
    "Range": _parameter("header", "Range", "Part that is wanted", {"type": "string"}, example="bytes=0-1023"),
    "If-Range": _parameter(
        "header", "If-Range", "ETag of which a part is wanted; of another one it is all", {"type": "string"}
    ),
    "If-None-Match": _parameter(
        "header", "If-None-Match", "ETag that the client has; then the answer is 304", {"type": "string"}
    ),
    "If-Match": _parameter("header", "If-Match", "ETag that it must be; else the answer is 412", {"type": "string"}),
    "If-Modified-Since": _parameter(
        "header", "If-Modified-Since", "Time of what the client has; of that the answer is 304", {"type": "string"}
    ),
    "If-Unmodified-Since": _parameter(
        "header",
        "If-Unmodified-Since",
        "Time after which it must not be made; else the answer is 412",
        {"type": "string"},
    ),
}
