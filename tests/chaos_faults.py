"""The faults of `chaos.py`: each is begun, lasts for a while where it has a duration, and is taken back."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from jobs_service import Service, freeze, kind_of, wake
from tcp_proxy import TcpProxy

KINDS = ("web", "web-worker", "runner", "slot", "worker", "scheduler")
"""Of processes that are killed or frozen."""
FROZEN_S = (11, 16)
"""Longer than a runner's lease of ten seconds."""
LOCKED_S = (2, 14)
FULL_S = (3, 8)
CUT_S = (3, 40)
"""A cluster waits for half a minute before it gives a silent worker up."""
DISK_MB = 192
CALM_S = 30
"""Between two faults of the same lasting kind: a service to which everything happens all the time does nothing."""


class Faults:
    """Faults that happen to a service by lot, those that last beside each other.

    Args:
        service: that they happen to.
        dice: the lot.
        disk: the folder of a small disk that the state lies on; None = it lies on a large one, which is not filled.
        network: between the scheduler and those who work for it; None = there is none.
    """

    def __init__(self, service: Service, dice: random.Random, disk: Path | None, network: TcpProxy | None) -> None:
        self.done: Counter[str] = Counter()
        self._service = service
        self.dice = dice
        self._disk = disk
        self._network = network
        self._lasting: dict[str, threading.Thread] = {}
        self._again_s: dict[str, float] = {}

    def strike(self) -> None:
        """Let a fault happen. What lasts goes on beside all that comes later."""
        lot: dict[str, Callable[[], str | None]] = {
            "kill": self._kill,
            "kill again": self._kill,
            "freeze": self._freeze,
        }
        lot["lock"] = lambda: self._last("database locked", LOCKED_S, self._locked)
        if self._disk is not None:
            lot["fill"] = lambda: self._last("disk full", FULL_S, lambda: full(self._disk))
        if self._network is not None:
            lot["cut"] = lambda: self._last("network cut", CUT_S, self._cut)
        happened = lot[self.dice.choice(sorted(lot))]()
        if happened is not None:
            self.done[happened] += 1

    def wait(self) -> None:
        """Wait until nothing lasts any more."""
        for thread in self._lasting.values():
            thread.join()

    def _victim(self) -> tuple[str, psutil.Process] | None:
        found: dict[str, list[psutil.Process]] = {}
        for process in self._service.processes():
            found.setdefault(kind_of(process), []).append(process)
        kinds = sorted(found.keys() & set(KINDS))
        if not kinds:
            return None
        kind = self.dice.choice(kinds)
        return kind, self.dice.choice(found[kind])

    def _kill(self) -> str | None:
        victim = self._victim()
        if victim is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim[1].kill()
                return f"{victim[0]} killed"
        return None

    def _freeze(self) -> str | None:
        victim = self._victim()
        if victim is None:
            return None
        kind, process = victim
        return self._last(f"{kind} frozen", FROZEN_S, lambda: frozen(process))

    def _last(
        self, name: str, span_s: tuple[float, float], fault: Callable[[], contextlib.AbstractContextManager[None]]
    ) -> str | None:
        """Begin a fault that ends by itself; None = it lasts already, or did a short while ago."""
        seconds = self.dice.uniform(*span_s)
        kind = name.split()[-1]
        if time.monotonic() < self._again_s.get(kind, 0):
            return None

        def last() -> None:
            with fault():
                time.sleep(seconds)

        self._again_s[kind] = time.monotonic() + seconds + CALM_S / 2
        self._lasting[kind] = threading.Thread(target=last)
        self._lasting[kind].start()
        return name

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        url = str(self._service.setting("job_store") or "")
        return (
            locked_postgres(url.replace("+psycopg", "")) if url else locked_sqlite(self._service.state / "jobs.sqlite3")
        )

    @contextlib.contextmanager
    def _cut(self) -> Iterator[None]:
        assert self._network is not None
        lost = self.dice.random() < 0.5
        self._network.cut()
        try:
            yield
        finally:
            self._network.mend(lost=lost)


@contextlib.contextmanager
def frozen(process: psutil.Process) -> Iterator[None]:
    with contextlib.suppress(ProcessLookupError):
        freeze(process)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            wake(process)


@contextlib.contextmanager
def locked_sqlite(path: Path) -> Iterator[None]:
    """Hold the lock that no other connection can write beside."""
    with contextlib.closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            with contextlib.suppress(sqlite3.Error):  # on a full disk
                database.execute("ROLLBACK")


@contextlib.contextmanager
def locked_postgres(url: str) -> Iterator[None]:
    """Hold a lock on all tables that no other connection can even read beside."""
    with psycopg.connect(url) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (name,) in sorted(names):
            connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(name)))
        yield
        connection.rollback()


@contextlib.contextmanager
def full(disk: Path | None) -> Iterator[None]:
    """Fill a disk to the last byte, and go on filling what becomes free."""
    assert disk is not None
    ballast, ended = disk / "ballast", threading.Event()

    def fill() -> None:
        with ballast.open("ab", buffering=0) as file:
            while True:
                for block in (2**20, 2**12):
                    with contextlib.suppress(OSError):
                        while not ended.is_set():
                            file.write(bytes(block))
                if ended.wait(0.1):
                    return

    filling = threading.Thread(target=fill)
    filling.start()
    try:
        yield
    finally:
        ended.set()
        filling.join()
        ballast.unlink()


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a small disk on a folder; give None where this machine lets nobody do so."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "none", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def start_again(service: Service, ended: threading.Event, started: Counter[str]) -> None:
    """Start parts again that have ended, as systemd or Kubernetes would, and count them."""
    while not ended.wait(0.3):
        for name, part in list(service.parts.items()):
            if part.poll() is not None:
                command: Sequence[Any] = part.args if isinstance(part.args, list) else []
                service.start(*map(str, command[command.index(service.configuration) + 1 :]), name=name)
                started[name] += 1
