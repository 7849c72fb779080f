"""Coordinate reference systems: how clients name them, and the transformation between two."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
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
        InputError: the text names no CRS.
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
def crs_from_text(text: str) -> pyproj.CRS:
    """Return the CRS of a WKT or a PROJJSON that this service has written or checked."""
    return pyproj.CRS.from_user_input(text)


def names_places(wkt: str) -> bool:
    """Return whether PROJ understands a CRS, and it is geographic or projected."""
    try:
        crs = crs_from_text(wkt)
    except pyproj.exceptions.CRSError:
        return False
    return bool(crs.is_projected or crs.is_geographic)


def same_coordinates(first: pyproj.CRS, second: pyproj.CRS) -> bool:
    """Return whether x, y coordinates mean the same in both CRS."""
    return bool(first.equals(second, ignore_axis_order=True))


def is_longitude_latitude(crs: pyproj.CRS) -> bool:
    """Return whether a CRS is CRS84, or EPSG:4326, which counts as CRS84."""
    return same_coordinates(crs, parse_crs(CRS84))


def is_north_first(crs: pyproj.CRS) -> bool:
    """Return whether the authority's axis order is y, x: the northing or the latitude first."""
    first, second = crs.axis_info[:2]
    along_meridian = ("north", "south")
    if (
        first.direction in along_meridian and second.direction in along_meridian
    ):  # near a pole both axes lie along a meridian
        return bool(first.name.lower().startswith("northing"))
    return first.direction in along_meridian


def epsg_name(crs: pyproj.CRS) -> str:
    """Return the authority's name of a CRS, such as `EPSG:n`; without one, the WKT."""
    authority = crs.to_authority()
    return ":".join(authority) if authority else str(crs.to_wkt())


@dataclass(frozen=True, slots=True)
class CrsTransform:
    """The transformation from one CRS to another, of each vertex, in x, y order; Z and M stay as they are."""

    source: pyproj.CRS
    target: pyproj.CRS

    @property
    def is_identity(self) -> bool:
        """Return whether coordinates stay as they are."""
        return same_coordinates(self.source, self.target)

    def geometries(self, geometries: NDArray[np.object_]) -> NDArray[np.object_]:
        """Return geometries in the target CRS; None stays None, and a vertex that cannot be transformed is infinite."""
        if self.is_identity:
            return geometries
        transformer = _transformer(self.source.to_wkt(), self.target.to_wkt())

        def forward(xy: NDArray[np.float64]) -> NDArray[np.float64]:
            result = xy.copy()
            result[:, 0], result[:, 1] = transformer.transform(xy[:, 0], xy[:, 1])
            return result

        has_z, has_m = shapely.has_z(geometries), shapely.has_m(geometries)
        result = np.array(geometries, dtype=object)
        for is_selected, include_z in ((~has_z & ~has_m, False), (has_z & ~has_m, True)):
            if is_selected.any():
                result[is_selected] = shapely.transform(geometries[is_selected], forward, include_z=include_z)
        if has_m.any():
            result[has_m] = _transform_with_m(geometries[has_m], forward)
        return result


def _transform_with_m(
    geometries: NDArray[np.object_], forward: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.object_]:
    """Transform geometries with M in their WKB, as shapely's `transform` drops M."""
    texts = [bytearray(text) for text in shapely.to_wkb(geometries, output_dimension=4, byte_order=1, flavor="iso")]
    runs = [run for text in texts for run in _vertices(text)]
    if runs:
        points = np.concatenate([run[:, :2] for run in runs])
        has_value = ~np.isnan(points).any(axis=1)  # an empty point is written as NaN
        points[has_value] = forward(points[has_value])
        for run, moved in zip(runs, np.split(points, np.cumsum([len(run) for run in runs])), strict=False):
            run[:, :2] = moved
    return np.asarray(shapely.from_wkb([bytes(text) for text in texts]))


def _vertices(text: bytearray) -> Iterator[NDArray[np.float64]]:
    """Yield views of the vertices in little-endian ISO WKB, each `(n, dimensions)`, float64."""
    position = 0
    while position < len(text):
        kind, position = int.from_bytes(text[position + 1 : position + 5], "little"), position + 5
        width = (2, 3, 3, 4)[kind // 1000]
        parts = 1
        if kind % 1000 >= 3:  # a polygon's rings; each part of a multi-part geometry has its own type
            parts, position = int.from_bytes(text[position : position + 4], "little"), position + 4
        for _ in range(parts if kind % 1000 <= 3 else 0):
            count = 1
            if kind % 1000 > 1:
                count, position = int.from_bytes(text[position : position + 4], "little"), position + 4
            yield np.frombuffer(text, "<f8", count * width, position).reshape(count, width)
            position += count * width * 8


@lru_cache(maxsize=64)
def _transformer(source_wkt: str, target_wkt: str) -> pyproj.Transformer:
    try:
        return pyproj.Transformer.from_crs(source_wkt, target_wkt, always_xy=True)
    except pyproj.exceptions.ProjError as err:
        raise InputError("there is no way from one of the CRS to the other") from err
