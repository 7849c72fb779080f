"""The .emd is read as Esri's documentation describes it, and what is wrong with it is said with the key's name."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import HELP_PAGE, definition
from processes.errors import PackageError
from processes.model.definition import CellSize, ModelClass, ModelDefinition, parse_definition
from processes.model.normalization import Normalization
from processes.model.package import read_package
from tables import each_row

STATS = {
    "band_min_values": [1.0, 2.0, 3.0, 40.0],
    "band_max_values": [101.0, 52.0, 203.0, 240.0],
    "band_mean_values": [50.0, 20.0, 90.0, 100.0],
    "band_std_values": [10.0, 5.0, 30.0, 25.0],
    "scaled_min_values": [0, 0, 0, 0],
    "scaled_max_values": [1, 1, 1, 1],
    "scaled_mean_values": [0.49, 0.36, 0.435, 0.3],
    "scaled_std_values": [0.1, 0.09, 0.15, 0.075],
}


def read(**changes: Any) -> ModelDefinition:
    """Read the keys of a sound .emd with some changed; null counts as absent, so None goes through as null."""
    return parse_definition(json.dumps(definition() | changes).encode())


def problem(**changes: Any) -> str:
    """Return the reason for which an .emd with some keys changed is refused."""
    with pytest.raises(PackageError) as caught:
        read(**changes)
    return caught.value.detail


def without(*names: str) -> bytes:
    return json.dumps({key: value for key, value in definition().items() if key not in names}).encode()


def cells(bands: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).integers(0, 256, (bands, 5, 7)).astype(np.float64)


def normalized(values: NDArray[np.float64], normalization: Normalization | None) -> NDArray[np.float64]:
    assert normalization is not None
    scale, offset = (np.reshape(item, (-1, 1, 1)) for item in (normalization.scale, normalization.offset))
    return np.asarray(values * scale + offset)


@each_row(
    ("key", "value", "field", "expected"),
    [
        ("Framework", "arcgis.learn.models._inferencing", "framework", "arcgis.learn.models._inferencing"),
        ("ModelFile", "net.onnx", "network_file", "net.onnx"),
        ("ModelFile", ".\\nets\\net.onnx", "network_file", "./nets/net.onnx"),
        ("ImageWidth", 1, "chip_width", 1),
        ("ImageWidth", 8192, "chip_width", 8192),
        ("ImageWidth", 224.0, "chip_width", 224),
        ("ImageHeight", 600, "chip_height", 600),
        ("ExtractBands", [2, 1, 0], "bands", (2, 1, 0)),
        ("ExtractBands", ["Red", "Green", "NearInfrared_1"], "bands", ("Red", "Green", "NearInfrared_1")),
        ("ExtractBands", None, "bands", None),
        ("CropSizeFixed", 0, "fixed_size", False),
        ("CropSizeFixed", False, "fixed_size", False),
        ("CropSizeFixed", 1, "fixed_size", True),
        ("CropSizeFixed", None, "fixed_size", True),
        ("BlackenAroundFeature", 1, "blacken", True),
        ("BlackenAroundFeature", True, "blacken", True),
        ("BlackenAroundFeature", 0, "blacken", False),
        ("BlackenAroundFeature", None, "blacken", False),
        ("ImageSpaceUsed", "MAP_SPACE", "map_space", True),
        ("ImageSpaceUsed", "PIXEL_SPACE", "map_space", False),
        ("DataRange", [0.1, 1.0], "data_range", (0.1, 1.0)),
        ("DataRange", [-1, 1], "data_range", (-1.0, 1.0)),
        ("DataRange", None, "data_range", None),
        ("BatchSize", 64, "batch_size", 64),
        ("BatchSize", None, "batch_size", None),
        ("MinCellSize", 0.3, "min_cell_size", CellSize(0.3)),
        (
            "MinCellSize",
            {"x": 0.5, "y": 0.5, "spatialReference": {"wkid": 3857}},
            "min_cell_size",
            CellSize(0.5, "EPSG:3857"),
        ),
        ("MinCellSize", None, "min_cell_size", None),
        ("MaxCellSize", 2, "max_cell_size", CellSize(2.0)),
        ("MaxCellSize", 0, "max_cell_size", None),
        ("MetaDataMode", "MultiLabeled_Tiles", "multi_label", True),
        ("MetaDataMode", "Labeled_Tiles", "multi_label", False),
        ("MetaDataMode", None, "multi_label", False),
        ("CropSizeFixed", "0", "fixed_size", False),
        ("CropSizeFixed", " True ", "fixed_size", True),
        ("BlackenAroundFeature", "1", "blacken", True),
        ("BlackenAroundFeature", "FALSE", "blacken", False),
        ("test_time_augmentation", True, "test_time_augmentation", True),
        ("test_time_augmentation", "True", "test_time_augmentation", True),
        ("test_time_augmentation", None, "test_time_augmentation", False),
        ("OutputName", "logits", "output_name", "logits"),
        ("OutputName", None, "output_name", None),
        ("Activation", "sigmoid", "activation", "sigmoid"),
        ("Activation", "none", "activation", "none"),
        ("Activation", None, "activation", None),
        ("ModelType", None, "network_file", "net.onnx"),
    ],
)
def test_known_key_is_read(key: str, value: Any, field: str, expected: Any) -> None:
    found = getattr(read(**{key: value}), field)
    assert found == expected
    assert type(found) is type(expected)


@each_row(
    ("key", "value", "words"),
    [
        ("Framework", 5, "a text"),
        ("Framework", [], "a text"),
        ("ModelFile", 5, "a text"),
        ("ModelFile", " ", "a text"),
        ("ModelType", {}, "a text"),
        ("ModelType", "ObjectDetection", "only ObjectClassification is supported"),
        ("ImageWidth", 0, "a whole number from 1 to 8192"),
        ("ImageWidth", -3, "a whole number from 1 to 8192"),
        ("ImageWidth", 8193, "a whole number from 1 to 8192"),
        ("ImageWidth", 10**30, "a whole number from 1 to 8192"),
        ("ImageWidth", 2.5, "a whole number from 1 to 8192"),
        ("ImageWidth", "256", "a whole number from 1 to 8192"),
        ("ImageWidth", True, "a whole number from 1 to 8192"),
        ("ImageHeight", [256], "a whole number from 1 to 8192"),
        ("ExtractBands", 3, "a list of band numbers"),
        ("ExtractBands", [], "a list of band numbers"),
        ("ExtractBands", [0, -1], "a list of band numbers"),
        ("ExtractBands", [0.5], "a list of band numbers"),
        ("ExtractBands", [True], "a list of band numbers"),
        ("ExtractBands", [" "], "a list of band numbers"),
        ("ExtractBands", [None], "a list of band numbers"),
        ("CropSizeFixed", 2, "0, 1, true or false"),
        ("CropSizeFixed", "2", "0, 1, true or false"),
        ("CropSizeFixed", "yes", "0, 1, true or false"),
        ("CropSizeFixed", float("nan"), "0, 1, true or false"),
        ("ImageWidth", float("inf"), "a whole number from 1 to 8192"),
        ("MinCellSize", float("nan"), "a number"),
        ("DataRange", [0, float("inf")], "a number"),
        ("test_time_augmentation", "maybe", "0, 1, true or false"),
        ("OutputName", 3, "a text"),
        ("ModelFile", "\ud800.onnx", "a text"),
        ("CropSizeFixed", 0.5, "0, 1, true or false"),
        ("BlackenAroundFeature", -1, "0, 1, true or false"),
        ("BlackenAroundFeature", [], "0, 1, true or false"),
        ("ImageSpaceUsed", 1, "a text"),
        ("DataRange", [0], "two numbers"),
        ("DataRange", [1, 1], "two numbers, the smaller one first"),
        ("DataRange", [1, 0], "two numbers, the smaller one first"),
        ("DataRange", ["0", "1"], "a number"),
        ("DataRange", "0..1", "a list of numbers"),
        ("BatchSize", 0, "a whole number from 1"),
        ("BatchSize", "4", "a whole number from 1"),
        ("BatchSize", 1.5, "a whole number from 1"),
        ("MinCellSize", -1, "a number of 0 or more"),
        ("MinCellSize", "0.3", "a number"),
        ("MaxCellSize", {"x": "a"}, "a number"),
        ("MaxCellSize", True, "a number"),
        ("MetaDataMode", 3, "a text"),
        ("Activation", "relu", "softmax, sigmoid or none"),
        ("Activation", ["softmax"], "softmax, sigmoid or none"),
        ("Normalization", "imagenet", '"none" or an object with scale, mean and std'),
        ("Normalization", {"scale": 1}, '"none" or an object with scale, mean and std'),
        ("Normalization", {"mean": [0, 0, 0], "std": [1, 0, 1]}, "without zeros"),
        ("Normalization", {"mean": [0, 0, 0], "std": [1, 1]}, "3 means and 2 deviations"),
        ("Normalization", {"mean": [0, 0], "std": [1, 1]}, "is for 2 bands, ExtractBands takes 3"),
        ("Normalization", {"mean": [], "std": []}, "a list of numbers"),
        ("Normalization", {"mean": ["0"], "std": [1]}, "a number"),
        ("Normalization", {"mean": [0, 0, 0], "std": [1, 1, 1], "scale": "1"}, "a number"),
        ("Classes", {}, "a list of two or more classes"),
        ("Classes", [], "a list of two or more classes"),
        ("Classes", [{"Value": 1, "Name": "one"}], "a list of two or more classes"),
        ("Classes", ["a", "b"], "a list of objects"),
        ("Classes", [{"Value": 1}, {"Value": 2, "Name": "b"}], "Classes.Name"),
        ("Classes", [{"Name": "a"}, {"Value": 2, "Name": "b"}], "Classes.Value"),
        ("Classes", [{"Value": "1.5", "Name": "a"}, {"Value": 2, "Name": "b"}], "a whole number"),
        ("Classes", [{"Value": "one", "Name": "a"}, {"Value": 2, "Name": "b"}], "a whole number"),
        ("Classes", [{"Value": "9" * 20, "Name": "a"}, {"Value": 2, "Name": "b"}], "a whole number"),
        ("Classes", [{"Value": float("nan"), "Name": "a"}, {"Value": 2, "Name": "b"}], "a whole number"),
        ("Classes", [{"Value": 1, "Name": "\udfff"}, {"Value": 2, "Name": "b"}], "a text"),
        ("Classes", [{"Value": 1, "Name": 5}, {"Value": 2, "Name": "b"}], "a text"),
    ],
)
def test_wrong_type_or_range_names_the_key_and_what_is_wanted(key: str, value: Any, words: str) -> None:
    said = problem(**{key: value})
    assert key in said or "normalisation" in said
    assert words in said


@pytest.mark.parametrize(("key", "value"), [("ModelConfiguration", 7), ("InferenceFunction", [1])])
def test_known_key_that_nothing_depends_on_is_checked_too(key: str, value: Any) -> None:
    assert key in problem(**{key: value})


@each_row("key", ["ModelFile", "ImageWidth", "ImageHeight", "Classes"])
@each_row("null", [False, True])
def test_missing_required_key_is_named_and_null_counts_as_missing(key: str, null: bool) -> None:
    with pytest.raises(PackageError, match=f"has no {key}"):
        parse_definition(json.dumps(definition() | {key: None}).encode() if null else without(key))


@each_row(
    "key",
    [
        "Framework",
        "ModelType",
        "ExtractBands",
        "CropSizeFixed",
        "BlackenAroundFeature",
        "ImageSpaceUsed",
        "DataRange",
        "BatchSize",
        "MinCellSize",
        "MaxCellSize",
        "MetaDataMode",
        "NormalizationStats",
        "Normalization",
        "Activation",
        "OutputName",
        "test_time_augmentation",
        "ModelConfiguration",
    ],
)
@each_row("nothing", [None, ""])
def test_null_and_the_empty_text_are_the_same_as_absent(key: str, nothing: Any) -> None:
    assert read(**{key: nothing}) == parse_definition(without(key))


@pytest.mark.parametrize(
    "changes",
    [
        {"Classes": [{"Value": None, "ClassValue": 1, "Name": None, "ClassName": "a"}, {"Value": 2, "Name": "b"}]},
        {"Classes": [{"Value": "", "ClassValue": 1, "Name": "", "ClassName": "a"}, {"Value": 2, "Name": "b"}]},
        {"Normalization": {"scale": None, "mean": [0, 0, 0], "std": [1, 1, 1]}},
        {"Normalization": {"scale": "", "mean": [0, 0, 0], "std": [1, 1, 1]}},
    ],
    ids=["class", "class-of-empty-text", "scale", "scale-of-empty-text"],
)
def test_null_is_absent_within_known_keys_too(changes: dict[str, Any]) -> None:
    assert read(**changes).network_file == "net.onnx"


@each_row("key", ["ImageWidth", "BatchSize", "MinCellSize"])
@each_row("digits", [400, 5000, 1_000_000])
def test_number_beyond_every_float_is_refused_in_little_time(key: str, digits: int) -> None:
    text = json.dumps(definition() | {key: "number"}).replace('"number"', "1" + "0" * digits)
    start = time.perf_counter()
    with pytest.raises(PackageError, match=key):
        parse_definition(text.encode())
    assert time.perf_counter() - start < 2


METRICS: dict[str, str] = {
    # the case: what Python's json.dump writes of a training without a metric
    "case": '"ModelPerformance": {"accuracy": 0.97, "macro_f1": NaN}',
    "loss": '"monitored_valid_loss": Infinity',
    "list": '"LearningRates": [1e-3, NaN, -Infinity]',
    "huge": '"Samples": ' + "9" * 5000,
    "statistics-that-are-not-read": '"DataAttributes": {"norm_stats": [NaN, [NaN]]}',
    "band-that-is-not-taken": '"NormalizationStats": ' + json.dumps(STATS | {"scaled_std_values": [1, 1, 1, math.nan]}),
    "statistics-of-another-kind": '"NormalizationStats": ' + json.dumps(STATS | {"band_mean_values": [math.nan] * 4}),
    "half-a-character": '"Description": "\\ud83c"',
    "twice": '"ModelName": NaN, "ModelName": "b"',
}


@each_row("name", METRICS)
def test_what_is_no_number_is_ignored_where_nothing_reads_it(name: str) -> None:
    """ArcGIS and arcgis.learn read the .emd with Python's json, which is the oracle here."""
    plain = json.dumps(definition(Normalization=None))
    text = plain[:-1] + ", " + METRICS[name].replace("\\\\", "\\") + "}"
    assert name == "huge" or json.loads(text)
    found = parse_definition(text.encode())
    expected = parse_definition(plain.encode())
    assert (found.classes, found.chip_width, found.bands) == (expected.classes, expected.chip_width, expected.bands)
    assert (found.normalization is not None) == ("NormalizationStats" in text)


