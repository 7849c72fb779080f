"""Inference: chips in, probabilities out.

A session prepares the network, opens it in a runtime, and checks its outputs.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from functools import lru_cache
from math import prod
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from processes.errors import PackageError
from processes.model.definition import Activation, ModelDefinition, chip_size
from processes.model.normalization import Normalization
from processes.model.outputs import candidates
from processes.model.runtime.runtime import Chips, Precision, Processor, RunNetwork
from processes.model.runtime.runtimes import choose_runtime, missing_precision
from processes.model.scores import probabilities, rows_of

if TYPE_CHECKING:  # onnx is slow to import, and large: only who opens a network has it
    from processes.model.graph.network import Network
    from processes.model.graph.preparation import ChipDtype

_logger = logging.getLogger(__name__)

GPU_BATCH_SIZE = 128
_CPU_BATCH_CELLS = 16 * 64 * 64  # small networks run best on the CPU with this much at once: the data stays in cache
_CPU_BATCH_SIZES = (4, 128)


class SessionKey(msgspec.Struct, frozen=True):
    """What a session is opened with; sessions of the same key are the same."""

    network: Path
    """The ONNX file."""
    sha256: str
    """Digest of the package, in hex."""
    definition: ModelDefinition
    activation: Activation
    """What turns the network's outputs into probabilities."""
    processor: Processor
    threads: int
    """Threads of the CPU for one call of the network."""
    output_name: str | None = None
    """The output that holds the scores; None = the only one that can."""
    side: int | None = None
    """The argument `resampled_image_size`, in cells; None = what the network takes."""
    stamp: str = ""
    """Stamp of the files beside the network: a session may read weights while they are being replaced."""
    callers: int = 1
    """Threads that call the session at the same time."""


