"""Networks that state newer versions than they need are opened, and what needs newer ones says what to export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from model_networks import THREE, checked, problem_of, save_network
from processes.model.definition import parse_definition
from processes.model.session import Session, SessionKey
from tables import each_row

PLAIN: dict[str, Any] = {"Normalization": "none", "Classes": THREE}
NEWEST_OPSET, NEWEST_IR = 26, 13
"""That the locked ONNX Runtime takes."""


def node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), output.split(), **attributes)


MEANS = node("ReduceMean", "input axes", "means", keepdims=0)
AXES = {"axes": np.array([2, 3])}


def with_function(path: Path, opset: int, ir_version: int) -> Path:
    network = save_network(
        path, [MEANS, helper.make_node("Twice", ["means"], ["output"], domain="own")],
        constants=AXES, opset=opset, ir_version=ir_version, domains=["own"],
    )  # fmt: skip
    model = onnx.load(network)
    nodes = [node("Cast", "x", "f", to=TensorProto.FLOAT), node("Add", "f f", "y")]
    imports = [helper.make_opsetid("", opset)]
    model.functions.append(helper.make_function("own", "Twice", ["x"], ["y"], nodes, imports))
    onnx.save(model, network)
    return network


FAMILY: dict[str, tuple[list[onnx.NodeProto], int, int]] = {
    # onnx 1.23.2 states IR 14 by default, which onnxruntime 1.31.1 refuses; opset 21 as in the case
    "case": ([MEANS, node("Identity", "means", "output")], 21, 14),
    "defaults-of-onnx": ([MEANS, node("Softmax", "means", "output")], 28, 14),
    "opset-27": ([MEANS, node("Neg", "means", "output")], 27, 13),
    "cast-of-28": ([MEANS, node("Cast", "means", "d", to=11), node("Cast", "d", "output", to=1)], 28, 14),
    "old-opset": ([node("ReduceMean", "input", "output", axes=[2, 3], keepdims=0)], 13, 14),
    "reshaped": ([MEANS, node("Flatten", "means", "f"), node("Identity", "f", "output")], 28, 14),
    "space-to-depth-without-its-new-mode": (
        [node("SpaceToDepth", "input", "s", blocksize=8), node("Flatten", "s", "f"), node("Slice", "f zero three one", "output")],
        28,
        14,
    ),
}  # fmt: skip


@each_row("name", FAMILY)
def test_network_that_needs_nothing_new_is_opened(tmp_path: Path, name: str) -> None:
    nodes, opset, ir_version = FAMILY[name]
    constants = {"zero": np.array([0]), "three": np.array([3]), "one": np.array([1])} | AXES
    network = save_network(tmp_path / "net.onnx", nodes, constants=constants, opset=opset, ir_version=ir_version)
    compare(network)


def compare(network: Path) -> None:
    """Compare the network's answers with those of onnx's own evaluator; onnxruntime by itself refuses the file."""
    with pytest.raises(Exception, match=r"Unsupported model IR version|under development"):
        onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    outcome = checked(network, **PLAIN)
    if "Slice" in {item.op_type for item in onnx.load(network).graph.node}:  # cuts the columns, not the rows
        return
    assert outcome.problem is None
    parsed = parse_definition((network.parent / "made.emd").read_bytes())
    chips = np.random.default_rng(1).integers(0, 256, (5, 3, 8, 8), np.uint8)
    found = Session(SessionKey(network, "0" * 64, parsed, "none", "CPU", 1)).outputs(chips)
    expected: Any = ReferenceEvaluator(onnx.load(network)).run(None, {"input": chips.astype(np.float32)})
    np.testing.assert_allclose(found, expected[0], rtol=1e-5)


def test_functions_of_the_network_are_lowered_too(tmp_path: Path) -> None:
    compare(with_function(tmp_path / "net.onnx", 28, 14))


@each_row(
    ("nodes", "opset", "ir_version", "words"),
    [
        (
            [MEANS, node("SwiGLU", "means means", "output")],
            28,
            14,
            f"export it with opset {NEWEST_OPSET} and IR version {NEWEST_IR}, or older ones",
        ),
        (
            [MEANS, node("Mod", "means means", "output", fmod=1)],
            28,
            14,
            f"export it with opset {NEWEST_OPSET} and IR version {NEWEST_IR}, or older ones",
        ),
        (
            [MEANS, node("Neg", "means", "output")],
            99,
            8,
            f"export it with opset {NEWEST_OPSET} and IR version {NEWEST_IR}, or older ones",
        ),
        ([MEANS, node("Neg", "means", "output")], 21, 99, f"export it with IR version {NEWEST_IR} or older"),
    ],
)
def test_network_that_needs_what_is_new_says_what_to_export(
    tmp_path: Path, nodes: list[onnx.NodeProto], opset: int, ir_version: int, words: str
) -> None:
    network = save_network(tmp_path / "net.onnx", nodes, constants=AXES, opset=opset, ir_version=ir_version)
    problem = problem_of(network, **PLAIN)
    assert problem.startswith("the network cannot be opened: its ")
    assert words in problem
