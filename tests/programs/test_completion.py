"""What bash asks the program when somebody presses the tab key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service import ROOT, clean_environment, configure
from tables import each_row

PROGRAM = "import sys; sys.argv[0] = 'classify-objects'; from processes.programs.cli import main; main()"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a folder with a configuration and three packages, none of which can be opened."""
    models = tmp_path / "models"
    for name in ("trees-north", "trees-south", "no-package"):
        (models / name).mkdir(parents=True)
        (models / name / f"a.{'txt' if name == 'no-package' else 'emd'}").touch()
    (models / "roofs.dlpk").touch()
    configure(tmp_path, models=[models], imagery=[])
    return tmp_path


def completed(folder: Path, *words: str) -> list[str]:
    """Return what is offered for the last of some words, with its kind."""
    asked = {
        "_CLASSIFY_OBJECTS_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    variables = clean_environment() | asked | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.split()


@each_row(
    ("words", "expected"),
    [
        ("run --model tr", ["plain,trees-north", "plain,trees-south"]),
        ("run --model ro", ["plain,roofs"]),
        ("run --model ./p", ["file,./p"]),
        ("model show trees-n", ["plain,trees-north"]),
        ("optimise roo", ["plain,roofs"]),
        ("run --image tow", ["file,tow"]),
        ("run --image a.tif b.tif --mode", ["plain,--model", "plain,--mode"]),
        ("run --features tow", ["file,tow"]),
        ("token re", ["plain,revoke"]),
    ],
)
def test_names_that_begin_so_are_offered(home: Path, words: str, expected: list[str]) -> None:
    assert completed(home, "classify-objects", *words.split()) == expected


def test_a_configuration_that_is_named_has_the_models(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    named = ("classify-objects", "--config", str(home / "pygeoapi-config.yml"), "run", "--model", "ro")
    assert completed(elsewhere, *named) == ["plain,roofs"]


def test_a_broken_configuration_offers_paths(home: Path) -> None:
    (home / "pygeoapi-config.yml").write_text("{")
    assert completed(home, "classify-objects", "run", "--model", "ro") == ["file,ro"]
