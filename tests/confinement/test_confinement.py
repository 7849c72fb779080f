"""What a confined process is left with: it tries what it must not be able to, and what it needs."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from processes.confinement import kernel
from processes.confinement.confinement import Confinement, missing
from processes.settings import Settings, load_settings
from service import clean_environment, configure

ATTEMPTS = """
import ctypes, json, os, resource, signal, socket, subprocess, sys, tempfile
from pathlib import Path

import msgspec

from processes.confinement.confinement import Confinement

folder, owner = Path(sys.argv[1]), os.getppid()
confinement = msgspec.json.decode(sys.argv[2], type=Confinement)


def write_large():
    with open(folder / "work" / "large", "wb") as file:
        file.truncate(3 * 2**20)


def process_vm_readv():
    number = {"x86_64": 310, "aarch64": 270}[os.uname().machine]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, owner, None, 0, None, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def capabilities():
    return int(Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0], 16)


attempts = {
    "read what it may": lambda: (folder / "imagery" / "a").read_text(),
    "read through a link": lambda: (folder / "models" / "m").read_text(),
    "read outside": lambda: (folder / "secret").read_text(),
    "list outside": lambda: os.listdir(folder),
    "write where it may": lambda: (folder / "work" / "b").write_text("b"),
    "write where it may read": lambda: (folder / "imagery" / "b").write_text("b"),
    "change what it may read": lambda: open(folder / "imagery" / "a", "r+").close(),
    "write outside": lambda: (folder / "b").write_text("b"),
    "remove outside": lambda: os.remove(folder / "secret"),
    "move out of its folder": lambda: os.rename(folder / "work" / "b", folder / "c"),
    "write temporary files": lambda: tempfile.TemporaryFile().close(),
    "write a large file": write_large,
    "take memory": lambda: len(bytearray(600 * 2**20)),
    "take less memory": lambda: len(bytearray(30 * 2**20)),
    "open a socket": lambda: socket.socket(socket.AF_INET).close(),
    "open a socket of IPv6": lambda: socket.socket(socket.AF_INET6).close(),
    "open a raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close(),
    "reach a socket file": lambda: socket.socket(socket.AF_UNIX).connect(str(folder / "work" / "none")),
    "ask a host": lambda: socket.create_connection(("127.0.0.1", int(sys.argv[3]))).close(),
    "send a signal to its owner": lambda: os.kill(owner, 0),
    "read its owner's environment": lambda: bool(Path(f"/proc/{owner}/environ").read_bytes()),
    "read its owner's memory": process_vm_readv,
    "start a program": lambda: subprocess.run([sys.executable, "-c", "open('/dev/null', 'w')"], check=True).returncode,
    "mount": lambda: subprocess.run(["unshare", "--mount", "true"], check=True, stderr=-3).returncode,
    "rights": lambda: capabilities() & ~0b11111,
    "no new privileges": lambda: Path("/proc/self/status").read_text().split("NoNewPrivs:")[1].split()[0],
    "core": lambda: resource.getrlimit(resource.RLIMIT_CORE)[1],
}
confinement.apply()
found = {}
for name, attempt in attempts.items():
    try:
        found[name] = attempt()
    except Exception as err:
        found[name] = type(err).__name__ + (f" {err.errno}" if type(err) is OSError else "")
print(json.dumps(found))
"""

FOR_ALL = {
    "read what it may": "a",
    "read through a link": "m",
    "write where it may": 1,
    "write temporary files": None,
    "write a large file": "OSError 27",
    "take memory": "MemoryError",
    "take less memory": 30 * 2**20,
    "open a raw socket": "PermissionError",
    "start a program": 0,
    "mount": "CalledProcessError",
    "rights": 0,
    "no new privileges": "1",
    "core": 0,
}
BY_CALLS = {
    "open a socket": "PermissionError",
    "open a socket of IPv6": "PermissionError",
    "reach a socket file": "PermissionError",
    "ask a host": "PermissionError",
    "read its owner's memory": "PermissionError",
}
BY_LANDLOCK = {
    "read outside": "PermissionError",
    "list outside": "PermissionError",
    "write where it may read": "PermissionError",
    "change what it may read": "PermissionError",
    "write outside": "PermissionError",
    "remove outside": "PermissionError",
    "move out of its folder": "PermissionError",
    "read its owner's environment": "PermissionError",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("imagery", "models", "work", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "imagery" / "a").write_text("a")
    (tmp_path / "elsewhere" / "m").write_text("m")
    (tmp_path / "models" / "m").symlink_to(tmp_path / "elsewhere" / "m")
    (tmp_path / "secret").write_text("secret")
    return tmp_path


@pytest.fixture
def port() -> Iterator[int]:
    """Return the port at which this process listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def confinement(home: Path, **changes: Any) -> Confinement:
    """Return one that lets a process read the imagery and the models, and write in the folder `work`."""
    return Confinement(
        readable=(str(home / "imagery"), str(home / "models")),
        writable=(str(home / "work"),),
        linking=(str(home / "models"),),
        memory_bytes=400 * 2**20,
        file_bytes=2**20,
        **changes,
    )


