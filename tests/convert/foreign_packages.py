"""Writes packages with networks of Keras and PyTorch, and what these frameworks give for real chips.

    .venv/convert/bin/python tests/convert/foreign_packages.py FOLDER CHIPS.npy NAME…

It runs in the environment of the converters, and shares no code with them: networks are put together as arcgis.learn
does it. For each name there is a folder with a package, and a file `NAME.npy` with probabilities `(n, 2)` for the chips,
which are `(n, 3, side, side)`, bytes as they are cut. Weights are drawn at random, and the last layer is set so that half
of the chips have each label.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import timm
import torch
import torchvision
from keras import layers
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLASSES = [{"Value": 1, "Name": "first", "Color": [255, 0, 0]}, {"Value": 2, "Name": "second", "Color": [0, 0, 255]}]
ARCGIS = {"Framework": "arcgis.learn.models._inferencing", "ModelConfiguration": "_FeatureClassifier"}

Chips = NDArray[np.uint8]
Probabilities = NDArray[np.float32]


def normalised(chips: Chips) -> torch.Tensor:
    """Return chips as arcgis.learn gives them to its networks."""
    mean, std = (torch.tensor(item).reshape(-1, 1, 1) for item in (MEAN, STD))
    return (torch.from_numpy(chips).float() / 255 - mean) / std


def run(net: nn.Module, values: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([net(values[n : n + 16]) for n in range(0, len(values), 16)])


def scores(net: nn.Module, values: torch.Tensor) -> Probabilities:
    return np.asarray(run(net, values).softmax(1).numpy())


def calibrate(net: nn.Module, last: nn.Linear, values: torch.Tensor) -> nn.Module:
    """Set the statistics of a network to those of chips, and its last layer so that both labels occur."""
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None
    for name, parameter in net.named_parameters():
        if name.rpartition(".")[2].startswith("gamma"):
            nn.init.constant_(parameter, 0.3)  # at first a block has next to no effect: labels would hang on rounding
    net.train()
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    with torch.no_grad():
        for start in range(0, 48, 16):
            net(values[start : start + 16])
        net.eval()
        last.weight.normal_()
        difference = run(net, values) @ torch.tensor([-1.0, 1.0])
        scale = 2 / difference.std()
        last.weight.mul_(scale)
        last.bias.zero_()
        last.bias[1] = -(run(net, values) @ torch.tensor([-1.0, 1.0])).quantile(0.5)
    return net


def write(folder: Path, name: str, file: str, chips: Chips, **keys: Any) -> Path:
    """Write the .emd of a package, and return the path of its network."""
    package = folder / name
    package.mkdir(parents=True, exist_ok=True)
    side = chips.shape[2]
    emd = {"ModelFile": file, "ModelType": "ObjectClassification", "ImageHeight": side, "ImageWidth": side}
    emd |= {"ExtractBands": [0, 1, 2], "CropSizeFixed": 1, "BlackenAroundFeature": 0, "Classes": CLASSES} | keys
    (package / f"{name}.emd").write_text(json.dumps(emd))
    return package / file


def head(features: int) -> nn.Sequential:
    """Return fastai's head; the pool is made in `Joined`."""
    return nn.Sequential(
        nn.Identity(),
        nn.Identity(),
        nn.BatchNorm1d(2 * features),
        nn.Identity(),
        nn.Linear(2 * features, 512),
        nn.ReLU(),
        nn.BatchNorm1d(512),
        nn.Identity(),
        nn.Linear(512, 2),
    )


