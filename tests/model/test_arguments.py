"""Model arguments come as ArcGIS sends them, strings included, and each wrong one is said with its place."""

from __future__ import annotations

import json
from typing import Any

from conftest import definition
from processes.model.arguments import ModelArguments, declared_arguments, read_arguments
from processes.model.definition import parse_definition
from tables import each_row

NAMES = ["batch_size", "score_threshold", "test_time_augmentation", "class_scores"]


def read(given: dict[str, Any], **changes: Any) -> tuple[ModelArguments, list[tuple[str, str]]]:
    """Return the arguments and the faults, as pointer and words."""
    model = parse_definition(json.dumps(definition(**changes)).encode())
    arguments, faults = read_arguments(given, model, "/inputs/modelArguments")
    return arguments, [(fault.pointer, fault.detail) for fault in faults]


def value(name: str, given: Any) -> Any:
    arguments, faults = read({name: given})
    assert faults == []
    return getattr(arguments, name)


def fault(name: str, given: Any) -> str:
    _, faults = read({name: given})
    ((pointer, detail),) = faults
    assert pointer == f"/inputs/modelArguments/{name}"
    return detail


def test_nothing_given_is_the_defaults() -> None:
    assert read({}) == (ModelArguments(None, 0, False, False), [])


def test_defaults_follow_the_model() -> None:
    arguments, _ = read({}, BatchSize=16, MetaDataMode="MultiLabeled_Tiles")
    assert (arguments.batch_size, arguments.score_threshold) == (16, 0.5)
    given, _ = read({"batch_size": 2, "score_threshold": 0}, BatchSize=16, MetaDataMode="MultiLabeled_Tiles")
    assert (given.batch_size, given.score_threshold) == (2, 0)


@each_row(
    ("given", "expected"),
    [(4, 4), (4.0, 4), ("4", 4), (" 64 ", 64), ("4.0", 4), ("1e1", 10), ("1e3", 1000), ("+7", 7), (1, 1), (4096, 4096)],
)
def test_batch_size_is_a_whole_number_or_text_that_parses(given: Any, expected: int) -> None:
    found = value("batch_size", given)
    assert found == expected
    assert type(found) is int


@each_row(
    "given",
    [
        *(0, -1, 1.5, "1.5", "", " ", "four", "nan", "inf", "-inf", "1e999", "0x10", True, False, None, [4], {}),
        *(
            "true",
            "４",
            "٤",
            "1_0",
            "4,0",
            10**400,
            10**5000,
            float("nan"),
            float("inf"),
        ),
    ],
)
def test_batch_size_that_is_no_whole_number_above_zero_is_refused(given: Any) -> None:
    assert "batch_size is " in fault("batch_size", given)


def test_batch_size_has_no_upper_limit() -> None:
    assert value("batch_size", 5000) == 5000


@each_row(("given", "expected"), [(0, 0.0), (1, 1.0), (0.25, 0.25), ("0.25", 0.25), (" .5 ", 0.5), ("1e-3", 0.001)])
def test_score_threshold_is_a_probability_or_text_that_parses(given: Any, expected: float) -> None:
    assert value("score_threshold", given) == expected


@each_row("given", [-0.01, 1.01, "2", "50%", "0,5", "nan", "inf", True, None, [0.5], "", "٠.5"])
def test_score_threshold_outside_0_to_1_is_refused(given: Any) -> None:
    assert "score_threshold is " in fault("score_threshold", given)


@each_row("name", ["test_time_augmentation", "class_scores"])
@each_row(
    ("spellings", "expected"),
    [(["true", "t", "yes", "y", "1"], True), (["false", "f", "no", "n", "0"], False)],
)
def test_booleans_of_every_spelling_case_and_blanks(name: str, spellings: list[str], expected: bool) -> None:
    for text in spellings:
        for spelling in (text, text.upper(), text.capitalize(), f" {text}\t", f"\n{text.upper()} "):
            assert value(name, spelling) is expected, repr(spelling)
    assert value(name, expected) is expected


