"""The runtimes of this project, which of them runs a network, and what they can use on this machine.

A runtime is added by one module that implements `Runtime`, and one line in `RUNTIMES`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from processes.errors import InputError
from processes.model.runtime.onnx_runtime import OnnxRuntime
from processes.model.runtime.openvino_runtime import OpenVino
from processes.model.runtime.runtime import Precision, Processor, Runtime

RUNTIMES: tuple[Runtime, ...] = (OpenVino(), OnnxRuntime())
"""The preferred one first. The last one is in every installation."""


def choose_runtime(processor: Processor, precision: Precision = "fp32") -> Runtime:
    """Return the first runtime that can use a processor and computes in a precision there; without one the last of all,
    which fails as it opens.
    """
    usable = (
        runtime
        for runtime in RUNTIMES
        if runtime.missing(processor) is None and runtime.missing_precision(precision, processor) is None
    )
    return next(usable, RUNTIMES[-1])


def missing_precision(precision: Precision, processor: Processor) -> str | None:
    """Return why no network is computed in a precision on a processor here, for the client; None = some can be."""
    found = [runtime.missing_precision(precision, processor) for runtime in reversed(RUNTIMES)]
    return None if None in found else ", and ".join(reason for reason in found if reason is not None)


def precision_warning(precision: Precision | None, processor: Processor) -> str | None:
    """Return the sentence that a package's precision is not what its network is computed in here; None = it is.

    Args:
        precision: what the package states; None = nothing.
        processor: that runs the network.
    """
    reason = None if precision is None else missing_precision(precision, processor)
    return None if reason is None else f"Precision is {precision}, but {reason}: the network runs in fp32"


def choose_processor() -> Processor:
    """Return the processor that networks run on where a request names none."""
    return "GPU" if missing_gpu() is None else "CPU"


def missing_gpu() -> str | None:
    """Return why no GPU can be used here, in words for the client; None = one can."""
    return choose_runtime("GPU").missing("GPU")


def gpus() -> Sequence[str]:
    """Return the names of the GPUs that can be used here, as `CUDA_VISIBLE_DEVICES` takes each of them."""
    return choose_runtime("GPU").gpus()


def count_gpus() -> int:
    """Return the number of GPUs that can be used here."""
    return len(gpus())


def require_processor(processor: Processor | None) -> None:
    """Raise InputError where a processor cannot be used here; None can always be."""
    missing = None if processor is None else choose_runtime(processor).missing(processor)
    if missing is not None:
        raise InputError(f"processorType is {processor}, but {missing}")


def available_threads() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_runtime() -> None:
    """Import the library that runs networks here, so that the first one opens sooner."""
    choose_runtime(choose_processor()).load()
