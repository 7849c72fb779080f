"""Classified layers to files: each format by its writer. Rows stream, at most `ROWS_AT_ONCE` at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pyproj

from processes.features.writing.csv import write_csv
from processes.features.writing.gdal import write_flatgeobuf, write_geopackage
from processes.features.writing.geojson import write_geojson, write_geojson_sequence
from processes.features.writing.parquet import write_parquet
from processes.features.writing.result import (
    CSV,
    FLATGEOBUF,
    GEOJSON,
    GEOJSON_SEQ,
    GEOPACKAGE,
    JSON_VALUES,
    PARQUET,
    TABLE,
    MediaType,
    ResultLayer,
)
from processes.features.writing.table import write_table
from processes.features.writing.tabular import tabular

_WRITERS: Mapping[MediaType, Callable[[ResultLayer, pyproj.CRS | None, Path], int]] = {
    GEOJSON: write_geojson,
    GEOPACKAGE: write_geopackage,
    FLATGEOBUF: write_flatgeobuf,
    PARQUET: write_parquet,
    GEOJSON_SEQ: write_geojson_sequence,
    CSV: write_csv,
    TABLE: write_table,
}


def write_result(result: ResultLayer, media_type: MediaType, crs: pyproj.CRS | None, path: Path) -> int:
    """Write a result to a new file; return how many of its geometries have no place in the CRS of the output.

    Args:
        result: what to write.
        media_type: the format.
        crs: CRS of the output; None = the result's own. GeoJSON is always CRS84.
        path: the file; its folder is there.
    """
    return _WRITERS[media_type](result if media_type in JSON_VALUES else tabular(result), crs, path)
