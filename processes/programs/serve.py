"""The service on one machine: the web server and the runner. Each is a process, and is started again when it ends.

The socket is opened here and inherited by the web server. While the web server is replaced, requests wait and are not
refused.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from processes.programs.job_store import prepare_store_apart
from processes.settings import base_folder, load_configuration, load_settings, variables_of
from processes.web.exposure import require_meant

_logger = logging.getLogger(__name__)

STOP_S = 9
"""Seconds that the processes may take to stop before they are killed."""
_RUNNER_STOP_S = 4
"""Seconds of these that are the runner's: while the web server still answers requests, the runner works."""
_POLL_S, _IDLE_S = 0.1, 10
"""Seconds between two looks at processes, where one has ended, and where a signal tells of that."""
_MAX_SIGNALS = 1024
_BACKLOG = 2048
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 10
_STABLE_S = 10
"""A process that has run for so many seconds is started again after the shortest pause."""
_PR_SET_PDEATHSIG = 1


class ServiceProcess:
    """A process of the service, which is started again when it ends.

    Args:
        name: name of the process in the log.
        command: arguments of this program's command line.
        inherited_fd: descriptor of a socket that the process inherits; None = none.
    """

    def __init__(self, name: str, command: Sequence[str], inherited_fd: int | None = None) -> None:
        self.name = name
        self._command = [sys.executable, "-m", "processes.programs.cli", *command]
        self._inherited_fds = () if inherited_fd is None else (inherited_fd,)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._start_s: float | None = None
        """Time of the monotonic clock at which it is started again; None = it has not been seen ended."""

    def start(self) -> None:
        """Start the process."""
        self._process = subprocess.Popen(self._command, pass_fds=self._inherited_fds, start_new_session=True)
        self._started_s, self._start_s = time.monotonic(), None

    @property
    def has_ended(self) -> bool:
        """Whether it has been seen ended, and is to be started again."""
        return self._start_s is not None

    def restart_if_ended(self) -> None:
        """Start the process again if it has ended, after a pause that grows if it ends again soon."""
        if self._process is None or self._process.poll() is None:
            return
        now_s = time.monotonic()
        if self._start_s is None:
            is_stable = now_s - self._started_s > _STABLE_S
            self._pause_s = _FIRST_PAUSE_S if is_stable else min(2 * self._pause_s, _LAST_PAUSE_S)
            self._start_s = now_s + self._pause_s
            _logger.error("part ended", extra={"part": self.name, "status": self._process.returncode})
        elif now_s >= self._start_s:
            self.start()

    def stop(self) -> None:
        """Send the process the signal to stop."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def let_end(self, until_s: float) -> None:
        """Wait until the process has ended, or until a time of the monotonic clock."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0, until_s - time.monotonic()))

    def wait(self, deadline_s: float) -> None:
        """Wait until the process has stopped; kill it at a time of the monotonic clock."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            _logger.error("part killed: it did not stop in time", extra={"part": self.name})
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class _Signals:
    """The signals that the service gets from now on: to stop, and that a process of it has ended."""

    def __init__(self) -> None:
        self.to_stop: list[int] = []
        """Their numbers, in their order."""
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: self.to_stop.append(number))
        signal.signal(signal.SIGCHLD, lambda *_: None)  # one that is ignored would wake nobody

    def wait(self, timeout_s: float) -> None:
        """Wait for a signal, if none has come since the last time, or for so many seconds."""
        if select.select([self._woken], [], [], timeout_s)[0]:
            self._woken.recv(_MAX_SIGNALS)


class ServeOptions(msgspec.Struct, frozen=True):
    """What a command line says of the service that the configuration leaves to variables."""

    imagery: tuple[str, ...] = ()
    """Folders below which links may point; empty = as the configuration has it."""
    host: str | None = None
    """Address to listen at; None = as the configuration has it."""
    port: int | None = None
    """To listen at, 0 = a free one; None = as the configuration has it."""
    show: Callable[[str], object] | None = None
    """Is called with the address of the service; None = nobody asked for it."""

    def variables(self) -> dict[str, str]:
        """Return the variables of the configuration that have to be set."""
        given = {
            "CLASSIFY_IMAGERY": ":".join(self.imagery) or None,
            "CLASSIFY_HOST": self.host,
            "CLASSIFY_PORT": None if self.port is None else str(self.port),
        }
        return {name: value for name, value in given.items() if value is not None}


def serve(configuration: Path, options: ServeOptions) -> int:
    """Serve until stopped.

    Args:
        configuration: path of the `pygeoapi-config.yml`; relative paths in it start at its `base_folder`.
        options: what the command line says.

    Returns:
        The number of the signal to stop.

    Raises:
        ValueError: the configuration cannot be used, or leaves nothing to an option that is given.
    """
    signals = _Signals()
    configuration = configuration.resolve()
    os.chdir(base_folder(configuration))
    _require_variables(configuration, options.variables())
    os.environ.update(options.variables())
    settings, bind = load_settings(configuration), load_configuration(configuration)["server"]["bind"]
    host = str(bind["host"])
    require_meant(settings.access, host)
    prepare_store_apart(settings)  # raises at once if the configuration or the store is wrong
    with _listening(host, int(bind["port"])) as listener:
        port = listener.getsockname()[1]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        os.environ.setdefault("CLASSIFY_URL", url)
        arguments = ["--config", str(configuration), "--parent", str(os.getpid())]
        name = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        runner = ServiceProcess("runner", [*arguments, "runner", "--name", name])
        web = ServiceProcess("web", [*arguments, "web", "--address", f"fd://{listener.fileno()}"], listener.fileno())
        processes = (runner, web)
        for process in processes:
            process.start()
        _logger.info("service started", extra={"host": host, "port": port, "url": url, "state": str(settings.state)})
        if options.show is not None:
            options.show(url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:"))
        while not signals.to_stop:
            for process in processes:
                process.restart_if_ended()
            signals.wait(_POLL_S if any(process.has_ended for process in processes) else _IDLE_S)
        deadline_s = time.monotonic() + STOP_S
        web.stop()
        web.let_end(deadline_s - _RUNNER_STOP_S)
        runner.stop()
        for process in processes:
            process.wait(deadline_s)
    _logger.info("service stopped")
    return signals.to_stop[0]


def _require_variables(configuration: Path, names: Iterable[str]) -> None:
    """Raise ValueError where a configuration does not read a variable, so that an option would do nothing."""
    read = variables_of(configuration)
    missing = [name for name in names if name not in read]
    if missing:
        raise ValueError(
            f"the configuration does not read {', '.join(missing)}: the options that set it change nothing"
        )


def end_with(parent: int) -> None:
    """Let this process get the signal to stop when its parent ends, for whatever reason.

    Args:
        parent: process id of the parent.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # the parent has already ended
        sys.exit(1)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    # connections inherit it; without it the last part of a response waits until the client has acknowledged the first
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.set_inheritable(True)
    return listener
