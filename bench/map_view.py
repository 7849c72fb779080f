"""The map of a result with a million objects: its first view beside that of an empty map, frames, tiles, memory.

`python bench/map_view.py [--objects 1000000]` runs the whole service, and a headless Chromium whose graphics are drawn
by the CPU; it takes some minutes. What it prints ends with the number of marks that were missed.

Seconds depend on what else the machine does, so CPU seconds stand beside them: those of Chromium, and of the service.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rasterio
import urllib3
from rasterio.enums import Resampling

import data
import jobs
import networks
import table
from chromium import chromium
from processes.crs.web_mercator import to_world

FOLDER = Path(__file__).parent / "data"
EMPTY_MAP = Path(__file__).with_name("empty_map")
STATIC = jobs.ROOT / "processes" / "web" / "static"
SIDE_PX = 12_000
OVERVIEWS = (2, 4, 8, 16, 32)
SIZE = (1440, 900)
RUNS = 3
FIRST_VIEW_S = 2.0
"""From the page's `load` event to the drawn map: at most so much."""
FRAMES = 30.0
"""Frames a second while the map pans and zooms: at least so many."""
MOVES_S = 10
MAX_TILE_BYTES = 200_000
ZOOMS = range(20)
TILES_OF_ZOOM = 8
CLIENTS, TILES = 2, 200
"""Clients that pan over the map, and tiles of each kind that one of them gets."""
GROWTH_BYTES = 64 * 2**20
"""A process of the web server may have so much more for itself after a second round of panning than after the first."""
TIMES = """
(() => {
  const [page] = performance.getEntriesByType("navigation");
  const [drawn] = performance.getEntriesByName("map-drawn");
  return drawn && page.loadEventEnd && { loaded: page.loadEventEnd, drawn: drawn.startTime };
})()
"""
MOVES = """
(() => {
  const map = document.getElementById("map").map;
  const start = performance.now(), home = map.getCenter(), zoom = map.getZoom();
  let frames = 0;
  const step = (now) => {
    const part = (now - start) / 1000;
    if (part > SECONDS) { window.rate = frames / part; return; }
    frames += 1;
    map.jumpTo({
      center: [home.lng + 0.004 * Math.sin(part), home.lat + 0.003 * Math.sin(1.7 * part)],
      zoom: zoom + 2.5 - 2.5 * Math.cos(0.6 * part),
    });
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})()
"""


