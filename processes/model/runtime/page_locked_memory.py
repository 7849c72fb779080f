"""Memory of this machine that a GPU reads by itself, while the processor does something else."""

from __future__ import annotations

import ctypes
import logging
import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_logger = logging.getLogger(__name__)


class PageLockedMemory:
    """Page-locked (pinned) memory, by CUDA's runtime library.

    ONNX Runtime's interface for Python hands out such memory only for providers that are plugins, which its own CUDA
    provider is not (1.31).

    Args:
        cuda_major: major version of CUDA.
        load: loads a library by its name, or raises OSError.
    """

    def __init__(self, cuda_major: int, load: Callable[[str], Any] = ctypes.CDLL) -> None:
        self._runtime = load(f"libcudart.so.{cuda_major}")

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array of a shape and a type; where there is no such memory left, of ordinary memory."""
        size, address = math.prod(shape) * dtype.itemsize, ctypes.c_void_p()
        status = self._runtime.cudaHostAlloc(ctypes.byref(address), ctypes.c_size_t(size), ctypes.c_uint(0))
        if status or address.value is None:
            _logger.warning("there is no page-locked memory", extra={"bytes": size, "cuda_error": status})
            return np.empty(shape, dtype)
        buffer = (ctypes.c_ubyte * size).from_address(address.value)
        # the array and all its views hold the buffer; at the end of the process the driver frees all by itself
        weakref.finalize(buffer, self._runtime.cudaFreeHost, address).atexit = False
        return np.frombuffer(buffer, dtype).reshape(shape)
