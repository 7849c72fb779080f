"""A raster function's process, seen from its owner: started in a sandbox, asked, and ended with all its children."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec

import processes
from processes.errors import PackageError

_logger = logging.getLogger(__name__)

_ROOT = Path(processes.__file__).parents[1]
_HOST = Path(__file__).with_name("host.py")
_PROGRAM = "import sys; sys.path.append({!r}); from processes.model.raster_function.sandbox import main; main()"
_LENGTH_BYTES = 4
_MAX_ANSWER_BYTES = 2**28
_PART_BYTES = 2**20
_END_S = 5
_MAX_LOGGED_LINES, _MAX_LINE_CHARACTERS = 500, 1000
_PASSED_ON = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TZ")
"""Variables of the service that a function gets. All others, which may hold secrets, it does not."""


class Surroundings(msgspec.Struct, frozen=True):
    """What a raster function runs in."""

    python: str
    """The operator's Python."""
    scratch: str
    """Folder for the scratch folders of functions."""
    hidden: tuple[str, ...]
    """Folders that it must not see, as far as the kernel lets them be hidden."""
    max_mb: int
    """Memory that each of its processes may use, in MiB."""


class FunctionEndedError(Exception):
    """The process of a raster function ended, or was ended, before it had answered."""


class FunctionTimeoutError(Exception):
    """A raster function did not answer in time."""


class FunctionProcess:
    """The process of a raster function. One thread at a time asks it; any thread may stop it.

    Args:
        name: of the model, for the log.
        folder: where the package's contents lie.
        surroundings: what it runs in.
    """

    def __init__(self, name: str, folder: Path, surroundings: Surroundings) -> None:
        self._name = name
        self._folder = folder
        self._surroundings = surroundings
        self._process: subprocess.Popen[bytes] | None = None
        self._control: int | None = None
        self._log: threading.Thread | None = None
        self._scratch = ""
        self._stopping = threading.Lock()

    def start(self) -> None:
        """Start the process.

        Raises:
            OSError: that cannot be done.
        """
        parent = Path(self._surroundings.scratch)
        parent.mkdir(parents=True, exist_ok=True)
        _remove_left(parent)
        self._scratch = tempfile.mkdtemp(dir=parent)
        lock = os.open(self._scratch, os.O_RDONLY)
        control, self._control = os.pipe()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _PROGRAM.format(str(_ROOT)), self._options(control, lock)],
                pass_fds=[control, lock],
                env=_environment(self._scratch),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                bufsize=0,
            )
        finally:
            os.close(control)
            os.close(lock)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
        self._log = threading.Thread(target=_log, args=(self._process.stderr, self._name), daemon=True)
        self._log.start()

    def _options(self, control: int, lock: int) -> str:
        surroundings = self._surroundings
        library_path = os.environ.get("LD_LIBRARY_PATH")
        return json.dumps(
            {
                "command": [surroundings.python, "-I", "-B", str(_HOST)],
                "variables": {} if library_path is None else {"LD_LIBRARY_PATH": library_path},
                "package": os.path.abspath(self._folder),
                "scratch": self._scratch,
                "hidden": surroundings.hidden,
                "memory_bytes": surroundings.max_mb * 2**20,
                "control": control,
                "lock": lock,
            }
        )

    def has_ended(self) -> bool:
        """Return whether there is no process."""
        return self._process is None or self._control is None or self._process.poll() is not None

    def ask(self, request: Mapping[str, Any], data: Sequence[bytes], timeout_s: float) -> dict[str, Any]:
        """Send a request and return the answer.

        Args:
            request: the header; `processes.model.raster_function.host` has its forms.
            data: arrays as bytes.
            timeout_s: seconds that this may take.

        Raises:
            FunctionEndedError: the process ended.
            FunctionTimeoutError: there is no answer in time.
            PackageError: the answer is none.
        """
        header = json.dumps({**request, "bytes": sum(map(len, data))}).encode()
        parts = [len(header).to_bytes(_LENGTH_BYTES, "little") + header, *data]
        answer = self._exchange(parts, time.monotonic() + timeout_s)
        try:
            decoded = json.loads(answer)
        except (ValueError, RecursionError) as err:
            raise PackageError("the raster function's answer is not JSON") from err
        if not isinstance(decoded, dict):
            raise PackageError("the raster function's answer is no object")
        return decoded

    def _exchange(self, parts: Sequence[bytes], end_s: float) -> bytes:
        """Write the parts of a request while there is room, and read until the answer is whole."""
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            raise FunctionEndedError
        into, out_of = self._process.stdin.fileno(), self._process.stdout.fileno()
        waiting = [memoryview(part) for part in parts if part]
        answer, length = bytearray(), _LENGTH_BYTES
        events = select.poll()
        events.register(out_of, select.POLLIN)
        events.register(into, select.POLLOUT)
        while True:
            left_s = end_s - time.monotonic()
            ready = dict(events.poll(max(0.0, left_s) * 1000))
            if not ready and left_s <= 0:
                raise FunctionTimeoutError
            if out_of in ready:
                answer += _read(out_of)
                if length == _LENGTH_BYTES <= len(answer):
                    length += int.from_bytes(answer[:_LENGTH_BYTES], "little")
                    if length > _MAX_ANSWER_BYTES:
                        raise PackageError(f"the raster function's answer is larger than {_MAX_ANSWER_BYTES} bytes")
                if _LENGTH_BYTES < length <= len(answer):
                    return bytes(answer[_LENGTH_BYTES:length])
            elif into in ready and waiting:
                waiting[0] = waiting[0][_write(into, waiting[0]) :]
                if not waiting[0]:
                    del waiting[0]
            if not waiting and into in ready:
                events.unregister(into)

    def stop(self) -> None:
        """End the process and all its children, without waiting for it; who asks it gets FunctionEndedError."""
        with self._stopping:
            if self._control is not None:
                os.close(self._control)
                self._control = None

    def close(self) -> str:
        """End the process and all its children, when nobody asks it; return how it had ended by itself."""
        process, self._process = self._process, None
        if process is None:
            self.stop()
            return ""
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)  # what has failed may be just about to end
        ended = process.poll()
        self.stop()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        if self._log is not None:
            self._log.join(_END_S)  # the last lines say why
        shutil.rmtree(self._scratch, ignore_errors=True)
        return _reason(ended)


