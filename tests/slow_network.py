"""Networks whose answer is known and whose time is chosen, for tests of jobs that take a while."""

from __future__ import annotations

import functools
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

_WIDTH = 256
"""Side of the matrix that is multiplied again and again."""


def save_slow_network(path: Path, chip_ms: float) -> Path:
    """Write a network with the logits (0, mean of all cells), as `save_mean_network` has it, that takes its time.

    Args:
        path: a new file.
        chip_ms: milliseconds that it takes for a chip on one core of this machine, about, and at the least.
    """
    onnx.save(_network(max(1, round(chip_ms / _repeat_ms()))), path)
    return path


@functools.cache
def _repeat_ms() -> float:
    """Return how long one multiplication of a chip takes here, in milliseconds, when nothing else is done."""
    repeats, chips = 200, np.zeros((64, 3, 8, 8), np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    content = _network(repeats).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    times_s = []
    for _ in range(10):
        start_s = time.perf_counter()
        session.run(None, {"input": chips})
        times_s.append(time.perf_counter() - start_s)
    return min(times_s) * 1000 / len(chips) / repeats


def _network(repeats: int) -> onnx.ModelProto:
    """Return a network that multiplies each chip with so many matrices, one after the other."""
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
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
