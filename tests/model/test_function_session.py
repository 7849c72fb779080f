"""Raster functions in processes of their own: what they give, what they cannot do, and how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from msgspec import structs

from processes.errors import LimitError, PackageError, ServiceError
from processes.model.definition import parse_definition
from processes.model.function_rows import FunctionRows
from processes.model.function_session import FunctionKey, FunctionSession
from processes.model.package_digest import package_digest
from processes.model.raster_functions import FunctionField
from raster_functions import save_function, trusting

SPAWN = "os.popen('setsid sleep 1000 > /dev/null & sleep 1000')"
"""Starts a child, and one that leaves its family."""


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., FunctionSession]:
    """Return a function that returns a session of a plain raster function, with lines for each chip and for the end."""

    def open_plain(body: str = "", end: str = "", **changes: Any) -> FunctionSession:
        return FunctionSession(structs.replace(key_of(tmp_path, body, end), **changes))

    return open_plain


def key_of(tmp_path: Path, body: str = "", end: str = "") -> FunctionKey:
    package = save_function(tmp_path / "package", body, end)
    definition = parse_definition((package / "package.emd").read_bytes())
    return FunctionKey(
        model="plain",
        folder=package,
        sha256=package_digest(package),
        file="Function.py",
        definition_file="package.emd",
        definition=structs.replace(definition, normalization=None),
        scalars=(),
        fields=(),
        batch_size=None,
        processor="CPU",
        surroundings=trusting(tmp_path).surroundings(),
        timeout_s=60,
    )


def labels(session: FunctionSession, count: int = 2) -> FunctionRows:
    """Return what a function gives of chips of rising brightness."""
    chips = np.broadcast_to(np.linspace(0, 255, count).astype(np.uint8)[:, None, None, None], (count, 3, 8, 8))
    return session.classify(chips, np.ones((count, 8, 8), bool))


def failure(session: FunctionSession) -> ServiceError:
    with pytest.raises((PackageError, LimitError)) as caught:
        labels(session)
    error: ServiceError = caught.value
    return error


def has_processes(session: FunctionSession) -> bool:
    """Return whether a process of a function is there, its options name its package; or one that it has started."""
    lines = [" ".join(item.info["cmdline"] or ()) for item in psutil.process_iter(["cmdline"])]
    return any(line == "sleep 1000" or f'"{session.key.folder}"' in line for line in lines)


def all_gone(session: FunctionSession) -> None:
    """Wait until nothing is left of a function: no process, and no file."""
    end_s = time.monotonic() + 20
    while has_processes(session) or list(Path(session.key.surroundings.scratch).iterdir()):
        assert time.monotonic() < end_s
        time.sleep(0.05)


def test_a_function_gives_label_confidence_and_class(opened: Callable[..., FunctionSession]) -> None:
    session = opened()
    found = labels(session, 3)
    assert found.labels.tolist() == ["dark", "dark", "bright"]
    assert found.winner.tolist() == [0, 0, 1]
    np.testing.assert_allclose(found.confidence, 0.75)
    session.stop()
    all_gone(session)
    assert labels(session).labels.tolist() == ["dark", "bright"]  # it is started again
    session.stop()


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("rows = rows[1:]", "returned 1 rows for 2 chips"),
        ("rows = rows * 2", "returned 4 rows for 2 chips"),
        ("rows[0].pop('Label')", "a row without a label"),
        ("rows[0]['Confidence'] = 'high'", 'the confidence "high"'),
        ("rows[0]['Confidence'] = -3", "the confidence -3"),
        ("raise ValueError('in /opt/secret/place it failed')", "failed in vectorize: ValueError: in … it failed"),
        ("import no_such_package.part", "it needs the package no_such_package"),
        ("os._exit(3)", "it exited with status 3"),
        ("os.kill(os.getpid(), 9)", "it was ended by SIGKILL"),
        ("return {}", "KeyError"),
        ("return {'output_vectors': '{'}", "JSONDecodeError"),
        ("os.write(4, b'nonsense' * 100)", "raster function"),
        ("rows[0]['Label'] = 'x' * 2**20", "larger than"),
        ("bytearray(2**34)", "max_raster_function_mb = 8192"),
    ],
)
def test_what_a_function_does_wrong_is_told(
    opened: Callable[..., FunctionSession], end: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processes.model.raster_function.process._MAX_ANSWER_BYTES", 2**20)
    session = opened(end=end)
    assert words in failure(session).detail
    session.stop()
    all_gone(session)


def test_a_function_that_hangs_is_ended_with_its_children(opened: Callable[..., FunctionSession]) -> None:
    session = opened(end=f"{SPAWN}\nwhile True: time.sleep(1)", timeout_s=3)
    error = failure(session)
    assert isinstance(error, LimitError)
    assert "section_timeout_s = 3" in error.detail
    all_gone(session)


def test_a_function_is_stopped_while_it_works(opened: Callable[..., FunctionSession]) -> None:
    session = opened(end=f"{SPAWN}\nopen('begun', 'w')\nwhile True: time.sleep(1)")
    errors: list[ServiceError] = []
    thread = threading.Thread(target=lambda: errors.append(failure(session)))
    thread.start()
    scratch = Path(session.key.surroundings.scratch)
    while not list(scratch.glob("*/begun")):
        time.sleep(0.01)
    start_s = time.monotonic()
    session.stop()
    thread.join()
    assert time.monotonic() - start_s < 10
    assert len(errors) == 1
    all_gone(session)


def test_an_idle_function_is_ended(opened: Callable[..., FunctionSession], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processes.model.function_session.IDLE_S", 0.2)
    session = opened()
    labels(session)
    all_gone(session)
    assert labels(session).labels.tolist() == ["dark", "bright"]
    all_gone(session)


def test_a_package_that_was_changed_is_not_run(opened: Callable[..., FunctionSession]) -> None:
    session = opened()
    (session.key.folder / "numpy.py").write_text("raise SystemExit")
    assert "were changed after" in failure(session).detail


def test_other_fields_than_those_of_the_check_are_an_error(opened: Callable[..., FunctionSession]) -> None:
    session = opened(fields=(FunctionField("Reason", "text"),))
    assert "other fields" in failure(session).detail
    all_gone(session)


ATTEMPTS = """
import glob, socket, urllib.request

