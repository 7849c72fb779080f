"""Inference: chips in, probabilities out. The only home of onnxruntime.

A caller sees `Session.scores` and `batch_size` and nothing of the runtime below.
"""

from __future__ import annotations

import os
import re
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
from processes.model.processor import Processor
from processes.model.scores import probabilities, rows_of

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else it reports home, from the moment of its import

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

GPU_BATCH_SIZE = 128
_CPU_BATCH_CELLS = 16 * 64 * 64  # small networks run best on the CPU with this much at once: the data stays in cache
_CPU_BATCH_SIZES = (4, 32)
_PROVIDERS: dict[Processor, str] = {"CPU": "CPUExecutionProvider", "GPU": "CUDAExecutionProvider"}
_LOG_ERRORS_ONLY = 3

_RUNTIME_ERRORS = (
    ort_errors.EngineError,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    ort_errors.NoSuchFile,
    ort_errors.EPFail,
    RuntimeError,
    ValueError,
)

Chips = NDArray[np.uint8] | NDArray[np.float32]


class NonFiniteScoresError(PackageError):
    """The network gave something that is not a number."""

    def __init__(self, chips: list[int]) -> None:
        super().__init__("the model's output is not a finite number")
        self.chips = chips
        """Positions in the batch."""


@dataclass(frozen=True, slots=True)
class SessionKey:
    """What a session is opened with; sessions of the same key are the same."""

    network: Path
    sha256: str
    definition: ModelDefinition
    activation: Activation
    processor: Processor
    threads: int


class Session:
    """An opened network; safe to call from several threads."""

    def __init__(self, key: SessionKey) -> None:
        self.key = key
        self._opening = Lock()
        self._sessions: dict[graph.ChipDtype, onnxruntime.InferenceSession] = {}
        _, self.network = graph.load(key.network, key.definition.chip_height, key.definition.chip_width)
        self.normalization = key.definition.normalization_for(self.network.bands)
        check_fit(key.definition, self.normalization, self.network)

    @property
    def batch_size(self) -> int:
        """Chips per call that suit the network, where nobody asked for a number."""
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
        """Return how fast one thread runs the network, measured on a batch of chips that are all 0."""
        shape = (self.batch_size, self.network.bands or len(self.key.definition.bands or "RGB"))
        chips = np.zeros((*shape, self.key.definition.chip_height, self.key.definition.chip_width), np.uint8)
        self.outputs(chips)  # the network is opened
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
        """Return what the network gives, `(n, outputs)`, before any activation.

        Raises:
            PackageError: the network fails, or its outputs fit neither the chips nor the classes.
        """
        session = self._session("uint8" if chips.dtype == np.uint8 else "float32")
        size = self.network.batch
        if size is None:
            return self._run(session, chips)
        parts = []
        for start in range(0, len(chips), size):
            part = chips[start : start + size]
            full = np.concatenate([part, *([part[-1:]] * (size - len(part)))]) if len(part) < size else part
            parts.append(self._run(session, full)[: len(part)])
        return np.concatenate(parts)

    def _run(self, session: onnxruntime.InferenceSession, chips: Chips) -> NDArray[np.float32]:
        try:
            (output,) = session.run([self.network.output_name], {session.get_inputs()[0].name: chips})
        except _RUNTIME_ERRORS as err:
            raise PackageError(f"the network cannot be run: {_reason(err)}") from err
        return rows_of(output, len(chips), len(self.key.definition.classes))

    def _session(self, dtype: graph.ChipDtype) -> onnxruntime.InferenceSession:
        with self._opening:
            if dtype not in self._sessions:
                self._sessions[dtype] = self._open(dtype)
        return self._sessions[dtype]

    def _open(self, dtype: graph.ChipDtype) -> onnxruntime.InferenceSession:
        key = self.key
        model, network = graph.load(key.network, key.definition.chip_height, key.definition.chip_width)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = key.threads
        options.log_severity_level = _LOG_ERRORS_ONLY
        if network.external_data:
            options.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", str(key.network.parent)
            )
        if key.processor == "GPU":
            onnxruntime.preload_dlls()  # CUDA and cuDNN as Python packages carry them
        prepared = graph.with_preparation(model, network, self.normalization, dtype)
        try:
            session = onnxruntime.InferenceSession(
                prepared, options, providers=[_PROVIDERS[key.processor]], enable_fallback=0
            )
        except _RUNTIME_ERRORS as err:
            raise PackageError(f"the network cannot be opened: {_reason(err)}") from err
        if session.get_providers()[0] != _PROVIDERS[key.processor]:  # it goes on without a provider that fails to load
            raise PackageError(f"the network cannot be opened on the {key.processor}")
        return session


@lru_cache(maxsize=8)
def open_session(key: SessionKey) -> Session:
    """Return the session of `key`, opened once and kept."""
    return Session(key)


def check_fit(definition: ModelDefinition, normalization: Normalization | None, network: graph.Network) -> None:
    """Raise PackageError where the definition and the network contradict each other."""
    for name, said, taken in (
        ("ImageWidth", definition.chip_width, network.width),
        ("ImageHeight", definition.chip_height, network.height),
        ("the number of ExtractBands", definition.bands and len(definition.bands), network.bands),
        (
            "the number of bands of the normalisation",
            normalization and len(normalization.scale),
            network.bands,
        ),
    ):
        if said is not None and taken is not None and said != taken:
            raise PackageError(f"{name} is {said}, the network takes {taken}")
    if network.output_rank == 1 and network.batch != 1 and len(definition.classes) != 2:
        raise PackageError("the network's output has no batch axis, its input has one of any size")


def _reason(err: BaseException) -> str:
    """Return the runtime's words without file paths, error codes and C++ signatures."""
    if isinstance(err, UnicodeError):
        return "a name in it is not UTF-8"
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(err)).split("\n")[0]
    text = re.sub(r"\S+\.(?:h|cc|cpp):\d+ (?:[^(]*::\w+\(.*?\)(?: const)?|\w+) ", "", text)
    text = re.sub(r"^ONNX Runtime only \*guarantees\*.*(?=Current official support)", "", text)
    return re.sub(r"(?:/[\w.+-]+){2,}/?", "…", text)[:300]
