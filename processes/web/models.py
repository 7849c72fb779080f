"""The view of the installed models: what they are, what they tell apart, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Response
from pygeoapi.api import API

from processes.model.card import read_card
from processes.model.catalog import Catalog
from processes.model.package import Package
from processes.settings import Settings
from processes.web.pages import page, wants_page
from processes.web.views import View, json_response

_MAX_README = 20_000
"""Characters of a package's own text that are shown."""


def models_view(api: API, settings: Settings) -> View:
    """Return the view of the models, as JSON or as a page."""
    catalog = Catalog.from_settings(settings, waits=False)

    def models() -> Response:
        is_page = wants_page()
        packages = {item.id: item for item in catalog.check_packages()}
        found = [
            _document(packages[model_id])
            if model_id in packages
            else {"id": model_id, "isUsable": False, "problem": "it is being checked"}
            for model_id in catalog.package_paths()
        ]
        return page(api, "models.html", {"models": found, "links": []}) if is_page else json_response({"models": found})

    return models


def _document(package: Package) -> dict[str, Any]:
    """Return what is told of a package; keys without a value are left out."""
    definition = package.definition
    members = {
        "id": package.id,
        "isUsable": package.problem is None,
        "problem": package.problem,
        "sha256": package.sha256,
        "warnings": list(package.warnings) or None,
        "classes": definition
        and [
            {"name": item.name, "value": item.value}
            | ({} if item.color is None else {"color": "#{:02x}{:02x}{:02x}".format(*item.color)})
            for item in definition.classes
        ],
        "multiLabel": definition and definition.multi_label,
        "chip": definition and {"width": definition.chip_width, "height": definition.chip_height},
        "bands": None if definition is None or definition.bands is None else list(definition.bands),
        "readme": None if package.folder is None else _readme(package.folder),
        "card": dict(read_card(package.folder).properties) or None if package.folder else None,
    }
    return {name: value for name, value in members.items() if value is not None}


def _readme(folder: Path) -> str | None:
    """Return the text that tells of a model in its package; None = there is none."""
    try:
        with (folder / "README.md").open(encoding="utf-8", errors="replace") as file:
            return file.read(_MAX_README)
    except OSError:
        return None
