"""What a session does on a GPU: buffers that are used again, batches of one shape, batches that are halved, float16.

A CPU stands in the place of the GPU, and does all but the last step as a GPU would. Errors are ONNX Runtime's own words.
"""

from __future__ import annotations

import ctypes
import gc
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from conftest import definition
from gpu_doubles import CUDA_CALL, OUT_OF_MEMORY, PLACE, RUNTIME_EXCEPTION, SmallGpu
from gpu_rehearsal import GpuOnCpu
from model_networks import NORMALIZATION, THREE, band_means, save_network
from processes.errors import PackageError
from processes.model.definition import parse_definition
from processes.model.runtime import runtimes
from processes.model.runtime.onnx_runtime import CUDA_OPTIONS, OnnxRuntime
from processes.model.runtime.page_locked_memory import PageLockedMemory
from processes.model.runtime.runtime import DeviceLostError, Processor
from processes.model.session import GPU_BATCH_SIZE, Session, SessionKey
from tables import each_row

MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[OnnxRuntime], Any]:
    """Return a function that puts a runtime in the place of ONNX Runtime."""

    def put(runtime: OnnxRuntime) -> Any:
        monkeypatch.setattr(runtimes, "RUNTIMES", (runtime,))
        return runtime

    return put


def session_of(network: Path, processor: Processor = "GPU", **changes: Any) -> Session:
    keys = definition(**({"Classes": THREE, "Normalization": NORMALIZATION} | changes))
    return Session(SessionKey(network, "0" * 64, parse_definition(json.dumps(keys).encode()), "none", processor, 1))


def random_chips(count: int, dtype: str = "uint8", seed: int = 0) -> NDArray[Any]:
    chips = np.random.default_rng(seed).integers(0, 256, (count, 3, 8, 8), np.uint8)
    return chips.astype(dtype)


def means_of(chips: NDArray[Any]) -> NDArray[Any]:
    """Return what the network of band means gives."""
    scale, mean, std = (np.asarray(NORMALIZATION[name], float) for name in ("scale", "mean", "std"))
    return np.asarray((chips.mean(axis=(2, 3)) * scale - mean) / std)


@pytest.mark.parametrize("name", ["tree-leaf-box", "tree-leaf-crown", "urban-tree-naip", "roof-damage"])
def test_bound_buffers_give_what_the_cpu_gives(name: str, use: Callable[[OnnxRuntime], Any]) -> None:
    keys = json.loads((MODELS / name / f"{name}.emd").read_bytes())
    key = SessionKey(
        MODELS / name / keys["ModelFile"], "0" * 64, parse_definition(json.dumps(keys).encode()), "softmax", "GPU", 1
    )
    use(GpuOnCpu())
    gpu, cpu = Session(key), Session(replace(key, processor="CPU"))
    rng = np.random.default_rng(1)
    for count, dtype in ((3, "uint8"), (5, "uint8"), (2, "float32"), (5, "uint8")):
        chips = rng.integers(0, 256, (count, len(keys["ExtractBands"]), *gpu.chip_size), np.uint8).astype(dtype)
        np.testing.assert_allclose(gpu.scores(chips, 5), cpu.scores(chips), atol=1e-6)


def test_threads_share_a_network_and_none_gets_the_answer_of_another(
    tmp_path: Path, use: Callable[[OnnxRuntime], Any]
) -> None:
    use(GpuOnCpu())
    network = save_network(tmp_path / "net.onnx", band_means())
    session, plain = session_of(network), session_of(network, "CPU")
    batches = [random_chips(1 + number % 7, seed=number) for number in range(200)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda chips: session.outputs(chips, 7), batches))
    for chips, outputs in zip(batches, found, strict=True):
        np.testing.assert_allclose(outputs, plain.outputs(chips), atol=1e-6)


