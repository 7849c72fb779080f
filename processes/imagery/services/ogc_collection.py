"""Collections of OGC's APIs, as far as their documents tell of images: where they lie, and what links lead to them."""

from __future__ import annotations

from typing import Any

import msgspec
import pyproj

from processes.crs import CRS84, parse_crs
from processes.errors import ImageError

Box = tuple[float, float, float, float]
"""minx, miny, maxx, maxy."""


class _GridAxis(msgspec.Struct):
    cells: int | None = msgspec.field(default=None, name="cellsCount")


class _SpatialExtent(msgspec.Struct):
    bbox: list[list[float]] = msgspec.field(default_factory=list)
    storage_bbox: list[list[float]] = msgspec.field(default_factory=list, name="storageCrsBbox")
    grid: list[_GridAxis] = msgspec.field(default_factory=list)


class _CollectionExtent(msgspec.Struct):
    spatial: _SpatialExtent = msgspec.field(default_factory=_SpatialExtent)


class _CollectionLink(msgspec.Struct):
    href: str = ""
    rel: str = ""
    type: str | None = None


class OgcCollection(msgspec.Struct):
    """The document of a collection."""

    extent: _CollectionExtent = msgspec.field(default_factory=_CollectionExtent)
    links: list[_CollectionLink] = msgspec.field(default_factory=list)
    crs: list[Any] = msgspec.field(default_factory=list)
    storage_crs: str | None = msgspec.field(default=None, name="storageCrs")

    @property
    def box(self) -> Box | None:
        """The box in longitudes and latitudes; None = it states none, or one that is empty."""
        return _box(self.extent.spatial.bbox)

    @property
    def cells(self) -> tuple[int, int] | None:
        """Columns and rows; None = it does not state both."""
        counts = [axis.cells for axis in self.extent.spatial.grid[:2]]
        return (counts[0], counts[1]) if len(counts) == 2 and counts[0] and counts[1] else None

    def box_in(self, name: str, crs: pyproj.CRS) -> Box:
        """Return the box in a CRS: what is stated where that is the one of storage, else around the other one.

        Args:
            name: of the CRS, as the document has it.
            crs: it.

        Raises:
            ImageError: it states no box.
        """
        stored = _box(self.extent.spatial.storage_bbox)
        if stored is not None and name == self.storage_crs:
            return stored
        if self.box is None:
            raise ImageError("the collection states no box")
        transformer = pyproj.Transformer.from_crs(parse_crs(CRS84), crs, always_xy=True)
        left, bottom, right, top = transformer.transform_bounds(*self.box)
        return left, bottom, right, top

    def links_of(self, relation: str) -> list[_CollectionLink]:
        """Return the links of a relation, named by the end of its URI."""
        return [link for link in self.links if link.rel.rpartition("/")[2] == relation]


def read_collection(content: bytes, shown: str) -> OgcCollection:
    """Read the document of a collection; raise ImageError where it is none. `shown` is what messages call it."""
    try:
        return msgspec.json.decode(content, type=OgcCollection)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise ImageError(f"{shown} is no document of a collection: {err}") from err


def _box(boxes: list[list[float]]) -> Box | None:
    """Return the first of boxes, which holds all others; heights are left out."""
    if not boxes or len(boxes[0]) not in (4, 6):
        return None
    half = len(boxes[0]) // 2
    (left, bottom), (right, top) = boxes[0][:2], boxes[0][half : half + 2]
    return (left, bottom, right, top) if left < right and bottom < top else None
