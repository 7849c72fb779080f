"""ONNX Runtime, on the CPU and on NVIDIA's GPUs. The only home of `onnxruntime`.

The library is imported late: the command line and the web server start without it.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Sequence
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from processes.errors import PackageError
from processes.model.graph.versions import ir_version_of
from processes.model.runtime.runtime import Chips, Processor, RunNetwork, translate_errors

_PROVIDERS: dict[Processor, str] = {"CPU": "CPUExecutionProvider", "GPU": "CUDAExecutionProvider"}
_LOG_ERRORS_ONLY = 3


class OnnxRuntime:
    """ONNX Runtime, which every installation has."""

    def load(self) -> None:
        """Import the library."""
        _library()

    def missing(self, processor: Processor) -> str | None:
        """Return what this machine lacks to use a processor; the CPU always works."""
        return _find_gpus()[1] if processor == "GPU" else None

    def count_gpus(self) -> int:
        """Return the number of NVIDIA GPUs that the library can use here."""
        return _find_gpus()[0]

    def open(self, network: bytes, weights_folder: Path | None, processor: Processor, threads: int) -> RunNetwork:
        """Open a network; arguments and errors as `Runtime.open` has them."""
        onnxruntime, provider = _library(), _PROVIDERS[processor]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = _LOG_ERRORS_ONLY
        if weights_folder is not None:
            options.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", str(weights_folder)
            )
        if processor == "GPU":
            onnxruntime.preload_dlls()  # CUDA and cuDNN as Python packages carry them
        with translate_errors("the network cannot be opened", _errors(), _shorten):
            session = onnxruntime.InferenceSession(network, options, providers=[provider], enable_fallback=0)
        if session.get_providers()[0] != provider:  # it ignores a provider that fails to load
            raise PackageError(f"the network cannot be opened on the {processor}")
        return partial(_run, session, session.get_inputs()[0].name)


def _run(session: Any, input_name: str, chips: Chips, output_names: Sequence[str]) -> Sequence[object]:
    with translate_errors("the network cannot be run", _errors(), _shorten):
        outputs: Sequence[object] = session.run(output_names, {input_name: chips})
    return outputs


@cache
def _library() -> Any:
    """Return the module `onnxruntime`."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at its import; else it reports usage to Microsoft
    import onnxruntime

    return onnxruntime


@cache
def _errors() -> tuple[type[Exception], ...]:
    """Return the errors that ONNX Runtime raises for networks that it cannot open or run."""
    state = _library().capi.onnxruntime_pybind11_state
    return (
        state.EngineError,
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NotImplemented,
        state.RuntimeException,
        state.NoSuchFile,
        state.EPFail,
        RuntimeError,
        ValueError,
    )


def _shorten(words: str) -> str:
    """Return the first line of an error without error codes and C++ signatures."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", words).split("\n")[0]
    newest = re.search(r"support for domain ai\.onnx is till opset (\d+)", text)
    if newest is not None:
        opset = int(newest[1])
        return (
            f"its opset is too new; export it with opset {opset} and IR version {ir_version_of(opset)}, or older ones"
        )
    format_version = re.search(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)", text)
    if format_version is not None:
        return f"its IR version {format_version[1]} is too new; export it with IR version {format_version[2]} or older"
    return re.sub(r"\S+\.(?:h|cc|cpp):\d+ (?:[^(]*::\w+\(.*?\)(?: const)?|\w+) ", "", text)


@cache
def _find_gpus() -> tuple[int, str | None]:
    """Return the number of GPUs that ONNX Runtime can use; where it is 0, also the reason, in words for the client."""
    module = find_spec("onnxruntime")
    folder = Path(module.origin).parent if module is not None and module.origin else Path()
    if not (folder / "capi" / "libonnxruntime_providers_cuda.so").exists():
        return 0, "this server's ONNX Runtime has no CUDA support"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0, "this server has no NVIDIA driver"
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return 0, "this server has no NVIDIA GPU"
    return count.value, None
