"""Networks for benchmarks, with random weights: speed does not depend on what they know."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class _Graph:
    """Builds a chain of convolutions, with skips."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(0)

    def add(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.weights)}"
        values = self._rng.standard_normal(shape) * np.sqrt(2 / math.prod(shape[1:]))
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def conv(self, x: str, channels: tuple[int, int], kernel: int, stride: int = 1, relu: bool = True) -> str:
        before, after = channels
        pads = [kernel // 2] * 4
        y = self.add("Conv", [x, self.weight(after, before, kernel, kernel), self.weight(after)],
                     kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)  # fmt: skip
        return self.add("Relu", [y]) if relu else y

    def save(self, x: str, features: int, side: int, path: Path) -> None:
        """Close the graph with pooling and two logits, and write it."""
        pooled = self.add("Flatten", [self.add("GlobalAveragePool", [x])])
        self.nodes.append(helper.make_node("Gemm", [pooled, self.weight(features, 2), self.weight(2)], ["logits"]))
        graph = helper.make_graph(
            self.nodes,
            path.stem,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, side, side])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        onnx.save(model, path)


def save_small_cnn(path: Path) -> None:
    """Write a small network for chips of 64 x 64 cells: three stages, 50 million multiplications."""
    graph = _Graph()
    x = graph.conv("input", (3, 24), 3, 2)
    x = graph.conv(x, (24, 48), 3, 2)
    x = graph.conv(x, (48, 48), 3)
    x = graph.conv(x, (48, 96), 3, 2)
    x = graph.conv(x, (96, 96), 3)
    graph.save(x, 96, 64, path)


def save_resnet18(path: Path) -> None:
    """Write a ResNet-18 (He et al. 2015) for chips of 224 x 224 cells."""
    graph = _Graph()
    x = graph.add("MaxPool", [graph.conv("input", (3, 64), 7, 2)], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for stage, width in enumerate((64, 128, 256, 512)):
        for block in range(2):
            stride = 2 if stage and not block else 1
            y = graph.conv(graph.conv(x, (channels, width), 3, stride), (width, width), 3, relu=False)
            skip = x if stride == 1 and channels == width else graph.conv(x, (channels, width), 1, stride, relu=False)
            x, channels = graph.add("Relu", [graph.add("Add", [y, skip])]), width
    graph.save(x, 512, 224, path)


def save_tiny(path: Path) -> None:
    """Write a network that costs next to nothing, for chips of 16 x 16 cells."""
    graph = _Graph()
    graph.save(graph.conv("input", (3, 4), 3, 2), 4, 16, path)


def save_package(folder: Path, side: int, network: str, **keys: Any) -> Path:
    """Write a model package around one of the networks and return its folder.

    Args:
        folder: of the package.
        side: of a chip, in cells.
        network: its name.
        keys: of the `.emd`, beside the usual ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    {"small-cnn": save_small_cnn, "resnet18": save_resnet18, "tiny": save_tiny}[network](folder / f"{network}.onnx")
    definition = {
        "Framework": "ONNX",
        "ModelConfiguration": "ObjectClassification",
        "ModelType": "ObjectClassification",
        "ModelFile": f"{network}.onnx",
        "ImageHeight": side,
        "ImageWidth": side,
        "ExtractBands": [0, 1, 2],
        "Normalization": {"scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        "Activation": "softmax",
        "Classes": [{"Value": 0, "Name": "a"}, {"Value": 1, "Name": "b"}],
    }
    (folder / f"{network}.emd").write_bytes(msgspec.json.format(msgspec.json.encode(definition | keys)))
    return folder
