"""A network of arcgis.learn in a file of PyTorch, rebuilt as ONNX."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from processes.errors import ForeignNetworkError, InputError, PackageError
from processes.model.pytorch.backbones import BACKBONES, Backbone, append_head
from processes.model.pytorch.layers import Layers
from processes.model.pytorch.pickles import StoredTensor
from processes.model.pytorch.weights_file import WeightsFile, open_weights

_MAX_NETWORK_BYTES = 2**30
"""Size of a network. A ResNet 152 has 240 MB."""
_SHOWN = 3
_HIDDEN, _LAST = "1.4.weight", "1.8.weight"

State = Mapping[str, StoredTensor]
"""The tensors of a network, by name."""


def convert(weights: Path, backbone: str | None, target: Path) -> None:
    """Write the network of a `.pth` as an ONNX file, whole or not at all. Its outputs are logits.

    Args:
        weights: the file that `torch.save` wrote. Nothing in it is run.
        backbone: as the package states it; None = it does not.
        target: the ONNX file, in a folder of its own; former ones of this folder but the last are removed.

    Raises:
        ForeignNetworkError: the weights are those of a network that is not known.
        PackageError: the file is broken, or holds something else than weights.
    """
    try:
        with open_weights(weights) as file:
            state = _state(file.document)
            found, layers = _network(state)
            _require_backbone(backbone, found.name)
            _save(file, state, layers, state[found.first].shape[1], target)
    except InputError as err:
        kind = ForeignNetworkError if isinstance(err, ForeignNetworkError) else PackageError
        raise kind(f"ModelFile {weights.name[:80]!r} cannot be used: {err.detail}") from err


def _state(document: object) -> State:
    """Return the tensors of a state dict, which is the whole object or under `model`, beside an optimiser's."""
    if isinstance(document, dict) and isinstance(document.get("model"), dict):
        document = document["model"]
    if not isinstance(document, dict):
        raise PackageError("it holds no state dict")
    return {
        name.removeprefix("module."): value  # which DataParallel writes before all of them
        for name, value in document.items()
        if isinstance(value, StoredTensor)
    }


def _network(state: State) -> tuple[Backbone, Layers]:
    """Return the backbone whose layers a state dict has, and these layers.

    Raises:
        ForeignNetworkError: there is none.
        PackageError: its layers have other shapes.
    """
    known = [(backbone, _layers(backbone, state)) for backbone in BACKBONES.values()]
    for backbone, layers in known:
        if layers.shapes.keys() == state.keys() - layers.counters:
            _require_shapes(backbone, layers, state)
            return backbone, layers
    nearest, layers = max(known, key=lambda item: len(item[1].shapes.keys() & state.keys()))
    missing = [name for name in layers.shapes if name not in state]
    more = [name for name in state if name not in layers.shapes and name not in layers.counters]
    differences = [f"{words} {_shown(names)}" for words, names in (("lacks", missing), ("has", more)) if names]
    raise ForeignNetworkError(
        f"its layers are not those of arcgis.learn on {', '.join(BACKBONES)}: next to {nearest.name} it "
        + f"{' and '.join(differences)}"
    )


def _layers(backbone: Backbone, state: State) -> Layers:
    """Return the layers of a backbone and a head, for as many bands, inner values and classes as the state has."""
    layers = Layers()
    cells = backbone.append(layers, _extent(state, backbone.first, 1))
    append_head(layers, cells, backbone.features, _extent(state, _HIDDEN, 0), _extent(state, _LAST, 0))
    return layers


def _extent(state: State, name: str, axis: int) -> int:
    tensor = state.get(name)
    return tensor.shape[axis] if tensor is not None and axis < len(tensor.shape) else 0


def _require_shapes(backbone: Backbone, layers: Layers, state: State) -> None:
    for name, shape in layers.shapes.items():
        if state[name].shape != shape or 0 in shape:
            raise PackageError(
                f"its layer {name!r} has the shape {state[name].shape}, that of {backbone.name} is {shape}"
            )
    size = sum(np.dtype(np.float32).itemsize * prod(shape) for shape in layers.shapes.values())
    if size > _MAX_NETWORK_BYTES:
        raise PackageError(f"its network has {size} bytes, more than {_MAX_NETWORK_BYTES}")


def _require_backbone(stated: str | None, found: str) -> None:
    """Raise ForeignNetworkError where a package states another backbone than its layers are of.

    Some of timm's networks have the layers of a ResNet, and do something else between them.
    """
    if stated is not None and stated.strip().lower() != found:
        raise ForeignNetworkError(
            f"ModelParameters states the backbone {stated[:80]!r}, its layers are those of {found}"
        )


def _save(file: WeightsFile, state: State, layers: Layers, bands: int, target: Path) -> None:
    def numbers() -> Iterator[tuple[str, NDArray[np.float32]]]:
        for name in layers.shapes:
            yield name, file.numbers(state[name])

    target.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(prefix=".network-", dir=target.parent)
    os.close(handle)
    try:
        layers.graph.save(Path(scratch), bands, _extent(state, _LAST, 0), numbers())
        os.replace(scratch, target)
    finally:
        Path(scratch).unlink(missing_ok=True)
    _remove_former(target)


def _remove_former(target: Path) -> None:
    """Remove the former networks of a package but the last, which jobs may be working with."""
    others = [path for path in target.parent.glob("*.onnx") if path != target]
    for former in sorted(others, key=lambda path: path.stat().st_mtime_ns)[:-1]:
        former.unlink(missing_ok=True)


def _shown(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(repr(name[:80]) for name in names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