@dataclass(frozen=True, slots=True)
class View:
    """A first view of a map."""

    loaded_s: float
    """From the beginning to the page's `load` event."""
    drawn_s: float
    """From there until the map is drawn."""
    browser_s: float
    """CPU seconds of Chromium."""
    service_s: float
    """CPU seconds of the service."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=1_000_000)
    count: int = parser.parse_args().objects
    FOLDER.mkdir(exist_ok=True)
    home = FOLDER / "map"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    image = image_with_overviews()
    package = networks.save_package(FOLDER / "tiny", 16, "tiny")
    configuration, port = jobs.configure(home, image, package)
    load = os.getloadavg()[0]
    print(f"{count} objects, load {load:.2f}", flush=True)
    with jobs.serving(configuration, port) as pid, empty_map() as empty:
        result = f"http://127.0.0.1:{port}/jobs/{classified(port, image, count, package.name)}"
        views = first_views({"an empty map": (empty, None), "the result": (f"{result}/results?f=html", pid)})
        rate = frames(f"{result}/results?f=html")
        largest, slowest_ms = tiles(f"{result}/map")
        first, second = (memory(pid, f"{result}/map", round_) for round_ in (0, 1))
    growth = max(second[process] - first.get(process, 0) for process in second)
    drawn_s = statistics.median(view.drawn_s for view in views["the result"])
    marks = (
        (f"first view {drawn_s:.2f} s after the page, wanted {FIRST_VIEW_S}", drawn_s <= FIRST_VIEW_S),
        (f"{rate:.1f} frames/s, wanted {FRAMES}", rate >= FRAMES),
        (
            f"largest tile {largest} bytes, wanted {MAX_TILE_BYTES}, slowest {slowest_ms:.0f} ms",
            largest <= MAX_TILE_BYTES,
        ),
        (
            f"a web process grew by {growth / 2**20:.1f} MiB in round 2, to {max(second.values()) / 2**20:.0f}",
            growth <= GROWTH_BYTES,
        ),
    )
    for words, _ in marks:
        print(words)
    write(count, views, [words for words, _ in marks], load)
    missed = sum(not is_reached for _, is_reached in marks)
    print(f"load {os.getloadavg()[0]:.2f} at the end; {missed} marks missed")
    return missed


def image_with_overviews() -> Path:
    """Return an image that a map shows from afar, too."""
    path = FOLDER / "overviews" / "image.tif"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        scratch = path.with_suffix(".part.tif")
        shutil.copy(data.make_image(FOLDER / "image.tif", SIDE_PX), scratch)
        with rasterio.open(scratch, "r+") as dataset:
            dataset.build_overviews(OVERVIEWS, Resampling.average)
        scratch.rename(path)
    return path


def classified(port: int, image: Path, count: int, model: str) -> str:
    """Classify objects, and return the job."""
    objects = data.make_objects(image.with_name(f"objects-{count}.gpkg"), count, SIDE_PX)
    inputs = {"image": {"href": image.as_uri()}, "features": {"href": objects.as_uri()}, "model": model}
    headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
    url = f"http://127.0.0.1:{port}"
    body = json.dumps({"inputs": inputs}).encode()
    reply = urllib3.request("POST", f"{url}/processes/classify-objects/execution", body=body, headers=headers)
    if reply.status != HTTPStatus.CREATED:
        raise SystemExit(reply.data.decode())
    job = str(reply.json()["jobID"])
    while (found := urllib3.request("GET", f"{url}/jobs/{job}").json())["status"] in ("accepted", "running"):
        time.sleep(0.2)
    print(found["message"], flush=True)
    return job


@contextlib.contextmanager
def empty_map() -> Iterator[str]:
    """Serve a page with an empty map, and yield its address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def guess_type(self, path: Any) -> str:
            return "text/javascript" if str(path).endswith("js") else super().guess_type(path)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(STATIC, folder, dirs_exist_ok=True)
        shutil.copytree(EMPTY_MAP, folder, dirs_exist_ok=True)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/index.html"
            server.shutdown()


def first_views(pages: dict[str, tuple[str, int | None]]) -> dict[str, list[View]]:
    """Look at pages in turn, each time with a new Chromium, whose caches are empty.

    Args:
        pages: the address of each, and the process of the service that it is of.
    """
    found: dict[str, list[View]] = {name: [] for name in pages}
    for _ in range(RUNS):
        for name, (url, pid) in pages.items():
            with tempfile.TemporaryDirectory() as folder, chromium(Path(folder)) as page:
                page.look(SIZE)
                browser = next(item for item in psutil.Process().children() if item.name().startswith("chrom"))
                before_s = cpu_s(browser), 0 if pid is None else cpu_s(psutil.Process(pid))
                page.call("Page.navigate", url=url)
                page.until_event("Page.loadEventFired")
                times = page.until(TIMES)
                after_s = cpu_s(browser), 0 if pid is None else cpu_s(psutil.Process(pid))
            loaded_s, drawn_s = times["loaded"] / 1000, times["drawn"] / 1000
            view = View(loaded_s, drawn_s - loaded_s, after_s[0] - before_s[0], after_s[1] - before_s[1])
            print(f"{name}: {view}", flush=True)
            found[name].append(view)
    return found


def cpu_s(process: psutil.Process) -> float:
    """Return the CPU seconds that a process and those that it started have used, as far as they still run."""
    total_s = 0.0
    for item in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = item.cpu_times()
            total_s += times.user + times.system
    return total_s


