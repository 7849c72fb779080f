"""A process that downloads the inputs of jobs, started by `processes.jobs.step_process`, until its owner ends.

It opens no image and no model.
"""

from __future__ import annotations

import logging
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

import processes.sources.hosts  # noqa: F401 # which links would import when the first one is downloaded
from processes.classify.downloads import FRAME, download_links
from processes.confinement.confinement import Confinement
from processes.errors import ServiceError, to_record
from processes.jobs.fetched_inputs import keep_inputs
from processes.jobs.files import storage_of
from processes.jobs.step_work import failure_of
from processes.jobs.steps import InputsFetched, Step, StepFailed, StepOutcome, StepReport
from processes.jobs.storage import Storage
from processes.ogc.execution import Execution
from processes.programs.steps_from_owner import prepare_process, steps_from_owner
from processes.settings import Settings, load_settings
from processes.sources.downloads import OPENED

_logger = logging.getLogger(__name__)


def main(connection: Connection, configuration: Path, _cores: int, _has_network: bool) -> None:
    """Download for each step that arrives, until the connection closes.

    Args:
        connection: to the owner.
        configuration: the `pygeoapi-config.yml`.
    """
    settings = load_settings(configuration)
    storage = storage_of(settings)  # whose key is out of reach afterwards
    prepare_process(configuration, Confinement.of(settings, configuration, has_network=True))
    steps = steps_from_owner(connection)
    for step, _ in steps:  # one that is to stop is ended with this process, as a host may be waited for
        start_s = time.perf_counter()
        outcome = _fetched(step, storage, settings)
        report = StepReport(outcome, time.perf_counter() - start_s, 0, os.getpid())
        connection.send_bytes(msgspec.msgpack.encode(report))


def _fetched(step: Step, storage: Storage, settings: Settings) -> StepOutcome:
    try:
        execution = Execution.decode(storage.execution(step.job), step.process, FRAME, None)
        scratch = Path(step.scratch)
        folder = scratch / OPENED
        folder.mkdir()
        download_links(execution.request, execution.link_settings(settings), folder)
        keep_inputs(storage, step.job, scratch, folder)
    except ServiceError as err:
        return StepFailed(to_record(err))
    except Exception as err:
        _logger.exception("a step failed", extra={"job": step.job, "action": step.action})
        return StepFailed(to_record(failure_of(err, step)))
    return InputsFetched()