def test_as_many_calls_run_at_the_same_time_as_are_allowed(tmp_path: Path, use: Callable[[OnnxRuntime], Any]) -> None:
    running, most, lock = 0, 0, threading.Lock()
    both = threading.Barrier(2)

    def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait(10)  # two calls make their buffers at the same time
        with lock:
            running -= 1
        return np.empty(shape, dtype)

    use(GpuOnCpu(calls=2, allocate=allocate))
    session = session_of(save_network(tmp_path / "net.onnx", band_means()))
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: session.outputs(random_chips(4), 4), range(30)))
    assert most == 2


def test_all_calls_on_a_gpu_have_one_shape(tmp_path: Path, use: Callable[[OnnxRuntime], Any]) -> None:
    gpu = use(SmallGpu())
    network = save_network(tmp_path / "net.onnx", band_means())
    session = session_of(network)
    for count in (16, 16, 5, 1, 40):
        chips = random_chips(count, seed=count)
        np.testing.assert_allclose(session.outputs(chips, 16), means_of(chips), atol=1e-5)
    assert gpu.shapes[: 4 + 3] == [(16, 3, 8, 8)] * 7
    session.outputs(random_chips(3))
    session_of(network, BatchSize=6).outputs(random_chips(3))
    assert gpu.shapes[-2:] == [(GPU_BATCH_SIZE, 3, 8, 8), (6, 3, 8, 8)]


def test_calls_on_a_cpu_have_no_more_chips_than_there_are(tmp_path: Path, use: Callable[[OnnxRuntime], Any]) -> None:
    cpu = use(SmallGpu())
    session_of(save_network(tmp_path / "net.onnx", band_means()), "CPU").outputs(random_chips(5), 16)
    assert cpu.shapes == [(5, 3, 8, 8)]


@pytest.mark.parametrize("processor", ["CPU", "GPU"])
@each_row("error", OUT_OF_MEMORY)
def test_batch_is_halved_where_the_memory_is_not_enough(
    tmp_path: Path, use: Callable[[OnnxRuntime], Any], processor: Processor, error: Exception
) -> None:
    gpu = use(SmallGpu(5, error))
    network = save_network(tmp_path / "net.onnx", band_means())
    session = session_of(network, processor)
    chips = random_chips(16)
    assert session.batch_limit(16) is None
    np.testing.assert_allclose(session.outputs(chips, 16), means_of(chips), atol=1e-5)
    assert [shape[0] for shape in gpu.shapes] == [16, 8, 4, 4, 4, 4]
    assert gpu.opened == 3  # nothing is kept of memory that was taken in pieces of another size
    assert (session.batch_limit(16), session.batch_limit(4)) == (4, None)
    np.testing.assert_allclose(session.outputs(chips, 16), means_of(chips), atol=1e-5)
    assert [shape[0] for shape in gpu.shapes[6:]] == [4, 4, 4, 4]  # it is not tried again


def test_memory_that_is_not_enough_for_one_chip_is_an_error(tmp_path: Path, use: Callable[[OnnxRuntime], Any]) -> None:
    gpu = use(SmallGpu(0))
    session = session_of(save_network(tmp_path / "net.onnx", band_means()))
    with pytest.raises(MemoryError):
        session.outputs(random_chips(4), 4)
    assert [shape[0] for shape in gpu.shapes] == [4, 2, 1]
    fixed = session_of(save_network(tmp_path / "fixed.onnx", band_means(), shape=(4, 3, 8, 8)))
    with pytest.raises(MemoryError):
        fixed.outputs(random_chips(4), 4)
    assert [shape[0] for shape in gpu.shapes[3:]] == [4]


def test_other_errors_are_the_networks_and_are_not_tried_again(
    tmp_path: Path, use: Callable[[OnnxRuntime], Any]
) -> None:
    error = RUNTIME_EXCEPTION("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code")
    gpu = use(SmallGpu(0, error))
    session = session_of(save_network(tmp_path / "net.onnx", band_means()))
    with pytest.raises(PackageError, match="cannot be run"):
        session.outputs(random_chips(4), 4)
    assert len(gpu.shapes) == 1


