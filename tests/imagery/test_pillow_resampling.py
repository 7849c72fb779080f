"""Resampling of all bands at once equals Pillow's own of each band, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from processes.imagery.decoded_tile import Cells
from processes.imagery.pillow_resampling import resample

Box = tuple[float, float, float, float]


def by_pillow(cells: Cells, size: tuple[int, int], box: Box | None = None) -> NDArray[np.float32]:
    """Resample band by band."""
    planes = (Image.fromarray(band.astype(np.float32)) for band in cells)
    return np.stack([np.asarray(plane.resize(size, Image.Resampling.BILINEAR, box=box)) for plane in planes])


def random_cells(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Cells:
    if dtype == "float32":
        return (rng.standard_normal(shape) * 1000).astype(np.float32)
    return rng.integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_random_cells_are_those_of_pillow(dtype: str) -> None:
    rng = np.random.default_rng(17)
    for _ in range(400):
        height, width = np.exp(rng.uniform(0, 6, 2)).astype(int).tolist()
        size = tuple(np.exp(rng.uniform(0, 5, 2)).astype(int).tolist())
        cells = random_cells(rng, dtype, (int(rng.integers(1, 5)), height, width))
        np.testing.assert_array_equal(resample(cells, size), by_pillow(cells, size), err_msg=f"{cells.shape} {size}")


@pytest.mark.parametrize("size", [(64, 64), (48, 80), (80, 48)])
def test_sizes_around_that_of_the_result_are_resampled_in_the_order_of_pillow(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(18)
    for width in range(size[0] - 3, size[0] + 12):
        for height in range(size[1] - 3, size[1] + 24):
            cells = random_cells(rng, "uint8", (2, height, width))
            np.testing.assert_array_equal(resample(cells, size), by_pillow(cells, size), err_msg=f"{width} x {height}")


def test_cells_may_lie_in_memory_in_any_order() -> None:
    cells = random_cells(np.random.default_rng(19), "uint8", (70, 3, 50))
    by_rows, by_columns = cells.transpose(1, 0, 2), cells.transpose(1, 2, 0)
    np.testing.assert_array_equal(resample(by_rows, (64, 48)), by_pillow(by_rows, (64, 48)))
    np.testing.assert_array_equal(resample(by_columns, (64, 48)), by_pillow(by_columns, (64, 48)))


def test_a_part_of_the_cells_is_resampled() -> None:
    cells = random_cells(np.random.default_rng(20), "float32", (3, 90, 70))
    box = (0.0, 0.0, 69.25, 88.5)
    np.testing.assert_array_equal(resample(cells, (64, 48), box), by_pillow(cells, (64, 48), box))


@pytest.mark.parametrize("shape", [(5, 1100, 900), (4, 30, 40)])
def test_many_cells_are_resampled_too(shape: tuple[int, int, int]) -> None:
    """Pillow keeps more than 16 MB in several pieces of memory."""
    cells = random_cells(np.random.default_rng(21), "uint8", shape)
    np.testing.assert_array_equal(resample(cells, (1024, 1300)), by_pillow(cells, (1024, 1300)))
