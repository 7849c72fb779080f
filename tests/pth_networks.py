"""Networks of arcgis.learn's FeatureClassifier: random weights by PyTorch's names, and what they give, in float64 numpy.

The layers are written down from torchvision's and fastai's sources. Nothing is shared with the package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pth_files import Ordered, Tensor

type Floats = NDArray[np.float64]
type Weights = dict[str, NDArray[Any]]

RESNETS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
MOBILENET = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


class RandomWeights:
    """Makes weights whose networks neither fade nor explode; without a seed all are 0."""

    def __init__(self, seed: int | None) -> None:
        self.rng = None if seed is None else np.random.default_rng(seed)
        self.weights: Weights = {}

    def convolution(self, name: str, given: int, taken: int, side: int) -> None:
        self.weights[f"{name}.weight"] = self._draw((given, taken, side, side), (2 / (taken * side * side)) ** 0.5)

    def normalization(self, name: str, channels: int) -> None:
        for part, middle in (("weight", 0.8), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            self.weights[f"{name}.{part}"] = self._draw((channels,), 0.1) + np.float32(middle)
        self.weights[f"{name}.num_batches_tracked"] = np.array(7, np.int64)

    def linear(self, name: str, given: int, taken: int) -> None:
        self.weights[f"{name}.weight"] = self._draw((given, taken), taken**-0.5)
        self.weights[f"{name}.bias"] = self._draw((given,), 0.1)

    def _draw(self, shape: tuple[int, ...], spread: float) -> NDArray[np.float32]:
        if self.rng is None:
            return np.zeros(shape, np.float32)
        return np.asarray(self.rng.standard_normal(shape, np.float32) * np.float32(spread))

    def head(self, features: int, classes: int) -> None:
        self.normalization("1.2", 2 * features)
        self.linear("1.4", 512, 2 * features)
        self.normalization("1.6", 512)
        self.linear("1.8", classes, 512)


def resnet_weights(depth: int, bands: int = 3, classes: int = 2, seed: int | None = 0) -> Weights:
    """Return the weights of a ResNet with fastai's head."""
    made = RandomWeights(seed)
    made.convolution("0.0", 64, bands, 7)
    made.normalization("0.1", 64)
    taken = 64
    for stage, (count, inner) in enumerate(zip(RESNETS[depth], (64, 128, 256, 512), strict=True)):
        given = inner if depth < 50 else 4 * inner
        for index in range(count):
            block = f"0.{stage + 4}.{index}"
            convolutions = [(inner, taken, 3), (given, inner, 3)]
            if depth >= 50:
                convolutions = [(inner, taken, 1), (inner, inner, 3), (given, inner, 1)]
            for place, (outer, before, side) in enumerate(convolutions, 1):
                made.convolution(f"{block}.conv{place}", outer, before, side)
                made.normalization(f"{block}.bn{place}", outer)
            if index == 0 and (stage or depth >= 50):
                made.convolution(f"{block}.downsample.0", given, taken, 1)
                made.normalization(f"{block}.downsample.1", given)
            taken = given
    made.head(taken, classes)
    return made.weights


def mobilenet_weights(bands: int = 3, classes: int = 2, seed: int = 0) -> Weights:
    """Return the weights of a MobileNetV2 with fastai's head."""
    made = RandomWeights(seed)

    def pair(name: str, given: int, taken: int, side: int) -> None:
        made.convolution(f"{name}.0", given, taken, side)
        made.normalization(f"{name}.1", given)

    pair("0.0.0", 32, bands, 3)
    taken, place = 32, 1
    for expansion, given, count, _ in MOBILENET:
        for _ in range(count):
            block, inner = f"0.0.{place}.conv", expansion * taken
            last = 1
            if expansion > 1:
                pair(f"{block}.0", inner, taken, 1)
                last = 2
            pair(f"{block}.{last - 1}", inner, 1, 3)
            made.convolution(f"{block}.{last}", given, inner, 1)
            made.normalization(f"{block}.{last + 1}", given)
            taken, place = given, place + 1
    pair("0.0.18", 1280, 320, 1)
    made.head(1280, classes)
    return made.weights


