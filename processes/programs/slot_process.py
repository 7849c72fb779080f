"""The process of a slot, started by `processes.jobs.step_process`: does steps until its owner ends."""

from __future__ import annotations

import os
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from processes.confinement.confinement import Confinement
from processes.jobs.files import storage_of
from processes.jobs.step_work import do_step
from processes.jobs.steps import PlanMade, StepNotTaken, StepReport
from processes.model.runtime.runtimes import load_runtime
from processes.programs.steps_from_owner import prepare_process, steps_from_owner
from processes.registry import load_processes
from processes.settings import load_settings


def main(connection: Connection, configuration: Path, cores: int, has_network: bool) -> None:
    """Do each step that arrives, until the connection closes.

    Args:
        connection: to the owner.
        configuration: the `pygeoapi-config.yml`.
        cores: that a section may use.
        has_network: True = it may ask hosts.
    """
    settings = load_settings(configuration)
    confinement = Confinement.of(settings, configuration, has_network)
    places = confinement.places()
    storage = storage_of(settings)  # whose key is out of reach afterwards
    prepare_process(configuration, confinement)
    steps = steps_from_owner(connection)
    processes = load_processes(configuration, cores)
    load_runtime()

    def send(message: StepReport | PlanMade) -> None:
        connection.send_bytes(msgspec.msgpack.encode(message))

    for step, is_stopped in steps:
        if confinement.places() != places:
            send(StepReport(StepNotTaken(needs_network=False), 0, pid=os.getpid()))
        else:
            send(do_step(step, processes, storage, lambda: send(PlanMade()), is_stopped))
