"""CSV in: what our own output and other programs write, held against OGR's CSV driver and Python's csv."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio.raw
import pyproj
import pytest
import shapely

from conftest import write_layer
from layers import BOX, make_layer, wkt
from processes.errors import LayerError, LimitError
from processes.features.layer import Layer
from processes.features.reading.csv import is_csv
from processes.features.reading.files import read_layer
from processes.features.writing.csv import CSV
from processes.settings import Limits
from tables import each_row


def read(text: str | bytes, folder: Path, name: str = "a.csv", crs: str | None = None, limit: int = 1000) -> Layer:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_layer(path, name, None, Limits(max_objects=limit), crs=crs)


def problem(text: str | bytes, folder: Path, **options: Any) -> str:
    with pytest.raises(LayerError) as caught:
        read(text, folder, **options)
    return caught.value.detail


def by_ogr(path: Path, **options: Any) -> list[Any]:
    wkb = pyogrio.raw.read(path, **options)[2]
    return [None if item is None else shapely.from_wkb(item) for item in wkb]


def test_own_output_is_read_again(tmp_path: Path) -> None:
    """Case own-output-not-read, seen with 0.3.0: neither a sequence nor a CSV was."""
    shapes = [BOX, None, wkt("POLYGON Z ((0 0 1, 1 0 2, 1 1 3, 0 0 1))"), wkt("MULTIPOINT ((0.1 0.7), (1e-9 5))")]
    attributes = pa.table(
        {
            "n": [1, None, 2**53 + 1, -4],
            "half": [0.5, 1e300, None, -0.1],
            "t": ["a,b", "", None, 'say "hi"\nto me'],
            "flag": [True, None, False, True],
        }
    )
    path, _ = write_layer(make_layer(shapes, attributes, ids=["x", "y", "z", "1"]), CSV, tmp_path)
    path.rename(tmp_path / "own.csv")
    layer = read_layer(tmp_path / "own.csv", "own.csv", None, Limits(), crs="EPSG:32633")
    assert layer.crs == pyproj.CRS(32633)
    assert layer.geometries(0, 4).tolist() == shapes
    assert by_ogr(tmp_path / "own.csv") == shapes
    assert layer.attributes.drop_columns(["id", "ClassStatus"]).to_pydict() == attributes.to_pydict()
    assert layer.attributes.column("id").to_pylist() == ["x", "y", "z", "1"]


@each_row(
    ("header", "options"),
    [
        ("lon,lat", {"X_POSSIBLE_NAMES": "lon", "Y_POSSIBLE_NAMES": "lat"}),
        ("Longitude,LATITUDE", {"X_POSSIBLE_NAMES": "longitude", "Y_POSSIBLE_NAMES": "latitude"}),
        ("X,y", {"X_POSSIBLE_NAMES": "x", "Y_POSSIBLE_NAMES": "y"}),
    ],
)
@each_row("delimiter", [",", ";", "\t"])
@each_row("ending", ["\n", "\r\n"])
def test_columns_of_coordinates_are_points_and_stay_attributes(
    tmp_path: Path, header: str, options: dict[str, str], delimiter: str, ending: str
) -> None:
    rows = [header + ",name", "10.5,-3.25,é", ",,nowhere", '"-170.125",45,"b"', "1e1, 2 ,"]
    text = ending.join(row.replace(",", delimiter) for row in rows) + ending
    layer = read(text, tmp_path)
    expected = [shapely.Point(10.5, -3.25), None, shapely.Point(-170.125, 45), shapely.Point(10, 2)]
    assert layer.geometries(0, 4).tolist() == expected
    assert by_ogr(tmp_path / "a.csv", **options) == expected
    assert layer.crs == pyproj.CRS("OGC:CRS84")
    assert layer.attributes.column_names == [*header.split(","), "name"]
    assert layer.attributes.column("name").to_pylist() == ["é", "nowhere", "b", None]


@each_row("name", ["WKT", "wkt", "geometry", "geom", "the_geom", "wkt_geom"])
@each_row("mark", [b"", b"\xef\xbb\xbf"])
def test_column_of_wkt_is_the_geometry(tmp_path: Path, name: str, mark: bytes) -> None:
    """As GDAL, geopandas' `to_csv` and QGIS name it; its place among the others does not matter."""
    text = f'{name},n\n"POINT (1 2)",1\n,2\n"LINESTRING (0 0,\n1 1)",3\n'.encode()
    layer = read(mark + text, tmp_path)
    assert layer.geometries(0, 3).tolist() == [shapely.Point(1, 2), None, wkt("LINESTRING (0 0, 1 1)")]
    assert layer.attributes.to_pydict() == {"n": [1, 2, 3]}
    assert by_ogr(tmp_path / "a.csv", GEOM_POSSIBLE_NAMES=name) == layer.geometries(0, 3).tolist()


