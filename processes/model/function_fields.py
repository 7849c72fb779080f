"""The fields that a raster function adds to each object, as `getFields` has them."""

from __future__ import annotations

from typing import Any

from processes.errors import PackageError
from processes.model.keys import show
from processes.model.raster_functions import FieldKind, FunctionField

LABELS = ("label", "classlabel", "classname", "class_name", "class")
"""Names of the field that has the label, the most telling one first, compared without case."""
CONFIDENCES = ("confidence", "score", "probability")
"""Names of the field that has the confidence."""

_WHOLE = ("esrifieldtypesmallinteger", "esrifieldtypeinteger", "esrifieldtypebiginteger")
_NUMBERS = ("esrifieldtypesingle", "esrifieldtypedouble")
_NONE_OF_THE_OBJECT = ("esrifieldtypeoid", "esrifieldtypegeometry", "esrifieldtyperaster")
_MAX_FIELDS, _MAX_NAME_CHARACTERS = 200, 64


def added_by(fields: Any) -> tuple[FunctionField, ...]:
    """Return the fields that are added to each row, in order: all but id, shape, label and confidence.

    Args:
        fields: those of `getFields`.

    Raises:
        PackageError: they are no fields.
    """
    if not isinstance(fields, list) or len(fields) > _MAX_FIELDS:
        raise PackageError(f"getFields is {show(fields)}, not a list of at most {_MAX_FIELDS} fields")
    found = {}
    for item in fields:
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str) or not 0 < len(name.strip()) <= _MAX_NAME_CHARACTERS or not name.isprintable():
            raise PackageError(f"getFields has the field {show(item)}, whose name cannot be used")
        kind = str(item.get("type")).lower()
        if kind in _NONE_OF_THE_OBJECT or name.lower() == "oid":
            continue
        if name.lower() in found:
            raise PackageError(f"getFields has the field {name!r} more than once")
        found[name.lower()] = FunctionField(name, _kind(kind))
    for names in (LABELS, CONFIDENCES):
        found.pop(next((name for name in names if name in found), ""), None)
    return tuple(found.values())


def _kind(esri_type: str) -> FieldKind:
    """Return the kind of a field of Esri's type; dates, ids and blobs, which are base64, are texts."""
    if esri_type in _WHOLE:
        return "integer"
    return "number" if esri_type in _NUMBERS else "text"
