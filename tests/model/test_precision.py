"""In which precision a network is computed, and what is said where that is not the one that its package states."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from conftest import definition
from gpu_rehearsal import GpuOnCpu
from model_networks import NORMALIZATION, THREE, band_means, checked, save_network
from processes.classify.label_files import copy_labels, gather_labels, labels_of, save_labels
from processes.classify.labels import unlabelled
from processes.model.arguments import read_arguments
from processes.model.definition import parse_definition
from processes.model.graph.network import load_network
from processes.model.graph.quantised import without_quantisation
from processes.model.runtime import runtimes
from processes.model.runtime.onnx_runtime import OnnxRuntime
from processes.model.runtime.openvino_runtime import OpenVino
from processes.model.runtime.runtime import Precision, Processor
from processes.model.session import Session, SessionKey
from tables import each_row

STEP = 16
"""What the network below rounds cells to."""


@pytest.fixture
def onnx_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be no OpenVINO, and a CPU in the place of a GPU."""
    monkeypatch.setattr(runtimes, "RUNTIMES", (GpuOnCpu(),))


def save_rounding(path: Path, **options: Any) -> Path:
    """Write a network that gives the means of cells, rounded to steps: three logits of three bands."""
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "step", "zero"], ["whole"]),
        helper.make_node("DequantizeLinear", ["whole", "step", "zero"], ["rounded"]),
        helper.make_node("ReduceMean", ["rounded"], ["output"], axes=[2, 3], keepdims=0),
    ]
    constants = {"step": np.array(STEP, np.float32), "zero": np.array(0, np.uint8)}
    return save_network(path, nodes, constants=constants, **options)


def session_of(network: Path, processor: Processor, precision: Precision | None) -> Session:
    keys = definition(Classes=THREE, Normalization="none", Precision=precision)
    return Session(SessionKey(network, "0" * 64, parse_definition(json.dumps(keys).encode()), "none", processor, 1))


def chips_of(*values: int) -> Any:
    return np.stack([np.full((3, 8, 8), value, np.uint8) for value in values])


@each_row(
    ("processor", "precision", "computed", "expected"),
    [
        ("CPU", "int8", "int8", [16, 48]),
        ("CPU", None, "fp32", [16, 48]),  # as the network is
        ("CPU", "fp32", "fp32", [16, 48]),
        ("GPU", "int8", "fp32", [20, 41]),  # it has none: the network without its rounding
    ],
)
def test_quantised_network_is_computed_so_where_the_processor_can(
    tmp_path: Path, onnx_alone: None, processor: Processor, precision: Precision | None, computed: str, expected: Any
) -> None:
    session = session_of(save_rounding(tmp_path / "net.onnx"), processor, precision)
    assert session.precision == computed
    assert session.outputs(chips_of(20, 41)).tolist() == [[value] * 3 for value in expected]


@each_row(
    ("precision", "processor", "reason"),
    [
        (None, "CPU", None),
        ("fp32", "GPU", None),
        ("int8", "CPU", None),
        ("fp16", "GPU", None),
        ("fp16", "CPU", "ONNX Runtime has no fp16 on CPUs"),
        ("int8", "GPU", "ONNX Runtime has no int8 on GPUs"),
        ("bf16", "GPU", "ONNX Runtime has no bf16 on GPUs"),
    ],
)
def test_what_a_machine_lacks_is_said(
    onnx_alone: None, precision: Precision | None, processor: Processor, reason: str | None
) -> None:
    found = runtimes.precision_warning(precision, processor)
    assert found == (reason and f"Precision is {precision}, but {reason}: the network runs in fp32")


@each_row(("flags", "has_bf16"), [("avx2 avx512f", False), ("avx2 avx512_bf16", True), ("amx_bf16 avx2", True)])
def test_cpu_with_bf16_is_known_by_its_instructions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, has_bf16: bool
) -> None:
    monkeypatch.setattr("processes.model.runtime.openvino_runtime._is_installed", lambda: True)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    info = tmp_path / flags.replace(" ", "-")
    info.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: none\n")
    found = OpenVino(info).missing_precision("bf16", "CPU")
    assert found == (None if has_bf16 else "this machine's CPU has no bf16")
    assert OpenVino(info).missing_precision("int8", "CPU") is None
    assert OpenVino(tmp_path / "none").missing_precision("bf16", "CPU") == "this machine's CPU has no bf16"
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert OpenVino(info).missing_precision("int8", "CPU") == "OpenVINO is used for bf16 and int8 on x86 CPUs alone"


