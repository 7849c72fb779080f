"""What a slot's process runs in tests: that of the service, which reports what it is left with in place of its steps."""

from __future__ import annotations

import contextlib
import os
import resource
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from processes.confinement.confinement import NetworkNeededError, require_network
from processes.jobs.steps import Step, StepFailed, StepNotTaken, StepReport
from processes.programs import slot_process
from processes.settings import load_settings


def main(connection: Connection, configuration: Path, cores: int, has_network: bool) -> None:
    """Be a slot's process whose steps need the network where their process is `hosts`."""
    settings = load_settings(configuration)

    def report(step: Step, *_: object) -> StepReport:
        try:
            require_network(step.process == "hosts")
        except NetworkNeededError:
            return StepReport(StepNotTaken(needs_network=True), 0)
        return StepReport(StepFailed(found(settings.state)), 0, pid=os.getpid())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slot_process, "do_step", report)
        slot_process.main(connection, configuration, cores, has_network)


def found(state: Path) -> dict[str, Any]:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    reads = []
    for path in (state / "jobs.sqlite3", state / "work", state / "results"):
        with contextlib.suppress(PermissionError):
            os.close(os.open(path, os.O_RDONLY))
            reads.append(path.name)
    return {
        "reads": reads,
        "filters": status["Seccomp"].strip(),
        "privileges": status["NoNewPrivs"].strip(),
        "memory": resource.getrlimit(resource.RLIMIT_DATA)[1],
        "files": resource.getrlimit(resource.RLIMIT_FSIZE)[1],
    }
