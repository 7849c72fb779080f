"""The check of a package: it is read, and its network is opened and run on random chips.

The check runs in a process of its own, so that a package that crashes, blocks or fills its reader harms no other work.
Whatever happens to that process, its group is ended, and there is an outcome.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

import msgspec

from processes.model.definition import Activation
from processes.model.raster_functions import FunctionSettings, RasterFunction

_logger = logging.getLogger(__name__)

TIMEOUT_S = 60
"""Seconds that a trial run may take where no limit is given; the default of `check_timeout_s`."""
_LEAST_BYTES_PER_S = 10 * 2**20
"""A package that is read (unpacked, hashed) more slowly than this is given up, after the time of a trial run."""
_POLL_S = 0.02
_MAX_OUTPUT_BYTES = 2**20


class NetworkInput(msgspec.Struct, frozen=True):
    """What the input of a network is like, as its graph states it, beside bands and size."""

    dtype: str = "float32"
    """float16, float32, float64 or uint8."""
    channels_last: bool = False
    """True: `(n, height, width, bands)`. False: `(n, bands, height, width)`."""
    batch: int | None = None
    """Chips of one call; None = any number."""


class CheckOutcome(msgspec.Struct, frozen=True):
    """The outcome of a network's check."""

    problem: str | None = None
    """Why the network cannot be used, in words for the client; None = it can."""
    activation: Activation = "none"
    """What turns the network's outputs into probabilities."""
    bands: int | None = None
    """Number of bands that the network takes; None = any number."""
    size: tuple[int | None, int | None] = (None, None)
    """Height and width of the chips that the network takes, in cells; None = any."""
    input: NetworkInput = NetworkInput()
    output_name: str | None = None
    """The network's output that holds the scores; None = the check found none."""
    cuts_cells: bool = False
    """True = the network takes bytes as they are: cells beyond 0..255 are cut off."""
    warnings: tuple[str, ...] = ()
    """Sentences about what may make labels wrong."""
    conclusive: bool = True
    """False: the check did not end by itself, or for a reason that may go away; another one may end otherwise."""


class CheckedPackage(msgspec.Struct, frozen=True):
    """A package that was read and checked."""

    outcome: CheckOutcome
    folder: str = ""
    """Where its contents lie; empty = it could not be read."""
    network: str | None = None
    """Path of the ONNX file within the folder, whole where it was made; None = there is none that can be used."""
    sha256: str | None = None
    """Digest of all files that the labels depend on, in hex; of the whole package where its raster function is trusted.
    None = they cannot be read."""
    function: RasterFunction | None = None
    """Its raster function; None = it has none."""

    @property
    def network_path(self) -> Path | None:
        """Path of the ONNX file; None = there is none that can be used."""
        return None if self.network is None else Path(self.folder, self.network)

    def is_sound(self) -> bool:
        """Return whether the package can be used, and its files are there."""
        if self.outcome.problem is not None:
            return False
        if self.function is not None and self.function.is_trusted:
            return os.path.isfile(os.path.join(self.folder, self.function.file))
        if self.network is None:
            return False
        return os.path.isfile(os.path.join(self.folder, self.network))


class PackageCheck:
    """The check of one package, in a process of its own.

    Args:
        path: the `.dlpk` file or the package folder.
        unpack_folder: folder for the contents of `.dlpk` files.
        max_bytes: limit of the unpacked size.
        timeout_s: seconds that the trial run may take.
        functions: what the operator decided about raster functions; None = none is trusted.
    """

    def __init__(
        self,
        path: Path,
        unpack_folder: Path,
        max_bytes: int,
        timeout_s: float,
        functions: FunctionSettings | None = None,
    ) -> None:
        decided = msgspec.json.encode(functions or FunctionSettings()).decode()
        self._command = [str(path), str(unpack_folder), str(max_bytes), decided]
        self._timeout_s = timeout_s
        self._read_timeout_s = timeout_s + max_bytes / _LEAST_BYTES_PER_S
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._start_s = 0.0
        self._trial_start_s: float | None = None

    def start(self) -> None:
        """Start the process. Where that fails, there is an outcome at once."""
        with contextlib.suppress(OSError):
            # a pipe could be filled, and be kept open by what the process leaves behind
            self._output = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
            self._log = tempfile.TemporaryFile()  # noqa: SIM115
            log = self._log.fileno()
            program = [sys.executable, "-m", "processes.model.check_process"]
            self._process = subprocess.Popen(
                [*program, str(os.getpid()), str(log), *self._command],
                pass_fds=[log],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._start_s = time.monotonic()

    def trial_s(self) -> float:
        """Return the seconds that the network has been tried for."""
        if self._trial_start_s is None and self._output is not None and os.fstat(self._output.fileno()).st_size:
            self._trial_start_s = time.monotonic()  # the package is read
        return 0.0 if self._trial_start_s is None else time.monotonic() - self._trial_start_s

    def result(self) -> CheckedPackage | None:
        """Return what was found; None = the check goes on."""
        if self._process is None:
            return CheckedPackage(CheckOutcome("its check could not be started", conclusive=False))
        has_ended, is_slow = self._process.poll() is not None, self.trial_s() > self._timeout_s
        if not has_ended and not is_slow and time.monotonic() - self._start_s <= self._read_timeout_s + self.trial_s():
            return None
        self.end()
        self._log_prints()
        found = self._found()
        read = found[0] if found else CheckedPackage(CheckOutcome())
        tried = "network" if read.function is None or not read.function.is_trusted else "raster function"
        if has_ended and self._process.returncode == 0 and found:
            return found[-1]
        if has_ended:
            problem = f"the {tried} ended the process that tried it"
        else:
            what = f"a trial run of the {tried}" if is_slow else "the reading of the package"
            limit = f"the limit check_timeout_s = {self._timeout_s:g} allows"
            problem = f"{what} took longer than {limit}"
        return msgspec.structs.replace(read, outcome=CheckOutcome(problem, conclusive=False))

    def end(self) -> None:
        """End the process, and all that it has started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        """End the process, and remove what it has written."""
        self.end()
        for file in (self._output, self._log):
            if file is not None:
                file.close()

    def _log_prints(self) -> None:
        """Write to the log what a raster function has printed: where it failed, above all."""
        if self._log is not None:
            self._log.seek(0)
            for line in self._log.read(_MAX_OUTPUT_BYTES).decode(errors="backslashreplace").splitlines():
                _logger.info("%s", line)

    def _found(self) -> list[CheckedPackage]:
        """Return what the process has written: the package once it was read, and with its outcome at the end."""
        if self._output is None:
            return []
        self._output.seek(0)
        try:
            lines = self._output.read(_MAX_OUTPUT_BYTES).splitlines()
            return [msgspec.json.decode(line, type=CheckedPackage) for line in lines]
        except msgspec.DecodeError:
            return []


def check_package(
    path: Path,
    unpack_folder: Path,
    max_bytes: int,
    timeout_s: float = TIMEOUT_S,
    functions: FunctionSettings | None = None,
) -> CheckedPackage:
    """Check a package in a process of its own, and wait for it. A crash or a time-out is an outcome too.

    Args:
        path: the `.dlpk` file or the package folder.
        unpack_folder: folder for the contents of `.dlpk` files.
        max_bytes: limit of the unpacked size.
        timeout_s: seconds that the trial run may take.
        functions: what the operator decided about raster functions; None = none is trusted.
    """
    check = PackageCheck(path, unpack_folder, max_bytes, timeout_s, functions)
    check.start()
    try:
        while (checked := check.result()) is None:
            time.sleep(_POLL_S)
        return checked
    finally:
        check.close()