def test_openvino_is_asked_first_for_its_precisions_and_for_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processes.model.runtime.openvino_runtime._is_installed", lambda: True)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    kinds = {precision: type(runtimes.choose_runtime("CPU", precision)) for precision in ("fp32", "int8")}
    assert kinds == {"fp32": OnnxRuntime, "int8": OpenVino}
    monkeypatch.setattr("processes.model.runtime.openvino_runtime._is_installed", lambda: False)
    assert isinstance(runtimes.choose_runtime("CPU", "int8"), OnnxRuntime)
    reason = "ONNX Runtime has no bf16 on CPUs, and OpenVINO is not installed"
    assert runtimes.missing_precision("bf16", "CPU") == reason


@each_row(
    ("precision", "make", "words"),
    [
        ("int8", lambda path: save_network(path, band_means()), "no layer of the network is quantised (`classify-obj"),
        ("bf16", lambda path: save_network(path, band_means(cast=True), element=2), "the network takes uint8"),
        ("int8", save_rounding, None),
        ("fp32", save_rounding, None),
    ],
)
def test_check_says_which_precision_a_network_cannot_have(
    tmp_path: Path, precision: str, make: Callable[[Path], Path], words: str | None
) -> None:
    outcome = checked(make(tmp_path / "made" / "net.onnx"), Normalization=NORMALIZATION, Precision=precision)
    assert outcome.problem is None
    told = [warning for warning in outcome.warnings if warning.startswith(f"Precision is {precision}, but ")]
    assert len(told) == (words is not None)
    assert words is None or words in told[0]


def test_network_without_its_quantisation_has_its_own_weights(tmp_path: Path) -> None:
    """Pairs may follow each other, share what they take, and end in an output; whole numbers stay."""
    weights = np.array([[0.3, 0.7], [0.1, 0.9]], np.float32)
    nodes = [
        helper.make_node("QuantizeLinear", ["weights", "step", "zero"], ["whole"]),
        helper.make_node("DequantizeLinear", ["whole", "step", "zero"], ["once"]),
        helper.make_node("QuantizeLinear", ["once", "step", "zero"], ["whole_again"]),
        helper.make_node("DequantizeLinear", ["whole_again", "step", "zero"], ["twice"]),
        helper.make_node("DequantizeLinear", ["stored", "step", "zero"], ["of_stored"]),
        helper.make_node("Add", ["twice", "of_stored"], ["sum"]),
        helper.make_node("ReduceMax", ["input"], ["most"], keepdims=0),
        helper.make_node("Mul", ["sum", "most"], ["product"]),
        helper.make_node("QuantizeLinear", ["product", "step", "zero"], ["whole_product"]),
        helper.make_node("DequantizeLinear", ["whole_product", "step", "zero"], ["output"]),
    ]
    constants = {"weights": weights, "step": np.float32(1), "zero": np.uint8(0), "stored": np.full((2, 2), 2, np.uint8)}
    model, network = load_network(save_network(tmp_path / "net.onnx", nodes, constants=constants), (8, 8))
    assert network.is_quantised
    without_quantisation(model)
    onnx.checker.check_model(model)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds == ["DequantizeLinear", "Add", "ReduceMax", "Mul", "Identity"]
    run = OnnxRuntime().open(model.SerializeToString(), None, "CPU", 1)
    found = run(np.full((1, 3, 8, 8), 4, np.float32), ["output"])[0]
    np.testing.assert_allclose(found, (weights + 2) * 4, rtol=1e-6)  # type: ignore[call-overload]
    assert numpy_helper.to_array(model.graph.initializer[0]).tolist() == weights.tolist()


def test_sentences_travel_with_labels(tmp_path: Path) -> None:
    parsed = parse_definition(json.dumps(definition()).encode())
    arguments, _ = read_arguments({}, parsed, "")
    made, gathered, joined = (unlabelled(3, parsed, arguments) for _ in range(3))
    made.warnings.update(("one, of more", "two"))
    save_labels(tmp_path / "labels", np.arange(3), labels_of(made, np.arange(3)))
    gather_labels(tmp_path / "labels", gathered)
    copy_labels(joined, np.arange(3), gathered)
    assert joined.warnings == {"one, of more", "two"}
