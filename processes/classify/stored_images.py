"""The images of a finished result as tiles of a web map, as long as they can be read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from processes.classify.stored_chips import ChipGoneError, ChipSources, located, read_sources, stamps_of
from processes.crs.web_mercator import TileAddress, WorldBox
from processes.errors import ImageError, RequestError
from processes.imagery.map_tiles import TILE_PX, ShownImage, draw, shown_image, zooms
from processes.imagery.pictures import picture_webp
from processes.imagery.remote_source import RemoteAccess
from processes.imagery.source import require_unchanged
from processes.sources.seal import Seal

_MOST_OF_A_TILE = 12
"""Images that a tile shows at most."""
_LOOKED_AT = 8
"""Images by which the zooms of all are judged."""


class StoredImages:
    """The images of a result.

    Args:
        sources: what is known of them.
    """

    def __init__(self, sources: ChipSources) -> None:
        self._sources = sources
        self._shown = [
            shown_image(image, selection.bands)
            for image, selection in zip(sources.images, sources.selections, strict=True)
        ]
        self._boxes: NDArray[np.float64] = np.array([shown.box for shown in self._shown]).reshape(-1, 4)

    @property
    def extent(self) -> WorldBox | None:
        """The box around all; None = none has a place on the map."""
        boxes = self._boxes[~np.isnan(self._boxes[:, 0])]
        if not len(boxes):
            return None
        return WorldBox(*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist())

    def zooms(self, access: RemoteAccess) -> tuple[int, int]:
        """Return the first zoom at which tiles are made, and the last one that shows more than the one before.

        `access` says how remote images are reached.

        Raises:
            ChipGoneError: images are gone or have changed, or cannot be read any more.
        """
        numbers = np.flatnonzero(~np.isnan(self._boxes[:, 0])).tolist()
        try:
            found = [zooms(shown) for shown in self._opened(numbers[:_LOOKED_AT], access)]
        except (ImageError, FileNotFoundError) as err:
            raise ChipGoneError("they cannot be read any more") from err
        return max(first for first, _ in found), max(last for _, last in found)

    def paths(self, address: TileAddress | None = None) -> list[Path]:
        """Return the files of the images that a tile shows, or of those by which all are judged; relative = gone."""
        numbers = range(len(self._shown))[:_LOOKED_AT] if address is None else self._near(address)
        return [path for number in numbers for path in self._sources.images[number].source.paths]

    def tile(self, address: TileAddress, access: RemoteAccess) -> bytes | None:
        """Return a tile as WebP, None = nothing is to be seen there.

        Args:
            address: of the tile.
            access: how remote images are reached.

        Raises:
            ForbiddenError: the configuration does not allow the host of an image any more.
            ChipGoneError: images are gone or have changed, or cannot be read any more.
        """
        picture = np.zeros((4, TILE_PX, TILE_PX), np.uint8)
        for shown in self._opened(self._near(address), access):
            try:
                draw(shown, address, picture)
            except (ImageError, FileNotFoundError) as err:
                raise ChipGoneError(f"the image {shown.image.name!r} cannot be read any more") from err
            if picture[3].all():
                break
        return picture_webp(picture) if picture[3].any() else None

    def _near(self, address: TileAddress) -> list[int]:
        """Return the images that a tile shows, by their indices: the first ones in the client's order."""
        west, north, east, south = self._boxes.T
        box = address.box
        with np.errstate(invalid="ignore"):
            touching = (west <= box.east) & (north <= box.south) & (south >= box.north) & (east >= box.west)
            beyond = (west <= box.east - 1) & (north <= box.south) & (south >= box.north) & (east >= box.west - 1)
            beyond |= (west <= box.east + 1) & (north <= box.south) & (south >= box.north) & (east >= box.west + 1)
        numbers: list[int] = np.flatnonzero(touching | beyond)[:_MOST_OF_A_TILE].tolist()
        return numbers

    def _opened(self, numbers: Sequence[int], access: RemoteAccess) -> list[ShownImage]:
        """Return images, whose files are as they were."""
        sources = self._sources
        images = [located(sources.images[number], True, access) for number in numbers]
        try:
            require_unchanged((image.source for image in images), stamps_of(images, sources.file_stamps))
        except RequestError as err:
            raise ChipGoneError("; ".join(fault.detail for fault in err.faults)) from err
        return [
            msgspec.structs.replace(self._shown[number], image=image)
            for number, image in zip(numbers, images, strict=True)
        ]


@lru_cache(maxsize=8)
def stored_images(path: Path, seal: Seal) -> StoredImages:
    """Return the images of a result.

    Args:
        path: the file that `store_chips` wrote; it never changes.
        seal: that `store_chips` had.
    """
    with pa.memory_map(str(path)) as source:
        return StoredImages(read_sources(pa.ipc.open_file(source), seal))
