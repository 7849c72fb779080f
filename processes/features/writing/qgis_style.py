"""A style for QGIS in a GeoPackage: each class in its colour.

QGIS keeps styles in the table `layer_styles` and takes the layer's default one when it opens the layer. The style is
QML, reduced to what QGIS reads: a renderer with a symbol per class.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

from processes.features.writing.class_style import (
    FILL_OPACITY,
    LINE,
    OTHER,
    POINT,
    POLYGON,
    ClassStyle,
    Color,
    geometry_family,
    xml_text,
)

_TABLE = """
CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256),
    styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30),
    ui TEXT(30), update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
)
"""
_CONTENTS = (
    "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id)"
    " VALUES ('layer_styles', 'attributes', 'layer_styles', 0)"
)
_STYLE = (
    "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, styleQML,"
    " styleSLD, useAsDefault, description, owner, ui) VALUES ('', '', ?, 'geom', 'classes', ?, '', 1, ?, '', NULL)"
)

_OUTLINE = "35,35,35,255"


def write_style(path: Path, layer: str, style: ClassStyle, iso_types: frozenset[int], geometry_type: str) -> None:
    """Add a style to a GeoPackage, where its geometries can share one.

    Args:
        path: the GeoPackage, complete.
        layer: name of the layer.
        style: the classes.
        iso_types: of the geometries.
        geometry_type: the type that the layer declares, as GDAL names it.
    """
    family = geometry_family(iso_types, geometry_type)
    if family is None:
        return
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA synchronous = OFF")  # as GDAL has written it: who publishes the file sees to the disk
        database.execute("BEGIN")
        database.execute(_TABLE)
        database.execute(_CONTENTS)
        database.execute(_STYLE, (layer, style_text(style, family), f"classes in {style.label_field}"))


def style_text(style: ClassStyle, family: int) -> str:
    """Return QML: a category per class, and one for rows without a class or with several.

    Args:
        style: the classes.
        family: of the geometries.
    """
    document = ET.Element("qgis", version="3.22.0", styleCategories="Symbology")
    renderer = ET.SubElement(
        document,
        "renderer-v2",
        {"type": "categorizedSymbol", "attr": style.label_field, "symbollevels": "0", "enableorderby": "0"},
    )
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    shown = [(name, name, color) for (name, _), color in zip(style.classes, style.colors, strict=True)]
    for index, (value, label, color) in enumerate([*shown, ("", "other", OTHER)]):
        ET.SubElement(
            categories,
            "category",
            {
                "value": xml_text(value),
                "label": xml_text(label),
                "symbol": str(index),
                "render": "true",
                "type": "string",
            },
        )
        _add_symbol(symbols, str(index), family, color)
    ET.indent(document, " ")
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ET.tostring(document, "unicode")


def _add_symbol(symbols: ET.Element, name: str, family: int, color: Color) -> None:
    opaque, clear = (",".join(map(str, (*color, alpha))) for alpha in (255, round(255 * FILL_OPACITY)))
    kind, layer_class, properties = {
        POINT: (
            "marker",
            "SimpleMarker",
            {"name": "circle", "color": opaque, "outline_color": _OUTLINE, "size": "2.5", "size_unit": "MM"},
        ),
        LINE: (
            "line",
            "SimpleLine",
            {"line_color": opaque, "line_width": "0.8", "line_width_unit": "MM"},
        ),
        POLYGON: (
            "fill",
            "SimpleFill",
            {"color": clear, "style": "solid", "outline_color": opaque, "outline_style": "solid"}
            | {"outline_width": "0.5", "outline_width_unit": "MM"},
        ),
    }[family]
    symbol = ET.SubElement(symbols, "symbol", {"name": name, "type": kind, "alpha": "1"})
    layer = ET.SubElement(symbol, "layer", {"class": layer_class, "enabled": "1", "pass": "0", "locked": "0"})
    options = ET.SubElement(layer, "Option", type="Map")
    for key, value in properties.items():
        ET.SubElement(options, "Option", name=key, value=value, type="QString")
        ET.SubElement(layer, "prop", k=key, v=value)  # as QGIS before 3.20 reads it
