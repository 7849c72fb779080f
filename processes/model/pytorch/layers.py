"""Layers of PyTorch as operators of ONNX, in evaluation mode, with the shapes that their weights must have."""

from __future__ import annotations

from processes.model.graph.building import GraphBuilder

_EPSILON = 1e-5
"""PyTorch's default of batch normalisation."""


class Layers:
    """A network that is being made of layers. Each takes and returns the name of a result of the graph."""

    def __init__(self) -> None:
        self.graph = GraphBuilder()
        self.shapes: dict[str, tuple[int, ...]] = {}
        """The shape of each weight that the layers need, by its name in the state dict."""
        self.counters: set[str] = set()
        """Names that a state dict has beside the weights, or has not: nothing depends on them."""

    def convolution(
        self, cells: str, name: str, channels: tuple[int, int], side: int = 1, stride: int = 1, groups: int = 1
    ) -> str:
        """Append a convolution without bias, padded so that stride 1 keeps height and width.

        Args:
            cells: what it is applied to.
            name: of the layer in the state dict.
            channels: that it takes and gives.
            side: of its kernel, in cells.
            stride: along both axes, in cells.
            groups: of channels that are convolved apart.
        """
        taken, given = channels
        weight = self._weight(f"{name}.weight", given, taken // groups, side, side)
        padding = [side // 2] * 4
        return self.graph.append("Conv", cells, weight, strides=[stride, stride], pads=padding, group=groups)

    def normalization(self, values: str, name: str, channels: int) -> str:
        """Append a batch normalisation by the running statistics; arguments as `convolution` has them."""
        self.counters.add(f"{name}.num_batches_tracked")
        weights = [
            self._weight(f"{name}.{part}", channels) for part in ("weight", "bias", "running_mean", "running_var")
        ]
        return self.graph.append("BatchNormalization", values, *weights, epsilon=_EPSILON)

    def linear(self, values: str, name: str, channels: tuple[int, int]) -> str:
        """Append a linear layer with bias; arguments as `convolution` has them."""
        taken, given = channels
        weight, bias = self._weight(f"{name}.weight", given, taken), self._weight(f"{name}.bias", given)
        return self.graph.append("Gemm", values, weight, bias, transB=1)

    def relu(self, values: str) -> str:
        """Append a rectifier."""
        return self.graph.append("Relu", values)

    def relu6(self, values: str) -> str:
        """Append a rectifier that ends at 6."""
        return self.graph.append("Clip", values, self.graph.constant(0), self.graph.constant(6))

    def add(self, values: str, others: str) -> str:
        """Append a sum."""
        return self.graph.append("Add", values, others)

    def _weight(self, name: str, *shape: int) -> str:
        self.shapes[name] = shape
        return name
