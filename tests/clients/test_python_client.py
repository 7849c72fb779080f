"""The client in `clients/python`: its own tests, in its own environment, against servers that run here."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import PIL.Image
import pytest

from jobs_service import Service, objects
from sample_service import SAMPLE
from service import ROOT

pytestmark = pytest.mark.clients

CLIENT = ROOT / "clients" / "python"
PYTHON = ROOT / ".venv" / "clients" / "bin" / "python"
LIMIT_S = 300
DAMAGED = (230, 40, 40)
"""The colour of a class of `roof-damage`."""
PIXELS_OF_OUTLINES = 300


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
