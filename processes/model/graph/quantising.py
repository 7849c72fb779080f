"""What a network needs before it is quantised: a new enough opset, names for its nodes, and which of them stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnx import version_converter

from processes.errors import PackageError
from processes.model.graph.training import switch_off_dropouts
from processes.model.graph.versions import lower_versions, opset_of

_LEAST_OPSET = 13
"""The first one in which channels have ranges of their own."""
_RAISED_OPSET = 17
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators with weights."""
_IS_FOLDED = ("onnx.quant.pre_process", "onnxruntime.quant")
"""By this entry of a file's metadata ONNX Runtime's tool knows that a network was prepared for it."""


def save_for_quantisation(network: Path, target: Path) -> None:
    """Write a network with all its weights, of an opset that can be quantised.

    Args:
        network: the ONNX file, which was checked.
        target: a new file.

    Raises:
        PackageError: its opset is too old, and cannot be raised.
    """
    model = onnx.load(network)
    switch_off_dropouts(model)
    lower_versions(model)
    opset = opset_of(model)
    if opset < _LEAST_OPSET:
        try:
            model = version_converter.convert_version(model, _RAISED_OPSET)
        except Exception as err:  # whatever the converter does not know
            raise PackageError(
                f"the network's ONNX opset is {opset}; int8 needs {_LEAST_OPSET} or newer: export it again"
            ) from err
    onnx.save(model, target)


def mark_layers(network: Path, kept: int) -> list[str]:
    """Name the nodes of a folded network, and return the names of those that stay: some layers, and the head.

    The head is the last layer, and what follows. It costs next to nothing, and in whole numbers of 8 bits two classes
    could get the same score.

    Args:
        network: the ONNX file; it is written anew.
        kept: how many of the first layers stay.
    """
    model: Any = onnx.load(network)
    nodes = model.graph.node
    for place, node in enumerate(nodes):
        node.name = f"{node.op_type}_{place}"
    model.metadata_props.add(key=_IS_FOLDED[0], value=_IS_FOLDED[1])
    onnx.save(model, network)
    layers = [place for place, node in enumerate(nodes) if node.op_type in _LAYERS]
    last = layers[-1] if layers else 0
    return [nodes[place].name for place in (*layers[:kept], *range(last, len(nodes)))]
