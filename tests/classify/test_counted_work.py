"""The work of a job is counted, not timed: what it decodes, reads, opens and calls."""

from __future__ import annotations

import json
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import onnxruntime
import pytest
import shapely
from affine import Affine
from numpy.typing import NDArray

from conftest import MakePackage
from processes.classify.process import ClassifyObjects
from processes.imagery.tiles import TileReader
from processes.model.catalog import Catalog
from processes.model.session import open_session
from processes.ogc.execution import Execution
from processes.settings import Settings
from rasters import make_raster
from service import link, models_checked_here

SIDE, TILE, CHIP = 2048, 256, 8
X, Y = 500_000, 5_000_000
TILE_BYTES = TILE * TILE * 3
HEADER_BYTES = 2**19
"""What is read beside the cells: the package, headers of the image, and what Python imports."""
CALLS_OF_CHIP = 4
"""Calls of functions, for one more chip, in the threads that cut and label: rows are worked on many at a time."""
BYTES_OF_CHIP = 300
"""What one more object, with its row of the result, needs of memory at most."""


@pytest.fixture
def process(settings: Settings, make_package: MakePackage) -> Iterator[ClassifyObjects]:
    """Return the process with two threads; the image's cells are stored as they are, tile by tile."""
    make_package("fixed")
    transform = Affine(1, 0, X, 0, -1, Y)
    make_raster(settings.imagery[0] / "a.tif", width=SIDE, height=SIDE, transform=transform, blocksize=TILE)
    open_session.cache_clear()
    with models_checked_here():
        yield ClassifyObjects(settings, Catalog.from_settings(settings), 2)


def centres(count: int, columns: int, margin: int) -> NDArray[np.float64]:
    """Return places in the first columns of tiles, `(count, 2)` in cells, that keep a distance from a tile's sides."""
    rng = np.random.default_rng(count)
    tiles = rng.integers(0, (columns, SIDE // TILE), (count, 2))
    return tiles * TILE + rng.uniform(margin, TILE - margin, (count, 2))


def execution(process: ClassifyObjects, settings: Settings, places: NDArray[np.float64]) -> Execution:
    shapes = [shapely.box(X + column - 2, Y - row - 2, X + column + 2, Y - row + 2) for column, row in places]
    features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shape)} for shape in shapes]
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    collection = {"type": "FeatureCollection", "crs": crs, "features": features}
    inputs = {"image": link(settings.imagery[0] / "a.tif"), "features": collection, "model": "fixed"}
    body = json.dumps({"inputs": inputs}).encode()
    return Execution.read("classify-objects", body, process.describe(), result_name="trees")


def run(process: ClassifyObjects, order: Execution, folder: Path) -> None:
    folder.mkdir()
    summary = process.execute(order, folder).summary
    assert summary is not None
    assert summary["status"]["ok"] == sum(summary["status"].values()) > 0


def read_bytes() -> int:
    """Return how many bytes this process has read from files."""
    return int(dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())["rchar"])


@pytest.mark.parametrize("margin", [CHIP, 0])
def test_a_job_decodes_each_tile_that_it_needs_once_and_reads_no_other(
    margin: int, process: ClassifyObjects, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded, decode = Counter[tuple[int, int]](), TileReader._decode

    def note(self: TileReader, index: int, row: int, column: int) -> Any:
        decoded[row, column] += 1
        return decode(self, index, row, column)

    monkeypatch.setattr(TileReader, "_decode", note)
    run(process, execution(process, settings, centres(20, 1, CHIP)), tmp_path / "imported")
    decoded.clear()
    places = centres(2000, 2, margin)
    order, before = execution(process, settings, places), read_bytes()
    run(process, order, tmp_path / "work")
    reach = CHIP if margin == 0 else 0
    needed = {
        (int(row // TILE), int(column // TILE))
        for step in ((0, 0), (reach, reach), (reach, -reach), (-reach, reach), (-reach, -reach))
        for column, row in np.clip(places + np.array(step), 0, SIDE - 1)
    }
    assert set(decoded) <= needed
    assert len(decoded) == 2 * SIDE // TILE or margin == 0
    assert set(decoded.values()) == {1}
    assert read_bytes() - before <= len(needed) * TILE_BYTES + HEADER_BYTES


def test_a_process_opens_a_network_once(
    process: ClassifyObjects, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []

    class Session(onnxruntime.InferenceSession):  # type: ignore[misc] # which has no types
        def __init__(self, *arguments: Any, **options: Any) -> None:
            opened.append(self)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    for number in range(3):
        run(process, execution(process, settings, centres(50, 2, 0)), tmp_path / str(number))
    of_check = 1
    assert len(opened) == 1 + of_check


def test_one_more_chip_costs_few_calls_and_little_memory(
    process: ClassifyObjects, settings: Settings, tmp_path: Path
) -> None:
    few, many = 1000, 4000
    orders = {count: execution(process, settings, centres(count, 8, 0)) for count in (few, many)}
    run(process, orders[few], tmp_path / "imported")
    calls, peaks = dict[int, int](), dict[int, int]()
    for count, order in orders.items():
        counts = Counter[int]()

        def note(_frame: FrameType, event: str, _argument: object, counts: Counter[int] = counts) -> None:
            if event in ("call", "c_call") and threading.current_thread().name.startswith("classify"):
                counts[threading.get_ident()] += 1

        threading.setprofile(note)  # of threads that are started after this
        try:
            run(process, order, tmp_path / f"calls-{count}")
        finally:
            threading.setprofile(None)
        calls[count] = counts.total()
        tracemalloc.start()
        try:
            run(process, order, tmp_path / f"memory-{count}")
            peaks[count] = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert calls[few] > 0, "nothing is counted"
    assert (calls[many] - calls[few]) / (many - few) <= CALLS_OF_CHIP
    assert (peaks[many] - peaks[few]) / (many - few) <= BYTES_OF_CHIP
