"""The process of a slot, started by `processes.jobs.slot`: does one step after the other until its owner ends.

`python -m processes.programs.slot_process DESCRIPTOR CONFIGURATION CORES`
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from processes.jobs.files import storage_of
from processes.jobs.steps import STOP, PlanMade, Step, StepReport, do_step
from processes.model.runtime.runtimes import load_runtime
from processes.programs.logs import set_up_logs
from processes.registry import load_processes
from processes.settings import load_settings

_OOM_SCORE = "500"
"""Where memory runs out, the system kills this process rather than its owner."""


def main(descriptor: int, configuration: Path, cores: int) -> None:
    """Do each step that arrives, until the connection closes.

    Args:
        descriptor: of the connection to the owner.
        configuration: the `pygeoapi-config.yml`.
        cores: that a section may use.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # the owner decides when it ends
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    set_up_logs()
    os.chdir(configuration.parent)
    connection: Connection = Connection(descriptor)
    steps: queue.SimpleQueue[Step] = queue.SimpleQueue()
    stopped = threading.Event()

    def listen() -> None:
        """Receive messages of the owner. When it is gone, end this process and all that it has started."""
        try:
            while True:
                message = connection.recv_bytes()
                if message == STOP:
                    stopped.set()
                else:
                    stopped.clear()
                    steps.put(msgspec.msgpack.decode(message, type=Step))
        except (EOFError, OSError):
            os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=listen, daemon=True).start()
    processes, storage = load_processes(configuration, cores), storage_of(load_settings(configuration))
    load_runtime()

    def send(message: StepReport | PlanMade) -> None:
        connection.send_bytes(msgspec.msgpack.encode(message))

    while True:
        step = steps.get()
        send(do_step(step, processes, storage, lambda: send(PlanMade()), stopped.is_set))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
