"""Programs of a cluster: the worker and the scheduler."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path

from processes.jobs.dask_parts import HeadlessScheduler, HeadlessWorker, LentSlotsPlugin, security_of, set_up_dask
from processes.jobs.slots import SlotPool, slot_count
from processes.jobs.step_process import end_template
from processes.jobs.struct_types import prepare_struct_types
from processes.model.runtime.runtimes import count_gpus, missing_gpu
from processes.model.runtime.runtimes import gpus as gpu_names
from processes.programs.runner import stopping_event
from processes.settings import base_folder, load_settings

_logger = logging.getLogger(__name__)

_CLOSE_S = 5
"""Seconds that a worker has to close. Without its scheduler it does not close by itself."""
_RETRY_S = 1
_UNREACHABLE = (OSError, TimeoutError, RuntimeError)  # raised by Dask where it cannot connect


def start_worker(configuration: Path, scheduler: str, host: str | None) -> None:
    """Do the steps that a scheduler sends, until stopped; where the scheduler is gone, wait for it.

    Args:
        configuration: the `pygeoapi-config.yml`; relative paths in it start at its `base_folder`.
        scheduler: its address, `tls://host:port`.
        host: address that the cluster reaches this machine at; None = as the system has it.
    """
    os.chdir(base_folder(configuration))
    settings = load_settings(configuration)
    set_up_dask()
    prepare_struct_types()
    slots = SlotPool(configuration, settings, slot_count(settings))

    async def work() -> None:
        stopping = stopping_event()
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
        end_template()
        os._exit(0)  # threads of a worker that did not close would hold this process up

    asyncio.run(work())


async def _work_with(worker: HeadlessWorker, scheduler: str) -> None:
    """Work until the scheduler is gone."""
    gpus = {"gpus": list(named)} if (named := gpu_names()) else {"no_gpu": missing_gpu()}
    try:
        await worker
        _logger.info("worker started", extra={"scheduler": scheduler, "slots": worker.state.nthreads} | gpus)
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
    set_up_dask()

    async def schedule() -> None:
        async with HeadlessScheduler(
            protocol="tls://", host=host, port=port, security=security_of(settings), dashboard=False
        ) as scheduler:
            _logger.info("scheduler started", extra={"scheduler": scheduler.address})
            await stopping_event().wait()

    asyncio.run(schedule())
