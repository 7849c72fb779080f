"""FlatGeobuf out, read back by GDAL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
import pyproj
import pytest
import shapely
from msgspec.structs import replace

from conftest import write_layer
from layers import BOX, ODD_NAMES, make_layer, points_at, typed_attributes, wkt
from processes.crs import parse_crs
from processes.errors import LayerError
from processes.features.layer import Layer
from processes.features.writing.flatgeobuf import FLATGEOBUF
from tables import each_row

MULTI = shapely.MultiPolygon([BOX])


def write(layer: Layer, folder: Path, crs: pyproj.CRS | None = None) -> Path:
    return write_layer(layer, FLATGEOBUF, folder, crs)[0]


def attributes_in(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pyogrio.read_arrow(path, read_geometry=False)[1].to_pylist()
    return rows


def shapes_in(path: Path) -> list[Any]:
    """Return geometries; not by way of Arrow, where GDAL's reader stumbles over missing ones."""
    _, _, texts, _ = pyogrio.raw.read(path)
    return [None if text is None else shapely.from_wkb(text) for text in texts]


def test_rows_stay_in_their_order(tmp_path: Path) -> None:
    places = np.random.default_rng(0).uniform(0, 1000, (300, 2))
    path = write(make_layer(points_at(places)), tmp_path)
    assert [row["n"] for row in attributes_in(path)] == list(range(300))
    assert [(shape.x, shape.y) for shape in shapes_in(path)] == list(map(tuple, places.tolist()))


@each_row("ids", [[1, 2], [7, 3], [1, None], ["b", "a"], ["1", None]], ids=str)
def test_ids_are_the_first_column(tmp_path: Path, ids: list[Any]) -> None:
    path = write(make_layer([BOX, BOX], ids=ids), tmp_path)
    assert list(attributes_in(path)[0]) == ["id", "n", "ClassStatus"]
    assert [row["id"] for row in attributes_in(path)] == ids


def test_attributes_of_every_type_survive(tmp_path: Path) -> None:
    rows = attributes_in(write(make_layer([BOX] * 3, typed_attributes()), tmp_path))
    assert set(rows[1].values()) == {None, "ok"}
    for row in (rows[0], rows[2]):
        times = {name: row.pop(name).isoformat() for name in ("date", "local", "instant", "nanos")}
        assert times == {"date": "2024-02-29T00:00:00"} | dict.fromkeys(
            ("local", "instant", "nanos"), "2024-02-29T12:30:01.500000"
        )
        assert row == {
            "flag": True,
            "short": -3,
            "long": 2**62 + 1,
            "unsigned": str(2**63 + 1),
            "single": 1.5,
            "double": 0.1 + 0.2,
            "money": 1234.5,
            "clock": "12:30:01.000000",
            "text": 'é😀 "quoted", =1+1\nnext',
            "blank": "",
            "blob": b"\x00\xff",
            "nothing": None,
            "category": "oak",
            "list": "[1,2]",
            "record": '{"a":1,"b":"x"}',
            "ClassStatus": "ok",
        }


def test_zero_byte_does_not_end_a_text(tmp_path: Path) -> None:
    rows = attributes_in(write(make_layer([BOX], pa.table({"t": ["a\0b"]})), tmp_path))
    assert rows[0]["t"] == "a\ufffdb"


def test_odd_names_survive_but_gdal_s_own(tmp_path: Path) -> None:
    names = [*ODD_NAMES, "Geom", "geom_", "fid", "id"]
    attributes = pa.table({name: [number] for number, name in enumerate(names)})
    path, warnings = write_layer(make_layer([BOX], attributes), FLATGEOBUF, tmp_path)
    row = attributes_in(path)[0]
    assert list(row) == [{"OGC_FID": "OGC_FID_1"}.get(name, name) for name in names] + ["ClassStatus"]
    assert [value for name, value in row.items() if name != "ClassStatus"] == list(range(len(names)))
    assert shapes_in(path) == [BOX]
    assert len(warnings) == 1


def test_names_that_differ_by_case_alone_are_told_apart(tmp_path: Path) -> None:
    path, warnings = write_layer(make_layer([BOX], pa.table({"Name": [1], "name": [2]})), FLATGEOBUF, tmp_path)
    assert attributes_in(path)[0] == {"Name": 1, "name_1": 2, "ClassStatus": "ok"}
    assert len(warnings) == 1


def test_many_columns_survive(tmp_path: Path) -> None:
    attributes = pa.table({f"c{number}": [number] for number in range(200)})
    assert attributes_in(write(make_layer([BOX], attributes), tmp_path))[0]["c199"] == 199


