"""The process of a slot, seen from its owner: started, given one step after the other, stopped, and ended.

It is forked from one that has imported what it needs (`use_template`). It gives up what it does not need before its
first step, for good; so one that may ask hosts is another process.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import multiprocessing.util
import os
import shutil
import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import msgspec

from processes.errors import LimitError, to_record
from processes.jobs.steps import STOP, PlanMade, SlotEnded, Step, StepFailed, StepNotTaken, StepReport, StepStopped

_GRACE_S = 0.4
"""Seconds that a step has to stop; after that its process is killed."""
_POLL_S = 0.05
_END_S = 5
_LONG = 6
"""The work before the first section and after the last one may take this many times the time of a section."""
NAME = "classify-slot"
"""Of the processes, as the system shows it; at most 15 characters."""
_FORKS = multiprocessing.get_context("forkserver")
REMEMBERED = 1000
"""Number of jobs whose sections are counted. A process never works on so many at the same time."""
_template: str | None = None
_DECODER: msgspec.msgpack.Decoder[StepReport | PlanMade] = msgspec.msgpack.Decoder(StepReport | PlanMade)


class StepProcess:
    """A process that does steps, or none until it is started.

    Args:
        program: module that it runs.
        configuration: the `pygeoapi-config.yml`.
        cores: that a section may use.
        variables: of its environment, beside those of this process.
        has_network: True = it may ask hosts.
    """

    def __init__(
        self, program: str, configuration: Path, cores: int, variables: Mapping[str, str], has_network: bool
    ) -> None:
        self._arguments = (program, configuration, cores, dict(variables), has_network)
        self._process: ForkServerProcess | None = None
        self._connection: Connection | None = None
        self._used_s = 0.0
        """Time at which a step ended last."""
        self._sections: OrderedDict[str, int] = OrderedDict()
        """Sections that it has done of each job, the job that it worked for last at the end."""

    def knows(self, job_id: str) -> bool:
        """Return whether it has worked for a job before."""
        return job_id in self._sections

    def sections(self, job_id: str) -> int:
        """Return the number of sections that it has done of a job; the beginning counts as one."""
        return self._sections.get(job_id, 0)

    def is_started(self) -> bool:
        """Return whether there is a process; it may have ended by itself."""
        return self._process is not None

    def start(self) -> None:
        """Start the process, without waiting until it is ready."""
        ours, theirs = _FORKS.Pipe()
        with theirs:
            # a daemon, lest this program wait for it at its end
            self._process = _FORKS.Process(target=_run_program, args=(theirs, *self._arguments), daemon=True)
            try:
                self._process.start()
            except EOFError as err:
                self._process = None
                raise OSError("no process can be forked") from err
        self._connection = ours
        self._sections.clear()

    def close(self) -> None:
        """End the process, and all that it has started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # it has no group of its own yet
                os.killpg(self._process.pid or 0, signal.SIGKILL)
            self._process.kill()
            self._process.join()
            self._process.close()
            self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def end_unused(self, seconds: float) -> None:
        """End a process that has had no step for so long."""
        if self._process is not None and time.monotonic() - self._used_s > seconds:
            self.close()

    def do(self, step: Step, timeout_s: float, stop: threading.Event) -> StepReport:
        """Do a step and return its report; where there is no process, start it.

        Args:
            step: what to do.
            timeout_s: seconds that a section may take.
            stop: says when the step is to stop; it does so within half a second.
        """
        report = self._do(step, timeout_s, stop)
        if step.action != "finish" and not isinstance(report.outcome, StepNotTaken):
            self._sections[step.job] = self._sections.pop(step.job, 0) + 1
            while len(self._sections) > REMEMBERED:
                self._sections.popitem(last=False)
        self._used_s = time.monotonic()
        return report

    def _do(self, step: Step, timeout_s: float, stop: threading.Event) -> StepReport:
        if self._process is None or not self._process.is_alive():
            self.close()
            self.start()
        if self._connection is None:
            raise RuntimeError("the slot's process has no connection")
        pid = 0 if self._process is None else self._process.pid or 0
        limit_s = timeout_s if step.action == "section" else _LONG * timeout_s
        first_s = start_s = time.monotonic()
        stop_s: float | None = None
        try:
            self._connection.send_bytes(msgspec.msgpack.encode(step))
            while True:
                if self._connection.poll(_POLL_S):
                    message: StepReport | PlanMade = _DECODER.decode(self._connection.recv_bytes())
                    if not isinstance(message, PlanMade):
                        return message
                    start_s, limit_s = time.monotonic(), timeout_s
                now_s = time.monotonic()
                if stop_s is None and stop.is_set():
                    stop_s = now_s
                    self._connection.send_bytes(STOP)
                if stop_s is not None and now_s - stop_s > _GRACE_S:
                    self.close()
                    return StepReport(StepStopped(), now_s - first_s, pid=pid)
                if now_s - start_s > limit_s:
                    self.close()
                    slow = LimitError("section_timeout_s", int(timeout_s), _too_slow(step, limit_s))
                    return StepReport(StepFailed(to_record(slow)), now_s - first_s, pid=pid)
        except (EOFError, OSError):
            outcome = StepStopped() if stop_s is not None else SlotEnded(self._reason())
            return StepReport(outcome, time.monotonic() - first_s, pid=pid)

    def _reason(self) -> str:
        """Return how the process ended, and end what is left of it."""
        status = None
        if self._process is not None:
            self._process.join(_END_S)
            status = self._process.exitcode
        self.close()
        if status is None:
            return "it closed its connection"
        return f"it was ended by {signal.Signals(-status).name}" if status < 0 else f"it exited with status {status}"


def use_template(module: str) -> None:
    """Let the processes be forked where a module has been imported; the first one named counts."""
    global _template
    if _template is None:
        _template = module
        _FORKS.set_forkserver_preload([module])


def end_template() -> None:
    """Remove the socket at which processes are forked, as a program does that ends without its exit handlers."""
    shutil.rmtree(multiprocessing.util.get_temp_dir(), ignore_errors=True)


def _run_program(
    connection: Connection,
    program: str,
    configuration: Path,
    cores: int,
    variables: Mapping[str, str],
    has_network: bool,
) -> None:
    """Be the process of a slot, from the fork to its end."""
    os.setsid()
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(NAME)
    os.environ.update(variables)
    multiprocessing.current_process().daemon = False  # else it could have no processes of its own
    importlib.import_module(program).main(connection, configuration, cores, has_network)


def _too_slow(step: Step, limit_s: float) -> str:
    what = {
        "fetch": "the download of the inputs",
        "begin": "the beginning",
        "section": f"section {step.section}",
        "finish": "the end",
    }[step.action]
    return f"{what} of the job took longer than {limit_s:g} s"