class Joined(nn.Sequential):
    """A body and a head; maxima come before means."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        features = self[0](values)
        pooled = torch.cat([features.amax((2, 3)), features.mean((2, 3))], 1)
        return self[1](pooled)


class Feature(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.feature = net

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.feature.forward_features(values)


CONVOLUTIONAL: Mapping[str, int | None] = {
    "resnet18": -2,
    "mobilenet_v2": -1,
    "timm:repvgg_a0": 2,
    "timm:tresnet_m": None,
    "timm:mobilenetv3_large_100": 3,
    "timm:efficientnet_b0": 5,
    "timm:densenet121": 1,
    "timm:regnetx_002": 6,
    "timm:hrnet_w18_small": None,
}
"""Backbones, and how many of their children arcgis.learn takes; None = all of it. Of others that is found by fastai's
rule."""

TRANSFORMERS = (
    *("vit_tiny_patch16_224", "deit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "cait_xxs24_224", "pit_ti_224"),
    *("pit_ti_distilled_224", "levit_128s", "coat_tiny", "convit_tiny", "tnt_s_patch16_224", "twins_svt_small"),
    "visformer_small",
)


def children_before_pooling(net: nn.Module) -> int:
    """Return how many children of a network fastai takes: those before the last one that has a pooling layer."""
    children = list(net.children())
    has_pool = [any(re.search(r"Pool[123]d$", type(item).__name__) for item in child.modules()) for child in children]
    return len(children) - 1 - has_pool[::-1].index(True)


def convolutional(name: str, folder: Path, chips: Chips) -> Probabilities:
    """Write a FeatureClassifier on a convolutional backbone."""
    backbone = name.replace("-", ":", 1)
    if backbone.startswith("timm:"):
        whole = timm.create_model(backbone.removeprefix("timm:"), pretrained=False)
    else:
        whole = getattr(torchvision.models, backbone)(weights=None)
    cut = CONVOLUTIONAL[backbone] if backbone in CONVOLUTIONAL else children_before_pooling(whole)
    body = Feature(whole) if cut is None else nn.Sequential(*list(whole.children())[:cut])
    values = normalised(chips)
    with torch.no_grad():
        features = body.eval()(values[:2]).shape[1]
    net = Joined(body, head(features))
    calibrate(net, net[1][8], values)
    keys = ARCGIS | {"ModelParameters": {"backbone": backbone, "backend": "pytorch"}}
    path = write(folder, name, "net.pth", chips, **keys)
    torch.save({"model": net.state_dict(), "opt": {"lr": np.float64(1e-3)}}, path)
    return scores(net, values)


class FirstHead(nn.Module):
    """A distilled network with the first of its heads alone."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        found = self.net.forward_features(values)
        return self.net.head(found.mean(1) if "Levit" in type(self.net).__name__ else found[:, 0])


def transformer(name: str, folder: Path, chips: Chips) -> Probabilities:
    """Write a FeatureClassifier on a transformer of timm."""
    side = chips.shape[2]
    more = {"window_size": side // 32} if name.startswith("swin") else {}
    net = timm.create_model(name, pretrained=False, num_classes=2, img_size=side, **more)
    used: Any = FirstHead(net) if getattr(net, "head_dist", None) is not None else net
    last = next(module for module in reversed(list(net.head.modules())) if isinstance(module, nn.Linear))
    values = normalised(chips)
    calibrate(used, last, values)
    state = {f"0.{key}": value for key, value in net.state_dict().items()}
    state |= {f"1.head.{key}": value for key, value in net.head.state_dict().items()}
    keys = ARCGIS | {"ModelParameters": {"backbone": f"timm:{name}", "backend": "pytorch"}}
    torch.save({"model": state, "opt": {}}, write(folder, name, "net.pth", chips, **keys))
    return scores(used, values)


def safetensors(name: str, folder: Path, chips: Chips) -> Probabilities:
    """Write weights of timm as timm saves them, with its config.json."""
    net = timm.create_model("mobilenetv3_small_050", pretrained=False, num_classes=2)
    values = normalised(chips)
    calibrate(net, net.classifier, values)
    path = write(folder, name, "model.safetensors", chips)
    save_file(net.state_dict(), path)
    settings = {"architecture": "mobilenetv3_small_050", "num_classes": 2, "pretrained_cfg": {"mean": MEAN, "std": STD}}
    path.with_name("config.json").write_text(json.dumps(settings))
    return scores(net, values)


def script(name: str, folder: Path, chips: Chips) -> Probabilities:
    """Write a traced or a scripted network, which takes cells as they are."""
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(64, 2),
    )
    values = torch.from_numpy(chips).float()
    calibrate(net, net[6], values)
    made = torch.jit.trace(net, values[:1]) if name == "traced" else torch.jit.script(net)
    made.save(str(write(folder, name, "net.pt", chips, Normalization="none")))
    return scores(net, values)


