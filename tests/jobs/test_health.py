"""Whether the service is well: what `/health` says, and when it says it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs_service import Reply, Service, freeze, make_town, running, until, wake
from postgres import Postgres

pytestmark = [pytest.mark.jobs, pytest.mark.timed]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_town(tmp_path_factory.mktemp("town"), chip_ms=0.02)


@pytest.fixture
def service(town: Path, tmp_path: Path) -> Iterator[Service]:
    with running(Service(town, tmp_path)) as service:
        until(lambda: service.get("/health").status == 200)
        yield service


def test_a_service_that_is_well(service: Service) -> None:
    reply = service.get("/health")
    assert reply.json == {"status": "ok", "store": "ok", "runner": "ok", "disk": "ok"}
    assert reply.headers["cache-control"] == "no-store"
    head = service.request("HEAD", "/health")
    assert (head.status, head.body) == (200, b"")
    assert service.request("POST", "/health", {}).status == 405


def test_without_a_runner_it_is_not_well_until_there_is_one(service: Service) -> None:
    (runner,) = service.of_kind("runner")
    freeze(runner)
    replies: list[Reply] = []

    def is_missed() -> bool:
        replies.append(service.get("/health"))  # each web process looks for itself, so the next answer may be another
        return "no runner has been heard of for" in replies[-1].json["runner"]

    until(is_missed, 60)
    reply = replies[-1]
    assert (reply.status, reply.json["type"], reply.json["store"], reply.json["disk"]) == (
        503,
        "Unavailable",
        "ok",
        "ok",
    )
    assert reply.json["runner"] in reply.json["detail"]
    assert int(reply.headers["retry-after"]) > 0
    assert str(service.folder) not in reply.body.decode()
    wake(runner)
    until(lambda: service.get("/health").status == 200)


def test_a_disk_that_is_nearly_full(town: Path, tmp_path: Path) -> None:
    with running(Service(town, tmp_path, limits={"min_free_mb": 2**40})) as service:
        reply = service.get("/health")
        assert reply.status == 503
        assert "min_free_mb = 1099511627776" in reply.json["disk"]
        for path in ("execution", "validate"):
            body = {"inputs": service.inputs(1)}
            answer = service.request("POST", f"/processes/classify-objects/{path}", body, {"Prefer": "respond-async"})
            assert (answer.status, answer.json["type"]) == (503, "Unavailable")
            assert "min_free_mb = 1099511627776" in answer.json["detail"]
            assert int(answer.headers["retry-after"]) > 0
        assert service.get("/jobs").json["jobs"] == []
        assert not list((service.state / "results").glob("*"))


def test_a_database_that_hangs(town: Path, tmp_path: Path, postgres: Postgres) -> None:
    postgres.empty()
    with running(Service(town, tmp_path, job_store=postgres.url)) as service:
        until(lambda: service.get("/health").status == 200)
        job = service.submit(1)
        service.wait(job)
        processes = postgres.processes()
        for process in processes:
            freeze(process)
        try:
            until(lambda: service.get("/health").status == 503, 10)  # an answer is given again for a second
            for _ in range(3):
                start_s = time.monotonic()
                reply = service.get("/health")
                assert time.monotonic() - start_s < 4  # 2 s, and what a busy machine takes
                assert reply.status == 503
            assert reply.json["store"] != "ok"
            for path in ("/jobs", f"/jobs/{job}"):
                start_s = time.monotonic()
                assert service.get(path).status == 503
                assert time.monotonic() - start_s < 20
            assert service.get("/conformance").status == 200
        finally:
            for process in processes:
                wake(process)
        until(lambda: service.get("/health").status == 200, 60)
        assert service.wait(service.submit(1))["status"] == "successful"
