"""The service on one machine: the web server and the runner, each a process of its own, started again when it ends.

The socket is opened here and lent to the web server: while that is replaced, requests wait and are not refused.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from processes.settings import load_configuration, load_settings

_logger = logging.getLogger(__name__)

STOP_S = 9
"""So long the parts may take to stop; then they are killed."""
_LOOK_S = 0.1
_BACKLOG = 2048
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 10
_SOUND_S = 10
"""A part that has lived so long is started again without a pause."""
_PR_SET_PDEATHSIG = 1


class ServiceProcess:
    """A process that is to run always.

    Args:
        name: what it is called.
        command: of this program's command line.
        lent: descriptor of a socket that it gets; None = none.
    """

    def __init__(self, name: str, command: Sequence[str], lent: int | None = None) -> None:
        self.name = name
        self._command = [sys.executable, "-m", "processes.programs.cli", *command]
        self._lent = () if lent is None else (lent,)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._start_s: float | None = None
        """When it is to be started again; None = it runs, as far as is known."""

    def start(self) -> None:
        """Start it."""
        self._process = subprocess.Popen(self._command, pass_fds=self._lent, start_new_session=True)
        self._started_s, self._start_s = time.monotonic(), None

    def look(self) -> None:
        """Start it again where it has ended, after a pause that grows while it ends again and again."""
        if self._process is None or self._process.poll() is None:
            return
        now_s = time.monotonic()
        if self._start_s is None:
            is_sound = now_s - self._started_s > _SOUND_S
            self._pause_s = _FIRST_PAUSE_S if is_sound else min(2 * self._pause_s, _LAST_PAUSE_S)
            self._start_s = now_s + self._pause_s
            _logger.error("part ended", extra={"part": self.name, "status": self._process.returncode})
        elif now_s >= self._start_s:
            self.start()

    def stop(self) -> None:
        """Ask it to stop."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def wait(self, deadline_s: float) -> None:
        """Wait until it has stopped, and kill it if it has not by a time of the monotonic clock."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            _logger.error("part killed, as it did not stop", extra={"part": self.name})
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def serve(configuration: Path) -> None:
    """Serve until stopped.

    Args:
        configuration: the `pygeoapi-config.yml`; relative paths in it start at its folder.
    """
    stopped = _handle_signals()
    configuration = configuration.resolve()
    os.chdir(configuration.parent)
    load_settings(configuration)  # what is wrong with it is told at once
    bind = load_configuration(configuration)["server"]["bind"]
    host, port = str(bind["host"]), int(bind["port"])
    with _listening(host, port) as listener:
        os.environ.setdefault("CLASSIFY_URL", f"http://{f'[{host}]' if ':' in host else host}:{port}")
        ours = ["--config", str(configuration), "--parent", str(os.getpid())]
        parts = [
            ServiceProcess("runner", [*ours, "runner", "--name", f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"]),
            ServiceProcess("web", [*ours, "web", "--address", f"fd://{listener.fileno()}"], listener.fileno()),
        ]
        for part in parts:
            part.start()
        _logger.info("service started", extra={"host": host, "port": port})
        while not stopped:
            for part in parts:
                part.look()
            time.sleep(_LOOK_S)
        for part in parts:
            part.stop()
        deadline_s = time.monotonic() + STOP_S
        for part in parts:
            part.wait(deadline_s)
    _logger.info("service stopped")


def end_with(parent: int) -> None:
    """Let this process be told to stop when the one that started it ends, however that comes about."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it has ended already
        sys.exit(1)


def _handle_signals() -> list[int]:
    """Return a list that gets the number of the signal to stop."""
    stopped: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        stopped.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopped


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    # connections have it from here: an answer's last part does not wait until the client acknowledged the first one
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.set_inheritable(True)
    return listener
