"""The parts of the OpenAPI document that are the same for every service: schemas, parameters, headers, errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from processes.jobs.job import JobStatus
from processes.sources.media_types import JSON, PROBLEM_JSON

Schema = dict[str, Any]
"""A schema as OpenAPI 3.0 has it, or a reference to one."""


def ref(kind: str, name: str) -> dict[str, str]:
    """Return a reference to a component, such as `ref("schemas", "link")`."""
    return {"$ref": f"#/components/{kind}/{name}"}


def text(description: str, **more: Any) -> Schema:
    """Return the schema of a text."""
    return {"type": "string", "description": description, **more}


def record(members: Mapping[str, Any], optional: Sequence[str] = (), **more: Any) -> Schema:
    """Return the schema of an object; members are required unless `optional` names them."""
    required = [name for name in members if name not in optional]
    return {"type": "object"} | ({"required": required} if required else {}) | {"properties": dict(members), **more}


def array(items: Mapping[str, Any], **more: Any) -> Schema:
    """Return the schema of an array."""
    return {"type": "array", "items": dict(items), **more}


_NUMBER: Schema = {"type": "integer", "minimum": 0}
_TIME: Schema = {"type": "string", "format": "date-time"}
_TEXTS: Schema = array({"type": "string"})
_COUNTS: Schema = {"type": "object", "additionalProperties": _NUMBER}
_LINKS = array(ref("schemas", "link"))

_LINK = record(
    {
        "href": {"type": "string", "format": "uri"},
        "rel": {"type": "string"},
        "type": {"type": "string"},
        "hreflang": {"type": "string"},
        "title": {"type": "string"},
    },
    optional=("rel", "type", "hreflang", "title"),
)
_PROBLEM = record(
    {
        "type": text("URI of the kind of error in OGC's register, else a word for it", example="InvalidParameterValue"),
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": text("What is wrong, and what would be right"),
        "instance": text("Path that it concerns", example="/processes/classify-objects/execution"),
        "errors": array(
            record(
                {
                    "pointer": text("RFC 6901 pointer from the root of the request's body", example="/inputs/model"),
                    "detail": {"type": "string"},
                }
            ),
            description="Each fault of a faulty request, with its place",
        ),
    },
    optional=("errors",),
    description="RFC 7807",
)
_SUMMARY = record(
    {
        "model": record(
            {"id": {"type": "string"}, "sha256": text("Of all files that labels depend on", pattern="^[0-9a-f]{64}$")}
        ),
        "counts": {**_COUNTS, "description": "Objects of each class"},
        "classes": {
            **array(
                record(
                    {
                        "name": {"type": "string"},
                        "value": {"type": "integer"},
                        "color": text("In which maps and styles show it", pattern="^#[0-9a-f]{6}$"),
                        "count": _NUMBER,
                    }
                )
            ),
            "description": "The model's classes in its order; absent in jobs of version 0.3.0",
        },
        "status": {**_COUNTS, "description": "Objects of each status, `ok` or why there is no label"},
        "crs": text(
            "URI of the CRS of the result's coordinates, which are in x, y order; absent without one", format="uri"
        ),
        "warnings": _TEXTS,
        "software": {"type": "string"},
    },
    optional=("classes", "crs"),
)
_STATUS_INFO = record(
    {
        "jobID": {"type": "string", "format": "uuid"},
        "id": text("As jobID; its name in the draft of version 2.0 of the standard", format="uuid"),
        "processID": {"type": "string"},
        "type": {"type": "string", "enum": ["process"]},
        "processingEntityType": text("As type; its name in that draft", enum=["process"]),
        "status": ref("schemas", "statusCode"),
        "message": text("How it goes, in words", example="4200 of 10000 objects, about 3 minutes left"),
        "progress": {"type": "integer", "minimum": 0, "maximum": 100, "description": "Objects done, in percent"},
        "created": _TIME,
        "started": _TIME,
        "finished": _TIME,
        "updated": _TIME,
        "summary": ref("schemas", "summary"),
        "exception": ref("schemas", "problem"),
        "request": {
            "type": "object",
            "description": "The execute request, without what came within it; at `/jobs/{jobId}` only",
        },
        "links": _LINKS,
    },
    optional=("started", "finished", "summary", "exception", "request"),
)
_PROCESS_SUMMARY = record(
    {
        "id": {"type": "string"},
        "version": {"type": "string"},
        "title": {"type": "string"},
        "description": {"type": "string"},
        "keywords": _TEXTS,
        "jobControlOptions": array({"type": "string", "enum": ["sync-execute", "async-execute", "dismiss"]}),
        "outputTransmission": array({"type": "string", "enum": ["value", "reference"]}),
        "links": _LINKS,
    }
)
_DESCRIBED = {
    "title": {"type": "string"},
    "description": {"type": "string"},
    "schema": {"type": "object", "description": "JSON schema of a value"},
}
_OCCURRENCES = {
    "minOccurs": _NUMBER,
    "maxOccurs": {"oneOf": [{"type": "integer", "minimum": 1}, {"type": "string", "enum": ["unbounded"]}]},
}
_PROCESS = {
    "allOf": [
        ref("schemas", "processSummary"),
        record(
            {
                "inputs": {"type": "object", "additionalProperties": record(_DESCRIBED | _OCCURRENCES)},
                "outputs": {"type": "object", "additionalProperties": record(_DESCRIBED)},
                "example": {"type": "object", "description": "An execute request"},
            },
            optional=("example",),
        ),
    ]
}
_FORECAST = record(
    {
        "valid": {"type": "boolean", "enum": [True]},
        "images": _NUMBER,
        "objects": _NUMBER,
        "sections": {**_NUMBER, "description": "Parts that the work would be cut into"},
        "fields": array(record({"name": {"type": "string"}, "type": {"type": "string"}})),
        "estimatedSeconds": {"type": "number", "minimum": 0},
    },
    description="What a request comes to: size of the work, fields of the result, time",
)
_SUBSCRIBER = record(
    {
        "successUri": text("Gets the results document", format="uri"),
        "inProgressUri": text("Gets the job when it begins", format="uri"),
        "failedUri": text("Gets the job when it has failed", format="uri"),
    },
    optional=("inProgressUri", "failedUri"),
    description="Where the client is told by POST how its job goes; the configuration must allow the hosts",
)

SCHEMAS: Mapping[str, Schema] = {
    "link": _LINK,
    "problem": _PROBLEM,
    "landingPage": record({"title": {"type": "string"}, "description": {"type": "string"}, "links": _LINKS}),
    "conformance": record({"conformsTo": array({"type": "string", "format": "uri"})}),
    "processSummary": _PROCESS_SUMMARY,
    "processList": record({"processes": array(ref("schemas", "processSummary")), "links": _LINKS}),
    "process": _PROCESS,
    "subscriber": _SUBSCRIBER,
    "forecast": _FORECAST,
    "statusCode": {"type": "string", "enum": [status.value for status in JobStatus]},
    "summary": _SUMMARY,
    "statusInfo": _STATUS_INFO,
    "upload": record(
        {
            "href": text(
                "Link that `image` and `features` take", example="upload:0123456789abcdef0123456789abcdef/scene.tif"
            ),
            "name": {"type": "string"},
            "size": {**_NUMBER, "description": "In bytes"},
            "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "expires": {**_TIME, "description": "When it is removed"},
        }
    ),
    "jobList": record({"jobs": array(ref("schemas", "statusInfo")), "links": _LINKS}),
}


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
    "offset": _query("offset", "Entries that are passed over", {**_NUMBER, "default": 0}),
    "type": _query("type", "Jobs of these types", array({"type": "string", "enum": ["process"]})),
    "processID": _query("processID", "Jobs of these processes", _TEXTS),
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
    429: "Too many jobs of this client wait",
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


def error_responses(statuses: Sequence[int]) -> dict[str, dict[str, str]]:
    """Return the responses for errors of these statuses, and for any other error."""
    references = {str(status): ref("responses", f"error{status}") for status in sorted(statuses)}
    return references | {"default": ref("responses", "error")}
