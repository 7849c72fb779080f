"""The networks of arcgis.learn's FeatureClassifier: a body of torchvision, and fastai's head.

Layers are called as in the state dict: `0.…` is the body, `1.…` the head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from processes.model.graph.building import INPUT
from processes.model.pytorch.layers import Layers

_RESNET_CHANNELS = (64, 128, 256, 512)
_RESNET_STAGES = ("0.4", "0.5", "0.6", "0.7")
_MOBILENET_V2 = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)
"""Expansion, channels, blocks and first stride of each stage, as the paper's table 2 has them."""


class Backbone(msgspec.Struct, frozen=True):
    """A body that cells go through before the head."""

    name: str
    """As torchvision calls it."""
    first: str
    """Its first weight, whose second axis is the bands."""
    features: int
    """Channels of its result."""
    append: Callable[[Layers, int], str]
    """Appends its layers for a number of bands, and returns their result."""


def append_head(layers: Layers, cells: str, features: int, hidden: int, classes: int) -> str:
    """Append fastai's head: maximum beside average, then two linear layers; return the logits.

    Args:
        layers: what it is appended to.
        cells: the body's result.
        features: channels of that.
        hidden: outputs of the first linear layer.
        classes: outputs of the last one.
    """
    graph = layers.graph
    pooled = graph.append(
        "Concat", graph.append("GlobalMaxPool", cells), graph.append("GlobalAveragePool", cells), axis=1
    )
    values = layers.normalization(graph.append("Flatten", pooled), "1.2", 2 * features)
    values = layers.relu(layers.linear(values, "1.4", (2 * features, hidden)))
    return layers.linear(layers.normalization(values, "1.6", hidden), "1.8", (hidden, classes))


def _append_resnet(blocks: tuple[int, ...], is_deep: bool, layers: Layers, bands: int) -> str:
    """Append a ResNet: of two convolutions for each block, or of three where it is deep."""
    cells = layers.convolution(INPUT, "0.0", (bands, 64), side=7, stride=2)
    cells = layers.relu(layers.normalization(cells, "0.1", 64))
    cells = layers.graph.append("MaxPool", cells, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    taken = 64
    for stage, count, inner in zip(_RESNET_STAGES, blocks, _RESNET_CHANNELS, strict=True):
        given = 4 * inner if is_deep else inner
        for index in range(count):
            stride = 2 if index == 0 and stage != _RESNET_STAGES[0] else 1
            append = _append_bottleneck if is_deep else _append_basic_block
            cells = append(layers, cells, f"{stage}.{index}", (taken, inner, given), stride)
            taken = given
    return cells


def _append_basic_block(layers: Layers, cells: str, name: str, channels: tuple[int, int, int], stride: int) -> str:
    taken, inner, given = channels
    values = layers.convolution(cells, f"{name}.conv1", (taken, inner), side=3, stride=stride)
    values = layers.relu(layers.normalization(values, f"{name}.bn1", inner))
    values = layers.convolution(values, f"{name}.conv2", (inner, given), side=3)
    values = layers.normalization(values, f"{name}.bn2", given)
    return _append_shortcut(layers, values, cells, name, (taken, given), stride)


def _append_bottleneck(layers: Layers, cells: str, name: str, channels: tuple[int, int, int], stride: int) -> str:
    """Append a block whose stride is in its second convolution, as torchvision has it, not in the first."""
    taken, inner, given = channels
    values = layers.convolution(cells, f"{name}.conv1", (taken, inner))
    values = layers.relu(layers.normalization(values, f"{name}.bn1", inner))
    values = layers.convolution(values, f"{name}.conv2", (inner, inner), side=3, stride=stride)
    values = layers.relu(layers.normalization(values, f"{name}.bn2", inner))
    values = layers.convolution(values, f"{name}.conv3", (inner, given))
    values = layers.normalization(values, f"{name}.bn3", given)
    return _append_shortcut(layers, values, cells, name, (taken, given), stride)


def _append_shortcut(layers: Layers, values: str, cells: str, name: str, channels: tuple[int, int], stride: int) -> str:
    if stride > 1 or channels[0] != channels[1]:
        cells = layers.convolution(cells, f"{name}.downsample.0", channels, stride=stride)
        cells = layers.normalization(cells, f"{name}.downsample.1", channels[1])
    return layers.relu(layers.add(values, cells))


def _append_mobilenet_v2(layers: Layers, bands: int) -> str:
    cells = _append_relu6(layers, INPUT, "0.0.0", (bands, 32), side=3, stride=2)
    taken, place = 32, 1
    for expansion, given, count, first_stride in _MOBILENET_V2:
        for index in range(count):
            stride = first_stride if index == 0 else 1
            cells = _append_inverted_block(
                layers, cells, f"0.0.{place}.conv", (taken, expansion * taken, given), stride
            )
            taken, place = given, place + 1
    return _append_relu6(layers, cells, f"0.0.{place}", (taken, 1280))


def _append_inverted_block(layers: Layers, cells: str, name: str, channels: tuple[int, int, int], stride: int) -> str:
    taken, inner, given = channels
    values, place = cells, 0
    if inner != taken:
        values, place = _append_relu6(layers, values, f"{name}.0", (taken, inner)), 1
    values = _append_relu6(layers, values, f"{name}.{place}", (inner, inner), side=3, stride=stride, groups=inner)
    values = layers.convolution(values, f"{name}.{place + 1}", (inner, given))
    values = layers.normalization(values, f"{name}.{place + 2}", given)
    return layers.add(values, cells) if stride == 1 and taken == given else values


def _append_relu6(
    layers: Layers, cells: str, name: str, channels: tuple[int, int], side: int = 1, stride: int = 1, groups: int = 1
) -> str:
    """Append a convolution, a batch normalisation and a rectifier that ends at 6."""
    values = layers.convolution(cells, f"{name}.0", channels, side, stride, groups)
    return layers.relu6(layers.normalization(values, f"{name}.1", channels[1]))


def _resnet(depth: int, blocks: tuple[int, ...], is_deep: bool) -> Backbone:
    append = partial(_append_resnet, blocks, is_deep)
    return Backbone(f"resnet{depth}", "0.0.weight", 2048 if is_deep else 512, append)


BACKBONES: Mapping[str, Backbone] = {
    item.name: item
    for item in (
        _resnet(18, (2, 2, 2, 2), False),
        _resnet(34, (3, 4, 6, 3), False),
        _resnet(50, (3, 4, 6, 3), True),
        _resnet(101, (3, 4, 23, 3), True),
        _resnet(152, (3, 8, 36, 3), True),
        Backbone("mobilenet_v2", "0.0.0.0.weight", 1280, _append_mobilenet_v2),
    )
}
"""The bodies that are known, by name."""
