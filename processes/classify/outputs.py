"""The output of a run as files: the result, and beside it what other forms of the result are made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from processes.classify.description import OUTPUT
from processes.classify.labels import ClassStatus, Labels
from processes.classify.planning.sources import Plan, PlannedRows
from processes.classify.publish import publish
from processes.classify.sections import OutputOptions, SavedPlan, save_images
from processes.classify.stored_chips import ChipSources, store_chips
from processes.crs import crs_from_text
from processes.features.serving.feature_index import extent
from processes.features.serving.map_index import MAX_OBJECTS, write_map_index
from processes.features.serving.served_crs import served_crs
from processes.features.serving.stored_result import StoredResult
from processes.features.writing.formats import format_of_media_type
from processes.imagery.chips import Placement
from processes.ogc.process import LayerInfo, Output
from processes.sources.seal import Seal
from processes.sources.stamps import FileStamp

_MAPPED_ROWS = 10_000
"""A result with fewer rows gets its place on a map within the request that asks for it."""


def published(
    rows: PlannedRows,
    labels: Labels,
    output: OutputOptions,
    folder: Path,
    stores: bool,
    chips: tuple[ChipSources, Placement, Seal] | None = None,
) -> Output:
    """Write the result into a folder.

    Args:
        rows: the rows.
        labels: of the rows.
        output: the form of the result.
        folder: for the files.
        stores: True = other forms of the result can be made later.
        chips: where the chips lie; None = it is not known, or not stored.
    """
    labels.status[rows.empty] = ClassStatus.EMPTY_GEOMETRY
    output_format, stored = format_of_media_type(output.media_type), dict[str, Path]()
    if stores:
        stored["result"] = folder / "stored-result.arrow"
    if chips is not None:
        stored["chips"] = folder / "stored-chips.arrow"
        sources, placement, seal = chips
        store_chips(sources, placement, stored["chips"], seal)
    path = folder / f"{OUTPUT}{output_format.ending}"
    crs = None if output.crs is None else crs_from_text(output.crs)
    summary = publish(rows, labels, output_format, crs, path, output.result_name, stored.get("result"))
    if stores and rows.layer.crs is not None and _MAPPED_ROWS <= len(rows) <= MAX_OBJECTS:
        stored["map"] = folder / "stored-map.arrow"
        write_map_index(stored["result"], stored["map"])
    layer = _layer_info(StoredResult(stored["result"])) if stores and rows.layer.crs is not None else None
    return Output(OUTPUT, output.media_type, path, summary, stored, layer)


def _layer_info(stored: StoredResult) -> LayerInfo:
    return LayerInfo(served_crs(stored).own_uri, extent(stored))


def chips_of(
    plan: Plan, file_stamps: Sequence[FileStamp], opened: Path, seal: Seal
) -> tuple[ChipSources, Placement, Seal]:
    """Return where the chips of a plan lie, to be stored.

    Args:
        plan: the plan.
        file_stamps: its images as they were when the request was accepted.
        opened: folder of the images that this run alone has; they are gone after it.
        seal: of the deployment.
    """
    chips, crs = plan.chips, plan.rows.layer.crs
    sources = ChipSources(
        images=save_images(chips.images, opened, lambda _name, _path: None),
        selections=list(chips.selections),
        rule=chips.rule,
        is_mosaic=chips.mosaic is not None,
        blackens=chips.footprints is not None,
        layer_crs=None if crs is None else crs.to_json(),
        file_stamps=tuple(file_stamps),
    )
    return sources, chips.placement, seal


def saved_chips(
    saved: SavedPlan, placement: Placement | None, seal: Seal
) -> tuple[ChipSources, Placement, Seal] | None:
    """Return where the chips of a saved plan lie, to be stored; None = it is not known.

    Args:
        saved: the plan.
        placement: of its rows; None = it was not kept.
        seal: of the deployment.
    """
    if placement is None:
        return None
    sources = ChipSources(
        images=saved.images,
        selections=saved.selections,
        rule=saved.rule,
        is_mosaic=saved.is_mosaic,
        blackens=saved.blackens,
        layer_crs=saved.layer_crs,
        file_stamps=saved.file_stamps,
    )
    return sources, placement, seal
