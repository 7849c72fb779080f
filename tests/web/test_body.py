"""Bodies of requests share one memory, over all web processes of a machine."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request

from processes.errors import LimitError, UnavailableError
from processes.settings import Settings
from processes.web.body import request_body
from processes.web.views import BODIES

MB = 2**20
LARGE = b" " * (60 * MB)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / BODIES).mkdir()
    return Settings.from_plugin({"state": str(tmp_path)})


@contextmanager
def body_of(settings: Settings, content: bytes, wait_s: float = 0, is_stopping: bool = False) -> Iterator[bytes]:
    environ: dict[str, Any] = {"input_stream": BytesIO(content), "content_length": len(content)}
    with (
        Flask(__name__).test_request_context(method="POST", **environ),
        request_body(request, settings, wait_s, lambda: is_stopping) as body,
    ):
        yield body


def test_bodies_share_the_memory(settings: Settings) -> None:
    with body_of(settings, LARGE) as body:
        assert body == LARGE
        with pytest.raises(UnavailableError, match="too many large requests"), body_of(settings, b" " * MB):
            pass
        with body_of(settings, b" " * 1000) as small:
            assert len(small) == 1000
    with body_of(settings, b" " * MB), body_of(settings, b" " * (40 * MB)):
        pass


def test_a_body_waits_for_memory(settings: Settings) -> None:
    begun = threading.Event()

    def hold() -> None:
        with body_of(settings, LARGE):
            begun.set()
            time.sleep(0.3)

    thread = threading.Thread(target=hold)
    thread.start()
    assert begun.wait(10)
    with body_of(settings, LARGE, wait_s=30) as body:
        assert body == LARGE
    thread.join()


def test_a_body_does_not_wait_when_the_server_stops(settings: Settings) -> None:
    start_s = time.monotonic()
    with body_of(settings, LARGE), pytest.raises(UnavailableError), body_of(settings, LARGE, 30, is_stopping=True):
        pass
    assert time.monotonic() - start_s < 10


def test_the_memory_of_a_killed_process_is_free(settings: Settings) -> None:
    code = (
        "import fcntl, os, sys, time\n"
        "files = [os.open(f'{sys.argv[1]}/share-{n}', os.O_RDWR | os.O_CREAT) for n in range(4)]\n"
        "[fcntl.flock(file, fcntl.LOCK_EX) for file in files]\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(settings.state / BODIES)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(UnavailableError), body_of(settings, LARGE):
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    with body_of(settings, LARGE, wait_s=10):
        pass


def test_a_body_beyond_the_limit_takes_no_memory(settings: Settings) -> None:
    with body_of(settings, LARGE), pytest.raises(LimitError, match="max_body_mb = 64"), body_of(settings, LARGE * 2):
        pass
