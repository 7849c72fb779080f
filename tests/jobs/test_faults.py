"""What can go wrong while jobs run: real processes, killed for real. One test for each row of the table of faults."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from compose import composed_cluster
from conftest import definition
from jobs_service import Reply, Service, cluster_of, freeze, make_town, running, until, wake
from model_networks import THREE, endless, hungry
from postgres import Postgres
from power_loss import cut_back, record_syncs
from processes.jobs.attempts import MAX_LOSSES
from processes.jobs.step_process import NAME

pytestmark = pytest.mark.jobs

COUNT = 3000
"""Objects of a job that takes some twelve seconds of a slot."""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_town(tmp_path_factory.mktemp("town"), chip_ms=4)


@pytest.fixture(scope="module")
def expected(town: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, str, float]]:
    """Return the labels of an undisturbed run."""
    with running(Service(town, tmp_path_factory.mktemp("undisturbed"))) as service:
        job = service.submit(COUNT, "slow")
        assert service.wait(job)["status"] == "successful"
        return service.labels(job)


@pytest.fixture
def embedded(town: Path, tmp_path: Path) -> Iterator[Service]:
    """Give a service of one machine: SQLite, slots in the runner's hands."""
    with running(Service(town, tmp_path)) as service:
        yield service


@pytest.fixture
def cluster(town: Path, tmp_path: Path, postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[Service]:
    """Give a cluster: PostgreSQL, a scheduler that speaks TLS, two workers of one slot each.

    With `pytest --cluster compose` it is that of docker/compose.yml, which has an object store too.
    """
    if request.config.getoption("cluster") == "compose":
        with composed_cluster(town, tmp_path, postgres) as composed, running(composed) as service:
            yield service
        return
    postgres.empty()
    with running(cluster_of(town, tmp_path, postgres.url)) as service:
        yield service


def begun(service: Service, **inputs: Any) -> str:
    """Return a job that works on its sections."""
    job = service.submit(COUNT, "slow", **inputs)
    until(lambda: service.status(job)["progress"] > 0, 60)
    return job


def assert_complete(service: Service, job: str, expected: list[tuple[int, str, float]]) -> None:
    """Check that a job ended well, with each object once, and labels as of an undisturbed run."""
    found = service.wait(job)
    assert found["status"] == "successful", found
    assert found["progress"] == 100
    labels = service.labels(job)
    assert [item[:2] for item in labels] == [item[:2] for item in expected]
    assert [item[2] for item in labels] == pytest.approx([item[2] for item in expected], abs=2e-6)


Labels = list[tuple[int, str, float]]


def test_web_worker_killed(embedded: Service, expected: Labels) -> None:
    job = begun(embedded)
    for worker in embedded.of_kind("web-worker"):
        worker.kill()
    assert embedded.get("/conformance").status == 200  # it waits, and is not refused
    assert_complete(embedded, job, expected)
    assert len(embedded.events(job, "job claimed")) == 1


def test_web_master_killed_while_somebody_waits_for_a_job(embedded: Service, expected: Labels) -> None:
    broken: list[Exception] = []

    def ask() -> None:
        try:
            embedded.execute(embedded.inputs(COUNT, "slow"))
        except OSError as err:
            broken.append(err)

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: any(job["progress"] > 0 for job in embedded.get("/jobs").json["jobs"]))
    (job,) = [job["jobID"] for job in embedded.get("/jobs").json["jobs"]]
    for process in (*embedded.of_kind("web"), *embedded.of_kind("web-worker")):
        process.kill()
    asking.join(20)
    assert broken
    assert_complete(embedded, job, expected)
    assert len(embedded.events(job, "job claimed")) == 1


@pytest.mark.parametrize("kind", ["embedded", "cluster"])
def test_slot_killed(kind: str, request: pytest.FixtureRequest, expected: Labels) -> None:
    service: Service = request.getfixturevalue(kind)
    job = begun(service)
    for _ in range(10):  # between two steps a slot may be killed without anybody's loss
        busy = [slot for slot in service.of_kind("slot") if slot.cpu_percent(0.2) > 15]
        if busy:
            busy[0].kill()
            time.sleep(1)
        if service.events(job, "slot ended within a step"):
            break
    else:
        pytest.fail("no slot was killed within a step")
    assert_complete(service, job, expected)


