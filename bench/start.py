"""Starting and waiting: a run of one object, a service until its first answer, and what an idle one uses.

`python bench/start.py [CHECKOUT]` writes a table of `docs/performance.md`. With the checkout of 0.3.0 it does the same
with that in turns, in the same environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import psutil
import urllib3

import data
import jobs
import networks
import table
from formats import module_of
from run import FOLDER, SIDE_PX

RUNS = 5
SETTLED_S, IDLE_S = 10, 20
"""After the first answer a service is left alone for so long, and then looked at for so long."""
READY_S = 60
ROOT = Path(__file__).parents[1]
MARKS = {"run": 0.6, "ready": 0.7, "idle": 1.0, "memory": 0.8}
"""Shares of the other version's figures, but for `idle`: percent of a core."""
TITLES = {
    "run": ("`run` of one object, s", 2),
    "ready": ("a service, from its start to the answer to a request of one object, s", 2),
    "idle": ("an idle service, % of a core", 2),
    "memory": ("its memory, MiB (each shared page counted once)", 0),
}


def main(other: Path | None) -> int:
    """Return the number of marks that were missed."""
    FOLDER.mkdir(exist_ok=True)
    load = os.getloadavg()[0]
    image = data.make_image(FOLDER / "image.tif", SIDE_PX)
    package = networks.save_package(FOLDER / "tiny", 16, "tiny")
    one = data.make_objects(FOLDER / "objects-1.gpkg", 1, SIDE_PX)
    folder = FOLDER / "start"
    folder.mkdir(exist_ok=True)
    roots = [ROOT] if other is None else [ROOT, other]
    found: list[dict[str, list[float]]] = [{name: [] for name in TITLES} for _ in roots]
    for root in roots:  # the package is checked once, and the files are in the system's cache
        run_s(root, image, one, package)
        service(root, image, package, folder / str(roots.index(root)))
    for _ in range(RUNS):
        for root, figures in zip(roots, found, strict=True):
            figures["run"].append(run_s(root, image, one, package))
            ready_s, idle, memory = service(root, image, package, folder / str(roots.index(root)))
            figures["ready"].append(ready_s)
            figures["idle"].append(idle)
            figures["memory"].append(memory)
    rows, missed = [], 0
    for name, (title, digits) in TITLES.items():
        ours, *others = [f"{statistics.median(figures[name]):.{digits}f}" for figures in found]
        mark, is_share = MARKS[name], name != "idle"
        reached = statistics.median(found[0][name])
        if is_share and other is not None:
            reached = statistics.median(a / b for a, b in zip(found[0][name], found[1][name], strict=True))
        is_judged = other is not None or not is_share
        missed += is_judged and reached > mark
        share = f"**{reached:.2f}**" + (" times" if is_share else " %")
        rows.append((title, ours, *(others or [""]), share if is_judged else "", f"{mark:g}" if is_judged else ""))
        print(*rows[-1], sep=" | ", flush=True)
    table.write(
        "start",
        f"Medians of {RUNS} of each, in turns, on {table.machine()}; the load was {load:.1f} at the start.",
        ("", "this version", "0.3.0" if other else "", "reached", "at most"),
        rows,
    )
    return missed


def run_s(root: Path, image: Path, objects: Path, package: Path) -> float:
    """Return the seconds of one run of a checkout's command."""
    options = {"--image": image, "--features": objects, "--model": package, "--output": FOLDER / "one.gpkg"}
    arguments = [str(part) for option in options.items() for part in option]
    command = [*_program(root), "run", "--quiet", "--overwrite", "--processor", "CPU", *arguments]
    start_s = time.perf_counter()
    subprocess.run(command, check=True, cwd=root, env=_variables(root), stdout=subprocess.DEVNULL)
    return time.perf_counter() - start_s


def service(root: Path, image: Path, package: Path, folder: Path) -> tuple[float, float, float]:
    """Return seconds until a service answers a request, and its percent of a core and MiB while it has none."""
    folder.mkdir(exist_ok=True)
    _, port = jobs.configure(folder, image, package)
    body = json.dumps(
        {"inputs": {"image": {"href": image.as_uri()}, "model": package.name, "features": jobs.one_object(image)}}
    ).encode()
    url = f"http://127.0.0.1:{port}/processes/classify-objects/execution"
    start_s = time.perf_counter()
    with _serving(root, folder) as started:
        while not _answers(url, body):
            if time.perf_counter() - start_s > READY_S:
                raise SystemExit((folder / "log").read_text())
            time.sleep(0.02)
        ready_s = time.perf_counter() - start_s
        time.sleep(SETTLED_S)
        before, began_s = _cpu_s(started), time.perf_counter()
        time.sleep(IDLE_S)
        after = _cpu_s(started)
        used_s = sum(cpu_s - before.get(part, 0) for part, cpu_s in after.items())
        idle = 100 * used_s / (time.perf_counter() - began_s)
        memory = sum(part.memory_full_info().pss for part in after) / 2**20
    return ready_s, idle, memory


@contextlib.contextmanager
def _serving(root: Path, folder: Path) -> Iterator[psutil.Process]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*_program(root), "serve"], cwd=root, env=_variables(root), stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


def _answers(url: str, body: bytes) -> bool:
    with contextlib.suppress(urllib3.exceptions.HTTPError):
        headers = {"Content-Type": "application/json"}
        reply = urllib3.request("POST", url, body=body, headers=headers, timeout=READY_S, retries=False)
        return reply.status == HTTPStatus.OK
    return False


def _cpu_s(started: psutil.Process) -> dict[psutil.Process, float]:
    """Return the seconds of CPU that each process of a service has used."""
    found = {}
    for part in (started, *started.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            found[part] = sum(part.cpu_times()[:2])
    return found


def _program(root: Path) -> list[str]:
    return [sys.executable, "-m", module_of(root)]


def _variables(root: Path) -> dict[str, str]:
    """Return the environment for a checkout: its sources and its own configuration."""
    return {**os.environ, "PYTHONPATH": str(root), "PYGEOAPI_CONFIG": str(root / "pygeoapi-config.yml")}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else None))
