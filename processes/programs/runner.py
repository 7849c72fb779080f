"""The program that works on jobs."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from processes.jobs.runner import Runner
from processes.jobs.step_process import end_template
from processes.jobs.struct_types import prepare_struct_types
from processes.settings import base_folder, load_configuration, load_settings


def start_runner(configuration: Path, name: str) -> None:
    """Work on jobs until stopped.

    Args:
        configuration: the `pygeoapi-config.yml`; relative paths in it start at its `base_folder`.
        name: which no other runner has.
    """
    os.chdir(base_folder(configuration))
    settings = load_settings(configuration)
    base_url = str(load_configuration(configuration)["server"]["url"]).rstrip("/")

    prepare_struct_types()

    async def run() -> None:
        await Runner(configuration, settings, base_url, name).run(stopping_event())

    asyncio.run(run())
    end_template()
    os._exit(0)  # threads that wait for an object store or a host would hold this process up


def stopping_event() -> asyncio.Event:
    """Return an event that is set when this process is told to stop."""
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping
