"""A remote image read by parts, beside the same file on this machine and beside a read for each object by /vsicurl.

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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyogrio
import rasterio
import rasterio.shutil
import shapely
from rasterio.windows import Window

import data
import networks

FOLDER = Path(__file__).parent / "data"
SIDE_PX, CHIP_PX, OBJECTS = 12_000, 64, 2_000
DELAY_S = 0.05
RUNS = 3
NETWORKS = (("resnet18", 224, 1.3), ("small-cnn", 64, 2.0))
"""Network, its chip, and how many times the local file's wall time is allowed."""
TIMES_VSICURL = 3.0
BYTES_RATIO = 1.2


def main() -> int:
    """Return the number of marks that were missed."""
    FOLDER.mkdir(exist_ok=True)
    image = cog(FOLDER / "remote.tif")
    objects = data.make_objects(FOLDER / f"objects-{OBJECTS}.gpkg", OBJECTS, SIDE_PX)
    touched = touched_bytes(image, objects)
    sizes = f"{image.stat().st_size / 2**20:.1f} MiB, touched blocks {touched / 2**20:.1f} MiB"
    print(f"{sizes}; load {os.getloadavg()[0]:.1f} at the start")
    missed = 0
    with host(FOLDER) as port:
        link = f"http://127.0.0.1:{port}/remote.tif"
        for network, side, mark in NETWORKS:
            package = networks.save_package(FOLDER / network, side, network)
            run_s(image, objects, package, FOLDER / "local.gpkg")  # the package is checked once
            local, remote, ratios = [], [], []
            for _ in range(RUNS):
                local.append(run_s(image, objects, package, FOLDER / "local.gpkg"))
                count(port)
                remote.append(run_s(link, objects, package, FOLDER / "remote.gpkg"))
                ratios.append(remote[-1] / local[-1])
            sent, requests = count(port)
            is_same = labels(FOLDER / "local.gpkg") == labels(FOLDER / "remote.gpkg")
            ratio, bytes_ratio = statistics.median(ratios), sent / touched
            print(
                f"{network}: local {statistics.median(local):.2f} s, remote {statistics.median(remote):.2f} s, "
                f"ratio {ratio:.2f}, wanted {mark}; {requests} requests, {sent / 2**20:.1f} MiB, "
                f"{bytes_ratio:.3f} times the touched blocks, wanted {BYTES_RATIO}; "
                f"labels {'equal' if is_same else 'DIFFER'}",
                flush=True,
            )
            missed += (ratio > mark) + (bytes_ratio > BYTES_RATIO) + (not is_same)
        ours_s = statistics.median(remote)
        vsicurl_s, requests = by_vsicurl(link, objects, port)
        print(
            f"a windowed read for each object by /vsicurl: {vsicurl_s:.1f} s, {requests} requests (the host lists no "
            f"folder), {vsicurl_s / ours_s:.1f} times the whole run with the small network, wanted {TIMES_VSICURL}"
        )
        missed += vsicurl_s / ours_s < TIMES_VSICURL
    return missed


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


def run_s(image: Path | str, objects: Path, package: Path, output: Path) -> float:
    """Return the seconds of one run of the command, as a process."""
    command = [sys.executable, "-m", "processes.programs.cli", "run", "--quiet", "--overwrite", "--processor", "CPU"]
    options = {"--image": image, "--features": objects, "--model": package, "--output": output}
    start_s = time.perf_counter()
    subprocess.run(
        [*command, *(str(part) for option in options.items() for part in option)], check=True, stdout=subprocess.PIPE
    )
    return time.perf_counter() - start_s


def labels(path: Path) -> list[tuple[object, ...]]:
    """Return label and confidence of each object."""
    table = pyogrio.read_arrow(path, columns=["ClassLabel", "Confidence"])[1]
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