@each_row(("code", "words"), [(700, "an illegal memory access was encountered"), (719, "unspecified launch failure")])
def test_gpu_that_failed_ends_the_process_that_used_it(
    tmp_path: Path, use: Callable[[OnnxRuntime], Any], code: int, words: str
) -> None:
    use(SmallGpu(0, RUNTIME_EXCEPTION(f"{CUDA_CALL}CUDA failure {code}: {words}{PLACE}expr=cudaGetLastError();")))
    session = session_of(save_network(tmp_path / "net.onnx", band_means()))
    with pytest.raises(DeviceLostError, match=words):
        session.outputs(random_chips(4), 4)
    assert issubclass(DeviceLostError, SystemExit)


@pytest.mark.parametrize("is_apart", [False, True])
def test_network_of_a_package_that_states_fp16_is_one_of_float16_on_a_gpu(
    tmp_path: Path, use: Callable[[OnnxRuntime], Any], is_apart: bool
) -> None:
    gpu = use(GpuOnCpu())
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights"], ["output"]),
    ]
    weights = np.random.default_rng(0).random((3, 3), np.float32) / 3  # no halves
    network = save_network(tmp_path / "net.onnx", nodes, constants={"weights": weights})
    if is_apart:
        model = onnx.load(network)
        onnx.save(model, network, save_as_external_data=True, location="net.weights", size_threshold=0)
    seen: list[set[int]] = []

    def halve(model: Any) -> Any:
        halved = OnnxRuntime.halve(gpu, model)
        seen.append({item.data_type for item in halved.graph.initializer})
        return halved

    gpu.halve = halve
    chips = random_chips(6)
    exact = session_of(network).outputs(chips, 6)
    assert not seen
    found = session_of(network, Precision="fp16").outputs(chips, 6)
    assert found.dtype == np.float32
    error = np.abs(found - exact).max()
    assert 0 < error < 3e-3
    np.testing.assert_array_equal(session_of(network, Precision="fp32").outputs(chips, 6), exact)
    np.testing.assert_array_equal(session_of(network, "CPU", Precision="fp16").outputs(chips, 6), exact)
    assert seen == [{TensorProto.FLOAT16}]


def test_network_that_cannot_be_changed_to_float16_says_so(tmp_path: Path, use: Callable[[OnnxRuntime], Any]) -> None:
    gpu = use(GpuOnCpu())
    broken = onnx.load(save_network(tmp_path / "net.onnx", band_means()))
    broken.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "twice"))
    broken.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "twice"))
    with pytest.raises(PackageError, match="float16"):
        gpu.halve(broken)


def test_page_locked_memory_is_given_back_with_its_last_view() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    taken: list[int] = []
    freed: list[int] = []

    class Runtime:
        status = 0

        def cudaHostAlloc(self, address: Any, size: ctypes.c_size_t, flags: ctypes.c_uint) -> int:  # noqa: N802
            if not self.status:
                address._obj.value = libc.malloc(size.value)
                taken.append(address._obj.value)
            return self.status

        def cudaFreeHost(self, address: ctypes.c_void_p) -> int:  # noqa: N802
            freed.append(address.value or 0)
            libc.free(address)
            return 0

    library = Runtime()
    memory = PageLockedMemory(13, lambda name: library if name == "libcudart.so.13" else None)
    array = memory.allocate((2, 3, 4, 5), np.dtype(np.float32))
    assert (array.shape, array.dtype.name, array.ctypes.data) == ((2, 3, 4, 5), "float32", taken[0])
    array[:] = 7
    view = array[1]
    del array
    gc.collect()
    assert (view.sum(), freed) == (7 * 60, [])
    del view
    gc.collect()
    assert freed == taken
    library.status = 2
    assert memory.allocate((2, 3), np.dtype(np.uint8)).shape == (2, 3)
    assert len(taken) == 1


def test_options_of_cuda_are_those_that_this_onnx_runtime_knows() -> None:
    provider = Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
    if not provider.exists():
        pytest.skip("it has no CUDA")
    content = provider.read_bytes()
    for name, value in CUDA_OPTIONS.items():
        assert name.encode() in content, name
        assert value.isdigit() or value.encode() in content, value
