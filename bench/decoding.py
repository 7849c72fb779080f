"""The least that reading takes: each block of the images that a chip touches, decoded once, by one thread per core.

`python bench/decoding.py IMAGE OBJECTS PACKAGE STATE` prints the seconds. IMAGE may be a folder of images. Planning is
not counted, opening the images is.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from processes.imagery.chip_plan import ChipPlan
from processes.imagery.source import gdal_settings
from raw import planned_chips

_AT_ONCE = 64
"""Blocks of one image in a row that a thread takes at a time, so that an image is not opened for each."""


def main(image: Path, objects: Path, package: Path, state: Path) -> float:
    """Return the seconds."""
    paths = sorted(image.iterdir()) if image.is_dir() else [image]
    chips, _ = planned_chips(paths, objects, package, state)
    parts = [
        (path, blocks) for path, found in zip(paths, touched_blocks(chips, paths), strict=True) for blocks in found
    ]
    handles = threading.local()

    def decode(part: tuple[Path, list[Window]]) -> None:
        path, blocks = part
        with gdal_settings():
            if getattr(handles, "path", None) != path:
                handles.path, handles.dataset = path, rasterio.open(path)
            for block in blocks:
                handles.dataset.read(window=block)

    threads = os.cpu_count() or 1
    start_s = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(decode, parts))
    return time.perf_counter() - start_s


def touched_blocks(chips: ChipPlan, paths: list[Path]) -> list[list[list[Window]]]:
    """Return the blocks of each image that chips touch, in reading order, as many together as a thread takes."""
    found = []
    for index, path in enumerate(paths):
        windows = chips.placement.windows[chips.placement.image == index].astype(np.int64)
        with rasterio.open(path) as dataset:
            height, width = dataset.block_shapes[0]
            rows, columns = -(-dataset.height // height), -(-dataset.width // width)
            touched = np.zeros((rows, columns), bool)
            for column, row, across, down in windows.tolist():
                top, left = max(row, 0) // height, max(column, 0) // width
                touched[top : -(-(row + down) // height), left : -(-(column + across) // width)] = True
            blocks = [
                Window(column * width, row * height, min(width, dataset.width - column * width),
                       min(height, dataset.height - row * height))
                for row, column in np.argwhere(touched).tolist()
            ]  # fmt: skip
        found.append([blocks[start : start + _AT_ONCE] for start in range(0, len(blocks), _AT_ONCE)])
    return found


if __name__ == "__main__":
    print(main(*map(Path, sys.argv[1:5])))
