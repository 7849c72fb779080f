"""Geometries on their way out: where they lie in the output's CRS, and of which types and dimensions they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyproj
import shapely
from numpy.typing import NDArray

from processes.crs import CrsTransform
from processes.features.layer import from_wkb


@dataclass(slots=True)
class OutputTransform:
    """Moves a result's geometries into the CRS of the output, and counts those that have no place there."""

    crs_transform: CrsTransform
    only_finite: bool = False
    """True = the format has no numbers that are not finite. Else what comes in the CRS of the output stays as it is."""
    lost: int = 0
    """So many geometries had no place so far."""

    @property
    def is_needed(self) -> bool:
        """Whether geometries may come out other than they go in."""
        return self.only_finite or not self.crs_transform.is_identity

    def moved(self, wkb: pa.Array | None, count: int) -> NDArray[np.object_]:
        """Return geometries where they lie in the output; None for those that have no place in its CRS."""
        if wkb is None:
            return np.full(count, None)
        geometries = self.crs_transform.geometries(from_wkb(wkb.to_pylist(), 0))
        if not self.is_needed:
            return geometries
        places, owners = shapely.get_coordinates(geometries, return_index=True)
        nowhere = np.unique(owners[~np.isfinite(places).all(axis=1)])
        self.lost += len(nowhere)
        result = geometries.copy()
        result[nowhere] = None
        return result


def output_transform(source: pyproj.CRS | None, target: pyproj.CRS | None) -> OutputTransform | None:
    """Return what moves geometries from one CRS to another, or nowhere if that is None; None = there are none."""
    return None if source is None else OutputTransform(CrsTransform(source, target or source))


def without_measures(geometries: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return geometries without M; heights stay."""
    has_m = shapely.has_m(geometries)
    if not has_m.any():
        return geometries
    result = geometries.copy()
    high = has_m & shapely.has_z(geometries)
    result[high] = shapely.from_wkb(shapely.to_wkb(geometries[high], output_dimension=3))
    result[has_m & ~high] = shapely.from_wkb(shapely.to_wkb(geometries[has_m & ~high], output_dimension=2))
    return result


def iso_wkb(geometries: NDArray[np.object_]) -> pa.Array:
    """Return geometries as ISO WKB, in all their dimensions."""
    return pa.array(shapely.to_wkb(geometries, output_dimension=4, flavor="iso"), pa.large_binary())


def flatgeobuf_kind(kinds: frozenset[int]) -> int:
    """Return the one ISO type that a FlatGeobuf of these types gets; 0 = each geometry has its own, in x and y only.

    Single and multi-part geometries with heights become multi-part ones, as a layer of several types has no heights.
    """
    types, dimensions = {kind % 1000 for kind in kinds}, {kind // 1000 for kind in kinds}
    families = {kind if kind <= 3 else kind - 3 for kind in types}
    if len(families) != 1 or (len(types) > 1 and dimensions == {0}):
        return 0
    common = types.pop() if len(types) == 1 else families.pop() + 3
    if len(dimensions) == 1:
        return common + 1000 * dimensions.pop()
    return common + (1000 if dimensions & {1, 3} else 0)
