"""The network's scores are the scores: the right output is read, or the outputs are named. Oracle: plain onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from model_networks import band_means, checked, problem_of, save_network
from processes.model.check import CheckOutcome
from processes.model.definition import parse_definition
from processes.model.session import Session, SessionKey
from tables import each_row

TWO = [{"Value": 0, "Name": "low"}, {"Value": 1, "Name": "high"}]
THREE = [{"Value": value, "Name": name} for value, name in ((10, "ash"), (20, "beech"), (30, "cedar"))]
WEIGHTS = np.eye(3, dtype=np.float32) / 20
"""The brightest band wins."""
FLOAT, INT64, STRING, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING, TensorProto.BOOL
CONSTANTS: dict[str, Any] = {
    "weights": WEIGHTS,
    "five": np.ones((3, 5), np.float32),
    "same": np.ones((3, 3), np.float32),
    "turn": np.array([2, 1, 0]),
    "one": np.array([1]),
    "zero": np.zeros((), np.float32),
    "values": np.array([10, 20, 30]),
    "sorted": np.array(["Ash", "Beech", "Cedar"]),
    "names": np.array(["ash", "beech", "cedar"]),
    "swapped": np.array(["beech", "ash", "cedar"]),
    "far": np.array([7, 8, 9]),
    "far_back": np.array([9, 8, 7]),
    "ones": np.array([1, 2, 3]),
    "grey": np.array(["water", "water", "water"]),
    **{f"place{place}": np.array([place]) for place in range(3)},
    "step": np.array(1 / 256, np.float32),
    "nought": np.array(0, np.uint8),
}


def node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), output.split(), **attributes)


BASE = [
    *band_means(into="means"),
    node("MatMul", "means weights", "z"),
    node("Softmax", "z", "p", axis=1),
    node("ArgMax", "z", "place", axis=1, keepdims=0),
]


def make(
    path: Path, more: Sequence[onnx.NodeProto], outputs: Mapping[str, tuple[int, Sequence[Any] | None]], **options: Any
) -> Path:
    """Write a network with logits `z`, probabilities `p` and the winner's place `place` of three classes, and more."""
    values = [helper.make_tensor_value_info(name, element, shape) for name, (element, shape) in outputs.items()]
    return save_network(path, [*BASE, *more], outputs=values, constants=CONSTANTS, **options)


def labels_by_plain_onnxruntime(network: Path, output: str, chips: NDArray[np.uint8]) -> list[int]:
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    (scores,) = session.run([output], {"input": chips.astype(np.float32)})
    return [int(place) for place in np.asarray(scores).argmax(axis=1)]


def check_labels(network: Path, output: str, **changes: Any) -> CheckOutcome:
    """Check that a package is sound, and that its labels are those of that output of the network."""
    keys = {"Normalization": "none", "Classes": THREE} | changes
    outcome = checked(network, **keys)
    assert (outcome.problem, outcome.output_name) == (None, output)
    chips = np.random.default_rng(3).integers(0, 256, (40, 3, 1, 1), np.uint8).repeat(8, 2).repeat(8, 3)
    parsed = parse_definition((network.parent / "made.emd").read_bytes())
    session = Session(SessionKey(network, "0" * 64, parsed, outcome.activation, "CPU", 1, outcome.output_name))
    expected = labels_by_plain_onnxruntime(network, output, chips)
    assert len(set(expected)) > 1
    assert session.scores(chips).argmax(axis=1).tolist() == expected
    return outcome


FITS = (FLOAT, ["n", 3])
FREE = (FLOAT, None)
SCORES: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], str, dict[str, Any]]] = {
    # the case's own: an embedding before the scores
    "embedding": ([node("MatMul", "means five", "embedding")], {"embedding": (FLOAT, ["n", 5]), "p": FITS}, "p", {}),
    "embedding-of-free-shape": ([node("MatMul", "means five", "e")], {"e": FREE, "p": (FLOAT, ["n", "c"])}, "p", {}),
    # the case's own: an embedding as wide as the classes, told by the name of the other
    "embedding-as-wide": (
        [node("MatMul", "means same", "embedding"), node("Identity", "z", "logits")],
        {"embedding": FITS, "logits": FITS},
        "logits",
        {},
    ),
    "embedding-called-output": (
        [node("MatMul", "means same", "output"), node("Identity", "z", "logits")],
        {"output": FITS, "logits": FITS},
        "logits",
        {},
    ),
    "name-in-capitals": (
        [node("Neg", "z", "other"), node("Identity", "p", "Probabilities:0")],
        {"other": FITS, "Probabilities:0": FITS},
        "Probabilities:0",
        {},
    ),
    "feature-map": ([node("Identity", "input", "map")], {"map": (FLOAT, ["n", 3, "h", "w"]), "p": FITS}, "p", {}),
    "feature-map-of-fixed-size": (
        [node("Identity", "input", "map")],
        {"map": (FLOAT, ["n", 3, 8, 8]), "p": FITS},
        "p",
        {},
    ),
    "named-by-the-package": (
        [node("Neg", "z", "logits")],
        {"logits": FITS, "z": FITS},
        "z",
        {"OutputName": "z"},
    ),
    "logits-and-probabilities": (
        [node("Identity", "z", "logits"), node("Identity", "p", "probabilities")],
        {"logits": FITS, "probabilities": FITS},
        "probabilities",
        {},
    ),
    "logits-where-the-activation-is-stated": (
        [node("Identity", "z", "logits"), node("Identity", "p", "probabilities")],
        {"probabilities": FITS, "logits": FITS},
        "logits",
        {"Activation": "softmax"},
    ),
    "label-before-scores": ([], {"place": (INT64, ["n"]), "p": FITS}, "p", {}),
}


