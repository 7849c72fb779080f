"""Measure two checkouts of the service side by side: the minute of sixteen clients, in rounds that take turns.

    python tests/side_by_side.py OTHER [--rounds 6] [--seconds 20]
    python tests/side_by_side.py --tokens       # this checkout, with tokens and open

Both services run all the time; one is asked while the other has nothing to do. Which is asked first changes from round
to round, and both get the same requests. What is still to do at the end of a round is dismissed. The ratio is this
checkout's time by the other one's, of each round, and the median of them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from jobs_service import Service, make_town, running, until
from mixed_load import LIMITS, WEB_WORKERS, mixed_load, p95
from processes.access.person import Role
from service import ROOT


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    compared = parser.add_mutually_exclusive_group(required=True)
    compared.add_argument("other", nargs="?", type=Path, help="checkout with a virtual environment of its own in .venv")
    compared.add_argument("--tokens", action="store_true", help="compare this checkout, with tokens, with itself, open")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=20, help="of each checkout in a round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        town = make_town(home / "town", chip_ms=4)
        for name in ("here", "there"):
            (home / name).mkdir()
        if options.tokens:
            here = with_a_token(Service(town, home / "here", (), LIMITS, web_workers=WEB_WORKERS, access="tokens"))
            there, names = Service(town, home / "there", limits=LIMITS, web_workers=WEB_WORKERS), ("tokens", "open")
        else:
            here, other = Service(town, home / "here", limits=LIMITS, web_workers=WEB_WORKERS), options.other.resolve()
            there = Service(town, home / "there", limits=LIMITS, root=other, web_workers=WEB_WORKERS)
            names = (ROOT.name, other.name)
        with running(here), running(there):
            services = {"here": here, "there": there}
            for service in services.values():
                mixed_load(service, 3)  # so that the networks are open
                drain(service)
            ratios = [one_round(services, number, options.seconds) for number in range(options.rounds)]
    for name in ("p50", "p95"):
        values = [ratio[name] for ratio in ratios]
        print(f"{names[0]} by {names[1]}, sync {name}: median ratio {statistics.median(values):.3f} "
              f"({min(values):.3f} to {max(values):.3f})")  # fmt: skip
    return 0


def with_a_token(service: Service) -> Service:
    """Start a service that asks who makes requests, and let them say so."""
    service.add_token("load", Role.OPERATOR)
    service.start("serve")
    return service


def one_round(services: dict[str, Service], number: int, seconds: float) -> dict[str, float]:
    """Ask both services, print what each took, and return the ratios of synchronous requests."""
    found: dict[str, dict[str, float]] = {}
    for name in sorted(services, reverse=bool(number % 2)):
        load = mixed_load(services[name], seconds, number)
        drain(services[name])
        times = load.times_s["sync"]
        found[name] = {"p50": statistics.median(times), "p95": p95(times)}
        others = ", ".join(f"{kind} {p95(all_):.3f}" for kind, all_ in sorted(load.times_s.items()) if len(all_) > 1)
        print(f"round {number + 1}, {name}: {len(times)} sync, p50 {found[name]['p50']:.3f} s, p95 {found[name]['p95']:.3f} s; "
              f"p95 of all: {others}; load {os.getloadavg()[0]:.1f}", flush=True)  # fmt: skip
        if load.unexpected():
            print(f"  unexpected: {load.unexpected()} {sorted(load.errors)[:3]}")
    return {figure: found["here"][figure] / found["there"][figure] for figure in ("p50", "p95")}


def drain(service: Service) -> None:
    """Dismiss all jobs that have not ended, and wait until none is left."""
    for status in ("accepted", "running"):
        for job in service.get(f"/jobs?limit=10000&status={status}").json["jobs"]:
            service.request("DELETE", f"/jobs/{job['jobID']}")
    until(lambda: not any(service.get(f"/jobs?status={status}").json["jobs"] for status in ("accepted", "running")), 60)


if __name__ == "__main__":
    sys.exit(main())