class Session:
    """An opened network; several threads may call it."""

    def __init__(self, key: SessionKey) -> None:
        self.key = key
        self._opening = Lock()
        self._opened: dict[ChipDtype, RunNetwork] = {}
        self._loaded: Any | None
        """The network as it was loaded, until it is opened the first time."""
        self._loaded, self.network = self._load()
        self.normalization = key.definition.normalization_for(self.network.bands)
        _require_fit(key.definition, self.normalization, self.network)
        self.chip_size = chip_size(key.definition, self.network.size, key.side)
        """Height and width of the chips that it takes, in cells."""
        self.precision = _precision(key, self.network)
        """What the network is computed in; of one that states nothing, or has other numbers anyway, fp32."""
        self.candidates = candidates(self.network, key.definition)
        """The outputs that can be the scores, as far as the graph tells."""
        self._most = sys.maxsize
        """A call has at most so many chips."""
        self._output_name = key.output_name or (self.candidates[0].name if len(self.candidates) == 1 else None)

    @property
    def batch_size(self) -> int:
        """Return the number of chips per call that suits the network, where no request names one."""
        definition = self.key.definition
        if self.network.batch is not None:
            return self.network.batch
        if definition.batch_size is not None:
            return definition.batch_size
        if self.key.processor == "GPU":
            return GPU_BATCH_SIZE
        low, high = _CPU_BATCH_SIZES
        return min(max(_CPU_BATCH_CELLS // prod(self.chip_size), low), high)

    @property
    def takes_more_callers(self) -> bool:
        """Whether it works for more threads at the same time than it was opened for, as long as there are cores."""
        runtime = choose_runtime(self.key.processor, self.precision)
        return self.key.processor == "CPU" and runtime.takes_more_callers

    def chips_per_s(self) -> float:
        """Return how many chips per second one thread runs, measured on a batch of chips that are all 0."""
        shape = (self.batch_size, self.network.bands or len(self.key.definition.bands or "RGB"))
        chips = np.zeros((*shape, *self.chip_size), np.uint8)
        self.outputs(chips)  # opens the network, which must not be measured
        start_s = time.perf_counter()
        self.outputs(chips)
        return float(len(chips) / (time.perf_counter() - start_s))

    def scores(self, chips: Chips, batch_size: int | None = None) -> NDArray[np.float32]:
        """Return the probabilities of the classes.

        Args:
            chips: `(n, bands, *chip_size)`, cells as cut, zeroed and resampled, not normalised; uint8 or float32.
            batch_size: chips per call; on a GPU fewer are filled up to as many, so that all calls have one shape, for
                which alone algorithms are looked for. None = as many as suit the network.

        Returns:
            `(n, classes)`, 0..1; rows of single-label models add up to 1. A row is NaN where the network gave something
            that is no finite number.
        """
        return probabilities(self.outputs(chips, batch_size), self.key.activation, len(self.key.definition.classes))

    def outputs(self, chips: Chips, batch_size: int | None = None) -> NDArray[np.float32]:
        """Return the network's scores before any activation, `(n, outputs)`; arguments as `scores` has them.

        Raises:
            PackageError: the network fails, its scores fit neither the chips nor the classes, or it has several outputs
                that can be the scores, and the key names none.
            MemoryError: the memory is not enough for a single chip.
        """
        if self._output_name is None:
            raise PackageError("the network has several outputs that can be the scores")
        (output,) = self.run(chips, [self._output_name], batch_size).values()
        return rows_of(output, len(chips), len(self.key.definition.classes))

    def run(self, chips: Chips, names: Sequence[str], batch_size: int | None = None) -> dict[str, NDArray[Any]]:
        """Return outputs as the network gives them, `(n, …)` each, in calls of the size that it takes.

        Args:
            chips: as `scores` has them.
            names: of the outputs.
            batch_size: as `scores` has it.

        Raises:
            PackageError: the network fails.
            MemoryError: the memory is not enough for a single chip.
        """
        dtype: ChipDtype = "uint8" if chips.dtype == np.uint8 else "float32"
        wanted = self.network.batch or ((batch_size or self.batch_size) if self._fills_up else max(1, len(chips)))
        parts: list[list[NDArray[Any]]] = []
        start = 0
        while start < len(chips) or not parts:
            size, run = min(wanted, self._most), self._open(dtype)
            part = chips[start : start + size]
            try:
                outputs = run(_filled_up(part, size) if self._fills_up else part, names)
            except MemoryError:
                self._halve(size, dtype, run)
                del run  # nothing of it is left where it is opened again
                continue
            parts.append([np.asarray(output) for output in outputs])
            if self._fills_up or len(part) < len(chips):
                parts[-1] = [_rows_of_call(output, size if self._fills_up else len(part)) for output in parts[-1]]
                parts[-1] = [output[: len(part)] for output in parts[-1]]
            start += len(part)
        columns = zip(*parts, strict=True)
        return {
            name: column[0] if len(column) == 1 else np.concatenate(column)
            for name, column in zip(names, columns, strict=True)
        }

    def batch_limit(self, batch_size: int) -> int | None:
        """Return what batches of a size were halved to for want of memory; None = they were not."""
        return self._most if self._most < batch_size else None

    @property
    def _fills_up(self) -> bool:
        """Whether all calls have the same number of chips."""
        return self.network.batch is not None or self.key.processor == "GPU"

    def _halve(self, size: int, dtype: ChipDtype, failed: RunNetwork) -> None:
        """Let calls have half as many chips as one for which the memory was not enough, from now on.

        The network is opened anew: what ONNX Runtime has taken of a GPU's memory it keeps, in pieces of the old size.

        Raises:
            MemoryError: there is nothing to halve.
        """
        if size == 1 or self.network.batch is not None:
            raise MemoryError("the memory is not enough for the network")
        with self._opening:
            self._most = min(self._most, size // 2)
            if self._opened.get(dtype) is failed:
                del self._opened[dtype]
        _logger.warning("out of memory: batches are halved", extra={"from": size, "to": size // 2})

    def _load(self) -> tuple[Any, Network]:
        from processes.model.graph.network import load_network

        definition = self.key.definition
        is_of_chip = definition.resampling is None
        chip = (definition.chip_height, definition.chip_width) if is_of_chip else None
        return load_network(self.key.network, chip)

    def _open(self, dtype: ChipDtype) -> RunNetwork:
        """Return the network that takes chips of a dtype, opened the first time."""
        from processes.model.graph.preparation import with_preparation
        from processes.model.graph.quantised import without_quantisation
        from processes.model.graph.weights import load_weights

        with self._opening:
            if dtype not in self._opened:
                key = self.key
                runtime = choose_runtime(key.processor, self.precision)
                model, network = self._load() if self._loaded is None else (self._loaded, self.network)
                self._loaded = None  # it is changed below
                if self.precision != "fp32" and network.has_weight_files:
                    load_weights(model, key.network.parent)
                    network = msgspec.structs.replace(network, has_weight_files=False)
                if self.precision == "fp16":
                    model = runtime.halve(model)
                    network = msgspec.structs.replace(network, dtype="float16")
                elif key.definition.precision == "int8" and self.precision == "fp32":
                    without_quantisation(model)
                own = self.normalization
                affine = None if own is None else (own.scale, own.offset)
                self._opened[dtype] = runtime.open(
                    with_preparation(model, network, affine, dtype),
                    key.network.parent if network.has_weight_files else None,
                    key.processor,
                    key.threads,
                    self.precision,
                    key.callers,
                )
        return self._opened[dtype]


@lru_cache(maxsize=8)
def open_session(key: SessionKey) -> Session:
    """Return the session of a key; the last ones are kept open."""
    return Session(key)


def unfit_precision(precision: Precision | None, network: Network) -> str | None:
    """Return why a network cannot be computed in a precision on any machine, for the client; None = it can.

    Args:
        precision: what its package states; None = nothing.
        network: as its graph states it.
    """
    if precision in (None, "fp32") or (precision == "fp16" and network.dtype == "float16"):
        return None
    if precision == "int8" and not network.is_quantised:
        return "no layer of the network is quantised (`classify-objects optimise` makes such a package)"
    if precision != "int8" and network.dtype != "float32":
        return f"the network takes {network.dtype}"
    return None


def _precision(key: SessionKey, network: Network) -> Precision:
    """Return what a network is computed in: as its package states where this is possible, else fp32."""
    stated = key.definition.precision or "fp32"
    is_own = stated == "fp16" and network.dtype == "float16"  # it is so by itself
    if is_own or unfit_precision(stated, network) or missing_precision(stated, key.processor):
        return "fp32"
    return stated


def _require_fit(definition: ModelDefinition, normalization: Normalization | None, network: Network) -> None:
    """Raise PackageError where the definition and the network contradict each other."""
    is_of_chip = definition.resampling is None
    for name, declared, accepted in (
        ("ImageWidth", definition.chip_width, network.width if is_of_chip else None),
        ("ImageHeight", definition.chip_height, network.height if is_of_chip else None),
        ("the number of ExtractBands", definition.bands and len(definition.bands), network.bands),
        (
            "the number of bands of the normalisation",
            normalization and len(normalization.scale),
            network.bands,
        ),
    ):
        if declared is not None and accepted is not None and declared != accepted:
            raise PackageError(f"{name} is {declared}, the network takes {accepted}")


def _filled_up(chips: Chips, size: int) -> Chips:
    """Return as many chips as a call has; the last one is there several times."""
    return np.concatenate([chips, *([chips[-1:]] * (size - len(chips)))]) if len(chips) < size else chips


def _rows_of_call(output: NDArray[Any], chips: int) -> NDArray[Any]:
    """Return the output of one call with the chips as its first axis, which a single chip may lack."""
    if chips == 1:
        return output.reshape(1, -1)
    if output.ndim == 0 or len(output) != chips:
        raise PackageError(f"the network gives {output.dtype} of shape {output.shape} for {chips} chips")
    return output
