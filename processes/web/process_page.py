"""The page of a process: a form that is made from its description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Response
from pygeoapi.api import API

from processes.ogc.process import SectionedProcess
from processes.ogc.request import Description
from processes.plugin import Plugin
from processes.web.pages import page
from processes.web.roles import EXECUTE, LIST_FOLDERS, UPLOAD
from processes.web.who import may

_MODELS = "describe-model"


def process_page(api: API, process_id: str, plugin: Plugin) -> Response:
    """Return the page of a process.

    Args:
        api: pygeoapi's API object.
        process_id: of the process.
        plugin: the process.
    """
    description = plugin.metadata
    data = {
        "id": process_id,
        "title": description["title"],
        "description": description["description"],
        "controls": [_control(name, item) for name, item in description["inputs"].items()],
        "outputs": [
            {"id": name, "title": item["title"], "types": _media_types(item)}
            for name, item in description["outputs"].items()
        ],
        "can_validate": isinstance(plugin.process, SectionedProcess),
        "can_wait": "async-execute" in plugin.process.frame()["jobControlOptions"],
        "describes_models": "model" in description["inputs"] and _MODELS in api.manager.processes,
        "may_run": may(EXECUTE, process_id),
        "max_upload_mb": plugin.settings.limits.max_upload_mb if may(UPLOAD) else 0,
        "has_folders": bool(plugin.settings.imagery) and may(LIST_FOLDERS),
        "example": msgspec.json.encode(description["example"]).decode() if "example" in description else "",
        "links": [],
    }
    return page(api, "processes/process.html", data)


def _control(name: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the form shows of an input: which kind of control, and with what in it."""
    schema = item["schema"]
    branches = schema.get("oneOf") or schema.get("allOf") or [schema]
    is_many = item.get("maxOccurs", 1) == "unbounded" or int(item.get("maxOccurs", 1)) > 1
    kind = _kind(branches, is_many)
    default = schema.get("default")
    example = next((branch["example"] for branch in (schema, *branches) if "example" in branch), None)
    return {
        "id": name,
        "title": item.get("title", name),
        "description": item.get("description", ""),
        "is_required": int(item.get("minOccurs", 1)) > 0,
        "is_many": is_many,
        "kind": kind,
        "choices": schema.get("enum", []),
        "default": _text(default),
        "hint": _text(default if default is not None else example),
    }


def _kind(branches: list[Description], is_many: bool) -> str:
    """Return the kind of control for values of these schemas."""
    if any("href" in branch.get("properties", {}) for branch in branches):
        return "link"
    if any(branch.get("format") == "ogc-bbox" for branch in branches):
        return "box"
    if len(branches) == 1 and "enum" in branches[0] and not is_many:
        return "choice"
    types = {branch.get("type") for branch in branches}
    if types <= {"integer", "number"}:
        return "number"
    if types <= {"string", "integer", "number"} and "string" in types:
        return "lines" if is_many else "text"
    return "json"


def _media_types(output: Mapping[str, Any]) -> list[str]:
    """Return the media types that an output can have, the default first."""
    branches = output["schema"].get("oneOf", [output["schema"]])
    return [branch["contentMediaType"] for branch in branches if "contentMediaType" in branch]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
