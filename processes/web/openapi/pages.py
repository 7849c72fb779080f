"""Paths of the OpenAPI document that forms and pages use: uploads, allowed folders, models, events of jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from processes.sources.media_types import HTML, JSON
from processes.web.openapi.responses import error_responses, response
from processes.web.openapi.schemas import NUMBER, OBJECT, Schema, array, record, ref, text

_UPLOAD = {JSON: {"schema": ref("schemas", "upload")}}
_FILE = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_NAME = {
    "name": "Content-Disposition",
    "in": "header",
    "description": "Name of the file; its ending tells some formats apart",
    "schema": {"type": "string"},
    "example": 'attachment; filename="scene.tif"',
}
_ID = {
    "name": "uploadId",
    "in": "path",
    "required": True,
    "description": "Id of an upload",
    "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
}
_ENTRY = {"name": {"type": "string"}, "href": text("Link to it", format="uri")}
_FOLDER = {
    "name": "folder",
    "in": "query",
    "description": "`file:` link to a folder; without it, the folders that the configuration allows",
    "schema": {"type": "string", "format": "uri"},
}
_CLASS = {"name": {"type": "string"}, "value": {"type": "integer"}, "color": {"type": "string"}}
_MODEL = record(
    {
        "id": {"type": "string"},
        "isUsable": {"type": "boolean"},
        "problem": text("Why it cannot be used"),
        "sha256": {"type": "string"},
        "warnings": array({"type": "string"}),
        "classes": array(ref("schemas", "modelClass")),
        "multiLabel": {"type": "boolean"},
        "chip": ref("schemas", "chipSize"),
        "bands": array({"oneOf": [{"type": "integer"}, {"type": "string"}]}),
        "readme": text("What the package says of itself"),
        "card": OBJECT,
    },
    ["problem", "sha256", "warnings", "classes", "multiLabel", "chip", "bands", "readme", "card"],
)
_FILE_SIZE = {"size": {**NUMBER, "description": "In bytes"}}
PAGE_SCHEMAS: Mapping[str, Schema] = {
    "allowedFolder": record(_ENTRY),
    "allowedFile": record(_ENTRY | _FILE_SIZE),
    "allowedFolders": record(
        {"folders": array(ref("schemas", "allowedFolder")), "files": array(ref("schemas", "allowedFile"))}
    ),
    "modelClass": record(_CLASS, ["color"]),
    "chipSize": record({"width": {"type": "integer"}, "height": {"type": "integer"}}),
    "model": _MODEL,
    "modelList": record({"models": array(ref("schemas", "model"))}),
}


def page_paths() -> dict[str, Any]:
    """Return the paths that forms and pages use, beside those of uploads."""
    models = {JSON: {"schema": ref("schemas", "modelList")}, HTML: {"schema": {"type": "string"}}}
    events = {"text/event-stream": {"schema": text("Events `status`, whose data is the job's `statusInfo`")}}
    return {
        "/models": {
            "get": {
                "operationId": "getModels",
                "tags": ["service"],
                "summary": "The installed models, and what is wrong with them",
                "parameters": [ref("parameters", "f")],
                "responses": {"200": response("The models", models)} | error_responses([400, 500]),
            }
        },
        "/imagery": {
            "get": {
                "operationId": "getImagery",
                "tags": ["service"],
                "summary": "What lies in the folders that links may point to, at most 1000 entries of one",
                "parameters": [_FOLDER],
                "responses": {
                    "200": response("Folders and files", {JSON: {"schema": ref("schemas", "allowedFolders")}})
                }
                | error_responses([400, 403, 500]),
            }
        },
        "/jobs/{jobId}/events": {
            "get": {
                "operationId": "getEvents",
                "tags": ["jobs"],
                "summary": "How a job goes, as server-sent events: an answer has what is new, and the next one is due "
                "a second later, as `EventSource` asks by itself",
                "parameters": [ref("parameters", "jobId")],
                "responses": {
                    "200": response("What is new since `Last-Event-ID`", events),
                    "204": response("The job has ended, and the client knows"),
                }
                | error_responses([404, 500, 503]),
            }
        },
    }


def upload_paths() -> dict[str, Any]:
    """Return the paths of files that clients send."""
    return {
        "/uploads": {
            "post": {
                "operationId": "postUpload",
                "tags": ["uploads"],
                "summary": "Send a file, of any media type; the answer has a link that `image` and `features` take",
                "parameters": [_NAME],
                "requestBody": {"required": True, "content": _FILE},
                "responses": {"201": response("The file is kept", _UPLOAD, ["Location"])}
                | error_responses([400, 403, 408, 413, 415, 500, 503]),
            }
        },
        "/uploads/{uploadId}": {
            "parameters": [_ID],
            "get": {
                "operationId": "getUpload",
                "tags": ["uploads"],
                "summary": "What is known of a file that was sent",
                "responses": {"200": response("The file", _UPLOAD)} | error_responses([404, 500]),
            },
            "delete": {
                "operationId": "deleteUpload",
                "tags": ["uploads"],
                "summary": "Remove a file that was sent",
                "responses": {"204": response("It is removed")} | error_responses([404, 500]),
            },
        },
    }
