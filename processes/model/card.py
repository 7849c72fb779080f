"""The card that a package may carry: a STAC item of the extension MLM, in a `.json` file at its root.

What it says is shown, where the package itself says nothing of it. No label depends on it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_MAX_BYTES = 2**20
_MAX_FILES = 20
"""Files of a package that may be its card."""
_VERSION = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}([-+][0-9A-Za-z.+-]*[0-9A-Za-z])?")
"""As MLM takes the version of a framework."""
_EXTENSION = "/mlm/"
"""A part of the extension's address in each of its versions."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a card says that the package does not."""

    properties: Mapping[str, Any] = field(default_factory=dict)
    """Of the item: those that `_PROPERTIES` names, as far as they have the right type."""
    geometry: Mapping[str, Any] | None = None
    """Where the model is meant for, a GeoJSON geometry; None = not stated."""
    bbox: list[float] | None = None
    """Of the geometry."""


def read_card(folder: Path) -> ModelCard:
    """Return the card of a package; an empty one where it has none, or several.

    Args:
        folder: where the package's contents lie.
    """
    with suppress(OSError):
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".json")[:_MAX_FILES]
        cards = [card for card in map(_item, paths) if card is not None]
        if len(cards) == 1:
            return _card(cards[0])
    return ModelCard()


def _item(path: Path) -> Mapping[str, Any] | None:
    """Return the STAC item of the extension in a file; None = it holds something else."""
    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return None
        document = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.get("type") != "Feature" or "stac_version" not in document:
        return None
    extensions = document.get("stac_extensions")
    is_card = isinstance(extensions, list) and any(_EXTENSION in str(name) for name in extensions)
    return document if is_card else None


def _card(item: Mapping[str, Any]) -> ModelCard:
    stated = item.get("properties")
    stated = stated if isinstance(stated, dict) else {}
    properties = {name: stated[name] for name, is_right in _PROPERTIES.items() if is_right(stated.get(name))}
    geometry, bbox = item.get("geometry"), item.get("bbox")
    if isinstance(geometry, dict) and isinstance(bbox, list) and len(bbox) in (4, 6) and all(map(_is_number, bbox)):
        return ModelCard(properties, geometry, bbox)
    return ModelCard(properties)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and bool(value)


def _is_list(value: Any, is_right: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and bool(value) and all(map(is_right, value))


_PROPERTIES: Mapping[str, Callable[[Any], bool]] = {
    "title": _is_text,
    "description": _is_text,
    "keywords": lambda value: _is_list(value, _is_text),
    "license": _is_text,
    "providers": lambda value: _is_list(value, lambda item: _is_object(item) and _is_text(item.get("name"))),
    "datetime": _is_text,
    "start_datetime": _is_text,
    "end_datetime": _is_text,
    "mlm:architecture": _is_text,
    "mlm:framework": lambda value: _is_text(value) and value == value.strip("._- \t\n"),
    "mlm:framework_version": lambda value: _is_text(value) and _VERSION.fullmatch(value) is not None,
    "mlm:memory_size": _is_count,
    "mlm:total_parameters": _is_count,
    "mlm:pretrained": _is_flag,
    "mlm:pretrained_source": _is_text,
    "mlm:batch_size_suggestion": _is_count,
    "mlm:hyperparameters": _is_object,
}
"""What is taken from a card, and whether a value has the right type."""