@pytest.mark.parametrize("kind", ["embedded", "cluster"])
def test_section_that_ends_its_slot_each_time_fails_the_job(kind: str, request: pytest.FixtureRequest) -> None:
    service: Service = request.getfixturevalue(kind)
    job = service.submit(COUNT, "slow", parallelProcessingFactor="1", retries=10)

    def kill_and_count() -> bool:
        for slot in service.of_kind("slot"):
            with contextlib.suppress(psutil.NoSuchProcess):  # it was ended meanwhile
                if slot.cpu_times().user > 0.3 and service.status(job)["status"] == "running":
                    slot.kill()
        return bool(service.status(job)["status"] == "failed")

    until(kill_and_count, 90)
    assert "ended its process 5 times, one after the other" in service.status(job)["message"]
    assert "SIGKILL" in service.status(job)["message"]
    reply = service.get(f"/jobs/{job}/results")
    assert (reply.status, reply.json["type"]) == (500, "ServerError")
    losses = [
        re.findall(r" section=(\d+) .* loss=(\d+)", line)[0] for line in service.events(job, "slot ended within a step")
    ]
    section = losses[-1][0]  # others may have been ended before, and done when they were tried again
    assert losses[-5:] == [(section, str(number)) for number in range(1, 6)]


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (1, 2)])
def test_section_over_its_time_is_killed_and_counts_as_an_attempt(
    town: Path, tmp_path: Path, retries: int, attempts: int
) -> None:
    with running(Service(town, tmp_path, limits={"section_timeout_s": 1})) as service:
        job = service.submit(COUNT, "slow", retries=retries)

        def has_failed_frozen() -> bool:
            status = service.status(job)["status"]
            for slot in service.of_kind("slot") if status == "running" else ():
                with contextlib.suppress(ProcessLookupError):  # ended meanwhile
                    freeze(slot)
            return bool(status == "failed")

        until(has_failed_frozen, 60)
        message = service.status(job)["message"]
        assert "section_timeout_s = 1" in message
        assert service.get(f"/jobs/{job}/results").status == 413
        # other steps may have failed beside the one that the message tells of
        assert sum(message in line for line in service.events(job, "step failed")) == attempts
        for slot in service.of_kind("slot"):
            with contextlib.suppress(ProcessLookupError):
                wake(slot)
        assert service.wait(service.submit(1, retries=10))["status"] == "successful"


def test_dask_worker_lost(cluster: Service, expected: Labels) -> None:
    job = begun(cluster)
    cluster.kill("worker")
    assert_complete(cluster, job, expected)


def test_dask_worker_frozen(cluster: Service, expected: Labels) -> None:
    job = begun(cluster)
    worker = cluster.of_kind("worker")[-1]
    slots = [child for child in worker.children(recursive=True) if child.name() == NAME]
    for process in (worker, *slots):
        freeze(process)
    assert_complete(cluster, job, expected)
    for process in (worker, *slots):
        wake(process)


def test_dask_scheduler_lost(cluster: Service, expected: Labels) -> None:
    job = begun(cluster)
    cluster.kill("scheduler").wait()
    command = cluster.parts["scheduler"].args
    assert isinstance(command, list)
    time.sleep(1)
    cluster.start(*command[command.index("scheduler") :])
    assert_complete(cluster, job, expected)
    assert cluster.wait(cluster.submit(3))["status"] == "successful"


def test_runner_killed(embedded: Service, expected: Labels) -> None:
    job = begun(embedded)
    before = len(embedded.events(job, "step done"))
    embedded.kill("runner")
    start_s = time.monotonic()
    until(lambda: len(embedded.events(job, "job claimed")) == 2)
    assert time.monotonic() - start_s < 8  # the one in its place has its name, and need not wait for the lease to end
    assert_complete(embedded, job, expected)
    assert embedded.status(job)["progress"] == 100
    assert len(embedded.events(job, "step done")) > before


@pytest.mark.timeout(300)
def test_beginning_that_ends_its_runner_each_time_fails_the_job(embedded: Service) -> None:
    job = embedded.submit(COUNT, "slow")

    def losses() -> int:
        with sqlite3.connect(embedded.state / "jobs.sqlite3", timeout=30) as store:
            return int(store.execute("SELECT begin_losses FROM job WHERE id = ?", (job,)).fetchone()[0])

    for number in range(MAX_LOSSES + 1):
        until(lambda number=number: len(embedded.events(job, "job claimed")) > number, 60)  # type: ignore[misc]
        until(lambda number=number: losses() == number, 60)  # type: ignore[misc] # at first nobody suspects the job
        embedded.kill("runner").wait()
    found = embedded.wait(job)
    assert found["status"] == "failed"
    assert "ended its process 5 times" in found["message"]
    assert embedded.wait(embedded.submit(1))["status"] == "successful"


