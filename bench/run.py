"""Benchmarks: chips alone, the whole command against the network alone, memory, and what jobs cost beside their work.

`python bench/run.py [chips] [speed] [cases] [precision] [labels] [memory] [jobs]` runs these parts, by default all.
`speed` (the command and a warm service) and `cases` (other imagery and objects) take ten minutes each, `chips` two,
`precision` (the speed in int8 and bf16) five or more, `labels` (what these change) two; the last two want OpenVINO.

Runs alternate, so that a machine whose speed drifts treats both alike; ratios are taken pair by pair, and medians told.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cases
import data
import networks
import precision
import table
from processes.features.reading.files import read_layer
from processes.settings import Limits

FOLDER = Path(__file__).parent / "data"
SIDE_PX = 12_000
RUNS = 5
PARTS = ("chips", "speed", "cases", "precision", "labels", "memory", "jobs")
CHIP_CASES = ((64, 20_000, 30.0), (224, 20_000, None))
"""Chip in cells, objects, and how many times a windowed read of rasterio for each object the two cores are to reach."""
CORES = 2
GROWTH = 1.7
"""So many cores are to cut so many times the chips of one."""
TILED: Mapping[str, Any] = {"tiled": True, "blockxsize": 512, "blockysize": 512, "predictor": 2}
SPEED_CASES = (
    ("small-cnn", 64, 20_000, "JPEG", 0.78),
    ("small-cnn", 64, 100_000, "JPEG", 0.85),
    ("small-cnn", 64, 100_000, "DEFLATE", 0.85),
    ("small-cnn", 64, 100_000, "ZSTD", 0.85),
    ("resnet18", 224, 2_000, "JPEG", 0.97),
)
"""Network, chip in cells, objects, compression, and the share of raw onnxruntime's speed that is wanted."""
WARM_OBJECTS, WARM_RATIO = 5_000, 0.80
"""Objects of a synchronous request with the small CNN, GeoJSON in and out, and the share of raw onnxruntime's speed."""
MEMORY_OBJECTS = (20_000, 1_000_000)
MEMORY_FACTOR = 1.5
"""Peak with many objects, the layer itself left aside, over the peak with few: at most so much."""
JOB_RUNS = 3
SECTIONS_OBJECTS = 500
SECTION_MS = 10
"""What a section costs beside its work: at most so much."""
SYNC_MS = 25
"""What a synchronous request of one object takes beside the pipeline itself: at most so much."""


def main(parts: Sequence[str]) -> int:
    """Run some parts and return the number of marks that were missed."""
    FOLDER.mkdir(exist_ok=True)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f} at the start; medians of {RUNS}")
    image = data.make_image(FOLDER / "image.tif", SIDE_PX)
    missed = 0
    if "chips" in parts:
        missed += chips(image)
    if "speed" in parts:
        missed += speeds(image)
    if "cases" in parts:
        missed += cases.run(image, FOLDER, SIDE_PX, run_seconds)
    if "precision" in parts:
        missed += precision.speed(image, FOLDER, SIDE_PX)
    if "labels" in parts and precision.SHARED.is_dir():
        missed += precision.labels(FOLDER)
    if "memory" in parts:
        missed += not memory(image)
    if "jobs" in parts:
        missed += not jobs(image)
    print(f"load {os.getloadavg()[0]:.2f} at the end; {missed} marks missed")
    return missed


def chips(image: Path) -> int:
    """Compare chips alone on one core, on several, and by a windowed read each; return the number of missed marks."""
    load = os.getloadavg()[0]
    rows, missed = [], 0
    for side, count, times_read in CHIP_CASES:
        row, is_reached = chips_of(image, side, count, times_read)
        rows.append(row)
        missed += not is_reached
    table.write(
        "chips",
        f"{RUNS} runs of each, one after the other, on {table.machine()}; the load was {load:.1f} at the start.",
        ("", "one core, chips/s", f"{CORES} cores, chips/s", "ratio", "target", "a read each", "ratio", "target"),
        rows,
    )
    return missed


