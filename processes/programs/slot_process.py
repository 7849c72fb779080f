"""The process of a slot, started by `processes.jobs.step_process`: does steps until its owner ends."""

from __future__ import annotations

import os
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from processes.confinement.confinement import Confinement, memory_bytes
from processes.confinement.free_memory import return_large_blocks
from processes.imagery.kept_tiles import KEPT_TILES
from processes.jobs.files import storage_of
from processes.jobs.slots import slot_count
from processes.jobs.step_work import do_step
from processes.jobs.steps import (
    PlanMade,
    ResultPublished,
    SectionDone,
    SectionPaused,
    StepNotTaken,
    StepOutcome,
    StepReport,
)
from processes.model.runtime.runtimes import available_threads, load_runtime
from processes.ogc.process import Sections
from processes.programs.steps_from_owner import prepare_process, steps_from_owner
from processes.registry import load_processes
from processes.settings import Settings, load_settings

_SOUND = (ResultPublished, Sections, SectionDone, SectionPaused)
"""Outcomes of steps that have found the files which they read unchanged at their end."""
_KEEP_S = 60
"""Seconds after the last step for which decoded tiles are kept."""
_SHARE_OF_MEMORY = 1 / 8
"""The kept tiles of all slots take no more of the memory, and those of a slot no more of what it may have."""


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
    return_large_blocks()
    steps = steps_from_owner(connection)
    processes = load_processes(configuration, cores)
    load_runtime()
    KEPT_TILES.allow(kept_bytes(settings, cores))

    def send(message: StepReport | PlanMade) -> None:
        connection.send_bytes(msgspec.msgpack.encode(message))

    for step, is_stopped in steps:
        if confinement.places() != places:
            send(StepReport(StepNotTaken(needs_network=False), 0, pid=os.getpid()))
        else:
            report = do_step(step, processes, storage, lambda: send(PlanMade()), is_stopped)
            choose_kept_tiles(report.outcome)
            send(report)


def choose_kept_tiles(outcome: StepOutcome) -> None:
    """Keep the tiles that a step leaves for a while, or none where a file may have been replaced while it was read."""
    if not isinstance(outcome, _SOUND):
        KEPT_TILES.clear()
    KEPT_TILES.clear_after(_KEEP_S)


def kept_bytes(settings: Settings, cores: int) -> int:
    """Return how many bytes of decoded tiles a slot keeps, which has so many cores."""
    slots = max(slot_count(settings), available_threads() // cores)  # the process of a slot sees one GPU alone
    allowed = min(settings.limits.max_kept_tiles_mb * 2**20, int(memory_bytes() * _SHARE_OF_MEMORY)) // slots
    own = int(settings.limits.max_slot_mb * 2**20 * _SHARE_OF_MEMORY)
    return min(allowed, own) if own else allowed
