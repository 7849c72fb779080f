"""What jobs cost: the engine for each section, and HTTP, queue and engine for a synchronous request of one object.

`python bench/jobs.py IMAGE OBJECTS PACKAGE FOLDER` prints both, in milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import rasterio
import urllib3
import yaml
from msgspec.structs import replace

import processes.classify.process as tool
from processes.jobs.database import Database
from processes.jobs.engine import Engine
from processes.jobs.execution import JobExecution
from processes.jobs.files import storage_of
from processes.jobs.runner_store import RunnerStore
from processes.jobs.store import JobStore
from processes.jobs.threads import Threads
from processes.ogc.execution import Execution
from processes.ogc.process import Requirements, SectionedProcess, Sections
from processes.registry import load_processes
from processes.settings import load_settings

ROOT = Path(__file__).parents[1]
SECTIONS = 200
REQUESTS = 60
WARM = 10


def main(image: Path, objects: Path, package: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    configuration, port = configure(folder, image, package)
    process = load_processes(configuration)["classify-objects"]
    if not isinstance(process, SectionedProcess):
        raise SystemExit("the process has no sections")
    inputs = {"image": {"href": image.as_uri()}, "model": package.name}
    some = {**inputs, "features": {"href": objects.as_uri()}}
    engine_ms = asyncio.run(section_ms(configuration, process, some, folder))
    direct_ms, sync_ms = request_ms(configuration, port, process, {**inputs, "features": one_object(image)})
    print(json.dumps({"section_ms": engine_ms, "direct_ms": direct_ms, "sync_ms": sync_ms}))


async def section_ms(configuration: Path, process: SectionedProcess, inputs: dict[str, Any], folder: Path) -> float:
    """Return what a section takes beside its work: all sections of a job are done already when a runner takes it over.

    They are sent one by one through the engine to a slot, which finds the section's file and answers; each is entered
    into the job's books.
    """
    settings = load_settings(configuration)
    storage, database = storage_of(settings), Database(settings.job_store)
    job_id = str(uuid.uuid4())
    body = json.dumps({"inputs": inputs}).encode()
    storage.put_execution(job_id, body)
    execution = Execution.read("classify-objects", body, process.describe(), client="bench")
    tool._FIRST_SECTION_S, tool._SECTION_S = 0, 0  # an object a section
    begun = None
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        files = storage.files(job_id, "plan-1", Path(scratch))
        begun = process.begin(execution, files, lambda _: None, lambda _: None)
    if not isinstance(begun, Sections):
        raise SystemExit("the objects are too few for sections")
    sections = begun.objects[: SECTIONS + 1]
    for number in range(1, len(sections)):
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            process.run_section(storage.files(job_id, "plan-1", Path(scratch)), number, lambda _: None)
    JobStore(database, settings.limits).accept(job_id, execution, Requirements(parallel_factor="1"))
    runner_store = RunnerStore(database, "bench")
    job = runner_store.claim([], 1, 1)
    if job is None:
        raise SystemExit("there is no job")
    runner_store.save_plan(job.id, job.fence, "plan-1", Sections(sections, begun.without_chip), "", {})
    async with Engine(configuration, settings) as engine:
        job_execution = JobExecution(
            replace(job, plan="plan-1", objects=sum(sections), done=sections[0]),
            runner_store,
            engine,
            storage,
            Threads(),
        )
        first = runner_store.sections(job.id)[0]
        await job_execution._attempt("section", "plan-1", first)  # the slot has started by then
        start_s = time.perf_counter()
        await job_execution._do_sections()
        seconds = time.perf_counter() - start_s
    if runner_store.sections(job.id):
        raise SystemExit("sections are left")
    database.close()
    return 1000 * seconds / SECTIONS


def request_ms(
    configuration: Path, port: int, process: SectionedProcess, inputs: dict[str, Any]
) -> tuple[float, float]:
    """Return the medians of the pipeline itself, called directly, and of a synchronous request, both warm."""
    body = json.dumps({"inputs": inputs}).encode()
    direct: list[float] = []
    for _ in range(WARM + REQUESTS):
        start_s = time.perf_counter()
        with tempfile.TemporaryDirectory() as scratch:
            execution = Execution.read("classify-objects", body, process.describe())
            output = process.execute(execution, Path(scratch))
            if isinstance(output.content, Path):
                output.content.read_bytes()
        direct.append(time.perf_counter() - start_s)
    asked: list[float] = []
    with serving(configuration, port):
        url = f"http://127.0.0.1:{port}/processes/classify-objects/execution"
        for _ in range(WARM + REQUESTS):
            start_s = time.perf_counter()
            reply = urllib3.request("POST", url, body=body, headers={"Content-Type": "application/json"}, timeout=60)
            if reply.status != HTTPStatus.OK:
                raise SystemExit(reply.data.decode())
            asked.append(time.perf_counter() - start_s)
    return 1000 * statistics.median(direct[WARM:]), 1000 * statistics.median(asked[WARM:])


@contextlib.contextmanager
def serving(configuration: Path, port: int) -> Iterator[int]:
    """Run the service; yield its process's number."""
    command = [sys.executable, "-m", "processes.programs.cli", "--config", str(configuration), "serve"]
    log = configuration.with_name("log").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT) as service:
        try:
            deadline = time.monotonic() + 60
            while True:
                with contextlib.suppress(urllib3.exceptions.HTTPError):
                    urllib3.request("GET", f"http://127.0.0.1:{port}/conformance", timeout=5, retries=False)
                    break
                if time.monotonic() > deadline:
                    raise SystemExit(configuration.with_name("log").read_text())
                time.sleep(0.1)
            yield service.pid
        finally:
            service.terminate()


def configure(folder: Path, image: Path, package: Path) -> tuple[Path, int]:
    """Write a configuration and return it, with the port of its service."""
    for name in [name for name in os.environ if name.startswith(("CLASSIFY_", "PYGEOAPI_"))]:
        del os.environ[name]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    os.environ |= {
        "CLASSIFY_PORT": str(port),
        "CLASSIFY_MODELS": str(package.parent),
        "CLASSIFY_IMAGERY": str(image.parent),
        "CLASSIFY_STATE": str(folder / "state"),
    }
    document = yaml.safe_load((ROOT / "pygeoapi-config.yml").read_text())
    path = folder / "pygeoapi-config.yml"
    path.write_text(yaml.safe_dump(document))
    return path, port


def one_object(image: Path) -> dict[str, Any]:
    """Return one object in the middle of an image."""
    with rasterio.open(image) as dataset:
        x, y = dataset.xy(dataset.height // 2, dataset.width // 2)
        name = dataset.crs.to_string()
    feature = {"type": "Feature", "id": 1, "properties": {}, "geometry": {"type": "Point", "coordinates": [x, y]}}
    crs = {"type": "name", "properties": {"name": name}}
    return {"type": "FeatureCollection", "crs": crs, "features": [feature]}


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]))
