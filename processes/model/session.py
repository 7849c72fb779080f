"""Inference: chips in, probabilities out.

A session prepares the network, opens it in a runtime, and checks its outputs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from processes.errors import PackageError
from processes.model import graph
from processes.model.definition import Activation, ModelDefinition
from processes.model.normalization import Normalization
from processes.model.runtime.runtime import Chips, Processor, RunNetwork
from processes.model.runtime.runtimes import choose_runtime
from processes.model.scores import probabilities, rows_of

GPU_BATCH_SIZE = 128
_CPU_BATCH_CELLS = 16 * 64 * 64  # small networks run best on the CPU with this much at once: the data stays in cache
_CPU_BATCH_SIZES = (4, 32)


class NonFiniteScoresError(PackageError):
    """An output of the network is not a finite number."""

    def __init__(self, chips: list[int]) -> None:
        super().__init__("the model's output is not a finite number")
        self.chips = chips
        """Indices of the chips in the batch."""


@dataclass(frozen=True, slots=True)
class SessionKey:
    """What a session is opened with; sessions of the same key are the same."""

    network: Path
    """The ONNX file."""
    sha256: str
    """Digest of the ONNX file, in hex."""
    definition: ModelDefinition
    activation: Activation
    """What turns the network's outputs into probabilities."""
    processor: Processor
    threads: int
    """Threads of the CPU for one call of the network."""


class Session:
    """An opened network; several threads may call it."""

    def __init__(self, key: SessionKey) -> None:
        self.key = key
        self._opening = Lock()
        self._opened: dict[graph.ChipDtype, RunNetwork] = {}
        _, self.network = graph.load(key.network, key.definition.chip_height, key.definition.chip_width)
        self.normalization = key.definition.normalization_for(self.network.bands)
        _require_fit(key.definition, self.normalization, self.network)

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
        return min(max(_CPU_BATCH_CELLS // (definition.chip_width * definition.chip_height), low), high)

    def chips_per_s(self) -> float:
        """Return how many chips per second one thread runs, measured on a batch of chips that are all 0."""
        shape = (self.batch_size, self.network.bands or len(self.key.definition.bands or "RGB"))
        chips = np.zeros((*shape, self.key.definition.chip_height, self.key.definition.chip_width), np.uint8)
        self.outputs(chips)  # opens the network, which must not be measured
        start_s = time.perf_counter()
        self.outputs(chips)
        return float(len(chips) / (time.perf_counter() - start_s))

    def scores(self, chips: Chips) -> NDArray[np.float32]:
        """Return the probabilities of the classes.

        Args:
            chips: `(n, bands, height, width)`, cells as cut and zeroed, not normalised; uint8 or float32.

        Returns:
            `(n, classes)`, 0..1; rows of single-label models add up to 1.

        Raises:
            NonFiniteScoresError: an output is not a finite number.
        """
        outputs = self.outputs(chips)
        broken = np.flatnonzero(~np.isfinite(outputs).all(axis=1))
        if broken.size:
            raise NonFiniteScoresError(broken.tolist())
        return probabilities(outputs, self.key.activation, len(self.key.definition.classes))

    def outputs(self, chips: Chips) -> NDArray[np.float32]:
        """Return the network's outputs before any activation, `(n, outputs)`.

        Raises:
            PackageError: the network fails, or its outputs fit neither the chips nor the classes.
        """
        run = self._open("uint8" if chips.dtype == np.uint8 else "float32")
        size = self.network.batch
        if size is None:
            return self._rows(run, chips)
        parts = []
        for start in range(0, len(chips), size):
            part = chips[start : start + size]
            full = np.concatenate([part, *([part[-1:]] * (size - len(part)))]) if len(part) < size else part
            parts.append(self._rows(run, full)[: len(part)])
        return np.concatenate(parts)

    def _rows(self, run: RunNetwork, chips: Chips) -> NDArray[np.float32]:
        return rows_of(run(chips), len(chips), len(self.key.definition.classes))

    def _open(self, dtype: graph.ChipDtype) -> RunNetwork:
        """Return the network that takes chips of a dtype, opened the first time."""
        with self._opening:
            if dtype not in self._opened:
                key = self.key
                model, network = graph.load(key.network, key.definition.chip_height, key.definition.chip_width)
                self._opened[dtype] = choose_runtime(key.processor).open(
                    graph.with_preparation(model, network, self.normalization, dtype),
                    network.output_name,
                    key.network.parent if network.external_data else None,
                    key.processor,
                    key.threads,
                )
        return self._opened[dtype]


@lru_cache(maxsize=8)
def open_session(key: SessionKey) -> Session:
    """Return the session of a key; the last ones are kept open."""
    return Session(key)


def _require_fit(definition: ModelDefinition, normalization: Normalization | None, network: graph.Network) -> None:
    """Raise PackageError where the definition and the network contradict each other."""
    for name, declared, accepted in (
        ("ImageWidth", definition.chip_width, network.width),
        ("ImageHeight", definition.chip_height, network.height),
        ("the number of ExtractBands", definition.bands and len(definition.bands), network.bands),
        (
            "the number of bands of the normalisation",
            normalization and len(normalization.scale),
            network.bands,
        ),
    ):
        if declared is not None and accepted is not None and declared != accepted:
            raise PackageError(f"{name} is {declared}, the network takes {accepted}")
    if network.output_rank == 1 and network.batch != 1 and len(definition.classes) != 2:
        raise PackageError("the network's output has no batch axis, its input has one of any size")
