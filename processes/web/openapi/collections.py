"""Collections of features in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from processes.features.writing.geojson import GEOJSON
from processes.sources.media_types import JSON
from processes.web.openapi.operations import HTML_PAGE, operation
from processes.web.openapi.responses import error_responses, response
from processes.web.openapi.schemas import LINKS, NUMBER, OBJECT, array, record, ref, text

_URIS = array(text("URI of a CRS", format="uri"))
_NUMBERS = array({"type": "number"})
_EXTENT = "Absent in the list, and where no feature has a geometry"
_FEATURE = {
    "type": "object",
    "required": ["type", "id", "geometry", "properties"],
    "properties": {
        "type": {"type": "string", "enum": ["Feature"]},
        "id": {"description": "A text or a number"},
        "geometry": {**OBJECT, "nullable": True},
        "properties": OBJECT,
        "links": LINKS,
    },
}
COLLECTION_SCHEMAS: Mapping[str, Any] = {
    "spatialExtent": record({"bbox": array(_NUMBERS), "crs": {"type": "string", "format": "uri"}}),
    "extent": record({"spatial": ref("schemas", "spatialExtent")}, description=_EXTENT),
    "collection": record(
        {
            "id": {"type": "string"},
            "title": {"type": "string"},
            "description": {"type": "string"},
            "itemType": {"type": "string", "enum": ["feature"]},
            "extent": ref("schemas", "extent"),
            "crs": {**_URIS, "description": "In which features can be had; in the list only that of all collections"},
            "storageCrs": text("The result's own CRS; absent in the list", format="uri"),
            "links": LINKS,
        },
        optional=("extent", "storageCrs"),
    ),
    "collectionList": record({"collections": array(ref("schemas", "collection")), "links": LINKS}),
    "feature": _FEATURE,
    "featureCollection": record(
        {
            "type": {"type": "string", "enum": ["FeatureCollection"]},
            "numberMatched": NUMBER,
            "numberReturned": NUMBER,
            "links": LINKS,
            "features": array(ref("schemas", "feature")),
        }
    ),
}


def _query(name: str, description: str, schema: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    form = {"required": False, "style": "form", "explode": False}
    return {"name": name, "in": "query", "description": description, **form, **more, "schema": dict(schema)}


def _path(name: str, description: str) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "description": description, "required": True, "schema": schema}


_URI = {"type": "string", "format": "uri"}
COLLECTION_PARAMETERS: Mapping[str, Any] = {
    "collectionId": _path("collectionId", "Name of a result"),
    "featureId": _path("featureId", "Id of a feature, its position from 1 where it has none"),
    "bbox": _query(
        "bbox",
        "Features that touch this box: west, south, east, north, with heights after south and north or without",
        {"type": "array", "minItems": 4, "maxItems": 6, "items": {"type": "number"}},
    ),
    "bbox-crs": _query("bbox-crs", "CRS of `bbox`, one of the collection; CRS84 by default", _URI),
    "crs": _query("crs", "CRS of the coordinates, one of the collection; CRS84 by default", _URI),
    "itemsDatetime": _query(
        "datetime", "A time or an interval; features have no time of their own, so all match", {"type": "string"}
    ),
    "fields": _query(
        "fields",
        "Features whose fields have these values: a parameter for each field",
        {"type": "object", "additionalProperties": {"type": "string"}},
        explode=True,
    ),
}


def collection_paths() -> dict[str, Any]:
    """Return the paths of collections and their features."""
    listed = {JSON: {"schema": ref("schemas", "collectionList")}}
    described = {JSON: {"schema": ref("schemas", "collection")}}
    items = {GEOJSON.media_type: {"schema": ref("schemas", "featureCollection")}}
    item = {GEOJSON.media_type: {"schema": ref("schemas", "feature")}}
    one = "/collections/{collectionId}"
    query = ("collectionId", "limit", "offset", "bbox", "bbox-crs", "crs", "itemsDatetime", "f", "fields")
    return {
        "/collections": _get("getCollections", "Finished results as layers", listed, ("limit", "offset", "f"), []),
        one: _get("describeCollection", "A layer", described, ("collectionId", "f"), []),
        f"{one}/items": _get("getFeatures", "Features of a layer", items, query, ["Content-Crs"]),
        f"{one}/items/{{featureId}}": _get(
            "getFeature", "A feature of a layer", item, ("collectionId", "featureId", "crs", "f"), ["Content-Crs"]
        ),
    }


def _get(
    operation_id: str, summary: str, content: Mapping[str, Any], parameters: tuple[str, ...], headers: list[str]
) -> dict[str, Any]:
    is_list = operation_id == "getCollections"
    errors = [400, 500, 503] if is_list else [400, 404, 410, 413, 500, 503]
    responses = {
        "200": response(summary, {**content, **HTML_PAGE}, ["ETag", *headers]),
        "304": response("The client has it already", headers=["ETag", *headers]),
    }
    found = operation(operation_id, "collections", summary, responses | error_responses(errors), parameters)
    return {"get": found}
