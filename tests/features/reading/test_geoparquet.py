"""GeoParquet in: files that pyarrow writes with `geo` metadata made by hand from the specification.

Files with Parquet's own geometry types are DuckDB's, their type changed in the footer.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import pytest
import shapely

from parquet_files import SHAPES, geo, problem, read, save, wkb
from processes.errors import LayerError, LimitError
from processes.features.layer import JSON_TEXT
from processes.features.reading import parquet_rows
from tables import each_row


def test_rows_come_in_their_order_without_ids(tmp_path: Path) -> None:
    layer = read(save(tmp_path / "a.parquet", {"n": [3, 1, 2], "geometry": wkb(SHAPES)}))
    assert layer.attributes.to_pydict() == {"n": [3, 1, 2]}
    assert layer.geometries(0, 3).tolist() == SHAPES
    assert (layer.name, layer.ids, layer.geometry_type) == ("roofs", None, "Polygon")


def test_rows_of_several_groups_and_batches_stay_in_order(tmp_path: Path) -> None:
    count = 150_000
    shapes = np.asarray(shapely.points(np.arange(count), np.arange(count)[::-1]))
    columns = {"n": np.arange(count), "t": [f"text {n % 7}" for n in range(count)], "geometry": wkb(list(shapes))}
    layer = read(save(tmp_path / "a.parquet", columns, row_group_size=40_000))
    assert layer.attributes.column("n").to_pylist() == list(range(count))
    assert layer.attributes.column("t").to_pylist() == columns["t"]
    assert layer.geometries(count - 2, count).tolist() == list(shapes[-2:])


@pytest.mark.parametrize("length", [9, 90])
def test_texts_within_values_of_several_groups_are_read(tmp_path: Path, length: int) -> None:
    """As of buildings and places of Overture Maps: `names` is a struct, `sources` a list of structs."""
    count = 30_000
    columns = {
        "names": [{"primary": f"n{number % 7}", "common": {"en": f"{number:0{length}}"}} for number in range(count)],
        "sources": [[{"dataset": "a", "id": str(number)}] * (number % 3) for number in range(count)],
        "geometry": wkb([SHAPES[0]] * count),
    }
    layer = read(save(tmp_path / "a.parquet", columns, row_group_size=8_000))
    for name in ("names", "sources"):
        texts = layer.attributes.column(name).to_pylist()
        assert [json.loads(text) for text in texts] == columns[name]


def test_file_without_rows_is_an_empty_layer(tmp_path: Path) -> None:
    layer = read(save(tmp_path / "a.parquet", {"n": pa.array([], pa.int64()), "geometry": wkb([])}))
    assert (len(layer), layer.attributes.column_names, layer.geometry_type) == (0, ["n"], "Unknown")


def test_file_of_geometries_alone_is_read(tmp_path: Path) -> None:
    layer = read(save(tmp_path / "a.parquet", {"geometry": wkb(SHAPES)}))
    assert (len(layer), layer.attributes.column_names) == (3, [])


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0", "1.0.0-beta.1"])
def test_without_crs_it_is_crs84(tmp_path: Path, version: str) -> None:
    layer = read(save(tmp_path / "a.parquet", {"geometry": wkb(SHAPES)}, geo(version=version)))
    assert layer.crs == pyproj.CRS("OGC:CRS84")


UTM = pyproj.CRS("EPSG:32617")


@each_row(
    ("members", "column", "crs"),
    [
        # case geoparquet-2, seen with 0.3.0: geopandas 1.2.0, DuckDB 2.0.1
        ({"version": "2.0.0"}, {"crs": UTM.to_json_dict(), "geometry_types": ["Polygon"]}, UTM),
        ({"version": "2.0.0"}, {}, pyproj.CRS("OGC:CRS84")),
        ({"version": "2.1.0-dev"}, {"edges": "planar", "crs": UTM.to_json_dict()}, UTM),
        # case geoparquet-old, seen with 0.3.0
        ({"version": "0.4.0"}, {"crs": UTM.to_json_dict(), "geometry_type": "Polygon"}, UTM),
        ({"version": "0.4.0"}, {"geometry_type": ["Polygon", "MultiPolygon"], "orientation": "counterclockwise"}, pyproj.CRS("OGC:CRS84")),
        ({"version": "0.3.0"}, {"crs": UTM.to_wkt(), "geometry_type": "Polygon"}, UTM),
        ({"schema_version": "0.2.0"}, {"crs": UTM.to_wkt(), "bbox": [0, 0, 3, 3]}, UTM),
        ({"schema_version": "0.1.0", "creator": {"library": "geopandas", "version": "0.9.0"}}, {"crs": UTM.to_wkt()}, UTM),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_every_version_is_read(tmp_path: Path, members: Any, column: Any, crs: pyproj.CRS) -> None:
    described = {"primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", **column}}, **members}
    layer = read(save(tmp_path / "a.parquet", {"n": [3, 1, 2], "geometry": wkb(SHAPES)}, described))
    assert layer.crs == crs
    assert layer.geometries(0, 3).tolist() == SHAPES
    assert layer.attributes.to_pydict() == {"n": [3, 1, 2]}
    assert layer.warnings == ()


NATIVE = base64.b64decode(
    "UEFSMRUAFRgVHCwVBhUAFQYVBgAADCwBAAAAAgAAAAMAAAAVABWuARViLBUGFQAVBhUGAABXGCEAAABBBQB2AQAUFQAAAAEBDSQMqIQeQQELDFvj"
    "RkEyGQAs+IQeQQAAAABR40ZBFQIZPDUAGA1kdWNrZGJfc2NoZW1hFQQAFQIlABgCaWQlIgAVDCUCGARnZW9tbAwiAAAAFgYZHBksJgAcFQIZFQAZ"
    "GAJpZBUCFgYWOhY+Jgg8GAQDAAAAGAQBAAAAFgAoBAMAAAAYBAEAAAAREQAZHBUAFQAVAgAAACYAHBUMGRUAGRgEZ2VvbRUCFgYW0gEWhgEmRjw2"
    "AgAZHBUAFQAVAgBMHBcAAAAAqIQeQRcAAAAA+IQeQRcAAAAAUeNGQRcAAAAAW+NGQQAZFQIAAAAWjAIWBiYIFsQBACgoRHVja0RCIHZlcnNpb24g"
    "djIuMC4xIChidWlsZCA4ZDc4MTE0ZTkwKRksHAAAHAAAAAwBAABQQVIx"
)
"""What DuckDB 2.0.1 writes with GEOPARQUET_VERSION 'NONE': (1, POINT (500010 2999990)), (2, NULL), (3, POINT (500030 2999970))."""
GEOMETRY, GEOGRAPHY = b"\x0c\x22", b"\x0c\x24"
"""Members of Parquet's LogicalType, in Thrift's compact protocol; behind each its own members, and a zero."""


def native_file(path: Path, kind: bytes, crs: str | None = None, algorithm: int | None = None) -> Path:
    """Write the file above with another geometry type in its footer."""
    members = b"" if crs is None else b"\x18" + bytes([len(crs)]) + crs.encode()
    if algorithm is not None:
        members += (b"\x25" if crs is None else b"\x15") + bytes([2 * algorithm])
    (length,) = struct.unpack("<I", NATIVE[-8:-4])
    footer = NATIVE[-8 - length : -8]
    assert footer.count(GEOMETRY + b"\x00") == 1
    footer = footer.replace(GEOMETRY + b"\x00", kind + members + b"\x00")
    path.write_bytes(NATIVE[: -8 - length] + footer + struct.pack("<I", len(footer)) + b"PAR1")
    return path


@each_row(
    ("kind", "crs", "algorithm", "expected"),
    [
        (GEOMETRY, None, None, "OGC:CRS84"),
        (GEOMETRY, "", None, "OGC:CRS84"),
        (GEOMETRY, "OGC:CRS84", None, "OGC:CRS84"),
        (GEOMETRY, "EPSG:32617", None, "EPSG:32617"),
        (GEOMETRY, "srid:32617", None, "EPSG:32617"),
        (GEOGRAPHY, None, None, "OGC:CRS84"),
        (GEOGRAPHY, "OGC:CRS84", 1, "OGC:CRS84"),
        (GEOGRAPHY, None, 4, "OGC:CRS84"),
    ],
)
def test_parquet_s_own_geometry_types_are_read(
    tmp_path: Path, kind: bytes, crs: str | None, algorithm: int | None, expected: str
) -> None:
    """Case geoparquet-2: there is no metadata `geo`. pyarrow is the oracle of values and type."""
    path = native_file(tmp_path / "a.parquet", kind, crs, algorithm)
    with pq.ParquetFile(path) as file:
        assert file.schema.column(1).logical_type.type == ("GEOMETRY" if kind == GEOMETRY else "GEOGRAPHY")
        rows = file.read().to_pydict()
    layer = read(path)
    assert layer.attributes.to_pydict() == {"id": rows["id"]}
    assert [None if item is None else item.wkb for item in layer.geometries(0, 3)] == rows["geom"]
    assert layer.crs == pyproj.CRS(expected)
    assert layer.warnings == ()


@each_row(
    ("crs", "words"), [("EPSG:999999", "a CRS that cannot be read"), ("projjson:gone", "a CRS that cannot be read")]
)
def test_crs_of_a_geometry_type_that_cannot_be_used_is_refused(tmp_path: Path, crs: str, words: str) -> None:
    assert words in problem(native_file(tmp_path / "a.parquet", GEOMETRY, crs))


def geoarrow(name: str, metadata: Any) -> pa.Field:
    extension = {"ARROW:extension:name": f"geoarrow.{name}", "ARROW:extension:metadata": json.dumps(metadata)}
    kind = pa.binary() if name == "wkb" else native([(1, 2)], XY, 0).type
    return pa.field("geom", kind, metadata=extension)


@each_row(
    ("metadata", "expected"),
    [
        ({"crs": UTM.to_json_dict(), "crs_type": "projjson"}, UTM),
        ({"crs": "EPSG:32617", "crs_type": "authority_code"}, UTM),
        ({"crs": UTM.to_wkt("WKT2_2019"), "crs_type": "wkt2:2019"}, UTM),
    ],
    ids=lambda value: str(value)[:40],
)
@each_row("name", ["wkb", "point"])
def test_geoarrow_s_types_are_read(tmp_path: Path, metadata: Any, expected: pyproj.CRS, name: str) -> None:
    """As geopandas' `to_arrow` with pyarrow's `write_table` writes them, without metadata `geo`."""
    column = wkb([shapely.Point(1, 2)]) if name == "wkb" else native([(1, 2)], XY, 0)
    path = save(tmp_path / "a.parquet", {"n": [1], "geom": column}, False, [geoarrow(name, metadata)])
    layer = read(path)
    assert (layer.crs, layer.geometries(0, 1).tolist()) == (expected, [shapely.Point(1, 2)])
    assert layer.attributes.column_names == ["n"]


def test_geoarrow_s_types_without_a_crs_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.parquet", {"geom": wkb([shapely.Point(1, 2)])}, False, [geoarrow("wkb", {})])
    assert "has no CRS" in problem(path)


@each_row("edges", ["spherical", "vincenty", "planar", None])
def test_edges_that_are_not_straight_are_told_of_lines_and_polygons(tmp_path: Path, edges: str | None) -> None:
    for shapes, has_edges in ((SHAPES, True), ([shapely.Point(1, 2)] * 3, False)):
        layer = read(save(tmp_path / f"{has_edges}.parquet", {"geometry": wkb(shapes)}, geo({"edges": edges})))
        assert bool(layer.warnings) == (has_edges and edges not in ("planar", None))


@each_row("name", ["EPSG:32633", "EPSG:4326", "OGC:CRS84", "EPSG:25833+5783"])
def test_crs_is_that_of_the_projjson(tmp_path: Path, name: str) -> None:
    member = pyproj.CRS(name).to_json_dict()
    layer = read(save(tmp_path / "a.parquet", {"geometry": wkb(SHAPES)}, geo({"crs": member})))
    assert layer.crs == pyproj.CRS(name)


@each_row(
    ("crs", "words"),
    [
        (None, "has no CRS"),
        ({}, "CRS that cannot be read"),
        ({"type": "GeographicCRS"}, "CRS that cannot be read"),
        ({"type": 5, "id": [[]]}, "CRS that cannot be read"),
        ("nonsense", "CRS that cannot be read"),
        (5, "is not that of a GeoParquet"),
        (pyproj.CRS("EPSG:5783").to_json_dict(), "no CRS of places on the ground"),
    ],
)
def test_crs_that_cannot_be_used_is_refused(tmp_path: Path, crs: Any, words: str) -> None:
    assert words in problem(save(tmp_path / "a.parquet", {"geometry": wkb(SHAPES)}, geo({"crs": crs})))


def test_other_geometry_columns_and_boxes_are_left_out(tmp_path: Path) -> None:
    box = pa.array([{"xmin": 0.0, "ymin": 0.0, "xmax": 1.0, "ymax": 1.0}] * 3)
    columns = {"a": [1, 2, 3], "bbox": box, "centre": wkb(SHAPES), "geometry": wkb(SHAPES), "b": ["x", "y", None]}
    covering = {"bbox": {key: ["bbox", key] for key in ("xmin", "ymin", "xmax", "ymax")}}
    metadata = geo({"covering": covering})
    metadata["columns"]["centre"] = {"encoding": "WKB", "geometry_types": ["Point"]}
    layer = read(save(tmp_path / "a.parquet", columns, metadata))
    assert layer.attributes.to_pydict() == {"a": [1, 2, 3], "b": ["x", "y", None]}


def test_primary_column_may_have_any_name(tmp_path: Path) -> None:
    metadata = geo(primary_column="the geom")
    metadata["columns"] = {"the geom": metadata["columns"]["geometry"]}
    layer = read(save(tmp_path / "a.parquet", {"the geom": wkb(SHAPES), "geometry": ["no", "real", "one"]}, metadata))
    assert layer.attributes.to_pydict() == {"geometry": ["no", "real", "one"]}


NOON = dt.datetime(2024, 2, 29, 12, 0, 0, 123456, dt.UTC).replace(tzinfo=None)


@each_row(
    ("values", "kind", "expected"),
    [
        ([True, None], pa.bool_(), pa.bool_()),
        ([-3, None], pa.int8(), pa.int16()),
        ([2**32 - 1, None], pa.uint32(), pa.int64()),
        ([2**62, None], pa.int64(), pa.int64()),
        ([2**62, None], pa.uint64(), pa.int64()),
        ([0.5, None], pa.float16(), pa.float32()),
        ([0.1, None], pa.float64(), pa.float64()),
        (["é😀", None], pa.string(), pa.string()),
        (["é😀", None], pa.large_string(), pa.string()),
        (["é", None], pa.dictionary(pa.int32(), pa.string()), pa.string()),
        ([5, None], pa.dictionary(pa.int8(), pa.int64()), pa.int64()),
        ([b"\x00\xff", None], pa.binary(), pa.binary()),
        ([b"\x00\xff", None], pa.binary(2), pa.binary()),
        ([dt.date(2024, 2, 29), None], pa.date32(), pa.date32()),
        ([dt.time(12, 30, 1), None], pa.time32("ms"), pa.time32("ms")),
        ([dt.time(12, 30, 1, 5), None], pa.time64("ns"), pa.time64("us")),
        ([NOON, None], pa.timestamp("us"), pa.timestamp("us")),
        ([NOON.replace(tzinfo=dt.UTC), None], pa.timestamp("us", "UTC"), pa.timestamp("us", "UTC")),
        ([NOON, None], pa.timestamp("ns"), pa.timestamp("us")),
        ([decimal.Decimal("1.25"), None], pa.decimal128(15, 2), pa.float64()),
        ([None, None], pa.null(), pa.string()),
    ],
    ids=lambda value: str(value)[:40],
)
def test_attributes_keep_their_values(tmp_path: Path, values: Any, kind: pa.DataType, expected: pa.DataType) -> None:
    column = pa.array(values, kind)
    layer = read(save(tmp_path / "a.parquet", {"a": column, "geometry": wkb([SHAPES[0]] * 2)}))
    found = layer.attributes.column("a")
    assert found.type == expected
    assert found.to_pylist() == values


def test_values_that_no_output_holds_become_texts(tmp_path: Path) -> None:
    columns = {
        "money": pa.array([decimal.Decimal("12345678901234567890.10")], pa.decimal128(22, 2)),
        "while": pa.array([dt.timedelta(days=1, seconds=2)], pa.duration("ms")),
        "geometry": wkb(SHAPES[:1]),
    }
    layer = read(save(tmp_path / "a.parquet", columns))
    assert layer.attributes.to_pylist() == [{"money": "12345678901234567890.10", "while": "1 day, 0:00:02"}]


def test_times_finer_than_a_microsecond_are_cut(tmp_path: Path) -> None:
    column = pa.array([1_709_208_000_123_456_789], pa.timestamp("ns"))
    layer = read(save(tmp_path / "a.parquet", {"t": column, "geometry": wkb(SHAPES[:1])}))
    assert layer.attributes.column("t").to_pylist() == [NOON]


def test_nested_values_become_json_texts(tmp_path: Path) -> None:
    columns = {
        "list": pa.array([[1, None], [], None]),
        "struct": pa.array([{"a": 1, "b": {"c": "é"}}, None, {"a": None, "b": None}]),
        "map": pa.array([[("k", 1.5)], None, []], pa.map_(pa.string(), pa.float64())),
        "deep": pa.array([[[dt.date(2024, 2, 29)]], None, [[None], None]]),
        "geometry": wkb(SHAPES),
    }
    attributes = read(save(tmp_path / "a.parquet", columns)).attributes
    parsed = {
        name: [None if text is None else json.loads(text) for text in attributes.column(name).to_pylist()]
        for name in attributes.column_names
    }
    assert parsed == {
        "list": [[1, None], [], None],
        "struct": [{"a": 1, "b": {"c": "é"}}, None, {"a": None, "b": None}],
        "map": [{"k": 1.5}, None, {}],
        "deep": [[["2024-02-29"]], None, [[None], None]],
    }
    assert {item.metadata[b"classify_objects:json"] for item in attributes.schema} == set(JSON_TEXT.values())


@each_row(
    "column",
    [
        pa.array([2**62], pa.timestamp("us")),
        pa.array([-(2**31)], pa.date32()),
        pa.array([0], pa.timestamp("us", "Middle/Earth")),
    ],
    ids=str,
)
def test_value_without_a_place_in_any_result_is_named(tmp_path: Path, column: pa.Array) -> None:
    said = problem(save(tmp_path / "a.parquet", {"odd": column, "geometry": wkb(SHAPES[:1])}))
    assert "attribute 'odd'" in said


@each_row(("value", "given"), [(2**63 - 1, 2**63 - 1), (2**63, str(2**63)), (None, None)])
def test_unsigned_numbers_are_numbers_while_they_fit(tmp_path: Path, value: int | None, given: Any) -> None:
    column = pa.array([value], pa.uint64())
    layer = read(save(tmp_path / "a.parquet", {"odd": column, "geometry": wkb(SHAPES[:1])}))
    assert layer.attributes.column("odd").to_pylist() == [given]


def test_text_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    odd = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"]).buffers())
    assert "attribute 'odd'" in problem(save(tmp_path / "a.parquet", {"odd": odd, "geometry": wkb(SHAPES[:1])}))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.table([pa.array([1]), pa.array([2]), wkb(SHAPES[:1])], names=["a", "a", "geometry"])
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo())}), tmp_path / "a.parquet")
    assert "two attributes are named 'a'" in problem(tmp_path / "a.parquet")


XY = ("x", "y")


def native(coordinates: Any, ordinates: Sequence[str], depth: int) -> pa.Array:
    """Build a GeoArrow column from nested lists of coordinate tuples."""
    kind: pa.DataType = pa.struct([pa.field(name, pa.float64()) for name in ordinates])
    for _ in range(depth):
        kind = pa.list_(kind)

    def named(value: Any, level: int) -> Any:
        if value is None:
            return None
        if level == 0:
            return dict(zip(ordinates, value, strict=True))
        return [named(item, level - 1) for item in value]

    return pa.array([named(item, depth) for item in coordinates], kind)


RING = [(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 0.0)]
HOLE = [(2.0, 1.0), (3.0, 1.0), (3.0, 2.0), (2.0, 1.0)]


@each_row(
    ("encoding", "depth", "ordinates", "coordinates", "expected", "name"),
    [
        ("point", 0, XY, [(1, 2), None, (3, 4)], ["POINT (1 2)", None, "POINT (3 4)"], "Point"),
        ("point", 0, "xyz", [(1, 2, 3)], ["POINT Z (1 2 3)"], "Point Z"),
        (
            "linestring",
            1,
            XY,
            [[(0, 0), (1, 2)], None, []],
            ["LINESTRING (0 0, 1 2)", None, "LINESTRING EMPTY"],
            "LineString",
        ),
        (
            "polygon",
            2,
            XY,
            [None, [RING, HOLE], [RING]],
            [None, shapely.Polygon(RING, [HOLE]).wkt, shapely.Polygon(RING).wkt],
            "Polygon",
        ),
        (
            "multipoint",
            1,
            XY,
            [[(0, 0), (1, 2)], [(5, 6)]],
            ["MULTIPOINT ((0 0), (1 2))", "MULTIPOINT ((5 6))"],
            "MultiPoint",
        ),
        (
            "multilinestring",
            2,
            XY,
            [[[(0, 0), (1, 2)], [(3, 3), (4, 4)]], None],
            ["MULTILINESTRING ((0 0, 1 2), (3 3, 4 4))", None],
            "MultiLineString",
        ),
        (
            "multipolygon",
            3,
            XY,
            [[[RING, HOLE], [[(9.0, 9.0), (10.0, 9.0), (10.0, 10.0), (9.0, 9.0)]]], None, [[RING]]],
            [
                shapely.MultiPolygon([(RING, [HOLE]), ([(9, 9), (10, 9), (10, 10), (9, 9)], [])]).wkt,
                None,
                shapely.MultiPolygon([(RING, [])]).wkt,
            ],
            "MultiPolygon",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_native_encodings_are_read(
    tmp_path: Path, encoding: str, depth: int, ordinates: Any, coordinates: Any, expected: Any, name: str
) -> None:
    column = native(coordinates, tuple(ordinates), depth)
    layer = read(save(tmp_path / "a.parquet", {"geometry": column}, geo({"encoding": encoding}), row_group_size=2))
    shapes = layer.geometries(0, len(expected))
    assert [None if shape is None else shape.wkt for shape in shapes] == expected
    assert layer.geometry_type == name


@each_row(
    ("encoding", "column", "words"),
    [
        ("wkb", wkb(SHAPES[:1]), "encoding 'wkb' is not known; WKB, point, "),
        ("WKT", wkb(SHAPES[:1]), "encoding 'WKT' is not known"),
        ("WKB", pa.array(["POINT (1 2)"]), "which is no WKB"),
        ("WKB", pa.array([1]), "which is no WKB"),
        ("point", wkb(SHAPES[:1]), "not the encoding point"),
        ("point", native([[(1, 2)]], XY, 1), "not the encoding point"),
        ("polygon", native([[(1, 2)]], XY, 1), "not the encoding polygon"),
        ("point", native([(1, 2)], "ab", 0), "not the encoding point"),
        ("point", native([(1, 2, 3)], "xym", 0), "not the encoding point"),
        ("point", native([(1, 2, 3, 4)], "xyzm", 0), "not the encoding point"),
        ("linestring", native([[None, (1, 2)]], XY, 1), "a coordinate of a geometry is null"),
        ("linestring", native([[(None, 1), (1, 2)]], XY, 1), "a coordinate of a geometry is null"),
        ("polygon", native([[None, RING]], XY, 2), "a part of a geometry is null"),
        ("polygon", native([[RING[:2]]], XY, 2), "cannot be read"),
        ("linestring", native([[(1, 2)]], XY, 1), "cannot be read"),
    ],
)
def test_geometry_that_is_not_what_the_metadata_says_is_refused(
    tmp_path: Path, encoding: str, column: pa.Array, words: str
) -> None:
    assert words in problem(save(tmp_path / "a.parquet", {"geometry": column}, geo({"encoding": encoding})))


@pytest.mark.parametrize(
    "options", [{"byte_order": 0}, {"flavor": "extended"}, {"flavor": "extended", "include_srid": True}]
)
def test_every_kind_of_wkb_is_read_and_held_as_iso(tmp_path: Path, options: Any) -> None:
    shape = shapely.set_srid(shapely.from_wkt("MULTIPOINT ZM ((1 2 3 4), (5 6 7 8))"), 4326)
    layer = read(save(tmp_path / "a.parquet", {"geometry": wkb([shape, None], **options)}))
    assert layer.geometry_type == "MultiPoint ZM"
    assert layer.geometry is not None
    assert layer.geometry.to_pylist() == wkb([shape, None]).to_pylist()


@each_row(
    ("value", "words"),
    [
        (shapely.to_wkb(shapely.from_wkt("GEOMETRYCOLLECTION (POINT (1 2))")), "feature 3 is a GeometryCollection"),
        (bytes.fromhex("01080000000000000000"), "feature 3 is a CircularString"),
        (bytes.fromhex("00000003F20000000000"), "feature 3 is a CurvePolygon"),
        (bytes.fromhex("01F90300000000"), "feature 3 is a Triangle"),
        (bytes.fromhex("01630000000000"), "feature 3 has a geometry that cannot be read"),
        (b"\x01\x01", "feature 3 has a geometry that cannot be read"),
        (b"", "feature 3 has a geometry that cannot be read"),
        (b"POINT (1 2)", "feature 3 has a geometry that cannot be read"),
    ],
)
def test_geometry_that_is_none_of_ours_is_named_by_its_position(tmp_path: Path, value: bytes, words: str) -> None:
    column = pa.array([wkb(SHAPES)[0].as_py(), None, value], pa.binary())
    assert words in problem(save(tmp_path / "a.parquet", {"geometry": column}))


@each_row(
    ("metadata", "words"),
    [
        (False, "without the metadata `geo`"),
        (b"", "is not that of a GeoParquet"),
        (b"{", "is not that of a GeoParquet"),
        (b"[" * 100_000, "is not that of a GeoParquet"),
        (b"null", "is not that of a GeoParquet"),
        (b"\xff", "is not that of a GeoParquet"),
        ({}, "is not that of a GeoParquet"),
        (geo(version=1), "is not that of a GeoParquet"),
        (geo(version="3.0.0"), "GeoParquet '3.0.0'; versions 0.1 to 2.0 are read"),
        (geo(version="x"), "GeoParquet 'x'; versions 0.1 to 2.0 are read"),
        (geo(primary_column="other"), "does not describe the primary column"),
        (geo(columns={}), "does not describe the primary column"),
        (geo(columns={"geometry": {"encoding": 5}}), "is not that of a GeoParquet"),
        (
            geo(primary_column="gone", columns={"gone": {"encoding": "WKB", "geometry_types": []}}),
            "there is no column",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_metadata_that_is_not_that_of_a_geoparquet_is_refused(tmp_path: Path, metadata: Any, words: str) -> None:
    assert words in problem(save(tmp_path / "a.parquet", {"geometry": wkb(SHAPES)}, metadata))


def test_more_features_than_allowed_name_the_limit(tmp_path: Path) -> None:
    path = save(tmp_path / "a.parquet", {"geometry": wkb(SHAPES)})
    assert len(read(path, 3)) == 3
    with pytest.raises(LimitError, match=r"3 features.*max_objects = 2"):
        read(path, 2)


def test_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    data = save(tmp_path / "a.parquet", {"n": [1, 2, 3], "geometry": wkb(SHAPES)}).read_bytes()
    path = tmp_path / "cut.parquet"
    for size in range(4, len(data), 31):
        path.write_bytes(data[:size])
        assert "the Parquet file is broken" in problem(path)


def test_damaged_file_never_gives_a_part_of_its_features(tmp_path: Path) -> None:
    columns = {"n": range(100), "t": [f"t{n}" for n in range(100)], "l": [[n] for n in range(100)]}
    source = save(tmp_path / "a.parquet", columns | {"geometry": wkb([SHAPES[0]] * 100)}, compression="none")
    whole, rng, refused, path = source.read_bytes(), np.random.default_rng(3), 0, tmp_path / "damaged.parquet"
    for _ in range(200):
        data = bytearray(whole)
        start = int(rng.integers(4, len(data) - 8))
        data[start : start + 3] = rng.bytes(3)
        path.write_bytes(data)
        try:
            assert len(read(path)) == 100
        except (LayerError, LimitError):
            refused += 1
    assert refused


def test_no_damage_to_the_metadata_ends_the_process(tmp_path: Path) -> None:
    """pyarrow 26 aborts where Python asks for the metadata of a column chunk that contradict themselves."""
    columns = {"l": [[n] for n in range(3)], "geometry": wkb(SHAPES)}
    source = save(tmp_path / "a.parquet", columns)
    whole, path, refused = source.read_bytes(), tmp_path / "damaged.parquet", 0
    whole = whole.replace(b"ARROW:schema", b"other:schema")  # else that of Arrow is refused before those of columns
    (length,) = struct.unpack("<I", whole[-8:-4])
    for place in range(len(whole) - 8 - length, whole.index(b"other:schema")):
        data = bytearray(whole)
        data[place] ^= 0x10
        path.write_bytes(data)
        try:
            assert len(read(path)) == 3
        except (LayerError, LimitError):
            refused += 1
    assert refused


def test_file_that_claims_a_column_without_values_is_refused(tmp_path: Path) -> None:
    """Arrow yields no first row of such a column."""
    path = save(tmp_path / "a.parquet", {"t": ["x", "y", "x"], "geometry": wkb(SHAPES)}, compression="none")
    content = path.read_bytes()
    three_values, none = b"\x15\x00\x16\x06\x16", b"\x15\x00\x16\x00\x16"  # behind the codec, in Thrift
    path.write_bytes(content.replace(three_values, none, 1))
    row_group = pq.read_metadata(path).row_group(0)
    assert [row_group.column(index).num_values for index in range(2)] == [0, 3]
    assert "the Parquet file is broken" in problem(path)


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_bomb_is_refused_by_what_it_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str) -> None:
    monkeypatch.setattr(parquet_rows, "FREE_BYTES", 2**20)
    texts = ["x" * 1_000_000 + str(n) for n in range(20)]
    columns = {"t": texts, "geometry": wkb([SHAPES[0]] * 20)}
    path = save(tmp_path / "a.parquet", columns, compression=compression, use_dictionary=False)
    assert "more than 200 times its size" in problem(path)


def repeated(text: Any, count: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), pa.array([text]))


@pytest.mark.parametrize("nested", [False, True])
def test_bomb_of_one_text_in_many_rows_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nested: bool
) -> None:
    """A dictionary holds the text once, and the file claims no more than that."""
    monkeypatch.setattr(parquet_rows, "FREE_BYTES", 2**20)
    count = 30_000
    text = repeated("x" * 20_000, count)
    if nested:
        text = pa.ListArray.from_arrays(np.arange(count + 1, dtype=np.int32), text.cast(pa.string()))
    path = save(tmp_path / "a.parquet", {"t": text, "geometry": repeated(wkb(SHAPES[:1])[0].as_py(), count)})
    del text
    assert path.stat().st_size < 2**20
    peak = pa.default_memory_pool().bytes_allocated()
    assert "more than 200 times its size" in problem(path)
    assert pa.default_memory_pool().bytes_allocated() - peak < 2**24


def test_bomb_in_a_part_of_a_column_that_has_the_path_of_another_column_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrow makes a dictionary of one of them, and would unpack the other."""
    monkeypatch.setattr(parquet_rows, "FREE_BYTES", 2**20)
    count = 2000
    indices = np.arange(count, dtype=np.int32) % 2
    texts = pa.DictionaryArray.from_arrays(indices, pa.array(["x" * 20_000, "y"]))
    columns = {
        "a": pa.StructArray.from_arrays([texts], ["b"]),
        "a.b": pa.array(["u", "v"] * (count // 2)),
        "geometry": repeated(wkb(SHAPES[:1])[0].as_py(), count),
    }
    path = save(tmp_path / "a.parquet", columns)
    del texts, columns["a"]
    peak = pa.default_memory_pool().bytes_allocated()
    assert "two columns have the path 'a.b'" in problem(path)
    assert pa.default_memory_pool().bytes_allocated() - peak < 2**24


def test_short_texts_in_dictionaries_are_unpacked_a_few_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without dictionaries of Arrow's, which take long to make; no batch is larger than what is free."""
    monkeypatch.setattr(parquet_rows, "FREE_BYTES", 2**20)
    count = 30_000
    columns = {"short": ["x" * 1000, "y"] * (count // 2), "long": ["x" * 9000, "y"] + ["z"] * (count - 2)}
    path = save(tmp_path / "a.parquet", {**columns, "geometry": wkb(SHAPES[:1] * count)}, row_group_size=count // 2)
    with pytest.raises(LayerError, match="more than 200 times its size"):
        list(parquet_rows.read_batches(path, ["short", "long"], "features"))
    monkeypatch.setattr(parquet_rows, "MAX_RATIO", 2**20)
    batches = list(parquet_rows.read_batches(path, ["short", "long"], "features"))
    assert all(batch.column("short").nbytes <= 2**20 for batch in batches)
    assert [str(dtype) for dtype in batches[0].schema.types] == [
        "string",
        "dictionary<values=string, indices=int32, ordered=0>",
    ]
    table = pa.Table.from_batches(batches)
    assert {name: table.column(name).to_pylist() for name in columns} == columns


def test_bomb_of_prefixes_is_refused_batch_by_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DELTA_BYTE_ARRAY writes a text as what it has in common with the one before, and the rest."""
    monkeypatch.setattr(parquet_rows, "FREE_BYTES", 2**20)
    columns = {"t": ["x" * 20_000] * 10_000, "geometry": wkb(SHAPES[:1] * 10_000)}
    encodings = {"t": "DELTA_BYTE_ARRAY", "geometry": "PLAIN"}
    path = save(tmp_path / "a.parquet", columns, use_dictionary=False, column_encoding=encodings)
    assert "more than 200 times its size" in problem(path)


def test_texts_in_dictionaries_of_nested_columns_are_read(tmp_path: Path) -> None:
    columns = {
        "list": [["a", "b"], ["a", None], None],
        "struct": [{"a": "x", "b": ["y", "y"]}, {"a": "x", "b": None}, None],
        "map": pa.array([[("k", "v")], [("k", "v"), ("l", None)], []], pa.map_(pa.string(), pa.string())),
        "geometry": wkb(SHAPES),
    }
    attributes = read(save(tmp_path / "a.parquet", columns)).attributes
    assert attributes.column("list").to_pylist() == ['["a","b"]', '["a",null]', "null"]
    assert attributes.column("struct").to_pylist() == ['{"a":"x","b":["y","y"]}', '{"a":"x","b":null}', "null"]
    assert attributes.column("map").to_pylist() == ['{"k":"v"}', '{"k":"v","l":null}', "{}"]


def test_encrypted_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PARE" + bytes(100) + b"PARE")
    assert "not a GeoJSON or a" in problem(tmp_path / "a.parquet")


def test_second_geometry_is_left_out_with_a_warning_and_a_bounding_box_without(tmp_path: Path) -> None:
    bounds = [
        dict(zip(("xmin", "ymin", "xmax", "ymax"), shape.bounds, strict=True)) if shape else None for shape in SHAPES
    ]
    covering = {"bbox": {key: ["bbox", key] for key in ("xmin", "ymin", "xmax", "ymax")}}
    metadata = geo({"covering": covering})
    metadata["columns"]["centre"] = {"encoding": "WKB", "geometry_types": []}
    columns = {"n": [1, 2, 3], "geometry": wkb(SHAPES), "centre": wkb([shapely.Point(1, 2)] * 3), "bbox": bounds}
    layer = read(save(tmp_path / "a.parquet", columns, metadata))
    assert layer.attributes.column_names == ["n"]
    assert layer.warnings == ("the column 'centre' is left out: it is a second geometry",)
