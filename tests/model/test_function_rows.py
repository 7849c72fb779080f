"""What a raster function declares and returns, read: arguments, fields and rows."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from conftest import definition
from processes.errors import InputError, PackageError
from processes.model.arguments import ModelArguments, declared_arguments, read_arguments
from processes.model.definition import parse_definition
from processes.model.function_arguments import declared_by, read_text_value
from processes.model.function_configuration import with_configuration
from processes.model.function_fields import added_by
from processes.model.function_rows import FunctionRows, read_rows
from processes.model.raster_functions import FunctionField, RasterFunction, configuration_of_chips, function_file
from tables import each_row

CLASSES = parse_definition(json.dumps(definition()).encode()).classes


def row_of(**attributes: Any) -> FunctionRows:
    return read_rows([attributes], 1, (), CLASSES)


@each_row(
    ("attributes", "label", "winner"),
    [
        ({"Label": "bright"}, "bright", 1),
        ({"label": "dark"}, "dark", 0),
        ({"Class": 20, "Confidence": 1}, "bright", 1),
        ({"Class": 20, "Classname": "dark"}, "dark", 0),
        ({"Class": 99}, "99", -1),
        ({"Label": "a bright one"}, "a bright one", -1),
        ({"Label": "dark;bright"}, "dark;bright", -1),
        ({"Label": ""}, "", -1),
        ({"Label": None}, None, -1),
        ({"Label": "half \ud800"}, "half ?", -1),
    ],
)
def test_labels_are_kept_and_classes_found(attributes: dict[str, Any], label: str | None, winner: int) -> None:
    found = row_of(**attributes)
    assert (found.labels[0], found.winner[0]) == (label, winner)


@each_row(
    ("given", "confidence", "scores"),
    [
        ("0.25", 0.25, [math.nan] * 2),
        (0.25, 0.25, [math.nan] * 2),
        ("0.25;0.875", 0.875, [0.25, 0.875]),
        (100.0, 1, [math.nan] * 2),
        (1.0000001, 1, [math.nan] * 2),
        (None, math.nan, [math.nan] * 2),
        ("", math.nan, [math.nan] * 2),
    ],
)
def test_confidences_are_numbers_from_0_to_1(given: Any, confidence: float, scores: list[float]) -> None:
    found = row_of(Label="dark", Confidence=given)
    np.testing.assert_allclose([*found.confidence, *found.scores[0]], [confidence, *scores], atol=1e-6)
    assert found.is_finite.all()


def test_a_confidence_that_is_no_finite_number_is_told() -> None:
    assert not row_of(Label="dark", Confidence="nan").is_finite.any()
    assert not row_of(Label="dark", Confidence=math.inf).is_finite.any()


def test_values_of_fields_have_their_kinds() -> None:
    fields = (FunctionField("T", "text"), FunctionField("I", "integer"), FunctionField("N", "number"))
    rows = [
        {"Label": "dark", "T": "é", "I": 3, "N": 1},
        {"Label": "dark", "t": 5, "i": "7", "n": "0.5"},
        {"Label": "dark", "T": ["a"], "I": 4.0, "N": math.nan},
        {"Label": "dark"},
    ]
    found = read_rows(rows, 4, fields, CLASSES)
    assert [column.tolist() for column in found.fields] == [
        ["é", "5", '["a"]', None],
        [3, 7, 4, None],
        [1.0, 0.5, None, None],
    ]
    for name, value in (("I", 1.5), ("I", 2**64), ("N", "much"), ("I", "x"), ("N", [1])):
        with pytest.raises(PackageError, match=name):
            read_rows([{"Label": "dark", name: value}], 1, fields, CLASSES)


@each_row("rows", [None, {}, [], [{}, {}], [None], ["dark"], [{"Confidence": 1}]])
def test_what_are_no_rows_is_refused(rows: Any) -> None:
    with pytest.raises(PackageError, match="raster function returned"):
        read_rows(rows, 1, (), CLASSES)


def test_fields_but_id_shape_label_and_confidence_are_added() -> None:
    fields = [
        {"name": "OID", "type": "esriFieldTypeOID"},
        {"name": "Classname", "type": "esriFieldTypeString"},
        {"name": "Class", "type": "esriFieldTypeInteger"},
        {"name": "Confidence", "type": "esriFieldTypeDouble"},
        {"name": "Shape", "type": "esriFieldTypeGeometry"},
        {"name": "ExpMap", "type": "esriFieldTypeBlob"},
        {"name": "Area", "type": "esriFieldTypeSingle"},
    ]
    assert added_by(fields) == (
        FunctionField("Class", "integer"),
        FunctionField("ExpMap", "text"),
        FunctionField("Area", "number"),
    )
    wrong: Any
    for wrong in (None, {}, [1], [{}], [{"name": ""}], [{"name": "a\nb"}], [{"name": "A"}, {"name": "a"}]):
        with pytest.raises(PackageError, match="getFields"):
            added_by(wrong)


def test_parameters_but_those_of_the_tool_are_declared() -> None:
    found = declared_by(
        [
            {"name": "stack", "dataType": "rasters", "required": True},
            {"name": "prompt", "dataType": "string", "required": True, "domain": ["a", "b"], "description": "What"},
            {"name": "share", "dataType": "numeric", "value": 0.5},
            {"name": "strict", "dataType": "boolean", "value": True, "displayName": "Strict"},
        ]
    )
    assert [(item.name, item.dataType, item.value, item.required) for item in found] == [
        ("prompt", "string", None, True),
        ("share", "numeric", 0.5, False),
        ("strict", "boolean", True, False),
    ]
    assert found[0].description == "What; one of a, b"
    wrong: Any
    for wrong in (None, {}, [1], [{"dataType": "numeric"}], [{"name": "a"}, {"name": "a"}]):
        with pytest.raises(PackageError, match="getParameterInfo"):
            declared_by(wrong)


PARAMETERS = [
    {"name": "batch_size", "dataType": "numeric", "value": 8},
    {"name": "threshold", "dataType": "numeric", "value": "0.3"},
    {"name": "test_time_augmentation", "dataType": "string", "value": "True"},
    {"name": "padding", "dataType": "numeric", "value": 0},
    {"name": "prompt", "dataType": "string", "value": "a tree"},
    {"name": "strict", "dataType": "boolean", "value": False},
    {"name": "none", "dataType": "string"},
]
FUNCTION = RasterFunction("F.py", "0" * 64, None, True, arguments=declared_by(PARAMETERS))


def read(
    given: dict[str, Any], function: RasterFunction = FUNCTION, **changes: Any
) -> tuple[ModelArguments, list[str]]:
    model = parse_definition(json.dumps(definition(**changes)).encode())
    arguments, faults = read_arguments(given, model, "/m", (None, None), function)
    return arguments, [f"{fault.pointer}: {fault.detail}" for fault in faults]


def test_arguments_of_every_model_win_and_have_the_functions_defaults() -> None:
    model = parse_definition(json.dumps(definition()).encode())
    found = {item.name: (item.dataType, item.value) for item in declared_arguments(model, (None, None), FUNCTION)}
    assert found == {
        "batch_size": ("numeric", 8),
        "score_threshold": ("numeric", 0.3),
        "test_time_augmentation": ("boolean", True),
        "class_scores": ("boolean", False),
        "padding": ("numeric", 0),
        "prompt": ("string", "a tree"),
        "strict": ("boolean", False),
        "none": ("string", None),
    }


def test_every_argument_is_handed_over_as_text() -> None:
    defaults = {"batch_size": "8", "threshold": "0.3", "test_time_augmentation": "True", "padding": "0"}
    defaults |= {"prompt": "a tree", "strict": "False", "none": ""}
    arguments, faults = read({})
    assert (dict(arguments.function_values), faults) == (defaults, [])
    assert (arguments.batch_size, arguments.score_threshold, arguments.test_time_augmentation) == (8, 0.3, True)
    given = {"batch_size": "2", "score_threshold": 0.75, "test_time_augmentation": "f", "padding": 3.0}
    arguments, faults = read(given | {"prompt": "a house", "strict": True})
    expected = {"batch_size": "2", "threshold": "0.75", "test_time_augmentation": "False", "padding": "3"}
    assert dict(arguments.function_values) == defaults | expected | {"prompt": "a house", "strict": "True"}
    assert (faults, arguments.warnings) == ([], ())


@each_row(
    "given",
    [
        *({"padding": "x"}, {"padding": True}, {"padding": None}, {"padding": "1e999"}, {"padding": [1]}),
        *({"strict": "maybe"}, {"strict": 2}, {"prompt": None}, {"prompt": {}}, {"prompt": "a\0b"}),
        *({"other": 1}, {"class_scores": True}, {"batch_size": 0}, {"explainability_map": True}),
    ],
)
def test_wrong_values_are_told_with_their_place(given: dict[str, Any]) -> None:
    (fault,) = read(given)[1]
    assert fault.startswith(f"/m/{next(iter(given))}: ")


def test_what_a_function_needs_is_required() -> None:
    needing = RasterFunction("F.py", "0" * 64, None, True, arguments=declared_by([{"name": "key", "required": True}]))
    assert read({}, needing)[1] == ["/m/key: the model argument key is required"]
    assert read({"key": "a"}, needing)[1] == []


def test_augmentation_that_a_function_does_not_have_is_refused() -> None:
    plain = RasterFunction("F.py", "0" * 64, None, True)
    assert read({}, plain, test_time_augmentation=True)[0].test_time_augmentation is False
    (fault,) = read({"test_time_augmentation": True}, plain)[1]
    assert "leave it out" in fault


def test_a_number_of_thousands_of_digits_is_no_value() -> None:
    (argument,) = declared_by([{"name": "a", "dataType": "numeric"}])
    with pytest.raises(InputError, match="a "):
        read_text_value(argument, 10**5000)


def test_the_configuration_is_obeyed_before_the_definition() -> None:
    model = parse_definition(json.dumps(definition()).encode())
    asked = {"tx": 16, "ty": 12, "CropSizeFixed": 0, "BlackenAroundFeature": "1", "extractBands": [2, 0]}
    found = with_configuration(model, configuration_of_chips(asked | {"dataRange": [0, 1], "inputMask": True}))
    assert (found.chip_width, found.chip_height, found.fixed_size, found.blacken) == (16, 12, False, True)
    assert (found.bands, found.data_range, found.normalization) == ((2, 0), (0, 1), None)
    same = with_configuration(model, configuration_of_chips({"extractBands": None, "dataRange": []}))
    assert (same.chip_width, same.bands, same.data_range) == (model.chip_width, model.bands, model.data_range)
    with pytest.raises(PackageError, match="tx"):
        with_configuration(model, configuration_of_chips({"tx": -1}))


@each_row(
    ("named", "file"),
    [
        ("ArcGISObjectClassifier.py", "ArcGISObjectClassifier.py"),
        (".\\functions\\A.py", "functions/A.py"),
        ("[Functions]System\\DeepLearning\\ArcGISLearn\\ArcGISObjectClassifier.py", None),
        *((name, None) for name in ("../A.py", "/opt/A.py", "C:\\A.py", "A.pyc", "", None, "A.py\0")),
    ],
)
def test_the_file_of_a_function_lies_in_the_package(named: str | None, file: str | None) -> None:
    assert function_file(named) == file
