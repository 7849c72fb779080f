"""OGC API - Coverages (OGC 19-087): the cells of a collection, as GeoTIFF, as they are.

Documents of collections tell little of the grid, and boxes in them are often rough. So the service is asked for a few
cells in the middle, which tell CRS, cells and bands, and for one row and one column, which tell the edges. Each
answer is compared with what was asked for: servers ignore parameters that they do not know. A service that gives
no parts as asked is read as one file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

import msgspec
import pyproj
from affine import Affine

from processes.crs import CRS84, crs_uri, is_longitude_latitude, is_north_first, parse_crs
from processes.errors import HostStatusError, ImageError
from processes.imagery.remote_source import open_content
from processes.imagery.services.ogc_collection import Box, OgcCollection, read_collection
from processes.imagery.services.requests import TIFFS, BoxRequest
from processes.imagery.services.tile_grid import TileGrid
from processes.imagery.source import GDAL_ERRORS, driver_of, gdal_settings
from processes.sources.host_links import display_link
from processes.sources.queries import service_link, with_query

_PATH = re.compile(r"(?P<collection>.*/collections/(?P<name>[^/]+))/coverage/?")
_TILE = 512
_INSET = 0.25
"""Share of a cell by which boxes are smaller than the cells that they ask for: no neighbour's edge is touched."""
_FEW_CELLS = 3
_MARGIN = 0.05
"""Share of a box's sides by which rows and columns are asked for beyond it."""
_SHARE = 1e-3
"""Of the box of a collection whose cells are not counted, for the part in the middle."""
_OWN = ("f", "bbox", "bbox-crs", "subset", "subset-crs")

Get = Callable[[str], bytes]
"""Returns what a URL names."""


class Coverage(msgspec.Struct, frozen=True):
    """A coverage as it is read: by tiles, or as one file."""

    name: str
    href: str
    """Of the whole coverage as GeoTIFF."""
    request: BoxRequest | None
    """None = it is read as one file."""
    grid: TileGrid | None
    bands: int
    dtype: str


class _CoveragePart(msgspec.Struct, frozen=True):
    """What an answer tells of itself."""

    transform: Affine
    crs_wkt: str
    width: int
    height: int
    dtypes: tuple[str, ...]

    @property
    def box(self) -> Box:
        (left, top), (right, bottom) = self.transform @ (0, 0), self.transform @ (self.width, self.height)
        return left, bottom, right, top


def is_coverage(href: str) -> bool:
    """Return whether a link names the coverage of a collection, as its path tells."""
    return _PATH.fullmatch(service_link(href)[0].path) is not None


def coverage_of(href: str, get: Get) -> Coverage:
    """Return how a coverage is read.

    Args:
        href: the link; parameters of its query are sent along, such as `datetime` and `properties`.
        get: requests a URL.

    Raises:
        ImageError: there is no such collection.
    """
    parts, given = service_link(href)
    found = _PATH.fullmatch(parts.path)
    if found is None:
        raise ImageError(f"{display_link(href)} names no coverage")
    others = {name: value for name, value in given.items() if name.lower() not in _OWN}
    about = with_query(parts._replace(path=found["collection"]), others, f="json")
    collection = read_collection(get(about), display_link(about))
    query = others | _tiff_format(collection)
    whole = Coverage(found["name"], with_query(parts, query), None, None, 0, "")
    try:
        served = _tiled(parts, query, collection, get)
    except HostStatusError:  # it takes no box, or no cell is there
        return whole
    if served is None:
        return whole
    request, grid, dtypes = served
    return Coverage(found["name"], whole.href, request, grid, len(dtypes), dtypes[0])


def _tiff_format(collection: OgcCollection) -> dict[str, str]:
    """Return the parameter `f` of a link to the coverage as GeoTIFF; without one the header `Accept` asks for it."""
    for link in collection.links_of("coverage"):
        query = dict(parse_qsl(urlsplit(link.href).query))
        if (link.type or "").startswith("image/tiff") and "f" in query:
            return {"f": query["f"]}
    return {}


