"""Executions in the terms of OpenAPI 3.0: what a request may hold and what its answers are, by the description."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from processes.ogc.media_types import GEOJSON
from processes.ogc.request import Description
from processes.web.openapi.schemas import JSON, Schema, listed, record, ref

Forms = dict[str, list[Schema]]
"""Media types of a content, and what each may hold."""

_NOT_OF_OPENAPI = ("contentMediaType", "contentEncoding", "contentSchema")
"""Keywords of descriptions that OpenAPI 3.0 does not have."""
_QUALIFIED_TYPES: Mapping[str, list[str]] = {"geojson-feature-collection": [GEOJSON, JSON]}
"""Media types of a qualified value, by the format of its schema; of other formats it may be any."""

_EXAMPLES: Mapping[str, dict[str, Any]] = {
    "classify-objects": {
        "inputs": {
            "image": {"href": "file:///imagery/scene.tif", "type": "image/tiff; application=geotiff"},
            "features": {"href": "file:///imagery/houses.geojson", "type": GEOJSON},
            "model": "roof-damage",
            "modelArguments": {"class_scores": True},
        }
    },
    "describe-model": {"inputs": {"model": "roof-damage"}},
    "echo": {"inputs": {"echo": ["teststring", "another"]}},
}


def has_jobs(description: Description) -> bool:
    """Say whether requests to a process become jobs where the client wants that."""
    return "async-execute" in description["jobControlOptions"]


def example_of(description: Description) -> Any:
    """Return an execute request; None = there is no example."""
    return _EXAMPLES.get(description["id"], description.get("example"))


def to_openapi(schema: Mapping[str, Any]) -> Schema:
    """Return a description's schema without the keywords that OpenAPI 3.0 does not have."""
    kept = {word: part for word, part in schema.items() if word not in _NOT_OF_OPENAPI}
    for word, part in kept.items():
        if word in ("allOf", "anyOf", "oneOf"):
            kept[word] = [to_openapi(item) for item in part]
        elif word in ("items", "not", "additionalProperties") and isinstance(part, Mapping):
            kept[word] = to_openapi(part)
        elif word == "properties":
            kept[word] = {name: to_openapi(item) for name, item in part.items()}
    return kept


def request_schema(description: Description) -> Schema:
    """Return the schema of an execute request."""
    inputs = description["inputs"]
    members = {
        "inputs": record(
            {name: _input(item) for name, item in inputs.items()},
            optional=[name for name, item in inputs.items() if not item.get("minOccurs", 1)],
            additionalProperties=False,
        ),
        "outputs": {
            "type": "object",
            "description": "The outputs that are wanted; absent: all, as the process likes",
            "properties": {name: _output(item, description) for name, item in description["outputs"].items()},
            "additionalProperties": False,
        },
        "response": {
            "type": "string",
            "description": "raw: the output itself; document: a JSON object with the output in it",
            "enum": ["raw", "document"],
            "default": "raw",
        },
    }
    if has_jobs(description):
        members["subscriber"] = ref("schemas", "subscriber")
    return record(members, optional=("outputs", "response", "subscriber"))


def _input(item: Mapping[str, Any]) -> Schema:
    """Return what may be given for an input: a value, plain or qualified, or several."""
    value = to_openapi(item["schema"])
    forms = [value, *_qualified(value)]
    least, most = item.get("minOccurs", 1), item.get("maxOccurs", 1)
    if most != 1:
        limits = {"minItems": least} | ({} if most == "unbounded" else {"maxItems": most})
        forms = [*forms, listed(_any_of(forms), **limits)]
    return {"title": item["title"], "description": item["description"], "anyOf": forms}


def _qualified(schema: Schema) -> list[Schema]:
    """Return the form `{"value": …}` of a value; none where a value has such a form of its own."""
    branches = schema.get("oneOf", [schema])
    if any("value" in branch.get("properties", {}) for branch in branches):
        return []
    plain = [branch for branch in branches if "href" not in branch.get("properties", {})]
    types = _QUALIFIED_TYPES.get(plain[0].get("format", ""))
    members = {
        "value": schema if plain == branches else _any_of(plain),
        "mediaType": {"type": "string"} | ({"enum": types} if types else {}),
        "encoding": {"type": "string"},
        "schema": {},
        "format": {},
    }
    return [record(members, optional=[name for name in members if name != "value"], additionalProperties=False)]


def _output(item: Mapping[str, Any], description: Description) -> Schema:
    """Return how an output may be asked for."""
    media_types = list(_branches(item))
    members = {
        "format": record(
            {"mediaType": {"type": "string", "enum": media_types, "description": "By default as `Accept` says"}},
            optional=("mediaType",),
        ),
        "transmissionMode": {
            "type": "string",
            "enum": list(description["outputTransmission"]),
            "description": "By default value, where `Prefer` has no return=minimal",
        },
    }
    return record(members, optional=tuple(members))


def _branches(item: Mapping[str, Any]) -> dict[str, Schema]:
    """Return the schemas of an output by media type, the default first."""
    schema = item["schema"]
    branches = schema.get("oneOf", [schema])
    return {branch.get("contentMediaType", JSON): to_openapi(branch) for branch in branches}


def results_schema(description: Description) -> Schema:
    """Return the schema of the results document; no output is in it that is not asked for."""
    is_linked = "reference" in description["outputTransmission"]
    return {
        "type": "object",
        "properties": {
            name: _any_of(
                [_in_document(media_type, branch) for media_type, branch in _branches(item).items()]
                + [ref("schemas", "link")] * is_linked
            )
            for name, item in description["outputs"].items()
        },
        "additionalProperties": False,
    }


def _in_document(media_type: str, branch: Schema) -> Schema:
    """Return what stands in a results document for an output; `processes.ogc.results` writes it."""
    kind = {"mediaType": {"type": "string", "enum": [media_type]}}
    if branch.get("format") == "binary":
        base64 = {"type": "string", "enum": ["base64"]}
        return record({"value": {"type": "string", "format": "byte"}, "encoding": base64, **kind})
    is_plain = media_type in (JSON, "text/plain") and branch["type"] != "object"
    return branch if is_plain else record({"value": branch, **kind})


def output_forms(description: Description) -> Forms:
    """Return the forms of an output itself."""
    items = [_branches(item) for item in description["outputs"].values()]
    return merged({media_type: [branch]} for item in items for media_type, branch in item.items())


def result_forms(description: Description) -> Forms:
    """Return the forms of a result: the output itself, or a document."""
    return merged([output_forms(description), {JSON: [ref("schemas", results_name(description))]}])


def request_name(description: Description) -> str:
    """Return the name of the component that is a process's request."""
    return f"{description['id']}-request"


def results_name(description: Description) -> str:
    """Return the name of the component that is a process's results document."""
    return f"{description['id']}-results"


def merged(parts: Iterable[Forms]) -> Forms:
    """Return the forms of all parts together."""
    forms: Forms = {}
    for part in parts:
        for media_type, schemas in part.items():
            forms.setdefault(media_type, []).extend(item for item in schemas if item not in forms[media_type])
    return forms


def content(forms: Forms) -> dict[str, Any]:
    """Return forms as the content of a response."""
    return {media_type: {"schema": _any_of(schemas)} for media_type, schemas in forms.items()}


def _any_of(schemas: list[Schema]) -> Schema:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
