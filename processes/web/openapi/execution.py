"""Execute requests and their results as OpenAPI 3.0 schemas, made from the descriptions of the processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from processes.ogc.request import Description
from processes.sources.media_types import GEOJSON, JSON
from processes.web.openapi.schemas import Schema, array, record, ref

Forms = dict[str, list[Schema]]
"""Schemas by media type: what a content may be."""

_NOT_OF_OPENAPI = ("contentMediaType", "contentEncoding", "contentSchema")
"""Keywords of descriptions that OpenAPI 3.0 does not have."""
_QUALIFIED_TYPES: Mapping[str, list[str]] = {"geojson-feature-collection": [GEOJSON, JSON]}
"""Media types of a qualified value by the format of its schema; for other formats every media type is allowed."""

_EXAMPLES: Mapping[str, dict[str, Any]] = {
    "classify-objects": {
        "inputs": {
            "image": {"href": "upload:sample/scene.tif", "type": "image/tiff; application=geotiff"},
            "features": {"href": "upload:sample/houses.geojson", "type": GEOJSON},
            "model": "roof-damage",
            "modelArguments": {"class_scores": True},
        }
    },
    "describe-model": {"inputs": {"model": "roof-damage"}},
    "echo": {"inputs": {"echo": ["teststring", "another"]}},
}


def has_jobs(description: Description) -> bool:
    """Return whether a process can be executed asynchronously."""
    return "async-execute" in description["jobControlOptions"]


def example_of(description: Description) -> Any:
    """Return an example of an execute request; None = there is none."""
    return _EXAMPLES.get(description["id"], description.get("example"))


def to_openapi(schema: Mapping[str, Any]) -> Schema:
    """Return a description's schema without the keywords that OpenAPI 3.0 does not have."""
    result = {word: part for word, part in schema.items() if word not in _NOT_OF_OPENAPI}
    for word, part in result.items():
        if word in ("allOf", "anyOf", "oneOf"):
            result[word] = [to_openapi(item) for item in part]
        elif word in ("items", "not", "additionalProperties") and isinstance(part, Mapping):
            result[word] = to_openapi(part)
        elif word == "properties":
            result[word] = {name: to_openapi(item) for name, item in part.items()}
    return result


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
    """Return the schema of an input: a value, plain or qualified, or an array of values."""
    value = to_openapi(item["schema"])
    forms = [value, *_qualified(value)]
    minimum, maximum = item.get("minOccurs", 1), item.get("maxOccurs", 1)
    if maximum != 1:
        limits = {"minItems": minimum} | ({} if maximum == "unbounded" else {"maxItems": maximum})
        forms = [*forms, array(_any_of(forms), **limits)]
    return {"title": item["title"], "description": item["description"], "anyOf": forms}


def _qualified(schema: Schema) -> list[Schema]:
    """Return the schema of the form `{"value": …}`; empty if the value has such a form of its own."""
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
    """Return the schema of a member of `outputs` in a request."""
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
    """Return the schema of the results document, which holds the requested outputs."""
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
    """Return the schema of an output in a results document, as `processes.ogc.results` writes it."""
    kind = {"mediaType": {"type": "string", "enum": [media_type]}}
    if branch.get("format") == "binary":
        base64 = {"type": "string", "enum": ["base64"]}
        return record({"value": {"type": "string", "format": "byte"}, "encoding": base64, **kind})
    is_plain = media_type in (JSON, "text/plain") and branch["type"] != "object"
    return branch if is_plain else record({"value": branch, **kind})


def output_forms(description: Description) -> Forms:
    """Return the forms of an output itself."""
    items = [_branches(item) for item in description["outputs"].values()]
    return merge_forms({media_type: [branch]} for item in items for media_type, branch in item.items())


def result_forms(description: Description) -> Forms:
    """Return the forms of a result: the output itself, or a document."""
    return merge_forms([output_forms(description), {JSON: [ref("schemas", results_name(description))]}])


def request_name(description: Description) -> str:
    """Return the name of the component that is a process's request."""
    return f"{description['id']}-request"


def results_name(description: Description) -> str:
    """Return the name of the component that is a process's results document."""
    return f"{description['id']}-results"


def merge_forms(parts: Iterable[Forms]) -> Forms:
    """Return the forms of all parts in one mapping."""
    forms: Forms = {}
    for part in parts:
        for media_type, schemas in part.items():
            forms.setdefault(media_type, []).extend(item for item in schemas if item not in forms[media_type])
    return forms


def content(forms: Forms) -> dict[str, Any]:
    """Return the content of a response that has one of these forms."""
    return {media_type: {"schema": _any_of(schemas)} for media_type, schemas in forms.items()}


def _any_of(schemas: list[Schema]) -> Schema:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
