"""Cell sizes of images beside those that a model was trained on."""

from __future__ import annotations

import math

import pyproj

from processes.classify.planning.sources import Sources
from processes.crs import crs_from_text, ground_metres, parse_crs, same_coordinates
from processes.errors import InputError
from processes.imagery.image import Image
from processes.model.definition import CellSize

_TOLERANCE = 0.02
"""Cell sizes that differ by this share are the same: both are rounded, and degrees vary with the latitude."""


def cell_size_warnings(sources: Sources) -> list[str]:
    """Warn of the first image that is sampled outside the model's range of cell sizes."""
    definition = sources.model.definition
    requested = sources.options.cell_size if sources.layer is not None and definition.fixed_size else None
    for image in sources.images:
        if not image.is_georeferenced:
            continue
        cell_size = requested or image.grid.cell_size[0]
        low, high = (_in_units_of(image, limit) for limit in (definition.min_cell_size, definition.max_cell_size))
        is_fine = low is not None and cell_size < low * (1 - _TOLERANCE)
        is_coarse = high is not None and cell_size > high * (1 + _TOLERANCE)
        if is_fine or is_coarse:
            limits = f"{low or 0:g} to {'any' if high is None else format(high, 'g')}"
            return [f"the cell size {cell_size:g} of image {image.name!r} lies outside the model's range, {limits}"]
    return []


def _in_units_of(image: Image, limit: CellSize | None) -> float | None:
    """Return a limit in the units of an image's CRS; None = there is none."""
    own = image.grid.crs
    if limit is None:
        return None
    if limit.crs is None or own is None:
        return limit.size
    try:
        crs = parse_crs(limit.crs) if ":" in limit.crs[:8] else crs_from_text(limit.crs)
        if same_coordinates(crs, own):
            return limit.size
        latitude = _latitude(image, own)
        return limit.size * ground_metres(crs, 1, latitude) / ground_metres(own, 1, latitude)
    except (InputError, pyproj.exceptions.ProjError):  # a CRS that PROJ does not know
        return limit.size


def _latitude(image: Image, crs: pyproj.CRS) -> float:
    """Return the latitude of an image's centre, in degrees; 0 where the centre is on no map."""
    x, y = image.grid.corners().mean(axis=0).tolist()
    base = crs.geodetic_crs
    if crs.is_projected and base is not None:
        x, y = pyproj.Transformer.from_crs(crs, base, always_xy=True).transform(x, y)
    return y if math.isfinite(y) else 0.0
