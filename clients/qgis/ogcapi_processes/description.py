"""A process description of OGC API - Processes as data: what each input is in the terms of QGIS."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Union

from . import formats

Scalar = Union[str, int, float, bool]
Schema = Mapping[str, Any]


class InputKind(enum.Enum):
    """What a person gives for an input."""

    RASTER = "raster layer"
    VECTOR = "vector layer"
    EXTENT = "extent"
    CRS = "CRS"
    GEOMETRY = "geometry"
    NUMBER = "number"
    INTEGER = "whole number"
    BOOLEAN = "yes or no"
    CHOICE = "one of some values"
    DATE_TIME = "date and time"
    FILE = "file"
    TEXT = "text"
    LITERAL = "number, or true or false"
    JSON = "JSON"


class OutputKind(enum.Enum):
    """What QGIS makes of an output."""

    VECTOR = "vector layer"
    RASTER = "raster layer"
    FILE = "file"


@dataclass(frozen=True)
class ProcessInput:
    """An input of a process."""

    id: str
    title: str
    help: str
    kind: InputKind
    required: bool
    multiple: bool
    """Whether several values can be given."""
    always_list: bool
    """Whether also one value is sent as a list."""
    advanced: bool
    """Whether it is shown only to who asks for more."""
    default: Any
    """Value in the server's form; None = none."""
    choices: tuple[Scalar, ...]
    minimum: float | None
    maximum: float | None
    takes_link: bool
    """Whether the value can be a link to a file."""
    media_types: tuple[str, ...]
    """What a file may be that is sent within the request."""
    plain_box: bool
    """Whether an extent is a list of four numbers, not an object with its CRS."""


@dataclass(frozen=True)
class ProcessOutput:
    """An output of a process."""

    id: str
    title: str
    help: str
    kind: OutputKind
    media_types: tuple[str, ...]
    """What the server can write, its default first."""


@dataclass(frozen=True)
class ProcessDescription:
    """A process of a server."""

    id: str
    title: str
    help: str
    keywords: tuple[str, ...]
    help_url: str
    """A page of the server about the process; empty = none."""
    sync: bool
    """Whether it can be waited for in the request itself."""
    job: bool
    """Whether it can run as a job."""
    inputs: tuple[ProcessInput, ...]
    outputs: tuple[ProcessOutput, ...]


FEW: Final = 6
"""As many inputs are all shown at once."""

_BY_REFERENCE: Final[Mapping[str, Schema]] = {
    "bbox": {"format": "ogc-bbox"},
    "featurecollection": {"format": "geojson-feature-collection"},
    "geometry": {"format": "geojson-geometry"},
    "link": {"properties": {"href": {}}},
}
"""What well-known schemas stand for, by a part of their names."""

_LAYERS: Final = (InputKind.RASTER, InputKind.VECTOR, InputKind.EXTENT)


def read_page(document: Any) -> tuple[list[str | None], str]:
    """Return the ids of a page of the list of processes, None for an entry without one, and the link to the next page.

    The link is empty where there is no further page.

    Args:
        document: the list, as `GET /processes` gives it.

    Raises:
        ValueError: it is none.
    """
    listed = document.get("processes") if isinstance(document, Mapping) else None
    if not isinstance(listed, list):
        raise ValueError("no list of processes")
    ids = [entry.get("id") if isinstance(entry, Mapping) else None for entry in listed]
    links = document.get("links")
    following = [
        str(link.get("href", ""))
        for link in (links if isinstance(links, list) else ())
        if isinstance(link, Mapping) and link.get("rel") == "next"
    ]
    return [each if isinstance(each, str) else None for each in ids], following[0] if following else ""


