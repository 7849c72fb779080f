"""The process of a slot, started by `processes.jobs.slot`: does one step after the other until its owner ends."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from processes.jobs.files import storage_of
from processes.jobs.steps import PlanMade, StepReport, do_step
from processes.model.runtime.runtimes import load_runtime
from processes.programs.steps_from_owner import steps_from_owner
from processes.registry import load_processes
from processes.settings import load_settings


def main(connection: Connection, configuration: Path, cores: int) -> None:
    """Do each step that arrives, until the connection closes.

    Args:
        connection: to the owner.
        configuration: the `pygeoapi-config.yml`.
        cores: that a section may use.
    """
    steps = steps_from_owner(connection, configuration)
    processes, storage = load_processes(configuration, cores), storage_of(load_settings(configuration))
    load_runtime()

    def send(message: StepReport | PlanMade) -> None:
        connection.send_bytes(msgspec.msgpack.encode(message))

    for step, is_stopped in steps:
        send(do_step(step, processes, storage, lambda: send(PlanMade()), is_stopped))
