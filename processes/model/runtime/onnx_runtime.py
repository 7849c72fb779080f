"""ONNX Runtime, on the CPU and on NVIDIA's GPUs. The only home of `onnxruntime`.

The library is imported late: the command line and the web server start without it.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from processes.errors import PackageError
from processes.model.runtime.cuda_devices import Gpus, cuda_version, find_gpus
from processes.model.runtime.runtime import Chips, Precision, Processor, RunNetwork, translate_errors

if TYPE_CHECKING:  # numpy is slow to import, and large: only who opens a network has it
    from processes.model.runtime.bound_network import Allocate, Device

_LOG_ERRORS_ONLY = 3

CUDA_OPTIONS: Mapping[str, str] = {
    # by default the memory of a GPU is taken in powers of two, up to twice of what is needed: others may share it
    "arena_extend_strategy": "kSameAsRequested",
    # by default cuDNN tries all algorithms of each convolution when it sees a shape first, which takes seconds
    "cudnn_conv_algo_search": "HEURISTIC",
    # by default float32 is multiplied as TF32, with 10 bits in place of 23: probabilities would differ in the third
    # decimal from those of a CPU. A package that is made for speed states `Precision` fp16
    "use_tf32": "0",
}
"""The options of the CUDA provider, and why they are not its defaults. `make gpu-check` measures others beside them."""

CALLS = 2
"""Calls that run on a GPU at the same time: the chips of one are copied while the other's are worked on."""


class OnnxRuntime:
    """ONNX Runtime, which every installation has.

    Args:
        cuda_options: of the CUDA provider.
        calls: number of calls that run on a GPU at the same time.
    """

    takes_more_callers = True

    def __init__(self, cuda_options: Mapping[str, str] = CUDA_OPTIONS, calls: int = CALLS) -> None:
        self._cuda_options = cuda_options
        self._calls = calls

    def load(self) -> None:
        """Import the library."""
        _library()

    def version(self) -> str:
        """Return the name and the version of the library."""
        return f"ONNX Runtime {_library().__version__}"

    def missing(self, processor: Processor) -> str | None:
        """Return what this machine lacks to use a processor; the CPU always works."""
        return _gpus().missing if processor == "GPU" else None

    def missing_precision(self, precision: Precision, processor: Processor) -> str | None:
        """Return why networks are not computed in a precision on a processor; None = they are."""
        if precision == "fp32" or (precision, processor) in (("int8", "CPU"), ("fp16", "GPU")):
            return None
        return f"ONNX Runtime has no {precision} on {processor}s"

    def gpus(self) -> Sequence[str]:
        """Return the names of the NVIDIA GPUs that the library can use here, as `CUDA_VISIBLE_DEVICES` takes them."""
        return _gpus().names

    def open(
        self,
        network: bytes,
        weights_folder: Path | None,
        processor: Processor,
        threads: int,
        precision: Precision = "fp32",
        callers: int = 1,
    ) -> RunNetwork:
        """Open a network; arguments and errors as `Runtime.open` has them. What it computes in stands in the graph."""
        if processor == "CPU":
            session = open_session(network, weights_folder, "CPUExecutionProvider", {}, threads)
            return _translated(partial(_run, session, session.get_inputs()[0].name))
        with contextlib.redirect_stdout(sys.stderr):  # it prints what it does not find
            _library().preload_dlls()  # CUDA and cuDNN as Python packages carry them
        options = {"device_id": "0", **self._cuda_options}  # the process sees no other one
        session = open_session(network, weights_folder, "CUDAExecutionProvider", options, threads)
        return bound(session, "cuda", self._calls, _page_locked())

    def halve(self, network: Any) -> Any:
        """Return a network of float32, an `onnx.ModelProto` with all its weights, as one of float16.

        Raises:
            PackageError: it cannot be changed.
        """
        _library()
        from onnxruntime.transformers.float16 import convert_float_to_float16

        try:
            return convert_float_to_float16(network)
        except Exception as err:  # whatever the converter stumbles over in a foreign network
            raise PackageError("the network cannot be changed to float16; state Precision fp32") from err


def open_session(
    network: bytes, weights_folder: Path | None, provider: str, provider_options: Mapping[str, str], threads: int
) -> Any:
    """Return the `InferenceSession` of a network, on a provider and no other.

    Args:
        network: the ONNX graph.
        weights_folder: as `Runtime.open` has it.
        provider: ONNX Runtime's name of it.
        provider_options: of the provider.
        threads: as `Runtime.open` has it.

    Raises:
        PackageError: the network cannot be opened.
    """
    onnxruntime = _library()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _LOG_ERRORS_ONLY
    if weights_folder is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights_folder))
    with translate_errors("the network cannot be opened", _errors(), _shorten):
        session = onnxruntime.InferenceSession(
            network, options, providers=[(provider, dict(provider_options))], enable_fallback=0
        )
    if session.get_providers()[0] != provider:  # it ignores a provider that fails to load
        raise PackageError(f"the network cannot be opened by {provider}; the log says why")
    return session


def save_folded(network: Path, target: Path) -> None:
    """Write a network with what is constant computed, and its normalisations taken into its convolutions.

    Args:
        network: the ONNX file.
        target: a new one, which gives the same.

    Raises:
        PackageError: the network cannot be opened.
    """
    onnxruntime = _library()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = _LOG_ERRORS_ONLY
    with translate_errors("the network cannot be opened", _errors(), _shorten):
        onnxruntime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"], enable_fallback=0)


def bound(session: Any, device: Device, calls: int, allocate: Allocate) -> RunNetwork:
    """Return a network that runs in buffers that are used again; arguments as `BoundNetwork` has them."""
    from processes.model.runtime.bound_network import BoundNetwork

    return _translated(BoundNetwork(_library(), session, device, calls, allocate))


def _run(session: Any, input_name: str, chips: Chips, output_names: Sequence[str]) -> Sequence[object]:
    outputs: Sequence[object] = session.run(output_names, {input_name: chips})
    return outputs


def _translated(run: RunNetwork) -> RunNetwork:
    """Return a network that raises errors as `RunNetwork` has them."""

    def translated(chips: Chips, output_names: Sequence[str]) -> Sequence[object]:
        with translate_errors("the network cannot be run", _errors(), _shorten):
            return run(chips, output_names)

    return translated


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
        from processes.model.graph.versions import ir_version_of

        opset = int(newest[1])
        return (
            f"its opset is too new; export it with opset {opset} and IR version {ir_version_of(opset)}, or older ones"
        )
    format_version = re.search(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)", text)
    if format_version is not None:
        return f"its IR version {format_version[1]} is too new; export it with IR version {format_version[2]} or older"
    return re.sub(r"\S+\.(?:h|cc|cpp):\d+ (?:[^(]*::\w+\(.*?\)(?: const)?|\w+) ", "", text)


def _package() -> Path | None:
    """Return the folder of the package, without importing it; None = it is not installed."""
    module = find_spec("onnxruntime")
    return Path(module.origin).parent if module is not None and module.origin else None


@cache
def _gpus() -> Gpus:
    return find_gpus(_package())


@cache
def _page_locked() -> Allocate:
    """Return what makes memory that a GPU reads by itself; ordinary memory does too, more slowly."""
    import numpy as np

    from processes.model.runtime.page_locked_memory import PageLockedMemory

    package = _package()
    version = None if package is None else cuda_version(package)
    return np.empty if version is None else PageLockedMemory(version[0]).allocate
