"""What `make gpu-check` measures: labels, speed, options and memory of a GPU, each beside something to compare with."""

from __future__ import annotations

import csv
import ctypes
import json
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from msgspec import structs
from numpy.typing import NDArray

import data
import networks
from processes.classify.inference import classify
from processes.classify.planning.plan import plan
from processes.classify.planning.sources import Sources
from processes.features.reading.files import read_layer
from processes.imagery.chip_plan import ChipPlan, reading_order
from processes.imagery.chips import ChipReader
from processes.imagery.image import open_image
from processes.imagery.source import FileSource, gdal_settings
from processes.imagery.tiles import TileReader
from processes.model.arguments import ModelArguments, read_arguments
from processes.model.catalog import Catalog, Model
from processes.model.runtime import runtimes
from processes.model.runtime.cuda_devices import cuda_version
from processes.model.runtime.onnx_runtime import CUDA_OPTIONS, OnnxRuntime
from processes.model.runtime.runtime import Processor
from processes.model.session import Session, SessionKey, open_session
from processes.programs.file_links import link_to
from processes.programs.local import run_local
from processes.settings import Limits, load_settings

ROOT = Path(__file__).parents[1]
WARM_CALLS = 3

Runtime = Callable[[Mapping[str, str], int], OnnxRuntime]
"""Makes a runtime of options of the CUDA provider and a number of calls at the same time."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    network: str
    side: int
    """Of a chip, in cells."""
    image_px: int
    objects: int
    batch: int
    seconds: float
    """That each speed is measured for."""
    runs: int
    memory_limit_mb: int
    """Memory of the GPU with which a batch is not to fit."""


FULL = Sizes("resnet18", 224, 6144, 40_000, 128, 2.5, 3, 300)
REHEARSAL = Sizes("tiny", 16, 1024, 240, 16, 0.02, 1, 300)


@contextmanager
def runtime_in_use(runtime: OnnxRuntime) -> Iterator[None]:
    """Let all sessions be opened by a runtime."""
    before, runtimes.RUNTIMES = runtimes.RUNTIMES, (runtime,)
    open_session.cache_clear()
    try:
        yield
    finally:
        runtimes.RUNTIMES = before
        open_session.cache_clear()


@dataclass(frozen=True)
class LabelCase:
    """Objects of the shared data, a model, and where both lie."""

    name: str
    images: Sequence[Path]
    features: Path | None
    model: str


def label_cases(shared: Path) -> list[LabelCase]:
    """Return all shared data, with the models that they are for."""
    trees, crowns = shared / "naip_trees", shared / "neon_crowns"
    zones: dict[int, list[Path]] = {26910: [], 26911: []}
    for path in sorted(trees.glob("*.tif")):
        crs = open_image(FileSource(path, path.name), 2**40).grid.crs_wkt or ""
        zones[26910 if "zone 10N" in crs else 26911].append(path)
    outlines = crowns / "crowns_test_32617.geojson"
    return [
        *(
            LabelCase(f"NAIP, zone {zone % 100}", paths, trees / f"objects_{zone}.geojson", "urban-tree-naip")
            for zone, paths in zones.items()
        ),
        LabelCase("crowns, fixed size", [crowns], outlines, "tree-leaf-crown"),
        LabelCase("crowns, resampled", [crowns], outlines, "tree-leaf-box"),
        LabelCase("plots as a whole", [crowns], None, "tree-leaf-box"),
        LabelCase("crowns as PNG", [shared / "neon_crown_images"], None, "tree-leaf-box"),
    ]


def labels(case: LabelCase, processor: Processor, precision: str, folder: Path) -> list[tuple[str, float]]:
    """Return label and confidence of each object, as the tool gives them.

    Args:
        case: the objects.
        processor: what the network runs on.
        precision: that the package states.
        folder: for files.
    """
    package = folder / precision / case.model
    if not package.exists():
        shutil.copytree(ROOT / "models" / case.model, package)
        path = package / f"{case.model}.emd"
        path.write_text(json.dumps(json.loads(path.read_bytes()) | {"Precision": precision}))
    inputs: dict[str, Any] = {
        "image": [link_to(path) for path in case.images],
        "model": str(package),
        "processorType": processor,
    }
    if case.features is not None:
        inputs["features"] = link_to(case.features)
    output, settings = folder / "labels.csv", load_settings(ROOT / "pygeoapi-config.yml")
    settings = structs.replace(settings, state=folder / "state")
    run_local(inputs, output, settings, overwrite=True, planned=lambda _: None, progress=lambda _: None)
    with output.open(newline="") as file:
        return [(row["ClassLabel"], float(row["Confidence"] or "nan")) for row in csv.DictReader(file)]


class Work:
    """Chips of an image, a network, and both in memory."""

    def __init__(self, sizes: Sizes, folder: Path) -> None:
        self.sizes = sizes
        image_path = data.make_image(folder / f"image-{sizes.image_px}.tif", sizes.image_px)
        objects = data.make_objects(
            folder / f"objects-{sizes.image_px}-{sizes.objects}.gpkg", sizes.objects, sizes.image_px
        )
        package = networks.save_package(folder / sizes.network, sizes.side, sizes.network)
        self.model: Model = Catalog((), folder / "state", 2**32).model_at(package)
        self.arguments: ModelArguments = structs.replace(
            read_arguments({}, self.model.definition, "")[0], batch_size=sizes.batch
        )
        image = open_image(FileSource(image_path, image_path.name), 2**40)
        layer = read_layer(objects, "objects", None, Limits(max_objects=2**40))
        self.chips: ChipPlan = plan(Sources([image], [""], layer, self.model, self.arguments), 2**40).chips
        self.rows = reading_order(self.chips)
        self.batches = self._cut()
        """Some batches of chips as they were cut, `(n, bands, height, width)` each."""

    def _cut(self) -> list[NDArray[Any]]:
        count = min(len(self.rows) // self.sizes.batch, 16)
        with gdal_settings(), TileReader(self.chips.images, self.chips.selections) as tiles:
            reader = ChipReader(tiles, self.chips.placement, self.chips.rule, None, None)
            starts = range(0, count * self.sizes.batch, self.sizes.batch)
            return [reader.read(self.rows[start : start + self.sizes.batch]).chips.copy() for start in starts]

    def session(self, precision: str | None, processor: Processor = "GPU") -> Session:
        """Return a session that nobody else has."""
        definition: Any = structs.replace(self.model.definition, precision=precision)
        key = SessionKey(self.model.network, self.model.sha256, definition, "softmax", processor, 1)
        return Session(key)

    def whole_speed(self, session: Session, threads: int) -> float:
        """Return the objects per second of the tool: chips are cut, and labelled."""
        few = self.rows[: threads * self.sizes.batch]
        classify(self.chips, few, session, self.arguments, lambda _: None, threads)  # the network is opened
        start_s = time.perf_counter()
        done = classify(self.chips, self.rows, session, self.arguments, lambda _: None, threads)
        seconds = time.perf_counter() - start_s
        if not done.done.all():
            raise RuntimeError("not all objects were classified")
        return len(self.rows) / seconds

    def session_speed(self, session: Session, callers: int = 4) -> float:
        """Return the chips per second of a session that several threads call, with chips that are in memory."""
        for batch in self.batches[:WARM_CALLS]:
            session.scores(batch, self.sizes.batch)
        end_s = time.perf_counter() + self.sizes.seconds
        start_s = time.perf_counter()

        def call(first: int) -> int:
            done = 0
            for batch in cycle(self.batches[first:] + self.batches[:first]):
                if time.perf_counter() > end_s:
                    return done
                session.scores(batch, self.sizes.batch)
                done += len(batch)
            return done

        with ThreadPoolExecutor(callers) as pool:
            total = sum(pool.map(call, range(callers)))
        return total / (time.perf_counter() - start_s)

    def raw_speed(self, precision: str, provider: str, options: Mapping[str, str]) -> float:
        """Return the chips per second of ONNX Runtime alone: prepared chips in memory, one call after the other."""
        normalization = self.model.definition.normalization
        if normalization is None:
            raise RuntimeError("the benchmark's packages have a normalisation")
        scale, offset = (np.array(v, np.float32)[:, None, None] for v in (normalization.scale, normalization.offset))
        batches = [np.asarray(batch * scale + offset, np.float32) for batch in self.batches]
        network: Any = onnx.load(self.model.network)
        if precision == "fp16":
            network = OnnxRuntime().halve(network)
            batches = [batch.astype(np.float16) for batch in batches]
        session = onnxruntime.InferenceSession(
            network.SerializeToString(), providers=[(provider, dict(options))], enable_fallback=0
        )
        if session.get_providers()[0] != provider:
            raise RuntimeError(f"ONNX Runtime does not run on {provider}")
        name = session.get_inputs()[0].name
        for batch in batches[:WARM_CALLS]:
            session.run(None, {name: batch})
        done, start_s = 0, time.perf_counter()
        for batch in cycle(batches):
            session.run(None, {name: batch})
            done += len(batch)
            if time.perf_counter() - start_s > self.sizes.seconds:
                break
        return done / (time.perf_counter() - start_s)


def median_of(runs: int, measure: Callable[[], float]) -> float:
    """Return the median of some measurements."""
    return statistics.median(measure() for _ in range(runs))


@dataclass(frozen=True)
class OptionSpeed:
    """What a choice of options comes to."""

    name: str
    first_s: float
    """Seconds until the first batch is labelled: the network is opened, and algorithms are looked for."""
    speed: float
    """Chips per second."""
    difference: float
    """The most that a probability differs from that of the CPU in float32."""
    memory_mb: float | None
    """Of the GPU that is taken, MiB; None = not known."""


def choices() -> list[tuple[str, Mapping[str, str], int, int]]:
    """Return choices of options: a name, the options, calls at the same time, and how much larger a batch is."""
    base = dict(CUDA_OPTIONS)
    return [
        ("as chosen", base, 2, 1),
        ("1 call at a time", base, 1, 1),
        ("3 calls at a time", base, 3, 1),
        ("search EXHAUSTIVE", base | {"cudnn_conv_algo_search": "EXHAUSTIVE"}, 2, 1),
        ("search DEFAULT", base | {"cudnn_conv_algo_search": "DEFAULT"}, 2, 1),
        ("use_tf32 1", base | {"use_tf32": "1"}, 2, 1),
        ("prefer_nhwc 1", base | {"prefer_nhwc": "1"}, 2, 1),
        ("arena kNextPowerOfTwo", base | {"arena_extend_strategy": "kNextPowerOfTwo"}, 2, 1),
        ("batch x 2", base, 2, 2),
        ("batch / 4", base, 2, -4),
    ]


def option_speed(
    work: Work, name: str, runtime: OnnxRuntime, precision: str, factor: int, expected: NDArray[np.float32]
) -> OptionSpeed:
    """Measure a choice of options.

    Args:
        work: the chips and the network.
        name: of the choice.
        runtime: with the options.
        precision: that the package states.
        factor: how much larger a batch is; below 0: how much smaller.
        expected: probabilities of the first batch, of the CPU.
    """
    before = used_memory_mb()
    size = work.sizes.batch * factor if factor > 0 else max(1, work.sizes.batch // -factor)
    other = Work.__new__(Work)
    other.__dict__ |= work.__dict__ | {"sizes": replace(work.sizes, batch=size)}
    chips = np.concatenate(work.batches)
    other.batches = [chips[start : start + size] for start in range(0, len(chips) - size + 1, size)] or [chips]
    with runtime_in_use(runtime):
        session, start_s = other.session(precision), time.perf_counter()
        session.scores(other.batches[0], size)
        first_s = time.perf_counter() - start_s
        speed = other.session_speed(session)
        found = session.scores(work.batches[0], size)
        after = used_memory_mb()
    memory = None if before is None or after is None else after - before
    return OptionSpeed(name, first_s, speed, float(np.abs(found - expected).max()), memory)


def out_of_memory(work: Work, runtime: OnnxRuntime) -> tuple[int | None, float]:
    """Label a batch with a runtime that has little memory.

    Returns:
        What batches were halved to, None = they were not; and the most that a probability differs from that of the CPU.
    """
    expected = work.session(None, "CPU").scores(work.batches[0])
    with runtime_in_use(runtime):
        session = work.session(None)
        found = session.scores(work.batches[0], work.sizes.batch)
        return session.batch_limit(work.sizes.batch), float(np.abs(found - expected).max())


def used_memory_mb() -> float | None:
    """Return the memory of the GPU that is used, by whomever, in MiB; None = it cannot be asked."""
    version = cuda_version(Path(onnxruntime.__file__).parent)
    try:
        library = ctypes.CDLL(f"libcudart.so.{version[0] if version else 0}")
    except OSError:
        return None
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    if library.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)):
        return None
    return (total.value - free.value) / 2**20
