"""The landing page and the descriptions of processes: pygeoapi's, without what is not true of this service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec
from flask import Response
from pygeoapi.api import API
from werkzeug.datastructures import Headers

from processes.errors import Fault, RequestError
from processes.plugin import Plugin
from processes.web.paging import ListPage

View = Callable[..., Any]

_JSON = "application/json"
_OF_COLLECTIONS = ("data", "/tiling-schemes")
"""Ends of the relations that pygeoapi links collections by."""


def landing_view(api: API, original: View) -> View:
    """Return the view of the landing page: without links to collections where there are none."""
    has_collections = any(item["type"] == "collection" for item in api.config["resources"].values())

    def without_collections(document: dict[str, Any]) -> None:
        document["links"] = [link for link in document["links"] if not link["rel"].endswith(_OF_COLLECTIONS)]

    def landing() -> Response:
        return original() if has_collections else _changed(original(), without_collections)

    return landing


def describe_view(api: API, original: View) -> View:
    """Return the view of descriptions: the list in pages, none with asynchronous execution that it has not got."""

    def summary(process_id: str) -> dict[str, Any]:
        found = msgspec.json.decode(original(process_id).get_data())
        return {name: value for name, value in found.items() if name not in ("inputs", "outputs", "example")}

    def truly(item: dict[str, Any]) -> None:
        plugin = api.manager.get_processor(item["id"])
        if isinstance(plugin, Plugin):
            item["jobControlOptions"] = plugin.metadata["jobControlOptions"]

    def describe(process_id: str | None = None) -> Response:
        if process_id is not None:
            return _changed(original(process_id), truly)
        faults: list[Fault] = []
        page = ListPage.read(faults)
        if faults:
            raise RequestError(faults)

        def in_pages(document: dict[str, Any]) -> None:
            names = list(api.manager.processes)[page.offset :]
            known = {item["id"]: item for item in document["processes"]}  # the first ones
            document["processes"] = [known.get(name) or summary(name) for name in names[: page.limit]]
            others = [link for link in document["links"] if link["type"] not in (_JSON, "text/html")]
            document["links"] = page.links(f"{api.base_url}/processes", len(names) > page.limit) + others
            for item in document["processes"]:
                truly(item)

        return _changed(original(), in_pages)

    return describe


def _changed(response: Any, change: Callable[[dict[str, Any]], None]) -> Response:
    """Return a response of pygeoapi's with its JSON document changed; a page or an error stays as it is."""
    response.headers = Headers(response.headers)  # pygeoapi sets a plain dict, in which case matters
    if response.status_code == 200 and response.mimetype == _JSON:
        document = msgspec.json.decode(response.get_data())
        change(document)
        response.set_data(msgspec.json.encode(document))
    return cast(Response, response)
