"""The Esri model definition (.emd), read once into a frozen value.

Keys and their meaning are those of Esri's public documentation; `Normalization`, `Activation`, `OutputName`,
`Precision` and `Resampling` are this project's own. Unknown keys are ignored, null and the empty text count as absent,
a known key of the wrong type or range is an error.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Literal, cast

import msgspec

from processes.errors import PackageError
from processes.model.keys import (
    get,
    is_number,
    read_flag,
    read_integer,
    read_integer_text,
    read_number,
    read_numbers,
    read_text,
    require,
    stated,
    wrong_value,
)
from processes.model.normalization import BandStatistics, Normalization, read_normalization
from processes.model.runtime.runtime import Precision

Activation = Literal["softmax", "sigmoid", "none"]
Resampling = Literal["pillow", "skimage"]
"""`pillow`: bilinear, with antialiasing when it shrinks. `skimage`: scikit-image's order 1 without antialiasing, cut to
whole numbers."""

NetworkSize = tuple[int | None, int | None]
"""Height and width of the chips that a network takes, in cells; None = any."""

MAX_CHIP_SIDE_PX = 8192
_KERAS_SIDE_PX = 64
"""Esri's default of `resampled_image_size`."""
MAX_BATCH_SIZE = 4096
MAX_BANDS = 65535  # as many as GDAL can count
_FIRST_WKID_OF_ESRI = 32_768  # numbers below are those of EPSG
_MOST_DIGITS = 400
MAX_DATA_VALUE = 1e38  # so that float32 holds the width of a range


class ModelClass(msgspec.Struct, frozen=True):
    """One class of the model; its index in the list is its index in the network's output."""

    value: int
    """The class value, as the result has it."""
    name: str
    """The class name, the label of an object."""
    color: tuple[int, int, int] | None
    """Red, green, blue, 0..255; None = the package has none."""


class CellSize(msgspec.Struct, frozen=True):
    """The cell size of rasters that the network was trained on."""

    size: float
    """Above 0, in units of the CRS."""
    crs: str | None = None
    """Its `spatialReference`: authority and code, or WKT, as Esri writes it; None = that of the image."""


class ModelDefinition(msgspec.Struct, frozen=True):
    """The content of an .emd, checked. The names of Esri's keys stand in backquotes."""

    framework: str | None
    """`Framework`, the library that the network was trained with; None = not stated."""
    network_file: str
    """`ModelFile`, with forward slashes; `processes.model.package` checks that it is a network of the package. Empty =
    not stated, which a raster function alone does without."""
    backbone: str | None
    """`ModelParameters.backbone`: what a network of PyTorch is made of; None = not stated."""
    chip_width: int
    """`ImageWidth`: cells of a chip as the network takes it."""
    chip_height: int
    """`ImageHeight`: cells of a chip as the network takes it."""
    bands: tuple[int | str, ...] | None
    """`ExtractBands`: the bands that the network takes, in order, as indices from 0 or names; None = all but alpha."""
    fixed_size: bool
    """`CropSizeFixed`. True: a window of the chip's size around the object. False: the object's box, resampled."""
    blacken: bool
    """`BlackenAroundFeature`. True: cells outside the object's polygon become 0."""
    map_space: bool
    """`ImageSpaceUsed` is `MAP_SPACE`. True: test-time augmentation turns and mirrors chips. False: mirrors only."""
    data_range: tuple[float, float] | None
    """`DataRange`: cells are mapped from their band's range to this one; None = they stay as they are."""
    test_time_augmentation: bool
    """`test_time_augmentation`: the default of that argument."""
    batch_size: int | None
    """`BatchSize`: chips per call of the network; None = as many as suit it."""
    min_cell_size: CellSize | None
    """`MinCellSize`; None = no limit."""
    max_cell_size: CellSize | None
    """`MaxCellSize`; None = no limit."""
    multi_label: bool
    """`MetaDataMode` is `MultiLabeled_Tiles`. True: an object can have several labels, or none."""
    normalization: Normalization | None
    """What is done to each cell before the network; None = nothing, or what `statistics` say."""
    statistics: BandStatistics | None
    """`NormalizationStats` where `ExtractBands` has names that only an image's bands can tell the places of."""
    states_cells: bool
    """True: the package says which values the network takes: `Normalization`, `NormalizationStats` or `DataRange`."""
    activation: Activation | None
    """What turns the network's outputs into probabilities; None = not stated, the check of the network finds it."""
    resampling: Resampling | None
    """`Resampling`: how a chip becomes as large as the network takes it, and how it is resampled before that; `skimage`
    for Esri's KerasClassifier. None = not stated: `pillow`, and the network takes chips of `ImageWidth` and
    `ImageHeight`."""
    is_keras_classifier: bool
    """`ModelConfiguration` is Esri's KerasClassifier: chips become squares of the argument `resampled_image_size`."""
    output_name: str | None
    """`OutputName`: the network's output that holds the scores; None = not stated, the network's check finds it."""
    precision: Precision | None
    """`Precision`: the numbers that the network is computed with on machines that can; elsewhere in float32, with a
    warning. None = not stated: those that stand in the network."""
    classes: tuple[ModelClass, ...]
    """`Classes`, two or more, in the order of the network's outputs."""
    inference_function: str | None = None
    """`InferenceFunction`, as it is stated; None = not stated."""

    def normalization_for(self, bands: int | None) -> Normalization | None:
        """Return the normalisation for a network.

        Args:
            bands: number of bands that it takes; None = any. An assumed normalisation is for three bands.
        """
        normalization = self.normalization
        if self.statistics is not None:  # without an image, as in the trial run
            return self.statistics.normalization(range(len(self.bands or ())))
        if normalization is not None and normalization.is_assumed and bands not in (None, 3):
            return None
        return normalization


