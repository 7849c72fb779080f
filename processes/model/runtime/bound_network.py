"""A network whose chips lie in memory that is used again from call to call.

ONNX Runtime calls it IO binding. On a GPU the chips go through memory that the driver can read while the processor does
something else (page-locked, or pinned), into a buffer of the GPU. Both are allocated once for a shape.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from processes.model.runtime.runtime import Chips

Device = Literal["cpu", "cuda"]
"""Where the buffers of a network's input lie, by ONNX Runtime's name."""

Allocate = Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]
"""Returns an array of a shape and a type in the memory of this machine."""

_Shape = tuple[tuple[int, ...], np.dtype[Any]]


class BoundNetwork:
    """Runs an opened network on chips, as `RunNetwork` says.

    Args:
        library: the module `onnxruntime`.
        session: the opened network.
        device: where its input lies.
        calls: number of calls that run at the same time; further ones wait. With two, one call's chips are copied
            while the other's are worked on.
        allocate: makes the memory that chips are copied from.
    """

    def __init__(self, library: Any, session: Any, device: Device, calls: int, allocate: Allocate = np.empty) -> None:
        self._library = library
        self._session = session
        self._device = device
        self._allocate = allocate
        self._input_name: str = session.get_inputs()[0].name
        self._running = threading.Semaphore(calls)
        self._lock = threading.Lock()
        self._shape: _Shape | None = None
        self._free: list[_Buffers] = []
        """Buffers of the latest shape that no call uses."""

    def __call__(self, chips: Chips, output_names: Sequence[str]) -> Sequence[object]:
        """Return the named outputs."""
        with self._running, self._buffers(chips.shape, chips.dtype) as buffers:
            return buffers.run(self._session, self._input_name, chips, output_names)

    @contextmanager
    def _buffers(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[_Buffers]:
        """Yield buffers of a shape. Those of the shape before are given up: chips come in one shape for long."""
        with self._lock:
            if self._shape != (shape, dtype):
                self._shape = (shape, dtype)
                self._free.clear()
            buffers = self._free.pop() if self._free else None
        if buffers is None:
            buffers = _Buffers(self._library, self._session, self._device, self._allocate(shape, dtype))
        yield buffers  # after an error they are not used again
        with self._lock:
            if self._shape == (shape, dtype):
                self._free.append(buffers)


class _Buffers:
    """The buffers of one call at a time."""

    def __init__(self, library: Any, session: Any, device: Device, staged: NDArray[Any]) -> None:
        self._staged = staged
        """Chips in the memory of this machine."""
        self._input = library.OrtValue.ortvalue_from_shape_and_type(staged.shape, staged.dtype.type, device, 0)
        """Chips where the network takes them."""
        self._binding = session.io_binding()

    def run(self, session: Any, input_name: str, chips: Chips, output_names: Sequence[str]) -> Sequence[object]:
        """Return the named outputs for chips of the buffers' shape."""
        np.copyto(self._staged, chips)
        self._input.update_inplace(self._staged)
        # bound anew each time: where the first operator runs on another device, binding is what copies there; and an
        # output that was bound before would have to have the same shape again
        self._binding.bind_ortvalue_input(input_name, self._input)
        self._binding.clear_binding_outputs()
        for name in output_names:
            self._binding.bind_output(name)
        session.run_with_iobinding(self._binding)
        outputs: Sequence[object] = self._binding.copy_outputs_to_cpu()
        return outputs
