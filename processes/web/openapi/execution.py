"""Execute requests and their results as OpenAPI 3.0 schemas, made from the descriptions of the processes.

Programs that generate clients name a class after its component. So every object with members of its own is one, and
its name says of which process and input it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from processes.ogc.request import Description
from processes.sources.media_types import GEOJSON, JSON
from processes.web.openapi.components import Components, named
from processes.web.openapi.schemas import OBJECT, Schema, array, record, ref

Forms = dict[str, list[Schema]]
"""Schemas by media type: what a content may be."""

_NOT_OF_OPENAPI = ("contentMediaType", "contentEncoding", "contentSchema")
"""Keywords of descriptions that OpenAPI 3.0 does not have."""
_KNOWN_FORMATS = {"geojson-feature-collection": "geojsonFeatureCollection"}
"""Components by the format of a schema that says less than they do."""
_QUALIFIED_TYPES: Mapping[str, list[str]] = {ref("schemas", "geojsonFeatureCollection")["$ref"]: [GEOJSON, JSON]}
"""Media types of a qualified value by its component; for other values every media type is allowed."""

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


def to_openapi(schema: Mapping[str, Any], name: str, components: Components) -> Schema:
    """Return a description's schema as OpenAPI 3.0 has it.

    Args:
        schema: the schema.
        name: what it is the schema of, for names of components.
        components: get the objects in it.
    """
    if schema.get("format") in _KNOWN_FORMATS:
        return ref("schemas", _KNOWN_FORMATS[schema["format"]])
    result = {word: part for word, part in schema.items() if word not in _NOT_OF_OPENAPI}
    for word, part in result.items():
        if word in ("allOf", "anyOf", "oneOf"):
            result[word] = [to_openapi(item, name, components) for item in part]
        elif word in ("items", "not", "additionalProperties") and isinstance(part, Mapping):
            result[word] = to_openapi(part, name, components)
        elif word == "properties":
            members = {member: to_openapi(item, f"{name}-{member}", components) for member, item in part.items()}
            result[word] = {member: _without_default(item) for member, item in members.items()}
    if result.get("type") != "object":
        return result
    return _component(result if "properties" in result else OBJECT | result, name, components)


def _without_default(schema: Schema) -> Schema:
    """Return the schema of a member with its default in words: the keyword makes it a required one in some clients."""
    if "default" not in schema:
        return schema
    rest = {word: part for word, part in schema.items() if word != "default"}
    return rest | {"description": f"By default {schema['default']}"}


def _component(schema: Schema, name: str, components: Components) -> Schema:
    """Return a reference to an object, and itself where it has neither a title nor members."""
    title = schema.get("title", "")
    if title == "Link":  # of the standard's members it has those that this service reads
        return ref("schemas", "link")
    if title:
        first, *rest = title.split()
        return named(components, first.lower() + "".join(map(str.capitalize, rest)), schema)
    if "properties" in schema:
        return named(components, f"{name}-{schema.get('format', 'object')}", schema)
    return schema


def request_schema(description: Description, components: Components) -> Schema:
    """Return the schema of an execute request.

    Args:
        description: of the process.
        components: get the parts of the schema.
    """
    inputs, process = description["inputs"], description["id"]
    members = {name: _input(item, f"{process}-{name}", components) for name, item in inputs.items()}
    optional = [name for name, item in inputs.items() if not item.get("minOccurs", 1)]
    outputs = {
        "type": "object",
        "description": "The outputs that are wanted; absent: all, as the process likes",
        "properties": {name: _output(name, description, components) for name in description["outputs"]},
        "additionalProperties": False,
    }
    whole = {
        "inputs": named(components, f"{process}-inputs", record(members, optional, additionalProperties=False)),
        "outputs": named(components, f"{process}-outputs", outputs),
        "response": {
            "type": "string",
            "description": "raw (by default): the output itself; document: a JSON object with the output in it",
            "enum": ["raw", "document"],
        },
    }
    if has_jobs(description):
        whole["subscriber"] = ref("schemas", "subscriber")
    return record(whole, optional=("outputs", "response", "subscriber"))


def _input(item: Mapping[str, Any], name: str, components: Components) -> Schema:
    """Return the schema of an input: a value, plain or qualified, or an array of values."""
    value = to_openapi(item["schema"], name, components)
    # those who generate clients want them beside the branches; an empty object by default tells nothing
    notes = {word: value.pop(word) for word in ("default", "example") if word in value}
    notes = {word: note for word, note in notes.items() if note != {}}
    forms = [*value["oneOf"]] if value.keys() == {"oneOf"} else [value]
    forms += _qualified(forms, name, components)
    minimum, maximum = item.get("minOccurs", 1), item.get("maxOccurs", 1)
    if maximum != 1:
        limits = {"minItems": minimum} | ({} if maximum == "unbounded" else {"maxItems": maximum})
        # openapi-generator's TypeScript imports functions for items of `oneOf` that it does not write
        one = forms[0] if len(forms) == 1 else named(components, f"{name}-item", {"anyOf": [*forms]})
        forms.append(array(one, **limits))
    whole = {"title": item["title"], "description": item["description"], **notes, **one_of(forms)}
    return named(components, name, whole)


def _qualified(forms: list[Schema], name: str, components: Components) -> list[Schema]:
    """Return the schema of the form `{"value": …}`; empty if the value has such a form of its own, or any members."""
    if OBJECT in forms or any("value" in _members(form, components) for form in forms):
        return []
    plain = [form for form in forms if "href" not in _members(form, components)]
    types = _QUALIFIED_TYPES.get(plain[0].get("$ref", ""))
    members = {
        "value": one_of(plain),
        "mediaType": {"type": "string"} | ({"enum": types} if types else {}),
        "encoding": {"type": "string"},
        "schema": {},
        "format": {},
    }
    optional = [member for member in members if member != "value"]
    return [named(components, f"{name}-value", record(members, optional, additionalProperties=False))]


def _members(form: Schema, components: Components) -> Mapping[str, Any]:
    """Return the members of an object, also of one that is a component."""
    schema = components[form["$ref"].rpartition("/")[2]] if "$ref" in form else form
    members: Mapping[str, Any] = schema.get("properties", {})
    return members


def _output(name: str, description: Description, components: Components) -> Schema:
    """Return the schema of a member of `outputs` in a request."""
    prefix = f"{description['id']}-{name}"
    media_types = list(_branches(description, name, components))
    form = {"mediaType": {"type": "string", "enum": media_types, "description": "By default as `Accept` says"}}
    members = {
        "format": named(components, f"{prefix}-format", record(form, optional=("mediaType",))),
        "transmissionMode": {
            "type": "string",
            "enum": list(description["outputTransmission"]),
            "description": "By default value, where `Prefer` has no return=minimal",
        },
    }
    return named(components, f"{prefix}-output", record(members, optional=tuple(members)))


def _branches(description: Description, output: str, components: Components) -> dict[str, Schema]:
    """Return the schemas of an output by media type, the default first."""
    schema = description["outputs"][output]["schema"]
    name = f"{description['id']}-{output}"
    branches = schema.get("oneOf", [schema])
    return {item.get("contentMediaType", JSON): to_openapi(item, name, components) for item in branches}


def results_schema(description: Description, components: Components) -> Schema:
    """Return the schema of the results document, which holds the requested outputs.

    Args:
        description: of the process.
        components: get the parts of the schema.
    """
    links = [ref("schemas", "link")] * ("reference" in description["outputTransmission"])
    return {
        "type": "object",
        "properties": {
            name: one_of(_in_document(description, name, components) + links) for name in description["outputs"]
        },
        "additionalProperties": False,
    }


def _in_document(description: Description, output: str, components: Components) -> list[Schema]:
    """Return the schemas of an output in a results document, as `processes.ogc.results` writes it."""
    plain: list[Schema] = []
    kinds: dict[str, tuple[Schema, list[str]]] = {}
    for media_type, branch in _branches(description, output, components).items():
        if media_type in (JSON, "text/plain") and branch.get("type", "object") != "object":
            plain.append(branch)
        else:
            kind, members = _value(branch)
            kinds.setdefault(kind, (members, []))[1].append(media_type)
    return plain + [
        named(
            components,
            f"{description['id']}-{output}-{kind}",
            record({**members, "mediaType": {"type": "string", "enum": media_types}}),
        )
        for kind, (members, media_types) in kinds.items()
    ]


def _value(branch: Schema) -> tuple[str, Schema]:
    """Return what a qualified value is, as a part of a name, and the members that have it."""
    if "$ref" in branch:
        return branch["$ref"].rpartition("/")[2], {"value": branch}
    if branch.get("format") == "binary":
        base64 = {"type": "string", "enum": ["base64"]}
        return "file", {"value": {"type": "string", "format": "byte"}, "encoding": base64}
    return branch["type"], {"value": OBJECT if branch["type"] == "object" else {"type": branch["type"]}}


def output_forms(description: Description, components: Components) -> Forms:
    """Return the forms of an output itself."""
    items = [_branches(description, name, components) for name in description["outputs"]]
    return merge_forms({media_type: [branch]} for item in items for media_type, branch in item.items())


def result_forms(description: Description, components: Components) -> Forms:
    """Return the forms of a result: the output itself, or a document."""
    return merge_forms([output_forms(description, components), {JSON: [ref("schemas", results_name(description))]}])


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
    return {
        media_type: {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}
        for media_type, schemas in forms.items()
    }


def one_of(schemas: list[Schema]) -> Schema:
    """Return the schema of what just one of these schemas allows; clients make one type of all branches of `anyOf`."""
    return schemas[0] if len(schemas) == 1 else {"oneOf": list(schemas)}
