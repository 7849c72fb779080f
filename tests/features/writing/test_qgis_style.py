"""The style that QGIS takes when it opens a GeoPackage."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pyogrio
import shapely

from conftest import write_layer
from layers import BOX, make_layer, wkt
from processes.features.reading.files import read_layer
from processes.features.writing.class_style import ClassStyle
from processes.features.writing.geopackage import GEOPACKAGE
from processes.settings import Limits
from tables import each_row

STYLE = ClassStyle("ClassStatus", (("dark \"<&>'", (1, 2, 3)), ("größe\x01", None)))


def write(folder: Path, shapes: Sequence[Any], geometry_type: str = "Unknown") -> Path:
    layer = make_layer(shapes, geometry_type=geometry_type)
    return write_layer(layer, GEOPACKAGE, folder, style=STYLE)[0]


def select(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchall()


def renderer_in(path: Path) -> Any:
    ((text,),) = select(path, "SELECT styleQML FROM layer_styles")
    assert text.startswith("<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n<qgis ")
    return ET.fromstring(text).find("renderer-v2")  # noqa: S314 - our own


@each_row(
    ("shapes", "declared", "symbol", "color_key"),
    [
        ([BOX, shapely.MultiPolygon([BOX]), None], "Unknown", "fill", "color"),
        ([wkt("POINT Z (1 2 3)"), wkt("MULTIPOINT ((1 2))")], "Unknown", "marker", "color"),
        ([wkt("LINESTRING (0 0, 1 1)")], "LineString", "line", "line_color"),
        ([], "MultiPolygon Z", "fill", "color"),
        ([None], "Point", "marker", "color"),
    ],
    ids=["polygons", "points", "line", "no features", "no geometries"],
)
def test_each_class_has_its_colour(
    tmp_path: Path, shapes: list[Any], declared: str, symbol: str, color_key: str
) -> None:
    renderer = renderer_in(write(tmp_path, shapes, declared))
    assert (renderer.get("type"), renderer.get("attr")) == ("categorizedSymbol", "ClassStatus")
    categories = renderer.findall("categories/category")
    assert [item.get("value") for item in categories] == ["dark \"<&>'", "größe\ufffd", ""]
    assert [item.get("symbol") for item in categories] == ["0", "1", "2"]
    symbols = renderer.findall("symbols/symbol")
    assert [item.get("type") for item in symbols] == [symbol] * 3
    colors = [item.find(f"layer/Option/Option[@name='{color_key}']").get("value") for item in symbols]
    assert colors[0] == ("1,2,3,102" if symbol == "fill" else "1,2,3,255")  # imagery shows through
    assert len(set(colors)) == 3


def test_table_is_as_qgis_makes_it(tmp_path: Path) -> None:
    path = write(tmp_path, [BOX])
    assert select(
        path, "SELECT f_table_catalog, f_table_schema, f_table_name, f_geometry_column, useAsDefault FROM layer_styles"
    ) == [("", "", "result", "geom", 1)]
    assert select(path, "SELECT table_name, data_type, srs_id FROM gpkg_contents") == [
        ("result", "features", 32633),
        ("layer_styles", "attributes", 0),
    ]
    ((updated,),) = select(path, "SELECT update_time FROM layer_styles")
    assert updated.endswith("Z")
    assert [name for name, _ in pyogrio.list_layers(path)] == ["result", "layer_styles"]


def test_layer_of_points_and_polygons_has_none(tmp_path: Path) -> None:
    path = write(tmp_path, [BOX, wkt("POINT (1 2)")])
    assert select(path, "SELECT name FROM sqlite_master WHERE name = 'layer_styles'") == []


def test_styled_layer_is_still_the_only_one_to_classify_again(tmp_path: Path) -> None:
    assert len(read_layer(write(tmp_path, [BOX, BOX]), "a.gpkg", None, Limits())) == 2