@each_row("name", SCORES)
def test_the_output_that_holds_the_scores_is_found(tmp_path: Path, name: str) -> None:
    more, outputs, expected, changes = SCORES[name]
    check_labels(make(tmp_path / "net.onnx", more, outputs), expected, **changes)


def test_confidences_are_those_of_the_stated_activation(tmp_path: Path) -> None:
    more = [node("Identity", "z", "logits"), node("Identity", "p", "probabilities")]
    network = make(tmp_path / "net.onnx", more, {"probabilities": FITS, "logits": FITS})
    for activation, output in (("softmax", "logits"), ("none", "probabilities"), (None, "probabilities")):
        outcome = checked(network, Normalization="none", Classes=THREE, Activation=activation)
        assert (outcome.output_name, outcome.activation) == (output, activation or "none")


@each_row(
    ("more", "outputs", "classes", "changes", "words"),
    [
        # as skl2onnx 1.20 writes with zipmap='columns': one output per class
        (
            [node("Gather", "p place0", "slow", axis=1), node("Gather", "p place1", "shigh", axis=1)],
            {"slow": (FLOAT, ["n", 1]), "shigh": (FLOAT, ["n", 1])},
            TWO,
            {},
            ["'slow' float32 (n, 1), 'shigh' float32 (n, 1)", "zipmap=False"],
        ),
        (
            [node("Gather", f"p place{place}", f"i{place}", axis=1) for place in range(3)],
            {"place": (INT64, ["n"]), **{f"i{place}": (FLOAT, ["n", 1]) for place in range(3)}},
            THREE,
            {},
            ["'place' int64 (n), 'i0' float32 (n, 1)", "zipmap=False"],
        ),
        (
            [node("MatMul", "means same", "embedding")],
            {"embedding": FITS, "p": FITS},
            THREE,
            {},
            ["'embedding' float32 (n, 3), 'p' float32 (n, 3)", "OutputName"],
        ),
        (
            [node("MatMul", "means same", "a"), node("Identity", "z", "b")],
            {"a": FREE, "b": FREE},
            THREE,
            {},
            ["'a' float32, 'b' float32", "OutputName"],
        ),
        (
            [node("Neg", "z", "logits"), node("Identity", "p", "probabilities")],
            {"logits": FITS, "probabilities": FITS},
            THREE,
            {},
            ["'probabilities' and 'logits' name different classes", "OutputName"],
        ),
        (
            [node("MatMul", "means five", "a"), node("MatMul", "means five", "b")],
            {"a": (FLOAT, ["n", 5]), "b": (FLOAT, ["n", 5])},
            THREE,
            {},
            ["no output with one number for each of the 3 classes", "'a' float32 (n, 5), 'b' float32 (n, 5)"],
        ),
        ([], {"p": FITS}, THREE, {"OutputName": "logits"}, ["OutputName is 'logits'", "'p' float32 (n, 3)"]),
        ([], {"place": (INT64, ["n"]), "p": FITS}, THREE, {"OutputName": "place"}, ["holds no scores", "'p' float32"]),
        (
            [node("TopK", "p three", "best which", axis=1)],
            {"best": FITS, "which": (INT64, ["n", 3])},
            THREE,
            {},
            ["'best' float32 (n, 3) sorted by size"],
        ),
        ([], {"place": (INT64, ["n"])}, THREE, {}, ["no output of float32", "'place' int64 (n)"]),
    ],
)  # fmt: skip
def test_outputs_that_may_or_may_not_be_scores_are_listed(
    tmp_path: Path, more: Any, outputs: Any, classes: Any, changes: Any, words: list[str]
) -> None:
    CONSTANTS["three"] = np.array([3])
    problem = problem_of(make(tmp_path / "net.onnx", more, outputs), Normalization="none", Classes=classes, **changes)
    for part in words:
        assert part in problem


