"""Networks that were exported in training mode: their nodes do something else than in use."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import TensorProto

from processes.errors import PackageError
from processes.model.graph.nodes import all_nodes

_MODE = 2
"""Place of a Dropout's input `training_mode`."""


def require_evaluation_mode(model: onnx.ModelProto) -> None:
    """Raise PackageError where a node normalises each batch by itself: a label would depend on its neighbours.

    ONNX states that by the attribute `training_mode` of BatchNormalization; a function hands it on to its nodes.
    """
    attributes = [node.attribute for node in all_nodes(model)]
    attributes += [function.attribute_proto for function in model.functions]
    count = sum(_has_training_mode(item) for item in attributes)
    if count:
        raise PackageError(
            f"the network was exported in training mode: {count} of its nodes (BatchNormalization) normalise by the "
            "chips that share a batch, so that labels would depend on them; export it in evaluation mode"
        )


def _has_training_mode(attributes: Iterable[onnx.AttributeProto]) -> bool:
    return any(item.name == "training_mode" and item.i for item in attributes)


def count_active_dropouts(model: onnx.ModelProto) -> int:
    """Return how many Dropout nodes are stated to be in training mode: they would drop values by chance."""
    true = {tensor.name for tensor in model.graph.initializer if _is_true(tensor)}
    for node in all_nodes(model):
        if node.op_type == "Constant" and any(_is_true(item.t) for item in node.attribute):
            true.update(node.output)
    return sum(len(node.input) > _MODE and node.input[_MODE] in true for node in _dropouts(model))


def switch_off_dropouts(model: onnx.ModelProto) -> None:
    """Let all Dropout nodes hand on what they get, as in evaluation mode."""
    for node in _dropouts(model):
        del node.input[_MODE:]


def _dropouts(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in all_nodes(model) if node.op_type == "Dropout" and node.domain in ("", "ai.onnx")]


def _is_true(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type == TensorProto.BOOL and (tensor.raw_data == b"\x01" or list(tensor.int32_data) == [1])
