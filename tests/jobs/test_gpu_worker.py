"""GPUs of a cluster that come and go. The driver of a worker is a double; the work is a raster function's, which gets the
number of its GPU and needs none."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from gpu_driver import claiming_a_gpu
from jobs_service import Reply, Service, cluster_of, make_town, running, until
from postgres import Postgres
from processes.model.package_digest import package_digest
from processes.model.runtime.runtimes import missing_gpu
from raster_functions import save_function
from service import ROOT

pytestmark = [pytest.mark.jobs, pytest.mark.timeout(240)]

AWAY_S = 12
"""Longer than a lease lasts."""
VISIBLE = "GPU-8932f937"
COUNT = 400
FIELDS = '{"name": "Device", "type": "esriFieldTypeString"}'
SLOWLY = (
    "row['Device'] = f\"{self.kwargs['device']} {os.environ.get('CUDA_VISIBLE_DEVICES')}\"\n"
    "if chip.dtype != np.uint8: time.sleep(0.02)"
)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    town = make_town(tmp_path_factory.mktemp("town"), chip_ms=0.002)
    save_function(town / "models" / "slowly", SLOWLY, fields=FIELDS)
    return town


@pytest.fixture
def cluster(town: Path, tmp_path: Path, postgres: Postgres) -> Iterator[Service]:
    """Give a cluster of two workers without a GPU."""
    if not missing_gpu():
        pytest.skip("there is a GPU, which its workers have")
    postgres.empty()
    settings: dict[str, Any] = {
        "trusted": [package_digest(town / "models" / "slowly")],
        "raster_function_python": sys.executable,
    }
    with running(cluster_of(town, tmp_path, postgres.url, limits={"max_running_jobs": 2}, **settings)) as service:
        until(lambda: "slowly" in usable(service), 60)
        until(lambda: ask(service).status != 503, 60)  # then the workers are there
        yield service


def usable(service: Service) -> set[str]:
    return set(service.get("/processes/classify-objects").json["inputs"]["model"]["schema"]["enum"])


def ask(service: Service, count: int = 1, prefer: str | None = "respond-async") -> Reply:
    return service.execute(service.inputs(count, "slowly", processorType="GPU"), prefer)


def devices(service: Service, job: str) -> list[str]:
    """Return what each object of a job that ended well was labelled on, and check that each is there once."""
    assert service.wait(job)["status"] == "successful", service.status(job)
    features = service.get(f"/jobs/{job}/results").json["features"]
    assert [item["id"] for item in features] == list(range(len(features)))
    return [item["properties"]["Device"] for item in features]


def test_gpu_worker_away_for_a_minute(cluster: Service, tmp_path: Path) -> None:
    for prefer in ("respond-async", None):  # nobody has ever had one
        reply = ask(cluster, prefer=prefer)
        assert (reply.status, reply.json["errors"][0]["pointer"]) == (400, "/inputs/processorType"), reply.body
        assert f"no machine of this service has one that can be used: {missing_gpu()}" in reply.json["detail"]

    double = tmp_path / "double"
    double.mkdir()
    variables = claiming_a_gpu(double, VISIBLE, ROOT)

    def start_gpu_worker() -> None:
        cluster.start("worker", "--host", "127.0.0.1", name="worker-gpu", variables=variables)

    start_gpu_worker()
    until(lambda: ask(cluster, prefer=None).status == 200, 30)
    long = ask(cluster, COUNT).json["jobID"]
    until(lambda: 0 < cluster.status(long)["progress"] < 60, 60)

    worker = psutil.Process(cluster.parts["worker-gpu"].pid)
    for process in (worker, *worker.children(recursive=True)):  # as where its machine is lost
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    away_s = time.monotonic()
    until(lambda: "waiting for a machine with a GPU" in cluster.status(long)["message"], 15)
    assert cluster.status(long)["status"] == "running"
    queued = [ask(cluster).json["jobID"] for _ in range(3)]  # more than the runner works on at the same time
    until(lambda: {cluster.status(job)["message"] for job in queued} == {"waiting for a machine with a GPU"}, 15)
    assert ask(cluster, prefer="wait=1").status == 201
    valid = cluster.request(
        "POST", "/processes/classify-objects/validate", {"inputs": cluster.inputs(1, "slowly", processorType="GPU")}
    )
    assert valid.status == 200, valid.body
    assert valid.json["valid"]
    assert cluster.wait(cluster.submit(5), timeout_s=20)["status"] == "successful"  # those without one go on
    dismissed = ask(cluster).json["jobID"]
    assert cluster.request("DELETE", f"/jobs/{dismissed}").json["status"] == "dismissed"
    cluster.kill("runner").wait()  # the next one does not know that there ever was a GPU
    cluster.start("runner")
    assert cluster.wait(cluster.submit(5), timeout_s=40)["status"] == "successful"
    assert ask(cluster, prefer="respond-async").status == 201
    time.sleep(max(0, AWAY_S - (time.monotonic() - away_s)))
    assert cluster.status(long)["status"] == "running"

    start_gpu_worker()
    assert set(devices(cluster, long)) == {f"0 {VISIBLE}"}
    for job in queued:
        assert devices(cluster, job) == [f"0 {VISIBLE}"]
    assert not cluster.events(long, "step failed")
    assert "GPU" not in cluster.status(long)["message"]