def outcome(attempt):
    try:
        return repr(attempt())
    except BaseException as err:
        return type(err).__name__

def listening():
    here = socket.socketpair()
    here[0].send(b"a")
    return here[1].recv(1)

def read(path):
    return open(path, "rb").read()

package = os.path.dirname(__file__)
attempts = {
    "tcp": lambda: socket.create_connection(("127.0.0.1", PORT), 1),
    "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "unix": lambda: socket.socket(socket.AF_UNIX).connect("/run/any"),
    "datagrams": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "url": lambda: urllib.request.urlopen("http://127.0.0.1:PORT/"),
    "pair": listening,
    "package": lambda: open(os.path.join(package, "new.py"), "w"),
    "outside": lambda: open(os.path.join(os.path.dirname(package), "new"), "w"),
    "remove": lambda: os.remove(__file__),
    "scratch": lambda: open("new", "w").write("abc"),
    "owner": lambda: read("/proc/OWNER/environ"),
    "signal": lambda: os.kill(OWNER, 0),
    "secret": lambda: "CLASSIFY_SECRET" in os.environ or b"CLASSIFY_SECRET" in read("/proc/self/environ"),
    "others": lambda: any(b"CLASSIFY_SECRET" in read(path) for path in readable(glob.glob("/proc/[0-9]*/environ"))),
    "state": lambda: os.listdir(STATE),
}

def readable(paths):
    for path in paths:
        try:
            read(path)
        except OSError:
            continue
        yield path
