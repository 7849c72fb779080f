"""The cluster of docker/compose.yml: its commands with its environment, but without containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose import composed_cluster
from jobs_service import make_town, running, until
from postgres import Postgres

pytestmark = pytest.mark.jobs


def test_the_cluster_of_the_compose_file_works_on_when_a_worker_ends(tmp_path: Path, postgres: Postgres) -> None:
    town, folder = make_town(tmp_path / "town", chip_ms=4), tmp_path / "cluster"
    folder.mkdir()
    with composed_cluster(town, folder, postgres) as composed, running(composed) as service:
        reply = service.execute(service.inputs(5))
        assert reply.status == 200, reply.body
        assert len(reply.json["features"]) == 5
        job = service.submit(3000, "slow")
        until(lambda: service.status(job)["progress"] > 0, 60)
        service.kill("worker")
        assert service.wait(job)["status"] == "successful"
        assert [number for number, *_ in service.labels(job)] == list(range(3000))
        assert not list(folder.glob("state-*/results"))  # they are in the object store
        assert service.get("/health").status == 200
        service.stop()
        assert {part.poll() for part in service.parts.values()} <= {0, -9}, service.log()[-3000:]
