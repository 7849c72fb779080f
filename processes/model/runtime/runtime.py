"""What a runtime is: a library that opens a network and runs it on a processor of this machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from processes.errors import PackageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAX_REASON_CHARACTERS = 300
_OUT_OF_MEMORY = re.compile(
    "bad_alloc|bad allocation|failed to allocate memory|out of memory|smaller than requested bytes"
    "|ALLOC_FAILED|ALLOCATION_FAILED",  # of cuBLAS and cuDNN
    re.IGNORECASE,
)
_DEVICE_LOST = re.compile(r"CUDA failure (?:214|220|70[029]|71[04-9]|999)\b")
"""CUDA's errors after which all further work of a process fails, by its documentation: a fault of the GPU, or of code
that ran on it."""

Processor = Literal["CPU", "GPU"]

Precision = Literal["fp32", "bf16", "fp16", "int8"]
"""The numbers that a network is computed with. Sums are of more digits in all of them."""

type Chips = NDArray[np.uint8] | NDArray[np.float32]
"""`(n, bands, height, width)`, cells as cut and zeroed, not normalised."""

RunNetwork = Callable[[Chips, Sequence[str]], Sequence[object]]
"""Runs an opened network on chips and returns the named outputs, not yet checked. Several threads may call it.

Raises PackageError where the network fails, and MemoryError where the memory is not enough for so many chips.
"""


class DeviceLostError(SystemExit):
    """The GPU failed, and this process cannot use it any more; another one may. It ends the process."""


class Runtime(Protocol):
    """An inference library. `load`, `version` and `open` import it; the other methods are fast and run anywhere."""

    takes_more_callers: bool
    """False = on a CPU, threads beyond those that a network was opened for wait for these."""

    def load(self) -> None:
        """Import the library, so that the first network opens sooner."""

    def version(self) -> str:
        """Return the name and the version of the library, which is imported for that."""

    def missing(self, processor: Processor) -> str | None:
        """Return what this machine lacks to use a processor, in words for the client; None = nothing."""

    def missing_precision(self, precision: Precision, processor: Processor) -> str | None:
        """Return why networks are not computed in a precision on a processor, in words for the client; None = they are.

        A runtime that says None computes in it natively, and never in another one instead.
        """

    def gpus(self) -> Sequence[str]:
        """Return the names of the GPUs that the library can use here, as `CUDA_VISIBLE_DEVICES` takes each of them."""

    def halve(self, network: Any) -> Any:
        """Return a network of float32, an `onnx.ModelProto` with all its weights, as one of float16.

        Raises:
            PackageError: it cannot be changed.
        """

    def open(
        self,
        network: bytes,
        weights_folder: Path | None,
        processor: Processor,
        threads: int,
        precision: Precision = "fp32",
        callers: int = 1,
    ) -> RunNetwork:
        """Open a network.

        Args:
            network: the ONNX graph, with the preparation of chips in front.
            weights_folder: folder of the files that hold weights; None = all weights lie in the graph.
            processor: what the network runs on; the runtime never uses another one instead.
            threads: threads of the CPU for one call.
            precision: what it is computed in, one that `missing_precision` allows. A network for int8 has quantised
                layers, one for fp16 was halved.
            callers: threads that call it at the same time.

        Raises:
            PackageError: the network cannot be opened.
        """


@contextmanager
def translate_errors(failure: str, kinds: tuple[type[Exception], ...], shorten: Callable[[str], str]) -> Iterator[None]:
    """Raise PackageError in place of a runtime's own errors, with its words but without file paths.

    Args:
        failure: what failed; the message starts with it.
        kinds: errors that the runtime raises.
        shorten: removes from the runtime's words what helps no client.

    Raises:
        PackageError: the runtime failed.
        MemoryError: it failed for want of memory, which is no fault of the package.
        DeviceLostError: the GPU failed.
    """
    try:
        yield
    except kinds as err:
        if _OUT_OF_MEMORY.search(str(err)):
            raise MemoryError(str(err)) from err
        if _DEVICE_LOST.search(str(err)):
            raise DeviceLostError(f"the GPU failed: {err}") from err
        raise PackageError(f"{failure}: {_reason(err, shorten)}") from err


def _reason(err: Exception, shorten: Callable[[str], str]) -> str:
    if isinstance(err, UnicodeError):
        return "a name in it is not UTF-8"
    return shown_reason(shorten(str(err)))


def shown_reason(words: str) -> str:
    """Return the words of foreign code as a client may read them: without paths, and not too many."""
    return re.sub(r"(?:/[\w.+-]+){2,}/?", "…", words)[:_MAX_REASON_CHARACTERS]
