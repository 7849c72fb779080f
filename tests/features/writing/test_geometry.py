"""Geometries that the CRS of the output has no place for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely

from conftest import write_layer
from layers import BOX, make_layer, make_table, wkt
from processes.crs import parse_crs
from processes.features.writing.flatgeobuf import FLATGEOBUF
from processes.features.writing.format import Format
from processes.features.writing.formats import FORMATS
from processes.features.writing.geojson import GEOJSON
from processes.features.writing.geopackage import GEOPACKAGE
from processes.features.writing.parquet import PARQUET
from processes.features.writing.table import TABLE
from result_readers import NO_SUMMARY, read_result
from result_standards import check_geopackage, check_geoparquet
from tables import each_row

WITH_GEOMETRY = [item for item in FORMATS if item is not TABLE]
CHECKS = {GEOPACKAGE.media_type: check_geopackage, PARQUET.media_type: check_geoparquet}


@each_row(
    ("nowhere", "warnings"),
    [
        (0, []),
        (1, ["1 geometry has no place in the CRS of the result and is null"]),
        (3, ["3 geometries have no place in the CRS of the result and are null"]),
    ],
)
@pytest.mark.parametrize("output_format", WITH_GEOMETRY, ids=lambda item: item.ending)
def test_geometries_without_a_place_in_the_output_crs_are_null_and_counted(
    tmp_path: Path, output_format: Format, nowhere: int, warnings: list[str]
) -> None:
    # so far from a zone's meridian there are no longitudes, and beyond a pole no eastings
    source, target, there, beyond = (
        ("EPSG:32633", "EPSG:4326", "LINESTRING Z (500000 0 1, 500001 0 2)", "LINESTRING Z (500000 0 1, 1e12 0 2)")
        if output_format.is_crs84_only
        else ("EPSG:4326", "EPSG:32633", "LINESTRING Z (15 50 1, 16 50 2)", "LINESTRING Z (15 50 1, 15 95 2, 15 96 3)")
    )
    layer = make_layer([wkt(there), None, *[wkt(beyond)] * nowhere], crs=source)
    path, told = write_layer(layer, output_format, tmp_path, parse_crs(target))
    assert told == warnings
    found = read_result(output_format.media_type, path.read_bytes(), tmp_path)
    assert found.geometry is not None
    assert [shape is None for shape in found.geometry] == [False, True] + [True] * nowhere
    if output_format.media_type not in NO_SUMMARY:  # a FlatGeobuf's stands before the rows
        expected = {"counts": {"é": 1}, "warnings": [] if output_format is FLATGEOBUF else warnings}
        assert found.summary == expected
    assert CHECKS.get(output_format.media_type, lambda _: [])(path) == []


@pytest.mark.parametrize("output_format", WITH_GEOMETRY, ids=lambda item: item.ending)
def test_in_the_same_crs_nothing_is_lost_but_what_json_has_no_number_for(tmp_path: Path, output_format: Format) -> None:
    endless = wkt("LINESTRING (500000 5500000, Infinity 5500000, 500000 5500001)")
    path, warnings = write_layer(make_layer([BOX, endless], crs="EPSG:32633"), output_format, tmp_path)
    found = read_result(output_format.media_type, path.read_bytes(), tmp_path).geometry
    assert found is not None
    if output_format.is_crs84_only:
        assert found[1] is None
        assert warnings == ["1 geometry has no place in the CRS of the result and is null"]
    else:
        assert [shape.wkt for shape in found] == [BOX.wkt, endless.wkt]
        assert warnings == []


def test_a_table_has_no_geometries_to_lose(tmp_path: Path) -> None:
    layer = make_layer([wkt("POINT (15 95)")], crs="EPSG:4326")
    assert write_layer(layer, TABLE, tmp_path, parse_crs("EPSG:32633"))[1] == []
    table = make_table(pa.table({"n": [1]}))
    assert all(write_layer(table, item, tmp_path)[1] == [] for item in (GEOPACKAGE, PARQUET))


@pytest.mark.parametrize("output_format", WITH_GEOMETRY, ids=lambda item: item.ending)
def test_heights_that_are_not_finite_stay_where_the_format_has_such_numbers(
    tmp_path: Path, output_format: Format
) -> None:
    shapes = [
        shapely.points([15, 50, 7]),
        None,
        shapely.points([15, 50, np.inf]),
        shapely.points([15, 50, np.nan]),
        shapely.linestrings([[15, 50, 1], [16, 50, -np.inf], [16, 51, 2]]),
        shapely.multipoints([[15, 50, np.inf], [16, 50, 3]]),
        shapely.points([15, 50]),
    ]
    path, warnings = write_layer(make_layer(shapes, crs="EPSG:4326"), output_format, tmp_path)
    if not output_format.is_crs84_only:
        assert [item for item in warnings if "finite" in item] == []
        return

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = path.read_text()
    features = (
        json.loads(text, parse_constant=refuse)["features"]
        if output_format is GEOJSON
        else [json.loads(line.strip("\x1e"), parse_constant=refuse) for line in text.strip().split("\n")]
    )
    found = [feature["geometry"] and feature["geometry"]["coordinates"] for feature in features]
    assert found == [
        [15, 50, 7],
        None,
        [15, 50],
        [15, 50],
        [[15, 50, 1], [16, 50], [16, 51, 2]],
        [[15, 50], [16, 50, 3]],
        [15, 50],
    ]
    assert warnings == [
        "4 geometries have vertices whose height is not finite; they are written without one: "
        "the first is that of row 3"
    ]
