"""Cut the chips of a scene as the service does for `CropSizeFixed` 1."""

import tempfile
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from scene import House, make_scene, write_scene

CHIP_PX = 64
CLASSES = ("intact", "damaged")
"""In the order of the network's outputs."""


def cut_chips(path: Path, houses: list[House]) -> NDArray[np.uint8]:
    """Return (n, 64, 64, 3) chips around the houses' bounding boxes, 0 outside the image."""
    with rasterio.open(path) as image:
        pixels = np.moveaxis(image.read(), 0, 2)
        to_cells = ~image.transform
    padded = np.pad(pixels, ((CHIP_PX, CHIP_PX), (CHIP_PX, CHIP_PX), (0, 0)))
    chips = np.empty((len(houses), CHIP_PX, CHIP_PX, 3), dtype=np.uint8)
    for number, house in enumerate(houses):
        left, bottom, right, top = house.polygon.bounds
        col, row = (
            _origin(first, last) + CHIP_PX
            for first, last in zip(to_cells * (left, top), to_cells * (right, bottom), strict=True)
        )
        chips[number] = padded[row : row + CHIP_PX, col : col + CHIP_PX]
    return chips


def _origin(first: float, last: float) -> int:
    """Return the first cell of the window around the middle of two pixel coordinates, rounded half to even."""
    centre = (round(first, 6) + round(last, 6)) / 2
    return round(round(centre - CHIP_PX / 2, 6))


def labelled_chips(seed: int, size_px: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Make a scene, write it, read it back, and return its chips and the index of each one's class."""
    scene = make_scene(seed, size_px)
    with tempfile.TemporaryDirectory() as folder:
        write_scene(scene, Path(folder))
        chips = cut_chips(Path(folder) / "scene.tif", scene.footprints)
    return chips, np.array([CLASSES.index(house.truth) for house in scene.footprints], dtype=np.int64)
