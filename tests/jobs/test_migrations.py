"""Job stores of earlier versions: their jobs are read as before, and those that have not ended go on."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from jobs_service import Service, make_town, running, until
from model_oracle import package_digest
from postgres import Postgres
from processes.access.person import Person, Role
from processes.errors import NameTakenError, RequestError
from processes.jobs import tables
from processes.jobs.database import Database
from processes.jobs.job import JobStatus
from processes.jobs.migrations import JobStoreError
from processes.jobs.runner_store import RunnerStore
from processes.jobs.store import JobFilter, JobStore
from processes.settings import Limits

OLD = Path(__file__).parent / "store_of_0_3_0"
"""A job store of version 0.3.0 as SQL, with the files of its jobs that had not ended."""
RESULT = {"type": "FeatureCollection", "features": [], "summary": {"counts": {}}}
"""What lies where the results of its jobs lay."""
UNFINISHED = {path.stem: path for path in OLD.glob("*.order")}


def restore(url: str, folder: Path) -> None:
    """Make the job store of 0.3.0 anew: in SQLite as it was, in another database with the same tables and rows."""
    target = sa.make_url(url)
    is_sqlite = target.get_backend_name() == "sqlite"
    path = Path(target.database or "") if is_sqlite else folder / "old.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((OLD / "jobs.sql").read_text())
    if is_sqlite:
        return
    old, new = sa.create_engine(f"sqlite:///{path}"), sa.create_engine(url)
    metadata = sa.MetaData()
    metadata.reflect(old)
    for column in (column for table in metadata.sorted_tables for column in table.columns):
        column.type = column.type.as_generic()
    with old.connect() as source, new.begin() as connection:
        metadata.create_all(connection)
        for table in metadata.sorted_tables:
            if rows := [dict(row) for row in source.execute(table.select()).mappings()]:
                connection.execute(table.insert(), rows)
    old.dispose()
    new.dispose()


@pytest.fixture
def migrated(database_url: str, tmp_path: Path) -> Database:
    """Return the job store of 0.3.0, not yet opened."""
    restore(database_url, tmp_path)
    return Database(database_url)


def shape(url: str) -> dict[str, Any]:
    """Return what a database says of its tables: columns, their kinds, keys and indexes."""
    engine = sa.create_engine(url)
    found = sa.inspect(engine)
    described = {
        name: {
            "columns": {
                # DOUBLE PRECISION is the same to SQLite as DOUBLE, and SQLAlchemy calls it REAL
                item["name"]: (re.sub("^(DOUBLE PRECISION|REAL)$", "DOUBLE", str(item["type"])), item["nullable"])
                for item in found.get_columns(name)
            },
            "key": found.get_pk_constraint(name)["constrained_columns"],
            "indexes": {item["name"]: item["column_names"] for item in found.get_indexes(name)},
        }
        for name in found.get_table_names()
    }
    engine.dispose()
    return described


def test_jobs_are_read_as_before(migrated: Database) -> None:
    with closing(migrated):
        store, runner_store = JobStore(migrated, Limits()), RunnerStore(migrated, "another")
        jobs = store.find(JobFilter(), 100, 0)
        assert [job.status for job in jobs].count(JobStatus.SUCCESSFUL) == 4
        (failed,) = (job for job in jobs if job.status is JobStatus.FAILED)
        assert isinstance(failed.error, RequestError)
        assert [fault.pointer for fault in failed.error.faults] == ["/inputs/image/value"]
        (dismissed,) = (job for job in jobs if job.status is JobStatus.DISMISSED)
        assert (dismissed.result, dismissed.result_name) == (None, None)
        (named,) = (job for job in jobs if job.result_name == "storm")
        assert named.result is not None
        assert (named.client, named.retries, named.parallel_factor, named.progress) == ("192.0.2.7", 2, "50%", 100)
        assert named.subscriber is not None
        assert named.subscriber.success_uri == "https://example.org/done"
        assert (named.summary or {})["counts"] == {"dark": 0, "bright": 3}
        assert '"resultName":"storm"' in (store.request(named.id) or "")
        assert runner_store.with_files([named.id, dismissed.id]) == {named.id}
        assert store.counts()["jobs", "successful"] == 5
        assert {job.id for job in jobs if not job.status.has_ended} == set(UNFINISHED)
        with migrated.read() as connection:
            assert connection.scalar(sa.select(tables.callback.c.job)) == named.id
            assert connection.scalar(sa.select(tables.name_count.c.last)) == 7


def test_jobs_and_names_are_the_operators(migrated: Database) -> None:
    """And somebody with a name can give one that is taken among them."""
    olga, anna = Person("olga", Role.OPERATOR), Person("anna", Role.USER)
    with closing(migrated):
        store = JobStore(migrated, Limits())
        assert {job.maker for job in store.find(JobFilter(), 100, 0)} == {None}
        assert len(store.find(JobFilter(person=olga), 100, 0)) == 9
        assert store.find(JobFilter(person=anna), 100, 0) == []
        assert [job.result_name for job in store.layers(9, 0, anna)] == []
        with pytest.raises(NameTakenError):
            store.require_free("storm")
        store.require_free("storm", "anna")


def test_jobs_that_have_not_ended_begin_anew(migrated: Database) -> None:
    with closing(migrated):
        store, runner_store = JobStore(migrated, Limits()), RunnerStore(migrated, "another")
        claimed = {job.id: job for job in iter(lambda: runner_store.claim([], 9, 9), None)}
        assert set(claimed) == set(UNFINISHED)
        assert sorted(job.fence for job in claimed.values()) == [1, 2, 2]
        for job in claimed.values():  # a plan of 0.3.0 is not read any more
            assert (job.plan, job.done, job.objects, store.sections(job.id)) == (None, 0, None, [])


def test_migrated_tables_are_those_of_a_new_store(
    migrated: Database, database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    migrated.prepare()
    migrated.close()
    after = shape(database_url)
    if database_url.startswith("sqlite"):
        new_url = f"sqlite:///{tmp_path}/new.sqlite3"
    else:
        request.getfixturevalue("postgres").empty()
        new_url = database_url
    new = Database(new_url)
    new.prepare()
    new.close()
    assert after == shape(new_url)
    with closing(Database(database_url)) as again:  # a second time there is nothing to do
        again.prepare()


def test_programs_of_the_version_before_go_on_beside(migrated: Database, database_url: str) -> None:
    """Those that run while the store is migrated name no new column."""
    before = sa.create_engine(database_url)
    metadata = sa.MetaData()
    metadata.reflect(before)
    with closing(migrated):
        migrated.prepare()
        with before.begin() as connection:
            row = connection.execute(metadata.tables["job"].select().limit(1)).mappings().one()
            connection.execute(metadata.tables["job"].insert().values(dict(row) | {"id": "new", "result_name": None}))
            connection.execute(metadata.tables["name_count"].insert().values(stem="new", last=2))
        assert JobStore(migrated, Limits()).get("new") is not None
    before.dispose()


def test_tables_of_a_newer_version_are_refused(database: Database, database_url: str) -> None:
    database.prepare()
    with database.write() as connection:
        connection.execute(tables.meta.update().values(version=99))
    with (
        closing(Database(database_url)) as other,
        pytest.raises(JobStoreError, match=f"version 99, .* version {tables.VERSION}"),
    ):
        other.prepare()


@pytest.mark.jobs
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_service_goes_on_with_jobs_of_the_version_before(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/service/state/jobs.sqlite3"
    (tmp_path / "service" / "state").mkdir(parents=True)
    if kind == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        postgres.empty()
        url = postgres.url
    restore(url, tmp_path)
    old = tmp_path / "of_0_3_0.sqlite3"
    restore(f"sqlite:///{old}", tmp_path)
    with closing(sqlite3.connect(old)) as connection:
        for job, result in connection.execute("SELECT id, result FROM job WHERE result IS NOT NULL"):
            path = tmp_path / "service" / "state" / "results" / job / json.loads(result)["name"]
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(RESULT))
    for job, order in UNFINISHED.items():
        (tmp_path / "service" / "state" / "results" / job).mkdir(parents=True)
        shutil.copy(order, tmp_path / "service" / "state" / "results" / job / "order")
    town = make_town(tmp_path / "town", chip_ms=0.02)
    with running(Service(town, tmp_path / "service", job_store=url)) as service:
        for job in UNFINISHED:
            found = service.wait(job)
            assert found["status"] == "successful", found
            assert {label for _, label, _ in service.labels(job)} == {"bright"}
        assert service.execute(service.inputs(1, resultName="storm")).status == 409
        with sa.create_engine(f"sqlite:///{old}").connect() as connection:
            before = {row.id: row for row in connection.execute(sa.text("SELECT id, status, result FROM job"))}
        listed = {job["jobID"]: job["status"] for job in service.get("/jobs?limit=100").json["jobs"]}
        assert listed == {job: "successful" if job in UNFINISHED else row.status for job, row in before.items()}
        for job, row in before.items():
            answer = service.get(f"/jobs/{job}/results")
            if row.result is not None:
                assert (answer.status, answer.json) == (200, RESULT)
            else:
                assert answer.status == {"successful": 200, "failed": 400, "dismissed": 410}[listed[job]]
            assert service.request("DELETE", f"/jobs/{job}").status == (410 if row.status == "dismissed" else 200)
            assert service.get(f"/jobs/{job}").json["status"] == "dismissed"
        assert service.execute(service.inputs(1, resultName="storm")).status == 200
        until(lambda: not list((tmp_path / "service" / "state" / "results").glob(f"{next(iter(before))}*")), 10)


@pytest.mark.jobs
def test_job_with_the_digest_of_a_network_alone_begins_anew(tmp_path: Path) -> None:
    """Programs after 0.3.0 took that for the digest of the model; no package has it any more."""
    town = make_town(tmp_path / "town", chip_ms=4)
    model = town / "models" / "slow"
    former = hashlib.sha256((model / "net.onnx").read_bytes()).hexdigest()
    (tmp_path / "service").mkdir()
    with running(Service(town, tmp_path / "service")) as service:
        job, waiting = (service.submit(3_000, "slow") for _ in range(2))
        until(lambda: service.status(job)["progress"] > 0, 60)
    files = tmp_path / "service" / "state" / "results"
    (plan,) = (files / job).rglob("plan.msgpack")
    saved = msgspec.msgpack.decode(plan.read_bytes())
    assert saved.pop("model_digest") == package_digest(model, "model.emd", "net.onnx")
    plan.write_bytes(msgspec.msgpack.encode(saved | {"model_sha256": former}))
    for order in (files / job / "execution", files / waiting / "execution"):
        accepted = msgspec.msgpack.decode(order.read_bytes())
        order.write_bytes(msgspec.msgpack.encode(accepted | {"model_sha256": former}))
    with running(Service(town, tmp_path / "service")) as service:
        for item in (job, waiting):
            found = service.wait(item)
            assert found["status"] == "successful", found
            assert found["summary"]["model"]["sha256"] == package_digest(model, "model.emd", "net.onnx")
            assert len(service.labels(item)) == 3_000