def test_runner_killed_and_another_takes_over(cluster: Service, expected: Labels) -> None:
    job = begun(cluster)
    cluster.kill("runner")
    cluster.start("runner")
    assert_complete(cluster, job, expected)
    assert len(cluster.events(job, "job claimed")) == 2


def test_runner_frozen_and_woken_may_write_nothing(embedded: Service, expected: Labels) -> None:
    job = begun(embedded)
    (saved,) = embedded.of_kind("runner")
    freeze(saved)
    embedded.start("runner", "--name", "the-other", name="the-other")
    until(lambda: len(embedded.events(job, "job claimed")) == 2, 40)
    until(lambda: len(embedded.events(job, "step done")) > 2, 40)
    wake(saved)
    assert_complete(embedded, job, expected)
    until(lambda: any("fence=1" in line for line in embedded.events(job, "job let go")))
    assert all("fence=2" in line for line in embedded.events(job, "job successful"))


def test_runner_frozen_for_long_goes_on_when_it_is_woken(embedded: Service, expected: Labels) -> None:
    job = begun(embedded)
    (saved,) = embedded.of_kind("runner")
    freeze(saved)
    time.sleep(35)  # longer than a cluster waits for a silent worker
    wake(saved)
    assert_complete(embedded, job, expected)
    assert embedded.wait(embedded.submit(1), timeout_s=10)["status"] == "successful"


@pytest.mark.parametrize("kind", ["embedded", "cluster"])
def test_machine_rebooted(kind: str, request: pytest.FixtureRequest, expected: Labels) -> None:
    service: Service = request.getfixturevalue(kind)
    job, waiting = begun(service), service.submit(3)
    parts = {name: part.args for name, part in service.parts.items()}
    service.end()
    assert not service.processes()
    for name, command in parts.items():
        assert isinstance(command, list)
        service.start(*[str(word) for word in command[command.index(service.configuration) + 1 :]], name=name)
    assert_complete(service, job, expected)
    assert service.wait(waiting)["status"] == "successful"
    count = 1 if kind == "embedded" else 2
    until(lambda: len(list(service.folder.glob("state*/work/slots-*"))) == count, what=service.log())


def test_database_down(cluster: Service, postgres: Postgres, expected: Labels) -> None:
    job = begun(cluster)
    postgres.stop()
    try:
        for method, path in [("GET", f"/jobs/{job}"), ("GET", "/jobs"), ("DELETE", f"/jobs/{job}")]:
            reply = cluster.request(method, path)
            assert (reply.status, reply.json["type"]) == (503, "Unavailable"), reply.body
            assert int(reply.headers["retry-after"]) > 0
        for prefer in ("respond-async", None):
            assert cluster.execute(cluster.inputs(1), prefer).status == 503
        assert cluster.get("/processes").status == 200
        echo = cluster.request("POST", "/processes/echo/execution", {"inputs": {"echo": "a"}})
        assert echo.status == 200
    finally:
        postgres.start()
    assert_complete(cluster, job, expected)
    assert len(cluster.events(job, "job claimed")) <= 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a folder on a disk of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "none", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_disk_full(town: Path, tmp_path: Path, small_disk: Path) -> None:
    with running(Service(town, tmp_path, results=str(small_disk))) as service:
        first = service.submit(1)
        assert service.wait(first)["status"] == "successful"
        job = begun(service)
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(2**12))
            except OSError:
                pass
        found = service.wait(job)
        assert found["status"] == "failed"
        assert "there is no space left" in found["message"]
        reply = service.get(f"/jobs/{job}/results")
        assert (reply.status, reply.json["detail"]) == (500, found["message"])
        assert str(small_disk) not in reply.body.decode()
        until(lambda: not (small_disk / job).exists())
        assert service.get(f"/jobs/{first}/results").status == 200
        ballast.unlink()
        assert service.wait(service.submit(1))["status"] == "successful"


