"""The start of the service, and of its parts, with a job store that cannot be used."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from free_ports import free_port
from service import ROOT, clean_environment, configure


def start(folder: Path, command: str, job_store: str) -> subprocess.CompletedProcess[str]:
    """Start a part of the service with a job store; return what it said when it ended."""
    configuration = configure(folder, models=[], imagery=[])
    document = yaml.safe_load(configuration.read_text())
    document["server"]["bind"]["port"] = free_port()
    for process in document["resources"].values():
        process["processor"]["job_store"] = job_store
    configuration.write_text(json.dumps(document))
    arguments = [sys.executable, "-m", "processes.programs.cli", "--config", str(configuration), command]
    return subprocess.run(
        arguments, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("command", ["serve", "web", "runner", "jobs"])
def test_a_store_of_a_newer_version_is_refused_in_one_line(command: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite3")) as connection:
        connection.executescript("CREATE TABLE meta (version INTEGER PRIMARY KEY); INSERT INTO meta VALUES (99);")
    ended = start(tmp_path, command, f"sqlite:///{tmp_path}/jobs.sqlite3")
    assert ended.returncode == 1
    (line,) = [line for line in ended.stderr.splitlines() if not line.startswith("timestamp=")]
    assert line.startswith("Error: the job store has tables of version 99, of a newer program")


def test_what_is_no_store_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"this is no database at all" * 100)
    (tmp_path / "folder").mkdir()
    for name, reason in (("text", "the file is no database"), ("folder", "the file cannot be opened")):
        ended = start(tmp_path, "serve", f"sqlite:///{tmp_path}/{name}")
        assert ended.returncode == 1
        (line,) = ended.stderr.splitlines()
        assert line == f"Error: the job store sqlite:///{tmp_path}/{name} cannot be used: {reason}"


def test_a_store_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite3")) as connection:
        connection.execute("CREATE TABLE a (b)")
    ended = start(tmp_path, "serve", f"sqlite:///file:{tmp_path}/jobs.sqlite3?mode=ro&uri=true")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.endswith("the file cannot be written")
