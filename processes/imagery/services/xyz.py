"""XYZ tiles: a template with `{z}`, `{x}` and `{y}`, in EPSG:3857, 256 cells a side."""

from __future__ import annotations

import math
import re

from processes.crs import parse_crs
from processes.errors import ImageError
from processes.imagery.services.requests import TileTemplate
from processes.imagery.services.tile_grid import TileGrid

_HALF_WORLD = 20_037_508.342789244
"""Distance of the world's edges from its centre, in EPSG:3857."""
_TILE = 256
_MAX_ZOOM = 22
"""Finer ones have more columns than a grid may have."""
_SLACK = 1e-9
"""Cell sizes are written with some digits."""
_PART = re.compile(r"\{(-?[A-Za-z]+)\}")
_OF_TILES = {"z", "x", "y", "-y", "s", "q", "quadkey", "level", "row", "col", "tilematrix", "tilerow", "tilecol"}
"""Parts of templates by which programs and services name tiles, in lower case."""
_SERVERS, _DENSITY = "s", "r"
"""Parts of Leaflet's templates: one of several servers; what asks for larger tiles where a screen is dense."""


def is_xyz(href: str) -> bool:
    """Return whether a link is a template of tiles, of a kind that is read or not: see `require_xyz`."""
    return not _OF_TILES.isdisjoint(name.lower() for name in _PART.findall(href))


def require_xyz(href: str) -> None:
    """Raise ImageError where a template of tiles is of a kind that is not read."""
    names = set(_PART.findall(href))
    if _SERVERS in names:
        raise ImageError("{s} stands for one of several servers: write the name of one in its place")
    other = sorted(names - {"z", "x", "y", "-y", _DENSITY})
    if other or not {"z", "x"} <= names or len(names & {"y", "-y"}) != 1:
        has = f"this one has {', '.join(f'{{{name}}}' for name in sorted(names))}"
        raise ImageError(
            f"a template of tiles has {{z}}, {{x}}, and {{y}} or {{-y}}; {has}. A WMTS is linked to by its capabilities"
        )


def zoom_of(cell_size: float) -> int:
    """Return the coarsest zoom whose cells are no larger than a size, in units of EPSG:3857."""
    return max(0, math.ceil(math.log2(2 * _HALF_WORLD / _TILE / cell_size) - _SLACK))


def xyz_service(href: str, cell_size: float | None) -> tuple[TileTemplate, TileGrid]:
    """Return the tiles of a template, and their grid.

    Args:
        href: the template.
        cell_size: that the client asks for; None = none.

    Raises:
        ImageError: no cell size is asked for, or one that is too fine.
    """
    if cell_size is None:
        raise ImageError(
            "tiles by {z}/{x}/{y} need the input cellSize, in metres of EPSG:3857, which chooses their zoom"
        )
    zoom = zoom_of(cell_size)
    if zoom > _MAX_ZOOM:
        raise ImageError(
            f"cellSize {cell_size:g} needs tiles of zoom {zoom}; {_MAX_ZOOM} is the finest one that is read"
        )
    cell, cells = 2 * _HALF_WORLD / _TILE / 2**zoom, _TILE * 2**zoom
    wkt = parse_crs("EPSG:3857").to_wkt()
    grid = TileGrid(wkt, -_HALF_WORLD, _HALF_WORLD, cell, cell, cells, cells, _TILE, _TILE)
    template = href.replace("{z}", str(zoom)).replace(f"{{{_DENSITY}}}", "")
    return TileTemplate(template, 0, 0, 2**zoom), grid
