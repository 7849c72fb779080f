"""The card that a package may carry: a STAC item of the extension MLM, in a `.json` file at its root.

What it says is shown, where the package itself says nothing of it. No label depends on it. Where it names other classes
than the package, or another number of bands, one of the two is wrong: there is a warning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from processes.model.definition import ModelClass

_MAX_BYTES = 2**20
_MAX_FILES = 20
"""Files of a package that may be its card."""
_VERSION = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}([-+][0-9A-Za-z.+-]*[0-9A-Za-z])?")
"""As MLM takes the version of a framework."""
_EXTENSION = "/mlm/"
"""A part of the extension's address in each of its versions."""
_CLASSES = "classification:classes"
_BAND_AXES = ("bands", "band", "channel", "channels")
_NOT_OF_WORDS = re.compile(r"[\W_]+")
_SHOWN_NAMES, _SHOWN_CHARACTERS = 5, 40


class ModelCard(msgspec.Struct, frozen=True):
    """What a card says that the package does not."""

    properties: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Of the item: those that `_PROPERTIES` names, as far as they have the right type."""
    geometry: Mapping[str, Any] | None = None
    """Where the model is meant for, a GeoJSON geometry; None = not stated."""
    bbox: list[float] | None = None
    """Of the geometry."""
    classes: tuple[Mapping[str, Any], ...] = ()
    """Each with the text `name`, as far as the card has classes of one output; empty = it has none."""
    bands: int | None = None
    """Number of bands that the network takes; None = not stated."""


def read_card(folder: Path) -> ModelCard:
    """Return the card of a package; an empty one where it has none, or several.

    Args:
        folder: where the package's contents lie.
    """
    cards = _cards(folder)
    return _card(next(iter(cards.values()))) if len(cards) == 1 else ModelCard()


def card_file(folder: Path) -> Path | None:
    """Return the file of a package's card; None = it has none, or several; `folder` as `read_card` has it."""
    cards = _cards(folder)
    return next(iter(cards)) if len(cards) == 1 else None


def _cards(folder: Path) -> dict[Path, Mapping[str, Any]]:
    found = {}
    with suppress(OSError):
        for path in sorted(path for path in folder.iterdir() if path.suffix.lower() == ".json")[:_MAX_FILES]:
            item = _item(path)
            if item is not None:
                found[path] = item
    return found


def contradictions(card: ModelCard, classes: Sequence[ModelClass], bands: int | None) -> tuple[str, ...]:
    """Return a sentence for each thing that a card says in another way than its package.

    Args:
        card: of the package.
        classes: of the package.
        bands: number of bands that the network takes; None = any, or not known.
    """
    found = []
    if card.classes and not _same_classes(card.classes, classes):
        stated = _shown([str(item["name"]) for item in card.classes])
        own = _shown([item.name for item in classes])
        found.append(f"the model card has the classes {stated}, the .emd has {own}, which count: one of them is wrong")
    if None not in (card.bands, bands) and card.bands != bands:
        found.append(f"the model card says that the network takes {card.bands} bands, but it takes {bands}")
    return tuple(found)


def _same_classes(stated: Sequence[Mapping[str, Any]], classes: Sequence[ModelClass]) -> bool:
    """Return whether each class has its like, of the same value where the values are the same ones."""
    if len(stated) != len(classes):
        return False
    by_value = {item["value"]: item for item in stated if isinstance(item.get("value"), int)}
    if by_value.keys() == {item.value for item in classes}:
        return all(_is_of_name(by_value[item.value], item.name) for item in classes)
    return all(any(_is_of_name(given, item.name) for given in stated) for item in classes)


def _is_of_name(stated: Mapping[str, Any], name: str) -> bool:
    """Return whether a card means a class of a name; in `name` STAC has no more than letters, digits, - and _."""
    return _words(name) in [_words(stated.get(key)) for key in ("name", "description", "title")]


def _words(value: Any) -> str:
    return _NOT_OF_WORDS.sub("", str(value).casefold())


def _shown(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    shown = ", ".join(repr(name[:_SHOWN_CHARACTERS]) for name in names[:_SHOWN_NAMES])
    return f"{shown} and {more} more" if more > 0 else shown


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
    card = ModelCard(properties, classes=_classes(stated.get("mlm:output")), bands=_bands(stated.get("mlm:input")))
    geometry, bbox = item.get("geometry"), item.get("bbox")
    if isinstance(geometry, dict) and isinstance(bbox, list) and len(bbox) in (4, 6) and all(map(_is_number, bbox)):
        return msgspec.structs.replace(card, geometry=geometry, bbox=bbox)
    return card


def _classes(outputs: Any) -> tuple[Mapping[str, Any], ...]:
    """Return the classes of the only output that has some; of MLM's `mlm:output`, which may be anything."""
    found = [item[_CLASSES] for item in _objects(outputs) if isinstance(item.get(_CLASSES), list)]
    classes = _objects(found[0]) if len(found) == 1 else []
    return tuple(classes) if all(_is_text(item.get("name")) for item in classes) else ()


def _bands(inputs: Any) -> int | None:
    """Return the extent of the axis of bands of the only input; of MLM's `mlm:input`, which may be anything."""
    structures = [item["input"] for item in _objects(inputs) if isinstance(item.get("input"), dict)]
    if len(structures) != 1:
        return None
    shape, axes = structures[0].get("shape"), structures[0].get("dim_order")
    if not isinstance(shape, list) or not isinstance(axes, list) or len(shape) != len(axes):
        return None
    extents = [extent for extent, axis in zip(shape, axes, strict=True) if axis in _BAND_AXES]
    return extents[0] if len(extents) == 1 and _is_count(extents[0]) and extents[0] > 0 else None


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


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
