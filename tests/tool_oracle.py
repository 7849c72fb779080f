"""What the whole tool returns, by the contract's words: the rows of `classifiedObjects`, in order, one object at a time.

Nothing is shared with the package. Chips are `oracle`'s, probabilities are `model_oracle`'s.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from model_oracle import Model, Verdict, judge
from oracle import TURN, Place, chip, each_image_opened_once, image_chip, one_piece, place_of, transformed

CRS84: Final = "OGC:CRS84"

type Rectangle = tuple[float, float, float, float]
"""(minx, miny, maxx, maxy), x before y whatever the CRS says."""


@dataclass(frozen=True)
class Feature:
    """An object of the input layer."""

    id: str | int | None
    geometry: BaseGeometry | None
    """In the layer's CRS, x before y."""
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What is asked of the tool."""

    images: Sequence[Path]
    features: Sequence[Feature] | None = None
    """None = each image is an object."""
    features_crs: str = CRS84
    extent: Mapping[str, Any] | None = None
    separate: bool = False
    cell_size: float | None = None
    label_field: str = "ClassLabel"
    class_scores: bool = False
    score_threshold: float | None = None
    test_time_augmentation: bool = False
    names: Sequence[str] | None = None
    """The images' names where they have no file name; None = those of the files."""


@dataclass(frozen=True)
class Row:
    """An object of the result."""

    id: str | int | None
    """None where the object has none of its own."""
    geometry: BaseGeometry | None
    crs: str | None
    """Of the geometry, None where it has none."""
    properties: dict[str, Any]
    """All fields; ImageID comes first without features, else after the status."""


def expected_rows(request: Request, model: Model) -> list[Row]:
    """Return the rows of the result, in order."""
    with each_image_opened_once():
        return _rows(request, model)


def _rows(request: Request, model: Model) -> list[Row]:
    if request.features is None:
        return list(_image_rows(request, model))
    kept = [
        (position, feature)
        for position, feature in enumerate(request.features, 1)
        if request.extent is None or in_extent(feature.geometry, request.features_crs, request.extent)
    ]
    row_of = _separate_rows if request.separate else _mosaic_row
    return [row for position, feature in kept for row in row_of(request, model, position, feature)]


def image_ids(request: Request) -> list[str]:
    """Return the images' names, with a number behind the names that are there already."""
    seen: dict[str, int] = {}
    ids = []
    for name in request.names or [path.name for path in request.images]:
        seen[name] = seen.get(name, 0) + 1
        ids.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return ids


def _mosaic_row(request: Request, model: Model, position: int, feature: Feature) -> Iterator[Row]:
    found = chip(request.images, feature.geometry, model.chip_rule(request.cell_size), request.features_crs)
    own = dict(feature.properties) | _fields(request, model, _verdict(request, model, found))
    yield Row(feature.id, feature.geometry, request.features_crs, own)


def _separate_rows(request: Request, model: Model, position: int, feature: Feature) -> Iterator[Row]:
    plain = str(position if feature.id is None else feature.id)

    def row(found: tuple[NDArray[np.float32] | None, str], image_id: str | None) -> Row:
        fields = _fields(request, model, _verdict(request, model, found), {"ImageID": image_id})
        row_id = plain if image_id is None else f"{plain}:{image_id}"
        return Row(row_id, feature.geometry, request.features_crs, dict(feature.properties) | fields)

    if feature.geometry is None or feature.geometry.is_empty:
        yield row((None, "empty-geometry"), None)
        return
    touches_any = False
    for path, image_id in zip(request.images, image_ids(request), strict=True):
        if place_of(path).touches(feature.geometry, request.features_crs):
            touches_any = True
            rule = model.chip_rule(request.cell_size)
            yield row(chip([path], feature.geometry, rule, request.features_crs), image_id)
    if not touches_any:
        yield row((None, "outside-image"), None)


def _image_rows(request: Request, model: Model) -> Iterator[Row]:
    for path, image_id in zip(request.images, image_ids(request), strict=True):
        place = place_of(path)
        window = Window(0, 0, place.width, place.height)
        if request.extent is not None:
            part = extent_window(place, request.extent)
            if part is None:
                continue
            window = part
        found = image_chip(path, model.chip_rule(), window)
        fields = {"ImageID": image_id} | _fields(request, model, _verdict(request, model, found))
        outline = place.outline(window) if place.crs else None
        yield Row(None, outline, place.crs, fields)


