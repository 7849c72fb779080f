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
class RowBatch:
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
class ClassStyle:
    """How a map shows the classes."""

    label_field: str
    classes: tuple[tuple[str, tuple[int, int, int] | None], ...]
    """Name and colour of each class in the model's order: red, green, blue, 0..255; None = the package gives none."""


@dataclass(frozen=True, slots=True)
class ResultLayer:
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
    rows: Callable[[], Iterator[RowBatch]]
    summary: Callable[[int], Mapping[str, Any]]
    """Makes the summary of a result some of whose geometries have no place in the CRS of the output: how many."""
    style: ClassStyle | None
    """None = the result is shown as the reader likes."""


def with_attributes(rows: RowBatch, columns: Sequence[pa.Array], schema: pa.Schema) -> RowBatch:
    """Return rows with other attributes."""
    return dataclasses.replace(rows, attributes=pa.RecordBatch.from_arrays(columns, schema=schema))
