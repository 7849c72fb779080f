"""A remote image read by parts, beside the same file on this machine and beside a read for each object by /vsicurl; a
mosaic of many; and one of 10 GiB. The table goes to `docs/imagery.md`.

`python bench/remote.py` runs its own host, a process that counts bytes and answers each request late.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyogrio
import rasterio
import rasterio.shutil
import shapely
from rasterio.windows import Window

import data
import networks
import table

FOLDER = Path(__file__).parent / "data"
SIDE_PX, CHIP_PX, OBJECTS = 12_000, 64, 2_000
DELAY_S = 0.05
RUNS = 3
NETWORKS = (("resnet18", 224, 1.3), ("small-cnn", 64, 2.0))
"""Network, its chip, and how many times the local file's wall time is allowed."""
TIMES_VSICURL = 3.0
BYTES_RATIO = 1.2
MOSAIC, MOSAIC_PX = 100, 2_000
"""Images of a mosaic, and the side of the part of it that has objects."""
LARGE_PX, LARGE_BYTES = 120_000, 10 * 2**30
MEMORY_RATIO = 1.15
PIECE_BYTES = 2**15
MEASURE = """
import json, resource, subprocess, sys, time
start_s = time.perf_counter()
status = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
seconds = time.perf_counter() - start_s
print(json.dumps([status, seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
"""
"""Runs a command, from a small process: Linux counts what the parent has as the peak of its child, too."""
DOCUMENT = Path(__file__).parents[1] / "docs" / "imagery.md"


@dataclass(frozen=True)
class Mark:
    """A line of the table."""

    what: str
    measured: str
    wanted: str
    is_met: bool


def main() -> int:
    """Return the number of marks that were missed."""
    FOLDER.mkdir(exist_ok=True)
    image = cog(FOLDER / "remote.tif")
    objects = data.make_objects(FOLDER / f"objects-{OBJECTS}.gpkg", OBJECTS, SIDE_PX)
    marks, load = [], os.getloadavg()[0]
    with host(FOLDER) as port:
        for part in (one_image(image, objects, port), mosaic(image, port), large(image, objects, port)):
            for mark in part:
                print(f"{'' if mark.is_met else 'MISSED: '}{mark.what}: {mark.measured}; {mark.wanted}", flush=True)
                marks.append(mark)
    rows = [(mark.what, mark.measured, mark.wanted) for mark in marks]
    text = f"On {table.machine()}, load {load:.1f} at the start:"
    table.write("remote", text, ("", "measured", "wanted"), rows, DOCUMENT)
    return sum(not mark.is_met for mark in marks)


def one_image(image: Path, objects: Path, port: int) -> Iterator[Mark]:
    """Compare one remote image with the same file on this machine, and with a read for each object by /vsicurl."""
    touched = touched_bytes(image, objects)
    link = f"http://127.0.0.1:{port}/{image.name}"
    remote: list[float] = []
    for network, side, mark in NETWORKS:
        package = networks.save_package(FOLDER / network, side, network)
        run(image, objects, package, FOLDER / "local.gpkg")  # the package is checked once
        local, remote, ratios = [], [], []
        for _ in range(RUNS):
            local.append(run(image, objects, package, FOLDER / "local.gpkg").seconds)
            count(port)
            remote.append(run(link, objects, package, FOLDER / "remote.gpkg").seconds)
            ratios.append(remote[-1] / local[-1])
        sent, requests = count(port)
        ratio, bytes_ratio = statistics.median(ratios), sent / touched
        times = f"{statistics.median(remote):.1f} s and {statistics.median(local):.1f} s"
        yield Mark(f"{network}, remote and local", f"{times}: {ratio:.2f} times", f"at most {mark}", ratio <= mark)
        is_same = labels(FOLDER / "local.gpkg") == labels(FOLDER / "remote.gpkg")
        yield Mark(f"{network}, labels", "equal" if is_same else "DIFFER", "equal", is_same)
        measured = f"{sent / 1e6:.1f} MB in {requests} requests: {bytes_ratio:.3f} times the touched blocks"
        yield Mark(f"{network}, bytes", measured, f"at most {BYTES_RATIO}", bytes_ratio <= BYTES_RATIO)
    ours_s = statistics.median(remote)
    vsicurl_s, requests = by_vsicurl(link, objects, port)
    ratio = vsicurl_s / ours_s
    measured = f"{vsicurl_s:.0f} s in {requests} requests: {ratio:.1f} times the whole run with the small network"
    yield Mark(
        "a windowed read for each object by `/vsicurl`", measured, f"at least {TIMES_VSICURL}", ratio >= TIMES_VSICURL
    )


