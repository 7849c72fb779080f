"""A GPU checked: its labels are those of a CPU, its speed is that of ONNX Runtime alone, and its memory may run out.

`make gpu-check` runs it. It ends with 0 where all marks are met, with 1 where one is missed, and with 2 where there is
no GPU that can be used: it says why. The table that it writes is for docs/gpu.md.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import math
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import onnxruntime

from gpu_measures import (
    FULL,
    REHEARSAL,
    Runtime,
    Work,
    choices,
    label_cases,
    labels,
    median_of,
    option_speed,
    out_of_memory,
    runtime_in_use,
)
from gpu_rehearsal import GpuOnCpu
from processes.model.runtime.onnx_runtime import CALLS, CUDA_OPTIONS, OnnxRuntime
from processes.model.runtime.runtimes import available_threads, missing_gpu

FOLDER = Path(__file__).parent / "data" / "gpu"
SHARED = Path(__file__).parents[2] / "shared" / "data"
BUDGET_S = 420
"""What has not begun by then is left out, so that all ends within eight minutes."""
CONFIDENCE = 1e-3
"""The most that a confidence in float32 may differ from the CPU's."""
SHARE = 0.8
"""Of the speed of ONNX Runtime alone, that the tool is to reach with all cores."""


class Report:
    """Lines of the table, the marks that were missed, and the time that is left."""

    def __init__(self, budget_s: float) -> None:
        self.lines: list[str] = []
        self.missed: list[str] = []
        self._start_s = time.monotonic()
        self._budget_s = budget_s

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._start_s

    def add(self, line: str = "") -> None:
        """Add a line, and print it."""
        self.lines.append(line)
        print(line, flush=True)

    def table(self, *columns: str) -> None:
        """Begin a table."""
        self.add()
        self.row(*columns)
        self.row(*["---"] * len(columns))

    def row(self, *cells: object) -> None:
        """Add a row to the table."""
        self.add(f"| {' | '.join(map(str, cells))} |")

    def mark(self, is_met: bool, what: str) -> str:
        """Note a mark that was missed, and return a word for the table."""
        if not is_met:
            self.missed.append(what)
        return "yes" if is_met else "NO"

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[bool]:
        """Yield whether there is time for a part; one that fails is a mark that is missed, and the others go on."""
        if self.seconds > self._budget_s:
            self.mark(False, f"{name}: no time was left")
            yield False
            return
        try:
            yield True
        except Exception as err:  # noqa: BLE001 - whatever it is, the rest is worth its time
            self.mark(False, f"{name}: {type(err).__name__}: {str(err)[:300]}")


def main() -> int:
    """Run everything and return the exit status."""
    options = _options()
    if not options.rehearse:
        missing = missing_gpu()
        has_driver = missing is None or "library of CUDA" in missing
        if missing is not None and not (options.driver and has_driver):
            print(f"gpu-check stops: {missing}", file=sys.stderr)
            return 2
        if options.driver:
            print("a driver and a GPU are there")
            return 0
    sizes, folder = (REHEARSAL, options.folder / "rehearsal") if options.rehearse else (FULL, options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    make: Runtime = GpuOnCpu if options.rehearse else OnnxRuntime
    report = Report(BUDGET_S)
    _about(report, is_rehearsal=options.rehearse)
    with runtime_in_use(make(CUDA_OPTIONS, CALLS)):
        _labels(report, options.shared, folder, is_rehearsal=options.rehearse)
        work = Work(sizes, folder)
        provider = "CPUExecutionProvider" if options.rehearse else "CUDAExecutionProvider"
        _speed(report, work, provider)
        _readers(report, work)
    _memory(report, work, make)
    _choices(report, work, make)
    report.add()
    report.add(f"{report.seconds:.0f} s in all; {len(report.missed)} marks missed")
    for line in report.missed:
        report.add(f"- missed: {line}")
    output: Path = options.output or folder / "gpu-check.md"
    output.write_text("\n".join(report.lines) + "\n")
    print(f"written to {output}")
    return 1 if report.missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driver", action="store_true", help="only look whether there is a driver and a GPU")
    parser.add_argument("--rehearse", action="store_true", help="go all the way on the CPU, with little work")
    parser.add_argument("--shared", type=Path, default=SHARED, help="the real data")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="for files that are made")
    parser.add_argument("--output", type=Path, help="the table")
    return parser.parse_args()


def _about(report: Report, *, is_rehearsal: bool) -> None:
    name = "rehearsal on the CPU" if is_rehearsal else _gpu_name()
    cores = available_threads()
    report.add(f"{name}; {cores} cores, load {os.getloadavg()[0]:.1f}; onnxruntime {onnxruntime.__version__}")


def _gpu_name() -> str:
    """Return the name of the first GPU, and the version of CUDA that its driver knows."""
    driver, device, version = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(100)
    driver.cuInit(0)
    driver.cuDeviceGet(ctypes.byref(device), 0)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDriverGetVersion(ctypes.byref(version))
    return f"{name.value.decode()}, driver for CUDA {version.value // 1000}.{version.value % 1000 // 10}"