def _verdict(request: Request, model: Model, found: tuple[NDArray[np.float32] | None, str]) -> Verdict:
    return judge(model, *found, request.score_threshold, request.test_time_augmentation)


def _fields(
    request: Request, model: Model, verdict: Verdict, image_id: Mapping[str, str | None] | None = None
) -> dict[str, Any]:
    """Return the added fields, by name."""
    label = request.label_field
    names = ["ClassLabel", "ClassValue", "Confidence", "ClassStatus"]
    prefix = ""
    if label != "ClassLabel":
        names, prefix = [label, f"{label}_Value", f"{label}_Confidence", f"{label}_Status"], f"{label}_"
    said = (verdict.label, verdict.value, verdict.confidence, verdict.status)
    fields = dict(zip(names, said, strict=True)) | dict(image_id or {})
    if request.class_scores or model.is_multi_label:
        fields |= {f"{prefix}Score_{name}": score for name, score in zip(model.names, verdict.scores, strict=True)}
    return fields


def rectangles(extent: Mapping[str, Any]) -> tuple[str, list[Rectangle]]:
    """Return the name of an extent's CRS and its rectangles, two where it crosses the antimeridian."""
    numbers = list(extent["bbox"])
    x0, y0, x1, y1 = numbers if len(numbers) == 4 else (numbers[0], numbers[1], numbers[3], numbers[4])
    name = extent.get("crs", CRS84)
    is_uri = name.startswith(("http", "urn:"))
    if is_uri and CRS.from_user_input(name).axis_info[0].direction == "north":
        x0, y0, x1, y1 = y0, x0, y1, x1
    if x0 > x1:
        return name, [(x0, y0, 180.0, y1), (-180.0, y0, x1, y1)]
    return name, [(x0, y0, x1, y1)]


def in_extent(geometry: BaseGeometry | None, geometry_crs: str, extent: Mapping[str, Any]) -> bool:
    """Say whether a feature intersects an extent, edges included; empty ones don't."""
    if geometry is None or geometry.is_empty:
        return False
    crs, parts = rectangles(extent)
    moved = transformed(geometry, geometry_crs, crs)
    turns = (0, -TURN, TURN, -2 * TURN, 2 * TURN) if CRS.from_user_input(crs).is_geographic else (0,)
    boxes = [shapely.box(minx + turn, miny, maxx + turn, maxy) for minx, miny, maxx, maxy in parts for turn in turns]
    return any(one_piece(moved).intersects(box) if len(turns) > 1 else moved.intersects(box) for box in boxes)


def crs_is_geographic(crs: str, place: Place) -> bool:
    """Say whether an extent and an image both have longitudes, which are taken modulo 360."""
    return CRS.from_user_input(crs).is_geographic and CRS.from_user_input(place.crs).is_geographic


def extent_window(place: Place, extent: Mapping[str, Any]) -> Window | None:
    """Return the smallest window of whole cells that covers an image's part of an extent, None if it has none."""
    crs, parts = rectangles(extent)
    boxes = []
    turns = (0, -TURN, TURN) if crs_is_geographic(crs, place) else (0,)
    for minx, miny, maxx, maxy in [
        (part[0] + turn, part[1], part[2] + turn, part[3]) for part in parts for turn in turns
    ]:
        corners = shapely.MultiPoint([(minx, miny), (minx, maxy), (maxx, maxy), (maxx, miny)])
        left, upper, right, lower = place.in_grid(corners, crs).bounds
        left, upper, right, lower = max(left, 0), max(upper, 0), min(right, place.width), min(lower, place.height)
        if left < right and upper < lower:
            boxes.append((np.floor(left), np.floor(upper), np.ceil(right), np.ceil(lower)))
    if not boxes:
        return None
    left, upper = np.min(boxes, axis=0)[:2].astype(int).tolist()
    right, lower = np.max(boxes, axis=0)[2:].astype(int).tolist()
    return Window(left, upper, right - left, lower - upper)