def _tiled(
    parts: SplitResult, query: Mapping[str, str], collection: OgcCollection, get: Get
) -> tuple[BoxRequest, TileGrid, tuple[str, ...]] | None:
    """Return the requests of tiles, their grid, and the types of the bands; None = it gives no parts as asked.

    Args:
        parts: of the link.
        query: that all requests have.
        collection: its document.
        get: requests a URL.

    Raises:
        HostStatusError: it refuses a part.
    """
    box = collection.box
    if box is None:
        return None
    part = _part(get(with_query(parts, query, bbox=_text(_middle(box, collection)))))
    if part is None or not _is_few(part, collection) or not _is_north_up(part.transform):
        return None
    crs = pyproj.CRS.from_wkt(part.crs_wkt)
    cell = part.transform.a, -part.transform.e
    transformer = pyproj.Transformer.from_crs(parse_crs(CRS84), crs, always_xy=True)
    left, bottom, right, top = transformer.transform_bounds(*box)
    if not all(map(math.isfinite, (left, bottom, right, top))):
        return None
    first = part.box
    across, along = (right - left) * _MARGIN + cell[0], (top - bottom) * _MARGIN + cell[1]
    x, y = first[0] + cell[0] / 2, first[3] - cell[1] / 2
    for request in _requests(urlunsplit(parts), query, crs):
        row = _answer(request, (left - across, y - cell[1] * _INSET, right + across, y + cell[1] * _INSET), get)
        column = _answer(request, (x - cell[0] * _INSET, bottom - along, x + cell[0] * _INSET, top + along), get)
        if row is None or column is None or row.height != 1 or column.width != 1:
            continue
        if collection.cells not in (None, (row.width, column.height)):
            continue
        edges = row.box[0], column.box[1], row.box[2], column.box[3]
        grid = TileGrid.covering(part.crs_wkt, edges, cell, (_TILE, _TILE))
        if (grid.width, grid.height) == (row.width, column.height):
            return request, grid, part.dtypes
    return None


def _requests(base: str, query: Mapping[str, str], crs: pyproj.CRS) -> Iterator[BoxRequest]:
    """Yield requests with the ways in which servers take the CRS of a box."""

    def request(named: Mapping[str, str], is_north_first: bool) -> BoxRequest:
        return BoxRequest(base, {**query, **named}, "bbox", is_north_first, (), TIFFS, _INSET)

    if is_longitude_latitude(crs):
        yield request({}, False)
    uri, code = crs_uri(crs), crs.to_epsg()
    if uri is not None:
        yield request({"bbox-crs": uri}, is_north_first(crs))
    if code is not None:  # pygeoapi
        yield request({"bbox-crs": str(code)}, False)


def _answer(request: BoxRequest, box: Box, get: Get) -> _CoveragePart | None:
    try:
        return _part(get(request.href_of(box)))
    except HostStatusError:
        return None


def _part(content: bytes) -> _CoveragePart | None:
    """Return what a GeoTIFF tells of itself; None = it is none with a CRS and bands of one type."""
    if driver_of(content[:16]) != "GTiff":
        return None
    try:
        with gdal_settings(), open_content(content, "GTiff") as dataset:
            if dataset.crs is None or len(set(dataset.dtypes)) != 1:
                return None
            size = dataset.width, dataset.height
            return _CoveragePart(dataset.transform, str(dataset.crs.to_wkt()), *size, tuple(dataset.dtypes))
    except (*GDAL_ERRORS, OSError, ValueError):
        return None


def _middle(box: Box, collection: OgcCollection) -> Box:
    """Return a box of a few cells in the middle of another."""
    columns, rows = collection.cells or (_FEW_CELLS / _SHARE, _FEW_CELLS / _SHARE)
    left, bottom, right, top = box
    half_width, half_height = (right - left) / columns * _FEW_CELLS / 2, (top - bottom) / rows * _FEW_CELLS / 2
    x, y = (left + right) / 2, (bottom + top) / 2
    return x - half_width, y - half_height, x + half_width, y + half_height


def _is_few(part: _CoveragePart, collection: OgcCollection) -> bool:
    """Return whether an answer is a part, and not the whole: the box that was asked for counted."""
    columns, rows = collection.cells or (part.width + 1, part.height + 1)
    return part.width < columns or part.height < rows


def _is_north_up(transform: Affine) -> bool:
    return bool(transform.b == 0 and transform.d == 0 and transform.a > 0 and transform.e < 0)


def _text(box: Box) -> str:
    return ",".join(map(repr, box))
