"""Bodies of requests share one memory, over all web processes of a machine."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request

from access_modes import application
from processes.errors import Fault, InputError, LimitError, RequestError, UnavailableError, at_pointer, collect_faults
from processes.settings import Settings
from processes.web.body import use_body
from processes.web.views import BODIES
from tables import each_row

MB = 2**20
LARGE = b" " * (60 * MB)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / BODIES).mkdir()
    return Settings.from_plugin({"state": str(tmp_path)})


def made_of[T](
    settings: Settings, content: bytes, use: Callable[[bytes], T], wait_s: float = 0, is_stopping: bool = False
) -> T:
    """Return what is made of the body of a request."""
    environ: dict[str, Any] = {"input_stream": BytesIO(content), "content_length": len(content)}
    with Flask(__name__).test_request_context(method="POST", **environ):
        return use_body(request, settings, wait_s, lambda: is_stopping, use)


def test_bodies_share_the_memory(settings: Settings) -> None:
    def use(body: bytes) -> int:
        assert body == LARGE
        with pytest.raises(UnavailableError, match="too many large requests"):
            made_of(settings, b" " * MB, len)
        return made_of(settings, b" " * 1000, len)

    assert made_of(settings, LARGE, use) == 1000
    assert made_of(settings, b" " * MB, lambda _: made_of(settings, b" " * (40 * MB), len)) == 40 * MB


def test_a_body_waits_for_memory(settings: Settings) -> None:
    begun = threading.Event()

    def hold(_: bytes) -> None:
        begun.set()
        time.sleep(0.3)

    thread = threading.Thread(target=made_of, args=(settings, LARGE, hold))
    thread.start()
    assert begun.wait(10)
    assert made_of(settings, LARGE, lambda body: body == LARGE, wait_s=30)
    thread.join()


def test_a_body_does_not_wait_when_the_server_stops(settings: Settings) -> None:
    def use(_: bytes) -> None:
        with pytest.raises(UnavailableError):
            made_of(settings, LARGE, len, 30, is_stopping=True)

    start_s = time.monotonic()
    made_of(settings, LARGE, use)
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
    with pytest.raises(UnavailableError):
        made_of(settings, LARGE, len)
    process.kill()
    process.wait()
    process.stdout.close()
    assert made_of(settings, LARGE, len, wait_s=10) == len(LARGE)


def test_a_body_beyond_the_limit_takes_no_memory(settings: Settings) -> None:
    def use(_: bytes) -> None:
        with pytest.raises(LimitError, match="max_body_mb = 64"):
            made_of(settings, LARGE * 2, len)

    made_of(settings, LARGE, use)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return application(tmp_path_factory.mktemp("open"), access="open")


@each_row(
    ("process", "body", "words"),
    [
        ("echo", b'{"inputs": {"echo": [%s""]}}' % (b'"",' * 2**21), "1048576 values at most"),
        ("echo", b'{"inputs": {"echo": "%s"' % LARGE[: 8 * MB], "not JSON"),
        ("classify-objects", b'{"inputs": {"features": [%s]}}' % LARGE[: 8 * MB], "the input image is missing"),
        ("classify-objects", b'{"inputs": {"image": {"href": "https://x/a.tif"}, "features": "%s"}}' % LARGE[: 8 * MB], "'x'"),
        ("classify-objects", b'{"inputs": {"image": [%s{}]}}' % (b'{"href": "x"},' * 2**19), "max_images = 10000"),
        ("classify-objects", b'{"inputs": {"modelArguments": %s1%s}}' % (b"[" * 2**22, b"]" * 2**22), "recursion"),
        ("echo", b'{"inputs": [%s]}' % LARGE[: 8 * MB], "inputs is not an object"),
        ("echo", b'{"inputs": {"ekko": "%s"}}' % LARGE[: 8 * MB], "inputs of other names"),
    ],
)  # fmt: skip
def test_requests_that_are_refused_leave_nothing_in_memory(app: Any, process: str, body: bytes, words: str) -> None:
    """The garbage collector comes after many requests, which may be large ones."""
    path, headers = f"/processes/{process}/execution", {"Prefer": "respond-async"}
    gc.disable()
    tracemalloc.start()
    try:
        sizes = []
        for _ in range(4):
            sent: dict[str, Any] = {"input_stream": BufferedReader(BytesIO(body)), "content_length": len(body)}
            with app.test_client().post(path, headers=headers, content_type="application/json", **sent) as answer:
                assert (answer.status_code, words in answer.text) == (400, True), answer.text[:300]
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
        gc.enable()
    assert max(sizes) - sizes[0] < len(body) // 2
    assert sizes[0] < len(body) // 2


@pytest.mark.parametrize("is_collected", [True, False])
@pytest.mark.parametrize("is_announced", [True, False])
def test_an_error_keeps_no_body(settings: Settings, is_announced: bool, is_collected: bool) -> None:
    """Whoever answers an error has it, and its frames, for a while; the next body is read meanwhile."""

    def parse(body: bytes) -> None:
        text = body.decode()
        raise ValueError(len(text))

    def check(body: bytes) -> None:
        try:
            parse(body)
        except ValueError as err:
            raise InputError("the body is not JSON") from err

    def use(body: bytes) -> None:
        faults: list[Fault] = []
        with collect_faults(faults, "/inputs") if is_collected else at_pointer("/inputs"):
            check(body)
        raise RequestError(faults)

    kept, content = [], b" " * (8 * MB)
    environ: dict[str, Any] = {"content_length": len(content)} if is_announced else {}
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for size_bytes in [len(content)] * 5:
            stream = {"wsgi.input_terminated": True}
            with Flask(__name__).test_request_context(
                method="POST", input_stream=BytesIO(content[:size_bytes]), environ_overrides=stream, **environ
            ):
                try:
                    use_body(request, settings, 0, lambda: False, use)
                except RequestError as err:
                    kept.append(err)
        assert [err.detail for err in kept] == ["the body is not JSON"] * 5
        assert tracemalloc.get_traced_memory()[0] - before < MB
        assert tracemalloc.get_traced_memory()[1] - before < 4 * len(content)
    finally:
        tracemalloc.stop()
