"""A PostgreSQL server of a test's own, from Debian's package, at a free port of the loopback address."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psutil
import pytest

from free_ports import free_port

USER = "postgres"


class Postgres:
    """A database server that can be stopped and started again. Its folder is none of pytest's: those are private."""

    def __init__(self) -> None:
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
        if not programs:
            if os.environ.get("CI"):
                pytest.fail("PostgreSQL is not there, and in CI it must be")
            pytest.skip("PostgreSQL is not there: apt install postgresql")
        self._programs = programs[-1].parent
        self._home = tempfile.TemporaryDirectory(prefix="postgres-")
        self._folder = Path(self._home.name)
        self.port = free_port()
        if os.geteuid() == 0:
            shutil.chown(self._folder, USER)
        self._run("initdb", "--auth=trust", f"--username={USER}", "--no-sync", f"--pgdata={self._folder / 'data'}")
        self.start()

    @property
    def url(self) -> str:
        """Return the URL of its database, as the job store takes it."""
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder} -c fsync=off"
        log, data = self._folder / "log", self._folder / "data"
        self._run("pg_ctl", "--wait", f"--pgdata={data}", f"--log={log}", f"--options={options}", "start")

    def stop(self) -> None:
        """Stop it at once, as if it crashed."""
        self._run("pg_ctl", "--wait", f"--pgdata={self._folder / 'data'}", "--mode=immediate", "stop")

    def processes(self) -> list[psutil.Process]:
        """Return its processes: the one that takes connections first, then one for each of them and others."""
        main = psutil.Process(int((self._folder / "data" / "postmaster.pid").read_text().split()[0]))
        return [main, *main.children()]

    def close(self) -> None:
        """Stop it for good, and remove its files."""
        self.stop()
        self._home.cleanup()

    def empty(self) -> None:
        """Remove all tables."""
        self._ask("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    def make(self, user: str, database: str) -> None:
        """Make a database of a user's own, without any table."""
        self._ask(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        self._ask(f"DROP ROLE IF EXISTS {user}")
        self._ask(f"CREATE ROLE {user} LOGIN")
        self._ask(f"CREATE DATABASE {database} OWNER {user}")

    def _ask(self, sql: str) -> None:
        self._run("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-q", "-c", sql)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *command]
        # to a file, not a pipe: the server that is started keeps it open
        with (self._folder / f"{program}.txt").open("wb") as output:
            subprocess.run(command, check=True, stdout=output, stderr=output, cwd="/")
