"""A CPU in the place of a GPU: it goes all the way that a GPU goes, but for the last step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from processes.model.runtime.bound_network import Allocate
from processes.model.runtime.onnx_runtime import CALLS, OnnxRuntime, bound, open_session
from processes.model.runtime.runtime import Precision, Processor, RunNetwork


class GpuOnCpu(OnnxRuntime):
    """ONNX Runtime that has two GPUs, and runs on the CPU what is to run on one.

    Args:
        cuda_options: not looked at.
        calls: number of calls that run at the same time.
        allocate: makes the memory that chips are copied from.
    """

    def __init__(
        self, cuda_options: Mapping[str, str] | None = None, calls: int = CALLS, allocate: Allocate = np.empty
    ) -> None:
        super().__init__(cuda_options or {}, calls)
        self._allocate = allocate

    def missing(self, processor: Processor) -> str | None:
        return None

    def gpus(self) -> Sequence[str]:
        return ("0", "1")

    def open(
        self,
        network: bytes,
        weights_folder: Path | None,
        processor: Processor,
        threads: int,
        precision: Precision = "fp32",
        callers: int = 1,
    ) -> RunNetwork:
        if processor == "CPU":
            return super().open(network, weights_folder, processor, threads)
        session = open_session(network, weights_folder, "CPUExecutionProvider", {}, threads)
        return bound(session, "cpu", self._calls, self._allocate)
