"""Planning: sources in, the chip of each row out."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from processes.classify.planning.bands import select_bands
from processes.classify.planning.cell_sizes import cell_size_warnings
from processes.classify.planning.feature_rows import plan_features
from processes.classify.planning.fields import refuse_doubled_fields, refuse_existing_fields
from processes.classify.planning.image_rows import plan_images
from processes.classify.planning.sources import Plan, Sources
from processes.errors import Fault, ImageError, LimitError, RequestError, collect_faults
from processes.imagery.tiles import BandSelection


def plan(sources: Sources, max_objects: int, sync_max_objects: int | None = None, faults: Sequence[Fault] = ()) -> Plan:
    """Return the chip of each object.

    Args:
        sources: what the run works on.
        max_objects: limit of the number of rows.
        sync_max_objects: limit of the number of rows in a synchronous run; None = the run is asynchronous.
        faults: of the request otherwise.

    Raises:
        RequestError: images, features and model do not fit together; each fault has its pointer.
        LimitError: more rows than allowed.
    """

    def require_few(rows: int, are_all: bool) -> None:
        amount = f"{rows} objects" if are_all else f"{rows} objects and more"
        if sync_max_objects is not None and rows > sync_max_objects:
            amount += " in one synchronous request; send Prefer: respond-async"
            raise LimitError("sync_max_objects", sync_max_objects, amount)
        if rows > max_objects:
            raise LimitError("max_objects", max_objects, amount)

    selections = checked(sources, faults, sources.layer is not None)
    if sources.layer is None:
        planned = plan_images(sources, selections, require_few)
    else:
        planned = plan_features(sources, sources.layer, selections, require_few)
    warnings = (*sources.warnings, *planned.rows.warnings, *cell_size_warnings(sources))
    return Plan(msgspec.structs.replace(planned.rows, warnings=warnings), planned.chips)


def checked(sources: Sources, faults: Sequence[Fault], has_features: bool) -> list[BandSelection]:
    """Return the bands that the model reads of each image, after all checks that need no object.

    Args:
        sources: what the run works on.
        faults: of the request otherwise; where there are some, this raises.
        has_features: whether the request has features; where they could not be read, the sources have no layer.

    Raises:
        RequestError: all faults, those of `faults` too.
    """
    all_faults, options = list(faults), sources.options
    selections: list[BandSelection] = []
    if sources.layer is not None or not has_features:
        with collect_faults(all_faults, "/inputs/classLabelField"):
            refuse_doubled_fields(sources.added_fields, options.label_field, sources.model.own_function)
    with collect_faults(all_faults, "/inputs/image"):
        selections = select_bands(sources.images, sources.image_pointers, sources.model)
    if sources.layer is not None:
        with collect_faults(all_faults, "/inputs/features"):
            function = sources.model.own_function
            refuse_existing_fields(sources.added_fields, options.label_field, sources.layer, function)
    if has_features:
        with collect_faults(all_faults, "/inputs/image"):
            _require_references(sources, "with features every image needs one")
    elif options.extent is not None:
        with collect_faults(all_faults, "/inputs/image"):
            _require_references(sources, "with an extent every image needs one")
    if all_faults:
        raise RequestError(all_faults)
    return selections


def _require_references(sources: Sources, reason: str) -> None:
    faults = [
        Fault(pointer, ImageError(f"image {image.name!r} has no spatial reference; {reason}"))
        for image, pointer in zip(sources.images, sources.image_pointers, strict=True)
        if not image.is_georeferenced
    ]
    if faults:
        raise RequestError(faults)
