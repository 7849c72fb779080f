"""Work is counted, not timed: what a request reads, and what a service does of which nobody asks anything."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pyarrow as pa
import pyogrio
import pytest
import shapely
import sqlalchemy as sa

from conftest import definition, save_mean_network
from processes.jobs.runner import Runner
from processes.model.catalog import Catalog
from processes.settings import load_settings
from rasters import box_around, make_raster, to_map
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


HEAVY = {"numpy", "pyarrow", "shapely", "pyproj", "rasterio", "pyogrio", "onnx", "onnxruntime", "jsonschema"}
HEAVY_OF_SERVERS = {
    "sqlalchemy",
    "pygeoapi",
    "flask",
    "urllib3",
    "obstore",
    "cryptography",
    "distributed",
    "owslib",
    "lxml",
}


@pytest.mark.parametrize(
    ("program", "unused"),
    [
        ("processes.programs.cli", HEAVY | HEAVY_OF_SERVERS | {"msgspec", "yaml"}),
        ("processes.programs.serve", HEAVY | HEAVY_OF_SERVERS),
        ("processes.programs.runner", HEAVY | {"pygeoapi", "flask", "obstore", "cryptography", "distributed"}),
        (
            "processes.programs.web",
            {"onnx", "onnxruntime", "pyogrio", "obstore", "distributed", "owslib", "lxml", "joserfc"},
        ),
        ("processes.programs.local", {"onnx", "onnxruntime", "pyogrio", "jsonschema"} | HEAVY_OF_SERVERS),
    ],
)
def test_a_program_imports_what_it_needs(program: str, unused: set[str]) -> None:
    command = [sys.executable, "-c", f"import sys, {program}; print(*sys.modules)"]
    imported = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert program in imported
    assert not {name.split(".")[0] for name in imported} & unused


def test_workers_are_forked_where_the_parser_of_filters_was_made() -> None:
    command = [sys.executable, "-c", "import sys, processes.web.http.server; print(*sys.modules)"]
    imported = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "pygeofilter.parsers.cql2_text" in imported
    assert "pygeoapi.flask_app" not in imported  # which reads its configuration


def test_a_run_of_one_object_imports_what_it_needs(configuration: Path, tmp_path: Path) -> None:
    Catalog.from_settings(load_settings(configuration)).usable_ids()  # the package is checked by another process
    image, layer = make_raster(tmp_path / "image.tif"), tmp_path / "one.gpkg"
    table = pa.table({"name": ["a"], "geometry": [shapely.to_wkb(to_map(box_around(30, 20, 6, 6)))]})
    pyogrio.write_arrow(
        table, layer, driver="GPKG", geometry_name="geometry", geometry_type="Polygon", crs="EPSG:32633"
    )
    options = ["--image", image, "--features", layer, "--model", "brightness", "--output", tmp_path / "out.gpkg"]
    arguments = ["--config", str(configuration), "run", "--quiet", *map(str, options)]
    program = f"""
import sys
from processes.programs.cli import main
main({arguments!r}, standalone_mode=False)
print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = done.stderr.split()
    assert "onnxruntime" in imported
    assert not {name.split(".")[0] for name in imported} & (HEAVY_OF_SERVERS | {"jsonschema", "PIL"})
