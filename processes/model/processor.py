"""What a network can run on: the cores and the GPUs of this machine. ONNX Runtime itself is not loaded here."""

from __future__ import annotations

import ctypes
import os
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from processes.errors import InputError

Processor = Literal["CPU", "GPU"]


def missing_gpu() -> str | None:
    """Say why there is no usable GPU; None where there is one."""
    return _gpus()[1]


def count_gpus() -> int:
    """Return how many GPUs can be used."""
    return _gpus()[0]


def require_processor(processor: Processor | None) -> None:
    """Raise InputError where a GPU is asked for and there is none."""
    missing = missing_gpu() if processor == "GPU" else None
    if missing is not None:
        raise InputError(f"processorType is GPU, but {missing}")


def available_threads() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=1)
def _gpus() -> tuple[int, str | None]:
    """Return the number of GPUs that can be used, and why there is none."""
    runtime = find_spec("onnxruntime")
    place = Path(runtime.origin).parent if runtime is not None and runtime.origin else Path()
    if not (place / "capi" / "libonnxruntime_providers_cuda.so").exists():
        return 0, "this server's ONNX Runtime has no CUDA support"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0, "this server has no NVIDIA driver"
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return 0, "this server has no NVIDIA GPU"
    return count.value, None
