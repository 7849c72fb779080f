# mypy: disable-error-code="import-not-found,untyped-decorator,unused-ignore"
"""Write files of arcgis.learn's FeatureClassifier with PyTorch itself, and what PyTorch says of some chips.

    python -m venv ENV && ENV/bin/pip install torch torchvision
    ENV/bin/python tests/model/pytorch/make_pth.py FOLDER          the small files of tests/model/pytorch/data
    ENV/bin/python tests/model/pytorch/make_pth.py FOLDER CHIPS    large ones, of all networks

CHIPS is a .npy of normalised chips `(n, 4, height, width)`, float32. Each `NAME.pth` has a `NAME.npz` beside it: `chips`,
PyTorch's `logits`, and `exact`, the same computed in float64. `PTH_FOLDER=FOLDER pytest tests/model/pytorch/test_files_of_torch.py` compares them. PyTorch is
never in the environment of the service or of its tests.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import nn

HIDDEN = 512
SHARED_NUMBERS = 3072
"""Numbers of a storage that weights of a small file share."""
SHARED_STRIDES = (1, 1, 3, 7)


class AdaptiveConcatPool(nn.Module):  # type: ignore[misc] # torch is not there where types are checked
    """fastai's pooling: the maximum beside the average."""

    def forward(self, cells: Any) -> Any:
        return torch.cat([nn.functional.adaptive_max_pool2d(cells, 1), nn.functional.adaptive_avg_pool2d(cells, 1)], 1)


def feature_classifier(backbone: str, bands: int, classes: int) -> Any:
    """Return the network that arcgis.learn trains: `create_body` and `create_head` of fastai 1."""
    network = getattr(torchvision.models, backbone)(weights=None)
    is_mobile = backbone == "mobilenet_v2"
    body = nn.Sequential(*list(network.children())[: -1 if is_mobile else -2])
    if bands != 3:
        _take_bands(body, bands)
    features = 2 * (1280 if is_mobile else network.fc.in_features)
    head = nn.Sequential(
        AdaptiveConcatPool(),
        nn.Flatten(),
        nn.BatchNorm1d(features),
        nn.Dropout(0.25),
        nn.Linear(features, HIDDEN),
        nn.ReLU(inplace=True),
        nn.BatchNorm1d(HIDDEN),
        nn.Dropout(0.5),
        nn.Linear(HIDDEN, classes),
    )
    return nn.Sequential(body, head).eval()


def _take_bands(body: Any, bands: int) -> None:
    """Put another first convolution into a body, as arcgis.learn does for multispectral images."""
    name, first = next((name, item) for name, item in body.named_modules() if isinstance(item, nn.Conv2d))
    *parents, own = name.split(".")
    parent = body
    for item in parents:
        parent = getattr(parent, item)
    setattr(
        parent, own, nn.Conv2d(bands, first.out_channels, first.kernel_size, first.stride, first.padding, bias=False)
    )


@torch.no_grad()
def give_random_weights(network: Any, seed: int) -> None:
    """Give a network weights with which it neither fades nor explodes, and statistics as training leaves them."""
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, generator=generator)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.weight.uniform_(0.5, 1.0, generator=generator)
            layer.bias.uniform_(-0.2, 0.2, generator=generator)
            layer.running_mean.uniform_(-0.2, 0.2, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)


@torch.no_grad()
def give_shared_weights(network: Any, seed: int) -> None:
    """Let the weights be parts of a few storages that overlap, so that the file is small."""
    base = torch.randn(SHARED_NUMBERS, generator=torch.Generator().manual_seed(seed))
    storages: dict[tuple[float, float], Any] = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        if not tensor.is_floating_point():
            continue
        fan = tensor[0].numel() if tensor.ndim > 1 else 0
        spread = 2.0 ** round(math.log2((1 / fan) ** 0.5)) if fan else 0.05
        middle = 0.0 if fan or name.endswith(("bias", "mean")) else 0.8
        shared = storages.setdefault((spread, middle), base * spread + middle)
        tensor.data = torch.as_strided(shared, tensor.shape, SHARED_STRIDES[: tensor.ndim])


def state_of(network: Any, with_optimiser: bool) -> Any:
    """Return what fastai 1 saves, after a step of training of the last layer, whose learning rate is numpy's."""
    if not with_optimiser:
        return network.state_dict()
    last = network[1][8]
    optimiser = torch.optim.AdamW(last.parameters(), lr=float(np.geomspace(1e-6, 1e-5, 3)[1]))
    last(torch.ones(1, HIDDEN)).sum().backward()
    optimiser.step()
    for group in optimiser.param_groups:
        group["lr"], group["betas"] = np.geomspace(1e-6, 1e-5, 3)[1], (np.float64(0.95), 0.99)
    return {"model": network.state_dict(), "opt": optimiser.state_dict()}


@torch.no_grad()
def logits_of(network: Any, chips: Any) -> Any:
    """Return the logits of chips, some at a time."""
    return torch.cat([network(part) for part in torch.from_numpy(chips).split(16)])


@torch.no_grad()
def let_every_class_win(network: Any, chips: Any) -> None:
    """Change the last layer, which gets a storage of its own, so that the logits of each class have mean 0 and spread 1."""
    last, logits = network[1][8], logits_of(network, chips)
    spreads = logits.std(dim=0)
    last.weight = nn.Parameter(last.weight / spreads[:, None])
    last.bias = nn.Parameter((last.bias - logits.mean(dim=0)) / spreads)


def write(path: Path, network: Any, chips: Any, *, is_zip: bool, with_optimiser: bool) -> None:
    """Write a file in the form since PyTorch 1.6 or before, and the logits of chips beside it."""
    bands = next(iter(network.parameters())).shape[1]
    chips = np.ascontiguousarray(chips[:, :bands])
    let_every_class_win(network, chips)
    torch.save(state_of(network, with_optimiser), path, _use_new_zipfile_serialization=is_zip)
    logits, exact = logits_of(network, chips), logits_of(network.double(), chips.astype(np.float64))
    np.savez_compressed(path.with_suffix(".npz"), chips=chips, logits=logits.numpy(), exact=exact.numpy())


def main(folder: Path, chips: Path | None) -> None:
    """Write small files, or large ones for chips."""
    folder.mkdir(parents=True, exist_ok=True)
    if chips is None:
        few = np.random.default_rng(0).standard_normal((6, 4, 32, 32)).astype(np.float32)
        for name, bands, is_zip in (("resnet18", 3, True), ("mobilenet_v2", 4, False)):
            network = feature_classifier(name, bands, 3)
            give_shared_weights(network, bands)
            write(folder / f"{name}-small.pth", network, few, is_zip=is_zip, with_optimiser=is_zip)
        return
    variants = ((3, 2, True, False), (4, 5, False, True), (4, 2, True, True))
    for name in ("resnet18", "mobilenet_v2", "resnet34", "resnet50", "resnet101", "resnet152"):
        for bands, classes, is_zip, with_optimiser in variants[: 1 if name in ("resnet101", "resnet152") else 3]:
            network = feature_classifier(name, bands, classes)
            give_random_weights(network, bands + classes)
            target = folder / f"{name}-{bands}-{classes}-{'zip' if is_zip else 'stream'}{'-opt' * with_optimiser}.pth"
            write(target, network, np.load(chips), is_zip=is_zip, with_optimiser=with_optimiser)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
