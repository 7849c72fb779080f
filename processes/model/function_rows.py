"""The rows that a raster function returns for chips: label, confidence, and its own fields."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from processes.errors import PackageError
from processes.model.definition import ModelClass
from processes.model.function_fields import CONFIDENCES, LABELS
from processes.model.keys import show
from processes.model.raster_functions import FieldKind, FunctionField

_PERCENT = 100


class FunctionRows(msgspec.Struct, frozen=True):
    """What a raster function gives of some chips."""

    labels: NDArray[np.object_]
    """The label as text, None = none, `(n,)`."""
    winner: NDArray[np.int32]
    """Index of the class whose name the label is, -1 = of no class alone, `(n,)`."""
    confidence: NDArray[np.float32]
    """0..1, NaN = not given, `(n,)`."""
    is_finite: NDArray[np.bool_]
    """False = the confidence is no finite number, `(n,)`."""
    scores: NDArray[np.float32]
    """Probabilities of all classes, as multi-label functions give them, NaN = not given, `(n, classes)`."""
    fields: tuple[NDArray[np.object_], ...]
    """The values of each of its own fields: text, number or None, `(n,)` each."""


def read_rows(rows: Any, count: int, fields: Sequence[FunctionField], classes: Sequence[ModelClass]) -> FunctionRows:
    """Read what a raster function returned.

    Args:
        rows: the attributes of each row.
        count: number of chips.
        fields: its own ones.
        classes: of the model.

    Raises:
        PackageError: there are not as many rows as chips, or one of them cannot be read.
    """
    if not isinstance(rows, list) or len(rows) != count:
        number = f"{len(rows)} rows" if isinstance(rows, list) else "no rows"
        raise PackageError(f"the raster function returned {number} for {count} chips")
    places = {item.name: place for place, item in enumerate(classes)}
    names_by_value = {item.value: item.name for item in classes}
    attributes = [_lowered(row) for row in rows]
    labels = [_label(_first(row, LABELS, "label"), names_by_value) for row in attributes]
    confidences = [_confidences(_first(row, CONFIDENCES)) for row in attributes]
    scores = np.full((count, len(classes)), np.nan, np.float32)
    for place, values in enumerate(confidences):
        if len(values) == len(classes):
            scores[place] = values
    confidence = [max(values) if values else math.nan for values in confidences]
    return FunctionRows(
        labels=_objects(labels),
        winner=np.array([places.get(label, -1) if label is not None else -1 for label in labels], np.int32),
        confidence=np.array(confidence, np.float32),
        is_finite=np.array([all(map(math.isfinite, values)) for values in confidences], bool),
        scores=scores,
        fields=tuple(_objects([_value(item, row.get(item.name.lower())) for row in attributes]) for item in fields),
    )


def _lowered(row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise PackageError(f"the raster function returned the row {show(row)}, which has no attributes")
    return {name.lower(): value for name, value in row.items()}


def _first(row: Mapping[str, Any], names: Sequence[str], required: str | None = None) -> Any:
    """Return the value of the first of some fields that a row has.

    Args:
        row: its attributes, their names in small letters.
        names: of the fields.
        required: what it is called where it must be there; None = it need not.
    """
    for name in names:
        if name in row:
            return row[name]
    if required is None:
        return None
    raise PackageError(f"the raster function returned a row without a {required}; it has {show(sorted(row))}")


def _label(value: Any, names_by_value: Mapping[int, str]) -> str | None:
    """Return a label as text; a number is the value of a class."""
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        whole = int(value) if math.isfinite(value) and value == int(value) else None
        return names_by_value.get(whole, _text(value)) if whole is not None else _text(value)
    return _text(value)


def _confidences(value: Any) -> list[float]:
    """Return confidences, 0..1: one, or those of all classes, which are joined by `;`. Empty = none is given."""
    if value is None or value == "":
        return []
    parts = value.split(";") if isinstance(value, str) else value if isinstance(value, list) else [value]
    return [_probability(part) for part in parts]


def _probability(value: Any) -> float:
    """Return a probability; functions of language models write 100 for 1."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (ValueError, TypeError, OverflowError) as err:
        raise PackageError(f"the raster function returned the confidence {show(value)}, which is no number") from err
    if not math.isfinite(number) or -1e-5 <= number <= 1 + 1e-5:
        return min(max(number, 0.0), 1.0) if math.isfinite(number) else math.nan
    if 1 < number <= _PERCENT:
        return number / _PERCENT
    raise PackageError(
        f"the raster function returned the confidence {show(value)}, which is neither from 0 to 1 nor per cent"
    )


def _value(field: FunctionField, value: Any) -> Any:
    if value is None:
        return None
    try:
        return _READERS[field.kind](value)
    except (ValueError, TypeError, OverflowError) as err:
        words = {"integer": "whole number", "number": "number", "text": "text"}[field.kind]
        raise PackageError(
            f"the raster function returned {show(value)} in the field {field.name!r}, which is no {words}"
        ) from err


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode(errors="replace").decode()


def _whole(value: Any) -> int:
    if isinstance(value, str) and value.strip().lstrip("+-").isdecimal():
        number = int(value)
    else:
        number = int(float(value))
        if number != float(value):
            raise ValueError
    if not -(2**63) <= number < 2**63:
        raise OverflowError
    return number


def _number(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


_READERS: Mapping[FieldKind, Callable[[Any], Any]] = {"text": _text, "integer": _whole, "number": _number}


def _objects(values: Sequence[Any]) -> NDArray[np.object_]:
    array = np.empty(len(values), object)
    array[:] = values
    return array
