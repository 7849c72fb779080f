"""Attack the service from all sides at once, and see what another client notices.

    python tests/siege.py [--seconds 60] [--only ATTACK]... [--addresses 32] [--root CHECKOUT] [--log FILE]

The service is the real `serve` with two web workers, at a free port and with a state folder of its own. The attackers
are one process of low priority (`attackers.py`); what they do is listed in `ATTACKS` there. They come from addresses of
the loopback network; with `--addresses 0` from the same address as the client that is measured. That client asks for
`/conformance` at a steady pace, whether the last answer has come or not, sends synchronous requests of one object, and
waits for callbacks. What gets no answer, or an error, counts as `PATIENCE_S`. Ends with 1 where a limit is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from free_ports import free_port
from jobs_service import Service, make_town, objects, running

COUNTS = {
    "slow-readers": 200,
    "dripping-senders": 200,
    "silent": 500,
    "large-bodies": 12,
    "sparse-images": 6,
    "dripping-host": 4,
    "dripping-subscriber": 4,
}
"""Attackers of each kind that are at work at the same time."""
CALM_S, ONSET_S = 5, 10
"""Seconds without attackers at first, and seconds that the attackers have before anything counts."""
PATIENCE_S = 30
"""What has no answer by then has failed."""
PROBES_PER_S = 5
RESULT_OBJECTS, ATTRIBUTE_BYTES = 5000, 4000
"""Of the large result: some 20 MB."""
LIMITS = {"conformance p95": 0.5, "one object p95": 3.0, "callback max": 10.0, "memory MB": 500.0}


@dataclass
class Measured:
    """What a client saw, in seconds, and what the web processes took, in bytes."""

    times: dict[str, list[float]] = field(default_factory=lambda: {"conformance": [], "one object": [], "callback": []})
    failures: list[str] = field(default_factory=list)
    jobs: list[tuple[float, str]] = field(default_factory=list)
    """Jobs whose callback came or was given up, with the seconds that it took."""
    uss: list[int] = field(default_factory=list)
    pss: list[int] = field(default_factory=list)
    rss: list[int] = field(default_factory=list)
    cpu: float = 0
    """Share of a core that the web processes took."""

    def add(self, name: str, act: Callable[[], None]) -> None:
        """Do something and enter how long it took."""
        start_s = time.monotonic()
        try:
            act()
        except (OSError, AssertionError) as err:
            self.failures.append(f"{name}: {str(err)[:200] or type(err).__name__}")
            self.times[name].append(PATIENCE_S)
        else:
            self.times[name].append(time.monotonic() - start_s)


class Subscriber:
    """Knows which of its paths were called."""

    def __init__(self) -> None:
        called = self._called = set[str]()
        arrived = self._arrived = threading.Condition()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(204)
                self.end_headers()
                with arrived:
                    called.add(self.path)
                    arrived.notify_all()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def wait(self, path: str) -> None:
        with self._arrived:
            if not self._arrived.wait_for(lambda: path in self._called, PATIENCE_S):
                raise TimeoutError("no callback came")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="that are measured under attack")
    parser.add_argument("--only", action="append", choices=COUNTS, help="leave out all other attacks; again for more")
    parser.add_argument("--addresses", type=int, default=32, help="that attackers come from; 0 = the client's own")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="checkout of the service")
    parser.add_argument("--log", type=Path, help="file for the service's log")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left behind
    attacks = {name: count for name, count in COUNTS.items() if not options.only or name in options.only}
    subscriber, host_port = Subscriber(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "service").mkdir()
        town = make_town(home / "town")
        hosts = ["127.0.0.1", f"127.0.0.1:{host_port}", f"127.0.0.1:{subscriber.port}"]
        with running(Service(town, home / "service", root=options.root.resolve(), hosts=",".join(hosts))) as service:
            result = large_result(service)
            calm = measure(service, subscriber, CALM_S)
            tell("calm", calm)
            orders = {
                "port": service.port,
                "host_port": host_port,
                "attacks": attacks,
                "addresses": [f"127.0.1.{number + 1}" for number in range(options.addresses)] or ["127.0.0.1"],
                "result": result,
                "inputs": service.inputs(1),
            }
            with attacked(orders) as attackers:
                time.sleep(ONSET_S)
                started_s = time.monotonic()
                used_s = cpu_s(attackers.pid)
                sieged = measure(service, subscriber, options.seconds)
                share = (cpu_s(attackers.pid) - used_s) / (time.monotonic() - started_s)
            missed = tell(" ".join(attacks), sieged)
            tell_slowest(service, sieged)
            print(f"the attackers took {100 * share:.0f} % of a core; load {os.getloadavg()[0]:.1f}")
            recovered = Measured()
            recovered.add("conformance", lambda: conformance(service))
            print(f"the first answer after the attack took {recovered.times['conformance'][0]:.2f} s", flush=True)
            if options.log:
                options.log.write_text(service.log())
            if any(word in service.log() for word in ("Traceback", "level=error")):
                lines = [line for line in service.log().splitlines() if "level=error" in line or "Error:" in line]
                print(
                    f"{len(lines)} errors in the log, such as: "
                    + "\n  ".join(sorted({line[29:300] for line in lines})[:5])
                )
    return min(missed, 1)


def large_result(service: Service) -> str:
    """Have a large result made, and return its path."""
    features = objects(RESULT_OBJECTS)
    for feature in features["features"]:
        feature["properties"]["text"] = "x" * ATTRIBUTE_BYTES
    reply = service.execute(service.inputs() | {"features": features}, "respond-async")
    assert reply.status == 201, reply.body
    job = reply.json["jobID"]
    assert service.wait(job)["status"] == "successful"
    return f"/jobs/{job}/results"


@contextlib.contextmanager
def attacked(orders: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Let the attackers be at work; print what came of their attacks in the end."""
    command = [sys.executable, str(Path(__file__).with_name("attackers.py")), json.dumps(orders)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as attackers:
        assert attackers.stdin is not None
        assert attackers.stdout is not None
        assert attackers.stdout.readline() == b"ready\n"
        try:
            yield attackers
        finally:
            attackers.stdin.close()
            for name, events in json.loads(attackers.stdout.read() or b"{}").items():
                print(f"  {name}: " + ", ".join(f"{count} {event}" for event, count in sorted(events.items())))


def measure(service: Service, subscriber: Subscriber, seconds: float) -> Measured:
    """Be another client for a while."""
    measured = Measured()
    ended = threading.Event()

    def repeat(name: str, act: Callable[[], None], pause_s: float) -> None:
        while not ended.wait(pause_s):
            measured.add(name, act)

    def memory() -> None:
        while not ended.wait(0.5):
            found = []
            for process in (*service.of_kind("web"), *service.of_kind("web-worker")):
                with contextlib.suppress(psutil.NoSuchProcess):
                    found.append(process.memory_full_info())
            measured.uss.append(sum(info.uss for info in found))
            measured.pss.append(sum(info.pss for info in found))
            measured.rss.append(sum(info.rss for info in found))

    with ThreadPoolExecutor(int(PATIENCE_S * PROBES_PER_S) + 10) as pool:
        others = [
            pool.submit(repeat, "one object", lambda: one_object(service), 0.3),
            pool.submit(repeat, "callback", lambda: called_back(service, subscriber, measured.jobs), 0.3),
            pool.submit(memory),
        ]
        start_s, used_s = time.monotonic(), web_cpu_s(service)
        for number in range(math.ceil(seconds * PROBES_PER_S)):
            time.sleep(max(0, start_s + number / PROBES_PER_S - time.monotonic()))
            pool.submit(measured.add, "conformance", lambda: conformance(service))
        measured.cpu = (web_cpu_s(service) - used_s) / (time.monotonic() - start_s)
        ended.set()
        for other in others:
            other.result()
    return measured


def web_cpu_s(service: Service) -> float:
    return sum(cpu_s(process.pid) for process in (*service.of_kind("web"), *service.of_kind("web-worker")))


def conformance(service: Service) -> None:
    assert service.request("GET", "/conformance", timeout_s=PATIENCE_S).status == 200


def one_object(service: Service) -> None:
    body = {"inputs": service.inputs(1)}
    reply = service.request("POST", "/processes/classify-objects/execution", body, timeout_s=PATIENCE_S)
    assert reply.status == 200, reply.body


def called_back(service: Service, subscriber: Subscriber, jobs: list[tuple[float, str]]) -> None:
    """Submit a job, and wait for its callback; enter the job in the end."""
    start_s = time.monotonic()
    path = f"/{time.monotonic_ns()}"
    url = f"http://127.0.0.1:{subscriber.port}{path}"
    body = {"inputs": service.inputs(1), "subscriber": {"successUri": url}}
    headers = {"Prefer": "respond-async"}
    reply = service.request("POST", "/processes/classify-objects/execution", body, headers, PATIENCE_S)
    assert reply.status == 201, reply.body
    accepted_s = time.monotonic() - start_s
    try:
        subscriber.wait(path)
    finally:
        jobs.append((time.monotonic() - start_s, f"{reply.json['jobID']}, accepted after {accepted_s:.1f} s"))


def tell(name: str, measured: Measured) -> int:
    """Print what was measured; return the number of limits that were missed."""
    megabytes = {kind: max(getattr(measured, kind), default=0) / 1e6 for kind in ("uss", "pss", "rss")}
    found = {"memory MB": megabytes["pss"]}
    print(f"{name}\n  {'':12} {'p50':>7} {'p95':>7} {'max':>7}  count")
    for what, times in measured.times.items():
        figures = {"p50": statistics.median(times), "p95": percentile(times, 0.95), "max": max(times)}
        print(f"  {what:12} " + " ".join(f"{value:7.3f}" for value in figures.values()) + f" s {len(times):5}")
        found |= {f"{what} {figure}": value for figure, value in figures.items()}
    print(
        "  web processes "
        + ", ".join(f"{kind.upper()} {value:.0f} MB" for kind, value in megabytes.items())
        + f", {100 * measured.cpu:.0f} % of a core"
    )
    missed = [f"{what} {found[what]:.3g} > {limit:g}" for what, limit in LIMITS.items() if found[what] > limit]
    print(f"  missed: {'; '.join(missed) or 'nothing'}; {len(measured.failures)} requests failed")
    for failure in sorted(set(measured.failures))[:5]:
        print(f"    {failure}")
    return len(missed) + len(measured.failures)


def tell_slowest(service: Service, measured: Measured) -> None:
    """Print what the log has of the job whose callback came last."""
    seconds, job = max(measured.jobs, default=(0, ""))
    print(f"  the slowest callback, {seconds:.1f} s: {job}")
    for line in service.log().splitlines() if job else ():
        if f"job={job[:36]}" in line:
            print(f"    {line[:160]}")


def percentile(times: Sequence[float], share: float) -> float:
    return sorted(times)[math.ceil(share * len(times)) - 1]


def cpu_s(pid: int) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    return 0


if __name__ == "__main__":
    sys.exit(main())