@each_row("given", [1, 0, 1.0, 0.0, 2, None, "", " ", "on", "off", "truee", "ja", "2", [], ["true"], {}])
def test_numbers_and_other_words_are_not_booleans(given: Any) -> None:
    assert "neither true nor false" in fault("class_scores", given)


@each_row("name", ["Padding", "Batch_Size", "batch size", "", "thresholds"])
def test_unknown_name_lists_the_known_ones(name: str) -> None:
    detail = fault(name, 1)
    assert repr(name) in detail
    assert all(known in detail for known in NAMES)


def test_every_fault_is_told_with_a_pointer_as_rfc_6901_writes_it() -> None:
    arguments, faults = read({"batch_size": "x", "a/b~c": 1, "class_scores": "yes", "score_threshold": 7})
    assert [pointer for pointer, _ in faults] == [
        "/inputs/modelArguments/batch_size",
        "/inputs/modelArguments/a~1b~0c",
        "/inputs/modelArguments/score_threshold",
    ]
    assert arguments.class_scores is True


def test_endless_values_are_not_repeated_whole() -> None:
    assert len(fault("class_scores", "x" * 10_000)) < 300
    assert len(fault("batch_size", "x" * 10_000)) < 300


def test_endless_names_are_not_repeated_whole() -> None:
    assert len(fault("x" * 10_000, 1)) < 300


def test_endless_numbers_are_not_repeated_whole() -> None:
    assert len(fault("batch_size", "0" * 10_000)) < 300


def test_declared_arguments_are_those_that_are_read() -> None:
    model = parse_definition(json.dumps(definition(BatchSize=8)).encode())
    declared = declared_arguments(model)
    assert [item.name for item in declared] == NAMES
    assert {item.name: item.value for item in declared} == {
        "batch_size": 8,
        "score_threshold": 0,
        "test_time_augmentation": False,
        "class_scores": False,
    }
    assert not any(item.required for item in declared)


@each_row(
    ("given", "told"),
    [
        ({"padding": 0}, ("the model argument padding has no effect here",)),
        ({"padding": "56"}, ("the model argument padding has no effect here",)),
        ({"explainability_map": "False"}, ("the model argument explainability_map has no effect here",)),
        ({"explainability_map": False}, ("the model argument explainability_map has no effect here",)),
        (
            {"padding": "0", "threshold": 0.5, "explainability_map": "f"},
            ("the model arguments padding and explainability_map have no effect here",),
        ),
        ({"threshold": 0.5}, ()),
    ],
)
def test_arguments_of_esris_tools_without_effect_are_warned_of(given: dict[str, Any], told: tuple[str, ...]) -> None:
    arguments, faults = read(given)
    assert (faults, arguments.warnings) == ([], told)


def test_threshold_is_another_name() -> None:
    arguments, _ = read({"threshold": "0.25"})
    assert arguments.score_threshold == 0.25
    assert "score_threshold is 2" in fault("threshold", 2)
    _, faults = read({"threshold": 0.1, "score_threshold": 0.2})
    assert faults == [
        ("/inputs/modelArguments/threshold", "threshold is another name of score_threshold: give one of them")
    ]


@each_row(
    ("name", "given", "words"),
    [
        ("padding", "wide", "padding is 'wide', not a number"),
        ("padding", -1, "padding is -1, not a number of 0 or more"),
        ("explainability_map", "True", "no such map is made"),
        ("explainability_map", "perhaps", "neither true nor false"),
    ],
)
def test_arguments_of_esris_tools_that_ask_for_more_are_refused(name: str, given: Any, words: str) -> None:
    assert words in fault(name, given)


@each_row(
    ("stated", "given", "expected"),
    [(True, {}, True), ("True", {}, True), (True, {"test_time_augmentation": "f"}, False)],
)
def test_default_of_the_augmentation_is_the_packages(stated: Any, given: dict[str, Any], expected: bool) -> None:
    arguments, _ = read(given, test_time_augmentation=stated)
    assert arguments.test_time_augmentation is expected
