"""Links to services of images: which service a link means, and the images that it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import msgspec
import numpy as np

from processes.errors import ImageError
from processes.imagery.remote_source import RemoteAccess
from processes.imagery.services.arcgis_image import image_server_images, is_image_server
from processes.imagery.services.grid_source import GridSource
from processes.imagery.services.ogc_coverage import coverage_of, is_coverage
from processes.imagery.services.ogc_map import is_ogc_map, ogc_map
from processes.imagery.services.tile_content import decode_tile
from processes.imagery.services.wms import is_wms, wms_capabilities_link, wms_service
from processes.imagery.services.wmts import is_wmts, wmts_capabilities_link, wmts_service
from processes.imagery.services.xyz import is_xyz, require_xyz, xyz_service
from processes.sources.host_links import display_link
from processes.sources.queries import parameter, service_link

_WHITE = 255
_NO_NAMES = ("/", "ImageServer", "map", "coverage")
"""Parts of paths that no image is called by."""


class ServiceLink(msgspec.Struct, frozen=True):
    """A link to a service, with what else of a request decides about its images."""

    href: str
    media_type: str
    """That the client states; empty = none."""
    cell_size: float | None
    """Input `cellSize`; None = none."""
    separate: bool
    """Whether `processingMode` is `separate`."""

    @property
    def is_service(self) -> bool:
        """Whether the link means a service that gives images by tiles."""
        if not self.href.lstrip().lower().startswith(("http:", "https:")):
            return False
        return (
            is_xyz(self.href)
            or is_image_server(self.href)
            or is_ogc_map(self.href)
            or is_coverage(self.href)
            or is_wms(self.href, self.media_type)
            or is_wmts(self.href, self.media_type)
        )

    def require_known(self) -> None:
        """Raise ImageError where the link is a template of tiles of a kind that is not read."""
        if is_xyz(self.href):
            require_xyz(self.href)

    @property
    def name(self) -> str:
        """What the image is called before the service is asked."""
        parts, given = service_link(self.href)
        layer = parameter(given, "layers") or parameter(given, "layer")
        plain = [part for part in PurePosixPath(parts.path).parts if "{" not in part and part not in _NO_NAMES]
        return layer or (plain[-1] if plain else parts.hostname or "image")


class ServedFile(msgspec.Struct, frozen=True):
    """An image that a service gives as one file."""

    href: str
    name: str


def service_images(
    link: ServiceLink, get: Callable[[str], bytes], access: RemoteAccess | None
) -> Iterator[GridSource | ServedFile]:
    """Yield the images that a service gives.

    Args:
        link: to the service.
        get: requests a URL.
        access: how its tiles are reached; None = they are not.

    Raises:
        ServiceError: the service does not answer, or not as such a service does.
    """
    if is_image_server(link.href):
        for image in image_server_images(link.href, get, link.cell_size, link.separate):
            yield GridSource(image.request, image.grid, image.name, image.bands, image.dtype, (), access)
    elif is_coverage(link.href):
        coverage = coverage_of(link.href, get)
        if coverage.request is None or coverage.grid is None:
            yield ServedFile(coverage.href, coverage.name)
        else:
            yield GridSource(coverage.request, coverage.grid, coverage.name, coverage.bands, coverage.dtype, (), access)
    elif is_ogc_map(link.href):
        name, maps, grid = ogc_map(link.href, get, link.cell_size)
        yield _tried(GridSource(maps, grid, name, access=access), get)
    elif is_xyz(link.href):
        template, grid = xyz_service(link.href, link.cell_size)
        yield GridSource(template, grid, link.name, access=access)
    elif is_wmts(link.href, link.media_type):
        template, grid = wmts_service(link.href, get(wmts_capabilities_link(link.href)), link.cell_size)
        yield GridSource(template, grid, link.name, access=access)
    else:
        request, grid = wms_service(link.href, get(wms_capabilities_link(link.href)), link.cell_size)
        yield _tried(GridSource(request, grid, link.name, access=access), get)


def _tried(source: GridSource, get: Callable[[str], bytes]) -> GridSource:
    """Return a source whose tile in the middle was requested; warn where that is white all over.

    Servers answer so where a box lies elsewhere, as with the axes of the CRS in another order.

    Raises:
        ImageError: the service refuses the request.
    """
    grid = source.grid
    row, column = grid.height // grid.tile_height // 2, grid.width // grid.tile_width // 2
    window = grid.window(row, column)
    href = source.service.href(window)
    tile = decode_tile(get(href), window, source.bands, f"image {source.name!r}: {display_link(href)}")
    if len(tile.cells) not in (1, source.bands) or tile.cells.dtype != source.dtype:
        raise ImageError(f"image {source.name!r}: its maps have {len(tile.cells)} bands of type {tile.cells.dtype}")
    if bool(np.all(tile.cells == _WHITE)) or (tile.valid is not None and not tile.valid.any()):
        warning = "the map in the middle is empty, or white all over: look at layer, CRS and box"
        return GridSource(source.service, grid, source.name, warnings=(warning,), access=source.access)
    return source
