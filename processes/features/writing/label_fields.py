"""The names of the fields that every result has."""

from __future__ import annotations

from typing import NamedTuple

DEFAULT_FIELD = "ClassLabel"


class LabelFields(NamedTuple):
    """The names of the fields of a label."""

    label: str
    value: str
    confidence: str
    status: str


def label_fields(label: str) -> LabelFields:
    """Return the names of the fields of a label.

    With another label field than the default one the others are named after it, so that a result can be classified
    again.
    """
    if label == DEFAULT_FIELD:
        return LabelFields(label, "ClassValue", "Confidence", "ClassStatus")
    return LabelFields(label, f"{label}_Value", f"{label}_Confidence", f"{label}_Status")
