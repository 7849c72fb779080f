"""CSV out, read back by Python's csv, pandas and GDAL."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
import pyproj
import shapely

from conftest import write_layer
from layers import BOX, ODD_NAMES, TYPES, make_layer, make_table, points_at, typed_attributes, wkt
from processes.crs import parse_crs
from processes.features.layer import Layer
from processes.features.writing.csv import CSV
from tables import each_row


def write(layer: Layer, folder: Path, crs: pyproj.CRS | None = None) -> Path:
    return write_layer(layer, CSV, folder, crs)[0]


def rows_in(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_attributes_of_every_type_are_written_in_full(tmp_path: Path) -> None:
    rows = rows_in(write(make_layer([BOX, None, BOX], typed_attributes()), tmp_path))
    assert list(rows[0]) == [*TYPES, "ClassStatus", "WKT"]
    assert rows[0] == rows[2]
    assert set(rows[1].values()) == {"", "ok"}
    assert {name: value for name, value in rows[0].items() if name != "WKT"} == {
        "flag": "true",
        "short": "-3",
        "long": "4611686018427387905",
        "unsigned": "9223372036854775809",
        "single": "1.5",
        "double": "0.30000000000000004",
        "money": "1234.5",
        "date": "2024-02-29",
        "local": "2024-02-29T12:30:01.500",
        "instant": "2024-02-29T12:30:01.500000Z",
        "nanos": "2024-02-29T12:30:01.500000Z",
        "clock": "12:30:01.000000",
        "text": 'é😀 "quoted", =1+1\nnext',
        "blank": "",
        "blob": "AP8=",
        "nothing": "",
        "category": "oak",
        "list": "[1,2]",
        "record": '{"a":1,"b":"x"}',
        "ClassStatus": "ok",
    }


def test_an_empty_text_is_in_quotes_and_a_null_is_not(tmp_path: Path) -> None:
    path = write(make_table(pa.table({"a": ["", None], "b": ["", None]})), tmp_path)
    assert path.read_bytes() == b'"a","b","ClassStatus"\n"","","ok"\n,,"ok"\n'
    assert pyogrio.read_arrow(path, EMPTY_STRING_AS_NULL="NO")[1].num_rows == 2


@each_row(
    ("ids", "texts"),
    [([7, 3], ["7", "3"]), (["b", "a,"], ["b", "a,"]), ([1, None], ["1", ""]), (["007", None], ["007", ""])],
    ids=str,
)
def test_ids_are_the_first_column(tmp_path: Path, ids: list[Any], texts: list[str]) -> None:
    rows = rows_in(write(make_layer([BOX, BOX], ids=ids), tmp_path))
    assert list(rows[0]) == ["id", "n", "ClassStatus", "WKT"]
    assert [row["id"] for row in rows] == texts


def test_names_are_kept_but_those_of_the_format(tmp_path: Path) -> None:
    names = [*ODD_NAMES, "Name", "name", "Wkt", "ID"]
    attributes = pa.table({name: [number] for number, name in enumerate(names)})
    path, warnings = write_layer(make_layer([BOX], attributes, ids=["x"]), CSV, tmp_path)
    assert list(rows_in(path)[0]) == ["id", *ODD_NAMES, "Name", "name", "Wkt_1", "ID_1", "ClassStatus", "WKT"]
    assert len(warnings) == 2


SHAPES = [
    "POINT (0.30000000000000004 -1e-300)",
    "POINT Z (1 2 3)",
    "POINT M (1 2 4)",
    "POINT ZM (1 2 3 4)",
    "POLYGON ((0 0, 1 0, 1 1, 0 0))",
    "MULTIPOLYGON EMPTY",
]


def test_geometry_is_wkt_in_all_dimensions(tmp_path: Path) -> None:
    rows = rows_in(write(make_layer([*map(wkt, SHAPES), None]), tmp_path))
    assert [row["WKT"] for row in rows] == [*SHAPES, ""]


def test_every_digit_of_a_coordinate_is_there(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    places = rng.uniform(-1, 1, (500, 2)) * 10.0 ** rng.integers(-12, 12, (500, 2))
    rows = rows_in(write(make_layer(points_at(places)), tmp_path))
    np.testing.assert_array_equal(shapely.get_coordinates([wkt(row["WKT"]) for row in rows]), places)


def test_coordinates_are_in_the_output_crs(tmp_path: Path) -> None:
    layer = make_layer([wkt("POINT (15 50)"), wkt("POINT ZM (15 50 3 4)"), wkt("POINT (15 95)")], crs="EPSG:4326")
    flat, high, nowhere = (row["WKT"] for row in rows_in(write(layer, tmp_path, parse_crs("EPSG:32633"))))
    x, y = pyproj.Transformer.from_crs(4326, 32633, always_xy=True).transform(15, 50)
    assert flat == f"POINT ({x!r} {y!r})"
    assert high == f"POINT ZM ({x!r} {y!r} 3 4)"
    assert nowhere == ""


def test_gdal_finds_geometries_types_and_nulls(tmp_path: Path) -> None:
    attributes = pa.table({"n": [1, None], "f": [0.5, None], "t": ["2", None]})
    path = write(make_layer([BOX, None], attributes, ids=["a", "b"]), tmp_path)
    meta, table = pyogrio.read_arrow(path, AUTODETECT_TYPE="YES", QUOTED_FIELDS_AS_STRING="YES")
    assert meta["geometry_type"] in ("Unknown", "Polygon")
    shapes = [None if text is None else shapely.from_wkb(text) for text in table["wkb_geometry"].to_pylist()]
    assert shapes == [BOX, None]
    columns = [name for name in table.column_names if name not in ("wkb_geometry", "WKT")]
    assert table.select(columns).to_pylist() == [
        {"id": "a", "n": 1, "f": 0.5, "t": "2", "ClassStatus": "ok"},
        {"id": "b", "n": None, "f": None, "t": "", "ClassStatus": "ok"},
    ]


def test_pandas_reads_the_values_and_the_nulls(tmp_path: Path, pandas: Any) -> None:
    path = write(make_layer([BOX, None, BOX], typed_attributes(), ids=[5, 6, 4]), tmp_path)
    table = pandas.read_csv(path, dtype_backend="pyarrow", keep_default_na=False, na_values=[""])
    assert table["id"].tolist() == [5, 6, 4]
    assert table["long"].tolist()[::2] == [2**62 + 1] * 2
    assert table["flag"].tolist()[::2] == [True, True]
    assert table["text"].tolist()[0] == 'é😀 "quoted", =1+1\nnext'
    assert table.loc[1, ["flag", "long", "double", "date", "text", "nothing", "WKT"]].isna().all()


def test_table_without_geometry_has_no_wkt(tmp_path: Path) -> None:
    rows = rows_in(write(make_table(pa.table({"ImageID": ["a.png"], "wkt": [1]})), tmp_path))
    assert rows == [{"ImageID": "a.png", "wkt": "1", "ClassStatus": "ok"}]


def test_layer_without_features_has_its_header(tmp_path: Path) -> None:
    path = write(make_layer([], typed_attributes().slice(0, 0)), tmp_path)
    assert path.read_text() == ",".join(f'"{name}"' for name in [*TYPES, "ClassStatus", "WKT"]) + "\n"
