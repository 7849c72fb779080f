"""Programs that work on jobs: a runner, and the worker and the scheduler of a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from pathlib import Path

from processes.jobs.dask_parts import HeadlessScheduler, HeadlessWorker, LentSlotsPlugin, security_of, set_up_dask
from processes.jobs.runner import Runner
from processes.jobs.slots import SlotPool, slot_count
from processes.jobs.struct_types import prepare_struct_types
from processes.model.runtime.runtimes import count_gpus
from processes.settings import load_configuration, load_settings

_logger = logging.getLogger(__name__)

_CLOSE_S = 5
"""Seconds that a worker has to close. Without its scheduler it does not close by itself."""
_RETRY_S = 1
_UNREACHABLE = (OSError, TimeoutError, RuntimeError)  # raised by Dask where it cannot connect


def start_runner(configuration: Path, name: str) -> None:
    """Work on jobs until stopped.

    Args:
        configuration: the `pygeoapi-config.yml`; relative paths in it start at its folder.
        name: which no other runner has.
    """
    os.chdir(configuration.parent)
    settings = load_settings(configuration)
    base_url = str(load_configuration(configuration)["server"]["url"]).rstrip("/")

    prepare_struct_types()

    async def run() -> None:
        await Runner(configuration, settings, base_url, name).run(_stopping())

    asyncio.run(run())
    os._exit(0)  # threads that wait for an object store or a host would hold this process up


def start_worker(configuration: Path, scheduler: str, host: str | None) -> None:
    """Do the steps that a scheduler sends, until stopped; where the scheduler is gone, wait for it.

    Args:
        configuration: the `pygeoapi-config.yml`; relative paths in it start at its folder.
        scheduler: its address, `tls://host:port`.
        host: address that the cluster reaches this machine at; None = as the system has it.
    """
    os.chdir(configuration.parent)
    settings = load_settings(configuration)
    set_up_dask(is_cluster=True)
    prepare_struct_types()
    slots = SlotPool(configuration, settings, slot_count(settings))

    async def work() -> None:
        stopping = _stopping()
        stopped = asyncio.create_task(stopping.wait())
        slots.start()
        while not stopping.is_set():
            worker = HeadlessWorker(
                scheduler,
                nthreads=slots.count,
                memory_limit=0,
                host=host,
                security=security_of(settings),
                resources={"GPU": slots.count} if count_gpus() else {},
                local_directory=str(slots.folder),
                plugins=[LentSlotsPlugin(slots)],
            )
            done = asyncio.create_task(_work_with(worker, scheduler))
            await asyncio.wait({done, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not stopping.is_set():
                await asyncio.sleep(_RETRY_S)
        with contextlib.suppress(*_UNREACHABLE):
            await asyncio.wait_for(worker.close(), _CLOSE_S)
        slots.close()
        os._exit(0)  # threads of a worker that did not close would hold this process up

    asyncio.run(work())


async def _work_with(worker: HeadlessWorker, scheduler: str) -> None:
    """Work until the scheduler is gone."""
    try:
        await worker
        _logger.info("worker started", extra={"scheduler": scheduler, "slots": worker.state.nthreads})
        await worker.finished()
    except _UNREACHABLE as err:
        _logger.warning("the scheduler does not answer", extra={"scheduler": scheduler, "reason": str(err)})


def start_scheduler(configuration: Path, host: str, port: int) -> None:
    """Send steps to workers, until stopped.

    Args:
        configuration: the `pygeoapi-config.yml`.
        host: address to listen at.
        port: to listen at.
    """
    settings = load_settings(configuration)
    set_up_dask(is_cluster=True)

    async def schedule() -> None:
        async with HeadlessScheduler(
            protocol="tls://", host=host, port=port, security=security_of(settings), dashboard=False
        ) as scheduler:
            _logger.info("scheduler started", extra={"scheduler": scheduler.address})
            await _stopping().wait()

    asyncio.run(schedule())


def _stopping() -> asyncio.Event:
    """Return an event that is set when this process is told to stop."""
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping
