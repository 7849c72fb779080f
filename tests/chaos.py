"""Kill processes of the service at random while jobs run, and see whether anything is lost.

    python tests/chaos.py [--kills 100] [--jobs 10] [--objects 5000] [--kind cluster|embedded|both] [--seed N]

A cluster has PostgreSQL, a scheduler that speaks TLS, two workers, a runner and a web server; embedded is `serve` with
SQLite. What is killed is started again, by the service itself or, as systemd or Kubernetes would do it, from here. Every
job must end successful, with each object once, and labels equal to those of an undisturbed run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from jobs_service import Service, cluster_of, kind_of, make_town, objects, running
from postgres import Postgres

REPEATS = 1000
"""Makes an object take some 2 ms."""
PAUSE_S = (0.3, 2.5)
"""Between two kills."""
PATIENCE_S = 300
"""A job that has not ended so long after the last kill never will."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=10)
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--kind", choices=["cluster", "embedded", "both"], default="both")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}, load {os.getloadavg()[0]:.2f}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        town = make_town(home / "town", REPEATS)
        for kind in ("cluster", "embedded") if options.kind == "both" else (options.kind,):
            run(kind, town, home / kind, options)
    return 0


def run(kind: str, town: Path, folder: Path, options: argparse.Namespace) -> None:
    """Compare a disturbed run with one that is not."""
    folder.mkdir()
    dice = random.Random(options.seed)
    with contextlib.ExitStack() as stack:
        if kind == "cluster":
            service = cluster_of(town, folder, stack.enter_context(contextlib.closing(Postgres())).url)
        else:
            service = Service(town, folder)
        stack.enter_context(running(service))
        start_s = time.monotonic()
        expected = [labels(service, job) for job in submit(service, options, [])]
        calm_s = time.monotonic() - start_s
        print(f"{kind}: {options.jobs} jobs of {options.objects} objects undisturbed in {calm_s:.0f} s", flush=True)
        start_s = time.monotonic()
        killed: Counter[str] = Counter()
        ended = threading.Event()
        restarted = threading.Thread(target=start_again, args=(service, ended), daemon=True)
        if kind == "cluster":
            restarted.start()
        done: list[str] = []
        try:
            while killed.total() < options.kills or not done:
                jobs = submit(service, options, [])
                while killed.total() < options.kills and not all(has_ended(service, job) for job in jobs):
                    time.sleep(dice.uniform(*PAUSE_S))
                    victim = kill_one(service, dice)
                    if victim is not None:
                        killed[victim] += 1
                for job, wanted in zip(jobs, expected, strict=True):
                    found = service.wait(job, "successful", "failed", "dismissed", timeout_s=PATIENCE_S)
                    if found["status"] != "successful" or labels(service, job) != wanted:
                        raise SystemExit(
                            f"{kind}: job {job} came to {found}, after {dict(killed)}\n{service.log()[-20000:]}"
                        )
                done += jobs
        finally:  # else what is ended now would be started again
            ended.set()
            if restarted.is_alive():
                restarted.join()
        log = service.log()
        print(
            f"{kind}: {killed.total()} kills ({', '.join(f'{name} {count}' for name, count in sorted(killed.items()))}), "
            f"{len(done)} jobs all successful, each object once, labels equal, in {time.monotonic() - start_s:.0f} s; "
            f"{log.count('job claimed')} claims, {log.count('slot ended within a step')} slots lost within a step, "
            f"{log.count('step lost')} steps lost on their way",
            flush=True,
        )


def submit(service: Service, options: argparse.Namespace, jobs: list[str]) -> list[str]:
    """Submit jobs, each of other objects; what does not answer is asked again, as a client would."""
    while len(jobs) < options.jobs:
        inputs = service.inputs(1, "slow") | {"features": objects(options.objects, seed=len(jobs))}
        with contextlib.suppress(OSError):
            reply = service.execute(inputs, "respond-async")
            if reply.status == 201:
                jobs.append(str(reply.json["jobID"]))
        time.sleep(0.1)
    return jobs


def has_ended(service: Service, job: str) -> bool:
    with contextlib.suppress(OSError, AssertionError):
        return service.status(job)["status"] not in ("accepted", "running")
    return False


def labels(service: Service, job: str) -> list[tuple[int, str]]:
    """Return id and label of each object of a job, once it has ended."""
    service.wait(job, timeout_s=PATIENCE_S)
    while True:
        with contextlib.suppress(OSError, KeyError, ValueError):
            return [item[:2] for item in service.labels(job)]
        time.sleep(0.2)


def kill_one(service: Service, dice: random.Random) -> str | None:
    """Kill a process of a kind drawn by lot, and return its kind."""
    found: dict[str, list[psutil.Process]] = {}
    for process in service.processes():
        found.setdefault(kind_of(process), []).append(process)
    kinds = sorted(found.keys() & {"web", "web-worker", "runner", "slot", "worker", "scheduler"})
    if not kinds:
        return None
    kind = dice.choice(kinds)
    with contextlib.suppress(psutil.NoSuchProcess):
        dice.choice(found[kind]).kill()
        return kind
    return None


def start_again(service: Service, ended: threading.Event) -> None:
    """Start parts again that have ended."""
    while not ended.wait(0.3):
        for name, part in list(service.parts.items()):
            if part.poll() is not None:
                command: Sequence[Any] = part.args if isinstance(part.args, list) else []
                service.start(*map(str, command[command.index(service.configuration) + 1 :]), name=name)


if __name__ == "__main__":
    sys.exit(main())