def parse_definition(text: bytes) -> ModelDefinition:
    """Read the text of an .emd.

    Raises:
        PackageError: it is not a JSON object, or a known key has a wrong type or range.
    """
    try:
        # as ArcGIS and arcgis.learn read it, with NaN and Infinity, which training writes among its metrics
        document = json.loads(text.removeprefix(b"\xef\xbb\xbf").decode(), parse_int=_whole_number)
    except (ValueError, RecursionError) as err:
        raise PackageError(f"the .emd is not JSON: {err}") from err
    if not isinstance(document, dict):
        raise PackageError("the .emd is not a JSON object")
    keys = stated(document)
    model_type = get(keys, "ModelType", read_text, "ObjectClassification")
    if model_type != "ObjectClassification":
        raise PackageError(f"ModelType {model_type[:80]!r}: only ObjectClassification is supported")
    framework = get(keys, "Framework", read_text, None)
    inference_function = get(keys, "InferenceFunction", read_text, None)
    network_file = "" if inference_function and "ModelFile" not in keys else require(keys, "ModelFile", read_text)
    configuration = get(keys, "ModelConfiguration", _configuration, None)
    bands = get(keys, "ExtractBands", read_bands, None)
    normalization, statistics = read_normalization(keys, _is_of_arcgis_learn(framework, configuration), bands)
    is_keras_classifier = configuration == "KerasClassifier"
    return ModelDefinition(
        framework=framework,
        network_file=network_file.strip().replace("\\", "/"),
        backbone=_backbone(keys.get("ModelParameters")),
        chip_width=require(keys, "ImageWidth", read_integer(1, MAX_CHIP_SIDE_PX)),
        chip_height=require(keys, "ImageHeight", read_integer(1, MAX_CHIP_SIDE_PX)),
        bands=bands,
        fixed_size=get(keys, "CropSizeFixed", read_flag, True),
        blacken=get(keys, "BlackenAroundFeature", read_flag, False),
        map_space=get(keys, "ImageSpaceUsed", read_text, "").strip().upper() == "MAP_SPACE",
        data_range=get(keys, "DataRange", read_range, None),
        test_time_augmentation=get(keys, "test_time_augmentation", read_flag, False),
        batch_size=get(keys, "BatchSize", read_integer(1, MAX_BATCH_SIZE), None),
        min_cell_size=get(keys, "MinCellSize", _cell_size, None),
        max_cell_size=get(keys, "MaxCellSize", _cell_size, None),
        multi_label=get(keys, "MetaDataMode", read_text, "") == "MultiLabeled_Tiles",
        normalization=normalization,
        statistics=statistics,
        states_cells=not keys.keys().isdisjoint(("Normalization", "NormalizationStats", "DataRange")),
        activation=get(keys, "Activation", _activation, None),
        resampling=get(keys, "Resampling", _resampling, "skimage" if is_keras_classifier else None),
        is_keras_classifier=is_keras_classifier,
        output_name=get(keys, "OutputName", read_text, None),
        precision=get(keys, "Precision", _precision, None),
        classes=require(keys, "Classes", _classes),
        inference_function=inference_function,
    )


def chip_size(definition: ModelDefinition, taken: NetworkSize, side: int | None = None) -> tuple[int, int]:
    """Return height and width of the chips that a network gets, in cells.

    Args:
        definition: of the model.
        taken: height and width that the network takes; None = any.
        side: the argument `resampled_image_size`; None = absent.
    """
    if definition.is_keras_classifier:
        height, width = (extent or side or _KERAS_SIDE_PX for extent in taken)
    else:
        height, width = taken[0] or definition.chip_height, taken[1] or definition.chip_width
    return height, width


def _whole_number(digits: str) -> float:
    """Read a whole number; one beyond all floats is infinite, as reading its digits takes long."""
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


def _configuration(name: str, value: Any) -> str | None:
    """Read a value that Esri writes as a name, or as an object with a name."""
    if not isinstance(value, str | dict):
        raise wrong_value(name, value, "a text or an object")
    return value if isinstance(value, str) else get(stated(value), "Name", read_text, None)


