"""Chips alone: how many are cut in a second, without any network.

`python bench/reading.py IMAGE OBJECTS SIDE THREADS` prints chips per second. With 0 threads it is what a script without
this project does: a windowed read of rasterio for each object, in the order of the file, of the first thousand objects.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import rasterio
from rasterio.windows import Window

from processes.classify.batches import BatchReader, Pause
from processes.features.reading.files import read_layer
from processes.imagery.chip_plan import ChipPlan, reading_order
from processes.imagery.grid import ChipRule
from processes.imagery.image import open_image
from processes.imagery.mosaic import Mosaic
from processes.imagery.source import FileSource, gdal_settings
from processes.imagery.tiles import BandSelection
from processes.settings import Limits

BATCH_SIZE = 16
READS = 1000


def main(image_path: Path, objects: Path, side: int, threads: int) -> float:
    """Return chips per second; opening files and planning are not counted."""
    image = open_image(FileSource(image_path, image_path.name), 2**40)
    layer = read_layer(objects, "objects", None, Limits(max_objects=2**40))
    rule = ChipRule(side, side, True, None)
    placement = Mosaic([image]).place(layer.geometries(0, len(layer)), rule)
    chips = ChipPlan([image], [BandSelection((0, 1, 2))], rule, placement, None, None)
    return cut(chips, threads) if threads else read_windows(image_path, chips)


def cut(chips: ChipPlan, threads: int) -> float:
    """Return how many chips a second so many threads cut, as those do that label them."""
    start_s = time.perf_counter()
    order = reading_order(chips)
    reader = BatchReader(chips, order, BATCH_SIZE, threads, Pause(), {}, lambda: None, has_masks=False)

    def cut_batches() -> None:
        with gdal_settings():
            while reader.next() is not None:
                pass

    with reader, ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(cut_batches) for _ in range(threads)]:
            done.result()
    return len(order) / (time.perf_counter() - start_s)


def read_windows(image_path: Path, chips: ChipPlan) -> float:
    """Return how many windows a second rasterio reads one by one."""
    windows = [Window(*window) for window in chips.placement.windows[:READS].tolist()]
    with rasterio.open(image_path) as dataset:
        start_s = time.perf_counter()
        for window in windows:
            dataset.read([1, 2, 3], window=window)
        return len(windows) / (time.perf_counter() - start_s)


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
