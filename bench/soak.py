"""Many small jobs, one after the other, through one service: its memory must not grow, nor the time of its job list.

`python bench/soak.py [--jobs 10000]`; what it prints ends with the number of marks that were missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path

import psutil
import urllib3

import data
import jobs
import networks
from processes.jobs.step_process import NAME

FOLDER = Path(__file__).parent / "data"
SIDE_PX = 12_000
CLIENTS = 4
EARLY, WARM = 100, 1000
"""The list is timed first after so many jobs, and memory is measured first after so many."""
EVERY = 1000
LOOKS = 50
MEMORY_FACTOR, MEMORY_BYTES = 1.05, 4 * 2**20
"""A process may have grown by so much, and so much more, since it was measured first."""
LIST_FACTOR = 1.5
"""The list, beside a page that needs no database, may take so many times as long as at first."""
HEADERS = {"Content-Type": "application/json"}


class Soak:
    """A service, and what is asked of it.

    Args:
        root: its URL.
        body: of each request.
    """

    def __init__(self, root: str, body: bytes) -> None:
        self._root = root
        self._body = body
        self._http = urllib3.PoolManager(maxsize=CLIENTS)

    def one(self, number: int) -> None:
        """Do a job: every second one is waited for, the other ones are asked for until they have ended."""
        url = f"{self._root}/processes/classify-objects/execution"
        if number % 2:
            self._require(self._http.request("POST", url, body=self._body, headers=HEADERS), HTTPStatus.OK)
            return
        headers = HEADERS | {"Prefer": "respond-async"}
        reply = self._require(self._http.request("POST", url, body=self._body, headers=headers), HTTPStatus.CREATED)
        link = reply.headers["Location"]
        while True:
            status = self._require(self._http.request("GET", link), HTTPStatus.OK).json()["status"]
            if status == "successful":
                break
            if status not in ("accepted", "running"):
                raise SystemExit(f"a job is {status}")
            time.sleep(0.02)
        self._require(self._http.request("GET", f"{link}/results"), HTTPStatus.OK)

    def list_ms(self) -> tuple[float, float]:
        """Return the median time of the first page of the job list, and of a page that needs no database."""
        found: dict[str, list[float]] = {"/jobs": [], "/conformance": []}
        for _ in range(LOOKS):
            for path, times in found.items():
                start_s = time.perf_counter()
                headers = {"Accept": "application/json"}
                self._require(self._http.request("GET", self._root + path, headers=headers), HTTPStatus.OK)
                times.append(time.perf_counter() - start_s)
        return 1000 * statistics.median(found["/jobs"]), 1000 * statistics.median(found["/conformance"])

    def _require(self, reply: urllib3.BaseHTTPResponse, status: int) -> urllib3.BaseHTTPResponse:
        if reply.status != status:
            raise SystemExit(f"{reply.status}: {reply.data.decode()}")
        return reply


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    count: int = parser.parse_args().jobs
    FOLDER.mkdir(exist_ok=True)
    image = data.make_image(FOLDER / "image.tif", SIDE_PX)
    package = networks.save_package(FOLDER / "tiny", 16, "tiny")
    home = FOLDER / "soak"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    configuration, port = jobs.configure(home, image, package)
    inputs = {"image": {"href": image.as_uri()}, "model": package.name, "features": jobs.one_object(image)}
    soak = Soak(f"http://127.0.0.1:{port}", json.dumps({"inputs": inputs}).encode())
    print(f"{count} jobs, {CLIENTS} clients, load {os.getloadavg()[0]:.2f}", flush=True)
    with jobs.serving(configuration, port) as pid, ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(soak.one, range(EARLY)))
        early = soak.list_ms()
        tell(EARLY, {}, early)
        list(clients.map(soak.one, range(EARLY, WARM)))
        first = latest = memory(pid)
        tell(WARM, first, soak.list_ms())
        for done in range(WARM, count, EVERY):
            start_s = time.monotonic()
            end = min(done + EVERY, count)
            list(clients.map(soak.one, range(done, end)))
            latest, late = memory(pid), soak.list_ms()
            tell(end, latest, late)
            print(f"  {(end - done) / (time.monotonic() - start_s):.1f} jobs/s", flush=True)
    missed = int(late[0] / late[1] > LIST_FACTOR * early[0] / early[1])
    print(f"the list beside the other page: {early[0] / early[1]:.2f} at first, {late[0] / late[1]:.2f} at the end")
    for process, bytes_ in latest.items():
        if process not in first:
            print(f"{process} was started anew")
            missed += 1
        elif bytes_ > MEMORY_FACTOR * first[process] + MEMORY_BYTES:
            print(f"{process} has grown from {first[process] / 2**20:.1f} to {bytes_ / 2**20:.1f} MiB")
            missed += 1
    print(f"load {os.getloadavg()[0]:.2f} at the end; {missed} marks missed")
    return missed


def memory(pid: int) -> dict[str, int]:
    """Return the bytes that each process of a service has for itself."""
    service = psutil.Process(pid)
    found = {}
    for process in (service, *service.children(recursive=True)):
        command = process.cmdline()
        kind = "slot" if process.name() == NAME else command[-1]
        found[f"{kind} {process.pid}"] = process.memory_full_info().uss
    return found


def tell(done: int, memories: dict[str, int], times_ms: tuple[float, float]) -> None:
    """Print how things are after so many jobs."""
    parts = ", ".join(f"{name} {bytes_ / 2**20:.1f}" for name, bytes_ in memories.items())
    print(f"{done} jobs: the list {times_ms[0]:.2f} ms, another page {times_ms[1]:.2f} ms; MiB: {parts}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
