"""Files of Keras before Keras opens them: what must not be in them, and what older versions write in other words.

Keras runs no code of a file in its safe mode. This module does not rest on that alone: it reads the configuration of
the network first, and refuses what is not a layer of Keras itself.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from processes.errors import PackageError

_OWN_MODULE = re.compile(
    r"keras(\.src)?(\.(activations|constraints|dtype_policies|initializers|layers|models|ops|regularizers)(\..*)?)?"
)
_VALUES = ("__ellipsis__", "__keras_tensor__", "__numpy__", "__slice__", "__tensor__", "__tuple__")
"""Class names of plain values in a configuration of Keras 3."""
_WITH_CODE = ("Lambda", "__lambda__", "function", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TFSMLayer")
_OF_TENSORFLOW = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod", "InstanceProperty")
_MAX_CONFIGURATION_BYTES = 64 * 2**20


def read_configuration(file: Path) -> dict[str, Any]:
    """Return the configuration of the network in a file of Keras, which was found to hold no code.

    Args:
        file: an `.h5` of Keras 2 or 3, or a `.keras`.

    Raises:
        PackageError: the file is broken, holds weights alone, or something that Keras would have to run.
    """
    text = _text_of_hdf5(file) if h5py.is_hdf5(file) else _text_of_zip(file)
    try:
        document = json.loads(text)
    except ValueError as err:
        raise PackageError(f"{file.name!r} is no sound file of Keras: its configuration is no JSON") from err
    if not isinstance(document, dict):
        raise PackageError(f"{file.name!r} is no sound file of Keras: its configuration is no object")
    document.pop("compile_config", None)  # of training, which is not loaded
    for item in _objects(document):
        _require_own(item)
    return document


def with_modern_words(file: Path, document: dict[str, Any], folder: Path) -> tuple[Path, list[str]]:
    """Return a file with the same network that Keras 3 reads, and what was changed beyond words.

    Args:
        file: the file; it is copied where something is to change.
        document: its configuration.
        folder: for the copy.
    """
    if not h5py.is_hdf5(file):
        return file, []
    notes: list[str] = []
    _modernise(document, notes)
    copy = folder / "network.h5"
    shutil.copyfile(file, copy)
    with h5py.File(copy, "r+") as opened:
        opened.attrs["model_config"] = json.dumps(document)
        if "training_config" in opened.attrs:
            del opened.attrs["training_config"]
    return copy, notes


def _text_of_hdf5(file: Path) -> str | bytes:
    try:
        with h5py.File(file, "r") as opened:
            _require_whole(opened, file.name)
            text = opened.attrs.get("model_config")
    except OSError as err:
        raise PackageError(f"{file.name!r} is broken or truncated") from err
    if text is None:
        raise PackageError(f"{file.name!r} holds weights alone: save the whole model, model.save(…)")
    return text if isinstance(text, bytes) else str(text)


def _text_of_zip(file: Path) -> bytes:
    try:
        with zipfile.ZipFile(file) as archive:
            if archive.getinfo("config.json").file_size > _MAX_CONFIGURATION_BYTES:
                raise PackageError(
                    f"the configuration in {file.name!r} is larger than {_MAX_CONFIGURATION_BYTES} bytes"
                )
            with archive.open("model.weights.h5") as weights, h5py.File(weights, "r") as opened:
                _require_whole(opened, file.name)
            return archive.read("config.json")
    except (zipfile.BadZipFile, KeyError, OSError) as err:
        raise PackageError(f"{file.name!r} is no sound .keras file: it is broken or truncated") from err


def _require_whole(group: h5py.Group, name: str) -> None:
    """Raise PackageError where a file of HDF5 takes anything from other files."""
    for key in group:
        link = group.get(key, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise PackageError(f"{name!r} takes {key!r} from another file: that is not opened")
        if isinstance(link, h5py.SoftLink):
            continue
        item = group[key]
        if isinstance(item, h5py.Group):
            _require_whole(item, name)
        elif isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
            raise PackageError(f"{name!r} takes {key!r} from another file: that is not opened")


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield each object that Keras would make of a configuration."""
    if isinstance(value, dict):
        if isinstance(value.get("class_name"), str):
            yield value
        for item in value.values():
            yield from _objects(item)
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item)


def _require_own(item: dict[str, Any]) -> None:
    kind, module = item["class_name"], item.get("module")
    settings = item.get("config")
    name = settings.get("name") if isinstance(settings, dict) else settings
    called = f"{kind} {name!r}" if isinstance(name, str) and name else kind
    if kind in _WITH_CODE:
        raise PackageError(
            f"the network has {called[:120]}, whose code would have to be run: it is not; "
            "replace it by layers of Keras, and save the model again"
        )
    if kind in _OF_TENSORFLOW:
        raise PackageError(
            f"the network has {called[:120]}, an operation of TensorFlow that Keras 3 cannot open; "
            "export the model to ONNX with tf2onnx where it was trained"
        )
    registered = str(item.get("registered_name") or "")
    is_own = isinstance(module, str) and _OWN_MODULE.fullmatch(module) is not None
    is_stated = module is not None or ("module" in item and registered)  # Keras 2 states no modules
    if (is_stated and not is_own and kind not in _VALUES) or ">" in registered:
        raise PackageError(
            f"the network has {called[:120]}, a class of your own: its code is not here and is not run; "
            "export the model to ONNX where it was trained"
        )


def _modernise(item: dict[str, Any], notes: list[str]) -> None:
    """Put the configuration of a model and of those within into the words of Keras 3."""
    if item.get("class_name") == "Model":
        item["class_name"] = "Functional"
    if isinstance(item.get("config"), list):  # Sequential of Keras 2.2.2 and before
        item["config"] = {"name": "sequential", "layers": item["config"]}
    layers = item["config"].get("layers")
    if not isinstance(layers, list) or not layers:
        return
    for layer in layers:
        if isinstance(layer, dict) and isinstance(layer.get("config"), dict | list):
            if isinstance(layer["config"], list) or "layers" in layer["config"]:
                _modernise(layer, notes)
            else:
                _modernise_layer(layer["class_name"], layer["config"], notes)
    first = layers[0]["config"]
    shape = first.pop("batch_input_shape", None)
    if item["class_name"] == "Sequential" and layers[0]["class_name"] != "InputLayer" and shape is not None:
        settings = {"batch_shape": shape, "dtype": "float32", "name": "input_of_package"}
        layers.insert(0, {"class_name": "InputLayer", "config": settings})
    for layer in layers[1:]:
        if isinstance(layer["config"], dict) and layer["class_name"] != "InputLayer":
            layer["config"].pop("batch_input_shape", None)


def _modernise_layer(kind: str, settings: dict[str, Any], notes: list[str]) -> None:
    if kind == "InputLayer":
        for old in ("ragged", "sparse"):
            settings.pop(old, None)
        if "batch_input_shape" in settings:
            settings["batch_shape"] = settings.pop("batch_input_shape")
    if kind == "BatchNormalization" and isinstance(settings.get("axis"), list):
        (settings["axis"],) = settings["axis"]
    if kind == "DepthwiseConv2D" and settings.get("groups") == 1:
        del settings["groups"]
    policy = settings.get("dtype")
    named = policy.get("config", {}).get("name") if isinstance(policy, dict) else policy
    if named in ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16"):
        settings["dtype"] = "float32"
        notes.append(f"{named} was made float32")
    elif isinstance(policy, dict) and policy.get("class_name") == "Policy":
        settings["dtype"] = named
