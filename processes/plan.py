"""Which chip each object gets: images, features and model put together, as geometry, before any pixel is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from processes.classify import Work
from processes.crs import Reprojection, crs_from_wkt
from processes.errors import (
    Fault,
    ImageError,
    InputError,
    LayerError,
    LimitError,
    RequestError,
    ServiceError,
)
from processes.features.layer import Layer
from processes.features.result import ROWS_AT_ONCE
from processes.imagery.grid import ChipRule, areas
from processes.imagery.image import Image
from processes.imagery.mosaic import Mosaic, whole_images
from processes.imagery.pixels import Placement
from processes.model.arguments import Arguments
from processes.model.catalog import Model
from processes.model.session import Processor

DEFAULT_FIELD = "ClassLabel"
FIELD_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")
_PAIRS_AT_ONCE = 2**22
"""Pairs of an object and an image that are looked at together."""


@dataclass(frozen=True, slots=True)
class Material:
    """What a run works on, opened."""

    images: Sequence[Image]
    image_pointers: Sequence[str]
    """Where each image stands in the request."""
    layer: Layer | None
    """None = each image is an object."""
    model: Model
    arguments: Arguments
    label_field: str = DEFAULT_FIELD
    cell_size: float | None = None
    """Resolution of fixed-size chips, units of the images' CRS; None = the images' own."""
    processor: Processor | None = None
    """None = the GPU where there is one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Rows, and the chip of each."""

    material: Material
    layer: Layer
    """The rows' geometry and attributes: the input layer, or the images' extents, or nothing for a table."""
    work: Work
    empty: NDArray[np.bool_]
    """True = the row's geometry is missing or empty, `(n,)`."""
    image_ids: pa.Array | None
    """Name of each row's image, where rows are images, `(n,)`."""
    warnings: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.empty)


def plan(material: Material, max_rows: int | None = None) -> Plan:
    """Say which chip each object gets.

    Args:
        material: what to work on.
        max_rows: limit of a synchronous run; None = no limit.

    Raises:
        RequestError: images, features and model do not go together; every fault with its pointer.
        LimitError: more objects than allowed at once.
    """
    count = len(material.images) if material.layer is None else len(material.layer)
    if max_rows is not None and count > max_rows:
        raise LimitError(
            "sync_max_objects", max_rows, f"{count} objects in one synchronous request; send Prefer: respond-async"
        )
    _refuse_doubled_fields(material, material.layer is None)
    bands = _bands_taken(material)
    if material.layer is not None:
        return _plan_features(material, material.layer, bands)
    return _plan_images(material, bands)


