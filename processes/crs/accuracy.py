"""How well the way from one CRS to another is known."""

from __future__ import annotations

import warnings
from functools import lru_cache

import msgspec
import numpy as np
import pyproj
from pyproj.aoi import AreaOfInterest
from pyproj.enums import TransformDirection
from pyproj.transformer import TransformerGroup

from processes.crs.sameness import crs84, horizontal
from processes.crs.transform import CrsTransform, transformer_between
from processes.errors import InputError

# that a file is missing is what is asked for; for good, as `catch_warnings` would take the warnings of other threads
warnings.filterwarnings("ignore", "Best transformation is not available due to missing", UserWarning)

_AROUND = 0.5
"""Degrees around a place in which other ways are looked for."""


class Way(msgspec.Struct, frozen=True):
    """The way that PROJ takes from one CRS to another at a place."""

    accuracy_m: float | None
    """Metres by which a place may be wrong; None = not known."""
    has_no_shift: bool
    """True = the datums differ, and no shift between them is known: coordinates are taken as they are."""


def way_at(transform: CrsTransform, x: float, y: float) -> Way | None:
    """Return the way that leads to a place; None = the CRS are one, or there is no way to this place.

    Args:
        transform: from one CRS to another.
        x: of the place, in the target CRS.
        y: of the place, in the target CRS.
    """
    if transform.is_identity:
        return None
    try:
        transformer = transformer_between(_wkt(transform.source), _wkt(transform.target))
        source = transformer.transform(x, y, direction=TransformDirection.INVERSE)
        if not np.isfinite(source).all() or not np.isfinite(transformer.transform(*source)).all():
            return None
        used = transformer.get_last_used_operation()
    except (InputError, pyproj.exceptions.ProjError):
        return None
    steps = used.operations or ()
    is_ballpark = "Ballpark" in used.description or any(step.has_ballpark_transformation for step in steps)
    return Way(None if used.accuracy is None or used.accuracy < 0 else float(used.accuracy), is_ballpark)


def metres_between(crs: pyproj.CRS, first: tuple[float, float], second: tuple[float, float]) -> float:
    """Return the distance on the ellipsoid between two places.

    Args:
        crs: of the places.
        first: x and y of a place.
        second: x and y of another.
    """
    geodetic, geod = horizontal(crs).geodetic_crs, crs.get_geod()
    if geodetic is None or geod is None:
        return float("nan")
    to_degrees = transformer_between(_wkt(crs), _wkt(geodetic))
    (x1, y1), (x2, y2) = (to_degrees.transform(*place) for place in (first, second))
    factor = np.degrees(geodetic.axis_info[0].unit_conversion_factor)
    return float(geod.inv(x1 * factor, y1 * factor, x2 * factor, y2 * factor)[2])


def missing_grid(transform: CrsTransform, x: float, y: float) -> tuple[str, float] | None:
    """Return the file that this machine lacks for the best way to a place, and the accuracy of that way in metres.

    None = no better way is known. Arguments as `way_at` has them.
    """
    lonlat = transformer_between(_wkt(transform.target), _wkt(crs84())).transform(x, y)
    if not np.isfinite(lonlat).all():
        return None
    return _missing_grid(_wkt(transform.source), _wkt(transform.target), round(lonlat[0]), round(lonlat[1]))


@lru_cache(maxsize=256)
def _missing_grid(source: str, target: str, longitude: int, latitude: int) -> tuple[str, float] | None:
    area = AreaOfInterest(
        max(longitude - _AROUND, -180.0),
        max(latitude - _AROUND, -90.0),
        min(longitude + _AROUND, 180.0),
        min(latitude + _AROUND, 90.0),
    )
    group = TransformerGroup(source, target, always_xy=True, area_of_interest=area)  # type: ignore[arg-type] # pyproj's own
    found = [
        (operation.accuracy, grid.short_name)
        for operation in group.unavailable_operations
        if operation.accuracy is not None and operation.accuracy >= 0
        for grid in operation.grids
        if not grid.available
    ]
    return None if not found else (min(found)[1], float(min(found)[0]))


def _wkt(crs: pyproj.CRS) -> str:
    return str(horizontal(crs).to_wkt())
