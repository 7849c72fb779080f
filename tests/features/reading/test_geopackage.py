"""GeoPackages in and out, read back by GDAL and by plain sqlite3."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import sqlite3
import struct
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
import pyproj
import pytest
import shapely

from conftest import write_layer
from layers import ODD_NAMES, make_layer, make_table, typed_attributes
from processes.crs import parse_crs
from processes.errors import LayerError, LimitError
from processes.features.layer import Layer
from processes.features.reading.files import read_layer
from processes.features.reading.geojson import read_geojson
from processes.features.writing.geojson import GEOJSON
from processes.features.writing.geopackage import GEOPACKAGE
from processes.features.writing.write import rename_reserved
from processes.settings import Limits
from tables import each_row

BOX = shapely.box(500_000, 5_500_000, 500_010, 5_500_020)


def save(
    path: Path,
    columns: dict[str, Any] | None = None,
    geometries: Sequence[Any] = (BOX, BOX),
    layer: str = "trees",
    crs: str | None = "EPSG:32633",
    geometry_type: str = "Polygon",
    **options: Any,
) -> Path:
    """Write a layer with GDAL."""
    wkb = pa.array(shapely.to_wkb(np.array(geometries, dtype=object)), pa.binary())
    table = pa.table({**(columns or {"name": [f"tree {n}" for n in range(len(geometries))]}), "shape": wkb})
    pyogrio.write_arrow(
        table,
        path,
        layer=layer,
        driver="GPKG",
        geometry_name="shape",
        geometry_type=geometry_type,
        crs=crs,
        append=path.exists(),
        **options,
    )
    return path


def read(path: Path, layer: str | None = None, limit: int = 1_000_000) -> Layer:
    return read_layer(path, "trees.gpkg", layer, Limits(max_objects=limit))


def problem(path: Path, layer: str | None = None) -> str:
    with pytest.raises(LayerError) as caught:
        read(path, layer)
    assert str(path.parent) not in caught.value.detail
    return caught.value.detail


def execute(path: Path, *statements: str) -> list[Any]:
    """Run SQL with plain sqlite3 and return the rows of the last statement."""
    with closing(sqlite3.connect(path)) as database:
        for name in ("ST_IsEmpty", "ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY"):
            database.create_function(name, 1, lambda _: 0)
        rows: list[Any] = []
        for statement in statements:
            rows = database.execute(statement).fetchall()
        database.commit()
        return rows


def from_geojson(features: Sequence[dict[str, Any]]) -> Layer:
    point = {"type": "Point", "coordinates": [15, 50]}
    items = [{"type": "Feature", "geometry": point, "properties": {"a": 1}} | item for item in features]
    return read_geojson(json.dumps({"type": "FeatureCollection", "features": items}).encode(), "layer", Limits())


def columns_of(path: Path) -> list[str]:
    return [row[1] for row in execute(path, "PRAGMA table_info(result)")]


def geometry_in(blob: bytes | None) -> Any:
    """Read a GeoPackage geometry as the standard describes it: magic, flags, envelope, then WKB."""
    if blob is None:
        return None
    assert blob[:2] == b"GP"
    envelope = {0: 0, 1: 32, 2: 48, 3: 48, 4: 64}[blob[3] >> 1 & 7]
    return shapely.from_wkb(blob[8 + envelope :])


def test_fid_is_the_id_and_columns_keep_their_names(tmp_path: Path) -> None:
    columns = {"OBJECTID": pa.array([7, 9]), "b": ["x", None], "a": [1.5, 2.5]}
    layer = read(save(tmp_path / "a.gpkg", columns, FID="OBJECTID"))
    assert layer.name == "trees"
    assert layer.ids is not None
    assert layer.ids.to_pylist() == [7, 9]
    assert layer.attributes.to_pylist() == [{"b": "x", "a": 1.5}, {"b": None, "a": 2.5}]
    assert layer.geometry_type == "Polygon"
    assert layer.crs is not None
    assert layer.crs.to_epsg() == 32633
    assert layer.geometries(0, 2).tolist() == [BOX, BOX]


def test_null_and_empty_geometries_are_read_in_their_order(tmp_path: Path) -> None:
    shapes = [None, BOX, shapely.Polygon(), BOX]
    layer = read(save(tmp_path / "a.gpkg", None, shapes))
    assert [shape if shape is None else shape.is_empty for shape in layer.geometries(0, 4)] == [
        None,
        False,
        True,
        False,
    ]


def test_rows_come_in_the_order_of_the_fid(tmp_path: Path) -> None:
    path = save(tmp_path / "a.gpkg", {"n": list(range(50))}, [BOX] * 50)
    execute(path, "UPDATE trees SET fid = fid + 1000 WHERE fid % 3 = 0")
    layer = read(path)
    assert layer.ids is not None
    assert layer.ids.to_pylist() == [row[0] for row in execute(path, "SELECT fid FROM trees ORDER BY fid")]
    assert layer.attributes.column("n").to_pylist() == [
        row[0] for row in execute(path, "SELECT n FROM trees ORDER BY fid")
    ]


def test_of_several_layers_one_must_be_picked(tmp_path: Path) -> None:
    path = save(tmp_path / "a.gpkg", {"n": [1, 2]})
    save(path, {"n": [3]}, [BOX], layer="big roofs")
    said = problem(path)
    assert "2 layers, pick one with #layer=name; there are: 'trees', 'big roofs'" in said
    assert read(path, "trees").attributes.column("n").to_pylist() == [1, 2]
    layer = read(path, "big roofs")
    assert (layer.name, layer.attributes.column("n").to_pylist()) == ("big roofs", [3])


@each_row("name", ["nonesuch", "", "gpkg_contents", "sqlite_master", "trees; DROP TABLE trees", "Trees"])
def test_layer_that_is_not_there_lists_those_that_are(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "a.gpkg")
    said = problem(path, name)
    assert repr(name) in said
    assert "there are: 'trees'" in said


def test_view_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.gpkg")
    execute(
        path,
        "CREATE VIEW seen AS SELECT * FROM trees",
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id) VALUES ('seen', 'features', 's', 32633)",
        "INSERT INTO gpkg_geometry_columns VALUES ('seen', 'shape', 'POLYGON', 32633, 0, 0)",
    )
    assert "'seen' is a view; only tables are read" in problem(path, "seen")
    assert len(read(path, "trees")) == 2


def test_table_with_a_trigger_of_its_name_is_no_view(tmp_path: Path) -> None:
    path = save(tmp_path / "a.gpkg")
    execute(path, "CREATE TRIGGER trees AFTER DELETE ON gpkg_contents BEGIN SELECT 1; END")
    assert len(read(path)) == 2


def test_table_without_geometry_is_no_layer(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    pyogrio.write_arrow(pa.table({"n": [1]}), path, layer="plain", driver="GPKG")
    assert "0 layers" in problem(path)
    assert "have no layer 'plain'; there are: none" in problem(path, "plain")


@pytest.mark.parametrize(
    "srs",
    [
        99999,
        pytest.param(-1),
        pytest.param(0),
    ],
)
def test_layer_without_a_known_crs_is_refused(tmp_path: Path, srs: int) -> None:
    path = save(tmp_path / "a.gpkg")
    execute(
        path,
        "INSERT INTO gpkg_spatial_ref_sys VALUES ('Undefined SRS', 99999, 'NONE', 99999, 'undefined', NULL)",
        f"UPDATE gpkg_contents SET srs_id = {srs}",  # noqa: S608 - our number
        f"UPDATE gpkg_geometry_columns SET srs_id = {srs}",  # noqa: S608 - our number
    )
    assert "'trees' has no CRS" in problem(path)


def test_database_that_is_no_geopackage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    execute(path, "CREATE TABLE trees (fid INTEGER PRIMARY KEY, shape BLOB)")
    assert "not a sound GeoPackage" in problem(path)


@each_row("share", [0.0002, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = save(tmp_path / "a.gpkg", {"n": list(range(3000))}, [BOX] * 3000)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "cannot be read" in problem(path) or "not a sound GeoPackage" in problem(path)


def test_damaged_file_never_gives_a_part_of_its_features(tmp_path: Path) -> None:
    path = save(tmp_path / "a.gpkg", {"n": list(range(3000))}, [BOX] * 3000)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(25):
        data = bytearray(whole)
        start = int(rng.integers(len(data) // 4, len(data) // 2))
        data[start : start + 300] = rng.bytes(300)
        path.write_bytes(data)
        try:
            assert len(read(path)) == 3000
        except LayerError:
            refused += 1
    assert refused


def test_more_features_than_allowed_name_the_limit(tmp_path: Path) -> None:
    path = save(tmp_path / "a.gpkg")
    assert len(read(path, limit=2)) == 2
    with pytest.raises(LimitError, match=r"2 features.*max_objects = 1"):
        read(path, limit=1)


@each_row("ids", [[1, 2, 3], [5, 90, 1000], [0, 1, 2**40]], ids=str)
def test_ascending_whole_numbers_become_the_fid(tmp_path: Path, ids: list[int]) -> None:
    path, warnings = write_layer(from_geojson([{"id": item} for item in ids]), GEOPACKAGE, tmp_path)
    assert execute(path, "SELECT fid FROM result ORDER BY rowid") == [(item,) for item in ids]
    assert "id" not in columns_of(path)
    meta, table = pyogrio.read_arrow(path, return_fids=True)
    assert table.column(meta["fid_column"]).to_pylist() == ids
    assert warnings == []


@each_row(
    "ids", [["b", "a", "c"], [3, 1, 2], [1, 1, 2], [-1, 0, 1], [1.5, 2.5, 3.5], ["1", "2", None], [1, None, 3]], ids=str
)
def test_other_ids_become_the_column_id(tmp_path: Path, ids: list[Any]) -> None:
    path, _ = write_layer(from_geojson([{"id": item} for item in ids]), GEOPACKAGE, tmp_path)
    assert execute(path, "SELECT fid, id FROM result ORDER BY fid") == list(enumerate(ids, 1))
    _, table = pyogrio.read_arrow(path)
    assert table.column("id").to_pylist() == ids
    assert columns_of(path).count("id") == 1


def test_without_ids_the_fid_is_the_position(tmp_path: Path) -> None:
    path, _ = write_layer(from_geojson([{}] * 5), GEOPACKAGE, tmp_path)
    assert execute(path, "SELECT fid FROM result") == [(n,) for n in range(1, 6)]
    assert "id" not in columns_of(path)


def test_ids_of_mixed_types_are_written_as_texts(tmp_path: Path) -> None:
    path, _ = write_layer(from_geojson([{"id": 1}, {"id": "a"}, {}]), GEOPACKAGE, tmp_path)
    assert execute(path, "SELECT id FROM result") == [("1",), ("a",), (None,)]


@each_row(
    ("ids", "taken", "renamed"),
    [
        ([1, 2], ["fid", "geom"], ["fid_1", "geom_1"]),
        ([1, 2], ["FID", "Geom", "id"], ["FID_1", "Geom_1", "id"]),
        (["a", "b"], ["id", "fid"], ["id_1", "fid_1"]),
        (["a", "b"], ["ID", "id_1"], ["ID_2", "id_1"]),
        ([1, 2], ["fid", "FID_1", "fid_2"], ["fid_3", "FID_1", "fid_2"]),
    ],
)
def test_attribute_of_a_taken_name_gets_a_number_and_a_warning(
    tmp_path: Path, ids: list[Any], taken: list[str], renamed: list[str]
) -> None:
    properties = {name: f"value of {name}" for name in taken}
    layer = from_geojson([{"id": item, "properties": properties} for item in ids])
    path, warnings = write_layer(layer, GEOPACKAGE, tmp_path)
    for before, after in zip(taken, renamed, strict=True):
        assert execute(path, f'SELECT "{after}" FROM result') == [(f"value of {before}",)] * 2  # noqa: S608 - our names
        told = [warning for warning in warnings if repr(before) in warning and repr(after) in warning]
        assert len(told) == (before != after)
    summary = json.loads(pyogrio.read_info(path)["layer_metadata"]["summary"])
    assert summary["warnings"] == warnings


def test_attributes_that_differ_by_case_alone_are_told_apart(tmp_path: Path) -> None:
    path, warnings = write_layer(from_geojson([{"properties": {"Name": 1, "name": 2}}]), GEOPACKAGE, tmp_path)
    assert len(warnings) == 1
    assert execute(path, 'SELECT "Name", "name_1" FROM result') == [(1, 2)]


def test_names_that_are_free_stay_as_they_are() -> None:
    schema = pa.schema([("a", pa.int64()), ("Id", pa.int64())])
    assert rename_reserved(schema, {"fid"}) == (schema, [])


ROW: dict[str, Any] = {
    "flag": True,
    "short": -3,
    "int": 2**31 - 1,
    "long": -(2**62),
    "single": 1.5,
    "double": 0.1,
    "date": dt.date(2024, 2, 29),
    "time": dt.datetime(2024, 2, 29, 12, 30, 1, 500_000, tzinfo=dt.UTC),
    "text": "é😀",
    "blob": b"\x00\x01",
}
TYPES = pa.schema(
    [
        ("flag", pa.bool_()),
        ("short", pa.int16()),
        ("int", pa.int32()),
        ("long", pa.int64()),
        ("single", pa.float32()),
        ("double", pa.float64()),
        ("date", pa.date32()),
        ("time", pa.timestamp("ms", tz="UTC")),
        ("text", pa.string()),
        ("blob", pa.binary()),
    ]
)


def save_typed(path: Path) -> Path:
    """Write a layer with a column of every type, a row of nulls and a null geometry in it."""
    table = pa.Table.from_pylist([ROW, {}, ROW], schema=TYPES)
    return save(path, dict(zip(TYPES.names, table.columns, strict=True)), [BOX, None, shapely.Polygon()])


def test_attributes_of_every_type_survive_from_geopackage_to_geopackage(tmp_path: Path) -> None:
    source = save_typed(tmp_path / "a.gpkg")
    path, warnings = write_layer(read(source), GEOPACKAGE, tmp_path)
    before, after = pyogrio.read_arrow(source)[1], pyogrio.read_arrow(path)[1]
    assert warnings == []
    for name in TYPES.names:
        assert after.schema.field(name).type == before.schema.field(name).type
        assert after.column(name).to_pylist() == before.column(name).to_pylist()
    declared = [
        {row[1]: row[2] for row in execute(p, f"PRAGMA table_info({t})")}
        for p, t in ((source, "trees"), (path, "result"))
    ]
    assert [declared[0][name] for name in TYPES.names] == [declared[1][name] for name in TYPES.names]
    shapes = [geometry_in(row[0]) for row in execute(path, "SELECT geom FROM result ORDER BY fid")]
    assert shapes[0].equals_exact(BOX)
    assert shapes[1] is None
    assert shapes[2].is_empty
    assert execute(path, "SELECT ClassStatus FROM result") == [("ok",)] * 3


def test_nested_values_are_json_texts(tmp_path: Path) -> None:
    values: list[Any] = [{"a": [1, "x"]}, [True]]
    path, _ = write_layer(from_geojson([{"properties": {"v": value}} for value in values]), GEOPACKAGE, tmp_path)
    assert [json.loads(row[0]) for row in execute(path, "SELECT v FROM result")] == values


def test_written_file_is_a_geopackage_as_the_standard_describes_it(tmp_path: Path) -> None:
    path, _ = write_layer(read(save(tmp_path / "a.gpkg")), GEOPACKAGE, tmp_path)
    data = path.read_bytes()
    assert data[:16] == b"SQLite format 3\x00"
    assert data[68:72] == b"GPKG"
    (version,) = struct.unpack(">I", data[60:64])
    assert version >= 10200
    assert execute(path, "PRAGMA integrity_check") == [("ok",)]
    assert execute(path, "SELECT table_name, data_type, srs_id FROM gpkg_contents") == [("result", "features", 32633)]
    assert execute(path, "SELECT column_name, geometry_type_name, srs_id FROM gpkg_geometry_columns") == [
        ("geom", "POLYGON", 32633)
    ]


def test_summary_is_in_the_layers_metadata(tmp_path: Path) -> None:
    path, _ = write_layer(read(save(tmp_path / "a.gpkg")), GEOPACKAGE, tmp_path)
    summary = {"counts": {"é": 1}, "warnings": []}
    assert json.loads(pyogrio.read_info(path)["layer_metadata"]["summary"]) == summary
    assert any(
        '"counts"' in row[0].replace("&quot;", '"') for row in execute(path, "SELECT metadata FROM gpkg_metadata")
    )


@each_row("target", ["EPSG:4326", "EPSG:3857", "EPSG:25833", "OGC:CRS84"])
def test_output_crs_is_pyprojs_transformation_of_each_vertex(tmp_path: Path, target: str) -> None:
    crs = parse_crs(target)
    shapes = [BOX, None, shapely.Polygon(), shapely.box(500_100, 5_500_000, 500_200, 5_500_050)]
    layer = read(save(tmp_path / "a.gpkg", None, shapes))
    path, _ = write_layer(layer, GEOPACKAGE, tmp_path, crs)
    transformer = pyproj.Transformer.from_crs("EPSG:32633", target, always_xy=True)
    found = [geometry_in(row[0]) for row in execute(path, "SELECT geom FROM result ORDER BY fid")]
    for shape, ours in zip(shapes, found, strict=True):
        if shape is None or shape.is_empty:
            assert ours is None or ours.is_empty
            continue
        expected = np.column_stack(transformer.transform(*shapely.get_coordinates(shape).T))
        np.testing.assert_allclose(shapely.get_coordinates(ours), expected, rtol=0, atol=1e-9 * abs(expected).max())
    assert pyproj.CRS.from_user_input(pyogrio.read_info(path)["crs"]).equals(crs, ignore_axis_order=True)


def test_heights_survive_another_crs(tmp_path: Path) -> None:
    shape = shapely.Polygon([(500_000, 5_500_000, 7), (500_010, 5_500_000, 8), (500_010, 5_500_010, 9)])
    layer = read(save(tmp_path / "a.gpkg", None, [shape], geometry_type="Polygon Z"))
    assert layer.geometry_type == "Polygon Z"
    path, _ = write_layer(layer, GEOPACKAGE, tmp_path, parse_crs("EPSG:4326"))
    ((blob,),) = execute(path, "SELECT geom FROM result")
    assert shapely.get_coordinates(geometry_in(blob), include_z=True)[:, 2].tolist() == [7, 8, 9, 7]


def test_layer_without_features_becomes_an_empty_layer(tmp_path: Path) -> None:
    path, _ = write_layer(
        read_geojson(b'{"type": "FeatureCollection", "features": []}', "x", Limits()), GEOPACKAGE, tmp_path
    )
    assert execute(path, "SELECT count(*) FROM result") == [(0,)]
    assert len(read(path)) == 0


@pytest.mark.filterwarnings("ignore:Measured")
@pytest.mark.parametrize("text", ["POINT M (15 50 7)", "POINT ZM (15 50 3 7)", "LINESTRING M (15 50 1, 16 51 2)"])
def test_measures_survive_another_crs(tmp_path: Path, text: str) -> None:
    shape = shapely.from_wkt(text)
    path, warnings = write_layer(make_layer([shape], crs="EPSG:4326"), GEOPACKAGE, tmp_path, parse_crs("EPSG:32633"))
    ((blob,),) = execute(path, "SELECT geom FROM result")
    places, found = (shapely.get_coordinates(item, include_m=True) for item in (shape, geometry_in(blob)))
    transformer = pyproj.Transformer.from_crs(4326, 32633, always_xy=True)
    np.testing.assert_allclose(found[:, :2], np.column_stack(transformer.transform(*places[:, :2].T)), rtol=1e-12)
    assert found[:, 2].tolist() == places[:, 2].tolist()
    assert geometry_in(blob).has_z == shape.has_z
    assert warnings == []


def test_attributes_that_only_other_formats_bring_are_written_too(tmp_path: Path) -> None:
    attributes = typed_attributes().select(["unsigned", "money", "nanos", "clock", "category", "list", "record"])
    path, _ = write_layer(make_layer([BOX] * 3, attributes), GEOPACKAGE, tmp_path)
    assert execute(path, "SELECT unsigned, money, nanos, clock, category, list, record FROM result WHERE fid < 3") == [
        (
            str(2**63 + 1),
            1234.5,
            "2024-02-29T12:30:01.500Z",
            "12:30:01.000000",
            "oak",
            "[1,2]",
            '{"a":1,"b":"x"}',
        ),
        (None,) * 7,
    ]


def test_odd_names_survive(tmp_path: Path) -> None:
    attributes = pa.table({name: [number] for number, name in enumerate(ODD_NAMES)})
    path, warnings = write_layer(make_layer([BOX], attributes), GEOPACKAGE, tmp_path)
    assert columns_of(path) == ["fid", "geom", *ODD_NAMES, "ClassStatus"]
    assert warnings == []


def table_layer() -> Layer:
    """Return a layer without geometry."""
    return make_table(pa.table({"n": pa.array([1, None], pa.int64()), "s": ["x", None]}))


def test_layer_without_geometry_becomes_an_attribute_table(tmp_path: Path) -> None:
    path, _ = write_layer(table_layer(), GEOPACKAGE, tmp_path)
    assert execute(path, "SELECT table_name, data_type FROM gpkg_contents") == [("result", "attributes")]
    assert execute(path, "SELECT fid, n, s, ClassStatus FROM result") == [(1, 1, "x", "ok"), (2, None, None, "ok")]
    assert "geom" not in columns_of(path)
    assert json.loads(pyogrio.read_info(path)["layer_metadata"]["summary"])["counts"] == {"é": 1}


@pytest.mark.parametrize(
    ("text", "name"),
    [("POINT M (1 2 7)", "Point M"), ("POINT ZM (1 2 3 7)", "Point ZM"), ("POINT Z (1 2 3)", "Point Z")],
)
def test_heights_and_measures_are_read(tmp_path: Path, text: str, name: str) -> None:
    path = tmp_path / "a.gpkg"
    shapes = shapely.to_wkb(np.array([shapely.from_wkt(text), None]), output_dimension=4, flavor="iso")
    table = pa.table({"n": [1, 2], "shape": pa.array(shapes, pa.binary())})
    pyogrio.write_arrow(
        table, path, layer="t", driver="GPKG", geometry_name="shape", geometry_type="Unknown", crs="EPSG:32633"
    )
    layer = read(path)
    assert layer.geometries(0, 1)[0].wkt == text
    assert layer.geometry_type == name


def test_json_columns_stay_json_and_coded_values_stay_codes(tmp_path: Path) -> None:
    path = save(tmp_path / "a.gpkg", {"kind": [1, 2], "extra": ['{"a": [1]}', None]})
    execute(
        path,
        "CREATE TABLE gpkg_data_columns (table_name TEXT, column_name TEXT, name TEXT, title TEXT, description TEXT,"
        " mime_type TEXT, constraint_name TEXT)",
        "CREATE TABLE gpkg_data_column_constraints (constraint_name TEXT, constraint_type TEXT, value TEXT,"
        " min NUMERIC, min_is_inclusive BOOLEAN, max NUMERIC, max_is_inclusive BOOLEAN, description TEXT)",
        "INSERT INTO gpkg_data_columns VALUES ('trees', 'extra', NULL, NULL, NULL, 'application/json', NULL),"
        " ('trees', 'kind', NULL, NULL, NULL, NULL, 'kinds')",
        "INSERT INTO gpkg_data_column_constraints VALUES ('kinds', 'enum', '1', NULL, NULL, NULL, NULL, 'oak'),"
        " ('kinds', 'enum', '2', NULL, NULL, NULL, NULL, 'elm')",
    )
    layer = read(path)
    assert layer.attributes.column("kind").to_pylist() == [1, 2]
    written, _ = write_layer(layer, GEOJSON, tmp_path)
    features = json.loads(written.read_bytes())["features"]
    assert [feature["properties"]["extra"] for feature in features] == [{"a": [1]}, None]


@each_row(
    ("code", "words"),
    [
        (1015, "feature 2 is a PolyhedralSurface"),
        (16, "feature 2 is a TIN"),
        (17, "feature 2 is a Triangle"),
        (7, "feature 2 is a GeometryCollection"),
    ],
)
def test_geometry_that_is_no_point_line_or_polygon_is_named(tmp_path: Path, code: int, words: str) -> None:
    path = save(tmp_path / "a.gpkg", None, [BOX, BOX], geometry_type="Unknown")
    blob = b"GP\x00\x01" + struct.pack("<i", 32633) + struct.pack("<BII", 1, code, 0)
    execute(path, f"UPDATE trees SET geom = X'{blob.hex()}' WHERE fid = 2")  # noqa: S608 - our bytes
    assert words in problem(path)


def save_points(path: Path, count: int = 3) -> Path:
    """Write a layer of points without GDAL's triggers, whose functions plain sqlite3 lacks."""
    save(
        path,
        {"n": list(range(count))},
        [shapely.Point(500_000 + n, 5_500_000) for n in range(count)],
        "t",
        geometry_type="Point",
    )
    for (name,) in execute(path, "SELECT name FROM sqlite_master WHERE type = 'trigger'"):
        execute(path, f'DROP TRIGGER "{name}"')
    return path


