"""The service's OpenAPI 3.0 document: every path, its parameters and its responses.

It replaces pygeoapi's document, which refers to remote schemas and lacks this service's statuses and parameters. It is
made from the descriptions of the processes and refers to nothing elsewhere.

A new route needs a view in `processes.web`, a line in `processes.web.app`, and an operation in the function here that
has the paths of its tag.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from processes import __version__
from processes.ogc.process import Process, SectionedProcess
from processes.ogc.request import Description
from processes.registry import load_processes
from processes.settings import load_configuration, load_settings
from processes.sources.media_types import JSON
from processes.web.openapi.collections import COLLECTION_PARAMETERS, COLLECTION_SCHEMAS, collection_paths
from processes.web.openapi.components import Components, named
from processes.web.openapi.execution import (
    content,
    example_of,
    has_jobs,
    request_name,
    request_schema,
    result_forms,
    results_name,
    results_schema,
)
from processes.web.openapi.maps import MAP_SCHEMAS, map_paths
from processes.web.openapi.operations import HTML_PAGE, operation
from processes.web.openapi.pages import PAGE_SCHEMAS, page_paths, upload_paths
from processes.web.openapi.parameters import PARAMETERS
from processes.web.openapi.responses import HEADERS, RESPONSES, error_responses, response
from processes.web.openapi.results import FILE_HEADERS, form_names, result_paths
from processes.web.openapi.schemas import OBJECT, SCHEMAS, ref
from processes.web.openapi.security import secured
from processes.web.openapi.shares import SHARE_SCHEMAS, share_paths

MEDIA_TYPE = "application/vnd.oai.openapi+json;version=3.0"

_LD = {"application/ld+json": {"schema": OBJECT}}

_TAGS = (
    {"name": "service", "description": "What the service is"},
    {"name": "processes", "description": "What can be executed, and its execution"},
    {"name": "jobs", "description": "Requests that were accepted, and their results"},
    {"name": "collections", "description": "Finished results as layers: OGC API - Features"},
    {"name": "uploads", "description": "Files that are sent for images and features"},
    {"name": "operation", "description": "For who runs the service"},
)


def configured_document(configuration: Path) -> dict[str, Any]:
    """Return the document of the service that a `pygeoapi-config.yml` describes."""
    values = load_configuration(configuration)
    identification = values["metadata"]["identification"]
    processes = load_processes(configuration)
    title, description = identification["title"], identification["description"]
    document = openapi_document(processes, values["server"]["url"], title, description)
    return secured(document, load_settings(configuration))


def openapi_document(processes: Mapping[str, Process], url: str, title: str, description: str) -> dict[str, Any]:
    """Return the document.

    Args:
        processes: the processes by their ids.
        url: public base URL of the service.
        title: title of the service.
        description: description of the service.
    """
    descriptions = {name: process.frame() for name, process in processes.items()}
    components: Components = {**SCHEMAS, **COLLECTION_SCHEMAS, **PAGE_SCHEMAS, **MAP_SCHEMAS, **SHARE_SCHEMAS}
    for item in descriptions.values():
        named(components, request_name(item), request_schema(item, components))
        named(components, results_name(item), results_schema(item, components))
    with_jobs = [item for item in descriptions.values() if has_jobs(item)]
    return {
        "openapi": "3.0.3",
        "info": {"title": title, "description": description, "version": __version__},
        "servers": [{"url": url.rstrip("/")}],
        "tags": list(_TAGS),
        "paths": {
            **_service_paths(),
            **_process_paths(processes, descriptions, components),
            **_job_paths(),
            **share_paths(),
            **result_paths(with_jobs, form_names(processes), components),
            **collection_paths(),
            **page_paths(),
            **map_paths(),
            **upload_paths(),
            **_operation_paths(),
        },
        "components": {
            "schemas": components,
            "parameters": {**PARAMETERS, **COLLECTION_PARAMETERS},
            "headers": dict(HEADERS),
            "responses": dict(RESPONSES),
        },
    }


def _document(schema: str) -> dict[str, Any]:
    """Return the content of a response or a request that is a JSON document."""
    return {JSON: {"schema": ref("schemas", schema)}}


def _service_paths() -> dict[str, Any]:
    landing = {"200": response("The landing page", _document("landingPage") | HTML_PAGE | _LD)}
    conformance = {"200": response("Conformance classes", _document("conformance") | HTML_PAGE | _LD)}
    openapi = {"200": response("This document", {MEDIA_TYPE: {"schema": OBJECT}} | HTML_PAGE)}
    failures = error_responses([400, 500])
    return {
        "/": {"get": operation("getLandingPage", "service", "The service", landing | failures, ["fWithLd"])},
        "/openapi": {"get": operation("getOpenapi", "service", "This document", openapi | failures, ["f", "ui"])},
        "/conformance": {
            "get": operation(
                "getConformance", "service", "What the service conforms to", conformance | failures, ["fWithLd"]
            )
        },
    }


def _process_paths(
    processes: Mapping[str, Process], descriptions: Mapping[str, Description], components: Components
) -> dict[str, Any]:
    success = {"200": response("The processes", _document("processList") | HTML_PAGE | _LD)}
    responses = success | error_responses([400, 500])
    listing = operation("getProcesses", "processes", "All processes", responses, ["limit", "offset", "fWithLd"])
    paths: dict[str, Any] = {"/processes": {"get": listing}}
    for name, description in descriptions.items():
        is_sectioned = isinstance(processes[name], SectionedProcess)
        paths[f"/processes/{name}"] = {"get": _description(description)}
        paths[f"/processes/{name}/execution"] = {"post": _execution(description, is_sectioned, components)}
        if is_sectioned:
            paths[f"/processes/{name}/validate"] = {"post": _validation(description)}
    return paths


def _description(description: Description) -> dict[str, Any]:
    success = {"200": response("The description", _document("process") | HTML_PAGE | _LD)}
    return operation(
        f"describe{_camel(description)}",
        "processes",
        f"{description['title']}: inputs and outputs",
        success | error_responses([400, 500]),
        ["fWithLd"],
    )


def _execution(description: Description, is_sectioned: bool, components: Components) -> dict[str, Any]:
    """Return the operation that executes a process.

    Args:
        description: description of the process.
        is_sectioned: whether every request becomes a job, synchronous ones too.
        components: named schemas.
    """
    job_headers = ("Link", "Preference-Applied") if has_jobs(description) else ()
    headers = (*job_headers, *FILE_HEADERS) if is_sectioned else job_headers
    responses = {
        "200": response("The result, raw or in a document", content(result_forms(description, components)), headers)
    }
    more: dict[str, Any] = {"description": description["description"], "requestBody": _body(description)}
    if has_jobs(description):
        accepted = response("The job, which goes on", _document("statusInfo"), ("Location", "Preference-Applied"))
        responses["201"] = accepted | {"links": _job_links()}
        more["callbacks"] = _callbacks(description)
    if "reference" in description["outputTransmission"]:
        responses["204"] = response("The result is elsewhere, at a link", headers=job_headers)
    return operation(
        f"execute{_camel(description)}",
        "processes",
        f"{description['title']}: execution",
        responses | error_responses(_execution_errors(description)),
        ["Prefer"] if has_jobs(description) else (),
        **more,
    )


def _validation(description: Description) -> dict[str, Any]:
    success = {"200": response("The request would be accepted", _document("forecast"))}
    return operation(
        f"validate{_camel(description)}",
        "processes",
        f"{description['title']}: what a request comes to, without its execution",
        success | error_responses([status for status in _execution_errors(description) if status != 410]),
        requestBody=_body(description),
    )


def _execution_errors(description: Description) -> list[int]:
    job_errors = [403, 410, 429] if has_jobs(description) else []
    name_errors = [409] if "resultName" in description["inputs"] else []
    return [400, 406, 408, 413, 415, 500, 503, *job_errors, *name_errors]


def _body(description: Description) -> dict[str, Any]:
    example = example_of(description)
    example_member = {} if example is None else {"example": example}
    return {
        "required": True,
        "content": {JSON: {"schema": ref("schemas", request_name(description)), **example_member}},
    }


def _job_links() -> dict[str, Any]:
    parameters = {"jobId": "$response.body#/jobID"}
    return {
        operation: {"operationId": operation, "parameters": dict(parameters)}
        for operation in ("getJob", "dismissJob", "getResults")
    }


def _callbacks(description: Description) -> dict[str, Any]:
    """Return the requests that the service sends to a subscriber's URLs."""
    bodies = {"successUri": results_name(description), "inProgressUri": "statusInfo", "failedUri": "statusInfo"}
    responses = {"2XX": {"description": "Heard; at any other answer it is tried again"}}
    return {
        member: {
            f"{{$request.body#/subscriber/{member}}}": {
                "post": {
                    "operationId": f"tell{member[0].upper()}{member[1:]}Of{_camel(description)}",
                    "requestBody": {"required": True, "content": _document(schema)},
                    "responses": responses,
                }
            }
        }
        for member, schema in bodies.items()
    }


