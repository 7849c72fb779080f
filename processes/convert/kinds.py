"""Which kinds of networks can be converted, told by a file's name and content without any framework."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from processes.errors import PackageError

Kind = Literal["keras", "torchscript", "weights", "safetensors"]
"""`weights`: a state dict that `torch.save` wrote."""

_KERAS = (".h5", ".hdf5", ".keras")
_TORCH = (".pth", ".pt", ".pt2", ".ts", ".torchscript", ".bin", ".ckpt")
_PICKLES = (".pkl", ".pickle", ".joblib", ".sav", ".skops")
_ENDINGS = ".h5, .hdf5 and .keras of Keras, .pth and .pt of PyTorch, .safetensors of timm"


def kind_of(file: Path) -> Kind:
    """Return the kind of a network's file.

    Args:
        file: the file, which is there.

    Raises:
        PackageError: it is of no kind that can be converted; the message says why, and what can.
    """
    ending = file.suffix.lower()
    if ending == ".onnx":
        raise PackageError(f"its network {file.name!r} is ONNX already: the package needs no conversion")
    if ending in _KERAS:
        return "keras"
    if ending == ".safetensors":
        return "safetensors"
    if ending in _TORCH:
        return _kind_of_torch(file)
    if ending in _PICKLES:
        raise PackageError(
            f"its network {file.name!r} is a pickle, which runs code when it is opened: it is not opened here; "
            "export the model to ONNX where it was trained (scikit-learn: skl2onnx)"
        )
    raise PackageError(f"its network {file.name!r} cannot be converted; what can: {_ENDINGS}")


def _kind_of_torch(file: Path) -> Kind:
    """Return what is in a file of PyTorch: a zip with code is TorchScript."""
    if not zipfile.is_zipfile(file):
        return "weights"
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    parts = {name.partition("/")[2] for name in names}
    if "models" in {name.split("/")[1] for name in names if name.count("/") > 1} and "archive_format" in parts:
        raise PackageError(
            f"its network {file.name!r} is a program of torch.export: export the model with torch.onnx.export instead"
        )
    return "torchscript" if "constants.pkl" in parts else "weights"
