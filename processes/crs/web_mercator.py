"""Web Mercator (EPSG:3857) and its tiles. Places of it are in units of the world: x and y from 0 to 1, y down."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

MAX_LATITUDE = math.degrees(math.atan(math.sinh(math.pi)))
"""The map ends there."""
MAX_ZOOM = 24
WORLD_METRES = 2 * math.pi * 6378137.0
"""Side of the world in units of EPSG:3857."""


class WorldBox(NamedTuple):
    """A part of the map, in units of the world."""

    west: float
    north: float
    east: float
    south: float

    def widened(self, share: float) -> WorldBox:
        """Return the part with a margin of a share of its sides."""
        x, y = (self.east - self.west) * share, (self.south - self.north) * share
        return WorldBox(self.west - x, self.north - y, self.east + x, self.south + y)


class TileAddress(msgspec.Struct, frozen=True):
    """A tile of the map: at zoom 0 one is the world, and each has four at the next one."""

    zoom: int
    column: int
    row: int

    @property
    def exists(self) -> bool:
        """Whether there is such a tile."""
        return self.zoom <= MAX_ZOOM and max(self.column, self.row) < 2**self.zoom

    @property
    def box(self) -> WorldBox:
        """Return the part of the map that it is."""
        side = 0.5**self.zoom
        west, north = self.column * side, self.row * side
        return WorldBox(west, north, west + side, north + side)


def to_world(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return longitudes and latitudes, `(n, 2)`, as places; latitudes beyond the map's end lie at its end."""
    with np.errstate(invalid="ignore"):
        sines = np.sin(np.radians(np.clip(lonlat[:, 1], -MAX_LATITUDE, MAX_LATITUDE)))
    return np.stack([lonlat[:, 0] / 360 + 0.5, 0.5 - np.arctanh(sines) / (2 * np.pi)], axis=1)


def to_longitude_latitude(box: WorldBox) -> tuple[float, float, float, float]:
    """Return west, south, east and north of a part of the map in degrees."""

    def latitude(y: float) -> float:
        return math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * y))))

    return box.west * 360 - 180, latitude(box.south), box.east * 360 - 180, latitude(box.north)
