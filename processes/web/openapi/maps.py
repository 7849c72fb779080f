"""Paths of the OpenAPI document by which a person looks at a result: its objects, its map and the tiles of that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from processes.sources.media_types import JSON
from processes.web.openapi.operations import operation
from processes.web.openapi.responses import error_responses, response
from processes.web.openapi.schemas import OBJECT, Schema, array, record, ref, text

_FILTERS: list[dict[str, Any]] = [
    {"name": "class", "in": "query", "description": "Objects of this class", "schema": {"type": "string"}},
    {"name": "status", "in": "query", "description": "Objects of this `ClassStatus`", "schema": {"type": "string"}},
    *(
        {
            "name": name,
            "in": "query",
            "description": description,
            "schema": {"type": "number", "minimum": 0, "maximum": 1, "default": default},
        }
        for name, description, default in (
            ("minConfidence", "Objects at least as sure; 0 takes those without a confidence too", 0),
            ("maxConfidence", "Objects at most as sure", 1),
        )
    ),
]
_OBJECT = record(
    {
        "id": text("By which the address of its chip names it"),
        "row": {"type": "integer", "minimum": 0, "description": "By which tiles name it"},
        "label": {"type": "string", "nullable": True},
        "confidence": {"type": "number", "nullable": True},
        "status": {"type": "string"},
        "properties": OBJECT,
    }
)
_ROW = {
    "name": "row",
    "in": "query",
    "description": "The one object of this row, from 0, whatever else the request says",
    "schema": {"type": "integer", "minimum": 0},
}
_TILE = [
    {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "integer", "minimum": 0},
    }
    for name, description in (
        ("zoom", "Zoom of the tile; 0 is the world"),
        ("column", "Column of the tile, from the west"),
        ("row", "Row of the tile, from the north"),
    )
]
_MAP = record(
    {
        "style": {**OBJECT, "description": "A style of MapLibre, with the addresses of the tiles"},
        "objects": {"type": "integer", "minimum": 0, "description": "Objects that have a place on the map"},
        "bounds": array({"type": "number"}) | {"description": "West, south, east and north of what there is to see"},
        "problem": text("Why the imagery is not shown"),
    },
    ["bounds", "problem"],
)
MAP_SCHEMAS: Mapping[str, Schema] = {
    "reviewedObject": _OBJECT,
    "review": record(
        {
            "matched": {"type": "integer", "minimum": 0},
            "histogram": array({"type": "integer", "minimum": 0}),
            "objects": array(ref("schemas", "reviewedObject")),
        }
    ),
    "resultMap": _MAP,
}
_ERRORS = (400, 403, 404, 410, 413, 500, 503)


def map_paths() -> dict[str, Any]:
    """Return the paths by which a person looks at a result."""
    found = {"200": response("What a map needs", {JSON: {"schema": ref("schemas", "resultMap")}})} | error_responses(
        _ERRORS
    )
    tile = "{zoom}/{column}/{row}"
    return {
        "/jobs/{jobId}/review": {
            "get": {
                "operationId": "getReview",
                "tags": ["jobs"],
                "summary": "Objects of a result, the least sure ones first, at most 100; and how the confidences of "
                "all that match lie, in 20 bins from 0 to 1",
                "parameters": [ref("parameters", name) for name in ("jobId", "limit", "offset")] + [_ROW, *_FILTERS],
                "responses": {"200": response("The objects", {JSON: {"schema": ref("schemas", "review")}})}
                | error_responses([400, 403, 404, 410, 413, 500, 503]),
            }
        },
        "/jobs/{jobId}/map": {
            "get": operation("getMap", "jobs", "How a map shows a result, in Web Mercator", found, ["jobId"])
        },
        f"/jobs/{{jobId}}/map/objects/{tile}.mvt": {
            "parameters": _TILE,
            "get": _tile(
                "getObjectTile",
                "A vector tile of a result's objects; where they are many, squares in their place",
                "application/vnd.mapbox-vector-tile",
                _FILTERS,
            ),
        },
        f"/jobs/{{jobId}}/map/imagery/{tile}.webp": {
            "parameters": _TILE,
            "get": _tile("getImageryTile", "A tile of the images of a result", "image/webp", []),
        },
    }


def _tile(operation_id: str, summary: str, media_type: str, filters: list[dict[str, Any]]) -> dict[str, Any]:
    content = {media_type: {"schema": {"type": "string", "format": "binary"}}}
    responses = {
        "200": response("The tile", content, ["ETag"]),
        "204": response("There is nothing to see", headers=["ETag"]),
        "304": response("The client has it already", headers=["ETag"]),
    }
    found = operation(operation_id, "jobs", summary, responses | error_responses(_ERRORS), ["jobId", "If-None-Match"])
    return found | {"parameters": found["parameters"] + filters}