@each_row(
    ("deleted", "stated"),
    [([2], 3), ([], 2), ([], 0), ([], 1000), ([2, 3, 4], 5), ([1, 5], 5), ([2, 4], None)],
)
def test_stale_count_of_features_changes_no_row(tmp_path: Path, deleted: list[int], stated: int | None) -> None:
    # gpkg-stale-count, GDAL 3.12.4: fids 1, 3, 3 of the two rows 1 and 3
    path = save_points(tmp_path / "a.gpkg", 5 if max(deleted, default=0) > 3 else 3)
    execute(path, *(f"DELETE FROM t WHERE fid = {fid}" for fid in deleted))  # noqa: S608 - our numbers
    execute(path, f"UPDATE gpkg_ogr_contents SET feature_count = {'NULL' if stated is None else stated}")  # noqa: S608
    layer = read(path, limit=5)
    assert layer.ids is not None
    rows = list(zip(layer.ids.to_pylist(), layer.attributes.column("n").to_pylist(), strict=True))
    assert rows == execute(path, "SELECT fid, n FROM t")


@each_row(
    ("declared", "value"),
    [
        ("VARCHAR(40)", "Elm"),
        ("CHAR(3)", "abc"),
        ("BIGINT", 2**62 + 1),
        ("DECIMAL(10,2)", 1234.25),
        ("NUMERIC", 2**53 + 1),
        ("UUID", "123e4567-e89b-12d3-a456-426614174000"),
        ("TIMESTAMP", "2024-02-29 12:30:01.123456+02:00"),
        ("TIME", "12:30:01.5"),
        ("STRING", "x"),
        ("DOUBLE PRECISION", 0.1),
        ("INT8", -(2**40)),
        ("UNSIGNED BIG INT", 7),
        ("", 5),
        ("", "five"),
        ("CLOB", "long"),
        ("NVARCHAR(20)", "é😀"),
        ("BOOL", 1),
        ("DATE TEXT", "31.12.2020"),
        ("BLOB(4)", b"\x00\xff"),
        # values that GDAL forces into the declared type
        ("BOOLEAN", "true"),
        ("INTEGER", "abc"),
        ("INTEGER", 2.5),
        ("MEDIUMINT", 5_000_000_000),
        ("SMALLINT", 100_000),
        ("FLOAT", 0.1),
        ("REAL", "n/a"),
        ("TINYINT", -(2**31) - 1),
        # GDAL 3.12.4: bytes become a text; texts and numbers become bytes
        ("TEXT", b"ab"),
        ("BLOB", "abc"),
        ("BLOB", 5),
        ("BLOB", 2.5),
        ("BLOB", b"a\x00"),
    ],
)
def test_attribute_of_any_declared_type_has_the_values_of_sqlite(tmp_path: Path, declared: str, value: Any) -> None:
    # gpkg-columns-lost, GDAL 3.12.4: columns of types that GeoPackage does not know are left out
    path = save_points(tmp_path / "a.gpkg")
    execute(
        path,
        "ALTER TABLE t ADD COLUMN before TEXT DEFAULT 'a'",
        f"ALTER TABLE t ADD COLUMN x {declared}",
        "ALTER TABLE t ADD COLUMN after TEXT DEFAULT 'z'",
    )
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE t SET x = ? WHERE fid > 1", (value,))
    layer = read(path)
    expected = [row[0] for row in execute(path, "SELECT x FROM t ORDER BY fid")]
    found = layer.attributes.column("x").to_pylist()
    assert found == expected or [str(item) for item in expected] == ["None" if item is None else item for item in found]
    assert layer.attributes.column_names == ["n", "before", "x", "after"]
    assert layer.warnings == ()