def _job_paths() -> dict[str, Any]:
    filters = ("type", "processID", "status", "datetime", "minDuration", "maxDuration", "limit", "offset", "f")
    jobs = {"200": response("A page of the list, the newest first", _document("jobList") | HTML_PAGE)}
    job = {"200": response("The job", _document("statusInfo") | HTML_PAGE)}
    dismissed = {"200": response("The job, dismissed", _document("statusInfo"))}
    return {
        "/jobs": {"get": operation("getJobs", "jobs", "All jobs", jobs | error_responses([400, 500, 503]), filters)},
        "/jobs/{jobId}": {
            "get": operation(
                "getJob", "jobs", "How a job goes", job | error_responses([400, 404, 500, 503]), ["jobId", "f"]
            ),
            "delete": operation(
                "dismissJob",
                "jobs",
                "Stop a job, or delete its result",
                dismissed | error_responses([404, 410, 500, 503]),
                ["jobId"],
            ),
        },
    }


def _operation_paths() -> dict[str, Any]:
    figures = {"200": response("Figures as Prometheus reads them", {"text/plain": {"schema": {"type": "string"}}})}
    well = {"200": response("The service is well", _document("health"))}
    return {
        "/health": {
            "get": operation(
                "getHealth",
                "operation",
                "Whether the job store answers, a runner works and there is space on the disks; an answer of 503 says "
                "in the members `store`, `runner` and `disk` what is wrong",
                well | error_responses([500, 503]),
            )
        },
        "/metrics": {
            "get": operation(
                "getMetrics", "operation", "Figures of jobs and slots", figures | error_responses([500, 503])
            )
        },
    }


def _camel(description: Description) -> str:
    """Return the id of a process as a part of the id of an operation."""
    return "".join(word.capitalize() for word in description["id"].split("-"))
