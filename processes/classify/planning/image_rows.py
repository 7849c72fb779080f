"""Rows of images: each image, or the extent's part of it, is one object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from processes.classify.planning.extent import Extent
from processes.classify.planning.sources import Plan, PlannedRows, RequireFew, Sources
from processes.crs import CrsTransform, horizontal
from processes.errors import ImageError, RequestError
from processes.features.layer import Layer
from processes.imagery.chip_plan import ChipPlan
from processes.imagery.chips import Placement
from processes.imagery.grid import Grid
from processes.imagery.image import Image
from processes.imagery.tiles import BandSelection


def plan_images(sources: Sources, selections: Sequence[BandSelection], require_few: RequireFew) -> Plan:
    """Plan the rows of images that are objects themselves.

    Args:
        sources: what the run works on.
        selections: the bands that the model reads of each image.
        require_few: raises where there are too many rows.

    Raises:
        RequestError: some images have a reference and others have none.
    """
    images = sources.images
    _refuse_mixed(images)
    windows = list(_windows(images, sources.options.extent))
    require_few(len(windows), True)
    placement = Placement(
        np.array([image for image, _ in windows], np.int32),
        np.array([window for _, window in windows], np.int32).reshape(-1, 4),
    )
    rows = PlannedRows(
        sources=sources,
        layer=_outlines(images, placement),
        objects=np.arange(len(windows)),
        empty=np.zeros(len(windows), bool),
        ids=None,
        image_ids=placement.names_of([image.name for image in images]),
        warnings=(),
    )
    rule = sources.chip_rule(fixed_size=False, cell_size=None)
    return Plan(rows, ChipPlan(images, selections, rule, placement, mosaic=None, footprints=None))


def _refuse_mixed(images: Sequence[Image]) -> None:
    with_reference = [image.name for image in images if image.is_georeferenced]
    without = [image.name for image in images if not image.is_georeferenced]
    if with_reference and without:
        raise RequestError.at(
            "/inputs/image",
            ImageError(
                "without features all images have a spatial reference or none has: "
                f"{with_reference[0]!r} has one, {without[0]!r} has none"
            ),
        )


def _windows(images: Sequence[Image], extent: Extent | None) -> Iterator[tuple[int, tuple[int, int, int, int]]]:
    """Yield index and window (column, row, width, height) of each image that touches the extent."""
    for index, image in enumerate(images):
        if extent is None:
            yield index, (0, 0, image.grid.width, image.grid.height)
        elif parts := extent.parts(image.grid.corners(), image.grid.crs):
            yield index, _window_around(parts, image.grid)


def _window_around(parts: Sequence[NDArray[np.float64]], grid: Grid) -> tuple[int, int, int, int]:
    """Return the smallest window of whole cells of an image that covers points in its CRS, part by part."""
    pixels = [np.clip(grid.to_pixels(points), 0, (grid.width, grid.height)) for points in parts]
    low = np.floor(np.min([points.min(axis=0) for points in pixels], axis=0))
    high = np.ceil(np.max([points.max(axis=0) for points in pixels], axis=0))
    left, top = np.minimum(low, (grid.width - 1, grid.height - 1)).astype(int).tolist()
    right, bottom = np.maximum(high, (left + 1, top + 1)).astype(int).tolist()
    return left, top, right - left, bottom - top


def _outlines(images: Sequence[Image], placement: Placement) -> Layer:
    """Return the windows as polygons in the CRS of the first image; a table where images have no reference."""
    count = len(placement.image)
    attributes = pa.table({"": pa.nulls(count)}).select([])
    if not images[0].is_georeferenced:
        return Layer("images", None, None, "Unknown", attributes, None)
    target = horizontal(images[0].grid.crs)
    polygons = np.empty(count, object)
    for row, (image, window) in enumerate(zip(placement.image.tolist(), placement.windows.tolist(), strict=True)):
        grid = images[image].grid
        outline = np.array([shapely.Polygon(grid.window_corners(*window))])
        (polygons[row],) = CrsTransform(grid.crs, target).geometries(outline)
    wkb = pa.chunked_array([pa.array(shapely.to_wkb(polygons), pa.large_binary())], pa.large_binary())
    return Layer("images", target, wkb, "Polygon", attributes, None)