def state_dict(weights: Mapping[str, NDArray[Any]]) -> Ordered:
    """Return weights as PyTorch pickles them, with the versions of layers beside."""
    metadata = Ordered({"": {"version": 1}, "1.2": {"version": 2}})
    return Ordered({name: Tensor(numbers) for name, numbers in weights.items()}, {"_metadata": metadata})


def resnet_logits(weights: Weights, depth: int, cells: NDArray[Any]) -> Floats:
    """Return what a ResNet gives for normalised chips `(n, bands, height, width)`."""
    values = np.maximum(_norm(_conv(cells.astype(np.float64), weights, "0.0", 2), weights, "0.1"), 0)
    padded = np.pad(values, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    values = sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::2, ::2].max(axis=(4, 5))
    for stage, count in enumerate(RESNETS[depth]):
        for index in range(count):
            block, stride = f"0.{stage + 4}.{index}", 2 if stage and not index else 1
            before = values
            strides = (stride, 1) if depth < 50 else (1, stride, 1)
            for place, step in enumerate(strides, 1):
                values = _norm(_conv(values, weights, f"{block}.conv{place}", step), weights, f"{block}.bn{place}")
                if place < len(strides):
                    values = np.maximum(values, 0)
            if f"{block}.downsample.0.weight" in weights:
                before = _norm(
                    _conv(before, weights, f"{block}.downsample.0", stride), weights, f"{block}.downsample.1"
                )
            values = np.maximum(values + before, 0)
    return _head(values, weights)


def mobilenet_logits(weights: Weights, cells: NDArray[Any]) -> Floats:
    """Return what a MobileNetV2 gives for normalised chips `(n, bands, height, width)`."""

    def pair(values: Floats, name: str, stride: int = 1) -> Floats:
        return np.clip(_norm(_conv(values, weights, f"{name}.0", stride), weights, f"{name}.1"), 0, 6)

    values, place = pair(cells.astype(np.float64), "0.0.0", 2), 1
    for expansion, _, count, first in MOBILENET:
        for index in range(count):
            block, before = f"0.0.{place}.conv", values
            stride, last = first if index == 0 else 1, 1
            if expansion > 1:
                values, last = pair(values, f"{block}.0"), 2
            values = pair(values, f"{block}.{last - 1}", stride)
            values = _norm(_conv(values, weights, f"{block}.{last}", 1), weights, f"{block}.{last + 1}")
            if index:
                values = values + before
            place += 1
    return _head(pair(values, "0.0.18"), weights)


def _conv(values: Floats, weights: Weights, name: str, stride: int) -> Floats:
    kernel = weights[f"{name}.weight"].astype(np.float64)
    side = kernel.shape[2]
    edge = side // 2
    padded = np.pad(values, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    windows = sliding_window_view(padded, (side, side), (2, 3))[:, :, ::stride, ::stride]
    if kernel.shape[1] == 1 != values.shape[1]:  # each channel by itself
        return np.asarray(np.einsum("nchwij,cij->nchw", windows, kernel[:, 0]))
    return np.asarray(np.moveaxis(np.tensordot(windows, kernel, ([1, 4, 5], [1, 2, 3])), -1, 1))


def _norm(values: Floats, weights: Weights, name: str) -> Floats:
    scale, bias, mean, variance = (
        weights[f"{name}.{part}"].astype(np.float64).reshape(-1, *[1] * (values.ndim - 2))
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    return np.asarray((values - mean) / np.sqrt(variance + 1e-5) * scale + bias)


def _linear(values: Floats, weights: Weights, name: str) -> Floats:
    return np.asarray(values @ weights[f"{name}.weight"].astype(np.float64).T + weights[f"{name}.bias"])


def _head(values: Floats, weights: Weights) -> Floats:
    pooled = np.concatenate([values.max(axis=(2, 3)), values.mean(axis=(2, 3))], axis=1)
    hidden = np.maximum(_linear(_norm(pooled, weights, "1.2"), weights, "1.4"), 0)
    return _linear(_norm(hidden, weights, "1.6"), weights, "1.8")