def _labels(report: Report, shared: Path, folder: Path, *, is_rehearsal: bool) -> None:
    """Compare labels of all shared data with those of the CPU; a rehearsal takes a part of it."""
    report.table("labels", "objects", "fp32: others than the CPU's", "most in confidence", "fp16: others", "most")
    if not shared.is_dir():
        report.mark(False, f"labels: the real data is not in {shared}")
        return
    cases = label_cases(shared)
    for case in cases[:1] if is_rehearsal else cases:
        with report.part(f"labels of {case.name}") as is_time:
            if not is_time:
                continue
            expected = labels(case, "CPU", "fp32", folder)
            cells: list[object] = []
            for precision in ("fp32", "fp16"):
                found = labels(case, "GPU", precision, folder)
                others = sum(a[0] != b[0] for a, b in zip(found, expected, strict=True))
                most = max(_difference(a[1], b[1]) for a, b in zip(found, expected, strict=True))
                cells += [others, f"{most:.1e}"]
                if precision == "fp32":
                    report.mark(not others and most <= CONFIDENCE, f"labels of {case.name} in fp32")
            report.row(case.name, len(expected), *cells)


def _difference(one: float, other: float) -> float:
    return 0 if math.isnan(one) and math.isnan(other) else abs(one - other)


def _speed(report: Report, work: Work, provider: str) -> None:
    """Compare the tool with ONNX Runtime alone, on the same chips."""
    cores = available_threads()
    report.table(
        f"{work.sizes.network}, {work.sizes.side} px", "the tool", "ONNX Runtime alone", "its own defaults", "share"
    )
    options = {} if provider.startswith("CPU") else {"device_id": "0", **CUDA_OPTIONS}
    for precision in ("fp32", "fp16"):
        with report.part(f"speed in {precision}") as is_time:
            if not is_time:
                continue
            session = work.session(precision)
            ours = median_of(work.sizes.runs, lambda session=session: work.whole_speed(session, cores))  # type: ignore[misc]
            raw = work.raw_speed(precision, provider, options)
            plain = work.raw_speed(precision, provider, {})
            share = ours / raw
            is_enough = share >= SHARE or provider.startswith("CPU")  # a rehearsal says nothing of speed
            report.mark(is_enough, f"speed in {precision}: {share:.2f} of ONNX Runtime alone, {SHARE} is wanted")
            report.row(f"{precision}, chips/s", f"{ours:.0f}", f"{raw:.0f}", f"{plain:.0f}", f"{share:.2f}")


def _readers(report: Report, work: Work) -> None:
    """Measure the tool with one reader and with several."""
    cores = available_threads()
    counts = sorted({1, *(2**power for power in range(1, cores.bit_length()) if 2**power < cores), cores})
    report.table("readers", *map(str, counts))
    for precision in ("fp32", "fp16"):
        with report.part(f"readers in {precision}") as is_time:
            if is_time:
                session = work.session(precision)
                speeds = [f"{work.whole_speed(session, count):.0f}" for count in counts]
                report.row(f"{precision}, chips/s", *speeds)


def _memory(report: Report, work: Work, make: Runtime) -> None:
    """Let the memory of the GPU run out once."""
    with report.part("out of memory") as is_time:
        if not is_time:
            return
        limit = str(work.sizes.memory_limit_mb * 2**20)
        halved, most = out_of_memory(work, make({**CUDA_OPTIONS, "gpu_mem_limit": limit}, 1))
        report.add()
        if make is GpuOnCpu:
            report.add("out of memory: not on a CPU")
            return
        report.mark(halved is not None and most <= CONFIDENCE, "out of memory: batches are halved, labels stay")
        report.add(
            f"With {work.sizes.memory_limit_mb} MiB of the GPU's memory, batches of {work.sizes.batch} chips were "
            f"halved to {halved}; probabilities differ by {most:.1e} at most."
        )


def _choices(report: Report, work: Work, make: Runtime) -> None:
    """Measure other options beside those that were chosen."""
    expected = work.session(None, "CPU").scores(work.batches[0])
    for precision in ("fp32", "fp16"):
        report.table(
            f"options, {precision}", "first batch, s", "chips/s", "most in probability", "memory of the GPU, MiB"
        )
        listed = choices()[:: len(choices()) - 1 if make is GpuOnCpu else 1]  # on a CPU they are all the same
        for name, options, calls, factor in listed:
            with report.part(f"{name} in {precision}") as is_time:
                if not is_time:
                    continue
                found = option_speed(work, name, make(options, calls), precision, factor, expected)
                memory = "" if found.memory_mb is None else f"{found.memory_mb:.0f}"
                report.row(name, f"{found.first_s:.1f}", f"{found.speed:.0f}", f"{found.difference:.1e}", memory)


if __name__ == "__main__":
    sys.exit(main())