def chips_of(image: Path, side: int, count: int, times_read: float | None) -> tuple[tuple[str, ...], bool]:
    """Return the row of one size of chips, and whether its marks are reached."""
    objects = data.make_objects(FOLDER / f"objects-{count}.gpkg", count, SIDE_PX)
    command = [sys.executable, Path(__file__).with_name("reading.py"), image, objects, side]
    found: dict[int, list[float]] = {1: [], CORES: [], 0: []}
    for _ in range(RUNS):
        for threads, speeds in found.items():
            done = subprocess.run([*map(str, command), str(threads)], check=True, stdout=subprocess.PIPE, text=True)
            speeds.append(float(done.stdout))
    one, several, read = found.values()
    growth = statistics.median(b / a for a, b in zip(one, several, strict=True))
    times = statistics.median(b / a for a, b in zip(read, several, strict=True))
    print(
        f"chips alone, {count} of {side} px: "
        f"one core {statistics.median(one):.0f}/s ({min(one):.0f} to {max(one):.0f}), "
        f"{CORES} cores {statistics.median(several):.0f}/s ({min(several):.0f} to {max(several):.0f}), "
        f"ratio {growth:.2f}, wanted {GROWTH}; a windowed read each {statistics.median(read):.0f}/s, "
        f"ratio {times:.1f}" + ("" if times_read is None else f", wanted {times_read:g}"),
        flush=True,
    )
    row = (
        f"{side} px, {count:,} objects",
        table.median_and_range(one),
        table.median_and_range(several),
        f"**{growth:.2f}**",
        f"{GROWTH:g}",
        table.median_and_range(read),
        f"**{times:.1f}**",
        "" if times_read is None else f"{times_read:g}",
    )
    return row, growth >= GROWTH and (times_read is None or times >= times_read)


def speeds(image: Path) -> int:
    """Compare the command and a warm service with the network alone; return the number of missed marks."""
    load = os.getloadavg()[0]
    rows, missed = [], 0
    for measure in (*(partial(speed, image, *case) for case in SPEED_CASES), partial(warm, image)):
        title, ours, raw, mark = measure()
        ratio = statistics.median(a / b for a, b in zip(ours, raw, strict=True))
        missed += ratio < mark
        rows.append((title, table.median_and_range(ours), table.median_and_range(raw), f"**{ratio:.3f}**", f"{mark}"))
        print(*rows[-1], sep=" | ", flush=True)
    table.write(
        "speed",
        f"{RUNS} pairs of runs each, on {table.machine()}; the load was {load:.1f} at the start.",
        ("", "objects/s", "raw, objects/s", "ratio", "target"),
        rows,
    )
    return missed


def speed(
    image: Path, network: str, side: int, count: int, compression: str, mark: float
) -> tuple[str, list[float], list[float], float]:
    """Compare `classify-objects run`, from its start to its end, with the network alone.

    Args:
        image: the usual one.
        network: its name.
        side: of a chip, in cells.
        count: of objects.
        compression: of the image.
        mark: what is wanted.

    Returns:
        What was compared, objects per second of the command and of the network alone, and the mark.
    """
    objects = data.make_objects(FOLDER / f"objects-{count}.gpkg", count, SIDE_PX)
    package = networks.save_package(FOLDER / network, side, network)
    if compression != "JPEG":
        image = data.copy_image(image, FOLDER / f"{compression.lower()}.tif", compress=compression, **TILED)
    run_seconds(image, objects, package)  # the package is checked once, and the files are in the system's cache
    ours, raw = [], []
    for _ in range(RUNS):
        ours.append(count / run_seconds(image, objects, package)[0])
        raw.append(raw_speed(image, objects, package))
    return f"`run`, {network}, {side} px, {count:,} objects, {compression}", ours, raw, mark


def warm(image: Path) -> tuple[str, list[float], list[float], float]:
    """Compare the second request to a service with the network alone; return what `speed` does."""
    objects = data.make_objects(FOLDER / f"objects-{WARM_OBJECTS}.gpkg", WARM_OBJECTS, SIDE_PX)
    package = networks.save_package(FOLDER / "small-cnn", 64, "small-cnn")
    command = [sys.executable, Path(__file__).with_name("warm.py"), image, objects, package, FOLDER / "warm", 1]
    ours, raw = [], []
    for _ in range(RUNS):
        done = subprocess.run([*map(str, command)], check=True, stdout=subprocess.PIPE, text=True)
        ours.append(float(done.stdout))
        raw.append(raw_speed(image, objects, package))
    return f"a warm service, small-cnn, {WARM_OBJECTS:,} objects, GeoJSON in and out", ours, raw, WARM_RATIO


