"""All nodes and tensors of an ONNX model, also those of branches, loops and functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx


def all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of the graph, of its subgraphs and of the model's functions."""
    yield from with_inner_nodes(model.graph.node)
    for function in model.functions:
        yield from with_inner_nodes(function.node)


def with_inner_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield nodes, and those of the subgraphs in their attributes."""
    for node in nodes:
        yield node
        for graph in _subgraphs(node):
            yield from with_inner_nodes(graph.node)


def inner_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield the constants that are no initializers of the graph itself."""
    yield from _sparse_parts(model.graph.sparse_initializer)
    for node in all_nodes(model):
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            yield from _sparse_parts((attribute.sparse_tensor, *attribute.sparse_tensors))
        for graph in _subgraphs(node):
            yield from graph.initializer
            yield from _sparse_parts(graph.sparse_initializer)


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _sparse_parts(tensors: Iterable[onnx.SparseTensorProto]) -> Iterator[onnx.TensorProto]:
    for tensor in tensors:
        yield from (tensor.values, tensor.indices)
