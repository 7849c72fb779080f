"""Limits before work, on a real service: hosts that drip, jobs that are dismissed within a download, large folders."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dripping_hosts import ANSWERS, HANDSHAKES, dripping_host
from free_ports import free_port
from jobs_service import Service, make_town, running, until

pytestmark = pytest.mark.jobs

SECONDS = 2
PORTS = {name: free_port() for name in (*ANSWERS, "handshake")}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    town = make_town(tmp_path_factory.mktemp("town"))
    hosts = ",".join(f"127.0.0.1:{port}" for port in PORTS.values())
    limits = {"max_download_s": SECONDS, "max_images": 1000, "max_waiting_jobs_per_client": 3, "max_running_jobs": 2}
    with running(Service(town, tmp_path_factory.mktemp("service"), limits=limits, hosts=hosts)) as service:
        yield service


@pytest.mark.parametrize("name", [name for name in PORTS if name != "a flood of interim answers"])
def test_host_that_drips_is_named_with_the_seconds(service: Service, name: str) -> None:
    answer = {**ANSWERS, **HANDSHAKES}[name]
    scheme = "https" if name == "handshake" else "http"
    with dripping_host(answer, PORTS[name]):
        href = f"{scheme}://127.0.0.1:{PORTS[name]}/a"
        start_s = time.monotonic()
        for inputs in ({"image": {"href": href}}, {"features": {"href": href}}):
            reply = service.execute(service.inputs(1) | inputs)
            assert (reply.status, f"did not arrive within {SECONDS} s" in reply.json["detail"]) == (400, True), (
                reply.body
            )
        assert time.monotonic() - start_s < 2 * SECONDS + 20


def test_images_and_features_share_the_time(service: Service) -> None:
    name = "body"
    with dripping_host(ANSWERS[name], PORTS[name]):
        href = f"http://127.0.0.1:{PORTS[name]}/a"
        start_s = time.monotonic()
        inputs = service.inputs(1) | {"image": [{"href": href}] * 100, "features": {"href": href}}
        reply = service.execute(inputs)
        assert reply.status == 400
        assert len(reply.json["errors"]) == 101
        assert time.monotonic() - start_s < SECONDS + 20, "not 101 times as long"


@pytest.mark.timeout(300)
def test_job_is_dismissed_within_a_download(service: Service, tmp_path: Path) -> None:
    long = {"max_download_s": 600}
    hosts = f"127.0.0.1:{PORTS['silent']}"
    with (
        dripping_host(ANSWERS["silent"], PORTS["silent"]),
        running(Service(service.town, tmp_path, limits=long, hosts=hosts)) as patient,
    ):
        job = patient.submit(1, image={"href": f"http://{hosts}/a.tif"})
        until(lambda: patient.status(job)["status"] == "running")
        time.sleep(0.5)  # so that the download has begun, most likely; else the test is an easier one
        assert patient.request("DELETE", f"/jobs/{job}").status == 200
        until(lambda: not (patient.state / "results" / job).exists(), 5)


def test_large_folder_is_refused_before_it_is_read(service: Service) -> None:
    folder = service.town / "imagery" / "large"
    folder.mkdir()
    for number in range(1100):
        os.close(os.open(folder / f"{number}.tif", os.O_CREAT))
    jobs = service.get("/jobs?limit=10000").json["jobs"]
    reply = service.execute(service.inputs(1, image={"href": folder.as_uri() + "/"}))
    assert reply.status == 413, reply.body
    assert "max_images = 1000" in reply.json["detail"]
    assert service.get("/jobs?limit=10000").json["jobs"] == jobs, "the web server says so, and no job is made"


def test_order_is_not_written_where_no_job_may_wait(service: Service) -> None:
    def pause(seconds: int) -> Any:
        body = {"inputs": {"echo": "a", "pause": seconds}}
        return service.request("POST", "/processes/echo/execution", body, {"Prefer": "respond-async"})

    host = PORTS["silent"]
    with dripping_host(ANSWERS["silent"], host):
        jobs: list[str] = []
        while (reply := pause(30)).status == 201:
            jobs.append(reply.json["jobID"])
        assert reply.status == 429
        before = os.stat(service.state / "results").st_mtime_ns
        for _ in range(3):
            assert pause(30).status == 429
        assert os.stat(service.state / "results").st_mtime_ns == before, "nothing was written, and removed again"
        for job in jobs:
            service.request("DELETE", f"/jobs/{job}")
