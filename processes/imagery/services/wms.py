"""WMS 1.3.0 (OGC 06-042). OWSLib reads the capabilities; it is given their bytes and requests nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlunsplit

import pyproj

from processes.crs import CRS84, is_north_first, parse_crs
from processes.errors import ImageError, InputError
from processes.imagery.services.requests import PICTURES, BoxRequest
from processes.imagery.services.tile_grid import TileGrid
from processes.sources.queries import parameter, service_link, with_query

WMS = "application/vnd.ogc.wms"
"""Media type of a link to a WMS."""
_VERSION = "1.3.0"
_TILE = 512
_PIXEL_M = 0.00028
"""Side of a cell that scale denominators are counted with."""
_NAMESPACE = "{http://www.opengis.net/wms}"
_LISTED = 40
_OWN = ("service", "version", "request", "layers", "bbox", "width", "height", "crs", "srs", "format", "styles")


def is_wms(href: str, media_type: str) -> bool:
    """Return whether a link names a WMS, as its media type or its query tells."""
    return media_type == WMS or (parameter(service_link(href)[1], "service") or "").upper() == "WMS"


def wms_capabilities_link(href: str) -> str:
    """Return the link to the capabilities of a WMS."""
    parts, given = service_link(href)
    others = {name: value for name, value in given.items() if name.lower() not in _OWN}
    return with_query(parts, others, service="WMS", version=_VERSION, request="GetCapabilities")


def wms_service(href: str, capabilities: bytes, cell_size: float | None) -> tuple[BoxRequest, TileGrid]:
    """Return the requests of maps of some layers, and the grid of these.

    Args:
        href: the link, with the parameter `LAYERS`; others of its query are sent along.
        capabilities: of the service.
        cell_size: that the client asks for, in units of the CRS; None = none.

    Raises:
        ImageError: the service has no such layers or CRS, or states no scale where no cell size is asked for.
    """
    parts, given = service_link(href)
    wms = _capabilities(capabilities)
    layers = _layers(wms, parameter(given, "layers"))
    name, crs = _crs(layers[0], parameter(given, "crs"))
    cell = cell_size or _native(layers[0], crs)
    if cell is None:
        raise ImageError("a WMS that states no scale needs the input cellSize, in units of its CRS")
    bounds = _union([_bounds(layer, name, crs) for layer in layers])
    grid = TileGrid.covering(crs.to_wkt(), bounds, (cell, cell), _tile(wms))
    formats = wms.getOperationByName("GetMap").formatOptions
    query = {
        "SERVICE": "WMS",
        "VERSION": _VERSION,
        "REQUEST": "GetMap",
        "LAYERS": ",".join(str(layer.name) for layer in layers),
        "STYLES": parameter(given, "styles") or "",
        "CRS": name,
        "FORMAT": parameter(given, "format") or _format(formats),
    }
    if parameter(given, "transparent") is None and query["FORMAT"] == "image/png":
        query["TRANSPARENT"] = "TRUE"
    others = {key: value for key, value in given.items() if key.lower() not in _OWN}
    size = "WIDTH", "HEIGHT"
    return BoxRequest(urlunsplit(parts), others | query, "BBOX", is_north_first(crs), size, PICTURES), grid


def _capabilities(text: bytes) -> Any:
    from lxml.etree import LxmlError  # slow to import, and most links name files
    from owslib.map.wms130 import WebMapService_1_3_0
    from owslib.util import ServiceException

    try:
        return WebMapService_1_3_0("", _VERSION, xml=text)
    except (ServiceException, LxmlError, AttributeError, KeyError, TypeError, ValueError, RuntimeError) as err:
        raise ImageError(f"the service does not give the capabilities of a WMS {_VERSION}") from err


def _layers(wms: Any, asked: str | None) -> list[Any]:
    names = [] if asked is None else asked.split(",")
    missing = [name for name in names if name not in wms.contents]
    if not names or missing:
        said = f"asks for the layer {missing[0][:100]!r}" if missing else "names no layer by LAYERS="
        listed = ", ".join(map(repr, list(wms.contents)[:_LISTED]))
        raise ImageError(f"the link {said}; the service has {listed or 'none'}")
    return [wms.contents[name] for name in names]


def _crs(layer: Any, asked: str | None) -> tuple[str, pyproj.CRS]:
    """Return the CRS of the maps, as the service calls it: the one that is asked for, else the first projected one."""
    stated = [str(box[4]) for box in layer.crs_list]
    offered = list(dict.fromkeys([*stated, *sorted(map(str, layer.crsOptions))]))
    if asked is not None:
        same = [name for name in offered if name.upper() == asked.upper()]
        if not same:
            raise ImageError(f"the link asks for CRS {asked[:100]!r}; the layer has {', '.join(offered[:_LISTED])}")
        return same[0], _parsed(same[0])
    for name in offered:
        try:
            crs = _parsed(name)
        except InputError:
            continue
        if crs.is_projected:
            return name, crs
    raise ImageError(f"the layer has no projected CRS: name one by CRS=; it has {', '.join(offered[:_LISTED])}")


def _parsed(name: str) -> pyproj.CRS:
    return parse_crs(CRS84 if name.upper() == "CRS:84" else name)


def _native(layer: Any, crs: pyproj.CRS) -> float | None:
    """Return the cell size of the largest scale that a layer states, in units of its CRS; None = it states none."""
    stated = layer.min_scale_denominator
    if stated is None or not crs.is_projected or not float(stated.text):
        return None
    return float(stated.text) * _PIXEL_M / float(crs.axis_info[0].unit_conversion_factor)


def _bounds(layer: Any, name: str, crs: pyproj.CRS) -> tuple[float, float, float, float]:
    """Return the box of a layer in a CRS, x before y: what it states, else its box in longitudes and latitudes."""
    for *edges, stated in layer.crs_list:
        if str(stated).upper() == name.upper():
            return edges[0], edges[1], edges[2], edges[3]
    if layer.boundingBoxWGS84 is None:
        raise ImageError(f"the layer {layer.name!r} states no box")
    transformer = pyproj.Transformer.from_crs(parse_crs(CRS84), crs, always_xy=True)
    left, bottom, right, top = transformer.transform_bounds(*layer.boundingBoxWGS84)
    return left, bottom, right, top


def _union(boxes: list[tuple[float, float, float, float]]) -> tuple[float, float, float, float]:
    lefts, bottoms, rights, tops = zip(*boxes, strict=True)
    return min(lefts), min(bottoms), max(rights), max(tops)


def _tile(wms: Any) -> tuple[int, int]:
    """Return width and height of the maps that are asked for, within the service's limits."""
    limits = [wms._capabilities.find(f"{_NAMESPACE}Service/{_NAMESPACE}Max{side}") for side in ("Width", "Height")]
    width, height = (
        _TILE if limit is None or not int(limit.text or 0) else min(_TILE, int(limit.text)) for limit in limits
    )
    return width, height


def _format(formats: list[str]) -> str:
    offered: Mapping[str, str] = {item.partition(";")[0].strip().lower(): item for item in reversed(formats)}
    for name in ("image/png", "image/jpeg"):
        if name in offered:
            return offered[name] if offered[name].lower() == name else name
    raise ImageError(f"the service gives its maps as {', '.join(formats)}; PNG and JPEG are read")
