"""Networks in OpenVINO; skipped where the extra is not installed. `make test-openvino` has an environment with it."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper

from conftest import definition
from model_networks import NORMALIZATION, THREE, band_means, put_weights_beside, save_network
from processes.errors import PackageError
from processes.model.definition import parse_definition
from processes.model.runtime.openvino_runtime import OpenVino
from processes.model.runtime.runtimes import choose_runtime
from processes.model.session import Session, SessionKey

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="the extra openvino is not installed")
HAS_BF16 = OpenVino().missing_precision("bf16", "CPU") is None


def rounding(step: float) -> tuple[list[Any], dict[str, Any]]:
    """Return a network that rounds what it takes to steps, and means the bands."""
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "step", "zero"], ["whole"]),
        helper.make_node("DequantizeLinear", ["whole", "step", "zero"], ["rounded"]),
        helper.make_node("ReduceMean", ["rounded"], ["output"], axes=[2, 3], keepdims=0),
    ]
    return nodes, {"step": np.array(step, np.float32), "zero": np.array(128, np.uint8)}


def session_of(network: Path, callers: int = 1, **changes: Any) -> Session:
    keys = definition(**({"Classes": THREE, "Normalization": "none", "Precision": "int8"} | changes))
    parsed = parse_definition(json.dumps(keys).encode())
    return Session(SessionKey(network, "0" * 64, parsed, "none", "CPU", 1, callers=callers))


def random_chips(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 8, 8), np.uint8)


def rounded_means(chips: NDArray[Any], step: float) -> NDArray[Any]:
    """Return what that network gives for chips that are normalised."""
    scale, mean, std = (
        np.reshape(np.asarray(NORMALIZATION[name], float), (-1, 1, 1)) for name in ("scale", "mean", "std")
    )
    return np.asarray((np.rint((chips * scale - mean) / std / step) * step).mean(axis=(2, 3)))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("layout", ["bands first", "bands last", "weights apart"])
def test_quantised_network_gives_what_its_steps_say(tmp_path: Path, dtype: str, layout: str) -> None:
    nodes, constants = rounding(1 / 16)
    shape: tuple[Any, ...] = ("n", 3, 8, 8)
    if layout == "bands last":
        nodes[2] = helper.make_node("ReduceMean", ["rounded"], ["output"], axes=[1, 2], keepdims=0)
        shape = ("n", 8, 8, 3)
    if layout == "weights apart":
        nodes.append(helper.make_node("MatMul", ["means", "weights"], ["output"]))
        nodes[2].output[0] = "means"
        constants["weights"] = np.eye(3, dtype=np.float32)
    network = save_network(tmp_path / "net.onnx", nodes, constants=constants, shape=shape)
    if layout == "weights apart":
        put_weights_beside(network)
    session = session_of(network, Normalization=NORMALIZATION)
    assert isinstance(choose_runtime("CPU", session.precision), OpenVino)
    chips = random_chips(5)
    found = session.outputs(chips.astype(dtype))
    # a cell that lies between two steps may be rounded to either
    np.testing.assert_allclose(found, rounded_means(chips, 1 / 16), atol=1 / 16 / 64 + 1e-5)


def test_threads_share_a_network_and_none_gets_the_answer_of_another(tmp_path: Path) -> None:
    nodes, constants = rounding(1)
    session = session_of(save_network(tmp_path / "net.onnx", nodes, constants=constants), callers=3)
    values = np.arange(60, dtype=np.uint8)
    batches = [np.full((1 + value % 5, 3, 8, 8), value, np.uint8) for value in values]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(session.outputs, batches))
    for value, outputs in zip(values, found, strict=True):
        assert outputs.tolist() == [[value] * 3] * (1 + value % 5)


def test_network_that_openvino_cannot_open_is_named_without_its_source_files(tmp_path: Path) -> None:
    nodes = [helper.make_node("Unheard", ["input"], ["cells"], domain="nobody.knows"), *band_means()]
    nodes[1].input[0] = "cells"
    quantised = [*rounding(1)[0][:2], *nodes]
    quantised[2].input[0] = "rounded"
    network = save_network(tmp_path / "net.onnx", quantised, constants=rounding(1)[1], domains=["nobody.knows"])
    with pytest.raises(PackageError, match=r"the network cannot be opened: .*Unheard") as caught:
        session_of(network).outputs(random_chips(1))
    assert ".cpp" not in caught.value.detail


def test_bf16_is_what_is_computed_or_an_error(tmp_path: Path) -> None:
    """OpenVINO takes the wish for bf16 on any CPU, and computes in float32 where there is none."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(64, 192)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights"], ["output"], transB=1),
    ]
    network = save_network(tmp_path / "net.onnx", nodes, constants={"weights": weights})
    chips = rng.random((4, 3, 8, 8), np.float32)
    opened = OpenVino().open
    if not HAS_BF16:
        with pytest.raises(PackageError, match="OpenVINO would compute in f32, not in bf16"):
            opened(network.read_bytes(), None, "CPU", 1, "bf16")
        return
    (found,) = opened(network.read_bytes(), None, "CPU", 1, "bf16")(chips, ["output"])
    (exact,) = opened(network.read_bytes(), None, "CPU", 1, "int8")(chips, ["output"])  # of which nothing is quantised
    np.testing.assert_allclose(exact, chips.reshape(4, -1) @ weights.T, atol=1e-4)  # type: ignore[call-overload]
    assert 1e-4 < np.abs(np.asarray(found) - np.asarray(exact)).max() < 0.5


def test_first_calls_of_several_threads_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """Each makes tables of types in OpenVINO, whose lock one holds and all wait for, with the interpreter's lock."""
    network = save_network(tmp_path / "net.onnx", band_means())
    script = (
        "import sys, threading; from concurrent.futures import ThreadPoolExecutor; import numpy as np; "
        "from processes.model.runtime.openvino_runtime import OpenVino; sys.setswitchinterval(1e-6); "
        f"run = OpenVino().open(open({str(network)!r}, 'rb').read(), None, 'CPU', 1, 'int8', 16); "
        "start = threading.Barrier(16); chips = np.ones((2, 3, 8, 8), np.float32); "
        "found = list(ThreadPoolExecutor(16).map(lambda _: (start.wait(), run(chips, ['output']))[1][0], range(16))); "
        "print(np.stack(found).shape)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "(16, 2, 3)"


def test_openvino_reports_no_usage(tmp_path: Path) -> None:
    network = save_network(tmp_path / "net.onnx", band_means())
    script = (
        "import sys; from processes.model.runtime.openvino_runtime import OpenVino; "
        f"OpenVino().open(open({str(network)!r}, 'rb').read(), None, 'CPU', 1, 'int8'); "
        "print('openvino' in sys.modules, sys.modules['openvino_telemetry'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "None"]
