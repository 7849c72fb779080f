"""OpenVINO on the CPU, for bf16 and int8. The only home of `openvino`, which an extra of the same name installs.

It is never left to choose the numbers: on CPUs with bf16 it would compute a network of float32 in bf16.
"""

from __future__ import annotations

import platform
import queue
import re
import sys
import threading
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from processes.errors import PackageError
from processes.model.runtime.cpu import CPU_INFO, instructions
from processes.model.runtime.runtime import Chips, Precision, Processor, RunNetwork, translate_errors

_HINTS = {"bf16": "bf16", "int8": "f32"}
"""OpenVINO's name of the numbers for what is not quantised, by precision."""
_BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")
_X86 = ("x86_64", "AMD64")
_LOADING = threading.Lock()
_SOURCE_PLACE = re.compile(r"^(Exception from |Check '.*' failed at |\[ ?[A-Z_]+ ?\] *$)")


class OpenVino:
    """OpenVINO on CPUs of the x86 family.

    Args:
        cpu_info: where Linux lists what the CPU can do.
    """

    takes_more_callers = False

    def __init__(self, cpu_info: Path = CPU_INFO) -> None:
        self._cpu_info = cpu_info

    def load(self) -> None:
        """Do nothing: most services have no package that needs the library, and its memory is theirs."""

    def version(self) -> str:
        """Return the name and the version of the library."""
        return f"OpenVINO {_library().__version__.split('-')[0]}"

    def missing(self, processor: Processor) -> str | None:
        """Return what this machine lacks to use a processor; None = nothing."""
        if processor == "GPU":
            return "OpenVINO is used on CPUs alone"
        return None if _is_installed() else "OpenVINO is not installed"

    def missing_precision(self, precision: Precision, processor: Processor) -> str | None:
        """Return why networks are not computed in a precision on a processor; None = they are."""
        if precision not in _HINTS or processor == "GPU" or platform.machine() not in _X86:
            return "OpenVINO is used for bf16 and int8 on x86 CPUs alone"
        if not _is_installed():
            return "OpenVINO is not installed"
        if precision == "bf16" and not self._has_bf16():
            return "this machine's CPU has no bf16"
        return None

    def gpus(self) -> Sequence[str]:
        """Return no GPU."""
        return ()

    def halve(self, network: Any) -> Any:
        """Raise PackageError: it has no float16."""
        raise PackageError("OpenVINO is not used for fp16")

    def open(
        self,
        network: bytes,
        weights_folder: Path | None,
        processor: Processor,
        threads: int,
        precision: Precision = "fp32",
        callers: int = 1,
    ) -> RunNetwork:
        """Open a network; arguments and errors as `Runtime.open` has them. All weights lie in the graph."""
        openvino = _library()
        hint = _HINTS[precision]
        options = {
            "INFERENCE_PRECISION_HINT": hint,
            "EXECUTION_MODE_HINT": "PERFORMANCE",
            # each caller has a part of the threads for itself, and none of them is tied to a core that another process
            # may have tied one of its own to
            "NUM_STREAMS": callers,
            "INFERENCE_NUM_THREADS": callers * threads,
            "ENABLE_CPU_PINNING": False,
        }
        with translate_errors("the network cannot be opened", (RuntimeError, ValueError), _shorten):
            core = openvino.Core()
            compiled = core.compile_model(core.read_model(network), "CPU", options)
            used = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if used != hint:
            raise PackageError(f"the network cannot be opened: OpenVINO would compute in {used}, not in {hint}")
        import numpy as np

        requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(callers):
            requests.put(compiled.create_infer_request())
        places = {name: place for place, output in enumerate(compiled.outputs) for name in output.get_names()}

        def run(chips: Chips, output_names: Sequence[str]) -> Sequence[object]:
            request = requests.get()
            try:
                with translate_errors("the network cannot be run", (RuntimeError, ValueError), _shorten):
                    request.infer([np.ascontiguousarray(chips)], share_inputs=True)
                    # its memory is used again by the next call
                    return [request.get_output_tensor(places[name]).data.copy() for name in output_names]
            finally:
                requests.put(request)

        return run

    def _has_bf16(self) -> bool:
        return not instructions(self._cpu_info).isdisjoint(_BF16_INSTRUCTIONS)


def _library() -> Any:
    """Return the module `openvino`, which is to report no usage: its own module for that is not installed."""
    with _LOADING:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # an import of it fails
        import numpy as np
        import openvino

        # the first call that needs a table of types makes it: two first calls at once wait for each other for ever
        for dtype in (np.uint8, np.float32):
            openvino.Type(dtype).to_dtype()
            openvino.Tensor(np.zeros(1, dtype), shared_memory=True)
    return openvino


@cache
def _is_installed() -> bool:
    return find_spec("openvino") is not None


def _shorten(words: str) -> str:
    """Return what helps of an error: the operators that are not known, else all but places in OpenVINO's source."""
    unknown = re.search(r"No conversion rule found for operations: (.*)", words)
    if unknown is not None:
        return f"OpenVINO does not know its operators {unknown[1]}"
    lines = [line.strip() for line in words.splitlines()]
    told = [line for line in lines if line and not _SOURCE_PLACE.match(line)]
    return " ".join(told) or words.split("\n")[0]