"""
NO_NETWORK = {"tcp": "PermissionError", "udp": "PermissionError", "unix": "PermissionError"}
NO_NETWORK |= {"datagrams": "PermissionError", "netlink": "PermissionError", "url": "URLError", "pair": "b'a'"}
NOBODY_ELSE = {"secret": "False", "others": "False", "scratch": "3"}


def attempted(tmp_path: Path, port: int) -> dict[str, str]:
    """Return the outcome of each attempt of a function, which is told as its label."""
    text = ATTEMPTS.replace("PORT", str(port)).replace("OWNER", str(os.getpid()))
    text = text.replace("STATE", repr(str(tmp_path / "state")))
    end = f"{text}\nrows[0]['Label'] = json.dumps({{name: outcome(attempt) for name, attempt in attempts.items()}})"
    session = FunctionSession(key_of(tmp_path, end=end))
    try:
        told: dict[str, str] = json.loads(labels(session, 1).labels[0])
        return told
    finally:
        session.stop()


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the port of a server of this machine that anybody could reach."""
    import socket

    monkeypatch.setenv("CLASSIFY_SECRET", "hush")
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def has_namespaces() -> bool:
    """Return whether this machine lets anybody have namespaces."""
    command = ["unshare", "--user", "--net", "--pid", "--fork", "--map-current-user", "true"]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(not has_namespaces(), reason="this machine has no namespaces of users")
def test_a_function_reaches_nothing_beyond_its_folder(tmp_path: Path, port: int) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "jobs.sqlite3").touch()
    found = attempted(tmp_path, port)
    assert {name: found[name] for name in (*NO_NETWORK, *NOBODY_ELSE)} == NO_NETWORK | NOBODY_ELSE
    assert {found[name] for name in ("package", "outside", "remove")} == {"OSError"}
    assert found["owner"] == "FileNotFoundError"
    assert found["signal"] in ("ProcessLookupError", "PermissionError")
    assert found["state"] == "['raster-functions']"
    assert (tmp_path / "package" / "Function.py").exists()


WITHOUT_NAMESPACES = """
import ctypes, json, struct, sys
sys.path[:0] = PATHS
from pathlib import Path
from test_function_session import attempted, all_gone, opened_with_children
libc = ctypes.CDLL(None, use_errno=True)
lines = [(0x20, 0, 0, 0), (0x15, 0, 1, UNSHARE), (6, 0, 0, 0x50001), (6, 0, 0, 0x7fff0000)]
content = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
libc.prctl(38, 1, 0, 0, 0)
assert libc.prctl(22, 2, struct.pack("HxxxxxxQ", len(lines), ctypes.addressof(content)), 0, 0) == 0
print(json.dumps(attempted(Path(sys.argv[1]), int(sys.argv[2]))))
session = opened_with_children(Path(sys.argv[1]) / "second")
session.stop()
all_gone(session)
"""
"""Does as a container does that forbids namespaces."""


def opened_with_children(folder: Path) -> FunctionSession:
    folder.mkdir()
    session = FunctionSession(key_of(folder, end=SPAWN))
    labels(session)
    return session


@pytest.mark.jobs
def test_without_namespaces_it_still_has_no_network_and_no_secrets(tmp_path: Path, port: int) -> None:
    (tmp_path / "state").mkdir()
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    number = {"x86_64": 272, "aarch64": 97}[os.uname().machine]
    program = WITHOUT_NAMESPACES.replace("PATHS", repr(paths)).replace("UNSHARE", str(number))
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(port)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {name: found[name] for name in NO_NETWORK} == NO_NETWORK
    assert found["secret"] == repr(False)
    assert found["scratch"] == "3"
    if "Landlock" in done.stderr or has_landlock():
        assert {found[name] for name in ("package", "outside", "remove", "owner")} == {"PermissionError"}
        assert found["others"] == "False"


def has_landlock() -> bool:
    from processes.confinement import kernel

    return kernel.landlock_version() >= 1


@pytest.mark.jobs
def test_a_function_ends_with_an_owner_that_is_killed(tmp_path: Path) -> None:
    program = (
        f"import sys; sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}\n"
        "from pathlib import Path\nfrom test_function_session import opened_with_children\n"
        "session = opened_with_children(Path(sys.argv[1]) / 'owned')\nprint('ready', flush=True)\n"
        "import time; time.sleep(1000)"
    )
    owner = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"ready\n"
    family = psutil.Process(owner.pid).children(recursive=True)
    assert len(family) >= 3
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    assert psutil.wait_procs(family, 20)[1] == []
    scratch = tmp_path / "owned" / "state" / "raster-functions"
    end_s = time.monotonic() + 20
    while list(scratch.iterdir()):
        assert time.monotonic() < end_s
        time.sleep(0.05)
