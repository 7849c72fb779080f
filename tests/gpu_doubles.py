"""A GPU with little memory, and what ONNX Runtime says where one fails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnxruntime

from gpu_rehearsal import GpuOnCpu
from processes.model.runtime.runtime import Chips, Precision, Processor, RunNetwork, translate_errors

FAIL = onnxruntime.capi.onnxruntime_pybind11_state.Fail
RUNTIME_EXCEPTION = onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException
ARENA = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. Name:'Conv_0' "
    "Status Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* onnxruntime::BFCArena::"
    "AllocateRawInternal(size_t, bool, onnxruntime::Stream*, bool, onnxruntime::WaitNotificationFn) "
)
CUDA_CALL = (
    "[ONNXRuntimeError] : 1 : FAIL : /onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:121 onnxruntime::"
    "CudaCall /onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:114 onnxruntime::CudaCall "
)
PLACE = " ; GPU=0 ; hostname=box ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_allocator.cc ; line=48 ; "
OUT_OF_MEMORY = (
    RUNTIME_EXCEPTION(f"{ARENA}Failed to allocate memory for requested buffer of size 4585490524"),
    RUNTIME_EXCEPTION(f"{ARENA}Available memory of 34699008 is smaller than requested bytes of 945041920"),
    FAIL(f"{CUDA_CALL}CUDA failure 2: out of memory{PLACE}expr=cudaMalloc((void**)&p, size);"),
    RUNTIME_EXCEPTION(f"{CUDA_CALL}CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED{PLACE}expr=cublasCreate(&handle);"),
)
"""What ONNX Runtime raises where a GPU's memory is not enough, in its own words and types."""


class SmallGpu(GpuOnCpu):
    """A GPU that notes the shape of each call, and has memory for some chips only.

    Args:
        most: chips that its memory is enough for.
        error: that it raises for more.
    """

    def __init__(self, most: int = 10**6, error: Exception = OUT_OF_MEMORY[0]) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []
        self.opened = 0
        self._most, self._error = most, error

    def open(
        self,
        network: bytes,
        weights_folder: Path | None,
        processor: Processor,
        threads: int,
        precision: Precision = "fp32",
        callers: int = 1,
    ) -> RunNetwork:
        run = super().open(network, weights_folder, processor, threads)
        self.opened += 1

        def recorded(chips: Chips, names: Sequence[str]) -> Sequence[object]:
            self.shapes.append(chips.shape)
            with translate_errors("the network cannot be run", (type(self._error),), str):
                if len(chips) > self._most:
                    raise self._error
            return run(chips, names)

        return recorded
