"""What kinds of geometries a column of WKB holds, whoever wrote it."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa
import shapely

from layers import wkt
from processes.features.wkb import common_geometry_type, read_iso_types
from tables import each_row

SHAPES = {
    1: "POINT (1 2)",
    1001: "POINT Z (1 2 3)",
    2002: "LINESTRING M (0 0 1, 1 1 2)",
    3003: "POLYGON ZM ((0 0 1 2, 1 0 1 2, 1 1 1 2, 0 0 1 2))",
    4: "MULTIPOINT ((1 2))",
    1006: "MULTIPOLYGON Z (((0 0 5, 1 0 5, 1 1 5, 0 0 5)))",
}


@each_row("flavor", ["iso", "extended"])
@each_row("byte_order", [0, 1], ids=["big-endian", "little-endian"])
@each_row("dtype", [pa.binary(), pa.large_binary()], ids=str)
def test_kinds_are_those_of_the_texts(flavor: Literal["iso", "extended"], byte_order: int, dtype: pa.DataType) -> None:
    texts = [
        shapely.to_wkb(shape, byte_order=byte_order, flavor=flavor, include_srid=flavor == "extended")
        for shape in (shapely.set_srid(wkt(text), 4326) for text in SHAPES.values())
    ]
    column = pa.chunked_array([pa.array([None, *texts[:2], None], dtype).slice(1), pa.array(texts[2:], dtype)])
    assert read_iso_types(column) == set(SHAPES)
    assert read_iso_types(column.slice(1, 1)) == {1001}


@each_row("column", [None, pa.chunked_array([], pa.binary()), pa.chunked_array([[None]], pa.binary())])
def test_without_geometries_there_are_no_kinds(column: pa.ChunkedArray | None) -> None:
    assert read_iso_types(column) == set()


@each_row(
    ("kinds", "name"),
    [
        ({1}, "Point"),
        ({1006}, "MultiPolygon Z"),
        ({2, 2002}, "LineString M"),
        ({1003, 2003}, "Polygon ZM"),
        ({3, 6}, "Unknown"),
        (set(), "Unknown"),
    ],
    ids=str,
)
def test_layer_of_one_type_is_named_as_gdal_names_it(kinds: set[int], name: str) -> None:
    assert common_geometry_type(frozenset(kinds)) == name
