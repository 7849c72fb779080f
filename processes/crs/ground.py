"""Lengths on the ground: what a cell of a CRS measures in metres, about."""

from __future__ import annotations

import math

import pyproj

_EARTH_RADIUS_M = 6_371_008.8
_MERCATOR = "mercator"
"""In the names of projections whose scale grows with the latitude, from 1 at the equator."""


def ground_metres(crs: pyproj.CRS, size: float, latitude: float) -> float:
    """Return the length in metres that a number of a CRS's units has on the ground, to a percent.

    Args:
        crs: geographic or projected.
        size: in its units.
        latitude: of the place, in degrees: Mercator's projections, Web Mercator for one, stretch all lengths there.
    """
    unit = crs.axis_info[0].unit_conversion_factor
    if crs.is_geographic:
        return size * unit * _EARTH_RADIUS_M
    method = "" if crs.coordinate_operation is None else crs.coordinate_operation.method_name.lower()
    is_stretched = _MERCATOR in method and "transverse" not in method and "oblique" not in method
    return size * unit * (math.cos(math.radians(latitude)) if is_stretched else 1)
