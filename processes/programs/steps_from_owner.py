"""What a process that does steps hears of its owner: steps, and that the current one is to stop."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from processes.confinement.confinement import Confinement
from processes.jobs.steps import STOP, Step
from processes.programs.logs import set_up_logs
from processes.settings import base_folder

_OOM_SCORE = "500"
"""Where memory runs out, the system kills this process rather than its owner."""


def prepare_process(configuration: Path, confinement: Confinement) -> None:
    """Let this process be one that does steps, and give up what it does not need, before it has a second thread.

    The owner decides when it ends: signals do not, but the end of the owner does.

    Args:
        configuration: the `pygeoapi-config.yml`; relative paths in it start at its `base_folder`.
        confinement: what is left to it.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    set_up_logs()
    os.chdir(base_folder(configuration))
    confinement.apply()


def steps_from_owner(connection: Connection) -> Iterator[tuple[Step, Callable[[], bool]]]:
    """Return each step that the owner sends, with a function that returns whether it is to end as soon as it can.

    Args:
        connection: to the owner.
    """
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
    return ((step, stopped.is_set) for step in iter(steps.get, None))
