"""What an ONNX classifier takes and gives."""

from __future__ import annotations

from math import prod
from pathlib import Path

import msgspec
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from processes.errors import PackageError
from processes.model.graph.quantised import has_quantisation
from processes.model.graph.training import count_active_dropouts, require_evaluation_mode
from processes.model.graph.weights import require_weights

_DTYPES: dict[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.DOUBLE: "float64",
    TensorProto.UINT8: "uint8",
}
ELEMENTS = {name: element for element, name in _DTYPES.items()}
"""ONNX's types of numbers that an input can have, by numpy's name."""
_FLOATS = ("float32", "float16", "float64")
_LABELS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool", "string")
_RESHAPES = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
"""Operators that change neither values nor their order."""
_MOVES = (*_RESHAPES, "Transpose", "Resize", "Pad", "Slice", "Split", "Gather", "Clip")
"""Operators behind which cells are still cells."""
_SCALES = (
    *("Add", "Sub", "Mul", "Div", "QuantizeLinear", "DynamicQuantizeLinear", "DequantizeLinear"),
    *("BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization", "LpNormalization"),
    "MeanVarianceNormalization",
)
_SHOWN_CHARACTERS = 80


class NetworkOutput(msgspec.Struct, frozen=True):
    """An output of an ONNX network, as the graph states it."""

    name: str
    kind: str
    """What its values are: `float32`, `int64`, `string`, …"""
    shape: tuple[int | str, ...] | None
    """The extents of its axes, a name where one is free; None = not stated."""
    source: str | None
    """The operator that makes its values: those of `ArgMax` are places in a list, from 0; None = not known."""

    @property
    def is_float(self) -> bool:
        """Whether scores can stand in it at all."""
        return self.kind in _FLOATS

    @property
    def is_sorted(self) -> bool:
        """Whether its values are in the order of their size, so that their places say no class."""
        return self.source == "TopK"

    def may_be_scores(self, classes: int, batch: int | None) -> bool:
        """Return whether type and shape allow as many numbers per chip as classes, or one for two classes.

        Args:
            classes: number of classes.
            batch: chips of one call; None = any number.
        """
        if not self.is_float:
            return False
        if self.shape is None:
            return True
        axes = self.shape[1:] if len(self.shape) > 1 or batch != 1 else self.shape  # a single chip may lack its axis
        widths = [axis for axis in axes if isinstance(axis, int)]
        return len(widths) < len(axes) or prod(widths) == classes or (prod(widths) == 1 and classes == 2)

    def may_be_labels(self, batch: int | None) -> bool:
        """Return whether type and shape allow one label per chip; `batch` is the chips of one call, None = any."""
        if self.kind not in _LABELS or (self.shape == () and batch != 1):
            return False
        return self.shape is None or all(not isinstance(axis, int) or axis == 1 for axis in self.shape[1:])

    def __str__(self) -> str:
        """Return name, type and shape for a message."""
        shape = "" if self.shape is None else f" ({', '.join(map(str, self.shape))})"
        return f"{self.name[:_SHOWN_CHARACTERS]!r} {self.kind}{shape}{' sorted by size' if self.is_sorted else ''}"


class Network(msgspec.Struct, frozen=True):
    """The input and the outputs of an ONNX network."""

    input_name: str
    outputs: tuple[NetworkOutput, ...]
    """In their order, at least one."""
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
    has_weight_files: bool
    """True: weights lie in files beside the ONNX file."""
    prepares_cells: bool
    """True: it shifts or scales the cells itself, as far as its first operators tell."""
    active_dropouts: int
    """How many nodes would drop values by chance; the preparation switches them off."""
    is_quantised: bool = False
    """True: it has layers for whole numbers of 8 bits (ONNX's form QDQ)."""

    @property
    def size(self) -> tuple[int | None, int | None]:
        """Height and width that it takes."""
        return self.height, self.width


def load_network(path: Path, chip: tuple[int, int] | None) -> tuple[onnx.ModelProto, Network]:
    """Read an ONNX file.

    Args:
        path: the file.
        chip: height and width of the chips that it gets, in cells: they decide the order of the input's axes; None =
            whatever size it takes.

    Raises:
        PackageError: not ONNX, not a network that takes images, one in training mode, or one whose weights are missing.
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
    if not all(isinstance(value.name, str) for value in (*inputs, *graph.output)):  # bytes, where they are not UTF-8
        raise PackageError("the network is not an ONNX file")
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
    channels_last = _is_channels_last(shape, chip)
    batch, bands, height, width = (shape[i] for i in ((0, 3, 1, 2) if channels_last else (0, 1, 2, 3)))
    require_evaluation_mode(model)
    return model, Network(
        input_name=inputs[0].name,
        outputs=_outputs(graph),
        dtype=dtype,
        channels_last=channels_last,
        batch=batch,
        bands=bands,
        height=height,
        width=width,
        has_weight_files=require_weights(model, path.parent),
        prepares_cells=dtype == "uint8" or _prepares_cells(graph, inputs[0].name),
        active_dropouts=count_active_dropouts(model),
        is_quantised=has_quantisation(model),
    )


def _outputs(graph: onnx.GraphProto) -> tuple[NetworkOutput, ...]:
    producers = {name: node for node in graph.node for name in node.output}
    return tuple(
        NetworkOutput(value.name, _kind(value.type), _shape(value.type), _source(value.name, producers))
        for value in graph.output
    )


def _prepares_cells(graph: onnx.GraphProto, cells: str) -> bool:
    """Return whether an operator that takes the cells shifts or scales them; of a function nobody knows."""
    names = {cells}
    for node in graph.node:
        if names.isdisjoint(node.input):
            continue
        if node.op_type in _SCALES or node.domain not in ("", "ai.onnx"):
            return True
        if node.op_type in _MOVES:
            names.update(node.output)
    return False


def _kind(value: onnx.TypeProto) -> str:
    if value.HasField("sequence_type"):
        return "list of dictionaries" if value.sequence_type.elem_type.HasField("map_type") else "list"
    if not value.HasField("tensor_type"):
        return "no tensor"
    element = value.tensor_type.elem_type
    return _DTYPES.get(element) or _element_name(element)


def _shape(value: onnx.TypeProto) -> tuple[int | str, ...] | None:
    if not value.HasField("tensor_type") or not value.tensor_type.HasField("shape"):
        return None
    axes = value.tensor_type.shape.dim
    return tuple(_extent(axis) or (str(axis.dim_param)[:_SHOWN_CHARACTERS] or "?") for axis in axes)


def _source(name: str, producers: dict[str, onnx.NodeProto]) -> str | None:
    node = producers.get(name)
    for _ in producers:  # a circle has no end
        if node is None or node.op_type not in (*_RESHAPES, "QuantizeLinear", "DequantizeLinear") or not node.input:
            break
        node = producers.get(node.input[0])
    return None if node is None else node.op_type


def _is_channels_last(shape: list[int | None], chip: tuple[int, int] | None) -> bool:
    if chip is None:  # two axes of one size are height and width
        first, last = shape[2] == shape[3], shape[1] == shape[2]
        return last if first != last else shape[1] is not None and shape[3] is not None and shape[3] < shape[1]

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
