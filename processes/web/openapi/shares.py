"""The links that share a job, in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from processes.sources.media_types import JSON
from processes.web.openapi.operations import operation
from processes.web.openapi.responses import error_responses, response
from processes.web.openapi.schemas import TIME, Schema, array, record, ref, text

_ID = {
    "name": "shareId",
    "in": "path",
    "description": "Id of a link",
    "required": True,
    "schema": {"type": "string", "format": "uuid"},
}
SHARE_SCHEMAS: Mapping[str, Schema] = {
    "share": record({"id": text("Of the link"), "created": TIME}),
    "madeShare": record(
        {
            "id": text("Of the link"),
            "created": TIME,
            "href": text("The link; it is told only now. Whoever has it reads the job and its result"),
        }
    ),
    "shareList": record({"shares": array(ref("schemas", "share"))}),
}


def share_paths() -> dict[str, Any]:
    """Return the paths of the links to a job."""
    listed = {"200": response("The links", {JSON: {"schema": ref("schemas", "shareList")}})}
    made = {"201": response("The link", {JSON: {"schema": ref("schemas", "madeShare")}}, ["Location"])}
    revoked = {"204": response("It leads nowhere any more")}
    return {
        "/jobs/{jobId}/shares": {
            "get": operation(
                "getShares",
                "jobs",
                "The links by which others read a job",
                listed | error_responses([404, 500, 503]),
                ["jobId"],
            ),
            "post": operation(
                "makeShare",
                "jobs",
                "Make a link by which others read a job and its result, without a name of theirs",
                made | error_responses([404, 410, 413, 500, 503]),
                ["jobId"],
            ),
        },
        "/jobs/{jobId}/shares/{shareId}": {
            "parameters": [_ID],
            "delete": operation(
                "revokeShare", "jobs", "Revoke a link", revoked | error_responses([404, 500, 503]), ["jobId"]
            ),
        },
    }
