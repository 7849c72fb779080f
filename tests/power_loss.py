"""A loss of power, as far as it can be acted out: files are cut back to what the service had synced."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

_RECORDER = '''
import json, os, stat

_sync = os.fsync
_log = os.open(os.environ["SYNC_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)  # a slot can open no such file later


def fsync(file):
    """Sync, and write down what is on the disk from now on: a file as it is, or the names in a folder."""
    descriptor = file if isinstance(file, int) else file.fileno()
    status = os.fstat(descriptor)
    entry = {"inode": status.st_ino, "mtime_ns": status.st_mtime_ns}
    if stat.S_ISDIR(status.st_mode):
        entry["names"] = {item.name: item.inode() for item in os.scandir(descriptor)}
    _sync(descriptor)
    os.write(_log, (json.dumps(entry) + "\\n").encode())


os.fsync = fsync
'''


def record_syncs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let all Python processes that start from now on write down what they sync; return the file."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_RECORDER)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("SYNC_LOG", str(folder / "log"))
    return folder / "log"


def cut_back(folder: Path, log: Path) -> int:
    """Remove names that were not synced, and empty files that were not; return how many there were of both."""
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    names = {entry["inode"]: entry["names"] for entry in entries if "names" in entry}
    contents = {(entry["inode"], entry["mtime_ns"]) for entry in entries if "names" not in entry}
    return _cut(folder, names, contents)


def _cut(folder: Path, names: Mapping[int, Mapping[str, int]], contents: set[tuple[int, int]]) -> int:
    known, lost = names.get(folder.stat().st_ino, {}), 0
    for path in sorted(folder.iterdir()):
        status = path.stat()
        if path.is_dir():
            lost += _cut(path, names, contents)
        elif (status.st_ino, status.st_mtime_ns) not in contents:
            lost += 1
            path.write_bytes(b"")
        if known.get(path.name) != status.st_ino:
            lost += 1
            _remove(path)
    return lost


def _remove(path: Path) -> None:
    if path.is_dir():
        for inner in path.iterdir():
            _remove(inner)
        path.rmdir()
    else:
        path.unlink()