def test_statistics_of_a_band_that_is_taken_have_to_be_numbers() -> None:
    stats = STATS | {"scaled_std_values": [1, math.nan, 1, 1]}
    assert "scaled_std_values is NaN" in problem(Normalization=None, NormalizationStats=stats)


@each_row(("value", "expected"), [("1", 1), (" 12 ", 12), ("-3", -3), ("+7", 7), ("4.0", 4), (5.0, 5), ("0", 0)])
def test_class_value_may_be_text(value: Any, expected: int) -> None:
    found = read(Classes=[{"Value": value, "Name": "a"}, {"Value": 100, "Name": "b"}]).classes[0].value
    assert (found, type(found)) == (expected, int)


@each_row(
    "color", ["red", "", {}, [], [1, 2], [0, 0, 256], [math.nan, 0, 0], ["1", "2", "3"], [None, 0, 0], [True, 0, 0], 7]
)
def test_color_that_cannot_be_read_is_none(color: Any) -> None:
    classes = [{"Value": 1, "Name": "a", "Color": color}, {"Value": 2, "Name": "b", "Color": [0, 128, 255, "x"]}]
    assert [item.color for item in read(Classes=classes).classes] == [None, (0, 128, 255)]


@each_row(
    ("text", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\x80\x04\x95pickle", "not JSON"),
        (json.dumps(definition()).encode("utf-16"), "not JSON"),
        (json.dumps(definition() | {"ModelFile": "é.onnx"}, ensure_ascii=False).encode("latin-1"), "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"ModelFile": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"null", "not a JSON object"),
    ],
)
def test_what_is_not_a_json_object_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(PackageError, match=words):
        parse_definition(text)


def test_byte_order_mark_is_skipped() -> None:
    text = json.dumps(definition(), indent=2).encode()
    assert parse_definition(b"\xef\xbb\xbf" + text) == parse_definition(text)


def test_unknown_keys_change_nothing() -> None:
    more: dict[str, Any] = {
        "LearningRate": "0.004365158322401656",
        "ModelParameters": {"backend": "pytorch"},
        "resize_to": None,
        "imagewidth": "not ImageWidth",
        "": [{}],
        "SupportsVariableTileSize": False,
        "Threshold": "nonsense",
    }
    assert read(**more) == read()


def test_modern_esri_definition_is_read() -> None:
    found = read(
        Framework="arcgis.learn.models._inferencing",
        ModelConfiguration={"Name": "_FeatureClassifier"},
        InferenceFunction="[Functions]System\\DeepLearning\\ArcGISLearn\\ArcGISObjectClassifier.py",
        MetaDataMode="Labeled_Tiles",
        MinCellSize={"x": 0.3, "y": 0.3},
        MaxCellSize=None,
        ModelFormat="NCHW",
        IsMultispectral=False,
    )
    assert (found.framework, found.min_cell_size) == ("arcgis.learn.models._inferencing", CellSize(0.3))


def test_help_page_sample_is_read_whole() -> None:
    found = parse_definition(json.dumps(HELP_PAGE).encode())
    assert found == ModelDefinition(
        framework="Keras",
        network_file="C:/DeepLearning/Damage_Classification_Model_V7.h5",
        backbone=None,
        chip_width=256,
        chip_height=256,
        bands=(0, 1, 2),
        fixed_size=True,
        blacken=True,
        map_space=True,
        data_range=None,
        test_time_augmentation=False,
        batch_size=None,
        min_cell_size=None,
        max_cell_size=None,
        multi_label=False,
        normalization=None,
        statistics=None,
        states_cells=False,
        activation=None,
        resampling="skimage",
        is_keras_classifier=True,
        output_name=None,
        precision=None,
        classes=(ModelClass(0, "Damaged", (255, 0, 0)), ModelClass(1, "Undamaged", (76, 230, 0))),
    )


def test_help_page_sample_is_refused_as_a_package_because_the_network_must_be_onnx(tmp_path: Path) -> None:
    folder = tmp_path / "damage"
    folder.mkdir()
    (folder / "Damage_Classification_Model_V7.emd").write_text(json.dumps(HELP_PAGE))
    (folder / "Damage_Classification_Model_V7.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    package = read_package(folder, tmp_path / "unpacked", 2**20)
    assert package.definition is not None
    assert package.definition.chip_width == 256
    assert package.network is None
    assert package.problem is not None
    assert "'Damage_Classification_Model_V7.h5': the network must be ONNX" in package.problem


def test_classes_keep_their_order_and_are_never_sorted() -> None:
    names = ["zebra", "ant", "mule", "bee"]
    classes = [{"Value": value, "Name": name} for value, name in zip([7, -1, 30, 2], names, strict=True)]
    found = read(Classes=classes).classes
    assert [item.name for item in found] == names
    assert [item.value for item in found] == [7, -1, 30, 2]


def test_old_class_keys_are_read() -> None:
    found = read(
        Classes=[{"ClassValue": 1, "ClassName": "Damaged", "Color": [17, 157, 34]}, {"ClassValue": 2, "ClassName": "x"}]
    )
    assert found.classes == (ModelClass(1, "Damaged", (17, 157, 34)), ModelClass(2, "x", None))


@each_row("color", [[-1, -1, -1], None, [-1, 0, 0]])
def test_minus_one_is_no_color(color: Any) -> None:
    classes = [{"Value": 1, "Name": "a", "Color": color}, {"Value": 2, "Name": "b", "Color": [0, 128, 255, 9]}]
    assert [item.color for item in read(Classes=classes).classes] == [None, (0, 128, 255)]


@each_row("bands", [[0, 1, 2], [3, 0, 2], [1], [2, 2]])
def test_normalization_stats_are_esris_formula(bands: list[int]) -> None:
    found = read(Normalization=None, NormalizationStats=STATS, ExtractBands=bands).normalization
    values = cells(len(bands))
    low, high, mean, std = (
        np.array(STATS[name])[bands].reshape(-1, 1, 1)
        for name in ("band_min_values", "band_max_values", "scaled_mean_values", "scaled_std_values")
    )
    np.testing.assert_allclose(
        normalized(values, found), ((values - low) / (high - low) - mean) / std, rtol=1e-12, atol=1e-12
    )


def test_normalization_stats_without_extract_bands_are_for_every_band() -> None:
    found = read(Normalization=None, NormalizationStats=STATS, ExtractBands=None).normalization
    assert found is not None
    assert len(found.scale) == len(found.offset) == 4


def test_normalization_stats_without_width_divide_by_one_and_a_std_of_zero_is_a_hundredth() -> None:
    stats = STATS | {"band_max_values": [1.0, 52.0, 203.0, 240.0], "scaled_std_values": [0.1, 0, 0.15, 0.075]}
    found = read(Normalization=None, NormalizationStats=stats).normalization
    values = cells(3)
    result = normalized(values, found)
    np.testing.assert_allclose(result[0], ((values[0] - 1) / 1 - 0.49) / 0.1, rtol=1e-12)
    np.testing.assert_allclose(result[1], ((values[1] - 2) / 50 - 0.36) / 0.01, rtol=1e-12, atol=1e-9)


@each_row(
    ("changes", "words"),
    [
        ({"NormalizationStats": []}, "an object of per-band arrays"),
        ({"NormalizationStats": {"band_min_values": [0, 0, 0]}}, "has no NormalizationStats.band_max_values"),
        ({"NormalizationStats": STATS | {"band_min_values": 5}}, "band_min_values is 5"),
        ({"NormalizationStats": STATS | {"scaled_std_values": [1, 1, None, 1]}}, "scaled_std_values is null"),
        ({"NormalizationStats": STATS | {"scaled_std_values": [1, 1]}}, "scaled_std_values has 2 values"),
        ({"NormalizationStats": STATS, "ExtractBands": [0, 1, 4]}, "has 4 values"),
    ],
)
def test_normalization_stats_that_do_not_fit_are_refused(changes: dict[str, Any], words: str) -> None:
    assert words in problem(Normalization=None, **changes)


@each_row("framework", ["arcgis.learn.models._inferencing", "arcgis.learn"])
@each_row("bands", [[0, 1, 2], None])
def test_arcgis_learn_without_statistics_is_imagenet(framework: str, bands: Any) -> None:
    found = read(Normalization=None, Framework=framework, ExtractBands=bands).normalization
    values = cells(3)
    mean, std = (
        255 * np.array(numbers).reshape(-1, 1, 1) for numbers in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    np.testing.assert_allclose(normalized(values, found), (values - mean) / std, rtol=1e-12, atol=1e-12)


@each_row(
    "configuration", ["FeatureClassifier", "_FeatureClassifier", {"Name": "_FeatureClassifier", "Architecture": "x"}]
)
def test_arcgis_learns_classifier_is_imagenet_whatever_the_framework(configuration: Any) -> None:
    """Esri's samples have `Framework: "PyTorch"`."""
    found = read(Normalization=None, Framework="PyTorch", ModelConfiguration=configuration)
    assert found.normalization == read(Normalization=None, Framework="arcgis.learn").normalization
    assert read(Normalization="none", ModelConfiguration=configuration).normalization is None


@each_row(("framework", "bands"), [("PyTorch", [0, 1, 2]), (None, [0, 1, 2]), ("arcgis.learn", [0, 1, 2, 3])])
def test_without_normalization_nothing_is_done(framework: str | None, bands: list[int]) -> None:
    assert read(Normalization=None, Framework=framework, ExtractBands=bands).normalization is None


@each_row("scale", [1, 1 / 255, 2.5])
def test_normalization_is_value_times_scale_minus_mean_by_std(scale: float) -> None:
    mean, std = [0.4, -3, 12.5], [0.2, 7, -1]
    found = read(Normalization={"scale": scale, "mean": mean, "std": std}).normalization
    values = cells(3)
    expected = (values * scale - np.reshape(mean, (-1, 1, 1))) / np.reshape(std, (-1, 1, 1))
    np.testing.assert_allclose(normalized(values, found), expected, rtol=1e-12, atol=1e-12)


def test_normalization_without_scale_leaves_values_as_they_are() -> None:
    found = read(Normalization={"mean": [1, 2, 3], "std": [1, 1, 1]}).normalization
    assert found == Normalization((1.0, 1.0, 1.0), (-1.0, -2.0, -3.0))


def test_normalization_goes_before_statistics_and_none_means_none() -> None:
    own = {"scale": 1, "mean": [0, 0, 0], "std": [2, 2, 2]}
    found = read(Normalization=own, NormalizationStats=STATS, Framework="arcgis.learn").normalization
    assert found is not None
    assert found.scale == (0.5, 0.5, 0.5)
    assert read(Normalization="none", NormalizationStats=STATS, Framework="arcgis.learn").normalization is None