def test_dictionaries_are_refused_with_a_way_out(tmp_path: Path) -> None:
    """As skl2onnx writes by default: a list of dictionaries, which is no array."""
    network = make(tmp_path / "net.onnx", [], {"place": (INT64, ["n"]), "p": FITS})
    model = onnx.load(network)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    model.graph.node.append(
        helper.make_node("ZipMap", ["p"], ["dictionaries"], domain="ai.onnx.ml", classlabels_int64s=[10, 20, 30])
    )
    of_dictionaries = helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, None))
    del model.graph.output[1]
    sequence = helper.make_sequence_type_proto(of_dictionaries)
    model.graph.output.append(helper.make_value_info("dictionaries", sequence))
    onnx.save(model, network)
    problem = problem_of(network, Normalization="none", Classes=THREE)
    assert "'dictionaries' list of dictionaries" in problem
    assert "zipmap=False" in problem


def svc(path: Path, scale: float = 1) -> Path:
    """As skl2onnx 1.20 writes a two-class SVC without probabilities: under their name the decision value as (d, -d)."""
    nodes = [
        *band_means(into="means"),
        node("MatMul", "means column", "d"),
        node("Neg", "d", "e"),
        node("Concat", "d e", "probabilities", axis=1),
        node("Greater", "d zero", "g"),
        node("Cast", "g", "l", to=INT64),
        node("Squeeze", "l one", "label"),
    ]
    outputs = [
        helper.make_tensor_value_info("label", INT64, ["n"]),
        helper.make_tensor_value_info("probabilities", FLOAT, ["n", 2]),
    ]
    return save_network(
        path,
        nodes,
        outputs=outputs,
        constants=CONSTANTS | {"column": np.array([[0.05], [-0.05], [0]], np.float32) * np.float32(scale)},
    )


@each_row(
    ("classes", "changes"),
    [
        (TWO, {}),
        (TWO, {"OutputName": "probabilities"}),
        (TWO, {"Activation": "softmax"}),
        ([{"Value": 1, "Name": "a"}, {"Value": 2, "Name": "b"}], {}),
        ([{"Value": 7, "Name": "a"}, {"Value": 9, "Name": "b"}], {}),
    ],
)
def test_scores_of_a_support_vector_machine_that_are_none_are_refused(
    tmp_path: Path, classes: Any, changes: Any
) -> None:
    problem = problem_of(svc(tmp_path / "net.onnx"), Normalization="none", Classes=classes, **changes)
    assert "'label' names another class than the highest score of 'probabilities' for" in problem
    assert "'label' int64 (n), 'probabilities' float32 (n, 2)" in problem


def of_class(constant: str) -> list[onnx.NodeProto]:
    """Return nodes that give the winner's entry in a list, as scikit-learn's classifiers do."""
    return [node("Gather", f"{constant} place", "label", axis=0)]


def raised(threshold: float) -> list[onnx.NodeProto]:
    """Return nodes that give 1 for the second of two classes from a threshold on, and its probability alone."""
    constant = numpy_helper.from_array(np.array(threshold, np.float32))
    return [
        node("Gather", "p place1", "second", axis=1),
        node("Constant", "", "threshold", value=constant),
        node("Greater", "second threshold", "g"),
        node("Cast", "g", "label", to=INT64),
    ]


IDENTICAL = [{"Value": 1, "Name": "a"}, {"Value": 0, "Name": "b"}, {"Value": 2, "Name": "c"}]
LABELS: dict[str, tuple[list[onnx.NodeProto], int, list[Any] | None, list[dict[str, Any]], bool]] = {
    "place": (of_class("turnless"), INT64, ["n"], THREE, True),
    "values": (of_class("values"), INT64, ["n"], THREE, True),
    "names": (of_class("names"), STRING, ["n"], THREE, True),
    "sorted-strings-of-other-names": (of_class("sorted"), STRING, ["n"], THREE, True),
    "sorted-numbers-of-other-values": (of_class("far"), INT64, ["n"], THREE, True),
    "numbers-from-one": (of_class("ones"), INT64, None, THREE, True),
    "column": ([*of_class("values"), node("Unsqueeze", "label one", "column")], INT64, ["n", 1], THREE, True),
    "always-the-same": (of_class("grey"), STRING, ["n"], THREE, True),
    "names-in-another-order": (of_class("swapped"), STRING, ["n"], THREE, False),
    "values-in-another-order": (of_class("values"), INT64, ["n"], [THREE[1], THREE[0], THREE[2]], False),
    "other-values-backwards": (of_class("far_back"), INT64, ["n"], THREE, False),
    "places-backwards": (of_class("turn"), INT64, ["n"], THREE, False),
    "values-that-are-places-of-others": (of_class("turnless"), INT64, ["n"], IDENTICAL, False),
    "place-by-argmax-whatever-the-values": ([node("Identity", "place", "label")], INT64, ["n"], IDENTICAL, True),
}


