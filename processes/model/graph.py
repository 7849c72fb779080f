"""The ONNX graph: its input and output, and the preparation of chips that is put in front of it.

The only home of `onnx`. Chips enter the graph as they were cut, `(n, bands, height, width)`, and the graph normalises
them: numpy would need a third of a small network's time for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from processes.errors import PackageError
from processes.model.normalization import Normalization

_DTYPES = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.DOUBLE: "float64",
    TensorProto.UINT8: "uint8",
}
_ELEMENTS = {name: element for element, name in _DTYPES.items()}
_SCORES = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_CHIPS = "classify_objects_chips"
_MIN_OPSET = 7  # since this one Mul and Add broadcast as numpy does

ChipDtype = Literal["uint8", "float32"]


@dataclass(frozen=True, slots=True)
class Network:
    """The input and the output of an ONNX classifier."""

    input_name: str
    output_name: str
    """The output that holds the scores."""
    dtype: str
    """Of the input: float16, float32, float64 or uint8."""
    channels_last: bool
    """True: the input is `(n, height, width, bands)`. False: `(n, bands, height, width)`."""
    batch: int | None
    """Chips of one call; None = any number."""
    bands: int | None
    """None = any number."""
    height: int | None
    """In cells; None = any."""
    width: int | None
    """In cells; None = any."""
    output_rank: int | None
    """2 for `(n, classes)`, 1 for `(classes,)` of a single chip; None = not stated."""
    external_data: bool
    """True: weights lie in files beside the ONNX file."""


def load(path: Path, chip_height: int, chip_width: int) -> tuple[onnx.ModelProto, Network]:
    """Read an ONNX file.

    Args:
        path: the file.
        chip_height: of the definition, in cells; height and width decide the order of the input's axes.
        chip_width: of the definition, in cells.

    Raises:
        PackageError: not ONNX, or not an image classifier: one input of rank 4, an output of scores (the first one
            of floats, as some exporters put the label before them).
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError, RecursionError) as err:
        raise PackageError("the network is not an ONNX file") from err
    except OSError as err:
        raise PackageError("the network's file cannot be read") from err
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer} | {item.values.name for item in graph.sparse_initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1 or not graph.output:
        raise PackageError(f"the network has {len(inputs)} inputs and {len(graph.output)} outputs, not one of each")
    tensor = inputs[0].type.tensor_type
    dtype = _DTYPES.get(tensor.elem_type)
    if dtype is None:
        raise PackageError(
            f"the network's input is {_element_name(tensor.elem_type)}; "
            "float32, float16, float64 and uint8 are supported"
        )
    shape = [_extent(axis) for axis in tensor.shape.dim]
    if len(shape) != 4:
        raise PackageError(f"the network's input has {len(shape)} axes, not the four of a batch of images")
    channels_last = _is_channels_last(shape, (chip_height, chip_width))
    batch, bands, height, width = (shape[i] for i in ((0, 3, 1, 2) if channels_last else (0, 1, 2, 3)))
    output = next((value for value in graph.output if value.type.tensor_type.elem_type in _SCORES), None)
    if output is None:
        raise PackageError("the network has no output of float32, float16 or float64: no scores")
    if not isinstance(inputs[0].name, str) or not isinstance(output.name, str):  # bytes, where they are not UTF-8
        raise PackageError("the network is not an ONNX file")
    _require_weights_in_graph(model)
    return model, Network(
        input_name=inputs[0].name,
        output_name=output.name,
        dtype=dtype,
        channels_last=channels_last,
        batch=batch,
        bands=bands,
        height=height,
        width=width,
        output_rank=len(output.type.tensor_type.shape.dim) if output.type.tensor_type.HasField("shape") else None,
        external_data=any(tensor.data_location == TensorProto.EXTERNAL for tensor in graph.initializer),
    )


def with_preparation(
    model: onnx.ModelProto, network: Network, normalization: Normalization | None, dtype: ChipDtype
) -> bytes:
    """Return the serialised model with the preparation of chips in front: cast, normalisation, order of axes.

    Args:
        model: the ONNX model; it is changed, and must not be used afterwards.
        network: its input and output.
        normalization: None = the network takes cells as they are.
        dtype: of the chips, `(n, bands, height, width)`, that the result takes.

    Raises:
        PackageError: the model is of an old opset.
    """
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)
    if opset < _MIN_OPSET:
        raise PackageError(f"the network's ONNX opset is {opset}; {_MIN_OPSET} or newer is needed: convert it")
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
        for kind, values in (("Mul", normalization.scale), ("Add", normalization.offset)):
            name = f"{_CHIPS}_{kind}"
            per_band = np.asarray(values, np.float32).reshape(-1, 1, 1)
            graph.initializer.append(numpy_helper.from_array(per_band, name))
            append(kind, name)
    if network.dtype != (dtype if normalization is None else "float32"):
        if network.dtype == "uint8":
            _round_to_bytes(graph, append, opset)
        append("Cast", to=_ELEMENTS[network.dtype])
    if network.channels_last:
        append("Transpose", perm=[0, 2, 3, 1])
    append("Identity")
    nodes[-1].output[0] = network.input_name
    for node in reversed(nodes):
        graph.node.insert(0, node)
    former = next(value for value in graph.input if value.name == network.input_name)
    graph.input.remove(former)
    shape = [network.batch or "n", network.bands or "bands", network.height or "height", network.width or "width"]
    graph.input.append(helper.make_tensor_value_info(_CHIPS, _ELEMENTS[dtype], shape))
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


def _require_weights_in_graph(model: onnx.ModelProto) -> None:
    """Raise PackageError where weights other than initializers lie in a file: the runtime would open any path."""
    tensors = [tensor for function in model.functions for node in function.node for tensor in _tensors_of(node)]
    tensors += [tensor for node in model.graph.node for tensor in _tensors_of(node)]
    tensors += [part for item in model.graph.sparse_initializer for part in (item.values, item.indices)]
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in tensors):
        raise PackageError("the network keeps constants of its nodes in another file; save it in one file")


def _tensors_of(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    for attribute in node.attribute:
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from graph.initializer
            yield from (part for item in graph.sparse_initializer for part in (item.values, item.indices))
            for inner in graph.node:
                yield from _tensors_of(inner)


def _is_channels_last(shape: list[int | None], chip: tuple[int, int]) -> bool:
    def fits(axes: list[int | None]) -> bool:
        return all(axis in (None, size) for axis, size in zip(axes, chip, strict=True))

    if fits(shape[2:4]) or fits(shape[1:3]):
        return not fits(shape[2:4])
    return shape[1] is not None and shape[3] is not None and shape[3] < shape[1]


def _extent(axis: onnx.TensorShapeProto.Dimension) -> int | None:
    return int(axis.dim_value) if axis.HasField("dim_value") and axis.dim_value > 0 else None


def _element_name(element: int) -> str:
    elements = TensorProto.DataType.values()
    return str(TensorProto.DataType.Name(element)).lower() if element and element in elements else "of no known type"
