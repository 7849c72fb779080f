"""Rows of a layer: each object's chip, in the mosaic of the images or in each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from processes.classify.inference import ChipPlan
from processes.classify.planning.extent import Extent
from processes.classify.planning.sources import Plan, PlannedRows, RequireFew, Sources
from processes.crs import CrsTransform, crs_from_text
from processes.errors import ImageError, LayerError, RequestError
from processes.features.layer import Layer
from processes.features.writing.result import ROWS_AT_ONCE
from processes.imagery.chips import Footprints, Placement
from processes.imagery.grid import ChipRule, areas
from processes.imagery.image import Image
from processes.imagery.mosaic import Mosaic
from processes.imagery.separate import ObjectImagePairs, SeparateImages
from processes.imagery.tiles import BandSelection

_PAIRS_AT_ONCE = 2**22
"""ObjectImagePairs of an object and an image that are looked at together."""


def plan_features(sources: Sources, layer: Layer, selections: Sequence[BandSelection], require_few: RequireFew) -> Plan:
    """Plan the rows of a layer.

    Args:
        material: what to work on.
        layer: the objects.
        selections: what the model takes of each image.
        require_few: is told how many rows there are, and whether that is all, and raises where they are too many.

    Raises:
        RequestError: the images form no mosaic, or a geometry cannot be used.
    """
    if sources.options.extent is None and sources.options.mode == "mosaic":
        require_few(len(layer), True)
    images, options, definition = sources.images, sources.options, sources.model.definition
    rule = ChipRule(definition.chip_width, definition.chip_height, definition.fixed_size, options.cell_size)
    separate = SeparateImages(images)
    ways = [CrsTransform(layer.crs or crs_from_text(wkt), crs_from_text(wkt)) for wkt in separate.crs_wkts]
    mosaic = _mosaic(images) if options.mode == "mosaic" else None
    parts: list[ObjectImagePairs] = []
    empty: list[NDArray[np.bool_]] = []
    count, flat = 0, False
    try:
        for start, geometries in _slices(layer, len(images)):
            places = _wanted(geometries, layer, options.extent)
            wanted = geometries[places]
            there = [way.geometries(wanted) for way in ways]
            if mosaic is not None:
                found = ObjectImagePairs(np.arange(len(wanted)), mosaic.place(there[0], rule))
            else:
                found = separate.pair(there, rule)
            parts.append(ObjectImagePairs(start + places[found.objects], found.placement))
            empty.append((shapely.is_missing(wanted) | shapely.is_empty(wanted))[found.objects])
            flat = flat or bool(((areas(wanted) == 0) & ~shapely.is_empty(wanted)).any())
            count += len(found.objects)
            require_few(count, False)
    except LayerError as err:
        raise RequestError.at("/inputs/features", err) from err
    pairs = _joined(parts)
    footprints = footprints_of(layer, images, pairs) if definition.blacken else None
    warnings = ["points, lines and polygons without area have nothing blackened around them"] if flat else []
    names = [image.name for image in images]
    rows = PlannedRows(
        sources=sources,
        layer=layer,
        objects=pairs.objects,
        empty=np.concatenate([np.zeros(0, bool), *empty]),
        ids=_row_ids(layer, pairs, names if mosaic is None else None),
        image_ids=pairs.placement.names_of(names) if mosaic is None else None,
        warnings=tuple(warnings if definition.blacken else []),
    )
    return Plan(rows, ChipPlan(images, selections, rule, pairs.placement, mosaic, footprints))


def _mosaic(images: Sequence[Image]) -> Mosaic:
    try:
        return Mosaic(images)
    except ImageError as err:
        raise RequestError.at("/inputs/image", err) from err


def _slices(layer: Layer, images: int) -> Iterator[tuple[int, NDArray[np.object_]]]:
    step = max(1, min(ROWS_AT_ONCE, _PAIRS_AT_ONCE // images))
    for start in range(0, len(layer), step):
        yield start, layer.geometries(start, min(start + step, len(layer)))


def _wanted(geometries: NDArray[np.object_], layer: Layer, extent: Extent | None) -> NDArray[np.int64]:
    """Return the places of the geometries that the extent does not leave out."""
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


def footprints_of(layer: Layer, images: Sequence[Image], rows: ObjectImagePairs) -> Footprints:
    """Return what gives the geometries of some rows, each in the CRS of its row's image."""
    crs_wkts = [image.crs_wkt or "" for image in images]
    ways = {wkt: CrsTransform(layer.crs or crs_from_text(wkt), crs_from_text(wkt)) for wkt in dict.fromkeys(crs_wkts)}

    def footprints(wanted: NDArray[np.int64]) -> NDArray[np.object_]:
        geometries = layer.geometries_at(rows.objects[wanted])
        if len(ways) == 1:
            return ways[crs_wkts[0]].geometries(geometries)
        crs_of = np.array(crs_wkts, object)[rows.placement.image[wanted]]
        for wkt in set(crs_of.tolist()):
            geometries[crs_of == wkt] = ways[wkt].geometries(geometries[crs_of == wkt])
        return geometries

    return footprints


def _row_ids(layer: Layer, rows: ObjectImagePairs, names: Sequence[str] | None) -> pa.ChunkedArray | None:
    """Return the rows' ids: their objects' own; where rows are pairs with an image, `<id>:<name of the image>`."""
    ids = layer.ids
    if ids is not None and (names is not None or len(rows.objects) < len(layer)):
        ids = ids.take(pa.array(rows.objects))
    if names is None:
        return ids
    chunks = []
    for start in range(0, len(rows.objects), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        places, images = rows.objects[part].tolist(), rows.placement.image[part].tolist()
        own = [None] * len(places) if ids is None else ids[part].to_pylist()
        if ids is not None and pa.types.is_large_string(ids.type):
            own = [None if text is None else msgspec.json.decode(text) for text in own]
        texts = (
            _pair_id(str(place + 1) if value is None else value, names[image] if image >= 0 else None)
            for value, place, image in zip(own, places, images, strict=True)
        )
        chunks.append(pa.array(texts, pa.large_string()))
    return pa.chunked_array(chunks, pa.large_string())


def _pair_id(own: object, image: str | None) -> str:
    """Return the id of a row as JSON text; a row without image keeps its object's own."""
    return msgspec.json.encode(own if image is None else f"{own}:{image}").decode()