def test_values_of_several_types_in_one_column_stay_apart(tmp_path: Path) -> None:
    path = save_points(tmp_path / "a.gpkg")
    execute(path, "ALTER TABLE t ADD COLUMN flag BOOLEAN", "UPDATE t SET flag = 'yes' WHERE n = 1")
    execute(path, "ALTER TABLE t ADD COLUMN code AS (CASE n WHEN 0 THEN 7 WHEN 1 THEN 'seven' END) VIRTUAL")
    execute(path, "UPDATE t SET flag = 1 WHERE n = 0")
    written, _ = write_layer(read(path), GEOJSON, tmp_path)
    properties = [feature["properties"] for feature in json.loads(written.read_bytes())["features"]]
    assert [item["flag"] for item in properties] == [1, "yes", None]
    assert [str(item["code"]) for item in properties] == ["7", "seven", "None"]


def test_second_geometry_is_left_out_with_a_warning(tmp_path: Path) -> None:
    path = save_points(tmp_path / "a.gpkg")
    execute(path, "ALTER TABLE t ADD COLUMN label_place POINT")
    layer = read(path)
    assert layer.attributes.column_names == ["n"]
    assert layer.warnings == ("the column 'label_place' is left out: it is a second geometry",)


@each_row(
    ("columns", "row", "ids"),
    [
        ("uuid TEXT PRIMARY KEY, geom POINT, n INTEGER", "'u' || (9 - n), geom, n", None),
        ("geom POINT, n INTEGER", "geom, n", None),
        ("a INTEGER, b INTEGER, geom POINT, n INTEGER, PRIMARY KEY (a, b)", "1, n, geom, n", None),
        ("a INT PRIMARY KEY, geom POINT, n INTEGER", "9 - n, geom, n", [9, 8, 7]),
        ("a BIGINT PRIMARY KEY, geom POINT, n INTEGER", "9 - n, geom, n", [9, 8, 7]),
        ("a INT PRIMARY KEY, geom POINT, n INTEGER", "nullif(n, 1), geom, n", None),
        ("a INTEGER PRIMARY KEY, geom POINT, n INTEGER", "9 - n, geom, n", [7, 8, 9]),
        ("geom POINT, n INTEGER, a INTEGER PRIMARY KEY", "geom, n, n - 5", [-5, -4, -3]),
        ("uuid TEXT PRIMARY KEY, geom POINT, n INTEGER) WITHOUT ROWID --", "'u' || (9 - n), geom, n", None),
        ("a INTEGER PRIMARY KEY, geom POINT, n INTEGER) WITHOUT ROWID --", "9 - n, geom, n", [7, 8, 9]),
        ("ogc_fid INTEGER, geom POINT, n INTEGER", "n, geom, n", None),
    ],
)
def test_ids_tell_rows_apart_whatever_the_key(tmp_path: Path, columns: str, row: str, ids: list[int] | None) -> None:
    # gpkg-no-primary-key, GDAL 3.12.4: the id of each row is 0
    path = save_points(tmp_path / "a.gpkg")
    execute(
        path,
        "DROP TABLE IF EXISTS rtree_t_geom",
        "DELETE FROM gpkg_extensions",
        "ALTER TABLE t RENAME TO old",
        f"CREATE TABLE t ({columns}\n)" if "--" not in columns else f"CREATE TABLE t ({columns}",
        f"INSERT INTO t SELECT {row} FROM old ORDER BY n",  # noqa: S608 - ours
        "ALTER TABLE t ADD COLUMN street VARCHAR(20)",
        "UPDATE t SET street = 'street ' || n",
    )
    layer = read(path)
    places = [int(shape.x) - 500_000 for shape in layer.geometries(0, 3)]
    assert layer.attributes.column("n").to_pylist() == places
    assert layer.attributes.column("street").to_pylist() == [f"street {n}" for n in places]
    assert (None if layer.ids is None else layer.ids.to_pylist()) == ids
    for name in {"uuid", "a", "b", "ogc_fid"} & set(layer.attributes.column_names):
        expected = dict(execute(path, f"SELECT n, {name} FROM t"))  # noqa: S608 - our names
        assert dict(zip(places, layer.attributes.column(name).to_pylist(), strict=True)) == expected


