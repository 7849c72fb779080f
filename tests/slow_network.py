"""Networks whose answer is known and whose time is chosen, for tests of jobs that take a while."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_WIDTH = 256
"""Side of the matrix that is multiplied again and again."""


def save_slow_network(path: Path, repeats: int) -> Path:
    """Write a network with the logits (0, mean of all cells), as `save_mean_network` has it, that takes its time.

    Args:
        path: a new file.
        repeats: matrices that a chip is multiplied with; each takes some 2 µs on one core.
    """
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "one"], ["column"]),
        helper.make_node("Expand", ["column", "shape"], ["wide0"]),
    ]
    nodes += [
        helper.make_node("MatMul", [f"wide{number}", "matrix"], [f"wide{number + 1}"]) for number in range(repeats)
    ]
    nodes += [
        helper.make_node("ReduceMean", [f"wide{repeats}"], ["same"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["same", "weights"], ["logits"]),
    ]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, "height", "width"])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])]
    constants = {
        "one": np.array([1]),
        "shape": np.array([1, _WIDTH]),
        "matrix": np.eye(_WIDTH, dtype=np.float32),
        "weights": np.array([[0, 1]], np.float32),
    }
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "slow", inputs, outputs, tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
