"""GeoParquet out, read back by pyarrow, its metadata held against https://geoparquet.org/releases/v1.1.0/."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyproj
import pytest
import shapely
from msgspec import structs
from pyarrow import parquet

from conftest import write_layer
from layers import BOX, ODD_NAMES, TYPES, make_layer, make_table, points_at, typed_attributes, wkt
from processes.crs import CRS84, parse_crs
from processes.features.layer import Layer
from processes.features.reading.files import read_layer
from processes.features.writing.parquet import PARQUET
from processes.settings import Limits
from tables import each_row


def write(layer: Layer, folder: Path, crs: pyproj.CRS | None = None, **options: Any) -> Path:
    return write_layer(layer, PARQUET, folder, crs, **options)[0]


def column_metadata(path: Path) -> dict[str, Any]:
    """Return what the file says of its geometry column."""
    geo = json.loads(parquet.read_metadata(path).metadata[b"geo"])
    assert (geo["version"], geo["primary_column"], list(geo["columns"])) == ("1.1.0", "geometry", ["geometry"])
    column: dict[str, Any] = geo["columns"]["geometry"]
    assert column["encoding"] == "WKB"
    return column


def texts_in(path: Path) -> list[bytes | None]:
    texts: list[bytes | None] = parquet.read_table(path).column("geometry").to_pylist()
    return texts


@each_row(
    ("given", "found", "types", "bbox"),
    [
        (["POINT (1 2)", None, "POINT (5 0)"], None, ["Point"], [1, 0, 5, 2]),
        (["POINT Z (1 2 3)", "POINT Z (5 0 9)"], None, ["Point Z"], [1, 0, 3, 5, 2, 9]),
        (["LINESTRING (0 0, 1 1)", "POINT Z (1 2 3)"], None, ["LineString", "Point Z"], [0, 0, 3, 1, 2, 3]),
        (
            ["POLYGON ((0 0, 1 0, 1 1, 0 0))", "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)))"],
            None,
            ["MultiPolygon", "Polygon"],
            [0, 0, 1, 1],
        ),
        (["MULTIPOINT ((1 1))", "MULTILINESTRING ((0 0, 1 1))"], None, ["MultiLineString", "MultiPoint"], [0, 0, 1, 1]),
        (["POLYGON EMPTY", None], None, ["Polygon"], None),
        ([None], None, [], None),
        (["POINT M (1 2 4)", "POINT ZM (1 2 3 4)"], ["POINT (1 2)", "POINT Z (1 2 3)"], ["Point", "Point Z"], [1, 2, 3, 1, 2, 3]),
    ],
    ids=str,
)  # fmt: skip
def test_geometries_are_iso_wkb_and_described(
    tmp_path: Path, given: list[Any], found: list[Any] | None, types: list[str], bbox: list[float] | None
) -> None:
    path = write(make_layer([None if text is None else wkt(text) for text in given]), tmp_path)
    shapes = [None if text is None else wkt(text) for text in found or given]
    assert texts_in(path) == [None if shape is None else shapely.to_wkb(shape, flavor="iso") for shape in shapes]
    column = column_metadata(path)
    assert column["geometry_types"] == types
    assert column.get("bbox") == bbox


@each_row(
    ("text", "more"),
    [
        ("POINT (1 2)", b"junk"),
        ("POINT Z (1 2 3)", b"\0"),
        ("LINESTRING (0 0, 1 1)", bytes(16)),
        ("POLYGON ((0 0, 1 0, 1 1, 0 0))", bytes(8)),
    ],
    ids=str,
)
def test_what_stands_behind_a_geometry_in_the_input_is_not_written(tmp_path: Path, text: str, more: bytes) -> None:
    """GEOS takes no notice of it; who reads the result may."""
    layer = make_layer([wkt(text), None, wkt(text)])
    (chunk,) = layer.geometry.chunks  # type: ignore[union-attr]
    first, missing, last = chunk.to_pylist()
    with_more = pa.chunked_array([pa.array([first + more, missing, last], pa.large_binary())])
    assert texts_in(write(structs.replace(layer, geometry=with_more), tmp_path)) == [first, None, last]


def test_ring_without_positions_is_an_empty_polygon(tmp_path: Path) -> None:
    layer, empty = make_layer([BOX]), shapely.to_wkb(wkt("POLYGON EMPTY"))
    ring = pa.chunked_array([pa.array([struct.pack("<BIII", 1, 3, 1, 0)], pa.large_binary())])
    assert texts_in(write(structs.replace(layer, geometry=ring), tmp_path)) == [empty]


@each_row("text", ["POINT Z EMPTY", "LINESTRING Z EMPTY", "POLYGON ((0 0, 9 0, 9 9, 0 0), EMPTY)", "POINT Z (1 2 NaN)"])
def test_geometries_of_few_coordinates_come_as_they_are(tmp_path: Path, text: str) -> None:
    layer = make_layer([wkt(text), BOX])
    found = layer.geometry.to_pylist()  # type: ignore[union-attr]
    assert texts_in(write(layer, tmp_path)) == found


def test_measures_are_left_out_with_a_warning(tmp_path: Path) -> None:
    _, warnings = write_layer(make_layer([wkt("POINT M (1 2 4)")]), PARQUET, tmp_path)
    assert warnings == ["measures (M) of coordinates are left out: the format has none"]


@pytest.mark.parametrize("code", [32633, 3857, 4326])
def test_crs_is_projjson_and_coordinates_are_in_it(tmp_path: Path, code: int) -> None:
    path = write(make_layer([BOX]), tmp_path, parse_crs(f"EPSG:{code}"))
    assert pyproj.CRS.from_json_dict(column_metadata(path)["crs"]).to_epsg() == code
    transformer = pyproj.Transformer.from_crs(32633, code, always_xy=True)
    expected = np.column_stack(transformer.transform(*shapely.get_coordinates(BOX).T))
    (text,) = texts_in(path)
    np.testing.assert_allclose(shapely.get_coordinates(shapely.from_wkb(text)), expected, rtol=1e-12)
    np.testing.assert_allclose(column_metadata(path)["bbox"], [*expected.min(axis=0), *expected.max(axis=0)])


def test_crs84_is_what_a_file_without_a_crs_has(tmp_path: Path) -> None:
    assert "crs" not in column_metadata(write(make_layer([wkt("POINT (1 2)")], crs=CRS84), tmp_path))


@each_row("ids", [[1, 2], [7, 3], [1, None], ["b", "a"]], ids=str)
def test_ids_are_the_first_column(tmp_path: Path, ids: list[Any]) -> None:
    table = parquet.read_table(write(make_layer([BOX, BOX], ids=ids), tmp_path))
    assert table.column_names == ["id", "n", "ClassStatus", "geometry", "bbox"]
    assert table.schema.field("id").type == (pa.string() if isinstance(ids[0], str) else pa.int64())
    assert table.column("id").to_pylist() == ids


def test_attributes_of_every_type_survive(tmp_path: Path) -> None:
    before = typed_attributes()
    after = parquet.read_table(write(make_layer([BOX] * 3, before), tmp_path))
    for name in set(TYPES) - {"list", "record"}:
        kept = {"instant": pa.timestamp("us", "UTC")}.get(name, before.schema.field(name).type)
        assert after.schema.field(name).type == kept, name
        assert after.column(name).combine_chunks().equals(before.column(name).combine_chunks().cast(kept)), name
    assert after.column("list").to_pylist() == ["[1,2]", None, "[1,2]"]
    assert after.column("record").to_pylist() == ['{"a":1,"b":"x"}', None, '{"a":1,"b":"x"}']


def test_names_are_kept_but_those_of_the_format(tmp_path: Path) -> None:
    names = [*ODD_NAMES, "Name", "name", "Geometry", "ID"]
    attributes = pa.table({name: [number] for number, name in enumerate(names)})
    path, warnings = write_layer(make_layer([BOX], attributes, ids=["x"]), PARQUET, tmp_path)
    found = parquet.read_table(path).column_names
    assert found == ["id", *ODD_NAMES, "Name", "name", "Geometry_1", "ID_1", "ClassStatus", "geometry", "bbox"]
    assert len(warnings) == 2


def test_summary_is_in_the_files_metadata(tmp_path: Path) -> None:
    for layer in (make_layer([BOX]), make_table(pa.table({"n": [1]}))):
        metadata = parquet.read_schema(write(layer, tmp_path)).metadata
        assert json.loads(metadata[b"summary"]) == {"counts": {"é": 1}, "warnings": []}


def test_table_without_geometry_is_plain_parquet(tmp_path: Path) -> None:
    path = write(make_table(pa.table({"ImageID": ["a.png", "b.png"], "geometry": [1, 2]})), tmp_path)
    assert parquet.read_table(path).column_names == ["ImageID", "geometry", "ClassStatus"]
    assert b"geo" not in parquet.read_metadata(path).metadata


def test_layer_without_features_has_its_columns(tmp_path: Path) -> None:
    path = write(make_layer([], typed_attributes().slice(0, 0)), tmp_path)
    table = parquet.read_table(path)
    assert (table.num_rows, table.column_names) == (0, [*TYPES, "ClassStatus", "geometry", "bbox"])
    assert column_metadata(path)["geometry_types"] == []


def test_rows_come_in_groups_of_a_readable_size(tmp_path: Path) -> None:
    layer = make_layer(points_at(np.zeros((70_000, 2))))
    metadata = parquet.read_metadata(write(layer, tmp_path, rows_at_once=16384))
    assert [metadata.row_group(place).num_rows for place in range(metadata.num_row_groups)] == [65536, 4464]
    assert metadata.row_group(0).column(0).compression == "ZSTD"


SIDES = ["xmin", "ymin", "xmax", "ymax"]


@each_row("names", [["n"], ["bbox"], ["BBOX", "bbox_1"]], ids=str)
def test_column_of_boxes_holds_each_geometry_and_is_no_attribute_of_ours(tmp_path: Path, names: list[str]) -> None:
    """GeoParquet 1.1 recommends it: readers skip row groups by its statistics."""
    shapes = [BOX, None, wkt("POLYGON EMPTY"), wkt("LINESTRING (0.1 0.7, 1e-9 123456.789)"), wkt("POINT Z (1 2 3)")]
    attributes = pa.table({name: range(5) for name in names})
    path, warnings = write_layer(make_layer(shapes, attributes), PARQUET, tmp_path, rows_at_once=16384)
    assert warnings == []
    (name,) = {column for column, _ in column_metadata(path)["covering"]["bbox"].values()}
    assert column_metadata(path)["covering"] == {"bbox": {side: [name, side] for side in SIDES}}
    assert name.lower() not in [item.lower() for item in names]
    found = parquet.read_table(path).column(name).to_pylist()
    assert [item is None for item in found] == [False, True, True, False, False]
    for box, shape in zip(found, shapes, strict=True):
        if box is not None:
            sides, exact = [box[side] for side in SIDES], shape.bounds
            assert sides[0] <= exact[0] <= exact[2] <= sides[2]
            assert sides[1] <= exact[1] <= exact[3] <= sides[3]
            np.testing.assert_allclose(sides, exact, rtol=2e-7, atol=1e-15)
    group = parquet.read_metadata(path).row_group(0)
    (column,) = [group.column(i) for i in range(group.num_columns) if group.column(i).path_in_schema == f"{name}.xmax"]
    assert column.statistics.max >= 500_010
    again = read_layer(path, "again.parquet", None, Limits())
    assert again.attributes.column_names == [*names, "ClassStatus"]
    assert again.geometries(0, 5).tolist() == shapes
