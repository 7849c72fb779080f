"""OGC API - Maps (OGC 20-058): maps of a collection, as pictures."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import pyproj

from processes.crs import CRS84, crs_uri, is_north_first, parse_crs
from processes.errors import ImageError, InputError
from processes.imagery.services.ogc_collection import OgcCollection, read_collection
from processes.imagery.services.requests import BoxRequest
from processes.imagery.services.tile_grid import TileGrid
from processes.sources.host_links import display_link
from processes.sources.queries import parameter, service_link, with_query

_PATH = re.compile(r"(?P<collection>.*/collections/(?P<name>[^/]+))(/styles/[^/]+)?/map/?")
_TILE = 512
_PICTURES = ("image/png", "image/jpeg")
_OWN = ("f", "bbox", "bbox-crs", "crs", "width", "height")


def is_ogc_map(href: str) -> bool:
    """Return whether a link names the maps of a collection, as its path tells."""
    return _PATH.fullmatch(service_link(href)[0].path) is not None


def ogc_map(href: str, get: Callable[[str], bytes], cell_size: float | None) -> tuple[str, BoxRequest, TileGrid]:
    """Return the name of a collection, the requests of its maps, and the grid of these.

    Args:
        href: the link; `crs` and `f` of its query choose, others are sent along.
        get: requests a URL.
        cell_size: that the client asks for, in units of the CRS; None = none.

    Raises:
        ImageError: the service has no such collection or CRS, or no cell size is asked for.
    """
    parts, given = service_link(href)
    found = _PATH.fullmatch(parts.path)
    if found is None or cell_size is None:
        raise ImageError("maps of OGC API - Maps need the input cellSize, in units of their CRS")
    others = {name: value for name, value in given.items() if name.lower() not in _OWN}
    about = with_query(parts._replace(path=found["collection"]), others, f="json")
    collection = read_collection(get(about), display_link(about))
    name, crs = _crs(collection, parameter(given, "crs"))
    grid = TileGrid.covering(crs.to_wkt(), collection.box_in(name, crs), (cell_size, cell_size), (_TILE, _TILE))
    uri = crs_uri(crs) or name
    query = {"f": parameter(given, "f") or _format(collection), "crs": uri, "bbox-crs": uri}
    if parameter(given, "transparent") is None:
        query["transparent"] = "true"
    return found["name"], BoxRequest(urlunsplit(parts), others | query, "bbox", is_north_first(crs)), grid


def _crs(collection: OgcCollection, asked: str | None) -> tuple[str, pyproj.CRS]:
    """Return the CRS of the maps: the one that is asked for, else that of storage, else the first projected one."""
    if asked is not None:
        return asked, parse_crs(asked)
    offered = [collection.storage_crs, *(item for item in collection.crs if isinstance(item, str))]
    for name in filter(None, offered):
        try:
            crs = parse_crs(name)
        except InputError:
            continue
        if crs.is_projected:
            return name, crs
    return CRS84, parse_crs(CRS84)


def _format(collection: OgcCollection) -> str:
    """Return the value of `f` for a picture: that of a link to maps, PNG before JPEG, else what most services take."""
    links = {link.type: dict(parse_qsl(urlsplit(link.href).query)) for link in collection.links_of("map")}
    return next((links[kind]["f"] for kind in _PICTURES if "f" in links.get(kind, {})), "png")
