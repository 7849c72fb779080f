"""How cost grows: with the objects on an image, with the images of a mosaic, with the jobs in the store.

`python bench/growth.py [objects] [images] [jobs]` measures these, by default all, in about five minutes, writes the
table of `docs/performance.md` and the figures for `plot.py`, which draws them. Cost is to grow with the amount, and no
faster: what one more costs between the last two amounts is compared with what it costs between the two before.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

import data
import networks
import table
from processes.jobs.database import Database
from processes.jobs.job import ResultFile
from processes.jobs.runner_store import RunnerStore
from processes.jobs.store import JobFilter, JobStore
from processes.ogc.execution import Execution
from processes.ogc.process import Requirements
from processes.ogc.request import Description
from processes.settings import Limits
from run import FOLDER, SIDE_PX, run_seconds

OBJECTS = (1_000, 10_000, 100_000, 1_000_000)
IMAGES = (1, 10, 100, 1_000)
"""Of a mosaic, side by side, each with as many objects as the others."""
OBJECTS_OF_IMAGE, IMAGE_PX = 20, 256
JOBS = (1, 10, 100, 1_000, 10_000)
RUNS = 3
PAGE = 100
MOST = 1.3
"""What one more costs among many may be so many times what it costs among few."""
FACTOR_JOBS = 2
"""A job may take so many times as long in a store of the most jobs as in one of a hundred."""
FIGURES = FOLDER / "growth.json"
FRAME: Description = {"inputs": {}, "outputs": {}, "outputTransmission": []}


def main(parts: Sequence[str]) -> int:
    """Measure some parts and return the number of marks that were missed."""
    FOLDER.mkdir(exist_ok=True)
    load = os.getloadavg()[0]
    package = networks.save_package(FOLDER / "tiny", 16, "tiny")
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    if "objects" in parts:
        figures["objects"] = objects(package)
    if "images" in parts:
        figures["images"] = images(package)
    if "jobs" in parts:
        figures["jobs"], figures["page"] = jobs()
    FIGURES.write_text(json.dumps(figures))
    missed = 0
    rows = []
    for name, unit in (("objects", "s"), ("images", "s"), ("jobs", "ms"), ("page", "ms")):
        if name not in figures:
            continue
        points = figures[name]
        ratio, most = growth(points) if unit == "s" else (points[-1][1] / points[2][1], FACTOR_JOBS)
        missed += ratio > most
        seconds = ", ".join(f"{amount:,}: {value:.3g} {unit}" for amount, value in points)
        rows.append((TITLES[name], seconds, f"**{ratio:.2f}**", f"{most:g}"))
        print(*rows[-1], sep=" | ", flush=True)
    if set(figures) >= {"objects", "images", "jobs", "page"}:
        text = f"Medians on {table.machine()}; the load was {load:.1f} at the start."
        table.write("growth", text, ("", "", "growth", "at most"), rows)
    return missed


TITLES = {
    "objects": "objects on one image, `run` with a network that costs almost no time",
    "images": f"images of a mosaic, {OBJECTS_OF_IMAGE} objects on each, the same",
    "jobs": "a job in a store of so many: accepted, claimed, ended",
    "page": f"a page of {PAGE} jobs of such a store",
}


def growth(points: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Return what one more costs at the end, compared with before, and how much it may be."""
    (a, a_s), (b, b_s), (c, c_s) = points[-3:]
    return ((c_s - b_s) / (c - b)) / ((b_s - a_s) / (b - a)), MOST


def objects(package: Path) -> list[tuple[int, float]]:
    """Return the seconds of the whole command for each number of objects."""
    image = data.make_image(FOLDER / "image.tif", SIDE_PX)
    layers = {count: data.make_objects(FOLDER / f"objects-{count}.gpkg", count, SIDE_PX) for count in OBJECTS}
    run_seconds(image, layers[OBJECTS[0]], package)
    return [
        (count, statistics.median(run_seconds(image, layer, package)[0] for _ in range(RUNS)))
        for count, layer in layers.items()
    ]


def images(package: Path) -> list[tuple[int, float]]:
    """Return the seconds of the whole command for each number of images."""
    found = []
    for count in IMAGES:
        folder = mosaic(FOLDER / f"mosaic-{count}", count)
        across = round(count**0.5 + 0.49)
        layer = FOLDER / f"mosaic-{count}.gpkg"
        data.make_objects(layer, OBJECTS_OF_IMAGE * count, across * IMAGE_PX)
        found.append((count, statistics.median(run_seconds(folder, layer, package)[0] for _ in range(RUNS))))
    return found


def mosaic(folder: Path, count: int) -> Path:
    """Write images side by side, in rows, as square as may be, where there are none yet."""
    if folder.exists():
        return folder
    scratch = folder.with_suffix(".part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    across, rng = round(count**0.5 + 0.49), np.random.default_rng(3)
    cells = rng.integers(1, 256, (3, IMAGE_PX, IMAGE_PX), np.uint8)
    side_m = IMAGE_PX * data.CELL_M
    for number in range(count):
        row, column = divmod(number, across)
        corner = data.ORIGIN[0] + column * side_m, data.ORIGIN[1] - row * side_m
        profile = {
            "driver": "GTiff", "width": IMAGE_PX, "height": IMAGE_PX, "count": 3, "dtype": "uint8", "crs": data.CRS,
            "transform": from_origin(*corner, data.CELL_M, data.CELL_M), "tiled": True, "compress": "deflate",
        }  # fmt: skip
        with rasterio.open(scratch / f"{number}.tif", "w", **profile) as dataset:
            dataset.write(np.roll(cells, number, axis=2))
    scratch.rename(folder)
    return folder


def jobs() -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """Return the milliseconds of a job, and of a page of the list, for each number of jobs in the store."""
    home = FOLDER / "growth-store"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    database = Database(f"sqlite:///{home / 'jobs.sqlite3'}")
    store, runner = JobStore(database, Limits()), RunnerStore(database, "bench")
    body = json.dumps({"inputs": {}}).encode()
    of_jobs, of_pages, latest = list[tuple[int, float]](), list[tuple[int, float]](), list[float]()
    for number in range(1, JOBS[-1] + 1):
        execution = Execution.read("bench", body, FRAME, client="bench")
        start_s = time.perf_counter()
        store.accept(str(uuid.uuid4()), execution, Requirements())
        job = runner.claim([], 1, 1)
        if job is None:
            raise SystemExit("there is no job")
        runner.succeed(job.id, job.fence, "done", ResultFile("x", "application/json", "x", 1), None, 1, {})
        latest = [*latest[-99:], time.perf_counter() - start_s]
        if number in JOBS:
            of_jobs.append((number, 1000 * statistics.median(latest)))
            of_pages.append((number, 1000 * statistics.median(page_s(store) for _ in range(20))))
    database.close()
    return of_jobs, of_pages


def page_s(store: JobStore) -> float:
    start_s = time.perf_counter()
    store.find(JobFilter(), PAGE, 0)
    return time.perf_counter() - start_s


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ("objects", "images", "jobs")))
