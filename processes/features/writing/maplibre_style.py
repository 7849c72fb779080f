"""A style of MapLibre GL (version 8 of Mapbox's specification): each class in its colour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from processes.features.writing.class_style import FILL_OPACITY, OTHER, ClassStyle, hex_color

_SOURCE = "objects"
_SQUARES, _COUNT = "squares", "count"
"""Layer of tiles with many objects, and the attribute of its squares that says how many."""

_MORE_OPAQUE = ["min", 0.85, ["+", 0.4, ["*", 0.1, ["ln", ["get", _COUNT]]]]]
"""Squares with more objects let less of the imagery through."""


def maplibre_style(style: ClassStyle, name: str, source: Mapping[str, Any]) -> dict[str, Any]:
    """Return a style with layers for polygons, lines and points, whichever there are.

    Args:
        style: the classes.
        name: of the style.
        source: where the features come from, as MapLibre has it; with `vector` the layer in the tiles has the same name
            as the source.
    """
    colors: dict[str, str] = {}
    for (label, _), shown in zip(style.classes, style.colors, strict=True):
        colors.setdefault(label, hex_color(shown))  # MapLibre takes no label twice
    field = ["to-string", ["get", style.label_field]]  # null becomes an empty text, of which MapLibre does not warn
    pairs = [part for pair in colors.items() for part in pair]
    color = ["match", field, *pairs, hex_color(OTHER)] if pairs else hex_color(OTHER)
    layers = [
        ("polygons", "Polygon", "fill", {"fill-color": color, "fill-opacity": FILL_OPACITY}),
        ("outlines", "Polygon", "line", {"line-color": color, "line-width": 1.5}),
        ("lines", "LineString", "line", {"line-color": color, "line-width": 2}),
        (
            "points",
            "Point",
            "circle",
            {"circle-color": color, "circle-radius": 4, "circle-stroke-color": "#232323", "circle-stroke-width": 0.5},
        ),
    ]
    in_tiles: dict[str, str] = {"source-layer": _SOURCE} if source["type"] == "vector" else {}
    squares: list[dict[str, Any]] = [
        {
            "id": _SQUARES,
            "type": "fill",
            "source": _SOURCE,
            "source-layer": _SQUARES,
            "paint": {"fill-color": color, "fill-opacity": _MORE_OPAQUE, "fill-antialias": False},
        }
    ]
    return {
        "version": 8,
        "name": name,
        "sources": {_SOURCE: dict(source)},
        "layers": (squares if in_tiles else [])
        + [
            {
                "id": identifier,
                "type": kind,
                "source": _SOURCE,
                **in_tiles,
                "filter": ["==", ["geometry-type"], geometry],
                "paint": paint,
            }
            for identifier, geometry, kind, paint in layers
        ],
    }