def test_values_keep_what_they_are(tmp_path: Path) -> None:
    """A number is one where each value of its column is written as a program writes it."""
    rows = {
        "zip": ["00501", "10115"],
        "phone": ["+49", "1"],
        "whole": ["-3", "12"],
        "large": ["9223372036854775808", "1"],
        "mixed": ["1", "x"],
        "fraction": ["1.50", "2e-3"],
        "ids": ["9223372036854775807", "-9223372036854775808"],
        "longer": ["12345678901234567890", "12345678901234567891"],
        "beside": ["9007199254740993", "1.5"],
        "houses": ["12E5", "7E1"],
        "huge": ["1e+999", "1"],
        "tiny": ["1e-999", "1"],
        "digits": ["1.0000000000000000001", "2"],
        "printed": ["0.10000000000000001", "1.000000000000000055511151231257827e-01"],
        "written": ["1e+300", "-1.5E-07"],
        "limit": ["9007199254740992", "0.5"],
        "flag": ["true", "false"],
        "date": ["2024-02-29", "2024-03-01"],
        "none": ["", ""],
    }
    text = ",".join(["lon", "lat", *rows]) + "\n"
    text += "".join(",".join(["1", "2", *(values[n] for values in rows.values())]) + "\n" for n in (0, 1))
    found = read(text, tmp_path).attributes
    plain = list(csv.DictReader(io.StringIO(text)))
    for name in ("zip", "phone", "mixed", "date", "large", "longer", "beside", "houses", "huge", "tiny", "digits"):
        assert found.column(name).to_pylist() == [row[name] for row in plain], name
    assert found.column("whole").to_pylist() == [-3, 12]
    assert found.column("ids").to_pylist() == [2**63 - 1, -(2**63)]
    for name in ("printed", "written", "limit"):
        assert found.column(name).to_pylist() == [float(row[name]) for row in plain], name
    assert found.column("fraction").to_pylist() == [1.5, 0.002]
    assert found.column("flag").to_pylist() == [True, False]
    assert found.column("none").to_pylist() == [None, None]


def test_type_of_a_column_is_that_of_all_its_values(tmp_path: Path) -> None:
    count = 100_000
    text = "lon,lat,n\n" + "".join(f"{n / 1000},1,{n}\n" for n in range(count)) + "1,1,x\n"
    layer = read(text, tmp_path, limit=count + 1)
    assert layer.attributes.column("n").to_pylist() == [*map(str, range(count)), "x"]
    np.testing.assert_array_equal(shapely.get_x(layer.geometries(0, count)), np.arange(count) / 1000)


def test_wkt_that_cannot_be_read_is_empty_and_told(tmp_path: Path) -> None:
    text = 'WKT,n\n"POINT (1 2)",1\n"LINESTRING (0 0)",2\nnonsense,3\n'
    layer = read(text, tmp_path)
    assert layer.geometries(0, 3).tolist() == [shapely.Point(1, 2), None, None]
    (warning,) = layer.warnings
    assert warning.startswith("2 geometries cannot be read and count as empty; the first is that of feature 2")
    assert "feature 1 has a geometry that cannot be read" in problem("WKT\nnonsense\n", tmp_path)


