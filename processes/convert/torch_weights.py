"""Weights of PyTorch: read as data, and put into the network that they belong to."""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray  # what pickles of numpy name
from safetensors import SafetensorError
from safetensors.torch import load_file

from processes.convert.arcgis_learn import is_of_arcgis_learn, rebuild
from processes.convert.messages import ForeignFile
from processes.convert.network import NetworkFacts
from processes.convert.timm_models import create, load
from processes.convert.torch_network import TorchNetwork
from processes.convert.words import in_words, versions
from processes.errors import PackageError

_VALUES: list[Any] = [
    np.dtype,
    np.ndarray,
    *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "?")),
    *((getattr(multiarray, name), f"numpy.core.multiarray.{name}") for name in ("scalar", "_reconstruct")),
    *(getattr(multiarray, name) for name in ("scalar", "_reconstruct")),
    collections.defaultdict,
    slice,
]
"""Plain values beside weights, such as learning rates of numpy, that PyTorch alone refuses."""
_FOREIGN = re.compile(r"(?:GLOBAL|global:?|class) ['\"]?([A-Za-z_][\w.]*\.\w+)")


def open_weights(file: ForeignFile) -> TorchNetwork:
    """Open weights of arcgis.learn's FeatureClassifier, or of a network of timm.

    Raises:
        PackageError: the file is broken or holds more than weights, or their network is not known.
    """
    path = Path(file.path)
    settings = _read_settings(file.settings)
    if file.kind == "safetensors":
        state = _read_safetensors(path)
        bands = file.bands or _trained_bands(settings)
    else:
        state = _read_pickle(path)
        bands = file.bands or _bands(state, file.backbone or "")
    shape = (bands, file.height, file.width)
    if is_of_arcgis_learn(state):
        module, network = rebuild(state, file.backbone, file.classes, shape)
        return TorchNetwork(module, NetworkFacts(versions("torch", "timm"), network, shape))
    name = settings.get("architecture") or file.backbone
    module = create(name, file.classes, shape, settings.get("model_args") or {})
    load(module, state, f"timm {name}")
    facts = NetworkFacts(versions("torch", "timm"), f"timm {name}", shape, _normalization(settings))
    return TorchNetwork(module, facts)


def _read_pickle(path: Path) -> dict[str, torch.Tensor]:
    """Read the state dict of a file that `torch.save` wrote; nothing in it is run."""
    try:
        with torch.serialization.safe_globals(_VALUES):
            document = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as err:
        foreign = _FOREIGN.search(str(err))
        if foreign is not None:
            raise PackageError(
                f"{path.name!r} holds {foreign[1]!r}, which is no part of weights: it is not run; "
                "save the state dict, torch.save(model.state_dict(), …)"
            ) from err
        raise PackageError(f"{path.name!r} is broken, or no file of PyTorch: {in_words(err)}") from err
    for key in ("model", "state_dict"):
        if isinstance(document, Mapping) and isinstance(document.get(key), Mapping):
            document = document[key]
    if not isinstance(document, Mapping):
        raise PackageError(f"{path.name!r} holds no state dict")
    return _tensors(document)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return _tensors(load_file(path))
    except (SafetensorError, OSError, ValueError) as err:
        raise PackageError(f"{path.name!r} is no sound file of safetensors: {in_words(err)}") from err


def _tensors(document: Mapping[Any, Any]) -> dict[str, torch.Tensor]:
    """Return the tensors of a state dict, without what DataParallel writes before their names."""
    return {
        str(name).removeprefix("module."): value for name, value in document.items() if isinstance(value, torch.Tensor)
    }


def _bands(state: Mapping[str, torch.Tensor], backbone: str) -> int:
    """Return the number of bands that the first convolution of a network takes.

    Args:
        state: the weights, in their order.
        backbone: as the package names it; a TResNet first makes 16 values of each band, those of blocks of 4 x 4 cells.
    """
    found = next((tensor.shape[1] for tensor in state.values() if tensor.ndim == 4), None)
    if found is None:
        raise PackageError("its network has no convolution: it takes no images")
    return int(found) // 16 if "tresnet" in backbone else int(found)


def _trained_bands(settings: Mapping[str, Any]) -> int:
    """Return the number of bands that timm's settings state; safetensors are sorted by name, so none is the first."""
    trained = settings.get("pretrained_cfg")
    size = trained.get("input_size") if isinstance(trained, dict) else None
    return int(size[0]) if isinstance(size, list) and size and isinstance(size[0], int) else 3


def _read_settings(path: str | None) -> dict[str, Any]:
    """Return timm's `config.json`, which lies beside weights that timm saved."""
    if path is None:
        return {}
    try:
        document = json.loads(Path(path).read_text())
    except ValueError as err:
        raise PackageError("its config.json is no JSON") from err
    return document if isinstance(document, dict) else {}


def _normalization(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the normalisation that timm's settings state, for cells of 0 to 255."""
    given = settings.get("pretrained_cfg")
    given = given if isinstance(given, dict) else settings
    if not isinstance(given.get("mean"), list) or not isinstance(given.get("std"), list):
        return None
    return {"scale": 1 / 255, "mean": given["mean"], "std": given["std"]}
