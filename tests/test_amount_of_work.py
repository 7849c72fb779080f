"""Work is counted, not timed: what a request reads, and what a service does of which nobody asks anything."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from conftest import definition, save_mean_network
from processes.jobs.runner import Runner
from processes.settings import load_settings
from service import Client, configure, load_application

IDLE_S = 5
STATEMENTS = 6 * IDLE_S
"""Those that begin transactions included. An idle runner looks for jobs each second; the rest has slower turns."""


class OpenedFiles:
    """The files that this process opens while it records."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.is_recording = False
        sys.addaudithook(self._note)  # it cannot be taken away again

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.is_recording and event == "open":
            self.paths.append(str(arguments[0]))

    def below(self, folder: Path) -> list[str]:
        return [path for path in self.paths if path.startswith(f"{folder}/")]


@pytest.fixture
def opened() -> Iterator[OpenedFiles]:
    files = OpenedFiles()
    yield files
    files.is_recording = False


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    package = tmp_path / "models" / "brightness"
    package.mkdir(parents=True)
    save_mean_network(package / "net.onnx", 3, None)
    (package / "m.emd").write_bytes(msgspec.json.encode(definition()))
    return configure(tmp_path, models=[tmp_path / "models"], imagery=[])


@pytest.mark.parametrize("path", ["/processes", "/processes/classify-objects", "/processes/describe-model"])
def test_a_description_reads_no_package_that_is_known(
    path: str, configuration: Path, tmp_path: Path, opened: OpenedFiles
) -> None:
    client = Client(load_application(configuration))
    assert "brightness" in client.http.get("/processes/classify-objects").text
    opened.is_recording = True
    assert client.http.get(path).status_code == 200
    assert len(opened.below(tmp_path)) <= 4  # records of checks
    assert not opened.below(tmp_path / "models")
    next((tmp_path / "models").rglob("*.emd")).read_bytes()
    assert opened.below(tmp_path / "models"), "nothing is recorded"


def test_an_idle_runner_asks_its_store_little(configuration: Path) -> None:
    statements = list[str]()

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    async def idle() -> None:
        stopping = asyncio.Event()
        running = asyncio.create_task(
            Runner(configuration, load_settings(configuration), "http://x", "one").run(stopping)
        )
        while not statements:
            await asyncio.sleep(0.1)
        await asyncio.sleep(IDLE_S)  # it starts
        statements.clear()
        await asyncio.sleep(IDLE_S)
        count = len(statements)
        stopping.set()
        await running
        assert 0 < count <= STATEMENTS, statements

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        asyncio.run(asyncio.wait_for(idle(), 60))
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
