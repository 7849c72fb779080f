"""What is no job: validations and faulty requests, beside clients who dismiss whatever they find."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs_service import Reply, Service, make_town, running, until

pytestmark = pytest.mark.jobs

VALIDATE, EXECUTE = "/processes/classify-objects/validate", "/processes/classify-objects/execution"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_town(tmp_path_factory.mktemp("town"), chip_ms=4)


def repeat(ended: threading.Event, action: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        while not ended.is_set():
            action()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_nobody_sees_or_stops_a_validation_in_mixed_load(town: Path, tmp_path: Path) -> None:
    with running(Service(town, tmp_path)) as service:
        good = {"inputs": service.inputs(3)}
        broken = {"inputs": service.inputs(3, cellSize=-1)}  # what only shows in a file makes a job, which fails
        answers: Counter[tuple[str, int]] = Counter()
        seen: set[str] = set()
        accepted: set[str] = set()
        ended = threading.Event()

        def ask(name: str, path: str, body: Any, **headers: str) -> Reply:
            reply = service.request("POST", path, body, headers)
            answers[name, reply.status] += 1
            return reply

        def submit() -> None:
            accepted.add(ask("async", EXECUTE, good, Prefer="respond-async").json["jobID"])

        def dismiss_all() -> None:
            for job in service.get("/jobs?limit=1000").json["jobs"]:
                if job["status"] != "dismissed":
                    seen.add(job["jobID"])
                    service.request("DELETE", f"/jobs/{job['jobID']}")
            results = service.state / "results"
            for folder in results.iterdir() if results.is_dir() else ():  # of dry runs nobody else knows the name
                if folder.name not in accepted:
                    answers["get", service.get(f"/jobs/{folder.name}").status] += 1
                    answers["delete", service.request("DELETE", f"/jobs/{folder.name}").status] += 1

        threads = [repeat(ended, lambda: ask("validate", VALIDATE, good)) for _ in range(4)]
        threads += [repeat(ended, lambda: ask("faulty", EXECUTE, broken)) for _ in range(2)]
        threads += [repeat(ended, dismiss_all), repeat(ended, submit)]
        until(lambda: answers["validate", 200] >= 50 and answers["faulty", 400] >= 20, 180)
        ended.set()
        for thread in threads:
            thread.join()
        del answers["get", 404], answers["delete", 404]
        # a job that was accepted a moment before may be dismissed by its folder's name
        assert {status for name, status in answers if name in ("validate", "faulty")} == {200, 400}, answers
        assert seen <= accepted
        until(lambda: {folder.name for folder in (service.state / "results").iterdir()} <= accepted)
        metrics = service.get("/metrics").body.decode()
        waiting = [line for line in metrics.splitlines() if line.startswith("classify_jobs{")]
        assert sum(float(line.split()[-1]) for line in waiting) <= len(accepted)


def test_metrics_count_no_validation(town: Path, tmp_path: Path) -> None:
    with running(Service(town, tmp_path)) as service:
        assert service.request("POST", VALIDATE, {"inputs": service.inputs(3)}).status == 200
        assert service.execute(service.inputs(1, cellSize=-1)).status == 400
        assert service.execute(service.inputs(1)).status == 200
        assert 'classify_jobs_ended_total{status="successful"} 1.0' in service.get("/metrics").body.decode()
        assert 'status="failed"' not in service.get("/metrics").body.decode()
        assert len(service.get("/jobs").json["jobs"]) == 1
