"""A slot: does one step of a job at a time, in a process of its own that can be stopped, killed and replaced.

The process keeps the models that it has opened from step to step and from job to job. It is replaced when it ends, when
it does not stop when it is asked to, when a step takes too long, and after as many sections of a job as the job wants.

It has no network. A step that needs it is done by a second process, which is there as long as there are such steps.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

from processes.jobs.step_process import REMEMBERED, StepProcess
from processes.jobs.steps import SlotEnded, Step, StepNotTaken, StepReport

SLOT_PROGRAM, SLOT_TEMPLATE = "processes.programs.slot_process", "processes.programs.slot_template"
"""Modules: what a slot's process runs, and what has been imported where it is forked."""
_TAKES = 3
"""Processes that a step is given to: one that sees too little, one without network, one with it."""
_UNUSED_S = 60
"""Seconds after which a process that has a network and no step that needs it is ended, at the next step."""


class Slot:
    """One process, started anew whenever it is gone. `stop` is called by any thread, the rest by one at a time.

    Args:
        configuration: the `pygeoapi-config.yml`.
        cores: that a section may use.
        variables: of the process's environment, beside those of this one.
        program: module that the process runs.
        is_kept: True = the process is there before a step needs it.
    """

    def __init__(
        self,
        configuration: Path,
        cores: int,
        variables: Mapping[str, str],
        program: str = SLOT_PROGRAM,
        is_kept: bool = True,
    ) -> None:
        self._is_kept = is_kept
        self._confined, self._networked = (
            StepProcess(program, configuration, cores, variables, has_network) for has_network in (False, True)
        )
        self._needs_network: OrderedDict[str, None] = OrderedDict()
        """The last jobs that do, the oldest first."""
        self._stop = threading.Event()

    def knows(self, job_id: str) -> bool:
        """Return whether one of the processes has worked for a job before."""
        return self._confined.knows(job_id) or self._networked.knows(job_id)

    def start(self) -> None:
        """Start the process, without waiting until it is ready."""
        self._confined.start()

    def close(self) -> None:
        """End the processes, and all that they have started."""
        self._confined.close()
        self._networked.close()

    def end_unused(self, seconds: float) -> None:
        """End the processes that have had no step for so long."""
        self._confined.end_unused(seconds)
        self._networked.end_unused(seconds)

    def reserve(self) -> None:
        """Reserve the slot for a step: from now on `stop` stops this step."""
        self._stop.clear()

    def stop(self) -> None:
        """Ask the step to stop; `run` returns within half a second."""
        self._stop.set()

    def run(self, step: Step, timeout_s: float, recycle_interval: int) -> StepReport:
        """Do a step and return its report.

        Args:
            step: what to do.
            timeout_s: seconds that a section may take.
            recycle_interval: number of sections of the job after which the process is replaced; 0 = never.
        """
        report, process = self._taken(step, timeout_s)
        if 0 < recycle_interval <= process.sections(step.job) and step.action != "finish":
            process.close()
        if process is self._confined:
            self._networked.end_unused(_UNUSED_S)
        if not self._confined.is_started() and self._is_kept:
            self.start()  # now rather than for the next step, which then need not wait for it
        return report

    def _taken(self, step: Step, timeout_s: float) -> tuple[StepReport, StepProcess]:
        """Do a step in a process that takes it; return that, too."""
        for _ in range(_TAKES):
            process = self._networked if step.job in self._needs_network else self._confined
            report = process.do(step, timeout_s, self._stop)
            if not isinstance(report.outcome, StepNotTaken):
                return report, process
            if report.outcome.needs_network:
                self._needs_network[step.job] = None
                while len(self._needs_network) > REMEMBERED:
                    self._needs_network.popitem(last=False)
            else:
                process.close()
        ended = SlotEnded("none of its processes could take the step")
        return StepReport(ended, report.seconds, pid=report.pid), process