def read_process(document: Schema) -> ProcessDescription:
    """Return a process.

    Args:
        document: a process description, as `GET /processes/ID` gives it.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(document.get("id"), str):
        raise ValueError("a process description without an id")
    inputs = _named(document.get("inputs"))
    options = document.get("jobControlOptions") or ["sync-execute", "async-execute"]  # a server may keep it to itself
    pages = [
        link.get("href", "")
        for link in document.get("links") or ()
        if link.get("rel") in ("alternate", "about") and bare_type(link) == "text/html"
    ]
    return ProcessDescription(
        id=document["id"],
        title=_text(document.get("title")) or document["id"],
        help=_text(document.get("description")),
        keywords=tuple(_text(word) for word in document.get("keywords") or ()),
        help_url=next((page for page in pages if page.startswith(("http://", "https://"))), ""),
        sync="sync-execute" in options or "async-execute" not in options,
        job="async-execute" in options,
        inputs=tuple(_read_input(name, entry, len(inputs) > FEW) for name, entry in inputs),
        outputs=tuple(_read_output(name, entry) for name, entry in _named(document.get("outputs"))),
    )


def bare_type(link: Schema) -> str:
    """Return the media type of a link, without parameters; empty = none."""
    return formats.bare(str(link.get("type") or ""))


def _named(entries: Any) -> list[tuple[str, Schema]]:
    """Return inputs or outputs with their ids; some servers write a list of entries with ids."""
    if isinstance(entries, Mapping):
        return list(entries.items())
    return [(str(entry.get("id")), entry) for entry in entries or ()]


def _read_input(name: str, entry: Schema, many: bool) -> ProcessInput:
    schema = entry.get("schema") or {}
    branches = list(_branches(schema))
    arrays = [branch for branch in branches if branch.get("type") == "array"]
    plain_box = _is_plain_box(name, arrays) and len(arrays) == len(branches)
    always_list = bool(arrays) and len(arrays) == len(branches) and not plain_box
    if always_list:
        branches = [item for branch in arrays for item in _branches(branch.get("items") or {})]
    elif not plain_box:
        branches = [branch for branch in branches if branch not in arrays] or branches
    kind = InputKind.EXTENT if plain_box else _kind(name, entry, branches)
    default = _first(branches, "default", schema.get("default"))
    least, most = (1 if entry.get(name) is None else entry[name] for name in ("minOccurs", "maxOccurs"))
    required = int(least) > 0 and default is None
    choices = _first(branches, "enum", entry.get("enum") or ())
    return ProcessInput(
        id=name,
        title=_text(entry.get("title")) or name,
        help=_text(entry.get("description")),
        kind=kind,
        required=required,
        multiple=most == "unbounded" or int(most) > 1 or (bool(arrays) and not plain_box),
        always_list=always_list,
        advanced=many and not required and kind not in _LAYERS,
        default=default,
        choices=tuple(choices) if kind is InputKind.CHOICE else (),
        minimum=_number(_first(branches, "minimum", _first(branches, "exclusiveMinimum", None))),
        maximum=_number(_first(branches, "maximum", _first(branches, "exclusiveMaximum", None))),
        takes_link=any("href" in (branch.get("properties") or {}) for branch in branches),
        media_types=tuple(_media_types(branches)),
        plain_box=plain_box,
    )


def _read_output(name: str, entry: Schema) -> ProcessOutput:
    branches = list(_branches(entry.get("schema") or {}))
    types = tuple(dict.fromkeys(_media_type_of_output(branch) for branch in branches))
    if any(formats.bare(kind) in formats.VECTOR for kind in types):
        kind = OutputKind.VECTOR
    elif any(formats.bare(media_type) in formats.RASTER for media_type in types):
        kind = OutputKind.RASTER
    else:
        kind = OutputKind.FILE
    return ProcessOutput(
        id=name,
        title=_text(entry.get("title")) or name,
        help=_text(entry.get("description")),
        kind=kind,
        media_types=types,
    )


def _kind(name: str, entry: Schema, branches: Sequence[Schema]) -> InputKind:
    """Return what a person gives, by the most telling of the forms that a value may have."""
    of_file = _kind_of_file(branches)
    if of_file is not None:
        return of_file
    if any("enum" in branch for branch in branches) or "enum" in entry:
        return InputKind.CHOICE
    types = {branch.get("type") for branch in branches}
    if types <= {"number", "integer"} and types:
        return InputKind.NUMBER if "number" in types else InputKind.INTEGER
    if types == {"boolean"}:
        return InputKind.BOOLEAN
    if "string" in types:
        return _kind_of_text(name, entry, branches)
    return InputKind.LITERAL if types <= {"number", "integer", "boolean"} and types else InputKind.JSON


def _kind_of_file(branches: Sequence[Schema]) -> InputKind | None:
    """Return what a value is that comes from the map or from a file; None = neither."""
    named = {str(branch.get("format") or "") for branch in branches}
    properties = {key for branch in branches for key in branch.get("properties") or ()}
    media_types = {formats.bare(media_type) for media_type in _media_types(branches)}
    if "ogc-bbox" in named or "bbox" in properties:
        return InputKind.EXTENT
    if named & {"geojson-feature-collection", "geojson-feature"}:
        return InputKind.VECTOR
    if "geojson-geometry" in named:
        return InputKind.GEOMETRY
    if media_types & set(formats.RASTER):
        return InputKind.RASTER
    if media_types & set(formats.VECTOR):
        return InputKind.VECTOR
    is_binary = any(branch.get("contentEncoding") for branch in branches) or named & {"binary", "byte"}
    return InputKind.FILE if is_binary or "href" in properties else None


def _kind_of_text(name: str, entry: Schema, branches: Sequence[Schema]) -> InputKind:
    if {branch.get("format") for branch in branches} == {"date-time"}:
        return InputKind.DATE_TIME
    words = re.sub(r"([a-z])([A-Z])", r"\1 \2", f"{name} {_text(entry.get('title'))}").lower()
    return InputKind.CRS if set(re.findall("[a-z]+", words)) & {"crs", "srs", "epsg"} else InputKind.TEXT


def _branches(schema: Schema) -> list[Schema]:
    """Return the forms that a schema allows, each without `allOf`, `oneOf` and `anyOf`."""
    merged: dict[str, Any] = {
        key: value for key, value in schema.items() if key not in ("allOf", "oneOf", "anyOf", "$ref")
    }
    merged = {**_referred(schema.get("$ref")), **merged}
    for part in schema.get("allOf") or ():
        for branch in _branches(part):
            merged = {**branch, **merged}
    choices: list[Schema] = [*(schema.get("oneOf") or ()), *(schema.get("anyOf") or ())]
    if not choices:
        return [merged]
    inner: list[Schema] = [branch for choice in choices for branch in _branches(choice)]
    return [{**merged, **branch} for branch in inner if branch.get("type") != "null"]


def _referred(reference: Any) -> Schema:
    name = str(reference or "").rsplit("/", 1)[-1].lower()
    return next((meaning for word, meaning in _BY_REFERENCE.items() if word in name), {})


def _media_types(branches: Sequence[Schema]) -> list[str]:
    """Return the media types that the forms of a value name, each once, in their order."""
    found: list[str] = []
    for branch in branches:
        qualified = (branch.get("properties") or {}).get("mediaType") or {}
        named = [branch.get("contentMediaType"), *(qualified.get("enum") or ()), qualified.get("const")]
        if str(branch.get("format")).startswith("geojson-feature"):
            named.append(formats.GEOJSON[0])
        found += [name for name in named if isinstance(name, str) and name not in found]
    return found


def _media_type_of_output(branch: Schema) -> str:
    """Return what an output is in one of its forms; a form without a media type is plain text or JSON."""
    without = "text/plain" if branch.get("type") == "string" else "application/json"
    return next(iter(_media_types([branch])), without)


def _is_plain_box(name: str, arrays: Sequence[Schema]) -> bool:
    named_so = name.lower() in ("bbox", "boundingbox", "bounding_box", "extent")
    return named_so and any(array.get("minItems") == 4 for array in arrays)


def _first(branches: Sequence[Schema], key: str, otherwise: Any) -> Any:
    return next((branch[key] for branch in branches if key in branch), otherwise)


def _number(value: Any) -> float | None:
    """Return a bound; draft 4's `exclusiveMinimum: true` is none."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _text(value: Any) -> str:
    """Return a text that may be given in several languages; English first."""
    if isinstance(value, Mapping):
        value = value.get("en") or next(iter(value.values()), "")
    return str(value or "")
