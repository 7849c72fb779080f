"""Benchmark of precisions: whole runs in int8 and bf16 against raw onnxruntime in fp32, and labels on real data.

`python bench/run.py precision` in an environment with OpenVINO; without it int8 runs in ONNX Runtime alone. A precision
that this CPU does not have is not measured. Labels in bf16 are emulated there: what each layer takes is rounded to
bf16.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx
from msgspec import structs
from onnx import TensorProto, helper

import data
import networks
import table
from processes.model.local_catalog import LocalCatalog
from processes.model.runtime.cpu import instructions
from processes.model.runtime.runtimes import available_threads, missing_precision
from processes.model.session import Session, SessionKey
from processes.programs.conversion.object_chips import RecordingSession, cut_chips
from processes.programs.file_links import link_to
from processes.programs.optimisation.figures import LabelFigures, compare_labels, read_truth, scores_of
from processes.settings import load_settings

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
RUNS = 5
SIDE, OBJECTS, CALIBRATION_OBJECTS = 224, 2_000, 64
LIMITS = {"int8": "1%", "bf16": "0.4%"}
"""Share of labels that may change on real data."""
POINTS = 0.5
"""So many points of accuracy int8 may cost."""
_HIDDEN = "import sys; sys.modules['openvino'] = None; from processes.programs.cli import main; main()"
"""The command line where OpenVINO is not found."""
_LAYERS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True, slots=True)
class RealData:
    """Real objects, a shipped model for them, and the field that says what they are."""

    model: str
    images: tuple[str, ...]
    """Files and folders in the shared data."""
    features: str | None
    truth: str | None
    max_changed: str = "0.5%"
    """What `optimise` is asked for in int8."""


ZONE_11 = (
    "naip_trees/claremont_2020_10.tif",
    "naip_trees/long_beach_2020_0.tif",
    "naip_trees/palm_springs_2020_12.tif",
    "naip_trees/riverside_2020_0.tif",
    "naip_trees/santa_monica_2020_1.tif",
)
CASES = (
    RealData("urban-tree-naip", ("naip_trees/chico_2020_0.tif",), "naip_trees/objects_26910.geojson", "label", "1%"),
    RealData("urban-tree-naip", ZONE_11, "naip_trees/objects_26911.geojson", "label", "1%"),
    RealData("tree-leaf-crown", ("neon_crowns",), "neon_crowns/crowns_test_32617.geojson", "leaf"),
    RealData("tree-leaf-box", ("neon_crowns",), "neon_crowns/crowns_test_32617.geojson", "leaf"),
    RealData("tree-leaf-box", ("neon_crown_images",), None, None),
)


def speed(image: Path, folder: Path, side_px: int) -> int:
    """Compare `classify-objects run` of variants with the network alone in fp32; return the number of missed marks.

    Args:
        image: of the benchmark.
        folder: for what is made.
        side_px: side of the image.
    """
    objects = data.make_objects(folder / f"objects-{OBJECTS}.gpkg", OBJECTS, side_px)
    few = data.make_objects(folder / f"objects-{CALIBRATION_OBJECTS}.gpkg", CALIBRATION_OBJECTS, side_px)
    plain = networks.save_package(folder / "resnet18", SIDE, "resnet18")
    own = [sys.executable, "-m", "processes.programs.cli"]
    runs: dict[tuple[str, str], list[str]] = {}
    for precision in ("int8", "bf16"):
        if missing_precision(precision, "CPU") is None:
            variant = folder / f"resnet18-{precision}.dlpk"
            if not variant.exists():
                optimise(own, plain, precision, few, image, variant)
            if find_spec("openvino") is not None:
                runs[precision, "OpenVINO"] = own
    runs["int8", "ONNX Runtime"] = [sys.executable, "-c", _HIDDEN]
    rounds: list[dict[str, float]] = []
    kept = folder / "precision-rounds.json"  # of a run that was stopped
    if kept.exists():
        rounds = json.loads(kept.read_text())
    while len(rounds) < RUNS:
        found = {"raw": raw_speed(image, objects, plain, folder)}
        for (precision, name), command in runs.items():
            seconds = run_seconds(command, image, objects, folder / f"resnet18-{precision}.dlpk", folder)
            found[f"{precision}, {name}"] = OBJECTS / seconds
        print(found, flush=True)
        rounds.append(found)
        kept.write_text(json.dumps(rounds))
    kept.unlink()
    raw = [item["raw"] for item in rounds]
    rows, missed = [], 0
    for precision, name in runs:
        speeds = [item[f"{precision}, {name}"] for item in rounds]
        ratio = statistics.median(a / b for a, b in zip(speeds, raw, strict=True))
        is_best = name == "OpenVINO" or (precision, "OpenVINO") not in runs
        mark = marks().get(precision) if is_best else None
        missed += mark is not None and ratio < mark
        shown = (table.median_and_range(speeds), table.median_and_range(raw), f"**{ratio:.2f}**")
        rows.append((f"{precision}, {name}", *shown, "" if mark is None else f"{mark:g}"))
        print(*rows[-1], flush=True)
    table.write(
        "precision",
        f"{RUNS} runs of each in turns, ResNet-18 at {SIDE} px, {OBJECTS:,} objects, on {table.machine()}; "
        f"the load was {os.getloadavg()[0]:.1f} at the end.",
        ("", "`run`, objects/s", "raw onnxruntime in fp32, objects/s", "ratio", "target"),
        rows,
    )
    return missed


def marks() -> Mapping[str, float]:
    """Return the ratios to reach on this CPU."""
    own = instructions()
    if "amx_int8" in own:
        return {"bf16": 4.5, "int8": 7.5}
    return {"bf16": 1.9, "int8": 3.8} if "avx512_bf16" in own else {"int8": 1.5}


def labels(folder: Path) -> int:
    """Compare labels on real data with those in fp32; return the number of missed marks. `folder` is for scratch."""
    rows, missed = [], 0
    found = [(case, precision, figures_of(case, precision, folder)) for case in CASES for precision in LIMITS]
    for model in (*dict.fromkeys(case.model for case in CASES), "all"):
        for precision, limit in LIMITS.items():
            of_model = [item for case, name, item in found if model in (case.model, "all") and name == precision]
            count, changed = (sum(item[name] for item in of_model) for name in ("objects", "labelsChanged"))
            known = [item["accuracy"] for item in of_model if "accuracy" in item]
            before, after = (
                100 * sum(item[name] * item["objects"] for item in known) / sum(item["objects"] for item in known)
                for name in ("fp32", precision)
            )
            if model == "all":
                missed += changed / count > float(limit[:-1]) / 100
                missed += precision == "int8" and abs(after - before) > POINTS
            largest = max(item["largestChange"] for item in of_model)
            shown = (f"{count}", f"{changed} (**{changed / count:.2%}**)", f"{largest:.3f}")
            rows.append((model, f"{precision}, {of_model[0]['runtime']}", *shown, f"{after:.1f}, in fp32 {before:.1f}"))
            print(*rows[-1], flush=True)
    table.write(
        "precision-labels",
        f"The shipped models on the real data, on {table.machine()}. Limits for all together: int8 {LIMITS['int8']} of "
        f"labels and {POINTS} points of right labels, bf16 {LIMITS['bf16']} of labels.",
        ("model", "computed in", "objects", "labels changed", "a probability changes by", "right labels, %"),
        rows,
    )
    return missed


def figures_of(case: RealData, precision: str, folder: Path) -> Mapping[str, Any]:
    """Return the figures of a variant: as `optimise` gives them, or emulated where the CPU has no bf16."""
    images = [SHARED / "data" / name for name in case.images]
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        if case.features is None:  # a folder of images holds tables too
            images = [Path(scratch, "images")]
            images[0].mkdir()
            for path in sorted((SHARED / "data" / case.images[0]).glob("*.png")):
                (images[0] / path.name).write_bytes(path.read_bytes())
        features = None if case.features is None else SHARED / "data" / case.features
        package = ROOT / "models" / case.model
        if missing_precision(precision, "CPU") is not None:  # type: ignore[arg-type] # one of them
            return emulated(case, package, images, features, Path(scratch))
        command = [sys.executable, "-m", "processes.programs.cli"]
        limit = ("--max-changed", case.max_changed) if precision == "int8" else ()
        truth = () if case.truth is None else ("--truth", case.truth)
        return optimise(command, package, precision, features, images, Path(scratch, "made.dlpk"), *limit, *truth)


def emulated(
    case: RealData, package: Path, images: Iterable[Path], features: Path | None, folder: Path
) -> Mapping[str, Any]:
    """Return figures of bf16 by a network whose layers round to it."""
    settings = structs.replace(load_settings(ROOT / "pygeoapi-config.yml"), models=(), state=folder / "state")
    catalog = LocalCatalog.from_settings(settings)
    model = catalog.model_at(package)
    key = SessionKey(
        model.network, model.sha256, model.definition, model.activation, "CPU", available_threads(), model.output_name
    )
    session = RecordingSession(key)
    inputs = {"image": [link_to(path) for path in images], "model": str(package)}
    cut = cut_chips(
        inputs if features is None else {**inputs, "features": link_to(features)},
        catalog,
        settings,
        session,
        folder / "objects",
    )
    chips, before = session.recorded()
    network = folder / "bf16.onnx"
    save_emulation(model.network, network)
    after = scores_of(Session(structs.replace(key, network=network)), chips)
    found: LabelFigures = compare_labels(before, after, model.definition)
    figures: dict[str, Any] = {
        "runtime": "emulated",
        "objects": found.objects,
        "labelsChanged": found.changed,
        "largestChange": found.largest_change,
    }
    if case.truth is not None:
        attributes = cut.planned.layer.attributes
        columns = {name: attributes.column(name) for name in attributes.column_names}
        truth = read_truth(case.truth, columns, cut.planned.objects[cut.rows], model.definition)
        accuracies = {"fp32": truth.accuracy(before), "bf16": truth.accuracy(after)}
        figures["accuracy"] = {"objects": truth.known, **accuracies}
    return figures


def save_emulation(network: Path, target: Path) -> None:
    """Write a network that rounds what each layer takes to bf16, cells and weights; sums stay as they are."""
    model: Any = onnx.load(network)
    nodes = []
    for node in list(model.graph.node):
        is_layer = node.op_type in _LAYERS
        for place, name in enumerate(node.input[:2] if is_layer else ()):
            halves, rounded = f"{node.output[0]}_{place}_bf16", f"{node.output[0]}_{place}_rounded"
            nodes.append(helper.make_node("Cast", [name], [halves], to=TensorProto.BFLOAT16))
            nodes.append(helper.make_node("Cast", [halves], [rounded], to=TensorProto.FLOAT))
            node.input[place] = rounded
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, target)


def optimise(
    command: list[str],
    package: Path,
    precision: str,
    features: Path | None,
    images: Path | Iterable[Path],
    output: Path,
    *options: str,
) -> Mapping[str, Any]:
    """Make a variant by the command line, and return the figures in its .emd."""
    named = [images] if isinstance(images, Path) else images
    line = [*command, "optimise", package, "--precision", precision, "--output", output, "--overwrite", *options]
    for path in named:
        line += ["--image", path]
    if features is not None:
        line += ["--features", features]
    subprocess.run([str(part) for part in line], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    with zipfile.ZipFile(output) as archive:
        figures: Mapping[str, Any] = json.loads(archive.read(f"{output.stem}.emd"))["Optimisation"]
    return figures


def run_seconds(command: list[str], image: Path, objects: Path, package: Path, folder: Path) -> float:
    """Return the seconds of one run of the command, as a process."""
    options = {"--image": image, "--features": objects, "--model": package, "--output": folder / "result.gpkg"}
    arguments = [str(part) for option in options.items() for part in option]
    measure = [sys.executable, str(Path(__file__).with_name("measure.py"))]
    line = [*measure, *command, "run", "--quiet", "--overwrite", "--processor", "CPU", *arguments]
    return float(subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True).stdout.split()[0])


def raw_speed(image: Path, objects: Path, package: Path, folder: Path) -> float:
    """Return the objects per second of the network alone in fp32."""
    command = [sys.executable, Path(__file__).with_name("raw.py"), image, objects, package, folder / "state"]
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    return float(done.stdout)
