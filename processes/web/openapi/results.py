"""Results of jobs in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from processes.features.writing.formats import FORMATS
from processes.ogc.process import Process, SectionedProcess
from processes.ogc.request import Description
from processes.web.openapi.components import Components
from processes.web.openapi.execution import Forms, content, merge_forms, output_forms, result_forms
from processes.web.openapi.operations import HTML_PAGE, operation
from processes.web.openapi.responses import error_responses, response
from processes.web.openapi.schemas import OBJECT
from processes.web.styles import STYLES

_PART: dict[str, Any] = {"type": "string", "format": "binary"}
FILE_HEADERS = ("ETag", "Last-Modified", "Accept-Ranges", "Content-Disposition", "Content-Crs")
_CONDITIONS = ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since")
_FILE_PARAMETERS = ("jobId", "Range", "If-Range", *_CONDITIONS)
_FILE_ERRORS = (400, 403, 404, 406, 410, 412, 413, 416, 500, 503)
"""With those of a failed job: its results are the error that a synchronous request would have got."""


def form_names(processes: Mapping[str, Process]) -> list[str]:
    """Return the names of outputs with the endings of the other forms that they can have."""
    sectioned = [item.frame() for item in processes.values() if isinstance(item, SectionedProcess)]
    return [f"{name}{form.ending}" for item in sectioned for name in item["outputs"] for form in FORMATS]


def result_paths(
    descriptions: Sequence[Description], form_names: Sequence[str], components: Components
) -> dict[str, Any]:
    """Return the paths of the results of processes.

    Args:
        descriptions: of the processes.
        form_names: names of outputs in other forms.
        components: named schemas.
    """
    raw = merge_forms(output_forms(item, components) for item in descriptions)
    either = merge_forms(result_forms(item, components) for item in descriptions)
    names = [name for item in descriptions for name in item["outputs"]]
    parameter = {
        "name": "output",
        "in": "path",
        "description": "Id of an output; with an ending it is the output in this form, made when it is first asked for",
        "required": True,
        "schema": {"type": "string", "enum": [*names, *form_names]},
    }
    by_reference = {"204": response("The result is elsewhere, at a link", headers=["Link"])}
    results = _file_responses(either, raw) | by_reference
    results["200"]["content"] |= HTML_PAGE
    head = {status: item for status, item in _file_responses({}, {}).items() if status not in ("206", "416")}
    head_parameters = ("jobId", *_CONDITIONS)
    return {
        "/jobs/{jobId}/results": {
            "get": operation(
                "getResults",
                "jobs",
                "The result, in the form that the request wants, or a page that leads to it",
                results,
                (*_FILE_PARAMETERS, "f"),
            ),
            "head": operation(
                "headResults", "jobs", "Size and ETag of a result", head | by_reference, (*head_parameters, "f")
            ),
        },
        "/jobs/{jobId}/results/{output}": {
            "parameters": [parameter],
            "get": operation("getOutput", "jobs", "An output itself", _file_responses(raw, raw), _FILE_PARAMETERS),
            "head": operation("headOutput", "jobs", "Size and ETag of an output", head, head_parameters),
        },
        "/jobs/{jobId}/objects/{objectId}/chip.png": {"get": _chip()},
        **{f"/jobs/{{jobId}}/results/{name}": {"get": _style(name)} for name in STYLES},
    }


def _chip() -> dict[str, Any]:
    success = response("The chip", {"image/png": {"schema": _PART}}, ["ETag"])
    responses = {"200": success, "304": response("The client has it already", headers=["ETag"])}
    return operation(
        "getChip",
        "jobs",
        "An object's chip as the model saw it before normalisation, its first three bands",
        responses | error_responses(_FILE_ERRORS),
        ["jobId", "objectId", "If-None-Match"],
    )


def _style(name: str) -> dict[str, Any]:
    """Return the operation that gets a style."""
    schema = OBJECT if name.endswith("json") else {"type": "string"}
    success = response("The style", {STYLES[name]: {"schema": schema}}, ["ETag"])
    responses = {"200": success, "304": response("The client has it already", headers=["ETag"])}
    return operation(
        f"getStyle{name.rpartition('.')[2].capitalize()}",
        "jobs",
        "The classes of a result in their colours",
        responses | error_responses(_FILE_ERRORS),
        ["jobId", "If-None-Match"],
    )


def _file_responses(whole: Forms, part: Forms) -> dict[str, Any]:
    parts = {media_type: {"schema": _PART} for media_type in part}
    return {
        "200": response("All of it", content(whole), FILE_HEADERS),
        "206": response("The part that is wanted", parts, (*FILE_HEADERS, "Content-Range")),
        "304": response("The client has it already", headers=FILE_HEADERS),
        **error_responses(_FILE_ERRORS),
    }