def memory(image: Path) -> bool:
    """Compare the peak memory of `classify-objects run` with few and with many objects."""
    package = networks.save_package(FOLDER / "tiny", 16, "tiny")
    few, many = (data.make_objects(FOLDER / f"objects-{count}.gpkg", count, SIDE_PX) for count in MEMORY_OBJECTS)
    run_seconds(image, few, package)
    few_s, few_bytes = run_seconds(image, few, package)
    many_s, many_bytes = run_seconds(image, many, package)
    layer_bytes = read_layer(many, many.name, None, Limits(max_objects=2**40)).nbytes
    allowed = MEMORY_FACTOR * few_bytes + layer_bytes
    print(
        f"peak memory: {few_bytes / 2**20:.0f} MiB with {MEMORY_OBJECTS[0]} objects ({few_s:.1f} s), "
        f"{many_bytes / 2**20:.0f} MiB with {MEMORY_OBJECTS[1]} ({many_s:.1f} s); "
        f"allowed {allowed / 2**20:.0f} MiB, the layer as Arrow being {layer_bytes / 2**20:.0f} MiB",
        flush=True,
    )
    return many_bytes <= allowed


def jobs(image: Path) -> bool:
    """Measure what a section and a synchronous request cost beside their work."""
    package = networks.save_package(FOLDER / "tiny", 16, "tiny")
    objects = data.make_objects(FOLDER / f"objects-{SECTIONS_OBJECTS}.gpkg", SECTIONS_OBJECTS, SIDE_PX)
    command = [sys.executable, Path(__file__).with_name("jobs.py"), image, objects, package, FOLDER / "jobs"]
    load = os.getloadavg()[0]
    found = []
    for _ in range(JOB_RUNS):
        done = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True)
        found.append(json.loads(done.stdout))
    section_ms, direct_ms, sync_ms = (
        statistics.median(float(item[name]) for item in found) for name in ("section_ms", "direct_ms", "sync_ms")
    )
    beside_ms = statistics.median(float(item["sync_ms"]) - float(item["direct_ms"]) for item in found)
    table.write(
        "jobs",
        f"Medians of {JOB_RUNS}, on {table.machine()}; the load was {load:.1f} at the start.",
        ("", "ms", "at most"),
        (
            ("from one empty section to the next", f"**{section_ms:.1f}**", f"{SECTION_MS}"),
            ("a synchronous request of one object, a network that costs almost no time", f"{sync_ms:.1f}", ""),
            ("the same work by the pipeline alone, in one process", f"{direct_ms:.1f}", ""),
            (
                "difference: HTTP, queue, another process, files that survive a crash",
                f"**{beside_ms:.1f}**",
                f"{SYNC_MS}",
            ),
        ),
    )
    print(
        f"jobs: {section_ms:.1f} ms a section beside its work, wanted {SECTION_MS}; a request of one object that waits "
        f"{sync_ms:.1f} ms, the pipeline itself {direct_ms:.1f} ms, difference {beside_ms:.1f} ms, wanted {SYNC_MS}",
        flush=True,
    )
    return section_ms <= SECTION_MS and beside_ms <= SYNC_MS


def run_seconds(image: Path, objects: Path, package: Path) -> tuple[float, int]:
    """Return the seconds and the peak memory in bytes of one run of the command, as a process."""
    command = [sys.executable, "-m", "processes.programs.cli", "run", "--quiet", "--overwrite", "--processor", "CPU"]
    options = {"--image": image, "--features": objects, "--model": package, "--output": FOLDER / "result.gpkg"}
    arguments = [str(part) for option in options.items() for part in option]
    measure = [sys.executable, str(Path(__file__).with_name("measure.py"))]
    done = subprocess.run([*measure, *command, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    seconds, peak_bytes = done.stdout.split()
    return float(seconds), int(peak_bytes)


def raw_speed(image: Path, objects: Path, package: Path) -> float:
    """Return the objects per second of the network alone."""
    command = [sys.executable, str(Path(__file__).with_name("raw.py")), image, objects, package, FOLDER / "state"]
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    return float(done.stdout)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or PARTS))
