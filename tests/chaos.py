"""Let faults happen to the service at random while jobs run, and see whether anything is lost or doubled.

    python tests/chaos.py [--faults 100] [--jobs 10] [--objects 5000] [--kind cluster|embedded|both] [--seed N]

A cluster has PostgreSQL, a scheduler that speaks TLS, two workers, a runner and a web server; embedded is `serve` with
SQLite. Processes are killed; processes are frozen for longer than a lease and woken; the database is locked for some
seconds; the disk of the state folder, a small one of its own, is filled and emptied; the network between the scheduler
and those who work for it is cut and mended. What is killed is started again, by the service itself or, as systemd or
Kubernetes would do it, from here.

Nothing is lost: every job that the service accepted ends, and ends successful, with each object of the request once and
in order, and with the labels of an undisturbed run. One end alone is allowed beside that: a job may fail because the
disk was full, if its message says so. Such a job is sent again, and ends successful in the end. Nothing is doubled: no
object is in a result twice, and no job ends twice.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from chaos_faults import Faults, small_disk, start_again
from jobs_service import Service, cluster_of, make_town, objects, running
from postgres import Postgres

CHIP_MS = 2
"""Makes an object take some 2 ms."""
PAUSE_S = (0.3, 2.5)
"""Between two faults."""
PATIENCE_S = 300
"""A job that has not ended so long after the last fault never will."""
DISK_FULL = "no space left"
"""What the message of a job says that failed because the disk was full."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=10)
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--kind", choices=["cluster", "embedded", "both"], default="both")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left behind
    print(f"seed {options.seed}, load {os.getloadavg()[0]:.2f}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        town = make_town(home / "town", CHIP_MS)
        for kind in ("cluster", "embedded") if options.kind == "both" else (options.kind,):
            run(kind, town, home / kind, options)
    return 0


def run(kind: str, town: Path, folder: Path, options: argparse.Namespace) -> None:
    """Compare a disturbed run with one that is not."""
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        disk = stack.enter_context(small_disk(folder / "state"))
        if disk is None:
            print("this machine lets nobody mount a small disk: none is filled", flush=True)
        if kind == "cluster":
            store = stack.enter_context(contextlib.closing(Postgres())).url
            service = cluster_of(town, folder, store, is_cut_off=True)
        else:
            service = Service(town, folder)
        stack.enter_context(running(service))
        if service.network is not None:
            stack.enter_context(contextlib.closing(service.network))
        faults = Faults(service, random.Random(options.seed), disk, service.network)
        start_s = time.monotonic()
        expected = [labels(service, job) for job in submit(service, options)]
        calm_s = time.monotonic() - start_s
        print(f"{kind}: {options.jobs} jobs of {options.objects} objects undisturbed in {calm_s:.0f} s", flush=True)
        disturb(kind, service, faults, expected, options)


def disturb(
    kind: str, service: Service, faults: Faults, expected: list[list[tuple[int, str]]], options: argparse.Namespace
) -> None:
    """Do the same jobs again and again until enough has happened; raise SystemExit where anything is wrong."""
    ended, started = threading.Event(), Counter[str]()
    restarts = threading.Thread(target=start_again, args=(service, ended, started), daemon=True)
    restarts.start()
    start_s = time.monotonic()
    done, disk_full = list[str](), 0
    try:
        while faults.done.total() < options.faults or not done:
            jobs = submit(service, options)
            while faults.done.total() < options.faults and not all(has_ended(service, job) for job in jobs):
                time.sleep(faults.dice.uniform(*PAUSE_S))
                faults.strike()
            if faults.done.total() >= options.faults:
                faults.wait()
            for number, wanted in enumerate(expected):
                while not is_right(kind, service, jobs[number], wanted, faults):
                    disk_full += 1
                    (jobs[number],) = submit(service, options, [number])
                done.append(jobs[number])
        faults.wait()
    finally:  # else what is ended now would be started again
        ended.set()
        restarts.join()
    log = service.log()
    twice = [job for job in done if len(service.events(job, "job successful")) > 1]
    if twice:
        raise SystemExit(f"{kind}: jobs ended twice: {twice}, after {dict(faults.done)}\n{log[-20000:]}")
    print(
        f"{kind}: {faults.done.total()} faults ({_list(faults.done)}); {len(done)} jobs all successful, each object once, labels "
        f"equal, in {time.monotonic() - start_s:.0f} s; {disk_full} failed for want of disk and were sent again; "
        f"{log.count('job claimed')} claims, {log.count('slot ended within a step')} slots lost within a step, "
        f"{log.count('step lost')} steps lost on their way; parts started again: {_list(started) or 'none'}",
        flush=True,
    )


def is_right(kind: str, service: Service, job: str, wanted: list[tuple[int, str]], faults: Faults) -> bool:
    """Wait for a job's end and say whether it is right; False = the disk was full. Anything else raises SystemExit."""
    found = service.wait(job, "successful", "failed", "dismissed", timeout_s=PATIENCE_S)
    if found["status"] == "failed" and DISK_FULL in found["message"] and faults.done["disk full"]:
        return False
    if found["status"] != "successful" or labels(service, job) != wanted:
        raise SystemExit(f"{kind}: job {job} came to {found}, after {dict(faults.done)}\n{service.log()[-20000:]}")
    return True


def submit(service: Service, options: argparse.Namespace, numbers: list[int] | None = None) -> list[str]:
    """Submit jobs, each of other objects; what does not answer is asked again, as a client would.

    Args:
        service: that they are for.
        options: how many objects each has.
        numbers: of the jobs; None = all.
    """
    jobs = list[str]()
    for number in range(options.jobs) if numbers is None else numbers:
        inputs = service.inputs(1, "slow") | {"features": objects(options.objects, seed=number)}
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(OSError):
                body = {"inputs": inputs}
                headers = {"Prefer": "respond-async"}
                reply = service.request("POST", "/processes/classify-objects/execution", body, headers, timeout_s=20)
                if reply.status == 201:
                    jobs.append(str(reply.json["jobID"]))
                    break
                if reply.status not in (503, 507):
                    raise SystemExit(f"a job was refused with {reply.status}: {reply.body!r}\n{service.log()[-20000:]}")
            if time.monotonic() > deadline:
                raise SystemExit(f"no job is accepted for {PATIENCE_S} s\n{service.log()[-20000:]}")
            time.sleep(0.2)
    return jobs


def has_ended(service: Service, job: str) -> bool:
    with contextlib.suppress(OSError, AssertionError):
        return service.status(job)["status"] not in ("accepted", "running")
    return False


def labels(service: Service, job: str) -> list[tuple[int, str]]:
    """Return id and label of each object of a job, once it has ended."""
    service.wait(job, timeout_s=PATIENCE_S)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(OSError, KeyError, ValueError):
            return [item[:2] for item in service.labels(job)]
        if time.monotonic() > deadline:
            raise SystemExit(f"there is no result of job {job}\n{service.log()[-20000:]}")
        time.sleep(0.2)


def _list(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main())
