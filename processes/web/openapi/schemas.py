"""Schemas of the OpenAPI document that are the same for every service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from processes.jobs.job import JobStatus

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


OBJECT: Schema = {"type": "object", "additionalProperties": True}
"""An object of any members, which has to be said: else some clients take it for one without any."""
NUMBER: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "string", "format": "date-time"}
TEXTS: Schema = array({"type": "string"})
_COUNTS: Schema = {"type": "object", "additionalProperties": NUMBER}
LINKS = array(ref("schemas", "link"))

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
_FAULT = record(
    {
        "pointer": text("RFC 6901 pointer from the root of the request's body", example="/inputs/model"),
        "detail": {"type": "string"},
    }
)
_PROBLEM = record(
    {
        "type": text("URI of the kind of error in OGC's register, else a word for it", example="InvalidParameterValue"),
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": text("What is wrong, and what would be right"),
        "instance": text("Path that it concerns", example="/processes/classify-objects/execution"),
        "errors": array(ref("schemas", "fault"), description="Each fault of a faulty request, with its place"),
    },
    optional=("errors",),
    description="RFC 7807",
)
_USED_MODEL = record(
    {"id": {"type": "string"}, "sha256": text("Of all files that labels depend on", pattern="^[0-9a-f]{64}$")}
)
_CLASS_COUNT = record(
    {
        "name": {"type": "string"},
        "value": {"type": "integer"},
        "color": text("In which maps and styles show it", pattern="^#[0-9a-f]{6}$"),
        "count": NUMBER,
    }
)
_SUMMARY = record(
    {
        "model": ref("schemas", "usedModel"),
        "counts": {**_COUNTS, "description": "Objects of each class"},
        "classes": array(
            ref("schemas", "classCount"),
            description="The model's classes in its order; absent in jobs of version 0.3.0",
        ),
        "status": {**_COUNTS, "description": "Objects of each status, `ok` or why there is no label"},
        "crs": text(
            "URI of the CRS of the result's coordinates, which are in x, y order; absent without one", format="uri"
        ),
        "warnings": TEXTS,
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
        "created": TIME,
        "started": TIME,
        "finished": TIME,
        "updated": TIME,
        "classes": array(
            ref("schemas", "classCount"), description="What has been found so far, before there is a summary"
        ),
        "summary": ref("schemas", "summary"),
        "exception": ref("schemas", "problem"),
        "request": {
            **OBJECT,
            "description": "The execute request, without what came within it; at `/jobs/{jobId}` only",
        },
        "links": LINKS,
    },
    optional=("started", "finished", "classes", "summary", "exception", "request"),
)
_PROCESS_SUMMARY: Schema = {
    "id": {"type": "string"},
    "version": {"type": "string"},
    "title": {"type": "string"},
    "description": {"type": "string"},
    "keywords": TEXTS,
    "jobControlOptions": array({"type": "string", "enum": ["sync-execute", "async-execute", "dismiss"]}),
    "outputTransmission": array({"type": "string", "enum": ["value", "reference"]}),
    "links": LINKS,
}
_DESCRIBED = {
    "title": {"type": "string"},
    "description": {"type": "string"},
    "schema": {**OBJECT, "description": "JSON schema of a value"},
}
_OCCURRENCES = {"minOccurs": NUMBER, "maxOccurs": ref("schemas", "maxOccurs")}
_PROCESS = record(
    {
        **_PROCESS_SUMMARY,
        "inputs": {"type": "object", "additionalProperties": ref("schemas", "inputDescription")},
        "outputs": {"type": "object", "additionalProperties": ref("schemas", "outputDescription")},
        "example": {**OBJECT, "description": "An execute request"},
    },
    optional=("example",),
)
_GEOJSON = record(
    {"type": {"type": "string", "enum": ["FeatureCollection"]}, "features": array(OBJECT)},
    additionalProperties=True,
    format="geojson-feature-collection",
)
_FORECAST = record(
    {
        "valid": {"type": "boolean", "enum": [True]},
        "images": NUMBER,
        "objects": NUMBER,
        "sections": {**NUMBER, "description": "Parts that the work would be cut into"},
        "fields": array(ref("schemas", "resultField")),
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
    "fault": _FAULT,
    "problem": _PROBLEM,
    "landingPage": record({"title": {"type": "string"}, "description": {"type": "string"}, "links": LINKS}),
    "conformance": record({"conformsTo": array({"type": "string", "format": "uri"})}),
    "processSummary": record(_PROCESS_SUMMARY),
    "processList": record({"processes": array(ref("schemas", "processSummary")), "links": LINKS}),
    "maxOccurs": {"oneOf": [{"type": "integer", "minimum": 1}, {"type": "string", "enum": ["unbounded"]}]},
    "inputDescription": record(_DESCRIBED | _OCCURRENCES),
    "outputDescription": record(_DESCRIBED),
    "process": _PROCESS,
    "geojsonFeatureCollection": _GEOJSON,
    "subscriber": _SUBSCRIBER,
    "resultField": record({"name": {"type": "string"}, "type": {"type": "string"}}),
    "forecast": _FORECAST,
    "statusCode": {"type": "string", "enum": [status.value for status in JobStatus]},
    "usedModel": _USED_MODEL,
    "classCount": _CLASS_COUNT,
    "summary": _SUMMARY,
    "statusInfo": _STATUS_INFO,
    "upload": record(
        {
            "href": text(
                "Link that `image` and `features` take", example="upload:0123456789abcdef0123456789abcdef/scene.tif"
            ),
            "name": {"type": "string"},
            "size": {**NUMBER, "description": "In bytes"},
            "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "expires": {**TIME, "description": "When it is removed"},
        }
    ),
    "health": record(
        {"status": {"type": "string", "enum": ["ok"]}}
        | {name: {"type": "string"} for name in ("store", "runner", "disk")}
    ),
    "jobList": record({"jobs": array(ref("schemas", "statusInfo")), "links": LINKS}),
}
