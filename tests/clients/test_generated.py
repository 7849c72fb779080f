"""Clients that programs make of the OpenAPI document, each in a session with a running service.

A session describes a process, validates a request, executes it in both modes, waits, fetches, dismisses, and reads what
is wrong with a faulty request.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from jobs_service import Service, objects
from service import ROOT, clean_environment

DOCUMENT = ROOT / "openapi" / "openapi.yml"
HERE = Path(__file__).parent
PROGRAMS = ROOT / ".venv" / "clients" / "bin"
PACKAGES = ROOT / ".venv" / "clients" / "npm" / "node_modules"
GENERATORS = ROOT / ".venv" / "generators" / "bin"
LIMIT_S = 300


@pytest.fixture
def session(service: Service) -> list[str]:
    """Return what a session is told: the service, an image, a layer."""
    return [service.url, (service.town / "imagery" / "town.tif").as_uri(), json.dumps(objects(12))]


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program in a folder, which its Python imports from; return what it says."""
    environment = clean_environment() | {"PYTHONPATH": str(cwd), "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-5000:]
    return said


def compile_typescript(name: str, folder: Path) -> Path:
    """Check and compile a session, and return its program."""
    for file in (HERE / "tsconfig.json", HERE / "package.json", HERE / f"{name}.ts"):
        shutil.copy(file, folder)
    (folder / "node_modules").symlink_to(PACKAGES)
    run(PACKAGES / ".bin" / "tsc", "--project", ".", cwd=folder)
    return folder / "built" / f"{name}.js"


def generate(generator: str, folder: Path, *options: str) -> None:
    """Let openapi-generator write a client."""
    command: list[str | Path] = [
        GENERATORS / "openapi-generator-cli",
        "generate",
        "-g",
        generator,
        "-i",
        DOCUMENT,
        "-o",
        folder,
    ]
    run(*command, *options, cwd=folder.parent)


@pytest.mark.clients
def test_openapi_python_client(session: list[str], tmp_path: Path) -> None:
    config = DOCUMENT.with_name("openapi-python-client.yml")
    options: list[str | Path] = ["--path", DOCUMENT, "--config", config, "--meta", "none"]
    program = PROGRAMS / "openapi-python-client"
    said = run(program, "generate", *options, "--output-path", tmp_path / "classify_client", cwd=tmp_path)
    assert "warning" not in said.lower()  # which tells what was left out
    run(PROGRAMS / "python", HERE / "openapi_python_client_session.py", *session, cwd=tmp_path)


@pytest.mark.clients
def test_openapi_typescript(session: list[str], tmp_path: Path) -> None:
    run(PACKAGES / ".bin" / "openapi-typescript", DOCUMENT, "--output", "service.ts", cwd=tmp_path)
    run("node", compile_typescript("openapi_typescript_session", tmp_path), *session, cwd=tmp_path)


@pytest.mark.generators
@pytest.mark.timeout(LIMIT_S)
def test_openapi_generator_for_python(session: list[str], tmp_path: Path) -> None:
    generate("python", tmp_path / "made")
    run(GENERATORS / "python", HERE / "openapi_generator_session.py", *session, cwd=tmp_path / "made")


@pytest.mark.generators
@pytest.mark.timeout(LIMIT_S)
def test_openapi_generator_for_typescript(session: list[str], tmp_path: Path) -> None:
    generate("typescript-fetch", tmp_path / "made", "--additional-properties=importFileExtension=.js")
    run("node", compile_typescript("typescript_fetch_session", tmp_path), *session, cwd=tmp_path)
