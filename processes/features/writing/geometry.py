"""Geometries in the CRS of the output, and in the dimensions and the encoding that formats take."""

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
    """Transforms a result's geometries to the CRS of the output, and counts those that have no place there."""

    crs_transform: CrsTransform
    """From the result's CRS to that of the output."""
    only_finite: bool = False
    """True = the format has no numbers that are not finite. False = where both CRS are one, geometries stay as is."""
    lost_count: int = 0
    """Geometries so far that had no place in the CRS of the output."""

    @property
    def is_needed(self) -> bool:
        """Whether `apply` can change geometries."""
        return self.only_finite or not self.crs_transform.is_identity

    def apply(self, wkb: pa.Array | None, count: int) -> NDArray[np.object_]:
        """Return geometries in the CRS of the output, `(count,)`; None for those that have no place there.

        Args:
            wkb: the geometries; None = there are none.
            count: how many they are.
        """
        if wkb is None:
            return np.full(count, None)
        geometries = self.crs_transform.geometries(from_wkb(wkb.to_pylist(), 0))
        if not self.is_needed:
            return geometries
        coordinates, owners = shapely.get_coordinates(geometries, return_index=True)
        lost = np.unique(owners[~np.isfinite(coordinates).all(axis=1)])
        self.lost_count += len(lost)
        result = geometries.copy()
        result[lost] = None
        return result


def output_transform(source: pyproj.CRS | None, target: pyproj.CRS | None) -> OutputTransform | None:
    """Return the transform from a result's CRS to the output's; None = the result is a table.

    Args:
        source: CRS of the result; None = it is a table.
        target: CRS of the output; None = the result's own.
    """
    return None if source is None else OutputTransform(CrsTransform(source, target or source))


def lost_count(transform: OutputTransform | None) -> int:
    """Return how many geometries a transform lost; 0 for a table, which has no transform."""
    return 0 if transform is None else transform.lost_count


def without_measures(geometries: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return geometries without M; heights stay."""
    has_m = shapely.has_m(geometries)
    if not has_m.any():
        return geometries
    result = geometries.copy()
    has_both = has_m & shapely.has_z(geometries)
    result[has_both] = shapely.from_wkb(shapely.to_wkb(geometries[has_both], output_dimension=3))
    only_m = has_m & ~has_both
    result[only_m] = shapely.from_wkb(shapely.to_wkb(geometries[only_m], output_dimension=2))
    return result


def iso_wkb(geometries: NDArray[np.object_]) -> pa.Array:
    """Return geometries as ISO WKB, in all their dimensions."""
    return pa.array(shapely.to_wkb(geometries, output_dimension=4, flavor="iso"), pa.large_binary())
