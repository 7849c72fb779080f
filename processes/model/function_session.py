"""A raster function that is ready to classify chips: its process is started when it is needed, and ended when idle."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from processes.errors import LimitError, PackageError
from processes.model.definition import ModelDefinition
from processes.model.function_configuration import with_configuration
from processes.model.function_fields import added_by
from processes.model.function_rows import FunctionRows, read_rows
from processes.model.package_digest import package_digest
from processes.model.raster_function.process import (
    FunctionEndedError,
    FunctionProcess,
    FunctionTimeoutError,
    Surroundings,
)
from processes.model.raster_functions import FunctionField, configuration_of_chips
from processes.model.runtime.runtime import Processor, shown_reason

IDLE_S = 60
"""Seconds after which a process that has nothing to do is ended; the next call starts it anew."""
_BATCH_SIZE = 4
"""Esri's default of `batch_size`."""
_FIRST_GPU, _NO_GPU = 0, -1

Chips = NDArray[Any]
"""`(n, bands, height, width)`, of the images' type, zeroed and blackened."""
Masks = NDArray[np.bool_]
"""True = the cell is valid, `(n, height, width)`."""


class FunctionKey(msgspec.Struct, frozen=True):
    """What a raster function is opened with; those of the same key are the same."""

    model: str
    """Id of the model, for the log."""
    folder: Path
    """Where the package's contents lie."""
    sha256: str
    """Digest of the whole package, which the operator trusts."""
    file: str
    """The function's file in the package."""
    definition_file: str
    """The .emd's name in the package."""
    definition: ModelDefinition
    """Of the package, with what the function's configuration says of chips."""
    scalars: tuple[tuple[str, str], ...]
    """The values of its arguments."""
    fields: tuple[FunctionField, ...]
    """Its own fields, as the check found them."""
    batch_size: int | None
    """Chips of a call; None = Esri's default."""
    processor: Processor
    surroundings: Surroundings
    timeout_s: float
    """Seconds that one call may take: the configured limit."""
    limit_name: str = "section_timeout_s"
    """Name of that limit."""


