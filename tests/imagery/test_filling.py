"""Cells of another image of a mosaic: a box of them at once equals each from the cell that holds its centre."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

from processes.imagery.filling import _fill_cell_by_cell, fill
from processes.imagery.grid import Grid
from processes.imagery.image import open_image
from processes.imagery.source import FileSource, gdal_settings
from processes.imagery.tiles import BandSelection, TileReader
from rasters import NORTH_UP, SOUTH_UP, make_raster, rotated

SIDE = 90
MOVES = [(60, 0), (-17, 33), (60.3, -40.8), (0.5, 20), (20, 0.25), (200, 0)]
"""Columns and rows to the other image."""


def grid(transform: Affine) -> Grid:
    return Grid(transform, SIDE, SIDE)


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("transform", [NORTH_UP, SOUTH_UP, rotated(20)], ids=["north-up", "south-up", "rotated"])
@pytest.mark.parametrize("nodata_boxes", [(), ((0, 0, 30, 50),)], ids=["valid", "nodata"])
def test_a_box_is_filled_as_its_cells_are(
    tmp_path: Path,
    move: tuple[float, float],
    transform: Affine,
    nodata_boxes: tuple[tuple[int, int, int, int], ...],
) -> None:
    options: dict[str, Any] = {"width": SIDE, "height": SIDE, "blocksize": 16, "nodata_boxes": nodata_boxes}
    options["nodata"] = 0 if nodata_boxes else None
    paths = [
        make_raster(tmp_path / "a.tif", transform=transform, seed=1, **options),
        make_raster(tmp_path / "b.tif", transform=transform @ Affine.translation(*move), seed=2, **options),
    ]
    images = [open_image(FileSource(path, path.name), 10**9) for path in paths]
    rng = np.random.default_rng(7)
    filled = 0
    with gdal_settings(), TileReader(images, [BandSelection((2, 0))] * 2) as tiles:
        for number in range(150):
            width, height = rng.integers(1, 50, 2).tolist()
            window = (*rng.integers(-60, SIDE + 40, 2).tolist(), width, height)
            cells, valid = np.zeros((2, height, width), np.uint8), np.zeros((height, width), bool)
            if number % 3 == 0:
                tiles.cut(0, window, cells, valid)
            elif number % 3 == 1:
                valid |= rng.random(valid.shape) < 0.7
            others, of_others = cells.copy(), valid.copy()
            touched = fill(tiles, 0, (1, 0.0), window, cells, valid)
            assert touched == _fill_cell_by_cell(tiles, 0, (1, 0.0), window, others, of_others)
            np.testing.assert_array_equal(valid, of_others)
            np.testing.assert_array_equal(cells[:, valid], others[:, valid])
            filled += touched
    assert filled > 20 or move == (200, 0)


def test_grids_of_the_same_cells_are_whole_cells_apart() -> None:
    assert grid(NORTH_UP).shift_to(grid(NORTH_UP @ Affine.translation(40, -7))) == (-40, 7)
    assert grid(SOUTH_UP).shift_to(grid(SOUTH_UP @ Affine.translation(40.3, -7.4))) == (-40, 7)
    assert grid(NORTH_UP).shift_to(grid(NORTH_UP @ Affine.translation(40, -7)), 10.0) == (-20, 7)


@pytest.mark.parametrize(
    "other",
    [
        NORTH_UP @ Affine.translation(0.5, 0),  # centres on edges
        NORTH_UP @ Affine.translation(0, 3.4999),
        NORTH_UP @ Affine.scale(1.0000001),
        rotated(0.001),
        SOUTH_UP,
        Affine(0.5, 0, 2.0**45, 0, -0.5, 0),
    ],
)
def test_other_grids_are_taken_cell_by_cell(other: Affine) -> None:
    assert grid(NORTH_UP).shift_to(grid(other)) is None
    assert grid(other).shift_to(grid(NORTH_UP)) is None
