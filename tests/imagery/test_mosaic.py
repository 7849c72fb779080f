"""Which image of a mosaic a chip uses, and the work that it is to find it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from numpy.typing import NDArray

from processes.imagery import mosaic as mosaic_module
from processes.imagery.grid import ChipRule, Grid, GridRows, holds_centre, overlaps, pixel_boxes
from processes.imagery.image import Image, open_image
from processes.imagery.mosaic import Mosaic
from processes.imagery.source import FileSource
from rasters import make_raster, rotated
from tables import each_row

SIDE = 16
RULES = [ChipRule(8, 6, True, None), ChipRule(8, 6, True, 1.3), ChipRule(8, 6, False, None)]


def images_of(folder: Path, grids: list[tuple[Affine, int, int]]) -> list[Image]:
    return [
        open_image(
            FileSource(
                make_raster(folder / f"{number}.tif", width=width, height=height, bands=1, transform=transform), "x"
            ),
            10**9,
        )
        for number, (transform, width, height) in enumerate(grids)
    ]


def side_by_side(count: int) -> list[tuple[Affine, int, int]]:
    return [(Affine(0.5, 0, 500_000 + 8 * number, 0, -0.5, 5_000_000), SIDE, SIDE) for number in range(count)]


def objects_over(grids: list[Grid], count: int) -> NDArray[np.object_]:
    """Return boxes and points in and around images, an empty one and a missing one too."""
    rng = np.random.default_rng(5)
    corners = np.concatenate([grid.corners() for grid in grids])
    low, high = corners.min(axis=0) - 10, corners.max(axis=0) + 10
    centres, sides = rng.uniform(low, high, (count, 2)), rng.uniform(0, 9, (count, 2))
    low, high = centres - sides / 2, centres + sides / 2
    objects = np.full(count + 2, None, dtype=object)
    objects[:count] = shapely.box(low[:, 0], low[:, 1], high[:, 0], high[:, 1])
    objects[:count:5] = shapely.points(centres[::5])
    objects[count] = shapely.Polygon()
    return objects


def one_by_one(images: list[Image], shape: object, rule: ChipRule) -> tuple[int, list[int]]:
    """Return image and window of an object: the first one that holds its centre, else that its window overlaps."""
    found = []
    for index, image in enumerate(images):
        boxes = pixel_boxes(np.array([shape], object), image.grid)
        windows = rule.windows(boxes, image.grid)
        holds = holds_centre(boxes, image.grid)[0]
        if holds or overlaps(windows, image.grid)[0]:
            found.append((not holds, index, windows[0].tolist()))
    return min(found)[1:] if found else (-1, [0, 0, 0, 0])


@each_row("rule", RULES)
@each_row("pairs_at_once", [3, 2**16])
def test_an_object_gets_its_place_as_if_it_were_alone(
    rule: ChipRule, pairs_at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mosaic_module, "_PAIRS_AT_ONCE", pairs_at_once)
    coarse = Affine(0.7, 0, 500_002, 0, 0.7, 4_999_990)
    images = images_of(tmp_path, [*side_by_side(3), (rotated(30), 20, 30), (coarse, 11, 9), *side_by_side(5)[2:]])
    objects = objects_over([image.grid for image in images], 150)
    placed = Mosaic(images).place(objects, rule)
    for shape, image, window in zip(objects, placed.image.tolist(), placed.windows.tolist(), strict=True):
        is_there = shape is not None and not shape.is_empty
        assert (image, window) == (one_by_one(images, shape, rule) if is_there else (-1, [0, 0, 0, 0]))
    assert {-1, 0, 3, 4} <= set(placed.image.tolist())


def test_places_are_found_for_all_images_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = list[int]()

    def noting(shapes: NDArray[np.object_], grid: GridRows) -> NDArray[np.float64]:
        turns.append(len(shapes))
        return pixel_boxes(shapes, grid)

    monkeypatch.setattr(mosaic_module, "pixel_boxes", noting)
    images = images_of(tmp_path, side_by_side(30))
    objects = objects_over([image.grid for image in images], 200)
    placed = Mosaic(images).place(objects, RULES[0])
    assert len(np.unique(placed.image)) > 25
    assert len(turns) == 1
    assert turns[0] < 4 * len(objects)