def tried(home: Path, port: int, **changes: Any) -> Mapping[str, Any]:
    """Return what a process finds that is confined and tries everything."""

    options = [str(home), msgspec.json.encode(confinement(home, **changes)).decode(), str(port)]
    environment = clean_environment() | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPTS, *options], capture_output=True, text=True, env=environment, cwd=home
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def expected(found: Mapping[str, Any], of: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: found[name] for name in of}


def test_a_process_keeps_what_it_needs_and_no_more(home: Path, port: int) -> None:
    found = tried(home, port)
    assert expected(found, FOR_ALL) == FOR_ALL
    if kernel.can_refuse_calls():
        assert expected(found, BY_CALLS) == BY_CALLS
    if kernel.landlock_version() >= 1:
        assert expected(found, BY_LANDLOCK) == BY_LANDLOCK
        assert (home / "secret").read_text() == "secret"
    if kernel.landlock_version() >= 6:
        assert found["send a signal to its owner"] == "PermissionError"


def test_what_the_kernel_lacks_is_said_and_nothing_else(home: Path, port: int) -> None:
    said, found = " ".join(missing()), tried(home, port)
    assert ("no Landlock" in said) == (found["read outside"] == "secret")
    assert ("cannot be filtered" in said) == (found["open a socket"] is None)


def test_a_process_that_asks_hosts_keeps_the_network_alone(home: Path, port: int) -> None:
    found = tried(home, port, has_network=True)
    assert (found["open a socket"], found["ask a host"]) == (None, None)
    assert expected(found, FOR_ALL) == FOR_ALL
    if kernel.can_refuse_calls():
        assert found["read its owner's memory"] == "PermissionError"
    if kernel.landlock_version() >= 1:
        assert expected(found, BY_LANDLOCK) == BY_LANDLOCK


def test_processes_with_mounts_of_their_own_keep_files_and_have_no_network(home: Path, port: int) -> None:
    """Those that start raster functions, whose sandbox hides folders by mounts."""
    found = tried(home, port, has_own_mounts=True)
    assert found["read outside"] == "secret"
    if kernel.can_refuse_calls():
        assert expected(found, BY_CALLS) == BY_CALLS


def test_a_kernel_that_offers_nothing_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "landlock_version", lambda: 0)
    monkeypatch.setattr(kernel, "can_refuse_calls", lambda: False)
    files, network = missing()
    assert "no Landlock" in files
    assert "system calls cannot be filtered" in network


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(configure(tmp_path, models=[tmp_path / "models"], imagery=[tmp_path / "imagery"]))


def test_the_job_store_is_none_of_a_slots_business(settings: Settings, tmp_path: Path) -> None:
    given = Confinement.of(settings, tmp_path / "pygeoapi-config.yml")
    assert not any(
        (settings.state / "jobs.sqlite3").is_relative_to(path) for path in (*given.readable, *given.writable)
    )
    assert settings.results in given.writable
    assert not given.has_network
    assert 0 < (given.memory_bytes or 0) < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_folders_that_come_later_are_noticed(settings: Settings, tmp_path: Path) -> None:
    given = Confinement.of(settings)
    before = given.places()
    assert given.places() == before
    (tmp_path / "imagery").mkdir()
    with_imagery = given.places()
    assert with_imagery != before
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "m").symlink_to(tmp_path)
    assert given.places() not in (before, with_imagery)


def test_a_lower_limit_that_holds_already_stays(home: Path) -> None:
    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**12, 2**12))

    program = (
        "import sys, msgspec, resource\nfrom processes.confinement.confinement import Confinement\n"
        "msgspec.json.decode(sys.argv[1], type=Confinement).apply()\nprint(resource.getrlimit(resource.RLIMIT_FSIZE)[1])"
    )

    command = [sys.executable, "-c", program, msgspec.json.encode(confinement(home)).decode()]
    environment = clean_environment() | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=lower, env=environment)
    assert done.stdout == "4096\n", done.stderr
