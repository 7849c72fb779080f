"""Esri's image services (https://developers.arcgis.com/rest/services-reference): the mosaic through `exportImage`, and
the raster items of the catalog one by one. These services tell of errors with status 200.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlunsplit

import msgspec
import pyproj

from processes.crs import crs_from_text, parse_crs
from processes.errors import ImageError, InputError
from processes.imagery.services.requests import TIFFS, BoxRequest
from processes.imagery.services.tile_grid import TileGrid
from processes.sources.queries import service_link, with_query

_SERVICE = re.compile(r".*/(?P<name>[^/]+)/ImageServer/?")
_TILE = 512
_DTYPES = {
    "U1": "uint8", "U2": "uint8", "U4": "uint8", "U8": "uint8", "S8": "int8", "U16": "uint16", "S16": "int16",
    "U32": "uint32", "S32": "int32", "F32": "float32", "F64": "float64",
}  # fmt: skip
_ITEMS_AT_ONCE = 1000

Get = Callable[[str], bytes]
"""Returns what a URL names."""


class _SpatialReference(msgspec.Struct):
    wkid: int | None = None
    latest_wkid: int | None = msgspec.field(default=None, name="latestWkid")
    wkt: str | None = None

    @property
    def crs(self) -> pyproj.CRS:
        """Return the CRS; raise ImageError where it is not known."""
        for number in filter(None, (self.latest_wkid, self.wkid)):
            for authority in ("EPSG", "ESRI"):
                try:
                    return parse_crs(f"{authority}:{number}")
                except InputError:
                    continue
        if self.wkt:
            return crs_from_text(self.wkt)
        raise ImageError("the image service states no CRS that is known")


class _ImageServerExtent(msgspec.Struct):
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    reference: _SpatialReference = msgspec.field(name="spatialReference", default_factory=_SpatialReference)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        return self.xmin, self.ymin, self.xmax, self.ymax


class _ImageServer(msgspec.Struct):
    """The description of a service, as far as it is used."""

    extent: _ImageServerExtent
    cell_width: float = msgspec.field(name="pixelSizeX")
    cell_height: float = msgspec.field(name="pixelSizeY")
    bands: int = msgspec.field(name="bandCount")
    pixel_type: str = msgspec.field(name="pixelType")
    max_width: int = msgspec.field(name="maxImageWidth", default=4096)
    max_height: int = msgspec.field(name="maxImageHeight", default=4096)
    capabilities: str = ""


class _ImageServerFault(msgspec.Struct):
    code: int | None = None
    message: str | None = None
    details: list[str] | None = None


class _ImageServerAnswer(msgspec.Struct):
    error: _ImageServerFault | None = None


class _RasterGeometry(msgspec.Struct):
    rings: list[list[list[float]]]


class _RasterItem(msgspec.Struct):
    attributes: dict[str, Any]
    geometry: _RasterGeometry


class _RasterItems(msgspec.Struct):
    features: list[_RasterItem] = msgspec.field(default_factory=list)
    exceeded: bool = msgspec.field(default=False, name="exceededTransferLimit")


class ServedImage(msgspec.Struct, frozen=True):
    """An image of an image service, before it is opened."""

    name: str
    request: BoxRequest
    grid: TileGrid
    bands: int
    dtype: str


def is_image_server(href: str) -> bool:
    """Return whether a link names an image service, as its path tells."""
    return _SERVICE.fullmatch(service_link(href)[0].path) is not None


def image_server_images(href: str, get: Get, cell_size: float | None, separate: bool) -> Iterator[ServedImage]:
    """Yield the images of an image service: its mosaic, or its raster items in the order of their ids.

    Args:
        href: the link; parameters of its query are sent along, such as `renderingRule` and `token`.
        get: requests a URL.
        cell_size: that the client asks for, in units of the service's CRS; None = the service's own.
        separate: True = its raster items.

    Raises:
        ImageError: the service refuses a request, or has no raster items.
    """
    parts, given = service_link(href)
    parts = parts._replace(path=parts.path.rstrip("/"))
    found = _SERVICE.fullmatch(parts.path)
    name = found["name"] if found else "image"
    token = {key: value for key, value in given.items() if key.lower() == "token"}
    service = _read(get(with_query(parts, token, f="json")), _ImageServer)
    dtype = _DTYPES.get(service.pixel_type)
    if dtype is None:
        raise ImageError(f"the image service has cells of type {service.pixel_type!r}, which is not read")
    crs = service.extent.reference.crs
    number = service.extent.reference.wkid or service.extent.reference.latest_wkid
    reference = str(number) if number else json.dumps({"wkt": service.extent.reference.wkt})
    query = {key: value for key, value in given.items() if key.lower() not in ("f", "bbox", "size", "cellsize")} | {
        "bboxSR": reference,
        "imageSR": reference,
        "format": "tiff",
        "pixelType": service.pixel_type,
        "interpolation": "RSP_NearestNeighbor",
        "f": "image",
    }
    base = urlunsplit(parts._replace(path=f"{parts.path}/exportImage"))
    tile = min(_TILE, service.max_width), min(_TILE, service.max_height)

    def image(
        name: str, bounds: tuple[float, float, float, float], cell: tuple[float, float], rule: Any
    ) -> ServedImage:
        own = query if rule is None else query | {"mosaicRule": json.dumps(rule, separators=(",", ":"))}
        grid = TileGrid.covering(crs.to_wkt(), bounds, cell, tile)
        return ServedImage(name, BoxRequest(base, own, size=("size",), accept=TIFFS), grid, service.bands, dtype)

    cell = (cell_size, cell_size) if cell_size else (service.cell_width, service.cell_height)
    if not separate:
        yield image(name, service.extent.bounds, cell, None)
        return
    if "catalog" not in service.capabilities.lower():
        raise ImageError(f"the image service {name!r} shows no raster items; use processingMode mosaic")
    items = list(_items(with_query(parts._replace(path=f"{parts.path}/query"), token), reference, get))
    if not items:
        raise ImageError(f"the image service {name!r} has no raster items")
    for item in items:
        x, y = zip(*[vertex[:2] for ring in item.geometry.rings for vertex in ring], strict=True)
        own = float(item.attributes.get("LowPS") or service.cell_width)
        identifier = item.attributes["OBJECTID"]
        rule = {"mosaicMethod": "esriMosaicLockRaster", "lockRasterIds": [identifier]}
        item_cell = (cell_size, cell_size) if cell_size else (own, own)
        yield image(str(item.attributes.get("Name") or identifier), (min(x), min(y), max(x), max(y)), item_cell, rule)


def _items(link: str, reference: str, get: Get) -> Iterator[_RasterItem]:
    """Yield the raster items of a catalog, all pages of them; overviews are none."""
    parts, token = service_link(link)
    offset = 0
    while True:
        query = {
            "where": "Category=1",
            "outFields": "OBJECTID,Name,LowPS",
            "returnGeometry": "true",
            "outSR": reference,
            "orderByFields": "OBJECTID",
            "resultOffset": str(offset),
            "resultRecordCount": str(_ITEMS_AT_ONCE),
        }
        page = _read(get(with_query(parts, token | query, f="json")), _RasterItems)
        yield from page.features
        offset += len(page.features)
        if not page.exceeded:
            return
        if not page.features:
            raise ImageError("the image service says that it has more raster items, and gives none")


def _read[T](text: bytes, kind: type[T]) -> T:
    try:
        fault = msgspec.json.decode(text, type=_ImageServerAnswer).error
        if fault is not None:
            said = " ".join(filter(None, (fault.message, *(fault.details or ()))))[:300]
            raise ImageError(f"the image service answers with error {fault.code}: {said}")
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise ImageError(f"the image service gives what its interface does not have: {err}") from err
