"""A classified layer, ready to be written, and the formats that it can have."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyproj
from numpy.typing import NDArray

ROWS_AT_ONCE = 16384
"""So many rows at most are Python objects at a time."""

MediaType = Literal[
    "application/geo+json",
    "application/geopackage+sqlite3",
    "application/vnd.flatgeobuf",
    "application/vnd.apache.parquet",
    "application/geo+json-seq",
    "text/csv",
    "application/json",
]
GEOJSON: MediaType = "application/geo+json"
GEOPACKAGE: MediaType = "application/geopackage+sqlite3"
FLATGEOBUF: MediaType = "application/vnd.flatgeobuf"
PARQUET: MediaType = "application/vnd.apache.parquet"
GEOJSON_SEQ: MediaType = "application/geo+json-seq"
CSV: MediaType = "text/csv"
TABLE: MediaType = "application/json"

FILE_ENDINGS: Mapping[MediaType, str] = {
    GEOJSON: ".geojson",
    GEOPACKAGE: ".gpkg",
    FLATGEOBUF: ".fgb",
    PARQUET: ".parquet",
    GEOJSON_SEQ: ".geojsonl",
    CSV: ".csv",
    TABLE: ".json",
}
CRS84_ONLY = frozenset({GEOJSON, GEOJSON_SEQ})
"""Formats whose coordinates are always longitude and latitude."""
JSON_VALUES = frozenset({GEOJSON, GEOJSON_SEQ})
"""Formats in which an attribute can be of any type, or not there at all."""
NEEDS_GEOMETRY = frozenset({GEOJSON, GEOJSON_SEQ, FLATGEOBUF})
"""Formats that a table cannot have."""
CASELESS = frozenset({GEOPACKAGE, FLATGEOBUF})
"""Formats whose attributes cannot have names that differ in case alone."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A range of rows of a result."""

    ids: pa.Array | None
    """`(n,)`; None = the rows have no ids."""
    positions: NDArray[np.int64]
    """Position of each row's feature in the input, from 1, `(n,)`."""
    geometry: pa.Array | None
    """WKB, `(n,)`; None = a table."""
    attributes: pa.RecordBatch
    """The input's attributes and the added fields."""


@dataclass(frozen=True, slots=True)
class Style:
    """How a map shows the classes."""

    label_field: str
    classes: tuple[tuple[str, tuple[int, int, int] | None], ...]
    """Name and colour of each class in the model's order: red, green, blue, 0..255; None = the package gives none."""


@dataclass(frozen=True, slots=True)
class Result:
    """A classified layer, ready to be written."""

    name: str
    crs: pyproj.CRS | None
    """Of the geometry that `rows` gives; None = a table without geometry."""
    geometry_type: str
    """As GDAL names it; as the input declares it."""
    kinds: frozenset[int]
    """ISO types of the geometries that there are: 1 = point … 6 = multi-polygon, + 1000 with Z, + 2000 with M."""
    key: str
    """Name of the column that tells rows apart in a table."""
    id_type: pa.DataType | None
    """None = the rows have no ids."""
    ids_ascend: bool
    """True = all ids are whole numbers, each larger than the one before."""
    schema: pa.Schema
    """Of the attributes and the added fields."""
    rows: Callable[[], Iterator[Rows]]
    summary: Callable[[int], Mapping[str, Any]]
    """Makes the summary of a result some of whose geometries have no place in the CRS of the output: how many."""
    style: Style | None
    """None = the result is shown as the reader likes."""


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


def flatgeobuf_kind(kinds: frozenset[int]) -> int:
    """Return the one ISO type that a FlatGeobuf of these types gets; 0 = each geometry has its own, in x and y only.

    Single and multi-part geometries with heights become multi-part ones, as a layer of several types has no heights.
    """
    types, dimensions = {kind % 1000 for kind in kinds}, {kind // 1000 for kind in kinds}
    families = {kind if kind <= 3 else kind - 3 for kind in types}
    if len(families) != 1 or (len(types) > 1 and dimensions == {0}):
        return 0
    common = types.pop() if len(types) == 1 else families.pop() + 3
    if len(dimensions) == 1:
        return common + 1000 * dimensions.pop()
    return common + (1000 if dimensions & {1, 3} else 0)


def ids_ascend(ids: pa.ChunkedArray | None) -> bool:
    """Say whether ids are whole numbers, none missing, each larger than the one before."""
    if ids is None or not pa.types.is_integer(ids.type) or ids.null_count:
        return False
    values: NDArray[np.int64] = ids.to_numpy()
    return bool((np.diff(values) > 0).all()) and (len(values) == 0 or values[0] >= 0)


def with_attributes(rows: Rows, columns: Sequence[pa.Array], schema: pa.Schema) -> Rows:
    """Return rows with other attributes."""
    return dataclasses.replace(rows, attributes=pa.RecordBatch.from_arrays(columns, schema=schema))
