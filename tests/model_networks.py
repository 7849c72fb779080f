"""Networks whose answer is known by hand, and what the check of a package finds of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from conftest import definition
from processes.model.check import CheckOutcome
from processes.model.check_process import check

MAX_BYTES = 2**30
NORMALIZATION = {"scale": 1 / 255, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}
THREE = [{"Value": value, "Name": f"class {value}"} for value in range(3)]


def save_network(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    *,
    shape: Sequence[Any] = ("n", 3, 8, 8),
    element: int = TensorProto.FLOAT,
    outputs: Sequence[onnx.ValueInfoProto] | None = None,
    constants: dict[str, Any] | None = None,
    opset: int = 17,
    ir_version: int = 8,
    domains: Sequence[str] = (),
) -> Path:
    """Write a network from `input` to `output`."""
    made = helper.make_graph(
        list(nodes),
        "made",
        [helper.make_tensor_value_info("input", element, list(shape))],
        list(outputs or [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", "classes"])]),
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(made, opset_imports=imports)
    model.ir_version = ir_version
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def put_weights_beside(network: Path) -> Path:
    """Move the tensor `weights` of a network to a file of its own, as PyTorch's exporter does; return that file."""
    model = onnx.load(network)
    (tensor,) = (item for item in model.graph.initializer if item.name == "weights")
    data = network.with_name(f"{network.name}.data")
    data.write_bytes(numpy_helper.to_array(tensor).tobytes())
    set_external_data(tensor, data.name)
    tensor.ClearField("raw_data")
    onnx.save(model, network)
    return data


def band_means(axes: Sequence[int] = (2, 3), into: str = "output", cast: bool = False) -> list[onnx.NodeProto]:
    """Return nodes whose answer is each band's mean: three logits of three bands."""
    first = [helper.make_node("Cast", ["input"], ["cells"], to=TensorProto.FLOAT)] if cast else []
    source = "cells" if cast else "input"
    return [*first, helper.make_node("ReduceMean", [source], [into], axes=list(axes), keepdims=0)]


def endless(path: Path) -> Path:
    """Write a network that never comes to an end."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"])],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("go_on", TensorProto.BOOL, [])],
    )
    nodes = [
        helper.make_node("Shape", ["input"], ["shape"]),
        helper.make_node("ReduceMin", ["shape"], ["least"], keepdims=0),
        helper.make_node("Greater", ["least", "zero"], ["positive"]),
        helper.make_node("Loop", ["steps", "positive"], ["left"], body=_with_state(body)),
        helper.make_node("Mul", ["means", "left"], ["output"]),
    ]
    constants = {"steps": np.array(2**62), "zero": np.array(0), "start": np.array(1, np.float32)}
    nodes[3].input.append("start")
    return save_network(path, [*band_means(into="means"), *nodes], constants=constants)


def _with_state(body: onnx.GraphProto) -> onnx.GraphProto:
    """Give the body of a loop a value that it hands on."""
    body.node.append(helper.make_node("Mul", ["value", "value"], ["next"]))
    body.input.append(helper.make_tensor_value_info("value", TensorProto.FLOAT, []))
    body.output.append(helper.make_tensor_value_info("next", TensorProto.FLOAT, []))
    return body


def hungry(path: Path, cells: int) -> Path:
    """Write a network that writes so many numbers of four bytes for each chip of a batch, on its way to the means."""
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["all"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["all", "one"], ["column"]),
        helper.make_node("Expand", ["column", "shape"], ["wide"]),
        helper.make_node("ReduceMean", ["wide"], ["same"], axes=[1], keepdims=1),
        *band_means(into="means"),
        helper.make_node("Add", ["means", "same"], ["output"]),
    ]
    return save_network(path, nodes, constants={"one": np.array([1]), "shape": np.array([1, cells])})


def make_folder(network: Path, **changes: Any) -> Path:
    """Make the folder of a network into a package and return it."""
    keys = definition(**({"Classes": THREE, "ModelFile": network.name, "Activation": None} | changes))
    (network.parent / "made.emd").write_text(json.dumps(keys))
    return network.parent


def checked(network: Path, **changes: Any) -> CheckOutcome:
    """Return what the check of a package finds, made in this process."""
    folder = make_folder(network, **changes)
    outcome = check(folder, folder.parent / "unpacked", MAX_BYTES).outcome
    assert outcome.problem is None or str(folder.parent) not in outcome.problem
    return outcome


def problem_of(network: Path, **changes: Any) -> str:
    problem = checked(network, **changes).problem
    assert problem is not None
    return problem