@each_row("name", LABELS)
def test_labels_that_the_network_gives_are_compared_with_the_scores(tmp_path: Path, name: str) -> None:
    more, element, shape, classes, agrees = LABELS[name]
    CONSTANTS["turnless"] = np.array([0, 1, 2])
    output = more[-1].output[0]
    network = make(tmp_path / "net.onnx", more, {output: (element, shape), "p": FITS})
    if agrees:
        check_labels(network, "p", Classes=classes)
    else:
        problem = problem_of(network, Normalization="none", Classes=classes)
        assert f"{output!r} names another class than the highest score of 'p'" in problem


@pytest.mark.parametrize(("threshold", "agrees"), [(0.5, True), (0.1, False)])
def test_label_of_one_output_for_two_classes_has_its_threshold_at_one_half(
    tmp_path: Path, threshold: float, agrees: bool
) -> None:
    outputs = {"label": (INT64, ["n", 1]), "second": (FLOAT, ["n", 1])}
    outcome = checked(make(tmp_path / "net.onnx", raised(threshold), outputs), Normalization="none", Classes=TWO)
    assert (outcome.problem is None) == agrees


@pytest.mark.parametrize(("name", "agrees"), [("z", True), (None, False)])
def test_label_of_another_head_counts_where_the_scores_are_not_named(
    tmp_path: Path, name: str | None, agrees: bool
) -> None:
    more = [node("Neg", "z", "other"), node("ArgMax", "other", "roof", axis=1, keepdims=0)]
    network = make(tmp_path / "net.onnx", more, {"roof": (INT64, ["n"]), "z": FITS})
    outcome = checked(network, Normalization="none", Classes=THREE, OutputName=name)
    assert (outcome.problem is None) == agrees


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1e4])
def test_scores_that_are_none_are_found_however_small_or_large_they_are(tmp_path: Path, scale: float) -> None:
    assert "'label' names another class" in problem_of(
        svc(tmp_path / "net.onnx", scale), Normalization="none", Classes=TWO
    )


def test_labels_of_several_are_not_compared(tmp_path: Path) -> None:
    more = [node("Neg", "z", "y"), *of_class("turn")]
    network = make(tmp_path / "net.onnx", more, {"label": (INT64, ["n"]), "y": FITS})
    outcome = checked(network, Normalization="none", Classes=THREE, MetaDataMode="MultiLabeled_Tiles")
    assert (outcome.problem, outcome.output_name) == (None, "y")


def test_flags_constants_and_places_beside_the_scores_are_no_labels_of_them(tmp_path: Path) -> None:
    more = [
        node("ReduceMax", "p", "most", axes=[1], keepdims=0),
        node("Greater", "most zero", "sure"),
        node("TopK", "p one", "best place_of_best", axis=1),
    ]
    outputs: dict[str, tuple[int, Sequence[Any]]] = {
        "p": (FLOAT, ["n", 3]),
        "sure": (BOOL, ["n"]),
        "place_of_best": (INT64, ["n", 1]),
        "version": (INT64, []),
    }
    network = make(tmp_path / "net.onnx", [*more, node("Constant", "", "version", value_int=4)], outputs)
    assert checked(network, Classes=THREE).problem is None


def test_named_scores_are_taken_with_a_warning_where_another_output_contradicts(tmp_path: Path) -> None:
    more = [node("Gather", "ones place", "n", axis=0), node("Gather", "turn place", "kind", axis=0)]
    network = make(tmp_path / "net.onnx", more, {"p": (FLOAT, ["n", 3]), "kind": (INT64, ["n"])})
    assert "'kind' names another class" in problem_of(network, Classes=THREE)
    (warning,) = checked(network, Classes=THREE, OutputName="p").warnings
    assert "'kind' names another class" in warning


@each_row(
    ("activation", "words"),
    [("softmax", "are probabilities already"), (None, None), ("none", None), ("sigmoid", None)],
)
def test_quantised_probabilities_get_no_second_softmax(
    tmp_path: Path, activation: str | None, words: str | None
) -> None:
    more = [node("QuantizeLinear", "p step nought", "q"), node("DequantizeLinear", "q step nought", "output")]
    network = make(tmp_path / "net.onnx", more, {"output": (FLOAT, ["n", 3])})
    outcome = checked(network, Classes=THREE, Activation=activation)
    assert outcome.activation == (activation or "none")
    assert [words is not None and words in warning for warning in outcome.warnings] == [True] * (words is not None)


def test_logits_that_are_called_probabilities_are_warned_of(tmp_path: Path) -> None:
    network = make(tmp_path / "net.onnx", [node("Neg", "z", "output")], {"output": (FLOAT, ["n", 3])})
    (warning,) = checked(network, Classes=THREE, Activation="none").warnings
    assert "Activation is none, but the network's outputs go from" in warning