@each_row(
    ("header", "rows", "names"),
    [
        ("lon,lat,n", "\r1,2,3\r", ["n"]),
        ('lon,lat,"a\nb"', "\n1,2,3\n", ["a\nb"]),
        ('"a\r\nb",lon,lat', "\r\n3,1,2\r\n", ["a\r\nb"]),
        ("lon,lat," + ",".join(f"column{n:06}" for n in range(6000)), "\n1,2" + ",3" * 6000, None),
        ("lon,lat," + "é" * 40_000, "\n1,2,3\n", ["é" * 40_000]),
    ],
)
def test_header_is_read_as_the_rows_are(tmp_path: Path, header: str, rows: str, names: list[str] | None) -> None:
    """Line ends of old Macs, line breaks in names, and more names than fit into 64 KiB."""
    layer = read(header + rows, tmp_path)
    columns = next(csv.reader(io.StringIO(header, newline="")))
    assert names is None or set(names) < set(columns)
    assert layer.attributes.column_names == columns
    assert layer.geometries(0, 1).tolist() == [shapely.Point(1, 2)]
    assert {values[0].as_py() for values in layer.attributes.drop_columns(["lon", "lat"]).columns} == {3}


@each_row(
    "head", [b"a\rb\r", b'"a\rb', b"a" * 200_000, b'"' + b"a" * 200_000 + b'"', b"\r\r", b"\xff\n", b"%PDF-1.7\r%"]
)
def test_any_file_can_be_asked_whether_it_is_a_csv(head: bytes) -> None:
    assert not is_csv(head)


def test_nested_wkt_is_not_read_by_recursion(tmp_path: Path) -> None:
    """GEOS ends the process where it nests deep enough; a curve at the depth of a curve is one that shapely refuses."""
    nested = "MULTICURVE(COMPOUNDCURVE(" * 25 + "(0 0,1 1)" + "))" * 25
    side = "MULTICURVE((0 0,1 1)," * 50 + "(0 0,1 1)" + ")" * 50
    for text in (nested, side):
        layer = read(f'WKT\n"POINT (1 2)"\n"{text}"\n', tmp_path)
        assert layer.geometries(0, 2).tolist() == [shapely.Point(1, 2), None]
        assert layer.warnings == (
            "the geometry of feature 2 cannot be read and counts as empty: its brackets are nested too deep",
        )
    text = "GeometryCollection(" * 50 + "POINT(1 2)" + ")" * 50
    assert "feature 1 is a GeometryCollection" in problem(f'WKT\n"{text}"\n', tmp_path)


@each_row(
    ("text", "words"),
    [
        ("lon,lat\n1,2\nx,3\n", "lon of feature 2 is 'x', no number"),
        ("lon;lat\n1,5;2,5\n", "lon of feature 1 is '1,5', no number"),
        ("lon,lat\n1,2,3\n", "cannot be read as CSV"),
        ("lon,lat,a,a\n1,2,3,4\n", "two attributes are named 'a'"),
        ("name,n\na,1\n", "has no column 'WKT', and no columns 'lon' and 'lat'"),
        ("lon,lat,t\n1,2,é\n".encode("latin-1"), "cannot be read as CSV in UTF-8"),
        ("lon,lat\n1,2\n".encode("utf-16"), "is no CSV in UTF-8"),
        ('WKT\n"GEOMETRYCOLLECTION (POINT (1 2))"\n', "feature 1 is a GeometryCollection"),
    ],
)
def test_csv_that_cannot_be_read_is_refused(tmp_path: Path, text: str | bytes, words: str) -> None:
    assert words in problem(text, tmp_path)


def test_crs_that_is_none_and_too_many_rows_are_refused(tmp_path: Path) -> None:
    assert "EPSG:999999" in problem("lon,lat\n1,2\n", tmp_path, crs="EPSG:999999")
    with pytest.raises(LimitError, match="max_objects = 1"):
        read("lon,lat\n1,2\n3,4\n", tmp_path, limit=1)


def test_projected_crs_is_that_of_x_and_y(tmp_path: Path) -> None:
    text = "lon,lat,x,y\n15,50,500000,5538630\n"
    for crs, expected in (("EPSG:32633", (500000, 5538630)), ("EPSG:4258", (15, 50)), (None, (15, 50))):
        assert read(text, tmp_path, crs=crs).geometries(0, 1).tolist() == [shapely.Point(expected)]


def test_csv_is_known_by_its_header_whatever_its_name(tmp_path: Path) -> None:
    assert len(read("lon,lat\n1,2\n", tmp_path, name="download")) == 1
    assert len(read("lon,lat\n", tmp_path)) == 0
    assert "not a GeoJSON or a GeoPackage" in problem("fid;geometry\n", tmp_path, name="a.txt")
