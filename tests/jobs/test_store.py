"""The job store, in SQLite and in PostgreSQL: who may do what, and in which order."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec import structs

from processes.access.person import EVERYBODY, Person, Role
from processes.errors import (
    ClientQueueFullError,
    ImageError,
    LimitError,
    NameTakenError,
    QueueFullError,
    QuotaError,
    RequestError,
    UnavailableError,
)
from processes.jobs import tables
from processes.jobs.claiming import LEASE_S
from processes.jobs.database import Database
from processes.jobs.gpu_reports import GpuReport
from processes.jobs.job import Job, JobStatus, ResultFile, Section
from processes.jobs.migrations import JobStoreError
from processes.jobs.runner_store import LeaseLostError, RunnerStore
from processes.jobs.status_info import status_info
from processes.jobs.store import AWAITED_PRIORITY, JobFilter, JobStore
from processes.jobs.upload_quota import UploadQuota
from processes.ogc.execution import DryRun, Execution, ResponseOptions
from processes.ogc.process import LayerInfo, Requirements, Sections
from processes.ogc.request import ExecuteRequest, Subscriber
from processes.settings import Limits

RESULT = ResultFile("classifiedObjects", "application/geo+json", "plan-1/result-1.geojson", 17)
SUMMARY = {"counts": {"a": 1}}


def put(store: JobStore, job_id: str | None = None, **changes: Any) -> Job:
    """Put an execution into the queue; `changes` are fields of it, of its request, or of its requirements."""
    of_request = {name: changes.pop(name) for name in ("body", "response", "subscriber") if name in changes}
    request = structs.replace(ExecuteRequest(b"{}", {}, None, "raw", None), **of_request)
    names = set(Execution.__struct_fields__)
    of_execution = {name: changes.pop(name) for name in list(changes) if name in names and name != "result_name"}
    execution = Execution("classify-objects", request, client="10.0.0.1")
    execution = structs.replace(execution, **of_execution)
    return store.accept(job_id or str(uuid.uuid4()), execution, Requirements(**changes))


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database, Limits())


@pytest.fixture
def runner_store(database: Database) -> RunnerStore:
    return RunnerStore(database, "one")


def claim(runner_store: RunnerStore, *busy: str, room: int = 9, priority_room: int = 9, beyond: int = 0) -> Job:
    job = runner_store.claim(busy, room, priority_room, beyond)
    assert job is not None
    return job


def change(database: Database, job_id: str, **values: Any) -> None:
    with database.write() as connection:
        connection.execute(tables.job.update().where(tables.job.c.id == job_id).values(values))


def test_a_job_comes_back_as_it_was_accepted(store: JobStore) -> None:
    requirements = Requirements(
        result_name="storm", parallel_factor="80%", recycle_interval=3, retries=2, needs_gpu=True, pace_key="abc"
    )
    subscriber = Subscriber("https://example.org/done", None, "https://example.org/failed")
    request = ExecuteRequest(b'{"inputs":{}}', {}, None, "document", subscriber)
    execution = Execution("classify-objects", request, client="10.0.0.1", is_awaited=True, by_reference=True)
    accepted = store.accept("one", execution, requirements)
    found = store.get("one")
    assert found == accepted
    assert found is not None
    assert (found.process, found.client, found.priority) == ("classify-objects", "10.0.0.1", AWAITED_PRIORITY)
    assert found.response == ResponseOptions(is_document=True, by_reference=True)
    assert found.subscriber == subscriber
    for name in Requirements.__struct_fields__:
        if name not in ("name_stem", "file_stamps", "delay_s", "model_sha256"):
            assert getattr(found, name) == getattr(requirements, name), name
    assert (found.status, found.progress, found.message, found.done) == (JobStatus.ACCEPTED, 0, "waiting", 0)
    assert abs(datetime.now(UTC) - found.created) < timedelta(seconds=10)
    assert (found.started, found.finished, found.result, found.error) == (None, None, None, None)
    assert store.request("one") == '{"inputs":{}}'
    assert store.get("nothing") is None
    assert store.request("nothing") is None


def test_too_many_waiting_jobs_are_refused_and_the_limit_is_named(database: Database) -> None:
    store = JobStore(database, Limits(max_waiting_jobs=3, max_waiting_jobs_per_client=2))
    runner_store = RunnerStore(database, "one")
    for _ in range(2):
        put(store)
    with pytest.raises(ClientQueueFullError, match="max_waiting_jobs_per_client = 2"):
        put(store)
    put(store, client="10.0.0.2")
    with pytest.raises(QueueFullError, match="max_waiting_jobs = 3"):
        put(store, client="10.0.0.3")
    claim(runner_store)  # one that runs does not wait
    put(store, client="10.0.0.3")


def test_a_result_name_is_taken_until_its_job_is_dismissed(store: JobStore, runner_store: RunnerStore) -> None:
    first = put(store, result_name="storm")
    with pytest.raises(NameTakenError, match="'storm'"):
        put(store, result_name="storm")
    job = claim(runner_store)
    runner_store.fail(job.id, job.fence, ImageError("torn"), {})
    with pytest.raises(NameTakenError):  # that of a failed job too
        put(store, result_name="storm")
    store.dismiss(first.id)
    assert put(store, result_name="storm").result_name == "storm"


def test_a_name_is_made_with_a_number_until_it_is_free(store: JobStore) -> None:
    names = [put(store, name_stem="classify-objects-a").result_name for _ in range(3)]
    assert names == ["classify-objects-a", "classify-objects-a-2", "classify-objects-a-3"]
    put(store, result_name="classify-objects-a-4")
    assert put(store, name_stem="classify-objects-a").result_name == "classify-objects-a-5"
    long = "x" * 64
    assert put(store, name_stem=long).result_name == long
    assert put(store, name_stem=long).result_name == "x" * 62 + "-2"


def test_names_are_given_once_however_many_ask_at_the_same_time(store: JobStore) -> None:
    taken: list[str | None] = []
    refused: list[str] = []

    def ask() -> None:
        for _ in range(5):
            taken.append(put(store, name_stem="a").result_name)
            try:
                put(store, result_name="wanted")
            except NameTakenError as err:
                refused.append(err.detail)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == len(taken) == 30
    assert len(refused) == 29


def test_priority_goes_before_few_running_jobs_of_the_client_before_age(
    store: JobStore, runner_store: RunnerStore
) -> None:
    busy = [put(store, client="many").id for _ in range(4)]
    waiting = {
        name: put(store, client=client, is_awaited=bool(priority)).id
        for name, client, priority in [("few", "few", 0), ("fewer", "other", 0), ("first", "many", 10)]
    }
    claimed = [claim(runner_store).id for _ in range(7)]
    assert claimed[0] == waiting["first"]
    # "many" has one that runs now; the two others have none, and the older one comes first
    assert claimed[1:3] == [waiting["few"], waiting["fewer"]]
    assert claimed[3:] == busy
    assert runner_store.claim([], 9, 9) is None


def test_jobs_that_a_client_waits_for_have_room_of_their_own(store: JobStore, runner_store: RunnerStore) -> None:
    plain, waited_for = put(store), put(store, is_awaited=True)
    assert runner_store.claim([], 0, 0) is None
    assert not runner_store.has_waiting([], 0, 0)
    assert runner_store.has_waiting([], 0, 1)
    assert claim(runner_store, room=0).id == waited_for.id
    assert runner_store.claim([], 0, 1) is None
    assert claim(runner_store, room=1, priority_room=0).id == plain.id


def test_a_full_runner_has_room_for_clients_none_of_whose_jobs_runs(store: JobStore, runner_store: RunnerStore) -> None:
    for is_awaited in (False, True):
        for _ in range(3):
            put(store, client="greedy", is_awaited=is_awaited)
        claim(runner_store)
        names = [f"{name} {is_awaited}" for name in ("one", "two", "three", "two")]
        others = [put(store, client=name, is_awaited=is_awaited).id for name in names]
        assert runner_store.claim([], 0, 0) is None
        assert runner_store.has_waiting([], 0, 0, 2)
        claimed = runner_store.claim([], 0, 0, 2)
        assert claimed is not None
        assert claimed.id == others[0]
        claimed = runner_store.claim([], -1, -1, 2)
        assert claimed is not None
        assert claimed.id == others[1]
        assert not runner_store.has_waiting([], -2, -2, 2)
        assert claim(runner_store, room=-2, priority_room=-2, beyond=3).id == others[2]
        assert runner_store.claim([], 0, 0, 9) is None  # all others have a job that runs
        assert len([claim(runner_store).id for _ in range(3)]) == 3


def test_the_next_runner_knows_how_often_beginning_and_end_failed(
    database: Database, store: JobStore, runner_store: RunnerStore
) -> None:
    job_id = put(store).id
    job = claim(runner_store)
    assert (job.begin_errors, job.begin_losses, job.finish_errors, job.finish_losses) == (0, 0, 0, 0)
    runner_store.record_attempt(job_id, 1, is_end=False, errors=1, losses=2)
    runner_store.record_attempt(job_id, 1, is_end=True, errors=3, losses=4)
    change(database, job_id, lease=0)
    job = claim(RunnerStore(database, "two"))
    assert (job.begin_errors, job.begin_losses, job.finish_errors, job.finish_losses) == (1, 2, 3, 4)
    with pytest.raises(LeaseLostError):
        runner_store.record_attempt(job_id, 1, is_end=False, errors=0, losses=0)


def test_a_client_whose_runner_is_gone_counts_as_one_without_jobs(
    database: Database, store: JobStore, runner_store: RunnerStore
) -> None:
    lost = put(store, client="unlucky").id
    claim(runner_store)
    change(database, lost, lease=0)
    put(store, client="greedy")
    assert claim(runner_store, room=0, priority_room=0, beyond=1).id == lost


def test_a_lost_job_is_taken_over_before_others_are_begun(
    database: Database, store: JobStore, runner_store: RunnerStore
) -> None:
    lost = put(store)
    first = claim(runner_store)
    put(store)
    change(database, lost.id, lease=0)
    taken = claim(RunnerStore(database, "two"))
    assert (taken.id, taken.fence, taken.started) == (lost.id, first.fence + 1, first.started)


def test_who_lost_its_lease_may_write_nothing(database: Database, store: JobStore, runner_store: RunnerStore) -> None:
    put(store)
    old = claim(runner_store)
    change(database, old.id, lease=0)
    other = RunnerStore(database, "two")
    now = claim(other)
    before = store.get(old.id)
    writes: list[Callable[[], object]] = [
        lambda: runner_store.save_plan(old.id, old.fence, "plan-1", Sections((1, 2), 0), "", {("sections", "done"): 1}),
        lambda: runner_store.record_sections(old.id, old.fence, [Section(0, 1, False, 0, 0)], [], "", {}),
        lambda: runner_store.set_message(old.id, old.fence, "x"),
        lambda: runner_store.succeed(old.id, old.fence, "", RESULT, None, 1, {}),
        lambda: runner_store.fail(old.id, old.fence, ImageError("x"), {}),
    ]
    for write in writes:
        with pytest.raises(LeaseLostError):
            write()
    assert store.get(old.id) == before
    assert store.counts() == {}
    assert runner_store.renew({old.id: old.fence}, GpuReport(0)) == {old.id}
    assert runner_store.lost_jobs({old.id: old.fence}) == {old.id}
    assert other.renew({now.id: now.fence}, GpuReport(0)) == set()
    assert other.lost_jobs({now.id: now.fence}) == set()


def test_a_lease_is_kept_by_renewing_it(database: Database, store: JobStore, runner_store: RunnerStore) -> None:
    put(store)
    job = claim(runner_store)
    with database.read() as connection:
        until = connection.scalar(sa.select(tables.job.c.lease))
        assert until is not None
        assert 0 < until - database.now(connection) <= LEASE_S
    assert runner_store.renew({job.id: job.fence}, GpuReport(0)) == set()
    assert runner_store.claim([], 9, 9) is None
    runner_store.release()
    assert claim(RunnerStore(database, "two")).id == job.id


def test_progress_follows_the_objects_and_is_full_only_with_the_result(
    store: JobStore, runner_store: RunnerStore
) -> None:
    put(store)
    job = claim(runner_store)
    runner_store.save_plan(
        job.id, job.fence, "plan-1", Sections((100, 450, 450), 0), "100 of 1000 objects", {("sections", "done"): 1}
    )
    assert [item.number for item in runner_store.sections(job.id)] == [1, 2]
    seen = [store.get(job.id)]
    runner_store.record_sections(
        job.id, job.fence, [Section(2, 450, False, 0, 0)], [Section(1, 450, False, 1, 0)], "", {}
    )
    assert [(item.number, item.errors) for item in runner_store.sections(job.id)] == [(1, 1)]
    seen.append(store.get(job.id))
    runner_store.record_sections(job.id, job.fence, [Section(1, 450, False, 0, 0)], [], "", {("sections", "done"): 1})
    seen.append(store.get(job.id))
    runner_store.succeed(job.id, job.fence, "all", RESULT, SUMMARY, 1000, {("sections", "done"): 1})
    seen.append(store.get(job.id))
    assert [job.progress for job in seen if job is not None] == [10, 55, 99, 100]
    assert seen[-1] is not None
    assert (seen[-1].result, seen[-1].summary, seen[-1].plan) == (RESULT, SUMMARY, "plan-1")
    assert store.counts() == {("sections", "done"): 3}


def counts(store: JobStore, job: Job) -> list[int] | None:
    """Return what a running job has found of each class so far."""
    found = store.get(job.id)
    assert found is not None
    info = status_info(found, "")
    assert "summary" not in info
    return [item["count"] for item in info["classes"]] if "classes" in info else None


def test_what_sections_have_found_is_counted_once(store: JobStore, runner_store: RunnerStore) -> None:
    put(store)
    job = claim(runner_store)
    classes = tuple({"name": name, "value": 0, "color": "#000000", "count": 1} for name in "ab")
    runner_store.save_plan(job.id, job.fence, "plan-1", Sections((2, 4, 5, 6), 0, classes), "", {})
    seen = [counts(store, job)]
    first, second = Section(1, 4, False, 0, 0, (4, 0)), Section(2, 5, False, 0, 0, (2, 3))
    for done in ([first], [first, second], [second]):  # as where answers were lost
        runner_store.record_sections(job.id, job.fence, done, [], "", {})
        seen.append(counts(store, job))
    assert seen == [[1, 1], [5, 1], [7, 4], [7, 4]]
    runner_store.record_sections(job.id, job.fence, [Section(3, 6, False, 0, 0)], [], "", {})
    assert counts(store, job) is None, "a section that another process did does not say what it found"


def test_what_was_found_is_not_known_when_sections_are_done_again(store: JobStore, runner_store: RunnerStore) -> None:
    put(store)
    job = claim(runner_store)
    classes = ({"name": "a", "value": 0, "color": "#000000", "count": 1},)
    runner_store.save_plan(job.id, job.fence, "plan-1", Sections((1, 4), 0, classes), "", {})
    runner_store.record_sections(job.id, job.fence, [Section(1, 4, False, 0, 0, (4,))], [], "", {})
    assert counts(store, job) == [5]
    assert runner_store.redo(job.id, job.fence, [1], 5)
    assert counts(store, job) is None


def test_of_very_many_classes_nothing_is_counted_before_the_end(store: JobStore, runner_store: RunnerStore) -> None:
    put(store)
    job = claim(runner_store)
    classes = tuple({"name": str(number), "value": number, "color": "#000000", "count": 1} for number in range(101))
    runner_store.save_plan(job.id, job.fence, "plan-1", Sections((101, 4), 0, classes), "", {})
    assert counts(store, job) is None


def test_a_failed_job_keeps_its_error(store: JobStore, runner_store: RunnerStore) -> None:
    put(store)
    job = claim(runner_store)
    runner_store.fail(job.id, job.fence, RequestError.at("/inputs/image", ImageError("the image is torn")), {})
    found = store.get(job.id)
    assert found is not None
    assert isinstance(found.error, RequestError)
    (fault,) = found.error.faults
    assert (fault.pointer, type(fault.error), fault.detail) == ("/inputs/image", ImageError, "the image is torn")
    assert found.message == "the image is torn"


def test_dismissing(store: JobStore, runner_store: RunnerStore) -> None:
    waiting, done, running = (put(store, is_awaited=is_awaited) for is_awaited in (False, True, True))
    job = claim(runner_store)
    assert job.id == done.id
    runner_store.succeed(job.id, job.fence, "", RESULT, SUMMARY, 1, {})
    held = claim(runner_store)
    assert held.id == running.id
    for item in (waiting, running, done):
        dismissed = store.dismiss(item.id)
        assert dismissed is not None
        assert (dismissed.status, dismissed.result, dismissed.summary) == (JobStatus.DISMISSED, None, None)
        assert dismissed.finished is not None
        assert store.dismiss(item.id) is None
    assert runner_store.claim([], 9, 9) is None
    assert runner_store.lost_jobs({held.id: held.fence}) == {held.id}
    with pytest.raises(LeaseLostError):
        runner_store.set_message(held.id, held.fence, "x")
    with pytest.raises(KeyError):
        store.dismiss("nothing")


def test_files_are_tidied_once_nobody_works_on_the_job(
    database: Database, store: JobStore, runner_store: RunnerStore
) -> None:
    waiting, running = put(store), put(store, is_awaited=True)
    held = claim(runner_store)
    assert held.id == running.id
    store.dismiss(waiting.id)
    store.dismiss(running.id)
    other = RunnerStore(database, "two")
    assert other.removable([]) == [waiting.id]  # the other is still the first runner's
    assert runner_store.removable([running.id]) == [waiting.id]
    assert set(runner_store.removable([])) == {waiting.id, running.id}
    for job_id in (waiting.id, running.id):
        runner_store.mark_removed(job_id)
    assert runner_store.removable([]) == []
    assert runner_store.with_files([waiting.id, "nothing"]) == set()


def test_results_go_when_their_time_is_over_and_records_as_long_after(
    database: Database, store: JobStore, runner_store: RunnerStore
) -> None:
    put(store, result_name="storm")
    job = claim(runner_store)
    runner_store.succeed(job.id, job.fence, "", RESULT, SUMMARY, 1, {})
    day_s = 86_400
    with database.read() as connection:
        now = database.now(connection)
    change(database, job.id, finished=now - 29 * day_s)
    runner_store.expire(30)
    assert runner_store.removable([]) == []
    change(database, job.id, finished=now - 31 * day_s)
    runner_store.expire(30)
    found = store.get(job.id)
    assert found is not None
    assert (found.status, found.is_expired, found.result) == (JobStatus.SUCCESSFUL, True, None)
    assert runner_store.removable([]) == [job.id]
    assert store.dismiss(job.id) is None
    put(store, result_name="storm")  # its name is free
    change(database, job.id, finished=now - 61 * day_s)
    runner_store.expire(30)
    assert store.get(job.id) is not None  # its files are still there
    runner_store.mark_removed(job.id)
    runner_store.expire(30)
    assert store.get(job.id) is None


def test_lists_are_filtered_and_the_newest_come_first(
    database: Database, store: JobStore, runner_store: RunnerStore
) -> None:
    jobs = [put(store, process_id=process) for process in ("echo", "classify-objects", "echo")]
    for place, job in enumerate(jobs):
        change(database, job.id, created=1000.0 + place)
    change(database, jobs[0].id, status="successful", started=1001.0, finished=1011.0)
    change(database, jobs[1].id, status="running", started=datetime.now(UTC).timestamp() - 100)

    def found(limit: int = 10, offset: int = 0, **wanted: Any) -> list[int]:
        ids = [job.id for job in jobs]
        return [ids.index(job.id) for job in store.find(JobFilter(**wanted), limit, offset)]

    assert found() == [2, 1, 0]
    assert found(1) == [2]
    assert found(1, 1) == [1]
    assert found(processes=["echo"]) == [2, 0]
    assert found(statuses=["successful", "accepted"]) == [2, 0]
    start = datetime.fromtimestamp(1001, UTC)
    assert found(created_from=start) == [2, 1]
    assert found(created_to=start) == [1, 0]
    assert found(min_duration_s=50) == [1]
    assert found(max_duration_s=50) == [0]
    assert found(min_duration_s=5, statuses=["accepted"]) == []


def test_callbacks_come_with_what_they_tell_of(store: JobStore, runner_store: RunnerStore, database: Database) -> None:
    told = Subscriber("https://a/done", "https://a/begun", "https://a/failed")

    def calls() -> Counter[str]:
        with database.read() as connection:
            return Counter(connection.scalars(sa.select(tables.callback.c.url)))

    put(store, subscriber=told)
    assert calls() == {}
    job = claim(runner_store)
    assert calls() == {"https://a/begun": 1}
    change(database, job.id, lease=0)
    job = claim(runner_store)
    assert calls() == {"https://a/begun": 1}  # taken over, not begun
    runner_store.succeed(job.id, job.fence, "", RESULT, None, 1, {})
    assert calls() == {"https://a/begun": 1, "https://a/done": 1}
    put(store, subscriber=Subscriber("https://b/done", None, None))
    job = claim(runner_store)
    runner_store.fail(job.id, job.fence, ImageError("x"), {})
    assert calls() == {"https://a/begun": 1, "https://a/done": 1}


def test_entries_whose_answer_was_lost_count_once(store: JobStore, runner_store: RunnerStore) -> None:
    put(store)
    job = claim(runner_store)
    done = [Section(1, 2, False, 0, 0)]
    for _ in range(2):
        runner_store.save_plan(job.id, job.fence, "plan-1", Sections((1, 2, 3), 0), "", {("sections", "done"): 1})
    for _ in range(2):
        runner_store.record_sections(job.id, job.fence, done, [], "", {})
    found = store.get(job.id)
    assert found is not None
    assert (found.done, found.objects) == (3, 6)
    assert [item.number for item in runner_store.sections(job.id)] == [2]
    assert store.counts() == {("sections", "done"): 1}


def test_a_forgotten_job_is_gone_unless_it_has_not_ended(store: JobStore, runner_store: RunnerStore) -> None:
    put(store)
    job = claim(runner_store)
    store.forget(job.id)
    assert store.get(job.id) is not None
    runner_store.fail(job.id, job.fence, ImageError("x"), {})
    store.forget(job.id)
    assert store.get(job.id) is None


def test_counters_add_up_whoever_counts(database: Database, store: JobStore) -> None:
    ledgers = [RunnerStore(database, str(number)) for number in range(4)]

    def add(runner_store: RunnerStore) -> None:
        for _ in range(10):
            runner_store.add_counts({("sections", "done"): 1, ("section_seconds", "done"): 0.5})

    threads = [threading.Thread(target=add, args=(runner_store,)) for runner_store in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.counts() == {("sections", "done"): 40, ("section_seconds", "done"): 20}


def test_each_job_is_claimed_once_however_many_claim(database: Database, store: JobStore) -> None:
    ids = {put(store).id for _ in range(20)}
    claimed: list[str] = []

    def take(name: str) -> None:
        runner_store = RunnerStore(database, name)
        while (job := runner_store.claim([], 99, 99)) is not None:
            claimed.append(job.id)

    threads = [threading.Thread(target=take, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    missed = ids - set(claimed)  # a claim that meets another's may come back with nothing, as if there were none
    assert len(claimed) == len(set(claimed))
    while missed:
        missed.remove(claim(RunnerStore(database, "last")).id)


def test_a_store_that_does_not_answer_is_told_as_such(tmp_path: Path) -> None:
    nowhere = JobStore(Database("postgresql+psycopg://nobody@127.0.0.1:1/nothing"), Limits())
    with pytest.raises(UnavailableError, match="job store"):
        nowhere.get("a")
    (tmp_path / "broken").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(JobStoreError, match="the file is no database"):
        JobStore(Database(f"sqlite:///{tmp_path}/broken"), Limits()).get("a")


def test_dry_runs_are_no_jobs(store: JobStore, runner_store: RunnerStore) -> None:
    job, dry_run = put(store), put(store, dry_run=DryRun())
    assert [item.id for item in store.find(JobFilter(), 9, 0)] == [job.id]
    assert store.queue() == {JobStatus.ACCEPTED: 1, JobStatus.RUNNING: 0}
    assert store.get(dry_run.id) is None
    assert store.request(dry_run.id) is None
    assert store.get(dry_run.id, is_dry_run=True) == dry_run
    assert store.get(job.id, is_dry_run=True) is None
    with pytest.raises(KeyError):
        store.dismiss(dry_run.id)
    assert {claim(runner_store).id, claim(runner_store).id} == {job.id, dry_run.id}
    assert store.dismiss(dry_run.id, is_dry_run=True) is not None


def test_dry_runs_take_no_room_of_jobs_and_have_the_same_limits(database: Database) -> None:
    store = JobStore(database, Limits(max_waiting_jobs=3, max_waiting_jobs_per_client=2))
    for dry_run in (DryRun(), None):
        for client in ("10.0.0.1", "10.0.0.1", "10.0.0.2"):
            put(store, client=client, dry_run=dry_run)
        with pytest.raises(QueueFullError):
            put(store, client="10.0.0.3", dry_run=dry_run)
    assert len(store.find(JobFilter(), 9, 0)) == 3


def test_a_dry_run_whose_maker_was_killed_is_forgotten(
    database: Database, store: JobStore, runner_store: RunnerStore
) -> None:
    put(store, dry_run=DryRun())
    job = claim(runner_store)
    runner_store.succeed(job.id, job.fence, "", RESULT, None, 0, {})
    runner_store.expire(30)
    assert runner_store.removable([]) == []
    change(database, job.id, finished=datetime.now(UTC).timestamp() - 4000)
    runner_store.expire(30)
    assert runner_store.removable([]) == [job.id]
    runner_store.mark_removed(job.id)
    runner_store.expire(30)
    assert store.get(job.id, is_dry_run=True) is None


def test_a_delayed_job_is_claimed_when_its_delay_is_over(
    database: Database, store: JobStore, runner_store: RunnerStore
) -> None:
    job = put(store, delay_s=60)
    assert runner_store.claim([], 9, 9) is None
    assert not runner_store.has_waiting([], 9, 9)
    with database.read() as connection:
        now = database.now(connection)
    change(database, job.id, due=now - 1)
    assert claim(runner_store).id == job.id
    later = put(store, delay_s=60)
    change(database, later.id, created=now + 3600, due=now + 3660)  # the clock was set back by an hour
    assert claim(runner_store).id == later.id


def test_layers_are_the_results_that_can_be_had(database: Database, store: JobStore, runner_store: RunnerStore) -> None:
    info = LayerInfo("http://www.opengis.net/def/crs/OGC/1.3/CRS84", (1.0, 2.0, 3.0, 4.0))
    layer = ResultFile("classifiedObjects", "application/geo+json", "plan-1/result-1.geojson", 17, info)
    names = ["first", "table", "dismissed", "expired", "last"]
    for number, name in enumerate(names):
        job = put(store, result_name=name)
        change(database, job.id, created=1000.0 + number)
        claimed = claim(runner_store)
        runner_store.succeed(job.id, claimed.fence, "", RESULT if name == "table" else layer, SUMMARY, 1, {})
        if name == "dismissed":
            store.dismiss(job.id)
        if name == "expired":
            change(database, job.id, finished=0.0)
            runner_store.expire(1)
    put(store, result_name="waiting")
    assert [job.result_name for job in store.layers(10, 0)] == ["last", "first"]
    assert [job.result_name for job in store.layers(1, 1)] == ["first"]
    found = {name: store.layer(name) for name in [*names, "waiting"]}
    assert [name for name, job in found.items() if job is not None] == ["first", "last"]


ANNA, BELA, OLGA = Person("anna", Role.USER), Person("bela", Role.USER), Person("olga", Role.OPERATOR)


def test_a_name_is_taken_among_the_results_of_its_maker(store: JobStore) -> None:
    made = {maker: put(store, result_name="storm", maker=maker) for maker in (None, "anna", "bela")}
    assert {maker: job.maker for maker, job in made.items()} == {None: None, "anna": "anna", "bela": "bela"}
    for maker in (None, "anna", "bela"):
        with pytest.raises(NameTakenError):
            put(store, result_name="storm", maker=maker)
        with pytest.raises(NameTakenError):
            store.require_free("storm", maker)
    store.dismiss(made["anna"].id)
    assert put(store, result_name="storm", maker="anna").result_name == "storm"
    with pytest.raises(NameTakenError):
        store.require_free("storm", "bela")


def test_numbers_of_names_count_among_those_of_their_maker(store: JobStore) -> None:
    makers = ["anna", "anna", None, "bela", "anna", None]
    names = [put(store, name_stem="field", maker=maker).result_name for maker in makers]
    assert names == ["field", "field-2", "field", "field", "field-3", "field-2"]


def test_lists_have_what_somebody_may_see(database: Database, store: JobStore, runner_store: RunnerStore) -> None:
    info = LayerInfo("http://www.opengis.net/def/crs/OGC/1.3/CRS84", (1.0, 2.0, 3.0, 4.0))
    layer = ResultFile("classifiedObjects", "application/geo+json", "plan-1/result-1.geojson", 17, info)
    for maker in (None, "anna", "bela"):
        job = put(store, result_name="storm", maker=maker)
        runner_store.succeed(job.id, claim(runner_store).fence, "", layer, SUMMARY, 1, {})
    nobody = Person("", Role.VIEWER)
    seen = {EVERYBODY: {None, "anna", "bela"}, OLGA: {None, "anna", "bela"}, ANNA: {"anna"}, nobody: set()}
    for person, makers in seen.items():
        assert {job.maker for job in store.find(JobFilter(person=person), 9, 0)} == makers
        assert {job.maker for job in store.layers(9, 0, person)} == makers
    found = [store.layer("storm", maker) for maker in (None, "anna", "carl")]
    assert [job and job.maker for job in found] == [None, "anna", None]
    assert found[0] is not None


def test_a_full_queue_does_not_tell_how_many_jobs_of_others_wait(database: Database) -> None:
    store = JobStore(database, Limits(max_waiting_jobs=3))
    for _ in range(3):
        put(store, client="anna")
    fewer = JobStore(database, Limits(max_waiting_jobs=2))
    with pytest.raises(QueueFullError) as info:
        put(fewer, client="bela")
    assert "3" not in info.value.detail


def test_objects_of_a_day_are_counted_by_client(database: Database) -> None:
    limits = Limits(max_objects_per_day=10)
    store, runner_store = JobStore(database, limits), RunnerStore(database, "one", limits)

    def done(client: str, objects: int) -> Job:
        job = put(store, client=client)
        runner_store.succeed(job.id, claim(runner_store).fence, "", RESULT, SUMMARY, objects, {})
        return job

    with pytest.raises(QuotaError, match=r"max_objects_per_day = 10"):
        done("anna", 11)
    store.dismiss(store.find(JobFilter(), 1, 0)[0].id)
    first = done("anna", 6)
    with pytest.raises(QuotaError, match=r"with the 6 objects .* 5 objects more"):
        done("anna", 5)
    runner_store.fail(store.find(JobFilter(), 1, 0)[0].id, 1, ImageError("no"), {})  # its objects were not done
    planned = put(store, client="anna")
    runner_store.save_plan(planned.id, claim(runner_store).fence, "plan-1", Sections((2, 2), 0), "", {})
    with pytest.raises(QuotaError, match=r"with the 10 objects .* one object more"):
        put(store, client="anna")
    runner_store.succeed(planned.id, 1, "", RESULT, SUMMARY, 4, {})  # a job that was let in is not refused at its end
    assert done("bela", 10).client == "bela"
    put(store, client="anna", dry_run=DryRun())
    change(database, first.id, created=1000.0)
    put(store, client="anna")


def test_uploads_of_a_client_take_no_more_than_their_limit(database: Database) -> None:
    quota = UploadQuota(database, 1, 30)
    quota.reserve("one", "anna", 2**19)
    quota.reserve("two", "bela", 2**20)
    with pytest.raises(LimitError, match=r"with the 524288 bytes .* max_uploads_mb_per_client = 1 "):
        quota.reserve("three", "anna", 2**19 + 1)
    quota.release("one")
    quota.reserve("three", "anna", 2**20)
    with database.write() as connection:
        connection.execute(tables.upload.update().values(expires=1.0))
    quota.reserve("four", "anna", 2**20)
    UploadQuota(database, 0, 30).reserve("five", "anna", 2**40)


def test_layers_are_listed_by_an_index(database: Database) -> None:
    if not database.is_file:
        pytest.skip("SQLite tells its plan in words that can be compared")
    query = (
        "EXPLAIN QUERY PLAN SELECT id FROM job WHERE is_layer = 1 AND result_name IS NOT NULL ORDER BY created DESC, id"
    )
    with database.read() as connection:
        plan = " ".join(row[-1] for row in connection.execute(sa.text(query)))
    assert "job_by_layer" in plan


@pytest.mark.parametrize(("is_awaited", "accepted"), [(True, "NORMAL"), (False, "FULL")])
def test_a_job_that_a_client_waits_for_waits_for_the_disk_once(tmp_path: Path, is_awaited: bool, accepted: str) -> None:
    database = Database(f"sqlite:///{tmp_path}/store")
    store, runner_store = JobStore(database, Limits()), RunnerStore(database, "one")
    database.prepare()
    levels: list[str] = []

    def see(_: object, __: object, statement: str, *___: object) -> None:
        if statement.startswith("PRAGMA synchronous = "):
            levels.append(statement.rpartition(" ")[2])

    sa.event.listen(sa.Engine, "before_cursor_execute", see)
    try:
        job = put(store, is_awaited=is_awaited)
        claim(runner_store)
        runner_store.set_message(job.id, 1, "reading the inputs")
        runner_store.succeed(job.id, 1, "done", RESULT, SUMMARY, 1, {})
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", see)
        database.close()
    assert levels == [accepted, "NORMAL", "NORMAL", "FULL"]
