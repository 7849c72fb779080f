"""Quantised networks in ONNX's form QDQ: a pair of operators rounds values to 8 bits and gives them back as float32.

Runtimes compute what lies between two pairs with whole numbers.
"""

from __future__ import annotations

import onnx

_QUANTISE, _DEQUANTISE = "QuantizeLinear", "DequantizeLinear"


def has_quantisation(model: onnx.ModelProto) -> bool:
    """Return whether a network has such a pair."""
    return bool(_pairs(model.graph))


def without_quantisation(model: onnx.ModelProto) -> None:
    """Take the pairs out of a network: what is left is computed in float32.

    Weights that were stored as whole numbers, and not rounded by a pair, stay as they are.
    """
    graph = model.graph
    pairs = _pairs(graph)
    sources = {second.output[0]: first.input[0] for first, second in pairs}
    outputs = {value.name for value in graph.output}
    for first, second in pairs:
        if second.output[0] in outputs:  # the name of an output stays
            source = _source(first.input[0], sources)
            second.CopyFrom(onnx.helper.make_node("Identity", [source], [second.output[0]]))
        else:
            graph.node.remove(second)
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = _source(name, sources)
    used = {name for node in graph.node for name in node.input}
    for first, _ in pairs:
        if first in graph.node and first.output[0] not in used:
            graph.node.remove(first)


def _source(name: str, sources: dict[str, str]) -> str:
    while name in sources:
        name = sources[name]
    return name


def _pairs(graph: onnx.GraphProto) -> list[tuple[onnx.NodeProto, onnx.NodeProto]]:
    """Return the operators that round, each with one that takes its result and gives float32 back."""
    rounding = {node.output[0]: node for node in graph.node if node.op_type == _QUANTISE}
    return [
        (rounding[node.input[0]], node)
        for node in graph.node
        if node.op_type == _DEQUANTISE and node.input[0] in rounding
    ]
