"""The colours of the classes, for all that shows a result: styles, summaries, maps. Imagery shows through them."""

from __future__ import annotations

import re
from collections.abc import Set

import msgspec

Color = tuple[int, int, int]
"""Red, green, blue, 0..255."""

OTHER: Color = (127, 127, 127)
"""Colour of rows without a class or with several."""
_PALETTE: tuple[Color, ...] = (
    (31, 119, 180),
    (255, 127, 14),
    (44, 160, 44),
    (214, 39, 40),
    (148, 103, 189),
    (140, 86, 75),
    (227, 119, 194),
    (188, 189, 34),
    (23, 190, 207),
)
"""Colours of classes for which the package gives none."""
FILL_OPACITY = 0.4
"""Of polygons, whose outlines are opaque; points and lines are opaque."""
POINT, LINE, POLYGON = 1, 2, 3
"""Families of geometries, single and multi-part ones: each has its own kind of symbol."""
_NOT_XML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_FAMILIES = {"Point": POINT, "LineString": LINE, "Polygon": POLYGON}


class ClassStyle(msgspec.Struct, frozen=True):
    """How a map shows the classes."""

    label_field: str
    """Name of the field that holds the class name."""
    classes: tuple[tuple[str, Color | None], ...]
    """Name and colour of each class in the model's order; None = the package gives no colour."""

    @property
    def colors(self) -> list[Color]:
        """Return the colour that each class is shown in, in the model's order."""
        return [color or _PALETTE[index % len(_PALETTE)] for index, (_, color) in enumerate(self.classes)]


def hex_color(color: Color) -> str:
    """Return a colour as web pages name it: `#1f77b4`."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def geometry_family(iso_types: Set[int], geometry_type: str) -> int | None:
    """Return the family that all geometries of a layer are of; None = several, or unknown.

    Args:
        iso_types: of the geometries.
        geometry_type: the type that the layer declares, as GDAL names it.
    """
    flat_types = {iso_type % 1000 for iso_type in iso_types}
    families = {flat_type - 3 if flat_type > 3 else flat_type for flat_type in flat_types}
    if not iso_types:
        families = {number for name, number in _FAMILIES.items() if name in geometry_type}
    return families.pop() if len(families) == 1 else None


def xml_text(text: str) -> str:
    """Return a text as XML can hold it: without control characters."""
    return _NOT_XML.sub("\ufffd", text)
