"""Networks of Keras, opened by Keras 3 on PyTorch: no TensorFlow is needed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"  # Keras reads it when it is imported

import keras
import numpy as np
import torch
from numpy.typing import NDArray

from processes.convert.keras_files import read_configuration, with_modern_words
from processes.convert.messages import ForeignFile
from processes.convert.network import NetworkFacts
from processes.convert.words import in_words, versions
from processes.errors import PackageError


class KerasNetwork:
    """A network of Keras that takes chips of one size.

    Args:
        model: of Keras.
        facts: what is known of it.
        channels_last: True: it takes `(n, height, width, bands)`.
    """

    def __init__(self, model: Any, facts: NetworkFacts, channels_last: bool) -> None:
        self.facts = facts
        self._model = model
        self._channels_last = channels_last

    def export(self, target: Path) -> None:
        bands, height, width = self.facts.shape
        shape = (height, width, bands) if self._channels_last else (bands, height, width)
        self.outputs(np.zeros((2, *self.facts.shape), np.float32))  # a model that was never called is not exported
        signature = [keras.InputSpec(shape=(None, *shape), dtype="float32", ndim=4)]
        try:
            self._model.export(str(target), format="onnx", verbose=False, input_signature=signature)
        except Exception as err:
            raise PackageError(f"Keras cannot export the network to ONNX: {in_words(err)}") from err

    def outputs(self, chips: NDArray[np.float32]) -> NDArray[np.float32]:
        taken = np.ascontiguousarray(chips.transpose(0, 2, 3, 1)) if self._channels_last else chips
        with torch.no_grad():
            found = keras.ops.convert_to_numpy(self._model(taken, training=False))
        return np.asarray(found, np.float32).reshape(len(chips), -1)


def open_keras(file: ForeignFile) -> KerasNetwork:
    """Open a file of Keras.

    Raises:
        PackageError: it is broken, holds code, or is no network that takes images.
    """
    path = Path(file.path)
    with tempfile.TemporaryDirectory() as folder:
        known, notes = with_modern_words(path, read_configuration(path), Path(folder))
        try:
            model = keras.models.load_model(known, compile=False, safe_mode=True)
        except Exception as err:
            raise PackageError(f"Keras {keras.__version__} cannot open {path.name!r}: {in_words(err)}") from err
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or not isinstance(model.output_shape, tuple):
        raise PackageError(f"the network takes {shape}, and gives {model.output_shape}: it takes no batch of images")
    channels_last = not any(getattr(layer, "data_format", None) == "channels_first" for layer in _layers(model))
    sizes = (file.height, file.width, file.bands or 3) if channels_last else (file.bands or 3, file.height, file.width)
    fixed = tuple(extent or own for extent, own in zip(shape[1:], sizes, strict=True))
    network = f"{type(model).__name__} of {len(model.layers)} layers"
    model = _for_evaluation(model, fixed, None in shape[1:], notes)
    bands, height, width = (fixed[2], fixed[0], fixed[1]) if channels_last else fixed
    facts = NetworkFacts(versions("keras", "torch"), network, (bands, height, width), notes=tuple(notes))
    return KerasNetwork(model, facts, channels_last)


def _layers(model: Any) -> list[Any]:
    """Return all layers, those of models within too."""
    return list(model._flatten_layers(include_self=False, recursive=True))


def _for_evaluation(model: Any, size: tuple[int, ...], is_free: bool, notes: list[str]) -> Any:
    """Return a model of one size of chips, in evaluation mode, without layers that act in training alone.

    Of a model of any size the exporter computes the padding for an example of its own, which is wrong for others. It
    cannot export layers that draw random numbers.
    """
    random = [layer for layer in _layers(model) if _draws(layer)]
    inputs = keras.Input(batch_shape=(None, *size))
    try:
        if random:
            model = keras.models.clone_model(model, clone_function=_without_chance, recursive=True)
        fixed = keras.Model(inputs, model(inputs, training=False))
    except Exception as err:
        raise PackageError(f"the network cannot be given chips of {size}: {in_words(err)}") from err
    if random:
        notes.append(f"layers that act in training alone were left out: {', '.join(layer.name for layer in random)}")
    if is_free:
        notes.append("the network takes any size of chips; it was fixed to that of the package")
    return fixed


def _draws(layer: Any) -> bool:
    """Return whether a layer changes images by chance, in training alone."""
    return type(layer).__name__.startswith("Random")


def _without_chance(layer: Any) -> Any:
    """Return a layer itself, with its weights; for one that changes images by chance one that does nothing."""
    return keras.layers.Dropout(0.0, name=layer.name) if _draws(layer) else layer