def frames(url: str) -> float:
    """Return the frames that Chromium draws in a second while the map pans and zooms."""
    with tempfile.TemporaryDirectory() as folder, chromium(Path(folder)) as page:
        page.look(SIZE)
        page.call("Page.navigate", url=url)
        page.until_event("Page.loadEventFired")
        page.until(TIMES)
        page.evaluate(MOVES.replace("SECONDS", str(MOVES_S)))
        return float(page.until("window.rate"))


def tiles(url: str) -> tuple[int, float]:
    """Return the bytes of the largest tile of objects, and the time of the slowest one; print those of each zoom."""
    pool, rng, largest, slowest_ms = urllib3.PoolManager(), np.random.default_rng(3), 0, 0.0
    for zoom in ZOOMS:
        sizes, times_ms = [], []
        for column, row in {place(pool, url, zoom, rng) for _ in range(TILES_OF_ZOOM)}:
            start_s = time.perf_counter()
            reply = pool.request("GET", f"{url}/objects/{zoom}/{column}/{row}.mvt")
            times_ms.append(1000 * (time.perf_counter() - start_s))
            sizes.append(len(reply.data))
        print(f"zoom {zoom}: at most {max(sizes)} bytes, {statistics.median(times_ms):.0f} ms", flush=True)
        largest, slowest_ms = max(largest, *sizes), max(slowest_ms, *times_ms)
    return largest, slowest_ms


def place(pool: urllib3.PoolManager, url: str, zoom: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return column and row of a tile within the bounds of a map, by chance."""
    west, south, east, north = bounds(pool, url)
    ((x, y),) = to_world(np.array([[rng.uniform(west, east), rng.uniform(south, north)]])).tolist()
    return int(x * 2**zoom), int(y * 2**zoom)


@functools.cache
def bounds(pool: urllib3.PoolManager, url: str) -> tuple[float, float, float, float]:
    """Return the bounds of a map in longitude and latitude."""
    return tuple(pool.request("GET", url).json()["bounds"])


def memory(pid: int, url: str, round_: int) -> dict[int, int]:
    """Let clients pan over a map; return the bytes that each process of the web server has for itself then."""
    pool = urllib3.PoolManager(maxsize=CLIENTS)

    def pan(client: int) -> None:
        rng = np.random.default_rng([round_, client])
        for _ in range(TILES):
            zoom = int(rng.integers(11, 20))
            column, row = place(pool, url, zoom, rng)
            for tile in (f"objects/{zoom}/{column}/{row}.mvt", f"imagery/{zoom}/{column}/{row}.webp"):
                reply = pool.request("GET", f"{url}/{tile}")
                if reply.status not in (HTTPStatus.OK, HTTPStatus.NO_CONTENT):
                    raise SystemExit(f"{tile}: {reply.status} {reply.data!r}")

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(pan, range(CLIENTS)))
    web = [item for item in psutil.Process(pid).children(recursive=True) if "fd://3" in item.cmdline()]
    found = {item.pid: item.memory_full_info().uss for item in web}
    print(f"after round {round_ + 1}: " + ", ".join(f"{value / 2**20:.0f} MiB" for value in found.values()), flush=True)
    return found


def write(count: int, views: dict[str, list[View]], marks: list[str], load: float) -> None:
    """Write the table of `docs/performance.md`."""
    rows = []
    for name, found in views.items():
        columns = [[getattr(view, field) for view in found] for field in View.__dataclass_fields__]
        cells = [f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})" for values in columns]
        rows.append((name, *cells))
    views_of = f"{count:,} objects, {RUNS} views of each in turn, on {table.machine()}"
    text = f"{views_of}; the load was {load:.1f} at the start. {'; '.join(marks)}."
    headings = ("", "page loaded, s", "map drawn after that, s", "CPU of Chromium, s", "CPU of the service, s")
    table.write("map", text, headings, rows)


if __name__ == "__main__":
    sys.exit(main())
