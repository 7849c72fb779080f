"""A classified layer made ready for a format: names that it can have there, and what is said of the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from processes.features.layer import Layer
from processes.features.wkb import kinds_of
from processes.features.writing.geometry import flatgeobuf_kind
from processes.features.writing.result import (
    CASELESS,
    FLATGEOBUF,
    GEOJSON,
    GEOJSON_SEQ,
    PARQUET,
    ClassStyle,
    MediaType,
    ResultLayer,
    RowBatch,
    with_attributes,
)


def prepare(
    layer: Layer,
    ids: pa.ChunkedArray | None,
    schema: pa.Schema,
    rows: Callable[[], Iterator[RowBatch]],
    media_type: MediaType,
    *,
    name: str,
    key: str,
    style: ClassStyle | None,
    summary: Callable[[Sequence[str]], Mapping[str, Any]],
) -> ResultLayer:
    """Return a result whose attributes have names that the format allows.

    Args:
        layer: the objects of the rows.
        ids: of the rows; None = they have none.
        schema: of the rows' attributes, by the names that they have so far.
        rows: the rows.
        media_type: the format.
        name: of the layer.
        key: as the result has it.
        style: by the names so far; None = the result has none.
        summary: makes the summary of warnings.
    """
    ascend, kinds = ids_ascend(ids), kinds_of(layer.geometry)
    taken = reserved_names(media_type, key, ids is not None, ascend, layer.geometry is not None)
    renamed, warnings = rename_taken(schema, taken, minds_case=media_type not in CASELESS)
    warnings += left_out(media_type, kinds)
    if style is not None:
        style = dataclasses.replace(style, label_field=renamed.names[schema.names.index(style.label_field)])
    return ResultLayer(
        name=name,
        crs=layer.crs,
        geometry_type=layer.geometry_type,
        kinds=kinds,
        key=key,
        id_type=None if ids is None else ids.type,
        ids_ascend=ascend,
        schema=renamed,
        rows=lambda: (with_attributes(part, part.attributes.columns, renamed) for part in rows()),
        summary=lambda lost: summary([*warnings, *without_place(lost)]),
        style=style,
    )


def ids_ascend(ids: pa.ChunkedArray | None) -> bool:
    """Say whether ids are whole numbers, none missing, each larger than the one before."""
    if ids is None or not pa.types.is_integer(ids.type) or ids.null_count:
        return False
    values: NDArray[np.int64] = ids.to_numpy()
    return bool((np.diff(values) > 0).all()) and (len(values) == 0 or values[0] >= 0)


def reserved_names(media_type: MediaType, key: str, has_ids: bool, ids_ascend: bool, has_geometry: bool) -> set[str]:
    """Return the names, in lower case, that attributes cannot have in a format; `key` as the result has it."""
    ids = {"id"} if has_ids else set()
    match media_type:
        case "application/geo+json" | "application/geo+json-seq":
            return set()
        case "application/geopackage+sqlite3":
            return {"fid", "geom"} | (set() if ids_ascend else ids)
        case "application/vnd.flatgeobuf":
            return ids | {"ogc_fid"}  # GDAL takes such a column for its own count and drops it
        case "application/vnd.apache.parquet":
            return ids | ({"geometry"} if has_geometry else set())
        case "text/csv":
            return ids | ({"wkt"} if has_geometry else set())
        case _:
            return {"id"} if key == "id" else set()


def rename_taken(schema: pa.Schema, taken: set[str], minds_case: bool = True) -> tuple[pa.Schema, list[str]]:
    """Give attributes whose names are taken, compared without case, a number behind; say so in warnings.

    Args:
        schema: of the attributes.
        taken: names in lower case.
        minds_case: False = the format holds only one of names that differ in case alone.
    """
    used = {name.lower() for name in schema.names} | taken
    fields, warnings, before = [], [], set(taken)
    for item in schema:
        name, number = item.name, 0
        while name.lower() in before or (number and name.lower() in used):
            number += 1
            name = f"{item.name}_{number}"
        if number:
            used.add(name.lower())
            warnings.append(
                f"attribute {item.name!r} is named {name!r} in the result: the name is taken in this format"
            )
        if not minds_case:
            before.add(name.lower())
        fields.append(item.with_name(name))
    return pa.schema(fields), warnings


def left_out(media_type: MediaType, kinds: frozenset[int]) -> list[str]:
    """Return warnings of heights and measures that a format does not hold."""
    has_measures = any(kind >= 2000 for kind in kinds)
    if media_type == FLATGEOBUF:
        kept = flatgeobuf_kind(kinds)
        has_heights = any(kind // 1000 % 2 for kind in kinds)
        lost = [
            name
            for name, there, held in (
                ("heights (Z)", has_heights, kept // 1000 % 2),
                ("measures (M)", has_measures, kept >= 2000),
            )
            if there and not held
        ]
        words = "FlatGeobuf has them only where all geometries are alike"
    else:
        lost = ["measures (M)"] if has_measures and media_type in (GEOJSON, GEOJSON_SEQ, PARQUET) else []
        words = "the format has none"
    return [f"{' and '.join(lost)} of coordinates are left out: {words}"] if lost else []


def without_place(lost: int) -> list[str]:
    """Return a warning of geometries that have no place in the CRS of the output, where there are some."""
    if lost == 0:
        return []
    geometries, have, are = ("geometry", "has", "is") if lost == 1 else ("geometries", "have", "are")
    return [f"{lost} {geometries} {have} no place in the CRS of the result and {are} null"]
