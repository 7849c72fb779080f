"""Geometries that the CRS of the output has no place for."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from conftest import write_layer
from layers import BOX, make_layer, make_table, wkt
from processes.crs import parse_crs
from processes.features.writing.result import FILE_ENDINGS, GEOJSON, GEOJSON_SEQ, TABLE, MediaType
from result_readers import FLATGEOBUF, GEOPACKAGE, NO_SUMMARY, PARQUET, read_result
from result_standards import check_geopackage, check_geoparquet
from tables import each_row

WITH_GEOMETRY = [media_type for media_type in FILE_ENDINGS if media_type != TABLE]
CHECKS = {GEOPACKAGE: check_geopackage, PARQUET: check_geoparquet}


@each_row(
    ("nowhere", "warnings"),
    [
        (0, []),
        (1, ["1 geometry has no place in the CRS of the result and is null"]),
        (3, ["3 geometries have no place in the CRS of the result and are null"]),
    ],
)
@pytest.mark.parametrize("media_type", WITH_GEOMETRY)
def test_geometries_without_a_place_in_the_output_crs_are_null_and_counted(
    tmp_path: Path, media_type: MediaType, nowhere: int, warnings: list[str]
) -> None:
    # so far from a zone's meridian there are no longitudes, and beyond a pole no eastings
    source, target, there, beyond = (
        ("EPSG:32633", "EPSG:4326", "LINESTRING Z (500000 0 1, 500001 0 2)", "LINESTRING Z (500000 0 1, 1e12 0 2)")
        if media_type in (GEOJSON, GEOJSON_SEQ)
        else ("EPSG:4326", "EPSG:32633", "LINESTRING Z (15 50 1, 16 50 2)", "LINESTRING Z (15 50 1, 15 95 2, 15 96 3)")
    )
    layer = make_layer([wkt(there), None, *[wkt(beyond)] * nowhere], crs=source)
    path, told = write_layer(layer, media_type, tmp_path, parse_crs(target))
    assert told == warnings
    found = read_result(media_type, path.read_bytes(), tmp_path)
    assert found.geometry is not None
    assert [shape is None for shape in found.geometry] == [False, True] + [True] * nowhere
    if media_type not in NO_SUMMARY:  # a FlatGeobuf's stands before the rows
        expected = {"counts": {"é": 1}, "warnings": [] if media_type == FLATGEOBUF else warnings}
        assert found.summary == expected
    assert CHECKS.get(media_type, lambda _: [])(path) == []


@pytest.mark.parametrize("media_type", WITH_GEOMETRY)
def test_in_the_same_crs_nothing_is_lost_but_what_json_has_no_number_for(tmp_path: Path, media_type: MediaType) -> None:
    endless = wkt("LINESTRING (500000 5500000, Infinity 5500000, 500000 5500001)")
    path, warnings = write_layer(make_layer([BOX, endless], crs="EPSG:32633"), media_type, tmp_path)
    found = read_result(media_type, path.read_bytes(), tmp_path).geometry
    assert found is not None
    if media_type in (GEOJSON, GEOJSON_SEQ):
        assert found[1] is None
        assert warnings == ["1 geometry has no place in the CRS of the result and is null"]
    else:
        assert [shape.wkt for shape in found] == [BOX.wkt, endless.wkt]
        assert warnings == []


def test_a_table_has_no_geometries_to_lose(tmp_path: Path) -> None:
    layer = make_layer([wkt("POINT (15 95)")], crs="EPSG:4326")
    assert write_layer(layer, TABLE, tmp_path, parse_crs("EPSG:32633"))[1] == []
    table = make_table(pa.table({"n": [1]}))
    assert all(write_layer(table, media_type, tmp_path)[1] == [] for media_type in FILE_ENDINGS if media_type in CHECKS)
