"""Weights that lie in files beside the network: they are there, whole, and inside the network's folder."""

from __future__ import annotations

import os
from math import prod
from pathlib import Path, PureWindowsPath

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper

from processes.errors import PackageError
from processes.model.graph.nodes import inner_tensors

_SHOWN_CHARACTERS = 80
_PLAIN_TYPES = ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "INT8", "INT16", "INT32", "INT64", "UINT8", "BOOL")
_NUMPY_TYPES = {
    TensorProto.DataType.Value(name): helper.tensor_dtype_to_np_dtype(TensorProto.DataType.Value(name))
    for name in _PLAIN_TYPES
}


def weight_files(network: Path) -> list[Path]:
    """Return the files in the folder of an ONNX file that weights of it lie in; of a file that is no ONNX, none."""
    try:
        model = onnx.load(network, load_external_data=False)
    except (DecodeError, ValueError, RecursionError, MemoryError):
        return []
    tensors = (*model.graph.initializer, *inner_tensors(model))
    names = {_location(tensor) for tensor in tensors if tensor.data_location == TensorProto.EXTERNAL}
    files = [network.parent / name for name in sorted(names)]
    return [file for file in files if not _is_elsewhere(file, network.parent) and _is_file(file)]


def require_weights(model: onnx.ModelProto, folder: Path) -> bool:
    """Return whether weights lie in files beside the network.

    Args:
        model: read without these files.
        folder: of the network; files are named relative to it.

    Raises:
        PackageError: such a file is missing, too short or elsewhere; or constants of nodes lie in one: the runtime
            would look for it in the folder that the service was started in.
    """
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in inner_tensors(model)):
        raise PackageError("the network keeps constants of its nodes in another file; save it in one file")
    tensors = [tensor for tensor in model.graph.initializer if tensor.data_location == TensorProto.EXTERNAL]
    for tensor in tensors:
        _require_file(tensor, folder)
    return bool(tensors)


def load_weights(model: onnx.ModelProto, folder: Path) -> None:
    """Put the weights of a network that lie in files beside it, which `require_weights` has looked at, into it."""
    onnx.load_external_data_for_model(model, str(folder))


def _require_file(tensor: onnx.TensorProto, folder: Path) -> None:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = _location(tensor)
    file = folder / location
    is_elsewhere = _is_elsewhere(file, folder)
    name = PureWindowsPath(location).name if is_elsewhere else location  # a path of the exporter's machine helps nobody
    name = name[-_SHOWN_CHARACTERS:]
    if is_elsewhere:
        raise PackageError(f"the network cannot be opened: its weights file {name} lies outside its folder")
    if not _is_file(file):
        raise PackageError(f"the network cannot be opened: its weights file {name} is not in the package")
    try:
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or _bytes_of(tensor))
    except ValueError:
        offset = length = -1
    if offset < 0 or length < 0:
        raise PackageError(f"the network cannot be opened: it does not say where in {name} its weights lie")
    size = file.stat().st_size
    if offset + length > size:
        raise PackageError(
            f"the network cannot be opened: its weights file {name} is too short: it has {size} bytes of "
            f"{offset + length} or more"
        )


def _location(tensor: onnx.TensorProto) -> str:
    """Return the file that a tensor lies in, as the network names it."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    return str(entries.get("location", "")).replace("\0", "?")


def _is_elsewhere(file: Path, folder: Path) -> bool:
    """Return whether a file is not in a folder, links followed."""
    return not Path(os.path.realpath(file)).is_relative_to(os.path.realpath(folder))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def _bytes_of(tensor: onnx.TensorProto) -> int:
    """Return the size of a tensor, 0 for types that numpy does not have."""
    dtype = _NUMPY_TYPES.get(tensor.data_type)
    return 0 if dtype is None else prod(tensor.dims) * dtype.itemsize
