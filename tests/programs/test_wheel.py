"""The installed wheel: a command with its own configuration and models, in an empty folder, beside no checkout."""

from __future__ import annotations

import json
import subprocess
import zipfile
from pathlib import Path

import httpx
import pytest

from processes import __version__
from wheel import ROOT, build_wheel, classify_sample, environment, install_beside_packages, run_sample, served

pytestmark = pytest.mark.jobs


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the installed command."""
    return install_beside_packages(wheel, tmp_path_factory.mktemp("installed") / "environment")


def test_the_wheel_has_each_file_that_the_program_reads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    own = [path.relative_to(ROOT) for path in (ROOT / "processes").rglob("*") if path.is_file()]
    missing = {str(path) for path in own if "__pycache__" not in path.parts} - held
    shipped = [ROOT / "pygeoapi-config.yml", *(path for path in (ROOT / "models").rglob("*") if path.is_file())]
    missing |= {f"processes/shipped/{path.relative_to(ROOT)}" for path in shipped} - held
    assert not missing
    assert not [name for name in held if not name.startswith(("processes/", "classify_objects-"))]


def test_run_in_an_empty_folder_needs_nothing_else(command: Path, tmp_path: Path) -> None:
    summary = run_sample(command, tmp_path)
    assert (summary["model"]["id"], summary["status"]) == ("roof-damage", {"ok": 16})
    assert (tmp_path / "home" / ".local" / "state" / "classify-objects").is_dir()  # as the XDG specification has it


def test_serve_in_an_empty_folder_shows_itself_and_classifies(command: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    browser = home / "bin" / "xdg-open"
    browser.parent.mkdir(parents=True)
    browser.write_text('#!/bin/sh\necho "$1" > "$HOME/shown"\n')
    browser.chmod(0o755)
    with served(command, tmp_path, "--open") as (url, state):
        assert state == home / ".local" / "state" / "classify-objects"
        assert classify_sample(url)["status"] == {"ok": 16}
        page = httpx.get(url, headers={"Accept": "text/html"})
        assert page.status_code == 200
        assert httpx.get(f"{url}/assets/own/pages.css").status_code == 200
        links = [link["href"] for link in httpx.get(url, headers={"Accept": "application/json"}).json()["links"]]
        assert all(link.startswith(url) for link in links if "127.0.0.1" in link)
    assert (home / "shown").read_text() == f"{url}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_models_of_the_working_folder_come_before_those_that_are_shipped(command: Path, tmp_path: Path) -> None:
    def listed() -> dict[str, str | None]:
        done = subprocess.run(
            [command, "models", "--json"], cwd=tmp_path, env=environment(tmp_path), capture_output=True, check=True
        )
        return {item["id"]: item.get("problem") for item in json.loads(done.stdout)}

    shipped = dict.fromkeys(("roof-damage", "tree-leaf-box", "tree-leaf-crown", "urban-tree-naip"))
    assert listed() == shipped
    own = tmp_path / "models" / "roof-damage"
    own.mkdir(parents=True)
    (own / "mine.emd").write_text("{}")
    assert listed() == shipped | {"roof-damage": "the .emd has no ModelFile"}


def test_shells_complete_its_commands(command: Path, tmp_path: Path) -> None:
    variables = {"_CLASSIFY_OBJECTS_COMPLETE": "bash_complete", "COMP_WORDS": "classify-objects ru", "COMP_CWORD": "1"}
    done = subprocess.run(
        [command], env=environment(tmp_path) | variables, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["plain,run", "plain,runner"]


def test_it_says_its_version_and_what_it_can(command: Path, tmp_path: Path) -> None:
    for option, words in (("--version", __version__), ("-h", "serve"), ("--help", "model")):
        done = subprocess.run(
            [command, option], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=True
        )
        assert words in done.stdout
