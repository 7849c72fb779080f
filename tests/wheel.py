"""The wheel, built from what a checkout has of it, installed where nothing else of this project is, and used.

    PYTHONPATH=. .venv/bin/python tests/wheel.py [PYTHON …]

installs it with all that it needs for each Python of 3.12 and newer that is found, or that is named; `make test-wheel`
does so. The test of the wheel takes the packages of the environment that it runs in.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "processes" / "sources" / "sample"
_PARTS = ("LICENSE", "README.md", "examples", "models", "processes", "pygeoapi-config.yml", "pyproject.toml")
"""What the wheel is made of."""
_START_S = 60
_PYTHONS = ("3.12", "3.13", "3.14")


def build_wheel(folder: Path) -> Path:
    """Build the wheel of a copy of this checkout in a folder, and return it."""
    source = folder / "source"
    source.mkdir()
    for name in _PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, source / name)
    options: list[str | Path] = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    _call([sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, source])
    (wheel,) = folder.glob("*.whl")
    return wheel


def install_beside_packages(wheel: Path, folder: Path) -> Path:
    """Install the wheel in a new environment that sees the packages of this one; return its command."""
    _call([sys.executable, "-m", "venv", "--without-pip", folder])
    (site,) = folder.glob("lib/python3*/site-packages")
    (site / "packages.pth").write_text(f"{sysconfig.get_path('purelib')}\n")  # whose own .pth files are not read there
    _call([sys.executable, "-m", "pip", "--python", folder, "install", "--quiet", "--no-deps", "--no-index", wheel])
    return folder / "bin" / "classify-objects"


def install_with_packages(wheel: Path, python: str, folder: Path) -> Path:
    """Install the wheel and what it needs, as pinned, in a new environment of a Python; return its command."""
    _call([python, "-m", "venv", folder])
    pip: list[str | Path] = [
        folder / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    _call([*pip, "--require-hashes", "--only-binary", ":all:", "-r", ROOT / "requirements-cpu.lock"])
    _call([*pip, "--no-deps", wheel])
    return folder / "bin" / "classify-objects"


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a user who has set nothing, and whose folder is `home`, with programs in its `bin`."""
    kept = {name: value for name, value in os.environ.items() if name in ("LANG", "TMPDIR")}
    return kept | {"HOME": str(home), "PATH": f"{home}/bin:/usr/bin:/bin"}


def run_sample(command: Path, folder: Path) -> dict[str, Any]:
    """Classify the shipped sample by `run` in an empty folder, and return the summary."""
    home = folder / "home"
    work = folder / "work"
    home.mkdir()
    work.mkdir()
    objects: list[str | Path] = [
        "--image",
        SAMPLE / "scene.tif",
        "--features",
        SAMPLE / "houses.geojson",
        "--model",
        "roof-damage",
    ]
    told = _call(
        [command, "run", "--quiet", "--json", *objects, "--output", "out.gpkg"], cwd=work, env=environment(home)
    )
    assert [path.name for path in work.iterdir()] == ["out.gpkg"]
    summary: dict[str, Any] = json.loads(told)
    return summary


@contextmanager
def served(command: Path, folder: Path, *options: str) -> Iterator[tuple[str, Path]]:
    """Serve the shipped sample from an empty folder; yield the address and the state folder that the service tells."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    arguments: list[str | Path] = [command, "serve", "--imagery", SAMPLE, "--port", "0", *options]
    child = subprocess.Popen(arguments, cwd=folder, env=environment(home), stderr=subprocess.PIPE, text=True)
    try:
        assert child.stderr is not None
        told = next(line for line in child.stderr if "service started" in line)
        yield re.search(r"url=(\S+)", told)[1], Path(re.search(r"state=(\S+)", told)[1])  # type: ignore[index]
    finally:
        child.send_signal(signal.SIGINT)
        child.communicate()
    assert child.returncode == 128 + signal.SIGINT


def classify_sample(url: str) -> dict[str, Any]:
    """Classify the shipped sample by the service, and return the summary."""
    inputs = {
        "image": {"href": (SAMPLE / "scene.tif").as_uri()},
        "features": {"href": (SAMPLE / "houses.geojson").as_uri()},
        "model": "roof-damage",
    }
    transport = httpx.HTTPTransport(retries=3)
    with httpx.Client(transport=transport, timeout=_START_S) as client:
        answer = client.post(f"{url}/processes/classify-objects/execution", json={"inputs": inputs})
        while answer.status_code == 503:  # the model is being checked
            answer = client.post(f"{url}/processes/classify-objects/execution", json={"inputs": inputs})
    answer.raise_for_status()
    summary: dict[str, Any] = answer.json()["summary"]
    return summary


def _call(command: Sequence[str | Path], **options: Any) -> str:
    told: str = subprocess.run([*command], check=True, stdout=subprocess.PIPE, text=True, **options).stdout
    return told


def _pythons() -> Iterator[str]:
    """Yield a Python of each version, of the path or of pyenv, whose own commands start that of the folder alone."""
    for version in _PYTHONS:
        name = f"python{version}"
        found = [*Path.home().glob(f".pyenv/versions/{version}.*/bin/{name}"), shutil.which(name)]
        works = [item for item in found if item and subprocess.run([item, "-V"], check=False).returncode == 0]
        if works:
            yield str(works[0])
        else:
            print(f"{name} is not here")


def main(pythons: Sequence[str]) -> None:
    """Try the wheel with each Python."""
    with tempfile.TemporaryDirectory(prefix="wheel-") as work:
        wheel = build_wheel(Path(work))
        for number, python in enumerate(pythons):
            folder = Path(work, str(number))
            folder.mkdir()
            command = install_with_packages(wheel, python, folder / "environment")
            counts = run_sample(command, folder)["counts"]
            with served(command, folder) as (url, _):
                assert classify_sample(url)["counts"] == counts
            version = _call([folder / "environment" / "bin" / "python", "--version"]).strip()
            print(f"{version}: run and serve of {wheel.name} give {counts}", flush=True)
            shutil.rmtree(folder)


if __name__ == "__main__":
    main(sys.argv[1:] or list(_pythons()))
