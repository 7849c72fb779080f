"""A style as OGC's Styled Layer Descriptor 1.1 with Symbology Encoding: each class in its colour."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from processes.features.writing.class_style import (
    FILL_OPACITY,
    LINE,
    OTHER,
    POINT,
    ClassStyle,
    Color,
    hex_color,
    xml_text,
)

_SLD, _SE, _OGC = "http://www.opengis.net/sld", "http://www.opengis.net/se", "http://www.opengis.net/ogc"
_OUTLINE: Color = (35, 35, 35)


def sld_text(style: ClassStyle, family: int, name: str) -> str:
    """Return SLD: a rule per class, and one for all other rows.

    The last rule has a filter of its own: QGIS 3.22 reads an `ElseFilter` as none, and draws the rule over every row.

    Args:
        style: the classes.
        family: of the geometries.
        name: of the layer.
    """
    document = ET.Element(
        "StyledLayerDescriptor", {"version": "1.1.0", "xmlns": _SLD, "xmlns:se": _SE, "xmlns:ogc": _OGC}
    )
    layer = ET.SubElement(document, "NamedLayer")
    ET.SubElement(layer, "se:Name").text = xml_text(name)
    user_style = ET.SubElement(layer, "UserStyle")
    ET.SubElement(user_style, "se:Name").text = "classes"
    rules = ET.SubElement(user_style, "se:FeatureTypeStyle")
    field, names = xml_text(style.label_field), [xml_text(label) for label, _ in style.classes]
    for label, color in zip(names, style.colors, strict=True):
        rule = _add_rule(rules, label)
        _add_comparison(ET.SubElement(rule, "ogc:Filter"), "ogc:PropertyIsEqualTo", field, label)
        _add_symbol(rule, family, color)
    rule = _add_rule(rules, "other")
    others = ET.SubElement(ET.SubElement(rule, "ogc:Filter"), "ogc:Or")
    ET.SubElement(ET.SubElement(others, "ogc:PropertyIsNull"), "ogc:PropertyName").text = field
    parent = ET.SubElement(others, "ogc:And") if len(names) > 1 else others
    for label in names:
        _add_comparison(parent, "ogc:PropertyIsNotEqualTo", field, label)
    _add_symbol(rule, family, OTHER)
    ET.indent(document, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(document, "unicode")


def _add_rule(rules: ET.Element, name: str) -> ET.Element:
    rule = ET.SubElement(rules, "se:Rule")
    ET.SubElement(rule, "se:Name").text = name
    ET.SubElement(ET.SubElement(rule, "se:Description"), "se:Title").text = name
    return rule


def _add_comparison(parent: ET.Element, operator: str, field: str, value: str) -> None:
    comparison = ET.SubElement(parent, operator)
    ET.SubElement(comparison, "ogc:PropertyName").text = field
    ET.SubElement(comparison, "ogc:Literal").text = value


def _add_symbol(rule: ET.Element, family: int, color: Color) -> None:
    if family == LINE:
        _add_stroke(ET.SubElement(rule, "se:LineSymbolizer"), color, "2")
        return
    if family == POINT:
        graphic = ET.SubElement(ET.SubElement(rule, "se:PointSymbolizer"), "se:Graphic")
        parent = ET.SubElement(graphic, "se:Mark")
        ET.SubElement(parent, "se:WellKnownName").text = "circle"
        _add_fill(parent, color, 1)
        _add_stroke(parent, _OUTLINE, "0.5")
        ET.SubElement(graphic, "se:Size").text = "9"
        return
    parent = ET.SubElement(rule, "se:PolygonSymbolizer")
    _add_fill(parent, color, FILL_OPACITY)
    _add_stroke(parent, color, "1.5")


def _add_fill(parent: ET.Element, color: Color, opacity: float) -> None:
    _add_parameters(ET.SubElement(parent, "se:Fill"), {"fill": hex_color(color), "fill-opacity": f"{opacity:g}"})


def _add_stroke(parent: ET.Element, color: Color, width: str) -> None:
    _add_parameters(ET.SubElement(parent, "se:Stroke"), {"stroke": hex_color(color), "stroke-width": width})


def _add_parameters(parent: ET.Element, values: dict[str, str]) -> None:
    for name, value in values.items():
        ET.SubElement(parent, "se:SvgParameter", name=name).text = value
