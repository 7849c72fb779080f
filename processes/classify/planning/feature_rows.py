"""Rows of a layer: each object's chip, in the mosaic of the images or in each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from processes.classify.planning.coordinates import DegreesCheck, far_warning, way_warnings
from processes.classify.planning.extent import Extent
from processes.classify.planning.sources import Plan, PlannedRows, RequireFew, Sources
from processes.crs import CrsTransform
from processes.crs.longitudes import full_turn, shifted
from processes.errors import ImageError, LayerError, RequestError
from processes.features.layer import Layer
from processes.imagery.chip_plan import ChipPlan
from processes.imagery.chips import Footprints, Placement
from processes.imagery.grid import areas
from processes.imagery.image import Image
from processes.imagery.mosaic import Mosaic
from processes.imagery.separate import ObjectImagePairs, SeparateImages, crs_groups
from processes.imagery.tiles import BandSelection

_OBJECTS_AT_ONCE = 2**14
"""Objects that are Python objects at the same time."""
_PAIRS_AT_ONCE = 2**22
"""Pairs of an object and an image that are tested together."""


def plan_features(sources: Sources, layer: Layer, selections: Sequence[BandSelection], require_few: RequireFew) -> Plan:
    """Plan the rows of a layer.

    Args:
        sources: what the run works on.
        layer: the objects.
        selections: the bands that the model reads of each image.
        require_few: raises where there are too many rows.

    Raises:
        RequestError: the images form no mosaic, or a geometry cannot be used.
    """
    if sources.options.extent is None and sources.options.mode == "mosaic":
        require_few(len(layer), True)
    images, options, definition = sources.images, sources.options, sources.model.definition
    rule = sources.chip_rule(definition.fixed_size, options.cell_size)
    separate = SeparateImages(images)
    transforms = [CrsTransform(layer.crs or crs, crs) for crs in separate.crs_list]
    mosaic = _mosaic(images) if options.mode == "mosaic" else None
    parts: list[ObjectImagePairs] = []
    empty: list[NDArray[np.bool_]] = []
    count, has_flat, degrees = 0, False, DegreesCheck(layer.crs)
    try:
        for start, geometries in _slices(layer, len(images)):
            degrees.add(start, geometries)
            indices = _indices_in(options.extent, geometries, layer)
            objects = geometries[indices]
            if mosaic is not None:
                pairs = ObjectImagePairs(np.arange(len(objects)), mosaic.place(transforms[0].objects(objects), rule))
            else:
                pairs = separate.pair([transform.objects(objects) for transform in transforms], rule)
            parts.append(ObjectImagePairs(start + indices[pairs.objects], pairs.placement))
            is_empty = shapely.is_missing(objects) | shapely.is_empty(objects)
            empty.append(is_empty[pairs.objects])
            if definition.blacken and not has_flat:
                has_flat = bool(((areas(objects) == 0) & ~is_empty).any())
            count += len(pairs.objects)
            require_few(count, False)
        degree_warnings = degrees.warnings()
    except LayerError as err:
        raise RequestError.at("/inputs/features", err) from err
    pairs, empties = _joined(parts), np.concatenate([np.zeros(0, bool), *empty])
    warnings = [*degree_warnings, *_place_warnings(layer, images, pairs, empties)]
    footprints = footprints_of(layer, images, pairs) if definition.blacken else None
    if has_flat:
        warnings.append("points, lines and polygons without area have nothing blackened around them")
    names = [image.name for image in images]
    rows = PlannedRows(
        sources=sources,
        layer=layer,
        objects=pairs.objects,
        empty=empties,
        ids=_row_ids(layer, pairs, names if mosaic is None else None),
        image_ids=pairs.placement.names_of(names) if mosaic is None else None,
        warnings=tuple(warnings),
    )
    return Plan(rows, ChipPlan(images, selections, rule, pairs.placement, mosaic, footprints))


def _place_warnings(
    layer: Layer, images: Sequence[Image], pairs: ObjectImagePairs, empty: NDArray[np.bool_]
) -> list[str]:
    """Warn where no object meets an image; else, where the way between the CRS is rough."""
    if (pairs.placement.image >= 0).any():
        return way_warnings(layer.crs, images)
    objects = pairs.objects[~empty]
    return [far_warning(layer, objects, images)] if len(objects) else []


def _mosaic(images: Sequence[Image]) -> Mosaic:
    try:
        return Mosaic(images)
    except ImageError as err:
        raise RequestError.at("/inputs/image", err) from err


def _slices(layer: Layer, images: int) -> Iterator[tuple[int, NDArray[np.object_]]]:
    step = max(1, min(_OBJECTS_AT_ONCE, _PAIRS_AT_ONCE // images))
    for start in range(0, len(layer), step):
        yield start, layer.geometries(start, min(start + step, len(layer)))


def _indices_in(extent: Extent | None, geometries: NDArray[np.object_], layer: Layer) -> NDArray[np.int64]:
    """Return the indices of the geometries that touch the extent; None = of all."""
    if extent is None:
        return np.arange(len(geometries))
    return np.flatnonzero(extent.touches(geometries, layer.crs or extent.crs))


def _joined(parts: Sequence[ObjectImagePairs]) -> ObjectImagePairs:
    return ObjectImagePairs(
        np.concatenate([np.zeros(0, np.int64), *(part.objects for part in parts)]),
        Placement(
            np.concatenate([np.zeros(0, np.int32), *(part.placement.image for part in parts)]),
            np.concatenate([np.zeros((0, 4), np.int32), *(part.placement.windows for part in parts)]),
        ),
    )


def footprints_of(layer: Layer, images: Sequence[Image], pairs: ObjectImagePairs) -> Footprints:
    """Return a function that returns the geometries of some rows, each in the CRS of its row's image.

    Args:
        layer: the objects.
        images: the images.
        pairs: object and image of each row.
    """
    crs_list, crs_of_image = crs_groups(images)
    transforms = [CrsTransform(layer.crs or crs, crs) for crs in crs_list]
    has_longitudes = any(full_turn(crs) is not None for crs in crs_list)

    def footprints(rows: NDArray[np.int64]) -> NDArray[np.object_]:
        geometries, image = layer.geometries_at(pairs.objects[rows]), pairs.placement.image[rows]
        if len(transforms) == 1:
            geometries = transforms[0].objects(geometries)
        else:
            for crs in np.unique(crs_of_image[image]).tolist():
                in_crs = crs_of_image[image] == crs
                geometries[in_crs] = transforms[crs].objects(geometries[in_crs])
        if has_longitudes:
            _move_to_windows(geometries, image, pairs.placement.windows[rows], images)
        return geometries

    return footprints


def _move_to_windows(
    geometries: NDArray[np.object_], image: NDArray[np.int32], windows: NDArray[np.int32], images: Sequence[Image]
) -> None:
    """Move geometries in place to where their windows are, where longitudes are circular.

    Args:
        geometries: the geometries, each in the CRS of its image.
        image: index of each one's image.
        windows: of them, in that image's cells.
        images: the images.
    """
    bounds = shapely.bounds(geometries)
    for index in np.unique(image).tolist():
        grid, own = images[index].grid, np.flatnonzero(image == index)
        if grid.turn is None:
            continue
        centres = grid.to_map(windows[own, :2] + windows[own, 2:] / 2)[:, 0]
        turns = np.nan_to_num(np.rint((centres - (bounds[own, 0] + bounds[own, 2]) / 2) / grid.turn))
        moved = own[turns != 0]
        if len(moved):
            geometries[moved] = shifted(geometries[moved], turns[turns != 0] * grid.turn)


def _row_ids(layer: Layer, pairs: ObjectImagePairs, names: Sequence[str] | None) -> pa.ChunkedArray | None:
    """Return the rows' ids: their objects' own; where rows are pairs with an image, `<id>:<name of the image>`."""
    ids = layer.ids
    if ids is not None and (names is not None or len(pairs.objects) < len(layer)):
        ids = ids.take(pa.array(pairs.objects))
    if names is None:
        return ids
    chunks = []
    for start in range(0, len(pairs.objects), _OBJECTS_AT_ONCE):
        part = slice(start, start + _OBJECTS_AT_ONCE)
        indices, images = pairs.objects[part].tolist(), pairs.placement.image[part].tolist()
        own = [None] * len(indices) if ids is None else ids[part].to_pylist()
        if ids is not None and pa.types.is_large_string(ids.type):
            own = [None if text is None else msgspec.json.decode(text) for text in own]
        texts = (
            _pair_id(str(index + 1) if value is None else value, names[image] if image >= 0 else None)
            for value, index, image in zip(own, indices, images, strict=True)
        )
        chunks.append(pa.array(texts, pa.large_string()))
    return pa.chunked_array(chunks, pa.large_string())


def _pair_id(own: object, image: str | None) -> str:
    """Return the id of a row as JSON text; a row without image keeps its object's own."""
    return msgspec.json.encode(own if image is None else f"{own}:{image}").decode()
