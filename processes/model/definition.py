"""The Esri model definition (.emd): read once into a frozen value.

Keys and their meaning are those of Esri's public documentation; `Normalization` and `Activation` are this
project's own. Unknown keys are ignored, null counts as absent, a known key of the wrong type or range is an error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import msgspec

from processes.errors import PackageError

Activation = Literal["softmax", "sigmoid", "none"]

MAX_CHIP_SIDE_PX = 8192
MAX_BATCH_SIZE = 4096
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_FLAGS: Mapping[object, bool] = {0: False, 1: True}


@dataclass(frozen=True, slots=True)
class ModelClass:
    """One class of the model; its place in the list is its place in the network's output."""

    value: int
    name: str
    color: tuple[int, int, int] | None
    """Red, green, blue, 0..255; None where the package gives none."""


@dataclass(frozen=True, slots=True)
class Normalization:
    """What the network wants done to each cell: `value * scale + offset`, one pair per band."""

    scale: tuple[float, ...]
    offset: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ModelDefinition:
    """An .emd, checked."""

    framework: str | None
    network_file: str
    """`ModelFile`, with forward slashes. Whether it is there, and ONNX, is the package's matter."""
    chip_width: int
    chip_height: int
    """Cells of a chip as the network takes it."""
    bands: tuple[int | str, ...] | None
    """Bands to take, in order: 0-based positions or band names; None = all bands but alpha."""
    fixed_size: bool
    """True: a window of the chip's size around the object. False: the object's box, resampled."""
    blacken: bool
    """True: cells outside the object's polygon become 0."""
    map_space: bool
    data_range: tuple[float, float] | None
    batch_size: int | None
    min_cell_size: float | None
    max_cell_size: float | None
    """Units of the image's CRS."""
    multi_label: bool
    normalization: Normalization | None
    activation: Activation | None
    """None = found by a trial run of the network."""
    classes: tuple[ModelClass, ...]


def parse_definition(text: bytes) -> ModelDefinition:
    """Read the text of an .emd.

    Raises:
        PackageError: it is not a JSON object, or a known key has a wrong type or range.
    """
    try:
        document = msgspec.json.decode(text.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise PackageError(f"the .emd is not JSON: {err}") from err
    if not isinstance(document, dict):
        raise PackageError("the .emd is not a JSON object")
    keys = {key: value for key, value in document.items() if value is not None}
    model_type = _get(keys, "ModelType", _text, "ObjectClassification")
    if model_type != "ObjectClassification":
        raise PackageError(f"ModelType {model_type!r}: only ObjectClassification is supported")
    framework = _get(keys, "Framework", _text, None)
    _get(keys, "InferenceFunction", _text, None)
    _get(keys, "ModelConfiguration", _configuration, None)
    bands = _get(keys, "ExtractBands", _bands, None)
    return ModelDefinition(
        framework=framework,
        network_file=_require(keys, "ModelFile", _text).strip().replace("\\", "/"),
        chip_width=_require(keys, "ImageWidth", _integer(1, MAX_CHIP_SIDE_PX)),
        chip_height=_require(keys, "ImageHeight", _integer(1, MAX_CHIP_SIDE_PX)),
        bands=bands,
        fixed_size=_get(keys, "CropSizeFixed", _flag, True),
        blacken=_get(keys, "BlackenAroundFeature", _flag, False),
        map_space=_get(keys, "ImageSpaceUsed", _text, "").strip().upper() == "MAP_SPACE",
        data_range=_get(keys, "DataRange", _range, None),
        batch_size=_get(keys, "BatchSize", _integer(1, MAX_BATCH_SIZE), None),
        min_cell_size=_get(keys, "MinCellSize", _cell_size, None),
        max_cell_size=_get(keys, "MaxCellSize", _cell_size, None),
        multi_label=_get(keys, "MetaDataMode", _text, "") == "MultiLabeled_Tiles",
        normalization=_normalization(keys, framework, bands),
        activation=_get(keys, "Activation", _activation, None),
        classes=_require(keys, "Classes", _classes),
    )


def _get[T](keys: Mapping[str, Any], name: str, read: Callable[[str, Any], T], default: Any) -> T:
    return read(name, keys[name]) if name in keys else default


def _require[T](keys: Mapping[str, Any], name: str, read: Callable[[str, Any], T]) -> T:
    if name not in keys:
        raise PackageError(f"the .emd has no {name}")
    return read(name, keys[name])


def _wrong(name: str, value: object, wanted: str) -> PackageError:
    shown = msgspec.json.encode(value).decode(errors="replace")
    return PackageError(f"{name} is {shown[:80]}, not {wanted}")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _wrong(name, value, "a text")
    return value


def _configuration(name: str, value: Any) -> None:
    """Esri has a name here, or an object with a name."""
    if not isinstance(value, str | dict):
        raise _wrong(name, value, "a text or an object")


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, int | float) or value not in _FLAGS:
        raise _wrong(name, value, "0, 1, true or false")
    return bool(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _integer(low: int, high: int) -> Callable[[str, Any], int]:
    def read(name: str, value: Any) -> int:
        if not _is_number(value) or value != int(value) or not low <= value <= high:
            raise _wrong(name, value, f"a whole number from {low} to {high}")
        return int(value)

    return read


def _number(name: str, value: Any) -> float:
    if not _is_number(value):
        raise _wrong(name, value, "a number")
    return float(value)


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, list) or not value:
        raise _wrong(name, value, "a list of numbers")
    return tuple(_number(name, item) for item in value)


def _cell_size(name: str, value: Any) -> float | None:
    """Esri writes cell sizes as a number or as {"x": …, "y": …}."""
    if isinstance(value, dict):
        value = value.get("x")
        if value is None:
            return None
    size = _number(name, value)
    if size < 0:
        raise _wrong(name, value, "a number of 0 or more")
    return size or None


