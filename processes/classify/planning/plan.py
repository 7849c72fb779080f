"""A plan: material in, the chip of each row out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from processes.classify.planning.bands import select_bands
from processes.classify.planning.feature_rows import plan_features
from processes.classify.planning.fields import refuse_doubled_fields, refuse_taken_fields
from processes.classify.planning.image_rows import plan_images
from processes.classify.planning.sources import Plan, Sources
from processes.errors import Fault, ImageError, LimitError, RequestError, collect_faults
from processes.imagery.tiles import BandSelection


def plan(sources: Sources, max_objects: int, sync_max_objects: int | None = None, faults: Sequence[Fault] = ()) -> Plan:
    """Say which chip each object gets.

    Args:
        material: what to work on.
        max_objects: limit of the number of rows.
        sync_max_objects: limit of a synchronous run; None = it is none.
        faults: what is wrong with the request otherwise.

    Raises:
        RequestError: images, features and model do not go together; every fault with its pointer.
        LimitError: more rows than allowed.
    """

    def require_few(rows: int, are_all: bool) -> None:
        found = f"{rows} objects" if are_all else f"{rows} objects and more"
        if sync_max_objects is not None and rows > sync_max_objects:
            found += " in one synchronous request; send Prefer: respond-async"
            raise LimitError("sync_max_objects", sync_max_objects, found)
        if rows > max_objects:
            raise LimitError("max_objects", max_objects, found)

    selections = checked(sources, faults, sources.layer is not None)
    if sources.layer is None:
        planned = plan_images(sources, selections, require_few)
    else:
        planned = plan_features(sources, sources.layer, selections, require_few)
    warnings = (*planned.rows.warnings, *_cell_size_warnings(sources))
    return Plan(dataclasses.replace(planned.rows, warnings=warnings), planned.work)


def checked(sources: Sources, faults: Sequence[Fault], has_features: bool) -> list[BandSelection]:
    """Return what the model takes of each image.

    Args:
        material: what to work on.
        faults: what is wrong with the request otherwise; then there is nothing to return.
        has_features: whether the request has some; where it has, and they could not be read, there is no layer.

    Raises:
        RequestError: everything that can be seen to be wrong without a look at the objects.
    """
    found, options = list(faults), sources.options
    selections: list[BandSelection] = []
    if sources.layer is not None or not has_features:
        with collect_faults(found, "/inputs/classLabelField"):
            refuse_doubled_fields(sources.added_fields, options.label_field)
    with collect_faults(found, "/inputs/image"):
        selections = select_bands(sources.images, sources.image_pointers, sources.model)
    if sources.layer is not None:
        with collect_faults(found, "/inputs/features"):
            refuse_taken_fields(sources.added_fields, options.label_field, sources.layer)
    if has_features:
        with collect_faults(found, "/inputs/image"):
            _require_references(sources, "with features every image needs one")
    elif options.extent is not None:
        with collect_faults(found, "/inputs/image"):
            _require_references(sources, "with an extent every image needs one")
    if found:
        raise RequestError(found)
    return selections


def _require_references(sources: Sources, reason: str) -> None:
    faults = [
        Fault(pointer, ImageError(f"image {image.name!r} has no spatial reference; {reason}"))
        for image, pointer in zip(sources.images, sources.image_pointers, strict=True)
        if not image.is_georeferenced
    ]
    if faults:
        raise RequestError(faults)


def _cell_size_warnings(sources: Sources) -> list[str]:
    """Warn of the first image that is sampled outside the model's range of cell sizes."""
    definition = sources.model.definition
    low, high = definition.min_cell_size or 0, definition.max_cell_size or float("inf")
    asked = sources.options.cell_size if sources.layer is not None and definition.fixed_size else None
    for image in sources.images:
        used = asked or image.grid.cell_size[0]
        if image.is_georeferenced and not low <= used <= high:
            wanted = f"{low:g} to {'any' if high == float('inf') else format(high, 'g')}"
            return [f"the cell size {used:g} of image {image.name!r} lies outside the model's range, {wanted}"]
    return []
