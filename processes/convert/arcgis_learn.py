"""Networks of arcgis.learn's FeatureClassifier, rebuilt on torchvision and timm.

arcgis.learn puts a body and a head one behind the other: `0.…` are the weights of the body, `1.…` those of the head. On
a convolutional backbone the body is the backbone without its own head, and the head is fastai's. On a transformer of
timm the body is the whole network, and the head repeats the name of its last layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torchvision
from torch import nn

from processes.convert.timm_models import create, load
from processes.errors import PackageError

_HEAD_NORM, _HEAD_HIDDEN, _HEAD_LAST = "1.2.weight", "1.4.weight", "1.8.weight"
_WHOLE = "0.feature."
"""Before the names of backbones that arcgis.learn does not cut."""
_CUTS = {"repvgg": -2, "vgg": -2, "squeezenet": -1}
"""Where arcgis.learn cuts backbones of timm; others are cut at their last child with a pooling layer."""
_TORCHVISION = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "mobilenet_v2")

State = Mapping[str, torch.Tensor]


def is_of_arcgis_learn(state: State) -> bool:
    """Return whether weights are those of a body and a head, as arcgis.learn has them."""
    return bool(state) and all(name.startswith(("0.", "1.")) for name in state)


def rebuild(state: State, backbone: str | None, classes: int, shape: tuple[int, int, int]) -> tuple[Any, str]:
    """Return the network of some weights, and what it is in words.

    Args:
        state: the weights.
        backbone: `ModelParameters.backbone`; None = not stated.
        classes: number of classes of the package.
        shape: bands, height and width of the chips that it gets.

    Raises:
        PackageError: the backbone is not known, or the weights are not those of it.
    """
    if not backbone:
        raise PackageError('the .emd does not name the backbone: "ModelParameters": {"backbone": …}')
    network = f"FeatureClassifier of arcgis.learn on {backbone}"
    if _HEAD_LAST in state:
        module = _convolutional(state, backbone, shape)
        _require_outputs(state[_HEAD_LAST].shape[0], classes)
        load(module, _renumbered(state, module.state_dict()), network)
        return module, network
    # arcgis.learn gives this one windows for its chips
    is_swin = backbone.removeprefix("timm:").startswith("swin_")
    body = create(backbone, classes, shape, {"window_size": shape[1] // 32} if is_swin else None)
    found = {name.removeprefix("0."): tensor for name, tensor in state.items() if name.startswith("0.")}
    last = next(
        (found[name] for name in ("head.weight", "head.fc.weight", "head.linear.weight") if name in found), None
    )
    if last is not None:
        _require_outputs(last.shape[0], classes)
    load(body, found, network)
    return (_OneHead(body) if getattr(body, "head_dist", None) is not None else body), network


def _require_outputs(outputs: int, classes: int) -> None:
    if outputs != classes:
        raise PackageError(f"its network has {outputs} outputs, Classes has {classes}")


def _convolutional(state: State, backbone: str, shape: tuple[int, int, int]) -> nn.Sequential:
    """Return a body and fastai's head for as many values as the weights have."""
    if backbone in _TORCHVISION:
        body: nn.Module = _of_torchvision(backbone, shape[0])
    else:
        whole = create(backbone, None, shape)
        is_whole = any(name.startswith(_WHOLE) for name in state)
        body = _Features(whole) if is_whole else _cut(whole, backbone)
    values, hidden = state[_HEAD_NORM].shape[0], state[_HEAD_HIDDEN].shape[0]
    head = nn.Sequential(
        _ConcatPool(),
        nn.Flatten(),
        nn.BatchNorm1d(values),
        nn.Dropout(),
        nn.Linear(values, hidden),
        nn.ReLU(),
        nn.BatchNorm1d(hidden),
        nn.Dropout(),
        nn.Linear(hidden, state[_HEAD_LAST].shape[0]),
    )
    return nn.Sequential(body, head).eval()


def _of_torchvision(name: str, bands: int) -> nn.Sequential:
    net: Any = getattr(torchvision.models, name)(weights=None)
    children = list(net.children())
    body = nn.Sequential(*children[: -1 if name == "mobilenet_v2" else -2])
    if bands != 3:
        place = body[0][0] if name == "mobilenet_v2" else body
        old = place[0]
        place[0] = nn.Conv2d(bands, old.out_channels, old.kernel_size, old.stride, old.padding, bias=False)
    return body


def _cut(net: nn.Module, backbone: str) -> nn.Sequential:
    """Return a backbone without its head: all children before the last one that pools, as fastai finds it."""
    children = list(net.children())
    name = backbone.removeprefix("timm:")
    cut = next((place for key, place in _CUTS.items() if key in name), None)
    if cut is None:
        pooling = [place for place, child in enumerate(children) if _pools(child)]
        if not pooling:
            raise PackageError(f"the backbone {backbone[:80]!r} has no pooling layer at which arcgis.learn cuts it")
        cut = pooling[-1]
    return nn.Sequential(*children[:cut])


def _pools(module: nn.Module) -> bool:
    return any(type(item).__name__.endswith(("Pool1d", "Pool2d", "Pool3d")) for item in module.modules())


def _renumbered(state: State, own: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights under the numbers that the children of a body have here.

    Older versions of timm had activations as children of their own, so that the numbers behind them were higher.
    Children are matched in order where each has the same parts.
    """
    given, known = _children(state), _children(own)
    if list(given) == list(known) or [*map(tuple, given.values())] != [*map(tuple, known.values())]:
        return dict(state)
    numbers = dict(zip(given, known, strict=True))
    renamed = {}
    for name, tensor in state.items():
        number = _child(name)
        renamed[name if number is None else f"0.{numbers[number]}{name[2 + len(number) :]}"] = tensor
    return renamed


def _children(state: Mapping[str, torch.Tensor]) -> dict[str, list[str]]:
    """Return the names of the parts of each numbered child of a body, counters left out."""
    found: dict[str, list[str]] = {}
    for name in state:
        number = _child(name)
        if number is not None and not name.endswith("num_batches_tracked"):
            found.setdefault(number, []).append(name[2 + len(number) :])
    return found


def _child(name: str) -> str | None:
    parts = name.split(".", 2)
    return parts[1] if parts[0] == "0" and len(parts) > 2 and parts[1].isdecimal() else None


class _ConcatPool(nn.Module):
    """The greatest and the mean value of each feature, side by side."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.amax(values, (2, 3), keepdim=True), torch.mean(values, (2, 3), keepdim=True)], 1)


class _Features(nn.Module):
    """A backbone of timm that is used whole, up to its features."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.feature = net

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        return self.feature.forward_features(chips)


class _OneHead(nn.Module):
    """A distilled transformer of timm with the first of its two heads alone, as arcgis.learn uses it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        values = self.net.forward_features(chips)
        is_levit = type(self.net).__name__.startswith("Levit")
        return self.net.head(values.mean(dim=1) if is_levit else values[:, 0])
