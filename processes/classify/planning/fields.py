"""The fields that a run adds to each row, and the names that they must not have."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Literal

import pyarrow as pa

from processes.errors import InputError, LayerError
from processes.features.layer import Layer
from processes.features.writing.label_fields import DEFAULT_FIELD, label_fields
from processes.model.arguments import ModelArguments
from processes.model.definition import ModelDefinition
from processes.model.raster_functions import FieldKind, RasterFunction

FIELD_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")
IMAGE_ID = "ImageID"

_TYPES: Mapping[FieldKind, pa.DataType] = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64()}

ImageIdPosition = Literal["first", "after-status", "nowhere"]
"""Where the name of the row's image stands: before the label where rows are images, else after the status."""


def added_fields(
    label_field: str,
    definition: ModelDefinition,
    arguments: ModelArguments,
    image_id: ImageIdPosition,
    function: RasterFunction | None = None,
) -> list[pa.Field]:
    """Return the fields that a run adds to each row, in their order.

    With another label field than the default one the others are named after it, so that a result can be classified
    again.

    Args:
        label_field: name of the field that gets the label.
        definition: of the model.
        arguments: of the model.
        image_id: where the name of the row's image stands.
        function: the raster function that labels are of, whose own fields come last; None = they are the network's.
    """
    prefix = "" if label_field == DEFAULT_FIELD else f"{label_field}_"
    names = label_fields(label_field)
    fields = [
        pa.field(names.label, pa.string()),
        pa.field(names.value, pa.int64()),
        pa.field(names.confidence, pa.float64()),
        pa.field(names.status, pa.string()),
    ]
    if image_id == "first":
        fields.insert(0, pa.field(IMAGE_ID, pa.string()))
    elif image_id == "after-status":
        fields.append(pa.field(IMAGE_ID, pa.string()))
    if arguments.class_scores or definition.multi_label:
        fields += [pa.field(f"{prefix}Score_{item.name}", pa.float64()) for item in definition.classes]
    if function is not None:
        fields += [pa.field(item.name, _TYPES[item.kind]) for item in function.fields]
    return fields


def refuse_doubled_fields(fields: list[pa.Field], label_field: str, function: RasterFunction | None = None) -> None:
    """Raise InputError where the label field, or one of a raster function, has the name of another added field.

    Names are compared without case.

    Args:
        fields: the added fields.
        label_field: name of the field that gets the label.
        function: the raster function that labels are of; None = they are the network's.
    """
    names = Counter(field.name.lower() for field in fields)
    if names[label_field.lower()] > 1:
        raise InputError(f"classLabelField is {label_field!r}, the name of another field of the result")
    own = () if function is None else function.fields
    doubled = next((item.name for item in own if names[item.name.lower()] > 1), None)
    if doubled is not None:
        raise InputError(
            f"the raster function of the model has a field {doubled!r}, the name of another field of the result; "
            "choose another classLabelField, after which those are named"
        )


def refuse_existing_fields(
    fields: list[pa.Field], label_field: str, layer: Layer, function: RasterFunction | None = None
) -> None:
    """Raise LayerError where an added field has the name of an attribute, compared without case.

    Args:
        fields: the added fields.
        label_field: name of the field that gets the label.
        layer: the objects, with their attributes.
        function: the raster function that labels are of; None = they are the network's.
    """
    attributes = {name.lower(): name for name in layer.attributes.schema.names}
    doubled = [attributes[field.name.lower()] for field in fields if field.name.lower() in attributes]
    if doubled:
        fixed = {IMAGE_ID.lower(), *(item.name.lower() for item in (() if function is None else function.fields))}
        is_fixed = {name.lower() for name in doubled} <= fixed
        way_out = "rename it" if is_fixed else f"choose another classLabelField than {label_field!r}"
        raise LayerError(f"the features have the attribute {', '.join(map(repr, doubled))} already; {way_out}")
