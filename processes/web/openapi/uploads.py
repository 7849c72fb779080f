"""The paths of uploads in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from processes.sources.media_types import JSON
from processes.web.openapi.schemas import error_responses, ref, response

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
