"""An object store of a test's own that speaks S3, at a free port of the loopback address."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from free_ports import free_port
from service import ROOT, clean_environment


@contextmanager
def moto_store(folder: Path, bucket: str) -> Iterator[int]:
    """Run moto's server, which takes any credentials, and give its port.

    Args:
        folder: for its log.
        bucket: which is made in it.
    """
    program = ROOT / ".venv" / "objects" / "bin" / "python"
    if not program.exists():
        if os.environ.get("CI"):
            pytest.fail("the object store for tests is not there, and in CI it must be")
        pytest.skip("the object store for tests is not there: make test installs it")
    port = free_port()
    command = [str(program), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with started(command, folder / "moto.log", {}):
        make = urllib.request.Request(f"http://127.0.0.1:{port}/{bucket}", method="PUT")
        until_answered(make)
        yield port


@contextmanager
def started(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Run a program until the block ends."""
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, env=clean_environment() | dict(environment)) as process,
    ):
        try:
            yield
        finally:
            process.kill()


def until_answered(request: urllib.request.Request, timeout_s: float = 60) -> None:
    """Send a request until it is answered well."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except OSError:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
