"""The way from one CRS to another, vertex by vertex."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import msgspec
import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from processes.crs.longitudes import beside, full_turn, in_one_piece, unbroken
from processes.crs.sameness import horizontal, same_coordinates
from processes.errors import InputError


class CrsTransform(msgspec.Struct, frozen=True):
    """The transformation from one CRS to another, of each vertex, in x, y order; Z and M stay as they are."""

    source: pyproj.CRS
    target: pyproj.CRS

    @property
    def is_identity(self) -> bool:
        """Return whether coordinates stay as they are."""
        return same_coordinates(self.source, self.target)

    def objects(self, geometries: NDArray[np.object_]) -> NDArray[np.object_]:
        """Return geometries in the target CRS, each in one piece; heights are dropped where it has to be put together.

        Where the target has longitudes, they go on beyond its antimeridian: parts of an object that was cut there are
        side by side, and none jumps from one end to the other.
        """
        moved, turn, source_turn = self.geometries(geometries), full_turn(self.target), full_turn(self.source)
        if turn is None:
            return moved
        if source_turn is None:
            moved = unbroken(moved, turn)
        elif not self.is_identity:
            moved = beside(moved, geometries, turn, source_turn)
        return in_one_piece(moved, turn)

    def geometries(self, geometries: NDArray[np.object_]) -> NDArray[np.object_]:
        """Return geometries in the target CRS; None stays None, and a vertex that cannot be transformed is infinite."""
        if self.is_identity:
            return geometries
        transformer = transformer_between(horizontal(self.source).to_wkt(), horizontal(self.target).to_wkt())

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
def transformer_between(source_wkt: str, target_wkt: str) -> pyproj.Transformer:
    """Return PROJ's way from one CRS to another, in x, y order.

    Raises:
        InputError: there is none.
    """
    try:
        return pyproj.Transformer.from_crs(source_wkt, target_wkt, always_xy=True)
    except pyproj.exceptions.ProjError as err:
        raise InputError("there is no way from one of the CRS to the other") from err
