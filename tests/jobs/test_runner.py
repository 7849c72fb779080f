"""Runner: what it does beside the work on jobs."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from jobs_service import make_town, objects
from processes.jobs import tables
from processes.jobs.database import Database
from processes.jobs.files import FolderStorage
from processes.jobs.runner import Runner
from processes.jobs.store import JobStore
from processes.ogc.execution import Execution
from processes.ogc.process import Requirements
from processes.ogc.request import ExecuteRequest
from processes.settings import load_settings
from service import configure

pytestmark = [pytest.mark.jobs, pytest.mark.timeout(300)]

HELD = threading.Event()


class HangingStorage(FolderStorage, frozen=True):
    """Files on a disk that does not answer when they are removed."""

    def remove(self, job_id: str) -> None:
        HELD.wait()
        super().remove(job_id)


@pytest.fixture(autouse=True)
def held() -> Iterator[None]:
    HELD.clear()
    yield
    HELD.set()


def test_leases_are_renewed_though_the_place_of_files_hangs(tmp_path: Path) -> None:
    town = make_town(tmp_path / "town", chip_ms=4)
    configuration = configure(tmp_path, models=[town / "models"], imagery=[town / "imagery"])
    settings = load_settings(configuration)
    database, storage = Database(settings.job_store), HangingStorage(Path(settings.results))
    store = JobStore(database, settings.limits)
    image = {"href": (town / "imagery" / "town.tif").as_uri()}

    def put(process: str, **inputs: Any) -> str:
        job_id, body = str(uuid.uuid4()), json.dumps({"inputs": inputs}).encode()
        execution = Execution(process, ExecuteRequest(body, {}, None, "raw", None), client="one")
        storage.put_execution(job_id, execution.encode())
        store.accept(job_id, execution, Requirements())
        return job_id

    for _ in range(40):
        store.dismiss(put("echo", echo="a"))
    for _ in range(40):  # each looks for files to remove when it has ended
        put("echo", echo="a")
    working = put("classify-objects", image=image, model="slow", features=objects(30_000))

    def lease() -> float:
        with database.read() as connection:
            found = connection.scalar(sa.select(tables.job.c.lease).where(tables.job.c.id == working))
            return float(found or 0)

    async def work() -> None:
        runner, stopping = Runner(configuration, settings, "http://localhost", "one"), asyncio.Event()
        runner._storage = storage
        running = asyncio.create_task(runner.run(stopping))
        first = seen = 0.0
        deadline = time.monotonic() + 120
        while seen < first + 4 or not first:  # it was renewed more than once
            await asyncio.sleep(0.05)
            seen = lease()
            first = first or seen
            assert time.monotonic() < deadline, (first, seen)
        assert len([entry for entry in storage.folder.iterdir() if entry.is_dir()]) == 81
        late = put("echo", echo="a")
        while store.get(late).started is None:  # type: ignore[union-attr]
            await asyncio.sleep(0.05)
            assert time.monotonic() < deadline
        stopping.set()
        HELD.set()
        await running

    asyncio.run(work())
    database.close()