def _plan_features(material: Material, layer: Layer, bands: Sequence[Sequence[int]]) -> Plan:
    plain = [
        (image, pointer)
        for image, pointer in zip(material.images, material.image_pointers, strict=True)
        if not image.is_georeferenced
    ]
    if plain:
        raise RequestError(
            Fault(
                pointer,
                ImageError(f"image {image.name!r} has no spatial reference; with features every image needs one"),
            )
            for image, pointer in plain
        )
    _refuse_taken_fields(material, layer)
    definition = material.model.definition
    try:
        mosaic = Mosaic(material.images)
    except ImageError as err:
        raise RequestError.at("/inputs/image", err) from err
    rule = ChipRule(definition.chip_width, definition.chip_height, definition.fixed_size, material.cell_size)
    to_images = _reprojection(layer, material.images[0])
    parts, empty, flat = [], np.zeros(len(layer), bool), False
    try:
        step = max(1, min(ROWS_AT_ONCE, _PAIRS_AT_ONCE // len(material.images)))
        for start in range(0, len(layer), step):
            geometries = layer.geometries(start, min(start + step, len(layer)))
            empty[start : start + len(geometries)] = shapely.is_missing(geometries) | shapely.is_empty(geometries)
            flat = flat or bool((areas(geometries) == 0).any())
            parts.append(mosaic.place(to_images.geometries(geometries), rule))
    except LayerError as err:
        raise RequestError.at("/inputs/features", err) from err
    placement = Placement(
        np.concatenate([part.image for part in parts]) if parts else np.zeros(0, np.int32),
        np.concatenate([part.windows for part in parts]) if parts else np.zeros((0, 4), np.int32),
    )
    footprints = partial(_footprints, layer, to_images) if definition.blacken else None
    work = Work(material.images, bands, rule, placement, mosaic, footprints)
    warnings = (
        ["points, lines and polygons without area have nothing blackened around them"]
        if definition.blacken and flat
        else []
    )
    return Plan(material, layer, work, empty, None, (*warnings, *_cell_size_warnings(material)))


def _plan_images(material: Material, bands: Sequence[Sequence[int]]) -> Plan:
    images = material.images
    with_reference = [image for image in images if image.is_georeferenced]
    without = [image for image in images if not image.is_georeferenced]
    if with_reference and without:
        raise RequestError.at(
            "/inputs/image",
            ImageError(
                "without features all images have a spatial reference or none has: "
                f"{with_reference[0].name!r} has one, {without[0].name!r} has none"
            ),
        )
    definition = material.model.definition
    rule = ChipRule(definition.chip_width, definition.chip_height, False, None)
    work = Work(images, bands, rule, whole_images(images), None, None)
    layer = (
        _extents(images)
        if with_reference
        else Layer("images", None, None, "Unknown", pa.table({"": pa.nulls(len(images))}).select([]), None)
    )
    names = pa.array([image.name for image in images], pa.string())
    return Plan(material, layer, work, np.zeros(len(images), bool), names, ())


def _extents(images: Sequence[Image]) -> Layer:
    """Return the images' extents as a layer, in the CRS of the first image."""
    target = crs_from_wkt(images[0].crs_wkt or "")
    polygons: list[Any] = []
    for image in images:
        outline = np.array([shapely.Polygon(image.grid.corners())])
        polygons.extend(Reprojection(crs_from_wkt(image.crs_wkt or ""), target).geometries(outline))
    wkb = pa.chunked_array([pa.array(shapely.to_wkb(np.array(polygons)), pa.large_binary())])
    return Layer("images", target, wkb, "Polygon", pa.table({"": pa.nulls(len(images))}).select([]), None)


def _footprints(layer: Layer, to_images: Reprojection, rows: NDArray[np.int64]) -> NDArray[np.object_]:
    return to_images.geometries(layer.geometries_at(rows))


def _reprojection(layer: Layer, image: Image) -> Reprojection:
    to = crs_from_wkt(image.crs_wkt or "")
    return Reprojection(layer.crs or to, to)


def _bands_taken(material: Material) -> list[list[int]]:
    """Return for each image the bands that the model takes.

    Raises:
        RequestError: an image has too few bands, too many, or no band of a name.
    """
    faults, taken = [], []
    for image, pointer in zip(material.images, material.image_pointers, strict=True):
        try:
            taken.append(_bands_of(image, material.model))
        except ServiceError as err:
            faults.append(Fault(pointer, err))
    if faults:
        raise RequestError(faults)
    return taken


def _bands_of(image: Image, model: Model) -> list[int]:
    wanted = model.definition.bands
    if wanted is None:
        normalization = model.definition.normalization
        count = model.bands or (len(normalization.scale) if normalization else image.bands)
        if count != image.bands:
            raise ImageError(f"image {image.name!r} has {image.bands} bands, the model {model.id!r} takes {count}")
        return list(range(count))
    names = [name.lower() for name in image.band_names]
    bands = []
    for band in wanted:
        if isinstance(band, str):
            if band.lower() not in names:
                raise ImageError(
                    f"image {image.name!r} has no band {band!r}; its bands are {', '.join(map(repr, image.band_names))}"
                )
            bands.append(names.index(band.lower()))
        else:
            bands.append(band)
    if max(bands) >= image.bands:
        raise ImageError(f"image {image.name!r} has {image.bands} bands, the model {model.id!r} needs {max(bands) + 1}")
    return bands


def added_fields(material: Material, with_image_ids: bool) -> list[pa.Field]:
    """Return the fields that a run adds to each row, in their order."""
    label, definition = material.label_field, material.model.definition
    prefix = "" if label == DEFAULT_FIELD else f"{label}_"
    value, confidence, status = (
        (f"{label}_Value", f"{label}_Confidence", f"{label}_Status")
        if prefix
        else ("ClassValue", "Confidence", "ClassStatus")
    )
    fields = [
        pa.field(label, pa.string()),
        pa.field(value, pa.int64()),
        pa.field(confidence, pa.float64()),
        pa.field(status, pa.string()),
    ]
    if with_image_ids:
        fields.insert(0, pa.field("ImageID", pa.string()))
    if material.arguments.class_scores or definition.multi_label:
        fields += [pa.field(f"{prefix}Score_{item.name}", pa.float64()) for item in definition.classes]
    return fields


def _refuse_doubled_fields(material: Material, with_image_ids: bool) -> None:
    names = [field.name.lower() for field in added_fields(material, with_image_ids)]
    if len(set(names)) < len(names):
        raise RequestError.at(
            "/inputs/classLabelField",
            InputError(f"classLabelField is {material.label_field!r}, the name of another field of the result"),
        )


def _refuse_taken_fields(material: Material, layer: Layer) -> None:
    there = {name.lower(): name for name in layer.attributes.schema.names}
    taken = [there[field.name.lower()] for field in added_fields(material, False) if field.name.lower() in there]
    if taken:
        raise RequestError.at(
            "/inputs/features",
            LayerError(
                f"the features have the attribute {', '.join(map(repr, taken))} already; "
                f"choose another classLabelField than {material.label_field!r}"
            ),
        )


def _cell_size_warnings(material: Material) -> list[str]:
    definition = material.model.definition
    used = material.cell_size or material.images[0].grid.cell_size[0]
    low, high = definition.min_cell_size, definition.max_cell_size
    if (low is not None and used < low) or (high is not None and used > high):
        return [
            f"the cell size {used:g} lies outside the model's range, {low or 0:g} to "
            f"{'any' if high is None else format(high, 'g')}"
        ]
    return []
