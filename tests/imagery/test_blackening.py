"""Masks and zeros by bits equal the plain way, cell by cell."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from rasterio.features import rasterize

from processes.imagery.decoded_tile import zero_all_but
from processes.imagery.outline import polygon_masks


@pytest.mark.parametrize("width", [1, 7, 63, 64, 65, 128, 200])
def test_masks_of_any_width_are_those_of_rasterize(width: int) -> None:
    rng = np.random.default_rng(width)
    height = 40
    origins = rng.integers(-50, 50, (60, 2))
    corners = origins[:, None] + rng.uniform(-30, 1.3, (60, 9, 2)) * 0.7 * (width, height) + (width, height / 2)
    polygons = np.array([shapely.Polygon(points) for points in corners], object)
    masks = polygon_masks(polygons, origins, (width, height))
    assert masks.shape == (60, height, width)
    assert masks.dtype == bool
    for mask, origin, points in zip(masks, origins, corners, strict=True):
        expected = rasterize([shapely.Polygon(points - origin)], (height, width), dtype="uint8")
        np.testing.assert_array_equal(mask, expected != 0)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "uint32", "float32", "float64"])
def test_cells_outside_a_mask_become_zero_whatever_they_are(dtype: str) -> None:
    rng = np.random.default_rng(3)
    cells = (rng.standard_normal((4, 3, 9, 11)) * 100).astype(dtype)
    if cells.dtype.kind == "f":
        cells[rng.random(cells.shape) < 0.2] = np.nan
    mask = rng.random((4, 1, 9, 11)) < 0.5
    expected = np.where(mask, cells, np.zeros((), dtype))
    by_columns = cells.transpose(1, 0, 2, 3).copy().transpose(1, 0, 2, 3)
    for found in (cells, by_columns):
        zero_all_but(found, mask)
        np.testing.assert_array_equal(found, expected)
        assert not np.signbit(np.where(mask, 1, found)).any()