@each_row(
    ("given", "layer_type", "found"),
    [
        (["POLYGON ((0 0, 1 0, 1 1, 0 0))", None], "Polygon", None),
        (["POINT (1 2)", "POLYGON EMPTY"], "Unknown", ["POINT (1 2)", None]),
        (["POLYGON ((0 0, 1 0, 1 1, 0 0))", "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)))"], "Unknown", None),
        (["POINT (1 2)", None, "LINESTRING (0 0, 1 1)"], "Unknown", None),
        (["POINT Z (1 2 3)", None, "POINT Z (4 5 6)"], "Point Z", None),
        (["POINT Z (1 2 3)", "POINT (4 5)"], "Point Z", ["POINT Z (1 2 3)", "POINT Z (4 5 0)"]),
        (
            ["LINESTRING Z (0 0 1, 1 1 2)", "MULTILINESTRING Z ((0 0 3, 1 1 4))", None, "LINESTRING Z EMPTY"],
            "MultiLineString Z",
            ["MULTILINESTRING Z ((0 0 1, 1 1 2))", "MULTILINESTRING Z ((0 0 3, 1 1 4))", None, None],
        ),
        ([None, None], "Unknown", None),
    ],
    ids=str,
)
def test_geometries_survive(tmp_path: Path, given: list[Any], layer_type: str, found: list[Any] | None) -> None:
    path = write(make_layer([None if text is None else wkt(text) for text in given]), tmp_path)
    assert pyogrio.read_info(path)["geometry_type"] == layer_type
    shapes = [None if shape is None else shapely.to_wkt(shape) for shape in shapes_in(path)]
    assert shapes == (given if found is None else found)


@pytest.mark.filterwarnings("ignore:Measured")
@each_row(
    ("given", "layer_type"),
    [
        (["POINT M (1 2 4)"], b"PointM"),
        (["POINT ZM (1 2 3 4)"], b"PointZM"),
        (["POLYGON ZM ((0 0 1 2, 1 0 1 2, 1 1 1 2, 0 0 1 2))"], b"PolygonZM"),
    ],
    ids=str,
)
def test_measures_are_in_the_file(tmp_path: Path, given: list[str], layer_type: bytes) -> None:
    shapes = [wkt(text) for text in given]
    path, warnings = write_layer(make_layer(shapes), FLATGEOBUF, tmp_path)
    assert warnings == []
    measures = shapely.get_coordinates(shapes, include_m=True)[:, -1]
    assert np.array(measures, "<f8").tobytes() in path.read_bytes()


def test_heights_of_several_types_are_left_out_with_a_warning(tmp_path: Path) -> None:
    layer = make_layer([wkt("POINT Z (1 2 3)"), wkt("LINESTRING (0 0, 1 1)")])
    path, warnings = write_layer(layer, FLATGEOBUF, tmp_path)
    assert [shapely.to_wkt(shape) for shape in shapes_in(path)] == ["POINT (1 2)", "LINESTRING (0 0, 1 1)"]
    (warning,) = warnings
    assert warning.startswith("heights (Z) of coordinates are left out")


def test_crs_is_written_and_coordinates_are_in_it(tmp_path: Path) -> None:
    layer = make_layer([BOX])
    for crs, code in ((None, 32633), (parse_crs("EPSG:3857"), 3857)):
        path = write(layer, tmp_path, crs)
        assert pyproj.CRS.from_user_input(pyogrio.read_info(path)["crs"]).to_epsg() == code
        transformer = pyproj.Transformer.from_crs(32633, code, always_xy=True)
        expected = np.column_stack(transformer.transform(*shapely.get_coordinates(BOX).T))
        np.testing.assert_allclose(shapely.get_coordinates(shapes_in(path)[0]), expected, rtol=1e-12)


def test_layer_without_features_has_its_columns(tmp_path: Path) -> None:
    path = write(make_layer([], typed_attributes().slice(0, 0), geometry_type="Polygon"), tmp_path)
    info = pyogrio.read_info(path)
    assert (info["geometry_type"], len(info["fields"])) == ("Polygon", 20)
    assert attributes_in(path) == []


def test_summary_is_the_description(tmp_path: Path) -> None:
    metadata = pyogrio.read_info(write(make_layer([BOX]), tmp_path))["layer_metadata"]
    assert json.loads(metadata["DESCRIPTION"]) == {"counts": {"é": 1}, "warnings": []}


def test_geometry_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    layer = replace(make_layer([BOX]), geometry=pa.chunked_array([[b"\1\3\0\0\0\1"]], pa.binary()))
    with pytest.raises(LayerError, match="cannot be read"):
        write(layer, tmp_path, parse_crs("EPSG:3857"))