def mosaic(image: Path, port: int) -> Iterator[Mark]:
    """Compare a mosaic of many images, few of which are touched, with one of these alone."""
    tiles = [tile_of(image, number) for number in range(MOSAIC)]
    objects = data.make_objects(FOLDER / "objects-mosaic.gpkg", 200, MOSAIC_PX)  # in the first images
    package = networks.save_package(FOLDER / "small-cnn", 64, "small-cnn")
    touched = [tile for tile in tiles if touches(tile, objects)]
    count(port)
    found = {}
    for name, used in (("touched", touched), ("all", tiles)):
        links = [f"http://127.0.0.1:{port}/{tile.parent.name}/{tile.name}" for tile in used]
        output = FOLDER / f"mosaic-{name}.gpkg"
        seconds = run(links, objects, package, output).seconds
        found[name] = (seconds, *count(port), labels(output))
    headers = (len(tiles) - len(touched)) * PIECE_BYTES
    beyond = found["all"][1] - found["touched"][1]
    measured = (
        f"{found['all'][1] / 1e6:.2f} MB in {found['all'][2]} requests and {found['all'][0]:.1f} s, beside "
        f"{found['touched'][1] / 1e6:.2f} MB, {found['touched'][2]} and {found['touched'][0]:.1f} s"
    )
    is_met = beyond <= headers * 1.01 and found["all"][3] == found["touched"][3]
    what = f"a mosaic of {len(tiles)} images, beside the {len(touched)} that are touched"
    yield Mark(what, measured, "no more than a header of 32 KiB for each of the others", is_met)


def large(image: Path, objects: Path, port: int) -> Iterator[Mark]:
    """Compare the memory that a remote image of 10 GiB takes with that of the local file, and of a small one."""
    path = sparse(FOLDER / "large.tif", image)
    package = networks.save_package(FOLDER / "small-cnn", 64, "small-cnn")
    local = run(path, objects, package, FOLDER / "local.gpkg")
    count(port)
    remote = run(f"http://127.0.0.1:{port}/{path.name}", objects, package, FOLDER / "remote.gpkg")
    sent, requests = count(port)
    small = run(f"http://127.0.0.1:{port}/{image.name}", objects, package, FOLDER / "small.gpkg")
    is_same = labels(FOLDER / "local.gpkg") == labels(FOLDER / "remote.gpkg")
    measured = (
        f"{remote.memory_mb:.0f} MB of memory, {sent / 1e6:.1f} MB in {requests} requests; the local file "
        f"{local.memory_mb:.0f} MB; the image above {small.memory_mb:.0f} MB; labels {'equal' if is_same else 'DIFFER'}"
    )
    is_met = is_same and remote.memory_mb <= MEMORY_RATIO * small.memory_mb and sent < path.stat().st_size / 100
    yield Mark("an image of 10 GiB", measured, f"memory at most {MEMORY_RATIO} times that of the image above", is_met)


