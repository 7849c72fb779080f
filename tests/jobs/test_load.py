"""Many clients at the same time, and many dismissals: nothing fails, and slots are free at once."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from jobs_service import Service, make_town, running, until
from mixed_load import CLIENTS, LIMITS, STATUSES, WEB_WORKERS, mixed_load, p95

pytestmark = [pytest.mark.jobs, pytest.mark.timed]

LOAD_S = 60


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_town(tmp_path_factory.mktemp("town"), chip_ms=4)


@pytest.fixture
def service(town: Path, tmp_path: Path) -> Iterator[Service]:
    with running(Service(town, tmp_path, limits=LIMITS, web_workers=WEB_WORKERS)) as service:
        yield service


@pytest.mark.timeout(300)
def test_sixteen_clients_of_four_web_processes_meet_no_error(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    load = mixed_load(service, LOAD_S)
    with capsys.disabled():
        figures = {name: f"{len(all_)}, p95 {p95(all_):.3f} s" for name, all_ in sorted(load.times_s.items())}
        print(f"\n{CLIENTS} clients, {LOAD_S} s: {figures}")  # noqa: T201 - a figure that the notes report
    assert load.unexpected() == set()
    assert {name for name, _ in load.counts} == set(STATUSES)
    log = service.log()
    assert "locked" not in log
    assert "level=error" not in log, [line for line in log.splitlines() if "level=error" in line][:3]


@pytest.mark.timeout(600)
def test_fifty_dismissals_at_random_moments_leave_idle_slots_within_a_second(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    dice = random.Random(1)
    assert service.wait(service.submit(1, "slow"))["status"] == "successful"
    before = {process.pid for process in service.processes()}
    idle_after: list[float] = []
    for _ in range(50):
        # batches of some 0.1 s, and of more than a second, which can only be ended by force
        arguments = dice.choice(({}, {"batch_size": 500}))
        job = service.submit(dice.choice((8000, 16_000)), "slow", modelArguments=arguments)
        until(lambda job=job: service.status(job)["status"] == "running")  # type: ignore[misc]
        time.sleep(dice.uniform(0, 4))
        asked = time.time()
        reply = service.request("DELETE", f"/jobs/{job}")
        assert (reply.status, reply.json["status"]) == (200, "dismissed")
        until(lambda job=job: service.events(job, "job let go"), 5)  # type: ignore[misc]
        (line,) = service.events(job, "job let go")
        idle_after.append(datetime.fromisoformat(line.split("timestamp=")[1].split()[0]).timestamp() - asked)
        assert service.get(f"/jobs/{job}/results").status == 410
    with capsys.disabled():
        print(  # noqa: T201 - a figure that the notes report
            f"\n50 dismissals: slots idle after {statistics.median(idle_after):.3f} s (median), "
            f"{p95(idle_after):.3f} s (p95), {max(idle_after):.3f} s (most)"
        )
    assert p95(idle_after) <= 1
    results = service.state / "results"
    until(lambda: len(list(results.iterdir())) == 1, 5)  # of the first job
    scratch = [path for path in (service.state / "work").rglob("*") if path.is_file() and path.name != "lock"]
    assert not [path for path in scratch if "dask" not in str(path)]
    assert len(service.processes()) == len(before)
    assert not [process for process in psutil.process_iter() if _is_stray(process, service)]


def _is_stray(process: psutil.Process, service: Service) -> bool:
    """Say whether a slot's process of this service has no owner."""
    try:
        return str(service.configuration) in process.cmdline() and process.ppid() == 1
    except psutil.Error:
        return False
