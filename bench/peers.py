"""Peers in the same run: the same objects and weights by TorchGeo, Raster Vision, DeepForest, and a plain script.

`python bench/peers.py PYTHON` writes a table of `docs/performance.md`. PYTHON is that of the peers' environment. Runs
take turns. Of this project's command all counts, from the start of its process; of a peer neither its start nor its
imports. Its fastest precision on this CPU counts too, where OpenVINO is installed beside it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyogrio
import rasterio
import shapely
from onnx import numpy_helper

import data
import networks
import precision
import table
from processes.model.runtime.runtimes import missing_precision
from run import FOLDER, SIDE_PX, run_seconds

RUNS = 5
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SAMPLE = 64
"""Objects that a network is balanced by."""
SHARE = 0.995
"""Of the objects, so many get the label that this project gives; sums of float32 in another order decide the rest."""


@dataclass(frozen=True, slots=True)
class Case:
    """A network, its objects, and how many times as fast as each peer this project is to be."""

    network: str
    side: int
    """Of a chip, in cells."""
    objects: int
    targets: dict[str, float]
    best_target: float | None = None
    """In the fastest precision of the CPU, against each peer."""


CASES = (
    Case("small-cnn", 64, 20_000, {"torchgeo": 15, "raster-vision": 30, "deepforest": 6, "script": 3.5}),
    Case("resnet18", 224, 600, dict.fromkeys(("torchgeo", "raster-vision", "deepforest", "script"), 1.4), 2.5),
)


def main(python: str) -> int:
    """Return the number of marks that were missed."""
    FOLDER.mkdir(exist_ok=True)
    load = os.getloadavg()[0]
    image = data.make_image(FOLDER / "image.tif", SIDE_PX)
    rows, missed = [], 0
    for case in CASES:
        of_case, missed_of_case = compare(case, image, python)
        rows += of_case
        missed += missed_of_case
    table.write(
        "peers",
        f"Medians of {RUNS} runs of each, in turns, on {table.machine()}; the load was {load:.1f} at the start and "
        f"{os.getloadavg()[0]:.1f} at the end.",
        ("", "", "objects/s", "times as fast", "target"),
        rows,
    )
    return missed


def compare(case: Case, image: Path, python: str) -> tuple[list[tuple[str, ...]], int]:
    """Return the rows of a case, and the number of missed marks."""
    objects = squares(FOLDER / f"squares-{case.side}-{case.objects}.gpkg", case.objects, case.side)
    package = balanced(FOLDER / "peers" / case.network, case, image, objects)
    packages = {"fp32": package} | ({} if case.best_target is None else best(package, image, case))
    speeds: dict[str, list[float]] = {name: [] for name in (*packages, *case.targets)}
    for name in packages:  # each package is checked once
        run_seconds(image, objects, packages[name])
    for _ in range(RUNS):
        for name in packages:
            speeds[name].append(case.objects / run_seconds(image, objects, packages[name])[0])
            if name == "fp32":
                expected = labels(FOLDER / "result.gpkg")
        for peer in case.targets:
            output = FOLDER / f"{peer}.gpkg"
            command = [python, Path(__file__).with_name("peer.py"), peer, image, objects]
            command += [package / f"{case.network}.onnx", case.side, output]
            done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
            speeds[peer].append(case.objects / float(done.stdout.split()[-1]))
            same = float(np.mean(labels(output) == expected))
            if same < SHARE:
                raise SystemExit(f"{peer} does other work: {same:.1%} of its labels are ours")
    title = f"{case.network}, {case.side} px, {case.objects:,} objects"
    rows: list[tuple[str, ...]] = [
        (title, f"`run`, {name}", table.median_and_range(speeds[name]), "", "") for name in packages
    ]
    missed = 0
    for peer, target in case.targets.items():
        for name in packages:
            mark = target if name == "fp32" else case.best_target or target
            ratio = statistics.median(a / b for a, b in zip(speeds[name], speeds[peer], strict=True))
            missed += ratio < mark
            rows.append(
                (title, f"{peer}, beside {name}", table.median_and_range(speeds[peer]), f"**{ratio:.1f}**", f"{mark:g}")
            )
    for row in rows:
        print(*row, flush=True)
    return rows, missed


def balanced(folder: Path, case: Case, image: Path, objects: Path) -> Path:
    """Write a package whose network gives each class to half of the objects, so that labels can be compared."""
    package = networks.save_package(folder, case.side, case.network)
    path = package / f"{case.network}.onnx"
    model = onnx.load(path)
    _, bounds = pyogrio.read_bounds(objects)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (MEAN, STD))
    logits = []
    with rasterio.open(image) as dataset:
        for west, south, east, north in bounds.T[:SAMPLE]:
            cells = dataset.read(window=dataset.window(west, south, east, north).round())
            logits.append(session.run(None, {"input": ((cells / 255 - mean) / std).astype(np.float32)[None]})[0][0])
    bias = next(item for item in model.graph.initializer if item.name == model.graph.node[-1].input[2])
    moved = numpy_helper.to_array(bias) - [np.median(np.subtract(*np.transpose(logits))), 0]
    bias.CopyFrom(numpy_helper.from_array(moved.astype(np.float32), bias.name))
    onnx.save(model, path)
    return package


def best(package: Path, image: Path, case: Case) -> dict[str, Path]:
    """Return the variant in the fastest precision that this CPU has: int8."""
    if find_spec("openvino") is None or missing_precision("int8", "CPU") is not None:
        return {}
    few = data.make_objects(
        FOLDER / f"objects-{precision.CALIBRATION_OBJECTS}.gpkg", precision.CALIBRATION_OBJECTS, SIDE_PX
    )
    variant = FOLDER / f"{case.network}-int8.dlpk"
    if not variant.exists():
        precision.optimise([sys.executable, "-m", "processes.programs.cli"], package, "int8", few, image, variant)
    return {"int8": variant}


def squares(path: Path, count: int, side: int) -> Path:
    """Write a layer of squares of whole cells, spread at random over the image, where there is none yet."""
    if path.exists():
        return path
    corners = np.random.default_rng(11).integers(0, SIDE_PX - side, (count, 2))
    west, north = data.ORIGIN[0] + corners[:, 0] * data.CELL_M, data.ORIGIN[1] - corners[:, 1] * data.CELL_M
    boxes = shapely.box(west, north - side * data.CELL_M, west + side * data.CELL_M, north)
    layer = pa.table({"number": np.arange(count), "geom": shapely.to_wkb(boxes)})
    options = {"driver": "GPKG", "geometry_name": "geom", "geometry_type": "Polygon", "crs": data.CRS}
    pyogrio.write_arrow(layer, path, layer="objects", **options)
    return path


def labels(path: Path) -> np.ndarray:
    """Return the classes of a result, by number, in the order of its objects."""
    _, found = pyogrio.read_arrow(path, layer=path.stem, columns=["number", "ClassLabel"], read_geometry=False)
    found = found.sort_by("number")
    return np.array([{"a": 0, "b": 1}.get(label, label) for label in found["ClassLabel"].to_pylist()])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
