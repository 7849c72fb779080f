"""NVIDIA's GPUs as a process of this machine finds them: which there are, or why none can be used.

The driver is asked, and CUDA's libraries are looked for; nothing runs on a GPU. What stands in `CUDA_VISIBLE_DEVICES`
was put there by an operator or by a batch system, and is kept: a GPU is named as it is there.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
_PROVIDER = Path("capi", "libonnxruntime_providers_cuda.so")
_BUILD = Path("capi", "build_and_package_info.py")
_CUDA_VERSION = re.compile(r"^cuda_version = ['\"](\d+)\.(\d+)", re.MULTILINE)
_NO_DEVICE = 100
"""`CUDA_ERROR_NO_DEVICE`."""
_MIG = "MIG-"


class Gpus(msgspec.Struct, frozen=True):
    """The GPUs that this process may use."""

    names: tuple[str, ...]
    """What `CUDA_VISIBLE_DEVICES` has to be so that a process sees one of them alone: an index or a UUID."""
    missing: str | None = None
    """Why there is none, in words for the client; None = there are some."""


def find_gpus(package: Path | None, load: Callable[[str], Any] = ctypes.CDLL) -> Gpus:
    """Return the GPUs that ONNX Runtime can use here.

    Args:
        package: folder of the package `onnxruntime`; None = it is not installed.
        load: loads a library by its name, or raises OSError.
    """
    if package is None or not (package / _PROVIDER).exists():
        return Gpus((), "this server's ONNX Runtime has no CUDA support")
    try:
        driver = load("libcuda.so.1")
    except OSError:
        return Gpus((), "this server has no NVIDIA driver")
    count, missing = _ask(driver)
    version = cuda_version(package)
    if missing is None and version is not None:
        missing = _too_old(driver, *version) or _missing_library(package, version[0], load)
    return Gpus((), missing) if missing is not None else Gpus(_names(count, os.environ.get(VISIBLE_DEVICES)))


def _ask(driver: Any) -> tuple[int, str | None]:
    """Return the number of GPUs that the driver shows to this process; where there is none, also the reason."""
    count = ctypes.c_int()
    status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if status not in (0, _NO_DEVICE):
        words = ctypes.c_char_p()
        known = driver.cuGetErrorString(status, ctypes.byref(words)) == 0 and words.value is not None
        reason = f": {words.value.decode()}" if known and words.value is not None else ""
        return 0, f"this server's NVIDIA driver does not work (CUDA error {status}{reason})"
    if status == 0 and count.value:
        return count.value, None
    hidden = f" that {VISIBLE_DEVICES} lets it use" if VISIBLE_DEVICES in os.environ else ""
    return 0, f"this server has no NVIDIA GPU{hidden}"


def _too_old(driver: Any, major: int, minor: int) -> str | None:
    """Return that the driver is too old for a version of CUDA; None = it is not.

    A driver runs all programs of its own major version and of those before (NVIDIA's CUDA Compatibility).
    """
    version = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(version)) or version.value // 1000 >= major:
        return None
    own = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return f"this server's NVIDIA driver is too old: it knows CUDA {own}, ONNX Runtime needs {major}.{minor}"


def _missing_library(package: Path, major: int, load: Callable[[str], Any]) -> str | None:
    """Return which of CUDA's libraries is missing; None = none is.

    They lie beside `onnxruntime`, as NVIDIA's own packages for Python put them, or where the system's loader looks.
    """
    folder = package.parent / "nvidia"
    for name in (
        f"libcudart.so.{major}",
        f"libcublasLt.so.{major}",
        f"libcublas.so.{major}",
        "libcurand.so.10",
        "libcudnn.so.9",
    ):
        if any(folder.glob(f"*/lib/{name}")):
            continue
        try:
            load(name)
        except OSError:
            return f"this server lacks a library of CUDA, {name}"
    return None


def _names(count: int, visible: str | None) -> tuple[str, ...]:
    """Return the names of the GPUs that are visible.

    Args:
        count: number of GPUs that the driver shows; of a list it is up to the first that does not exist.
        visible: `CUDA_VISIBLE_DEVICES`; None = it is not set.
    """
    if visible is None:
        return tuple(map(str, range(count)))
    listed = [name.strip() for name in visible.split(",")]
    if listed[0].startswith(_MIG):  # a process sees one part of a GPU alone, however many are listed
        return tuple(name for name in listed if name.startswith(_MIG))
    return tuple(listed[:count])


def cuda_version(package: Path) -> tuple[int, int] | None:
    """Return the version of CUDA that `onnxruntime` was built with, in a folder; None = with none."""
    try:
        found = _CUDA_VERSION.search((package / _BUILD).read_text())
    except OSError:
        return None
    return None if found is None else (int(found[1]), int(found[2]))
