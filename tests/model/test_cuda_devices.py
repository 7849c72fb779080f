"""Which GPUs a process may use is the driver's and the operator's word, and where there is none the reason is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gpu_driver import LIBRARIES, Driver, libraries
from processes.model.runtime.cuda_devices import Gpus, cuda_version, find_gpus
from tables import each_row

UUIDS = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "GPU-09ab"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a package of ONNX Runtime as its wheel for GPUs has it, as far as it is looked at."""
    capi = tmp_path / "onnxruntime" / "capi"
    capi.mkdir(parents=True)
    (capi / "libonnxruntime_providers_cuda.so").touch()
    (capi / "build_and_package_info.py").write_text("package_name = 'onnxruntime-gpu'\ncuda_version = '13.0'\n")
    return capi.parent


@each_row(
    ("visible", "shown", "names"),
    [
        (None, 2, ("0", "1")),
        ("3", 1, ("3",)),
        ("3,5", 2, ("3", "5")),
        (" 3 , 5", 2, ("3", "5")),
        ("1,9,0", 1, ("1",)),  # the driver takes the list up to the first that does not exist
        (",".join(UUIDS), 2, UUIDS),
        ("MIG-a,MIG-b", 1, ("MIG-a", "MIG-b")),  # a process is shown one of them, whatever is listed
    ],
)
def test_gpus_are_named_as_the_operator_names_them(
    package: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, shown: int, names: tuple[str, ...]
) -> None:
    set_visible(monkeypatch, visible)
    assert find_gpus(package, libraries(*LIBRARIES, libcuda=Driver(shown))) == Gpus(names)


@each_row(
    ("driver", "visible", "reason"),
    [
        (None, None, "this server has no NVIDIA driver"),
        (Driver(status=100), None, "this server has no NVIDIA GPU"),
        (Driver(0), None, "this server has no NVIDIA GPU"),
        (Driver(status=100), "", "this server has no NVIDIA GPU that CUDA_VISIBLE_DEVICES lets it use"),
        (
            Driver(status=803),
            None,
            "this server's NVIDIA driver does not work (CUDA error 803: system has unsupported display driver / cuda "
            "driver combination)",
        ),
        (Driver(status=999), None, "this server's NVIDIA driver does not work (CUDA error 999)"),
        (
            Driver(cuda=12_090),
            None,
            "this server's NVIDIA driver is too old: it knows CUDA 12.9, ONNX Runtime needs 13.0",
        ),
    ],
)
def test_reason_why_there_is_no_gpu(
    package: Path, monkeypatch: pytest.MonkeyPatch, driver: Driver | None, visible: str | None, reason: str
) -> None:
    set_visible(monkeypatch, visible)
    found: dict[str, Any] = {} if driver is None else {"libcuda": driver}
    assert find_gpus(package, libraries(*LIBRARIES, **found)) == Gpus((), reason)


@pytest.mark.parametrize("missing", LIBRARIES)
def test_missing_library_is_named(package: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    set_visible(monkeypatch, None)
    load = libraries(*(name for name in LIBRARIES if name != missing), libcuda=Driver())
    assert find_gpus(package, load) == Gpus((), f"this server lacks a library of CUDA, {missing}")
    beside = package.parent / "nvidia" / "cu13" / "lib" / missing  # as NVIDIA's packages put it
    beside.parent.mkdir(parents=True)
    beside.touch()
    assert find_gpus(package, load) == Gpus(("0",))


def test_onnx_runtime_without_cuda(package: Path) -> None:
    reason = "this server's ONNX Runtime has no CUDA support"
    assert find_gpus(None, libraries(libcuda=Driver())) == Gpus((), reason)
    (package / "capi" / "libonnxruntime_providers_cuda.so").unlink()
    assert find_gpus(package, libraries(libcuda=Driver())) == Gpus((), reason)


def test_installed_onnx_runtime_says_which_cuda_it_was_built_with() -> None:
    import onnxruntime

    package = Path(onnxruntime.__file__).parent
    if not (package / "capi" / "libonnxruntime_providers_cuda.so").exists():
        pytest.skip("it has no CUDA")
    version = cuda_version(package)
    assert version is not None
    assert version[0] >= 12


def set_visible(monkeypatch: pytest.MonkeyPatch, visible: str | None) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
