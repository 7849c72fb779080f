"""A double of NVIDIA's driver, for the look-up of devices alone."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

LIBRARIES = ("libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10", "libcudnn.so.9")
"""Those of CUDA 13 that are looked for."""
_AT_START = """
import processes.model.runtime.cuda_devices as devices
from gpu_driver import LIBRARIES, Driver, libraries

devices.find_gpus.__defaults__ = (libraries(*LIBRARIES, libcuda=Driver()),)
"""


class Driver:
    """What `libcuda.so.1` answers.

    Args:
        gpus: how many it shows.
        status: of `cuInit`.
        cuda: version of CUDA that it knows, as `cuDriverGetVersion` has it.
    """

    def __init__(self, gpus: int = 1, status: int = 0, cuda: int = 13_000) -> None:
        self._gpus, self._status, self._cuda = gpus, status, cuda

    def cuInit(self, _: int) -> int:  # noqa: N802 - NVIDIA's name
        return self._status

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = self._gpus
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = self._cuda
        return 0

    def cuGetErrorString(self, status: int, words: Any) -> int:  # noqa: N802
        known = {803: b"system has unsupported display driver / cuda driver combination"}
        words._obj.value = known.get(status)
        return 0 if status in known else 1


def libraries(*names: str, **others: Any) -> Callable[[str], Any]:
    """Return a loader that finds some libraries of CUDA, and others, by their names up to the first dot."""

    def load(name: str) -> Any:
        if name in names:
            return ctypes.CDLL(None)
        if name.split(".")[0] in others:
            return others[name.split(".")[0]]
        raise OSError(f"{name}: cannot open shared object file: No such file or directory")

    return load


def claiming_a_gpu(folder: Path, visible: str, root: Path) -> Mapping[str, str]:
    """Return variables of a process that finds a driver with one GPU. All that it finds after that is real.

    Args:
        folder: an empty folder.
        visible: the `CUDA_VISIBLE_DEVICES` of its operator.
        root: the checkout.
    """
    shutil.copy(__file__, folder / "gpu_driver.py")
    (folder / "sitecustomize.py").write_text(_AT_START)  # Python imports it when it starts
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(root)]), "CUDA_VISIBLE_DEVICES": visible}