def fill(disk: Path) -> Path:
    """Fill a disk to its last byte, and return the file that does it."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (2**16, 2**12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    return ballast


@pytest.fixture
def small_state(tmp_path: Path) -> Iterator[Path]:
    """Give a state folder on a disk of 48 MB."""
    folder = tmp_path / "state"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "none", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_state_folder_full(town: Path, tmp_path: Path, small_state: Path) -> None:
    with running(Service(town, tmp_path)) as service:
        done = [service.submit(1) for _ in range(3)]  # each time half of the reserve is lost to who fills the disk
        for job in done:
            assert service.wait(job)["status"] == "successful"
        job = begun(service)
        fill(small_state)
        for prefer in ("respond-async", None):
            reply = service.execute(service.inputs(1), prefer)
            assert (reply.status, reply.json["type"]) == (503, "Unavailable")
            assert "min_free_mb = 1" in reply.json["detail"]
            assert int(reply.headers["retry-after"]) > 0
        found = service.wait(job)
        assert (found["status"], "no space left" in found["message"]) == ("failed", True), found
        for number, job in enumerate(done):  # that makes room, and needs some
            until((small_state / "reserve").exists)
            ballast = fill(small_state)
            assert service.request("DELETE", f"/jobs/{job}").status == 200, number
            until(lambda job=job: not (small_state / "results" / job).exists())  # type: ignore[misc]
        assert service.get("/health").status == 503
        ballast.unlink()
        until((small_state / "reserve").exists)
        assert service.wait(service.submit(1))["status"] == "successful"
        until(lambda: service.get("/health").status == 200)


def test_sqlite_locked_for_half_a_minute(embedded: Service, expected: Labels) -> None:
    job = begun(embedded)
    times: dict[str, list[float]] = {"/conformance": [], "POST": []}
    released = threading.Event()

    def ask(name: str, method: str, path: str, body: object, statuses: set[int]) -> None:
        while not released.is_set():
            start_s = time.monotonic()
            status = embedded.request(method, path, body, {"Prefer": "respond-async"}).status
            if not released.is_set():
                assert status in statuses
                times[name].append(time.monotonic() - start_s)

    execution = ("POST", "POST", "/processes/classify-objects/execution", {"inputs": embedded.inputs(1)}, {503})
    askers = [threading.Thread(target=ask, args=execution) for _ in range(40)]
    askers += [threading.Thread(target=ask, args=("/conformance", "GET", "/conformance", None, {200}))]
    with contextlib.closing(sqlite3.connect(embedded.state / "jobs.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        locked_s = time.monotonic()
        for asker in askers:
            asker.start()
        until(lambda: time.monotonic() - locked_s > 30, 60)
        assert embedded.status(job)["status"] == "running"  # that is read only
        released.set()
        other.execute("ROLLBACK")
    for asker in askers:
        asker.join()
    assert times["POST"]
    assert max(times["POST"]) < 20  # 5 s, and what a busy machine takes
    assert sorted(times["/conformance"])[len(times["/conformance"]) // 2] < 5
    assert_complete(embedded, job, expected)


def sections_done(service: Service, job: str, count: int = 2) -> Path:
    """Wait until some sections of a job are done, and return the folder of its plan."""
    (folder,) = (service.state / "results" / job).glob("plan-*")
    until(lambda: len(list(folder.glob("labels-*"))) >= count, 60)
    return folder


@pytest.mark.parametrize("lost", ["section", "end of a section", "plan"])
def test_files_of_a_running_job_lost(embedded: Service, expected: Labels, lost: str) -> None:
    job = begun(embedded, parallelProcessingFactor="1")
    folder = sections_done(embedded, job)
    labels = sorted(folder.glob("labels-*"))[1]
    match lost:
        case "plan":
            (folder / "plan.msgpack").unlink()
        case "section":
            labels.unlink()
        case _:
            labels.write_bytes(labels.read_bytes()[:-100])
    assert_complete(embedded, job, expected)
    assert len(embedded.events(job, "files of the job are lost")) == 1
    assert len(embedded.events(job, "job claimed")) == 2


def test_power_lost(town: Path, tmp_path: Path, expected: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    log = record_syncs(tmp_path / "recorder", monkeypatch)
    service = Service(town, tmp_path, limits={"max_running_jobs": 1})
    with running(service):
        small = [service.submit(3) for _ in range(3)]
        for job in small:
            assert service.wait(job)["status"] == "successful"
        results = [service.labels(job) for job in small]
        large = begun(service, parallelProcessingFactor="1")
        waiting = [service.submit(3) for _ in range(3)]
        sections_done(service, large)
        service.end()
        assert cut_back(service.state / "results", log) > 0
        service.start("serve")
        assert_complete(service, large, expected)
        for job in (*small, *waiting):
            assert service.wait(job)["status"] == "successful"
            assert service.labels(job) in results


@pytest.mark.parametrize("kind", ["embedded", "cluster"])
def test_dismissed_while_it_waits_or_runs(kind: str, request: pytest.FixtureRequest) -> None:
    service: Service = request.getfixturevalue(kind)
    running_job, others = begun(service), [service.submit(COUNT, "slow") for _ in range(2)]
    for job in (*reversed(others), running_job):
        start_s = time.monotonic()
        reply = service.request("DELETE", f"/jobs/{job}")
        assert time.monotonic() - start_s < 0.5
        assert (reply.status, reply.json["status"]) == (200, "dismissed")
        assert reply.headers["content-type"] == "application/json"
    until(lambda: not service.stored_jobs(), 3)
    assert service.wait(service.submit(1), timeout_s=30)["status"] == "successful"
    for job in (running_job, *others):
        assert service.status(job)["status"] == "dismissed"
        assert service.get(f"/jobs/{job}/results").status == 410
        assert service.request("DELETE", f"/jobs/{job}").status == 410
    assert not service.events(others[1], "job successful")


def test_too_many_jobs(town: Path, tmp_path: Path) -> None:
    limits = {"max_waiting_jobs": 3, "max_running_jobs": 1}
    with running(Service(town, tmp_path, limits=limits)) as service:
        begun(service)
        waiting = [service.submit(1) for _ in range(3)]
        for prefer in ("respond-async", None, "wait=1"):
            reply = service.execute(service.inputs(1), prefer)
            assert (reply.status, reply.json["type"]) == (503, "Unavailable")
            assert "max_waiting_jobs = 3" in reply.json["detail"]
            assert int(reply.headers["retry-after"]) > 0
        assert {entry.name for entry in (service.state / "results").iterdir()} >= set(waiting)
        assert len(list((service.state / "results").iterdir())) == 4  # nothing is left of what was refused


def test_too_many_jobs_of_one_client(town: Path, tmp_path: Path) -> None:
    limits = {"max_waiting_jobs_per_client": 2, "max_running_jobs": 1}
    with running(Service(town, tmp_path, limits=limits, proxies=1)) as service:
        begun(service)
        for _ in range(2):
            service.submit(1)
        reply = service.execute(service.inputs(1), "respond-async")
        assert (reply.status, reply.json["type"]) == (429, "TooManyRequests")
        assert "max_waiting_jobs_per_client = 2" in reply.json["detail"]
        assert int(reply.headers["retry-after"]) > 0

        def submit(forwarded: str) -> Reply:
            headers = {"Prefer": "respond-async", "X-Forwarded-For": forwarded}
            body = {"inputs": service.inputs(COUNT, "slow")}
            return service.request("POST", "/processes/classify-objects/execution", body, headers)

        # a full runner takes one job of a client that has none
        job = submit("192.0.2.7").json["jobID"]
        until(lambda: service.status(job)["status"] == "running")
        # what the client itself writes stands before what the proxy adds, and makes it no other client
        statuses = [submit(forwarded).status for forwarded in ("192.0.2.7", "192.0.2.7", "10.0.0.1, 192.0.2.7")]
        assert statuses == [201, 201, 429]


def package_of(network: Path) -> None:
    """Make the folder of a network into a package."""
    keys = definition(Classes=THREE, Normalization="none", ModelFile=network.name)
    (network.parent / "model.emd").write_text(json.dumps(keys))


def model_folders(town: Path, folder: Path) -> str:
    return f"{town / 'models'}:{folder}"


def is_usable(service: Service, model: str) -> bool:
    return service.execute(service.inputs(1, model)).status == 200


def test_package_that_hangs(town: Path, tmp_path: Path) -> None:
    package_of(endless(tmp_path / "models" / "hangs" / "net.onnx"))
    models = model_folders(town, tmp_path / "models")
    with running(Service(town, tmp_path, limits={"check_timeout_s": 15}, models=models)) as service:
        until(lambda: service.execute(service.inputs(1)).status == 200, 60)
        statuses = []

        def has_ended() -> bool:
            statuses.append(service.execute(service.inputs(1, "hangs")).status)
            return statuses[-1] != 503

        until(has_ended, 100)
        assert statuses[-1] == 400
        assert "the limit check_timeout_s = 15 allows" in service.execute(service.inputs(1, "hangs")).json["detail"]
        assert service.get("/processes/classify-objects").status == 200
        assert not service.of_kind("check")


def test_section_that_needs_more_memory_than_there_is(town: Path, tmp_path: Path) -> None:
    package_of(hungry(tmp_path / "models" / "hungry" / "net.onnx", 75_000_000))  # 300 MB for a single chip
    with running(Service(town, tmp_path, models=model_folders(town, tmp_path / "models"))) as service:
        until(lambda: service.execute(service.inputs(1)).status == 200, 60)
        slots = service.of_kind("slot")
        _, usual = slots[0].rlimit(psutil.RLIMIT_DATA)
        for slot in slots:
            slot.rlimit(psutil.RLIMIT_DATA, (slot.memory_info().data + 200 * 2**20, usual))
        reason = "the work needs more memory: more than the limit max_slot_mb = "
        until(lambda: service.execute(service.inputs(200, "hungry")).status == 413, 60)  # once its package is checked
        reply = service.execute(service.inputs(200, "hungry"))
        assert (reply.status, reply.json["type"]) == (413, "TooLarge"), reply.body
        assert reason in reply.json["detail"]
        job = service.submit(200, "hungry")
        found = service.wait(job)
        assert (found["status"], reason in found["message"]) == ("failed", True), found
        assert service.get(f"/jobs/{job}/results").status == 413
        assert service.wait(service.submit(1))["status"] == "successful"
        for slot in slots:
            slot.rlimit(psutil.RLIMIT_DATA, (usual, usual))
        assert service.wait(service.submit(1, "hungry"))["status"] == "successful"
        assert {slot.pid for slot in service.of_kind("slot")} == {slot.pid for slot in slots}


SET_BACK = """
import time
from pathlib import Path