class FunctionSession:
    """A raster function with the values of its arguments. Several threads may call it; it works on one call at a time.

    Args:
        key: what it is.
    """

    def __init__(self, key: FunctionKey) -> None:
        self.key = key
        self._process = FunctionProcess(key.model, key.folder, key.surroundings)
        self._calls = threading.Lock()
        self._is_ready = False
        self._used_s = 0.0
        self._watch: threading.Timer | None = None
        weakref.finalize(self, FunctionProcess.close, self._process)

    @property
    def batch_size(self) -> int:
        """Return the number of chips per call, where no request names one."""
        return self.key.batch_size or _BATCH_SIZE

    def chips_per_s(self) -> float:
        """Return how many chips per second it classifies, measured on a batch of chips that are all 0."""
        definition = self.key.definition
        size = (definition.chip_height, definition.chip_width)
        chips = np.zeros((self.batch_size, len(definition.bands or "RGB"), *size), np.uint8)
        masks = np.ones((self.batch_size, *size), bool)
        self.classify(chips, masks)  # opens it, which must not be measured
        start_s = time.perf_counter()
        self.classify(chips, masks)
        return float(len(chips) / (time.perf_counter() - start_s))

    def classify(self, chips: Chips, masks: Masks, is_over: Callable[[], bool] = lambda: False) -> FunctionRows:
        """Return what the function gives of chips.

        Args:
            chips: the chips.
            masks: their valid cells.
            is_over: returns whether the work that they belong to was stopped: then the process is not started for them.

        Raises:
            PackageError: it fails, ends its process, or returns something else than a row for each chip.
            LimitError: it takes too long, or needs too much memory.
        """
        request = {"do": "classify", "shape": chips.shape, "dtype": chips.dtype.str}
        data = [np.ascontiguousarray(chips).tobytes(), np.ascontiguousarray(masks, np.uint8).tobytes()]
        with self._calls:
            if is_over():
                raise PackageError("the raster function was stopped")
            self._open()
            rows = self._ask(request, data).get("rows")
            self._rest()
        return read_rows(rows, len(chips), self.key.fields, self.key.definition.classes)

    def start(self) -> Any:
        """Start the process, let it import the function and initialise it; return what `getParameterInfo` has.

        Raises:
            PackageError: that fails.
        """
        key = self.key
        if package_digest(key.folder) != key.sha256:
            raise PackageError("its files were changed after its raster function was trusted")
        try:
            self._process.start()
        except OSError as err:
            raise PackageError(f"the raster function's process cannot be started: {err.strerror}") from err
        device = _FIRST_GPU if key.processor == "GPU" else _NO_GPU
        folder = os.path.abspath(key.folder)
        about = {"do": "start", "folder": folder, "definition": key.definition_file, "function": key.file}
        return self._ask({**about, "device": device}).get("arguments")

    def configure(self, scalars: Sequence[tuple[str, str]]) -> tuple[dict[str, Any], Any]:
        """Give the function its arguments; return its configuration, and its fields as `getFields` has them.

        Args:
            scalars: the value of each argument, as text.

        Raises:
            PackageError: that fails.
        """
        answer = self._ask({"do": "configure", "scalars": dict(scalars)})
        configuration = answer.get("configuration")
        return configuration if isinstance(configuration, dict) else {}, answer.get("fields")

    def fields(self) -> Any:
        """Return the fields as `getFields` has them, of a function that has no arguments yet."""
        return self._ask({"do": "fields"}).get("fields")

    def settle(self, key: FunctionKey) -> None:
        """Take the key that a trial run has found; the process, which was asked for its parts, is ready for it."""
        self.key = key
        self._is_ready = True

    def stop(self) -> None:
        """End the process and all its children at once; who waits for an answer gets PackageError."""
        self._process.stop()
        if self._calls.acquire(blocking=False):
            try:
                self._end()
            finally:
                self._calls.release()

    def _open(self) -> None:
        """Make the function ready, if it is not."""
        if self._is_ready and not self._process.has_ended():
            return
        self._end()
        self.start()
        configuration, fields = self.configure(self.key.scalars)
        definition = self.key.definition
        if with_configuration(definition, configuration_of_chips(configuration)) != definition:
            self._end()
            raise PackageError("the raster function asks for other chips with these arguments than with its own ones")
        if added_by(fields) != self.key.fields:
            self._end()
            raise PackageError("the raster function has other fields with these arguments than with its own ones")
        self._is_ready = True

    def _ask(self, request: dict[str, Any], data: Sequence[bytes] = ()) -> dict[str, Any]:
        """Ask the process; where that fails, end it."""
        try:
            answer = self._process.ask(request, data, self.key.timeout_s)
        except FunctionTimeoutError as err:
            self._end()
            words = f"the raster function took longer than {self.key.timeout_s:g} s"
            raise LimitError(self.key.limit_name, int(self.key.timeout_s), words) from err
        except FunctionEndedError as err:
            reason = self._end()
            raise PackageError(f"the raster function's process ended: {reason}") from err
        except BaseException:
            self._end()
            raise
        error = answer.get("error")
        if isinstance(error, dict):
            self._end()
            raise self._error(error)
        return answer

    def _error(self, error: dict[str, Any]) -> PackageError | LimitError:
        kind, call = str(error.get("kind")), str(error.get("call"))
        if kind == "MemoryError":
            limit = self.key.surroundings.max_mb
            return LimitError("max_raster_function_mb", limit, "the raster function needs more memory")
        reason = shown_reason(str(error.get("text")))
        if kind == "Refused":
            return PackageError(f"the raster function cannot be run: {reason}")
        return PackageError(f"the raster function failed in {call}: {kind}{f': {reason}' if reason else ''}")

    def _end(self) -> str:
        self._is_ready = False
        return self._process.close()

    def _rest(self) -> None:
        """Let the process end when nobody has used it for a while."""
        self._used_s = time.monotonic()
        if self._watch is None:
            self._watch = self._start_watch()

    def _start_watch(self) -> threading.Timer:
        watch = threading.Timer(IDLE_S, _end_idle(weakref.ref(self)))
        watch.daemon = True
        watch.start()
        return watch

    def end_if_idle(self) -> None:
        """End the process if nobody has used it for a while, else look again later."""
        if self._calls.acquire(blocking=False):
            try:
                if not self._is_ready or time.monotonic() - self._used_s >= IDLE_S:
                    self._watch = None
                    self._end()
                    return
            finally:
                self._calls.release()
        self._watch = self._start_watch()


def _end_idle(reference: weakref.ref[FunctionSession]) -> Callable[[], None]:
    """Return a function that ends an idle session, as long as there is one."""

    def end() -> None:
        session = reference()
        if session is not None:
            session.end_if_idle()

    return end


@lru_cache(maxsize=2)
def open_function(key: FunctionKey) -> FunctionSession:
    """Return the session of a key; the last ones are kept, their processes for a minute."""
    return FunctionSession(key)