def _backbone(parameters: Any) -> str | None:
    """Return the backbone that `ModelParameters` state; in other forms than arcgis.learn's they state none."""
    backbone = parameters.get("backbone") if isinstance(parameters, dict) else None
    return backbone if isinstance(backbone, str) and backbone.strip() else None


def _is_of_arcgis_learn(framework: str | None, configuration: str | None) -> bool:
    """Return whether arcgis.learn made the network; Esri's own samples name its classifier and `PyTorch`."""
    return (framework or "").startswith("arcgis.learn") or configuration in ("FeatureClassifier", "_FeatureClassifier")


def _cell_size(name: str, value: Any) -> CellSize | None:
    """Read a cell size, which Esri writes as a number or as {"x": …, "y": …, "spatialReference": …}."""
    sizes = [value.get("x"), value.get("y")] if isinstance(value, dict) else [value]
    for size in sizes:
        if size is not None and read_number(name, size) < 0:
            raise wrong_value(name, size, "a number of 0 or more")
    if not sizes[0]:
        return None
    return CellSize(
        float(sizes[0]), _spatial_reference(value.get("spatialReference") if isinstance(value, dict) else None)
    )


def _spatial_reference(value: Any) -> str | None:
    """Return the name of Esri's JSON of a CRS, {"wkid": …, "latestWkid": …} or {"wkt": …}; None = it names none."""
    if not isinstance(value, dict):
        return None
    for key in ("latestWkid", "wkid"):
        number = value.get(key)
        if isinstance(number, int | float) and is_number(number) and number == int(number) and number > 0:
            return f"{'EPSG' if number < _FIRST_WKID_OF_ESRI else 'ESRI'}:{int(number)}"
    wkt = value.get("wkt") or value.get("wkt2")
    return wkt if isinstance(wkt, str) and wkt.strip() else None


def read_range(name: str, value: Any) -> tuple[float, float]:
    """Read a range, two numbers."""
    limits = read_numbers(name, value)
    if len(limits) != 2 or limits[0] >= limits[1] or max(map(abs, limits)) > MAX_DATA_VALUE:
        raise wrong_value(name, value, f"two numbers, the smaller one first, within {MAX_DATA_VALUE:g}")
    return limits[0], limits[1]


def read_bands(name: str, value: Any) -> tuple[int | str, ...]:
    """Read a list of bands, by number or by name."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_BANDS:
        raise wrong_value(name, value, "a list of band numbers or names")
    for item in value:
        if isinstance(item, str) and item.strip():
            continue
        if not is_number(item) or item != int(item) or not 0 <= item < MAX_BANDS:
            raise wrong_value(name, value, "a list of band numbers (from 0) or names")
    return tuple(item if isinstance(item, str) else int(item) for item in value)


def _activation(name: str, value: Any) -> Activation:
    if value not in ("softmax", "sigmoid", "none"):
        raise wrong_value(name, value, "softmax, sigmoid or none")
    return cast(Activation, value)


def _resampling(name: str, value: Any) -> Resampling:
    if value not in ("pillow", "skimage"):
        raise wrong_value(name, value, "pillow or skimage")
    return cast(Resampling, value)


def _precision(name: str, value: Any) -> Precision:
    if value not in ("fp32", "bf16", "fp16", "int8"):
        raise wrong_value(name, value, "fp32, bf16, fp16 or int8")
    return cast(Precision, value)


def _classes(name: str, value: Any) -> tuple[ModelClass, ...]:
    if not isinstance(value, list) or len(value) < 2:
        raise wrong_value(name, value, "a list of two or more classes")
    classes = tuple(_class(item) for item in value)
    ((name_of_most, count),) = Counter(item.name for item in classes).most_common(1)
    if count > 1:
        raise PackageError(f"Classes has the name {name_of_most[:80]!r} more than once")
    return classes


def _class(item: Any) -> ModelClass:
    if not isinstance(item, dict):
        raise wrong_value("Classes", item, "a list of objects")
    item = stated(item)
    value = item.get("Value", item.get("ClassValue"))
    name = item.get("Name", item.get("ClassName"))
    return ModelClass(
        value=read_integer(-(2**31), 2**31 - 1)("Classes.Value", read_integer_text(value)),
        name=read_text("Classes.Name", name),
        color=_color(item.get("Color")),
    )


def _color(value: Any) -> tuple[int, int, int] | None:
    """Read a colour. What cannot be read is none, as Esri's -1 is: no label depends on it."""
    if not isinstance(value, list) or len(value) < 3 or not all(is_number(item) for item in value[:3]):
        return None
    red, green, blue = (int(item) for item in value[:3])
    return (red, green, blue) if min(red, green, blue) >= 0 and max(red, green, blue) <= 255 else None
