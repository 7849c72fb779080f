"""The installed models as JSON, for programs of an operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from processes.describe_model import function_info
from processes.model.package import Package


def models_as_json(packages: Sequence[Package]) -> str:
    """Return packages, what they are and what is wrong with them, as a JSON array."""
    return msgspec.json.format(msgspec.json.encode([_model(package) for package in packages])).decode()


def _model(package: Package) -> dict[str, Any]:
    """Return a package; keys without a value are left out."""
    definition, function = package.definition, package.function
    members = {
        "id": package.id,
        "sha256": package.sha256,
        "problem": package.problem,
        "warnings": list(package.warnings),
        "classes": definition and [{"Value": item.value, "Name": item.name} for item in definition.classes],
        "chip": definition and {"width": definition.chip_width, "height": definition.chip_height},
        "bands": definition and definition.bands,
        "rasterFunction": function and function_info(function),
    }
    return {name: value for name, value in members.items() if value is not None}
