"""Each slot has a GPU of those that there are; what runners say of them decides which requests are accepted, and wait."""

from __future__ import annotations

import pytest

from processes.errors import InputError, UnavailableError
from processes.jobs import tables
from processes.jobs.database import Database
from processes.jobs.gpu_reports import REMEMBERED_S, GpuReport
from processes.jobs.job import JobStatus
from processes.jobs.retention import expire
from processes.jobs.runner_store import RunnerStore
from processes.jobs.slots import _variables
from processes.jobs.store import JobFilter, JobStore
from processes.ogc.execution import Execution
from processes.ogc.process import Requirements
from processes.ogc.request import ExecuteRequest
from processes.settings import Limits

NO_DRIVER = GpuReport(0, "this server has no NVIDIA driver")


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database, Limits())


def put(store: JobStore, job_id: str, *, gpu: bool) -> None:
    execution = Execution("classify-objects", ExecuteRequest(b"{}", {}, None, "raw", None), client="10.0.0.1")
    store.accept(job_id, execution, Requirements(needs_gpu=gpu))


def age(database: Database, name: str, seconds: float, *columns: str) -> None:
    """Let what a runner said be older."""
    row = tables.runner.c
    with database.write() as connection:
        older = {column: row[column] - seconds for column in columns}
        connection.execute(tables.runner.update().where(row.name == name).values(**older))


def test_request_for_a_gpu_is_accepted_where_a_runner_has_one(database: Database, store: JobStore) -> None:
    one, two = RunnerStore(database, "one"), RunnerStore(database, "two")
    with pytest.raises(UnavailableError, match="try again later"):
        store.require_gpu()
    one.renew({}, GpuReport())  # it has not looked yet, or no worker is there
    with pytest.raises(UnavailableError, match="try again later"):
        store.require_gpu()
    one.renew({}, NO_DRIVER)
    with pytest.raises(
        InputError, match="no machine of this service has one that can be used: this server has no NVID"
    ):
        store.require_gpu()
    two.renew({}, GpuReport(2))
    store.require_gpu()


def test_gpu_that_was_there_lately_is_expected_back(database: Database, store: JobStore) -> None:
    runner = RunnerStore(database, "one")
    runner.renew({}, GpuReport(1))
    for report in (GpuReport(), NO_DRIVER):
        runner.renew({}, report)
        store.require_gpu()
    age(database, "one", REMEMBERED_S - 60, "gpu_seen")
    store.require_gpu()
    age(database, "one", 120, "gpu_seen")
    with pytest.raises(InputError, match="processorType is GPU"):
        store.require_gpu()


def test_gpu_is_remembered_though_its_runner_has_gone(database: Database, store: JobStore) -> None:
    RunnerStore(database, "one").renew({}, GpuReport(1))
    age(database, "one", 3600, "seen", "gpu_seen")
    RunnerStore(database, "two").renew({}, NO_DRIVER)
    with database.write() as connection:
        expire(connection, database.now(connection), 30)
    store.require_gpu()


def test_job_that_waits_for_a_gpu_says_so(database: Database, store: JobStore) -> None:
    runner = RunnerStore(database, "one")
    for job_id, gpu in (("cpu", False), ("gpu", True), ("begun", True), ("done", True)):
        put(store, job_id, gpu=gpu)
    states = {"begun": (JobStatus.RUNNING, "7 of 9 objects"), "done": (JobStatus.SUCCESSFUL, "9 objects")}
    with database.write() as connection:
        for job_id, (status, message) in states.items():
            change = tables.job.update().where(tables.job.c.id == job_id)
            connection.execute(change.values(status=status, message=message))

    def messages() -> dict[str, str]:
        listed = {job.id: job.message for job in store.find(JobFilter(), 9, 0)}
        assert listed == {job_id: found.message for job_id in listed if (found := store.get(job_id)) is not None}
        return listed

    usual = {"cpu": "waiting", "gpu": "waiting", "begun": "7 of 9 objects", "done": "9 objects"}
    assert messages() == usual  # nobody works at all
    for report in (GpuReport(), NO_DRIVER):
        runner.renew({}, report)
        assert messages() == usual | {
            "gpu": "waiting for a machine with a GPU",
            "begun": "7 of 9 objects; waiting for a machine with a GPU",
        }
    RunnerStore(database, "two").renew({}, GpuReport(1))
    assert messages() == usual
    age(database, "two", 60, "seen")
    assert messages() != usual


def test_runner_without_a_gpu_leaves_jobs_that_need_one(database: Database, store: JobStore) -> None:
    runner = RunnerStore(database, "one")
    put(store, "gpu", gpu=True)
    assert not runner.has_waiting([], 9, 9, has_gpu=False)
    assert runner.claim([], 9, 9, has_gpu=False) is None
    put(store, "cpu", gpu=False)
    claimed = runner.claim([], 9, 9, has_gpu=False)
    assert claimed is not None
    assert claimed.id == "cpu"
    assert runner.has_waiting([], 9, 9)
    claimed = runner.claim([], 9, 9)
    assert claimed is not None
    assert claimed.id == "gpu"


@pytest.mark.parametrize("names", [("0", "1"), ("3", "5"), ("GPU-8932f937", "GPU-09ab"), ("MIG-a",)])
def test_slots_have_a_gpu_each_of_those_that_the_operator_left_to_the_service(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    monkeypatch.setattr("processes.jobs.slots.gpus", lambda: names)
    found = [_variables(number, 3)["CUDA_VISIBLE_DEVICES"] for number in range(len(names) + 1)]
    assert found == [*names, names[0]]


def test_slot_without_a_gpu_has_what_the_operator_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processes.jobs.slots.gpus", tuple)
    assert "CUDA_VISIBLE_DEVICES" not in _variables(0, 3)
