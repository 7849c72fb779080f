"""The landing page and the descriptions of processes: pygeoapi's, without what does not hold for this service."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

import msgspec
from flask import Response, request
from pygeoapi.api import API
from werkzeug.datastructures import Headers

from processes.errors import Fault, RequestError
from processes.plugin import Plugin
from processes.sources.media_types import HTML, JSON
from processes.web.pages import has_own_templates
from processes.web.paging import ListPage
from processes.web.process_page import process_page
from processes.web.views import View

LD = "application/ld+json"
_NOT_HERE = "/tiling-schemes"
"""End of the link relation by which pygeoapi links what only collections of a configuration have."""


def landing_view(api: API, original: View) -> View:
    """Return the view of the landing page, without a link to tiling schemes if there are none."""
    has_collections = any(item["type"] == "collection" for item in api.config["resources"].values())

    def remove_tiling_schemes(document: dict[str, Any]) -> None:
        document["links"] = [link for link in document["links"] if not link["rel"].endswith(_NOT_HERE)]

    def landing() -> Response:
        return original() if has_collections else _edit(original(), remove_tiling_schemes)

    return landing


def describe_view(api: API, original: View) -> View:
    """Return the view of one description, and of their list in pages, with the right job control options.

    pygeoapi adds asynchronous execution to every process.
    """

    def summary(process_id: str) -> dict[str, Any]:
        description = msgspec.json.decode(original(process_id).get_data())
        return {name: value for name, value in description.items() if name not in ("inputs", "outputs", "example")}

    def correct_job_control(description: dict[str, Any]) -> None:
        plugin = api.manager.get_processor(description["id"])
        if isinstance(plugin, Plugin):
            description["jobControlOptions"] = plugin.process.frame()["jobControlOptions"]

    def describe(process_id: str | None = None) -> Response:
        if process_id is not None:
            plugin = api.manager.get_processor(process_id) if process_id in api.manager.processes else None
            if isinstance(plugin, Plugin) and has_own_templates(api) and _wants_page():
                return process_page(api, process_id, plugin)
            return _edit(original(process_id), correct_job_control)
        faults: list[Fault] = []
        page = ListPage.read(faults)
        if faults:
            raise RequestError(faults)

        def select_page(document: dict[str, Any]) -> None:
            names = list(api.manager.processes)[page.offset :]
            summaries = {item["id"]: item for item in document["processes"]}  # pygeoapi lists the first ones only
            document["processes"] = [summaries.get(name) or summary(name) for name in names[: page.limit]]
            other_links = [link for link in document["links"] if link["type"] not in (JSON, HTML)]
            document["links"] = page.links(f"{api.base_url}/processes", len(names) > page.limit) + other_links
            for item in document["processes"]:
                correct_job_control(item)

        return _edit(original(), select_page)

    return describe


def _wants_page() -> bool:
    """Return whether pygeoapi would answer with a page."""
    form = request.args.get("f")
    return form == "html" if form is not None else request.accept_mimetypes.best_match([JSON, LD, HTML], JSON) == HTML


def _edit(response: Any, edit: Callable[[dict[str, Any]], None]) -> Response:
    """Return a response of pygeoapi's with its JSON document edited; a page or an error stays as it is."""
    response.headers = Headers(response.headers)  # pygeoapi sets a plain dict, in which case matters
    if response.status_code == HTTPStatus.OK and response.mimetype == JSON:
        document = msgspec.json.decode(response.get_data())
        edit(document)
        response.set_data(msgspec.json.encode(document))
    return cast(Response, response)
