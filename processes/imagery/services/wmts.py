"""WMTS 1.0.0 (OGC 07-057r7). OWSLib reads the capabilities; it is given their bytes and requests nothing itself."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlunsplit

from processes.crs import is_in_x_y_order, is_north_first, parse_crs
from processes.errors import ImageError
from processes.imagery.services.requests import TileTemplate
from processes.imagery.services.tile_grid import TileGrid
from processes.sources.queries import link_with, parameter, service_link, with_query

WMTS = "application/vnd.ogc.wmts"
"""Media type of a link to a WMTS."""
_PIXEL_M = 0.00028
_LISTED = 40
_DEGREE_M = 111_319.49079327358
"""A degree of the equator, by which scale denominators of geographic CRS are counted (OGC 07-057r7, 6.1)."""
_SLACK = 1 + 1e-9
_OWN = (
    "service",
    "version",
    "request",
    "layer",
    "style",
    "format",
    "tilematrixset",
    "tilematrix",
    "tilerow",
    "tilecol",
)


def is_wmts(href: str, media_type: str) -> bool:
    """Return whether a link names a WMTS, as its media type or its query tells."""
    return media_type == WMTS or (parameter(service_link(href)[1], "service") or "").upper() == "WMTS"


def wmts_capabilities_link(href: str) -> str:
    """Return the link to the capabilities of a WMTS: a document, or what an operation gives."""
    parts, given = service_link(href)
    others = {name: value for name, value in given.items() if name.lower() not in _OWN}
    if parts.path.lower().endswith(".xml"):
        return with_query(parts, others)
    return with_query(parts, others, SERVICE="WMTS", VERSION="1.0.0", REQUEST="GetCapabilities")


def wmts_service(href: str, capabilities: bytes, cell_size: float | None) -> tuple[TileTemplate, TileGrid]:
    """Return the tiles of a layer, and their grid.

    Args:
        href: the link, with the parameter `layer`, and perhaps `tileMatrixSet`, `style` and `format`.
        capabilities: of the service.
        cell_size: that the client asks for, in units of the CRS; None = the finest that there is.

    Raises:
        ImageError: the service has no such layer or tiles.
    """
    parts, given = service_link(href)
    wmts = _capabilities(capabilities, href)
    name = parameter(given, "layer")
    if name not in wmts.contents:
        said = "names no layer by layer=" if name is None else f"asks for the layer {name[:100]!r}"
        raise ImageError(f"the link {said}; the service has {', '.join(map(repr, list(wmts.contents)[:_LISTED]))}")
    layer = wmts.contents[name]
    set_name = _one_of("tileMatrixSet", parameter(given, "tileMatrixSet"), list(layer.tilematrixsetlinks))
    matrix_set = wmts.tilematrixsets[set_name]
    crs = parse_crs(matrix_set.crs)
    unit_m = _DEGREE_M if crs.is_geographic else float(crs.axis_info[0].unit_conversion_factor)
    matrices = sorted(matrix_set.tilematrix.values(), key=lambda item: -float(item.scaledenominator))
    limits = layer.tilematrixsetlinks[set_name].tilematrixlimits
    matrices = [item for item in matrices if not limits or item.identifier in limits]
    cells = [item.scaledenominator * _PIXEL_M / unit_m for item in matrices]
    fine = [index for index, cell in enumerate(cells) if cell_size is None or cell <= cell_size * _SLACK]
    if not fine:
        raise ImageError(f"the finest tiles of layer {name!r} have cells of {cells[-1]:g}, larger than cellSize")
    place = fine[-1] if cell_size is None else fine[0]
    matrix, cell = matrices[place], cells[place]
    limit = limits.get(matrix.identifier)
    rows = (limit.mintilerow, limit.maxtilerow) if limit else (0, matrix.matrixheight - 1)
    columns = (limit.mintilecol, limit.maxtilecol) if limit else (0, matrix.matrixwidth - 1)
    first, second = matrix.topleftcorner
    north_first = is_north_first(crs) and not is_in_x_y_order(matrix_set.crs)  # short names mean x, y with servers
    left, top = (second, first) if north_first else (first, second)
    width, height = matrix.tilewidth, matrix.tileheight
    grid = TileGrid(
        crs.to_wkt(),
        left + columns[0] * width * cell,
        top - rows[0] * height * cell,
        cell,
        cell,
        (columns[1] - columns[0] + 1) * width,
        (rows[1] - rows[0] + 1) * height,
        width,
        height,
    )
    template = _template(layer, given, urlunsplit(parts), set_name, matrix.identifier)
    return TileTemplate(template, rows[0], columns[0], matrix.matrixheight), grid


def _capabilities(text: bytes, href: str) -> Any:
    from lxml.etree import LxmlError  # slow to import, and most links name files
    from owslib.util import ServiceException
    from owslib.wmts import WebMapTileService

    try:
        return WebMapTileService(urlunsplit(service_link(href)[0]), xml=text)
    except (ServiceException, LxmlError, AttributeError, KeyError, TypeError, ValueError, RuntimeError) as err:
        raise ImageError("the service does not give the capabilities of a WMTS 1.0.0") from err


def _one_of(what: str, asked: str | None, offered: list[str]) -> str:
    """Return what is asked for of what there is; the only one where nothing is."""
    if asked in offered:
        return asked
    if asked is None and len(offered) == 1:
        return offered[0]
    said = f"has no {what} {asked[:100]!r}" if asked else f"has several: name one by {what}="
    raise ImageError(f"the layer {said}; there are {', '.join(map(repr, offered[:_LISTED]))}")


def _template(layer: Any, given: dict[str, str], base: str, set_name: str, matrix: str) -> str:
    """Return the template of a level's tiles, with `{x}` and `{y}`."""
    styles = [style for style, about in layer.styles.items() if about.get("isDefault")] or list(layer.styles)
    style = parameter(given, "style") or (styles[0] if styles else "default")
    formats = [item for item in ("image/png", "image/jpeg") if item in layer.formats] or list(layer.formats)
    image_format = parameter(given, "format") or (formats[0] if formats else "image/png")
    places = {"TileRow": "{y}", "TileCol": "{x}"}
    for resource in layer.resourceURLs:
        if resource["resourceType"] == "tile" and resource["format"] == image_format:
            template = str(resource["template"])
            values = {"Style": style, "style": style, "TileMatrixSet": set_name, "TileMatrix": matrix, **places}
            for name, dimension in getattr(layer, "dimensions", {}).items():
                values[name] = parameter(given, name) or str(dimension.get("default") or "")
            for name, value in values.items():
                template = template.replace(f"{{{name}}}", value)
            return template
    others = {name: value for name, value in given.items() if name.lower() not in _OWN}
    query = {
        "SERVICE": "WMTS",
        "REQUEST": "GetTile",
        "VERSION": "1.0.0",
        "LAYER": str(layer.name),
        "STYLE": style,
        "FORMAT": image_format,
        "TILEMATRIXSET": set_name,
        "TILEMATRIX": matrix,
    }
    return f"{link_with(base, others | query)}&TILEROW={{y}}&TILECOL={{x}}"
