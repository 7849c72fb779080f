"""Which callback is sent next, in SQLite and in PostgreSQL."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from processes.jobs import tables
from processes.jobs.callbacks import Callback, Callbacks
from processes.jobs.database import Database
from processes.jobs.files import storage_of
from processes.jobs.job import Job, ResultFile
from processes.jobs.runner_store import RunnerStore
from processes.jobs.store import JobStore
from processes.ogc.execution import Execution
from processes.ogc.process import Requirements
from processes.ogc.request import ExecuteRequest, Subscriber
from processes.settings import Limits, Settings

RESULT = ResultFile("classifiedObjects", "application/geo+json", "plan-1/result-1.geojson", 17)


def put(store: JobStore, subscriber: Subscriber | None = None) -> Job:
    request = ExecuteRequest(b"{}", {}, None, "raw", subscriber)
    return store.accept(str(uuid.uuid4()), Execution("classify-objects", request), Requirements())


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database, Limits())


@pytest.fixture
def callbacks(database: Database, tmp_path: Path) -> Callbacks:
    return new_callbacks(database, tmp_path)


def new_callbacks(database: Database, folder: Path) -> Callbacks:
    settings = Settings.from_plugin({"hosts": "127.0.0.1:1"}, folder)
    return Callbacks(database, storage_of(settings), settings, "http://localhost")


def add(database: Database, job: str, url: str, host: str, count: int = 1, due: float = 0) -> None:
    rows = [{"job": job, "event": "success", "url": url, "host": host, "due": due}] * count
    with database.write() as connection:
        connection.execute(tables.callback.insert(), rows)


def claim_all(callbacks: Callbacks) -> list[Callback]:
    """Claim as long as something may go, while nothing ends."""
    claimed: list[Callback] = []
    while (found := callbacks.claim(claimed)) is not None:
        claimed.append(found)
    return claimed


def test_no_host_and_no_path_has_all(store: JobStore, database: Database, callbacks: Callbacks) -> None:
    job = put(store).id
    add(database, job, "http://slow/a?n=1", "slow:80", 10)
    add(database, job, "http://slow/a?n=2", "slow:80", 10)
    add(database, job, "http://slow/b", "slow:80", 10, due=1)
    add(database, job, "http://quick/", "quick:80", 1, due=2)
    add(database, job, "http://other/", "other:80", 1, due=time.time() + 300)
    claimed = claim_all(callbacks)
    assert [item.host for item in claimed[:2]] == ["slow:80", "quick:80"], "those with fewest in flight come first"
    assert Counter(item.url.split("?")[0] for item in claimed) == {
        "http://slow/a": 2,
        "http://slow/b": 2,
        "http://quick/": 1,
    }
    assert callbacks.claim([item for item in claimed if item.url != "http://slow/b"]) is not None


def test_runners_share_the_callbacks(store: JobStore, database: Database, callbacks: Callbacks, tmp_path: Path) -> None:
    job = put(store).id
    add(database, job, "http://a/", "a:80", 3)
    other = new_callbacks(database, tmp_path)
    claimed = [item for item in (callbacks.claim([]), other.claim([]), callbacks.claim([]), other.claim([])) if item]
    assert len({item.id for item in claimed}) == len(claimed) == 3


@pytest.mark.jobs
def test_hundred_thousand_callbacks_of_a_host_hide_no_other(
    store: JobStore, database: Database, callbacks: Callbacks
) -> None:
    job = put(store).id
    for number in range(10):
        add(database, job, f"http://slow/{number}", "slow:80", 10_000)
    add(database, job, "http://quick/", "quick:80", due=1)
    claimed = [item for item in (callbacks.claim([]),) if item]
    start_s = time.monotonic()
    found = callbacks.claim(claimed)
    assert found is not None
    assert found.host == "quick:80"
    full = [*claimed, *(item for _ in range(3) if (item := callbacks.claim(claimed)))]
    for _ in range(20):
        assert callbacks.claim(full) is None or len(full) < 4
    assert time.monotonic() - start_s < 5, "a look reads some hundred rows, not all of the table"


def test_many_hosts_are_looked_through_in_turn(store: JobStore, database: Database, callbacks: Callbacks) -> None:
    job = put(store).id
    for number in range(500):
        add(database, job, "http://later/", f"later-{number}:80", due=time.time() + 300)
    add(database, job, "http://z/", "z:80")
    found = [item for _ in range(4) if (item := callbacks.claim([]))]
    assert [item.host for item in found] == ["z:80"]


def test_end_is_told_after_the_beginning(
    store: JobStore, database: Database, callbacks: Callbacks, tmp_path: Path
) -> None:
    told = Subscriber("http://127.0.0.1:1/done", "http://127.0.0.1:1/begun", None)
    put(store, subscriber=told)
    runner_store = RunnerStore(database, "one")
    job = runner_store.claim([], 9, 9)
    assert job is not None
    begun = callbacks.claim([])
    assert begun is not None
    assert (begun.event, begun.host) == ("in-progress", "127.0.0.1:1")
    runner_store.succeed(job.id, job.fence, "", RESULT, None, 1, {})
    assert callbacks.claim([begun]) is None
    assert new_callbacks(database, tmp_path).claim([]) is None, "nor by another runner"
    callbacks.send(begun)  # fails, and is due again later
    done = callbacks.claim([])
    assert done is not None
    assert done.event == "success"
    with database.read() as connection:
        delays = connection.execute(sa.select(tables.callback.c.event, tables.callback.c.tries)).all()
    assert set(delays) == {("in-progress", 1), ("success", 1)}


def test_callbacks_of_a_dismissed_job_are_forgotten(store: JobStore, database: Database, callbacks: Callbacks) -> None:
    job = put(store).id
    add(database, job, "http://a/", "a:80", 3)
    store.dismiss(job)
    assert callbacks.claim([]) is None
    with database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.callback)) == 0
