"""Styles of results for maps: SLD and MapLibre's."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

from processes.features.writing.class_style import LINE, POINT, POLYGON, ClassStyle
from processes.features.writing.maplibre_style import maplibre_style
from processes.features.writing.qgis_style import style_text
from processes.features.writing.sld_style import sld_text
from tables import each_row

CLASSES: tuple[tuple[str, Any], ...] = (("dark", (1, 2, 3)), ("\"<&>'\x01", None), ("dark", (9, 9, 9)))
STYLE = ClassStyle("ClassLabel", CLASSES)
NAMES = {"se": "http://www.opengis.net/se", "ogc": "http://www.opengis.net/ogc"}


def matches(rule: ET.Element, label: str | None) -> bool:
    """Return whether a rule draws a row, as OGC's Filter Encoding says."""

    def is_true(item: ET.Element) -> bool:
        name = item.tag.partition("}")[2]
        if name in ("Or", "And"):
            return (any if name == "Or" else all)(is_true(child) for child in item)
        assert item.findtext("ogc:PropertyName", namespaces=NAMES) == "ClassLabel"
        if name == "PropertyIsNull":
            return label is None
        is_same = label == item.findtext("ogc:Literal", namespaces=NAMES)
        return label is not None and is_same == {"PropertyIsEqualTo": True, "PropertyIsNotEqualTo": False}[name]

    condition = rule.find("ogc:Filter", NAMES)
    assert condition is not None
    (only,) = condition
    return is_true(only)


@each_row(("family", "symbol"), [(POINT, "PointSymbolizer"), (LINE, "LineSymbolizer"), (POLYGON, "PolygonSymbolizer")])
def test_sld_draws_every_row_in_one_colour(family: int, symbol: str) -> None:
    document = ET.fromstring(sld_text(STYLE, family, "name & more"))  # noqa: S314 - our own
    assert document.tag == "{http://www.opengis.net/sld}StyledLayerDescriptor"
    rules = document.findall(".//se:Rule", NAMES)
    assert [len(rule.findall(f".//se:{symbol}", NAMES)) for rule in rules] == [1] * 4
    assert document.find(".//se:ElseFilter", NAMES) is None  # QGIS 3.22 draws that over every row
    drawn = [[matches(rule, label) for rule in rules] for label in ("dark", "\"<&>'\ufffd", "a;b", "", None)]
    first, second, *others = drawn
    assert first == [True, False, True, False]
    assert second == [False, True, False, False]
    assert others == [[False, False, False, True]] * 3
    colors = [item.text for item in rules[0].iterfind(".//se:SvgParameter", NAMES)]
    assert "#010203" in colors
    assert ("0.4" in colors) == (family == POLYGON)


def test_sld_of_one_class_has_a_filter_for_the_rest() -> None:
    document = ET.fromstring(sld_text(ClassStyle("ClassLabel", CLASSES[:1]), POINT, "n"))  # noqa: S314
    (one, other) = document.findall(".//se:Rule", NAMES)
    assert [(matches(one, label), matches(other, label)) for label in ("dark", "x", None)] == [
        (True, False),
        (False, True),
        (False, True),
    ]


def test_maplibre_style_names_each_class_once() -> None:
    source = {"type": "geojson", "data": "https://example.org/a.geojson"}
    style = maplibre_style(STYLE, "storm", source)
    assert (style["version"], style["sources"]) == (8, {"objects": source})
    assert [layer["type"] for layer in style["layers"]] == ["fill", "line", "line", "circle"]
    fill = style["layers"][0]["paint"]
    operator, field, *pairs, other = fill["fill-color"]
    assert (operator, field, other) == ("match", ["to-string", ["get", "ClassLabel"]], "#7f7f7f")
    colors = dict(list(pairwise(pairs))[::2])
    assert list(colors) == ["dark", "\"<&>'\x01"]
    assert colors["dark"] == "#010203"
    assert fill["fill-opacity"] < 1
    tiles = maplibre_style(STYLE, "storm", {"type": "vector", "tiles": []})
    assert [layer["source-layer"] for layer in tiles["layers"]] == ["squares", *["objects"] * 4]


def test_all_styles_have_the_same_colours() -> None:
    second = STYLE.colors[1]
    qml = style_text(STYLE, POLYGON)
    assert ",".join(map(str, (*second, 255))) in qml
    assert "#{:02x}{:02x}{:02x}".format(*second) in sld_text(STYLE, POLYGON, "n")