def keras_model(name: str, folder: Path, chips: Chips) -> Probabilities:
    """Write a network of Keras 3; `free` takes any size, and has layers for training alone."""
    side = None if name == "free" else chips.shape[2]
    given = keras.Input((side, side, 3))
    values = layers.RandomFlip()(given) if name == "free" else given
    values = layers.Rescaling(1 / 255)(values)
    values = layers.Conv2D(12, 3, strides=2, padding="same", activation="relu")(values)
    values = layers.DepthwiseConv2D(3, padding="same")(values)
    pooled = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(values))
    last = layers.Dense(2, activation="softmax")
    model = keras.Model(given, last(layers.Dropout(0.2)(pooled)))
    taken = chips.transpose(0, 2, 3, 1).astype(np.float32)
    features = np.asarray(keras.Model(given, pooled).predict(taken, verbose=0))
    kernel = np.random.default_rng(4).normal(size=(features.shape[1], 2))
    kernel *= 2 / (features @ kernel @ [-1, 1]).std()
    last.set_weights([kernel, np.array([0, -np.median(features @ kernel @ [-1, 1])])])
    ending = ".h5" if name == "keras-h5" else ".keras"
    model.save(write(folder, name, f"net{ending}", chips, Framework="Keras", ModelConfiguration="KerasClassifier"))
    return np.asarray(model.predict(taken, verbose=0), np.float32)


class Own(layers.Layer):
    """A layer that Keras does not know."""

    def call(self, values: Any) -> Any:
        return values


class Code:
    """What runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


def refused(name: str, folder: Path, chips: Chips) -> Probabilities:
    """Write a package that is not converted; code in it would write the file `ran` in the folder."""
    ran = folder / "ran"
    ending = {"lambda": ".h5", "custom": ".keras", "weights": ".h5", "broken": ".keras"}.get(name, ".pth")
    keys: dict[str, Any] = {"ModelParameters": {"backbone": "timm:repvgg_a1" if name == "swapped" else "prithvi"}}
    path = write(folder, name, f"net{ending}", chips, **keys)
    side = chips.shape[2]
    match name:
        case "lambda" | "custom" | "weights":
            command = f"touch {ran}"
            written = layers.Lambda(lambda item: item if os.system(command) == 0 else None)  # noqa: S605
            odd = {"lambda": written, "custom": Own()}.get(name)
            given = keras.Input((side, side, 3))
            values = given if odd is None else odd(given)
            model = keras.Model(given, layers.Dense(2)(layers.GlobalAveragePooling2D()(values)))
            if name == "weights":
                model.save_weights(path.with_suffix(".weights.h5"))
                path.with_suffix(".weights.h5").rename(path)
            else:
                model.save(path)
        case "pickled":
            torch.save({"model": Code(f"touch {ran}")}, path)
        case "broken":
            path.write_bytes(b"PK\x03\x04 and no more")
        case "prithvi":
            torch.save({"0.patch_embed.weight": torch.zeros(8, 3, 4, 4), "1.head.weight": torch.zeros(2, 8)}, path)
        case _:
            net = nn.Sequential(nn.Sequential(*list(timm.create_model("repvgg_a0").children())[:2]), head(1280))
            torch.save(net.state_dict(), path)
    ran.unlink(missing_ok=True)
    return np.zeros((0, 2), np.float32)


def maker(name: str) -> Callable[[str, Path, Chips], Probabilities]:
    if name.startswith("timm-") or name in CONVOLUTIONAL:
        return convolutional
    if name in TRANSFORMERS:
        return transformer
    own = {"safetensors": safetensors, "traced": script, "scripted": script}
    own |= dict.fromkeys(("keras-h5", "keras", "free"), keras_model)
    return own.get(name, refused)


if __name__ == "__main__":
    keras.utils.set_random_seed(15)
    cut = np.load(sys.argv[2])
    for name in sys.argv[3:]:
        torch.manual_seed(15)
        np.save(Path(sys.argv[1], f"{name}.npy"), maker(name)(name, Path(sys.argv[1]), cut))
