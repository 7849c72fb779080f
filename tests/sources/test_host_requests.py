"""Requests that several threads send to one host: how many at the same time, and when."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from processes.allowed_hosts import AllowedHost
from processes.settings import Settings
from processes.sources.host_ranges import HostRanges
from processes.sources.remote_files import RemoteFile
from range_host import RangeHandler, RangeHost, range_host

PARTS = 24


@pytest.fixture
def host(tmp_path: Path) -> Iterator[RangeHost]:
    (tmp_path / "a").write_bytes(bytes(PARTS))
    with range_host(tmp_path, delay_s=0.02) as running:
        yield running


def read_all(host: RangeHost, tmp_path: Path, threads: int) -> None:
    settings = Settings.from_plugin({"hosts": host.host}, tmp_path)
    assert settings.hosts == (AllowedHost.parse(host.host),)
    reader = HostRanges(RemoteFile(host.link("a"), PARTS, '"1"'), settings)
    with ThreadPoolExecutor(threads) as pool:
        assert list(pool.map(lambda start: reader.read(start, start + 1), range(PARTS))) == [b"\0"] * PARTS


@pytest.mark.parametrize("is_time", [False, True])
def test_a_pause_that_a_host_asks_for_holds_for_all_threads(host: RangeHost, tmp_path: Path, is_time: bool) -> None:
    moments: list[float] = []
    refused = 0.0

    def fault(handler: RangeHandler, start: int, end: int) -> bool:
        nonlocal refused
        moments.append(time.monotonic())
        if refused or start < 8:
            return False
        refused = time.monotonic()
        asked = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True) if is_time else "0.5"
        handler.answer(429, b"", {"Retry-After": asked})
        return True

    host.fault = fault
    read_all(host, tmp_path, 4)
    pause_s = 0.9 if is_time else 0.45  # a time has no parts of a second
    early = [moment for moment in moments if refused + 0.05 < moment < refused + pause_s]
    assert len(early) <= 0
    assert len(moments) == PARTS + 1


def test_a_host_that_is_asked_too_much_gets_fewer_requests_at_the_same_time(host: RangeHost, tmp_path: Path) -> None:
    busy, most = 0, 0

    def fault(handler: RangeHandler, start: int, end: int) -> bool:
        nonlocal busy, most
        with host.lock:
            busy += 1
            here = busy
            most = max(most, busy)
        time.sleep(0.03)
        with host.lock:
            busy -= 1
        if here > 2:
            handler.answer(503, b"", {})
            return True
        return False

    host.fault = fault
    read_all(host, tmp_path, 8)
    refused = len(host.ranges) - PARTS
    assert most > 4
    assert 0 < refused < PARTS / 2
