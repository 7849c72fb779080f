"""Coordinate reference systems as clients name them, and the way from one to another."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from processes.errors import InputError

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"

_EPSG = re.compile(
    r"(?:EPSG:|urn:ogc:def:crs:EPSG:[^:]*:|https?://www\.opengis\.net/def/crs/EPSG/[^/]+/)(\d{1,6})", re.IGNORECASE
)
_LONGITUDE_LATITUDE = re.compile(
    r"(?:urn:ogc:def:crs:OGC:[^:]*:|https?://www\.opengis\.net/def/crs/OGC/[^/]+/|OGC:)CRS84h?", re.IGNORECASE
)


@lru_cache(maxsize=256)
def parse_crs(text: str) -> pyproj.CRS:
    """Return the CRS that a URI, a URN or `EPSG:n` names.

    Raises:
        InputError: it names none.
    """
    if _LONGITUDE_LATITUDE.fullmatch(text.strip()):
        return pyproj.CRS.from_user_input("OGC:CRS84")
    epsg = _EPSG.fullmatch(text.strip())
    try:
        if epsg:
            crs = pyproj.CRS.from_epsg(int(epsg[1]))
            if not (crs.is_projected or crs.is_geographic):
                raise InputError(f"{text!r} is no CRS of places on the ground: {crs.name}")
            return crs
    except pyproj.exceptions.CRSError as err:
        raise InputError(f"there is no CRS {text!r}") from err
    raise InputError(f"{text[:200]!r} names no CRS; EPSG:n, a CRS URI or {CRS84} do")


@lru_cache(maxsize=256)
def crs_from_wkt(wkt: str) -> pyproj.CRS:
    return pyproj.CRS.from_user_input(wkt)


def names_places(wkt: str) -> bool:
    """Say whether a CRS is one of places on the ground, and one that PROJ understands."""
    try:
        crs = crs_from_wkt(wkt)
    except pyproj.exceptions.CRSError:
        return False
    return bool(crs.is_projected or crs.is_geographic)


def same_coordinates(first: pyproj.CRS, second: pyproj.CRS) -> bool:
    """Say whether coordinates in x, y order mean the same in both."""
    return bool(first.equals(second, ignore_axis_order=True))


def is_longitude_latitude(crs: pyproj.CRS) -> bool:
    """Say whether a CRS is CRS84, or EPSG:4326, which is taken as such."""
    return same_coordinates(crs, parse_crs(CRS84))


def is_north_first(crs: pyproj.CRS) -> bool:
    """Say whether the authority's axis order is y, x: the northing, or the latitude, before the easting."""
    directions = [axis.direction.lower() for axis in crs.axis_info[:2]]
    return len(directions) == 2 and directions[0] in ("north", "south") and directions[1] in ("east", "west")


def epsg_name(crs: pyproj.CRS) -> str:
    """Return `EPSG:n` where there is one, else the WKT."""
    authority = crs.to_authority()
    return ":".join(authority) if authority else str(crs.to_wkt())


@dataclass(frozen=True, slots=True)
class Reprojection:
    """The way from one CRS to another, vertex by vertex, in x, y order; heights stay as they are."""

    source: pyproj.CRS
    target: pyproj.CRS

    @property
    def is_identity(self) -> bool:
        return same_coordinates(self.source, self.target)

    def geometries(self, geometries: NDArray[np.object_]) -> NDArray[np.object_]:
        """Return geometries in the target CRS, missing ones as they are; what has no place there is infinite."""
        if self.is_identity:
            return geometries
        transformer = _transformer(self.source.to_wkt(), self.target.to_wkt())

        def forward(xy: NDArray[np.float64]) -> NDArray[np.float64]:
            result = xy.copy()
            result[:, 0], result[:, 1] = transformer.transform(xy[:, 0], xy[:, 1])
            return result

        has_z = shapely.has_z(geometries)
        result = np.array(geometries, dtype=object)
        result[~has_z] = shapely.transform(geometries[~has_z], forward)
        if has_z.any():
            result[has_z] = shapely.transform(geometries[has_z], forward, include_z=True)
        return result


@lru_cache(maxsize=64)
def _transformer(source_wkt: str, target_wkt: str) -> pyproj.Transformer:
    try:
        return pyproj.Transformer.from_crs(source_wkt, target_wkt, always_xy=True)
    except pyproj.exceptions.ProjError as err:
        raise InputError("there is no way from one of the CRS to the other") from err