_offset, _time = Path(__file__).with_name("offset"), time.time
time.time = lambda: _time() + float(_offset.read_text())
time.time_ns = lambda: int(time.time() * 1e9)
"""
"""What Python imports at the start of each process of the service: its clock goes by the file `offset`."""


class Told(ThreadingHTTPServer):
    """A subscriber that answers the first two callbacks with a status of 500."""

    def __init__(self) -> None:
        self.times = 0
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                told.times += 1
                self.send_response(500 if told.times < 3 else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def test_clock_set_back_by_an_hour(town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "offset").write_text("0")
    (tmp_path / "sitecustomize.py").write_text(SET_BACK)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    (tmp_path / "models").mkdir()
    parts = [["web"], ["runner", "--name", "first"]]
    models = model_folders(town, tmp_path / "models")
    with Told() as told:
        hosts = f"127.0.0.1:{told.server_address[1]}"
        with running(Service(town, tmp_path, parts, models=models, hosts=hosts)) as service:
            for model in ("quick", "slow"):
                until(partial(is_usable, service, model), 60)
            early = service.execute(
                service.inputs(1), "respond-async", subscriber={"successUri": f"http://{hosts}/told"}
            ).json["jobID"]
            job, waiting = begun(service), service.submit(3)
            until(lambda: told.times == 2, 60)  # the next time is due in ten seconds
            service.parts["runner"].kill()
            (tmp_path / "offset").write_text("-3600")
            service.start("runner", "--name", "second", name="second")
            until(lambda: len(service.events(job, "job claimed")) == 2, 60)  # though its lease ends in an hour
            until(lambda: told.times == 3, 60)
            quick = service.submit(COUNT, "quick")  # whose network gives the same answers
            assert service.wait(quick)["status"] == "successful"
            assert_complete(service, job, service.labels(quick))
            for other in (waiting, early, service.submit(1)):
                assert service.wait(other)["status"] == "successful"
                assert service.get(f"/jobs/{other}/results").status == 200  # nothing was removed
            package_of(hungry(tmp_path / "models" / "late" / "net.onnx", 10))
            until(partial(is_usable, service, "late"), 60)
