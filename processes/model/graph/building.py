"""A new ONNX network, made of operators one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_OPSET = 17
_IR_VERSION = 8

INPUT = "input"
"""The name of a network's input, `(n, bands, height, width)`."""


class _Operator(msgspec.Struct, frozen=True):
    kind: str
    inputs: tuple[str, ...]
    result: str
    attributes: dict[str, Any]


class GraphBuilder:
    """Operators of a network that is being made, in their order."""

    def __init__(self) -> None:
        self._operators: list[_Operator] = []
        self._constants: dict[str, float] = {}

    def append(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append an operator and return the name of its result.

        Args:
            kind: of the operator, as ONNX calls it.
            inputs: names of results, of weights, or `INPUT`.
            attributes: of the operator.
        """
        result = f"{kind.lower()}_{len(self._operators)}"
        self._operators.append(_Operator(kind, inputs, result, attributes))
        return result

    def constant(self, value: float) -> str:
        """Return the name of a single number of float32."""
        name = f"constant_{value:g}"
        self._constants[name] = value
        return name

    def save(self, path: Path, bands: int, outputs: int, weights: Iterable[tuple[str, NDArray[np.float32]]]) -> None:
        """Write the network. Its output is the result of the last operator, `(n, outputs)`.

        Args:
            path: the ONNX file.
            bands: of the input, float32, of any height and width.
            outputs: number of values for each chip.
            weights: name and numbers of each, taken one by one.
        """
        nodes = [helper.make_node(item.kind, item.inputs, [item.result], **item.attributes) for item in self._operators]
        last = self._operators[-1].result
        graph = helper.make_graph(
            nodes,
            "network",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", bands, "height", "width"])],
            [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["n", outputs])],
            [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in self._constants.items()],
        )
        for name, numbers in weights:
            graph.initializer.append(numpy_helper.from_array(numbers, name))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
        onnx.save(model, path)
