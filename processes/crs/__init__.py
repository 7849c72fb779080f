"""Coordinate reference systems: their names, when two are the same, and the way from one to another.

Coordinates are in x, y order everywhere, whatever the authority of a CRS says.
"""

from processes.crs.ground import ground_metres
from processes.crs.names import (
    CRS84,
    crs_from_text,
    crs_label,
    crs_name,
    crs_uri,
    esri_wkt,
    is_in_x_y_order,
    names_places,
    parse_crs,
    without_code,
)
from processes.crs.sameness import horizontal, is_longitude_latitude, is_north_first, same_coordinates
from processes.crs.transform import CrsTransform

__all__ = [
    "CRS84",
    "CrsTransform",
    "crs_from_text",
    "crs_label",
    "crs_name",
    "crs_uri",
    "esri_wkt",
    "ground_metres",
    "horizontal",
    "is_in_x_y_order",
    "is_longitude_latitude",
    "is_north_first",
    "names_places",
    "parse_crs",
    "same_coordinates",
    "without_code",
]