def _reason(status: int | None) -> str:
    if status is None:
        return "it closed its streams"
    number = status - 128
    if number in signal.valid_signals() and number > 0:
        return f"it was ended by {signal.Signals(number).name}"
    return f"it exited with status {status}"


def _read(descriptor: int) -> bytes:
    try:
        part = os.read(descriptor, _PART_BYTES)
    except BlockingIOError:
        return b""
    except OSError as err:
        raise FunctionEndedError from err
    if not part:
        raise FunctionEndedError
    return part


def _write(descriptor: int, part: memoryview) -> int:
    try:
        return os.write(descriptor, part[:_PART_BYTES])
    except BlockingIOError:
        return 0
    except OSError as err:
        raise FunctionEndedError from err


def _environment(scratch: str) -> dict[str, str]:
    """Return the environment of a function: of the service's own only which GPU it may use, and how many cores."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    own = {"HOME": scratch, "TMPDIR": scratch, "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
    return passed_on | own


def _remove_left(parent: Path) -> None:
    """Remove the scratch folders that nobody has any more, as after a loss of power."""
    for folder in parent.iterdir():
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - folder.stat().st_mtime > _END_S:  # else it is just being made
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _log(stream: IO[bytes], name: str) -> None:
    """Write to the log what a function prints, as far as that helps anybody."""
    with stream:
        for number, line in enumerate(iter(lambda: stream.readline(_MAX_LINE_CHARACTERS), b"")):
            if number < _MAX_LOGGED_LINES:
                text = line.decode(errors="backslashreplace").rstrip()
                _logger.info("raster function of %s: %s", name, text)
            elif number == _MAX_LOGGED_LINES:
                _logger.info("raster function of %s: what it prints from here on is dropped", name)
