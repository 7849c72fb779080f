"""The engine's connection to the scheduler of a cluster: whatever ends it, another replaces it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from tornado.iostream import IOStream

from free_ports import free_port
from jobs_service import make_certificates
from processes.jobs.admission import EngineLostError
from processes.jobs.dask_parts import HeadlessScheduler, security_of
from processes.jobs.engine import Engine
from processes.settings import Settings

PATIENCE_S = 30


def test_connection_closed_before_its_tls_begins_is_lost_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tornado raises ValueError there, not OSError; once is enough to end a client of Dask's for good."""
    port = free_port()
    plugin = {"scheduler": f"tls://127.0.0.1:{port}", "tls": make_certificates(tmp_path)}
    settings = Settings.from_plugin(plugin, tmp_path)
    is_cut, closed, start_tls = False, 0, IOStream.start_tls

    def cut(stream: IOStream, *args: Any, **options: Any) -> Awaitable[Any]:
        nonlocal closed
        if is_cut:
            closed += 1
            stream.close()
        return start_tls(stream, *args, **options)

    monkeypatch.setattr(IOStream, "start_tls", cut)

    async def test() -> None:
        nonlocal is_cut
        scheduler = HeadlessScheduler(protocol="tls", port=port, security=security_of(settings), dashboard=False)
        async with scheduler, Engine(tmp_path / "pygeoapi-config.yml", settings) as engine:
            await engine.connect()
            is_cut = True
            for comm in list(scheduler.client_comms.values()):
                comm.abort()
            while not closed:
                await asyncio.sleep(0.01)
            with pytest.raises(EngineLostError):
                await engine.connect()
            is_cut = False
            await engine.connect()
            assert len(scheduler.clients) > 1  # the scheduler counts itself

    asyncio.run(asyncio.wait_for(test(), PATIENCE_S))