def tile_of(image: Path, number: int) -> Path:
    """Write a part of the image as a COG of its own, where there is none yet."""
    path = FOLDER / "mosaic" / f"{number:02}.tif"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        side, columns = SIDE_PX // 10, 10
        window = Window(number % columns * side, number // columns * side, side, side)
        with rasterio.open(image) as dataset:
            profile = dataset.profile | {
                "driver": "GTiff", "width": side, "height": side, "transform": dataset.window_transform(window),
                "compress": "jpeg", "photometric": "ycbcr",
            }  # fmt: skip
            profile.pop("overview_resampling", None)
            with rasterio.MemoryFile() as memory:
                with memory.open(**profile) as part:
                    part.write(dataset.read(window=window))
                options = {"COMPRESS": "JPEG", "QUALITY": "85", "BLOCKSIZE": "512"}
                with memory.open() as part:
                    rasterio.shutil.copy(part, path, driver="COG", **options)
    return path


def touches(tile: Path, objects: Path) -> bool:
    """Return whether chips of objects lie in an image, in part at least."""
    with rasterio.open(tile) as dataset:
        width, height = dataset.width, dataset.height
    return any(-CHIP_PX < column < width and -CHIP_PX < row < height for column, row in windows(tile, objects))


def sparse(path: Path, image: Path) -> Path:
    """Write an image of 10 GiB, most of them a hole in the file, with the cells of another in its upper left corner."""
    if path.exists():
        return path
    scratch = path.with_suffix(".part.tif")
    with rasterio.open(image) as source:
        profile = source.profile | {
            "driver": "GTiff", "width": LARGE_PX, "height": LARGE_PX, "compress": "jpeg", "photometric": "ycbcr",
            "bigtiff": "yes", "sparse_ok": True, "blockxsize": 512, "blockysize": 512,
        }  # fmt: skip
        with rasterio.open(scratch, "w", **profile):
            pass
        for start, stop in ((0, SIDE_PX // 2), (SIDE_PX // 2, SIDE_PX)):
            with rasterio.open(scratch, "r+") as dataset:
                for row in range(start // 512 * 512, stop // 512 * 512, 512):
                    window = Window(0, row, SIDE_PX // 512 * 512, 512)
                    dataset.write(source.read(window=window), window=window)
            os.truncate(scratch, max(scratch.stat().st_size, LARGE_BYTES))  # what follows is appended behind the hole
    scratch.rename(path)
    return path


def cog(path: Path) -> Path:
    """Write the image as a COG, where there is none yet."""
    if not path.exists():
        plain = data.make_image(FOLDER / "image.tif", SIDE_PX)
        options = {"COMPRESS": "JPEG", "QUALITY": "85", "BLOCKSIZE": "512"}
        rasterio.shutil.copy(plain, path, driver="COG", **options)
    return path


def touched_bytes(image: Path, objects: Path) -> int:
    """Return the bytes of the blocks that chips touch, by GDAL's own list of blocks."""
    bounds = windows(image, objects)
    blocks = {
        (row, column)
        for left, top in bounds
        for row in range(max(top, 0) // 512, min(top + CHIP_PX - 1, SIDE_PX - 1) // 512 + 1)
        for column in range(max(left, 0) // 512, min(left + CHIP_PX - 1, SIDE_PX - 1) // 512 + 1)
    }
    with rasterio.open(image) as dataset:
        sizes = [dataset.get_tag_item(f"BLOCK_SIZE_{column}_{row}", "TIFF", bidx=1) for row, column in sorted(blocks)]
    return sum(int(size or 0) for size in sizes)


def windows(image: Path | str, objects: Path) -> list[tuple[int, int]]:
    """Return first column and row of each object's chip."""
    with rasterio.open(image) as dataset:
        inverse = ~dataset.transform
    wkb = pyogrio.read_arrow(objects)[1].column("geom").to_pylist()
    boxes = shapely.bounds(shapely.from_wkb(wkb))
    centres = [inverse * ((west + east) / 2, (south + north) / 2) for west, south, east, north in boxes]
    return [(round(x - CHIP_PX / 2), round(y - CHIP_PX / 2)) for x, y in centres]


def by_vsicurl(link: str, objects: Path, port: int) -> tuple[float, int]:
    """Read a window for each object with GDAL's defaults, and return seconds and requests."""
    places = windows(FOLDER / "remote.tif", objects)
    count(port)
    start_s = time.perf_counter()
    with rasterio.open(f"/vsicurl/{link}") as dataset:
        for left, top in places:
            dataset.read(window=Window(left, top, CHIP_PX, CHIP_PX), boundless=False)
    return time.perf_counter() - start_s, count(port)[1]


@dataclass(frozen=True)
class Run:
    """What a run of the command took."""

    seconds: float
    memory_mb: float
    """The most that the process had, in 10^6 bytes."""


def run(image: Path | str | Sequence[str], objects: Path, package: Path, output: Path) -> Run:
    """Run the command as a process."""
    images = [image] if isinstance(image, str | Path) else image
    command = [sys.executable, "-m", "processes.programs.cli", "run", "--quiet", "--overwrite", "--processor", "CPU"]
    for option in (
        *(("--image", item) for item in images),
        ("--features", objects),
        ("--model", package),
        ("--output", output),
    ):
        command += map(str, option)
    done = subprocess.run([sys.executable, "-c", MEASURE, *command], stdout=subprocess.PIPE, check=True)
    status, seconds, memory_kib = json.loads(done.stdout)
    if status:
        raise SystemExit(f"the command failed with {status}")
    return Run(seconds, memory_kib * 1024 / 1e6)


def labels(path: Path) -> list[tuple[object, ...]]:
    """Return label and confidence of each object."""
    table = pyogrio.read_arrow(path, layer=path.stem, columns=["ClassLabel", "Confidence"])[1]
    return list(zip(table.column("ClassLabel").to_pylist(), table.column("Confidence").to_pylist(), strict=True))


@contextmanager
def host(folder: Path) -> Iterator[int]:
    """Run a host of the files of a folder, as a process of its own, and give its port."""
    program = Path(__file__).parents[1] / "tests" / "range_host.py"
    command = [sys.executable, str(program), str(folder), str(DELAY_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int((process.stdout or sys.stdin).readline())
        finally:
            process.kill()


def count(port: int) -> tuple[int, int]:
    """Return bytes and requests since the last call."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/?count") as answer:
        sent, requests = json.load(answer)
        return int(sent), int(requests)


if __name__ == "__main__":
    sys.exit(main())