def test_changes_that_are_still_in_the_wal_are_read(tmp_path: Path) -> None:
    # gpkg-wal and wal-readonly-old-rows, GDAL 3.12.4: old rows, or an error, and files left beside the input
    source = save_points(tmp_path / "a.gpkg")
    folder = tmp_path / "copy"
    folder.mkdir()
    with closing(sqlite3.connect(source, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL").fetchone()
        database.execute("PRAGMA wal_autocheckpoint = 0").fetchone()
        database.execute("DELETE FROM t WHERE fid = 2")
        database.execute("CREATE TABLE k AS SELECT * FROM t")
        for table, name in (("gpkg_contents", "identifier"), ("gpkg_geometry_columns", "column_name")):
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            values = ["'k'" if item in ("table_name", "identifier") else item for item in columns]
            database.execute(f"INSERT INTO {table} SELECT {', '.join(values)} FROM {table}")  # noqa: S608 - ours
            assert name in columns
        for ending in ("", "-wal"):
            shutil.copy(f"{source}{ending}", folder)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert sorted(before) == ["a.gpkg", "a.gpkg-wal"]
    for name in ("t", "k"):
        assert read(folder / "a.gpkg", name).attributes.column("n").to_pylist() == [0, 2]
    link = tmp_path / "link.gpkg"
    link.symlink_to(folder / "a.gpkg")
    assert len(read(link, "t")) == 2
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_database_in_wal_mode_gets_no_files_beside_it(tmp_path: Path) -> None:
    path = save_points(tmp_path / "a.gpkg")
    execute(path, "PRAGMA journal_mode = WAL")
    assert [file.name for file in tmp_path.iterdir()] == ["a.gpkg"]
    assert len(read(path)) == 3
    assert [file.name for file in tmp_path.iterdir()] == ["a.gpkg"]


def test_change_that_was_broken_off_is_refused(tmp_path: Path) -> None:
    # a -journal may name a file of the client's choice, which SQLite deletes when it takes the change back
    source = save_points(tmp_path / "a.gpkg", 2000)
    folder = tmp_path / "copy"
    folder.mkdir()
    with closing(sqlite3.connect(source, isolation_level=None)) as database:
        database.execute("PRAGMA cache_size = 1")  # so that pages are written before the end of the change
        database.execute("BEGIN")
        database.execute("UPDATE t SET n = -1")
        for ending in ("", "-journal"):
            shutil.copy(f"{source}{ending}", folder)
        database.execute("ROLLBACK")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert "a program ended within a change" in problem(folder / "a.gpkg")
    (folder / "a.gpkg-wal").write_bytes(bytes(5000))
    assert "a program ended within a change" in problem(folder / "a.gpkg")
    (folder / "a.gpkg-wal").unlink()
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@each_row("mode", ["PERSIST", "TRUNCATE"])
def test_journal_of_a_change_that_is_over_does_not_matter(tmp_path: Path, mode: str) -> None:
    path = save_points(tmp_path / "a.gpkg")
    execute(path, f"PRAGMA journal_mode = {mode}", "UPDATE t SET n = n + 1")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.gpkg", "a.gpkg-journal"]
    assert read(path).attributes.column("n").to_pylist() == [1, 2, 3]


@each_row("ending", ["-wal", "-journal"])
def test_what_is_no_plain_file_beside_it_is_refused(tmp_path: Path, ending: str) -> None:
    path = save_points(tmp_path / "a.gpkg")
    (tmp_path / f"a.gpkg{ending}").symlink_to("/dev/zero")
    assert f"the ending {ending!r} is no plain file" in problem(path)


def test_copy_for_which_there_is_no_space_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_points(tmp_path / "a.gpkg")
    (tmp_path / "a.gpkg-wal").write_bytes(bytes(5000))
    room = path.stat().st_size + 2 * 5000
    for free in (room - 1, room):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        if free < room:
            assert "there is no space for a copy" in problem(path)
        else:
            assert len(read(path)) == 3


def test_wal_that_belongs_to_nothing_changes_nothing(tmp_path: Path) -> None:
    path = save_points(tmp_path / "a.gpkg")
    for data in (b"", b"x" * 100, bytes(5000)):
        (tmp_path / "a.gpkg-wal").write_bytes(data)
        assert read(path).attributes.column("n").to_pylist() == [0, 1, 2]


@each_row(
    ("text", "date"),
    [
        ("2020-12-31", dt.date(2020, 12, 31)),
        ("2020-12-31T10:00:00Z", dt.date(2020, 12, 31)),
        ("2020-12-31T00:00:00Z", dt.date(2020, 12, 31)),
        ("2020/12/31", dt.date(2020, 12, 31)),
        ("2020-1-5", dt.date(2020, 1, 5)),
        ("2020-02-29", dt.date(2020, 2, 29)),
        ("1970-01-01", dt.date(1970, 1, 1)),
        ("", None),
        ("31.12.2020", None),
        ("12/31/2020", None),
        ("2020-13-01", None),
        ("2020-00-00", None),
        ("2021-02-29", None),
        ("0000-00-00", None),
        ("0000-05-05", None),
        ("2020", None),
        ("unknown", None),
        (18000, None),
        (1.5, None),
    ],
)
def test_date_is_that_of_the_file_or_null(tmp_path: Path, text: str | float, date: dt.date | None) -> None:
    # dates-invented, GDAL 3.12.4: 1970-01-01, or the 1st of March for the 30th of February
    path = save_points(tmp_path / "a.gpkg")
    execute(path, "ALTER TABLE t ADD COLUMN built DATE", "UPDATE t SET built = '1999-09-09'")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE t SET built = ? WHERE fid > 1", (text,))
    layer = read(path)
    assert layer.attributes.column("built").to_pylist() == [dt.date(1999, 9, 9), date, date]
    said = "2 dates of the attribute 'built' cannot be read and are null; the first is that of feature 2"
    of_time = "2 dates of the attribute 'built' have a time, which is left out; the first is that of feature 2"
    timed = (of_time,) if "T10" in str(text) else ()
    assert layer.warnings == (timed if date else (said,))


@each_row(
    ("text", "time"),
    [
        ("2020-12-31T10:11:12.123Z", dt.datetime(2020, 12, 31, 10, 11, 12, 123_000, dt.UTC)),
        ("2020-12-31T12:11:12+02:00", dt.datetime(2020, 12, 31, 10, 11, 12, tzinfo=dt.UTC)),
        ("2020-12-31 10:11:12Z", dt.datetime(2020, 12, 31, 10, 11, 12, tzinfo=dt.UTC)),
        ("2020/12/31 10:11:12Z", dt.datetime(2020, 12, 31, 10, 11, 12, tzinfo=dt.UTC)),
        ("", None),
        ("31.12.2020 10:00", None),
        ("2020-13-31T10:11:12Z", None),
        ("2020-02-30T10:11:12Z", None),
        ("2020-12-31T25:00:00Z", None),
        (1_600_000_000, None),
    ],
)
def test_time_is_that_of_the_file_or_null(tmp_path: Path, text: str | float, time: dt.datetime | None) -> None:
    path = save_points(tmp_path / "a.gpkg")
    execute(path, "ALTER TABLE t ADD COLUMN seen DATETIME", "UPDATE t SET seen = '1999-09-09T09:09:09Z'")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE t SET seen = ? WHERE fid = 3", (text,))
    layer = read(path)
    assert layer.attributes.column("seen").to_pylist() == [dt.datetime(1999, 9, 9, 9, 9, 9, tzinfo=dt.UTC)] * 2 + [time]
    said = "1 time of the attribute 'seen' cannot be read and is null: that of feature 3"
    assert layer.warnings == (() if time else (said,))


@each_row("text", ["2020-12-31T10:11:12.123456Z", "2020-12-31T10:11:12.1234567+02:00", "2020-12-31T10:11:12"])
def test_times_that_one_type_cannot_hold_stay_texts(tmp_path: Path, text: str) -> None:
    path = save_points(tmp_path / "a.gpkg")
    execute(path, "ALTER TABLE t ADD COLUMN seen DATETIME", "UPDATE t SET seen = '1999-09-09T09:09:09Z'")
    execute(path, f"UPDATE t SET seen = '{text}' WHERE fid = 2")  # noqa: S608 - ours
    written, warnings = write_layer(read(path), GEOPACKAGE, tmp_path)
    expected = [("1999-09-09T09:09:09Z",), (text,), ("1999-09-09T09:09:09Z",)]
    assert execute(written, "SELECT seen FROM result ORDER BY fid") == expected
    assert warnings == []


def test_json_stays_json_in_every_format_that_has_it(tmp_path: Path) -> None:
    # json-column: a text with escaped quotes, and a plain TEXT column
    values = ['{"roof":["flat","tiled"]}', None, "[1, 2]", '"x"', "1e400", "not json", '{\n"a": 1}']
    json_type: Any = pa.json_()
    tags = pa.ExtensionArray.from_storage(json_type, pa.array(values))
    layer = read(save(tmp_path / "a.gpkg", {"tags": tags}, [BOX] * 7))
    path, _ = write_layer(layer, GEOPACKAGE, tmp_path)
    assert execute(path, "SELECT column_name, mime_type FROM gpkg_data_columns") == [("tags", "application/json")]
    found = [row[0] for row in execute(path, "SELECT tags FROM result ORDER BY fid")]
    assert found == [*values[:5], '"not json"', '{"a":1}']
    written, _ = write_layer(layer, GEOJSON, tmp_path)
    text = written.read_text()
    assert '"tags":{"roof":["flat","tiled"]}' in text
    assert '"tags":null' in text
    assert '"tags":"not json"' in text
    again, _ = write_layer(read(path), GEOPACKAGE, tmp_path)
    assert [row[0] for row in execute(again, "SELECT tags FROM result ORDER BY fid")] == found


def test_column_declared_as_json_is_json(tmp_path: Path) -> None:
    path = save_points(tmp_path / "a.gpkg")
    execute(path, "ALTER TABLE t ADD COLUMN tags JSON", "UPDATE t SET tags = json_object('a', json_array(n))")
    execute(path, "UPDATE t SET tags = '5' WHERE n = 2")
    written, _ = write_layer(read(path), GEOJSON, tmp_path)
    features = json.loads(written.read_bytes())["features"]
    assert [feature["properties"]["tags"] for feature in features] == [{"a": [0]}, {"a": [1]}, 5]


ARC = [(500_016, 5_500_000), (500_020, 5_500_004), (500_024, 5_500_000), (500_020, 5_499_996), (500_016, 5_500_000)]


def curve_wkb(kind: str, dimensions: int = 0) -> bytes:
    """Return a circle as ISO WKB of a kind of curve; each vertex has its position as height and as measure."""
    values = [
        (*place, *([number] * (2 if dimensions == 3 else 1 if dimensions else 0))) for number, place in enumerate(ARC)
    ]
    code = 1000 * dimensions
    arc = struct.pack("<BII", 1, code + 8, 5) + b"".join(struct.pack(f"<{len(item)}d", *item) for item in values)
    polygon = struct.pack("<BII", 1, code + 10, 1) + arc
    return {
        "CircularString": arc,
        "CompoundCurve": struct.pack("<BII", 1, code + 9, 1) + arc,
        "CurvePolygon": polygon,
        "MultiCurve": struct.pack("<BII", 1, code + 11, 1) + arc,
        "MultiSurface": struct.pack("<BII", 1, code + 12, 1) + polygon,
    }[kind]


def put_geometry(path: Path, wkb: bytes, fid: int, declared: str) -> None:
    blob = b"GP\x00\x01" + struct.pack("<i", 32633) + wkb
    execute(
        path,
        f"UPDATE t SET geom = X'{blob.hex()}' WHERE fid = {fid}",  # noqa: S608 - our bytes
        f"UPDATE gpkg_geometry_columns SET geometry_type_name = '{declared}', z = 2, m = 2",  # noqa: S608
    )


@pytest.mark.filterwarnings("ignore")
@each_row(
    ("kind", "declared", "dimensions", "name"),
    [
        ("CircularString", "GEOMETRY", 0, "LineString"),
        ("CompoundCurve", "COMPOUNDCURVE", 0, "LineString"),
        ("CurvePolygon", "MULTIPOLYGON", 0, "Polygon"),
        ("CurvePolygon", "CURVEPOLYGON", 1, "Polygon"),
        ("MultiCurve", "MULTICURVE", 0, "MultiLineString"),
        ("MultiSurface", "MULTISURFACE", 1, "MultiPolygon"),
        ("CircularString", "GEOMETRY", 3, "LineString"),
    ],
)
def test_curves_are_lines_as_gdal_makes_them(
    tmp_path: Path, kind: str, declared: str, dimensions: int, name: str
) -> None:
    # curves: the layer was refused
    path = save_points(tmp_path / "a.gpkg")
    for fid in (2, 3):
        put_geometry(path, curve_wkb(kind, dimensions), fid, declared)
    layer = read(path)
    found = layer.geometries(0, 3)
    expected = shapely.from_wkb(pyogrio.raw.read(path)[2])  # without Arrow, where pyogrio lets GDAL make lines
    assert [shape.wkt for shape in found] == [shape.wkt for shape in expected]
    assert found[1].geom_type == name
    assert found[1].has_z == bool(dimensions & 1)
    measures = " without measures (M)" if dimensions & 2 else ""
    assert layer.warnings == (
        f"2 geometries with curves are read as lines of many points{measures}; the first is that of feature 2",
    )


def test_curve_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = save_points(tmp_path / "a.gpkg")
    put_geometry(path, struct.pack("<BII4d", 1, 8, 2, 0, 0, 1, 1), 2, "GEOMETRY")
    assert problem(path) == "feature 2 has a curve that cannot be read"


@each_row("declared", ["TIN", "POLYHEDRALSURFACE", "TRIANGLE"])
def test_layer_of_surfaces_of_faces_is_refused_by_name(tmp_path: Path, declared: str) -> None:
    path = save_points(tmp_path / "a.gpkg")
    execute(path, f"UPDATE gpkg_geometry_columns SET geometry_type_name = '{declared}'")  # noqa: S608 - ours
    said = problem(path)
    assert declared.lower() in said.lower()
    assert "only points, lines and polygons are read" in said


def test_what_gdal_warns_of_is_told_without_paths(tmp_path: Path) -> None:
    path = save_points(tmp_path / "a.gpkg")
    execute(path, "PRAGMA user_version = 19900")
    (warning,) = read(path).warnings
    assert "GDAL says: " in warning
    assert "/" not in warning


def test_what_another_thread_is_warned_of_is_not_of_this_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read_info = save_points(tmp_path / "a.gpkg"), pyogrio.read_info

    def read_info_beside_another(*args: Any, **options: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(warnings.warn, "of another layer", RuntimeWarning).result()
        return read_info(*args, **options)

    monkeypatch.setattr(pyogrio, "read_info", read_info_beside_another)
    with pytest.warns(RuntimeWarning, match="of another layer"):
        assert read(path).warnings == ()
