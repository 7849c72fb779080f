"""Geometries in the CRS of the output, and in the dimensions and the encoding that formats take."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pyarrow as pa
import pyproj
import shapely
from numpy.typing import NDArray

from processes.crs import CrsTransform
from processes.features.layer import from_wkb


class OutputTransform(msgspec.Struct):
    """Transforms a result's geometries to the CRS of the output, and counts those that have no place there."""

    crs_transform: CrsTransform
    """From the result's CRS to that of the output."""
    only_finite: bool = False
    """True = the format has no numbers that are not finite. False = where both CRS are one, geometries stay as is."""
    count: int = 0
    """Geometries so far."""
    lost_count: int = 0
    """Geometries so far that had no place in the CRS of the output."""
    unlevel_rows: list[int] = msgspec.field(default_factory=list)
    """Positions from 1 of the rows so far with heights that are not finite, where the format has no such numbers."""

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
        if self.only_finite:
            geometries = self._without_endless_heights(geometries)
        self.count += count
        coordinates, owners = shapely.get_coordinates(geometries, return_index=True)
        lost = np.unique(owners[~np.isfinite(coordinates).all(axis=1)])
        self.lost_count += len(lost)
        result = geometries.copy()
        result[lost] = None
        return result

    def _without_endless_heights(self, geometries: NDArray[np.object_]) -> NDArray[np.object_]:
        """Return geometries without the heights that are not finite: GeoJSON has a vertex without a height as x, y."""
        with_heights = np.flatnonzero(shapely.has_z(geometries))
        if not with_heights.size:
            return geometries
        coordinates, owners = shapely.get_coordinates(geometries[with_heights], include_z=True, return_index=True)
        is_endless = ~np.isfinite(coordinates[:, 2])
        if not is_endless.any():
            return geometries
        self.unlevel_rows += (self.count + 1 + with_heights[np.unique(owners[is_endless])]).tolist()
        coordinates[is_endless, 2] = np.nan
        result = geometries.copy()
        result[with_heights] = shapely.set_coordinates(shapely.force_3d(geometries[with_heights]), coordinates)
        return result

    @property
    def warnings(self) -> list[str]:
        """Sentences about the geometries so far."""
        told = []
        if self.lost_count:
            geometries, have, are = ("geometry", "has", "is") if self.lost_count == 1 else ("geometries", "have", "are")
            told.append(f"{self.lost_count} {geometries} {have} no place in the CRS of the result and {are} null")
        if self.unlevel_rows:
            count, first = len(self.unlevel_rows), self.unlevel_rows[0]
            geometries, have, which = (
                ("geometry", "has", "that of row") if count == 1 else ("geometries", "have", "the first is that of row")
            )
            told.append(
                f"{count} {geometries} {have} vertices whose height is not finite; they are written without one: "
                f"{which} {first}"
            )
        return told


def output_transform(source: pyproj.CRS | None, target: pyproj.CRS | None) -> OutputTransform | None:
    """Return the transform from a result's CRS to the output's; None = the result is a table.

    Args:
        source: CRS of the result; None = it is a table.
        target: CRS of the output; None = the result's own.
    """
    return None if source is None else OutputTransform(CrsTransform(source, target or source))


def late_warnings(transform: OutputTransform | None) -> Sequence[str]:
    """Return what is known of the geometries when all are written; nothing of a table, which has no transform."""
    return () if transform is None else transform.warnings


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
