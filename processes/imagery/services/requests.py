"""Requests of tiles: what of a service a saved plan keeps, and the link that it makes for a tile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from processes.imagery.services.tile_grid import TileWindow
from processes.sources.queries import link_with

PICTURES = "image/png, image/jpeg;q=0.9, */*;q=0.1"
TIFFS = "image/tiff, */*;q=0.1"


class TileService(Protocol):
    """Makes the request of a tile."""

    @property
    def accept(self) -> str:
        """Media types for the header `Accept`."""

    @property
    def may_be_absent(self) -> bool:
        """Whether the service may lack tiles."""

    @property
    def takes_any_box(self) -> bool:
        """Whether it gives any box with any size of cells."""

    def href(self, window: TileWindow) -> str:
        """Return the request of a tile."""


class TileTemplate(msgspec.Struct, frozen=True, tag="template"):
    """Tiles that are files of a pyramid: XYZ and WMTS."""

    template: str
    """With `{x}` and `{y}`, or `{-y}` for rows from the lower edge."""
    first_row: int
    """Of the grid's upper left tile in its level of the pyramid."""
    first_column: int
    rows: int
    """Of the level."""

    accept = PICTURES
    may_be_absent = True
    takes_any_box = False

    def href(self, window: TileWindow) -> str:
        row, column = window.row + self.first_row, window.column + self.first_column
        names = {"{x}": column, "{y}": row, "{-y}": self.rows - 1 - row}
        link = self.template
        for name, number in names.items():
            link = link.replace(name, str(number))
        return link


class BoxRequest(msgspec.Struct, frozen=True, tag="box"):
    """Requests of a box with its size in cells: WMS, OGC API - Maps and Coverages, and Esri's image services."""

    base: str
    """Without a query."""
    query: dict[str, str]
    """Parameters that are the same for all tiles."""
    box: str = "bbox"
    """Name of the parameter of the box."""
    is_north_first: bool = False
    """True = y stands before x in the box."""
    size: tuple[str, ...] = ("width", "height")
    """Names of the parameters of the size: of width and height, or of both in one; empty = it follows from the box."""
    accept: str = PICTURES
    inset: float = 0.0
    """Share of a cell by which the box is smaller on each side."""

    may_be_absent = False

    @property
    def takes_any_box(self) -> bool:
        return bool(self.size)

    def href(self, window: TileWindow) -> str:
        across = (window.right - window.left) / window.width * self.inset
        along = (window.top - window.bottom) / window.height * self.inset
        box = window.left + across, window.bottom + along, window.right - across, window.top - along
        values = [str(window.width), str(window.height)]
        sizes = (
            dict(zip(self.size, values if len(self.size) > 1 else [",".join(values)], strict=True)) if self.size else {}
        )
        return self.href_of(box, sizes)

    def href_of(self, box: tuple[float, float, float, float], sizes: Mapping[str, str] | None = None) -> str:
        """Return the request of a box: minx, miny, maxx, maxy; `sizes` are the parameters of its size."""
        left, bottom, right, top = box
        edges = (bottom, left, top, right) if self.is_north_first else (left, bottom, right, top)
        return link_with(self.base, {**self.query, self.box: ",".join(map(repr, edges)), **(sizes or {})})
