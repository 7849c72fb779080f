"""What a running service does: who it is, what it answers, how it ends."""

from __future__ import annotations

import csv
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from verification.container import USER, Container, Service
from verification.report import Report

_MODEL = "urban-tree-naip"
_SAMPLE = 2000
_LONG_S = 2.0
"""Duration of the request that runs while the service is stopped, in seconds."""
_STOP_S = 15
_TOLERANCE = 1e-4


def check_behaviour(container: Container, data: Path, report: Report) -> None:
    """Check a service on real imagery.

    Args:
        container: that runs it.
        data: folder that holds `naip_trees`, and that the container has as `/imagery`.
        report: what is found.
    """
    health = container.config["Healthcheck"]["Test"][1:]
    with container.service() as service:
        service.wait_ready(_MODEL)
        _check_process(service, report)
        report.check(container.run(*health).returncode == 0, "health check of a service that is well")
        status, answer = service.execute(_request(data))
        is_right = status == 200 and _is_expected(answer, data)
        report.check(is_right, "labels of the real NAIP request", _summary(status, answer))
        _check_stop(service, data, report)
    report.check(container.run(*health).returncode != 0, "health check of a service that is gone")
    demo = container.run(*container.config["Entrypoint"], "demo")
    told = [line for line in demo.stdout.splitlines() if line.startswith("accuracy")]
    report.check(demo.returncode == 0 and bool(told), "demo", *(told or [demo.stdout[-500:] + demo.stderr[:500]]))


def _check_process(service: Service, report: Report) -> None:
    _, program = service.processes()
    lines = Path(f"/proc/{program}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    is_shut_in = status["Uid"].split() == [str(USER)] * 4 and int(status["CapEff"], 16) == 0
    report.check(is_shut_in, "runs without root", f"user {status['Uid'].split()[0]}, capabilities {status['CapEff']}")
    is_read_only = bool(os.statvfs(f"/proc/{program}/root").f_flag & os.ST_RDONLY)
    report.check(is_read_only, "its root file system is read-only")


def _check_stop(service: Service, data: Path, report: Report) -> None:
    """Check that SIGTERM ends the service, and that a request that is running is answered before."""
    start_s = time.monotonic()
    service.execute(_request(data, _SAMPLE))
    count = int(_SAMPLE * _LONG_S / (time.monotonic() - start_s))
    answers: list[tuple[int, Any]] = []
    asking = threading.Thread(target=lambda: answers.append(service.execute(_request(data, min(count, 20_000)))))
    asking.start()
    time.sleep(_LONG_S / 2)
    is_running = asking.is_alive()
    init, _ = service.processes()
    start_s = time.monotonic()
    os.kill(init, signal.SIGTERM)
    ended = service.wait(_STOP_S)
    took_s = time.monotonic() - start_s
    asking.join(_STOP_S)
    status, answer = answers[0] if answers else (0, {})
    is_finished = is_running and status == 200 and len(answer["features"]) == min(count, 20_000)
    report.check(is_finished, "SIGTERM: a running request is finished", _summary(status, answer))
    report.check(ended == 0 and took_s < 10, "SIGTERM: it ends by itself", f"status {ended}, in {took_s:.1f} s")


def _request(data: Path, count: int | None = None) -> dict[str, Any]:
    """Return a request for the real objects on one image, or for so many: the same ones again and again."""
    features = json.loads((data / "naip_trees" / "objects_26910.geojson").read_text())
    if count is not None:
        known = features["features"]
        features["features"] = [known[number % len(known)] | {"id": number} for number in range(count)]
    return {"image": {"href": "file:///imagery/naip_trees/chico_2020_0.tif"}, "features": features, "model": _MODEL}


def _is_expected(answer: Any, data: Path) -> bool:
    """Return whether an answer has the labels of the slow reference, and its confidence to 1e-4."""
    with (data / "naip_trees" / "expected_26910.csv").open() as file:
        wanted = [(int(row["OBJECTID"]), row["ClassLabel"], float(row["Confidence"])) for row in csv.DictReader(file)]
    rows = [item["properties"] for item in answer["features"]]
    found = [(row["OBJECTID"], row["ClassLabel"], row["Confidence"]) for row in rows]
    is_near = all(abs(a[2] - b[2]) < _TOLERANCE for a, b in zip(found, wanted, strict=False))
    return [item[:2] for item in found] == [item[:2] for item in wanted] and is_near


def _summary(status: int, answer: Any) -> str:
    return f"status {status}, {answer.get('summary', {}).get('counts', answer)}"
