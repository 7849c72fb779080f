"""The preparation of chips that is put in front of a network.

Chips enter the graph as they were cut, `(n, bands, height, width)`, and the graph normalises them: numpy would need a
third of a small network's time for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from processes.model.graph.network import ELEMENTS, Network
from processes.model.graph.training import switch_off_dropouts
from processes.model.graph.versions import lower_versions, opset_of

_CHIPS = "classify_objects_chips"

ChipDtype = Literal["uint8", "float32"]


def with_preparation(
    model: onnx.ModelProto,
    network: Network,
    normalization: tuple[Sequence[float], Sequence[float]] | None,
    dtype: ChipDtype,
) -> bytes:
    """Return the serialised model with the preparation of chips in front: cast, normalisation, order of axes.

    Args:
        model: the ONNX model; it is changed, and must not be used afterwards.
        network: its input and output.
        normalization: factor of each band, and what is added to each after that; None = the network takes cells as they
            are.
        dtype: of the chips, `(n, bands, height, width)`, that the result takes.

    Raises:
        PackageError: the model is of an old opset.
    """
    lower_versions(model)
    switch_off_dropouts(model)
    graph = model.graph
    nodes: list[onnx.NodeProto] = []
    current = _CHIPS

    def append(kind: str, *constants: str, **attributes: Any) -> None:
        nonlocal current
        result = f"{_CHIPS}_{len(nodes)}"
        nodes.append(helper.make_node(kind, [current, *constants], [result], **attributes))
        current = result

    if normalization is not None:
        append("Cast", to=TensorProto.FLOAT)
        for kind, values in zip(("Mul", "Add"), normalization, strict=True):
            name = f"{_CHIPS}_{kind}"
            per_band = np.asarray(values, np.float32).reshape(-1, 1, 1)
            graph.initializer.append(numpy_helper.from_array(per_band, name))
            append(kind, name)
    if network.dtype != (dtype if normalization is None else "float32"):
        if network.dtype == "uint8":
            _round_to_bytes(graph, append, opset_of(model))
        append("Cast", to=ELEMENTS[network.dtype])
    if network.channels_last:
        append("Transpose", perm=[0, 2, 3, 1])
    append("Identity")
    nodes[-1].output[0] = network.input_name
    for node in reversed(nodes):
        graph.node.insert(0, node)
    former = next(value for value in graph.input if value.name == network.input_name)
    graph.input.remove(former)
    shape = [network.batch or "n", network.bands or "bands", network.height or "height", network.width or "width"]
    graph.input.append(helper.make_tensor_value_info(_CHIPS, ELEMENTS[dtype], shape))
    return bytes(model.SerializeToString())


def _round_to_bytes(graph: onnx.GraphProto, append: Callable[..., None], opset: int) -> None:
    """Round halves up and clip to 0..255. A cast alone cuts the fraction off, and its result for 256 is undefined."""
    least, most = 0.0, 255.0
    has_limits_as_inputs = opset >= 11  # before, they were attributes of Clip
    constants = {"half": 0.5} | ({"least": least, "most": most} if has_limits_as_inputs else {})
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), f"{_CHIPS}_{name}"))
    append("Add", f"{_CHIPS}_half")
    append("Floor")
    if has_limits_as_inputs:
        append("Clip", f"{_CHIPS}_least", f"{_CHIPS}_most")
    else:
        append("Clip", min=least, max=most)