def _range(name: str, value: Any) -> tuple[float, float]:
    numbers = _numbers(name, value)
    if len(numbers) != 2 or numbers[0] >= numbers[1]:
        raise _wrong(name, value, "two numbers, the smaller one first")
    return numbers[0], numbers[1]


def _bands(name: str, value: Any) -> tuple[int | str, ...]:
    if not isinstance(value, list) or not value:
        raise _wrong(name, value, "a list of band numbers or names")
    for item in value:
        if isinstance(item, str) and item.strip():
            continue
        if not _is_number(item) or item != int(item) or item < 0:
            raise _wrong(name, value, "a list of band numbers (from 0) or names")
    return tuple(item if isinstance(item, str) else int(item) for item in value)


def _activation(name: str, value: Any) -> Activation:
    if value not in ("softmax", "sigmoid", "none"):
        raise _wrong(name, value, "softmax, sigmoid or none")
    return cast(Activation, value)


def _classes(name: str, value: Any) -> tuple[ModelClass, ...]:
    if not isinstance(value, list) or len(value) < 2:
        raise _wrong(name, value, "a list of two or more classes")
    classes = tuple(_class(item) for item in value)
    names = [item.name for item in classes]
    if len(set(names)) < len(names):
        raise PackageError(f"Classes has the name {max(names, key=names.count)!r} more than once")
    return classes


def _class(item: Any) -> ModelClass:
    if not isinstance(item, dict):
        raise _wrong("Classes", item, "a list of objects")
    item = {key: value for key, value in item.items() if value is not None}
    value = item.get("Value", item.get("ClassValue"))
    name = item.get("Name", item.get("ClassName"))
    return ModelClass(
        value=_integer(-(2**31), 2**31 - 1)("Classes.Value", value),
        name=_text("Classes.Name", name),
        color=_color(item.get("Color")),
    )


def _color(value: Any) -> tuple[int, int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) < 3 or not all(_is_number(item) for item in value):
        raise _wrong("Classes.Color", value, "a list of red, green and blue")
    red, green, blue = (int(item) for item in value[:3])
    if min(red, green, blue) < 0:  # Esri's mark for "no colour"
        return None
    if max(red, green, blue) > 255:
        raise _wrong("Classes.Color", value, "a list of red, green and blue, 0 to 255")
    return red, green, blue


def _normalization(
    keys: Mapping[str, Any], framework: str | None, bands: tuple[int | str, ...] | None
) -> Normalization | None:
    if "Normalization" in keys:
        found = _own_normalization(keys["Normalization"])
    elif "NormalizationStats" in keys:
        found = _esri_normalization(keys["NormalizationStats"], bands)
    elif framework is not None and framework.startswith("arcgis.learn") and (bands is None or len(bands) == 3):
        found = _affine((1 / 255,) * 3, _IMAGENET_MEAN, _IMAGENET_STD)
    else:
        return None
    if found is not None and bands is not None and len(found.scale) != len(bands):
        raise PackageError(f"the normalisation is for {len(found.scale)} bands, ExtractBands takes {len(bands)}")
    return found


def _affine(scale: tuple[float, ...], mean: tuple[float, ...], std: tuple[float, ...]) -> Normalization:
    """Fold `(value * scale - mean) / std` into one factor and one offset per band."""
    return Normalization(
        scale=tuple(s / d for s, d in zip(scale, std, strict=True)),
        offset=tuple(-m / d for m, d in zip(mean, std, strict=True)),
    )


def _own_normalization(value: Any) -> Normalization | None:
    if value == "none":
        return None
    if isinstance(value, dict):
        value = {key: item for key, item in value.items() if item is not None}
    if not isinstance(value, dict) or not {"mean", "std"} <= value.keys():
        raise _wrong("Normalization", value, '"none" or an object with scale, mean and std')
    mean = _numbers("Normalization.mean", value["mean"])
    std = _numbers("Normalization.std", value["std"])
    scale = _number("Normalization.scale", value.get("scale", 1))
    if len(mean) != len(std):
        raise PackageError(f"Normalization has {len(mean)} means and {len(std)} deviations")
    if 0 in std:
        raise _wrong("Normalization.std", value["std"], "without zeros")
    return _affine((scale,) * len(mean), mean, std)


def _esri_normalization(value: Any, bands: tuple[int | str, ...] | None) -> Normalization:
    """arcgis.learn's statistics: scale to the training raster's range, then standardise.

    The arrays are per band of the training raster and indexed through ExtractBands. max = min divides by 1, a
    scaled_std of 0 counts as 0.01.
    """
    if not isinstance(value, dict):
        raise _wrong("NormalizationStats", value, "an object of per-band arrays")
    names = ("band_min_values", "band_max_values", "scaled_mean_values", "scaled_std_values")
    arrays = [_require(value, name, _numbers) for name in names]
    positions = range(len(arrays[0])) if bands is None else bands
    taken = []
    for name, array in zip(names, arrays, strict=True):
        if any(not isinstance(position, int) for position in positions):
            raise PackageError("NormalizationStats needs ExtractBands as numbers")
        if max(int(position) for position in positions) >= len(array):
            raise PackageError(
                f"NormalizationStats.{name} has {len(array)} values, ExtractBands takes {list(positions)}"
            )
        taken.append(tuple(array[int(position)] for position in positions))
    low, high, mean, std = taken
    width = tuple((h - v) or 1.0 for v, h in zip(low, high, strict=True))
    std = tuple(s or 0.01 for s in std)
    shifted = tuple(v / w + m for v, w, m in zip(low, width, mean, strict=True))
    return _affine(tuple(1 / w for w in width), shifted, std)
