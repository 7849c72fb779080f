"""The client in `clients/python`: its own tests, in its own environment, against servers that run here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import PIL.Image
import pytest
import yaml

from jobs_service import Service, free_port, objects
from service import ROOT, clean_environment

pytestmark = pytest.mark.clients

CLIENT = ROOT / "clients" / "python"
PYTHON = ROOT / ".venv" / "clients" / "bin" / "python"
SAMPLE = ROOT / "processes" / "sources" / "sample"
LIMIT_S = 300
DAMAGED = (230, 40, 40)
"""The colour of a class of `roof-damage`."""
PIXELS_OF_OUTLINES = 300


@pytest.fixture(scope="module")
def pygeoapi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a pygeoapi as it comes, with its process `hello-world` and its own manager of jobs."""
    folder = tmp_path_factory.mktemp("pygeoapi")
    url = f"http://127.0.0.1:{free_port()}"
    configuration = yaml.safe_load((ROOT / "pygeoapi-config.yml").read_text().replace("${", "$").replace(":-", " "))
    configuration["server"] = {
        "bind": {"host": "127.0.0.1", "port": int(url.rpartition(":")[2])},
        "url": url,
        "mimetype": "application/json; charset=UTF-8",
        "encoding": "utf-8",
        "languages": ["en-US"],
        "limits": {"default_items": 10, "max_items": 10},
        "map": {"url": "http://127.0.0.1/", "attribution": "none"},
        "manager": {"name": "TinyDB", "connection": str(folder / "jobs.db"), "output_dir": str(folder)},
    }
    configuration["resources"] = {"hello-world": {"type": "process", "processor": {"name": "HelloWorld"}}}
    (folder / "config.yml").write_text(yaml.safe_dump(configuration))
    program = str(Path(sys.executable).with_name("pygeoapi"))
    environment = clean_environment() | {
        "PYGEOAPI_CONFIG": str(folder / "config.yml"),
        "PYGEOAPI_OPENAPI": str(folder / "openapi.yml"),
    }
    written = ["openapi", "generate", str(folder / "config.yml"), "--output-file", str(folder / "openapi.yml")]
    subprocess.run([program, *written], env=environment, check=True, capture_output=True, timeout=LIMIT_S)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([program, "serve"], env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until_it_answers(f"{url}/conformance", server, folder / "log")
        yield url
    finally:
        server.kill()
        server.wait()


def wait_until_it_answers(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10):
                return
        except (urllib.error.URLError, OSError):
            assert server.poll() is None, log.read_text()[-5000:]
            assert time.monotonic() < deadline, log.read_text()[-5000:]
            time.sleep(0.1)


def run_in_its_environment(*command: str | Path, **variables: str) -> str:
    """Run a Python program with the client, and return what it says."""
    environment = os.environ | {"PYTHONPATH": str(CLIENT / "src")} | variables
    done = subprocess.run(
        [PYTHON, *command], cwd=CLIENT, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-5000:]
    return done.stdout


@pytest.mark.timeout(LIMIT_S)
def test_the_client_passes_its_own_tests(service: Service, pygeoapi: str, tmp_path: Path) -> None:
    (tmp_path / "points.geojson").write_text(json.dumps(objects(12)))
    run_in_its_environment(
        *("-m", "pytest", "-p", "no:cacheprovider", CLIENT),
        CLASSIFY_URL=service.url,
        PYGEOAPI_URL=pygeoapi,
        IMAGE=str(service.town / "imagery" / "town.tif"),
        LAYER=str(tmp_path / "points.geojson"),
        SAMPLE=str(SAMPLE),
    )


@pytest.mark.timeout(LIMIT_S)
def test_the_notebook_runs_and_draws_the_classes(service: Service, tmp_path: Path) -> None:
    notebook = ROOT / "examples" / "damaged-roofs.ipynb"
    program = Path(__file__).with_name("notebook.py")
    said = run_in_its_environment(program, notebook, tmp_path, CLASSIFY_URL=service.url)
    assert "/inputs/retries" in said
    assert "intact 10, damaged 6" in said
    outlines, labelled, histogram = (PIL.Image.open(tmp_path / f"{number}.png").convert("RGB") for number in (1, 2, 3))
    assert count(outlines, DAMAGED) == 0
    assert count(labelled, DAMAGED) > PIXELS_OF_OUTLINES
    assert count(histogram, DAMAGED) > PIXELS_OF_OUTLINES


def count(picture: PIL.Image.Image, color: tuple[int, int, int]) -> int:
    """Return how many pixels of a picture have a colour."""
    return {found: number for number, found in picture.getcolors(1 << 24) or ()}.get(color, 0)
