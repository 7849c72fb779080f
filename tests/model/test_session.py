"""Scores equal plain onnxruntime on chips prepared with numpy, and a network that cannot be used says why."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from conftest import MakePackage, definition, save_mean_network
from model_networks import (
    MAX_BYTES,
    NORMALIZATION,
    THREE,
    band_means,
    checked,
    endless,
    make_folder,
    problem_of,
    save_network,
)
from processes.errors import PackageError
from processes.model.catalog import Catalog
from processes.model.check import check_package
from processes.model.check_process import check
from processes.model.definition import Activation, parse_definition
from processes.model.runtime.runtimes import missing_gpu
from processes.model.scores import find_activation, probabilities
from processes.model.session import (
    GPU_BATCH_SIZE,
    Session,
    SessionKey,
    open_session,
)
from tables import each_pair, each_row

MODELS = Path(__file__).parents[2] / "models"
DTYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "float64": TensorProto.DOUBLE}


def session_of(network: Path, activation: Activation = "none", **changes: Any) -> Session:
    """Open a network with the keys of a sound .emd, three classes and a normalisation."""
    keys = definition(**({"Classes": THREE, "Normalization": NORMALIZATION} | changes))
    parsed = parse_definition(json.dumps(keys).encode())
    return Session(SessionKey(network, "0" * 64, parsed, activation, "CPU", 1))


def random_chips(count: int, side: int = 8, bands: int = 3, dtype: str = "uint8") -> NDArray[Any]:
    chips = np.random.default_rng(count).integers(0, 256, (count, bands, side, side), np.uint8)
    return chips.astype(dtype)


def prepared(chips: NDArray[Any], keys: dict[str, Any]) -> NDArray[np.float32]:
    mean, std = (np.reshape(keys[name], (-1, 1, 1)) for name in ("mean", "std"))
    return np.asarray((chips.astype(np.float64) * keys["scale"] - mean) / std, np.float32)


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    raised = np.exp(logits.astype(np.float64))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("name", ["tree-leaf-box", "tree-leaf-crown", "urban-tree-naip", "roof-damage"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_scores_of_shipped_models_equal_plain_onnxruntime(name: str, dtype: str) -> None:
    keys = json.loads((MODELS / name / f"{name}.emd").read_bytes())
    network = MODELS / name / keys["ModelFile"]
    assert keys["Activation"] == "softmax"
    key = SessionKey(network, "0" * 64, parse_definition(json.dumps(keys).encode()), "softmax", "CPU", 1)
    chips = random_chips(7, keys["ImageHeight"], len(keys["ExtractBands"]), dtype)
    found = Session(key).scores(chips)
    plain = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    (logits,) = plain.run(None, {plain.get_inputs()[0].name: prepared(chips, keys["Normalization"])})
    assert found.shape == (7, len(keys["Classes"]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, softmax(logits), atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


@each_pair(
    dtype=["float32", "float16", "float64"],
    batch=["n", 1, 4],
    channels_last=[False, True],
    chip_dtype=["uint8", "float32"],
)
def test_networks_of_every_input_are_fed_what_they_take(
    tmp_path: Path, dtype: str, batch: Any, channels_last: bool, chip_dtype: str
) -> None:
    shape = (batch, 8, 8, 3) if channels_last else (batch, 3, 8, 8)
    nodes = band_means((1, 2) if channels_last else (2, 3), cast=True)
    network = save_network(tmp_path / "net.onnx", nodes, shape=shape, element=DTYPES[dtype])
    chips = random_chips(6, dtype=chip_dtype)
    found = session_of(network).outputs(chips)
    expected = prepared(chips, NORMALIZATION).mean(axis=(2, 3))
    np.testing.assert_allclose(found, expected, atol=2e-3 if dtype == "float16" else 1e-5)
    assert checked(network).problem is None


@each_row("chip_dtype", ["uint8", "float32"])
@pytest.mark.parametrize("element", [TensorProto.UINT8, TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_without_normalization_networks_take_the_cells_themselves(
    tmp_path: Path, element: int, chip_dtype: str
) -> None:
    network = save_network(tmp_path / "net.onnx", band_means(cast=True), element=element)
    chips = random_chips(5, dtype=chip_dtype)
    found = session_of(network, Normalization="none").outputs(chips)
    np.testing.assert_allclose(found, chips.astype(float).mean(axis=(2, 3)), rtol=1e-5)


@pytest.mark.parametrize("height", [5, 9])
def test_chips_that_are_not_square_enter_a_network_with_the_channels_last(tmp_path: Path, height: int) -> None:
    network = save_network(tmp_path / "net.onnx", band_means((1, 2)), shape=("n", height, 7, 3))
    chips = np.random.default_rng(2).integers(0, 256, (4, 3, height, 7), np.uint8)
    session = session_of(network, Normalization="none", ImageHeight=height, ImageWidth=7)
    assert (session.network.height, session.network.width, session.network.bands) == (height, 7, 3)
    np.testing.assert_allclose(session.outputs(chips), chips.astype(float).mean(axis=(2, 3)), rtol=1e-5)


def test_normalization_is_applied_to_the_bands_in_their_order(tmp_path: Path) -> None:
    network = save_network(tmp_path / "net.onnx", band_means((1, 2)), shape=("n", 8, 8, 3))
    chips = np.zeros((1, 3, 8, 8), np.uint8)
    chips[0, 1] = 255
    found = session_of(network, Normalization={"scale": 1 / 255, "mean": [1, 2, 3], "std": [1, 1, 4]}).outputs(chips)
    np.testing.assert_allclose(found, [[-1, -1, -0.75]], rtol=1e-6)


@pytest.mark.parametrize(("batch", "count"), [(1, 1), (1, 5), (4, 1), (4, 4), (4, 5), (4, 11), ("n", 1), ("n", 11)])
def test_any_number_of_chips_goes_through_any_batch_size(tmp_path: Path, batch: Any, count: int) -> None:
    network = save_network(tmp_path / "net.onnx", band_means(), shape=(batch, 3, 8, 8))
    session = session_of(network)
    found = session.outputs(random_chips(count))
    np.testing.assert_allclose(found, prepared(random_chips(count), NORMALIZATION).mean(axis=(2, 3)), atol=1e-5)
    assert session.network.batch == (None if batch == "n" else batch)


def test_batch_size_is_the_networks_own_then_the_definitions_then_what_suits(tmp_path: Path) -> None:
    fixed = save_network(tmp_path / "fixed.onnx", band_means(), shape=(4, 3, 8, 8))
    free = save_network(tmp_path / "free.onnx", band_means())
    assert session_of(fixed, BatchSize=16).batch_size == 4
    assert session_of(free, BatchSize=16).batch_size == 16
    assert 1 <= session_of(free).batch_size <= GPU_BATCH_SIZE


def test_output_of_a_single_chip_without_batch_axis_is_accepted(tmp_path: Path) -> None:
    """As arcgis.learn's `<name>-base.onnx`: input fixed to one chip, output of shape `(classes,)`."""
    out = [helper.make_tensor_value_info("output", TensorProto.FLOAT, [3])]
    network = save_network(tmp_path / "net.onnx", band_means((0, 2, 3)), shape=(1, 3, 8, 8), outputs=out)
    found = session_of(network).outputs(random_chips(5))
    np.testing.assert_allclose(found, prepared(random_chips(5), NORMALIZATION).mean(axis=(2, 3)), atol=1e-5)
    assert checked(network).problem is None


@pytest.mark.parametrize("batch", ["n", 4])
def test_output_without_batch_axis_of_several_chips_is_refused(tmp_path: Path, batch: Any) -> None:
    out = [helper.make_tensor_value_info("output", TensorProto.FLOAT, [3])]
    network = save_network(tmp_path / "net.onnx", band_means((0, 2, 3)), shape=(batch, 3, 8, 8), outputs=out)
    assert "no batch axis" in problem_of(network)


@pytest.mark.parametrize("outputs", ["(1, classes)", "unknown"])
def test_output_with_other_rows_than_chips_is_refused(tmp_path: Path, outputs: str) -> None:
    shape = [1, 3] if outputs == "(1, classes)" else None
    mean = helper.make_node("ReduceMean", ["means"], ["output"], axes=[0], keepdims=1)
    out = [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)]
    network = save_network(tmp_path / "net.onnx", [*band_means(into="means"), mean], outputs=out)
    assert checked(network).problem is not None


def test_output_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    split = helper.make_node("SplitToSequence", ["means"], ["output"], axis=1)
    out = [helper.make_tensor_sequence_value_info("output", TensorProto.FLOAT, None)]
    network = save_network(tmp_path / "net.onnx", [*band_means(into="means"), split], outputs=out)
    assert checked(network).problem is not None


def one_output(path: Path, squash: bool) -> Path:
    """Write a network with a single output for two classes: the mean of all cells, squashed to 0..1 or not."""
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "one"], ["logit"]),
        helper.make_node("Sigmoid" if squash else "Identity", ["logit"], ["output"]),
    ]
    return save_network(path, nodes, constants={"one": np.array([1])})


@pytest.mark.parametrize("squash", [False, True])
def test_one_output_for_two_classes_is_the_probability_of_the_second(tmp_path: Path, squash: bool) -> None:
    network = one_output(tmp_path / "net.onnx", squash)
    outcome = checked(network, Classes=THREE[:2])
    assert (outcome.problem, outcome.activation) == (None, "none" if squash else "sigmoid")
    chips = random_chips(9)
    found = session_of(network, outcome.activation, Classes=THREE[:2]).scores(chips)
    second = 1 / (1 + np.exp(-prepared(chips, NORMALIZATION).astype(float).mean(axis=(1, 2, 3))))
    np.testing.assert_allclose(found, np.column_stack([1 - second, second]), atol=1e-5)


def test_one_output_for_three_classes_is_refused(tmp_path: Path) -> None:
    assert "1 outputs for 3 classes" in problem_of(one_output(tmp_path / "net.onnx", squash=True))


def squashed(path: Path, kind: str) -> Path:
    """Write a network whose last node, along the last axis, is of that kind."""
    return save_network(path, [*band_means(into="means"), helper.make_node(kind, ["means"], ["output"])])


@each_row(
    ("kind", "mode", "expected"),
    [
        ("Identity", "Labeled_Tiles", "softmax"),
        ("Sigmoid", "Labeled_Tiles", "softmax"),
        ("Softmax", "Labeled_Tiles", "none"),
        ("Identity", "MultiLabeled_Tiles", "sigmoid"),
        ("Sigmoid", "MultiLabeled_Tiles", "none"),
        ("Softmax", "MultiLabeled_Tiles", "none"),
    ],
)
def test_trial_run_finds_what_turns_outputs_into_probabilities(
    tmp_path: Path, kind: str, mode: str, expected: str
) -> None:
    assert checked(squashed(tmp_path / "net.onnx", kind), MetaDataMode=mode).activation == expected


@pytest.mark.parametrize("declared", ["softmax", "sigmoid", "none"])
def test_declared_activation_is_not_second_guessed(tmp_path: Path, declared: str) -> None:
    assert checked(squashed(tmp_path / "net.onnx", "Softmax"), Activation=declared).activation == declared


def test_activations_against_numpy_even_far_out() -> None:
    logits = np.array([[0, 1, 2], [-1000, 0, 1000], [88.8, -88.8, 0], [1e38, -1e38, 0]], np.float32)
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities(logits, "softmax", 3), softmax(shifted), atol=1e-6)
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp(-logits.astype(np.longdouble)))
    np.testing.assert_allclose(probabilities(logits, "sigmoid", 3), expected.astype(float), atol=1e-6)
    np.testing.assert_array_equal(probabilities(logits, "none", 3), logits)


@each_row(
    ("rows", "multi_label", "expected"),
    [
        ([[0.2, 0.8], [1, 0]], False, "none"),
        ([[0.2, 0.8005], [1, 0]], False, "none"),
        ([[0.2, 0.9], [1, 0]], False, "softmax"),
        ([[1.2, -0.2]], False, "softmax"),
        ([[0.2, 0.9]], True, "none"),
        ([[0.2, 1.1]], True, "sigmoid"),
        ([[0.3], [1.0]], False, "none"),
        ([[-0.1], [0.3]], False, "sigmoid"),
    ],
)
def test_outputs_are_probabilities_only_where_all_rows_are(
    rows: list[list[float]], multi_label: bool, expected: str
) -> None:
    assert find_activation(np.array(rows, np.float32), multi_label) == expected


@pytest.mark.parametrize("classes", [2, 4])
def test_output_width_that_does_not_fit_the_classes_is_refused(tmp_path: Path, classes: int) -> None:
    names = [{"Value": value, "Name": str(value)} for value in range(classes)]
    network = save_network(tmp_path / "net.onnx", band_means())
    assert problem_of(network, Classes=names) == f"the network has 3 outputs for {classes} classes"


@each_row(
    ("shape", "changes", "words"),
    [
        (("n", 3, 8, 16), {}, "ImageWidth is 8, the network takes 16"),
        (("n", 3, 16, 8), {}, "ImageHeight is 8, the network takes 16"),
        (("n", 3, 16, 16), {}, "ImageWidth is 8, the network takes 16"),
        (("n", 16, 16, 3), {}, "ImageWidth is 8, the network takes 16"),
        (("n", 4, 8, 8), {}, "the number of ExtractBands is 3, the network takes 4"),
        (("n", 8, 8, 4), {}, "the number of ExtractBands is 3, the network takes 4"),
        (("n", 4, 8, 8), {"ExtractBands": None}, "bands of the normalisation is 3, the network takes 4"),
    ],
)
def test_definition_and_network_that_contradict_each_other_are_refused(
    tmp_path: Path, shape: tuple[Any, ...], changes: dict[str, Any], words: str
) -> None:
    network = save_network(tmp_path / "net.onnx", band_means(), shape=shape)
    assert words in problem_of(network, **changes)


@pytest.mark.parametrize(
    ("shape", "bands"), [(("n", 3, "h", "w"), 3), (("n", "c", "h", "w"), None), (("n", "h", "w", 3), 3)]
)
def test_axes_of_any_size_take_the_definitions(tmp_path: Path, shape: tuple[Any, ...], bands: int | None) -> None:
    nodes = band_means((1, 2) if shape[3] == 3 else (2, 3))
    network = save_network(tmp_path / "net.onnx", nodes, shape=shape)
    outcome = checked(network)
    assert (outcome.problem, outcome.bands) == (None, bands)
    found = session_of(network).outputs(random_chips(3))
    np.testing.assert_allclose(found, prepared(random_chips(3), NORMALIZATION).mean(axis=(2, 3)), atol=1e-5)


def external(folder: Path, location: str, write_to: str | None, short: bool = False) -> Path:
    """Write a network whose weights lie in a file of their own."""
    weights = np.array([[1, 0, 2], [0, 1, 0], [1, 1, 0]], np.float32)
    nodes = [*band_means(into="means"), helper.make_node("MatMul", ["means", "weights"], ["output"])]
    network = save_network(folder / "net.onnx", nodes, constants={"weights": weights})
    model = onnx.load(network)
    (tensor,) = model.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    network.write_bytes(model.SerializeToString())
    if write_to is not None:
        target = folder / write_to
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(weights.tobytes()[: 5 if short else None])
    return network


@pytest.mark.parametrize("location", ["weights.bin", "sub/weights.bin"])
def test_weights_in_a_file_beside_the_network_are_used(tmp_path: Path, location: str) -> None:
    network = external(tmp_path / "package", location, location)
    assert checked(network).problem is None
    means = prepared(random_chips(3), NORMALIZATION).mean(axis=(2, 3))
    weights = np.array([[1, 0, 2], [0, 1, 0], [1, 1, 0]])
    np.testing.assert_allclose(session_of(network).outputs(random_chips(3)), means @ weights, atol=1e-5)


@pytest.mark.parametrize(
    ("location", "write_to", "short"),
    [("weights.bin", None, False), ("weights.bin", "weights.bin", True), ("../weights.bin", "../weights.bin", False)],
    ids=["missing", "too-short", "outside"],
)
def test_weights_that_are_missing_torn_or_outside_are_refused(
    tmp_path: Path, location: str, write_to: str | None, short: bool
) -> None:
    assert "cannot be opened" in problem_of(external(tmp_path / "package", location, write_to, short))


@pytest.mark.parametrize("absolute", [True, False])
def test_weights_by_absolute_path_or_link_out_of_the_package_are_refused(tmp_path: Path, absolute: bool) -> None:
    secret = external(tmp_path / "secret", "weights.bin", "weights.bin").parent / "weights.bin"
    network = external(tmp_path / "package", str(secret) if absolute else "weights.bin", None)
    if not absolute:
        (network.parent / "weights.bin").symlink_to(secret)
    assert "cannot be opened" in problem_of(network)


def elsewhere(name: str) -> onnx.TensorProto:
    """Return weights that lie in a file of that name."""
    tensor = numpy_helper.from_array(np.eye(3, dtype=np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return tensor


def weights_of_a_node(path: Path) -> Path:
    constant = helper.make_node("Constant", [], ["weights"], value=elsewhere("weights"))
    return save_network(
        path, [*band_means(into="means"), constant, helper.make_node("MatMul", ["means", "weights"], ["output"])]
    )


def weights_of_a_branch(path: Path) -> Path:
    branches = {}
    for name in ("then_branch", "else_branch"):
        answer = helper.make_tensor_value_info(f"{name}_answer", TensorProto.FLOAT, None)
        node = helper.make_node("MatMul", ["means", f"{name}_weights"], [answer.name])
        branches[name] = helper.make_graph([node], name, [], [answer], [elsewhere(f"{name}_weights")])
    node = helper.make_node("If", ["yes"], ["output"], **branches)
    return save_network(path, [*band_means(into="means"), node], constants={"yes": np.array(True)})


def weights_of_a_function(path: Path) -> Path:
    network = save_network(
        path,
        [*band_means(into="means"), helper.make_node("Weigh", ["means"], ["output"], domain="own")],
        domains=["own"],
    )
    model = onnx.load(network)
    nodes = [
        helper.make_node("Constant", [], ["weights"], value=elsewhere("weights")),
        helper.make_node("MatMul", ["x", "weights"], ["y"]),
    ]
    model.functions.append(helper.make_function("own", "Weigh", ["x"], ["y"], nodes, [helper.make_opsetid("", 17)]))
    network.write_bytes(model.SerializeToString())
    return network


@pytest.mark.parametrize("make", [weights_of_a_node, weights_of_a_branch, weights_of_a_function])
def test_weights_elsewhere_than_in_the_graph_itself_are_never_sought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path]
) -> None:
    """The runtime would look for them in the folder that the service was started in."""
    (tmp_path / "weights.bin").write_bytes(np.eye(3, dtype=np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    assert "save it in one file" in problem_of(make(tmp_path / "package" / "net.onnx"))


@pytest.mark.parametrize(("domain", "domains"), [("my.ops", ["my.ops"]), ("", [])])
def test_operator_that_the_runtime_does_not_know_is_named(tmp_path: Path, domain: str, domains: list[str]) -> None:
    nodes = [helper.make_node("MySecretSauce", ["input"], ["output"], domain=domain)]
    problem = problem_of(save_network(tmp_path / "net.onnx", nodes, domains=domains))
    assert "cannot be opened" in problem
    assert "MySecretSauce" in problem


def test_opset_that_is_too_old_is_refused_with_a_way_out(tmp_path: Path) -> None:
    network = save_network(tmp_path / "net.onnx", band_means(), opset=6, ir_version=3)
    assert problem_of(network) == "the network's ONNX opset is 6; 7 or newer is needed: convert it"


@each_row("opset", [7, 8, 9, 11, 12, 13, 17])
def test_opset_from_seven_on_is_fine(tmp_path: Path, opset: int) -> None:
    network = save_network(tmp_path / "net.onnx", band_means(), opset=opset, ir_version=3 if opset < 9 else 8)
    assert checked(network).problem is None
    found = session_of(network).outputs(random_chips(2))
    np.testing.assert_allclose(found, prepared(random_chips(2), NORMALIZATION).mean(axis=(2, 3)), atol=1e-5)


@pytest.mark.parametrize(("opset", "ir_version"), [(99, 8), (17, 99)])
def test_network_of_a_future_format_is_refused(tmp_path: Path, opset: int, ir_version: int) -> None:
    network = save_network(tmp_path / "net.onnx", band_means(), opset=opset, ir_version=ir_version)
    assert "cannot be opened" in problem_of(network)


def test_reasons_are_the_runtimes_words_without_its_source_code(tmp_path: Path) -> None:
    network = save_network(tmp_path / "net.onnx", band_means(), opset=99)
    problem = problem_of(network)
    assert "std::" not in problem
    assert "opset" in problem


@each_row("data", [b"hello world, no network", b"<html>404</html>", b"\x80\x04\x95pickle", b""])
def test_file_that_is_no_network_is_refused(tmp_path: Path, data: bytes) -> None:
    network = tmp_path / "net.onnx"
    network.write_bytes(data)
    assert problem_of(network).startswith("the network ")


@each_row("share", [0.1, 0.5, 0.9, 0.99])
def test_torn_network_is_refused(tmp_path: Path, share: float) -> None:
    network = tmp_path / "net.onnx"
    data = (MODELS / "tree-leaf-box" / "tree-leaf-box.onnx").read_bytes()
    network.write_bytes(data[: int(len(data) * share)])
    assert problem_of(network, ImageWidth=48, ImageHeight=48).startswith("the network ")


def test_damaged_network_is_sound_or_refused_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The check's answer goes to standard output, which the runtime's Python part writes to when it falls back."""
    network = save_network(
        tmp_path / "package" / "net.onnx",
        [*band_means(into="means"), helper.make_node("MatMul", ["means", "weights"], ["output"])],
        constants={"weights": np.eye(3, dtype=np.float32)},
    )
    whole, rng = network.read_bytes(), random.Random(3)
    folder = make_folder(network)
    refused = 0
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 3))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        network.write_bytes(data)
        problem = check(folder, tmp_path / "unpacked", MAX_BYTES).outcome.problem
        assert problem is None or problem.startswith(("the ", "Image"))
        refused += problem is not None
    assert 50 < refused < 200
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("name", ["input", "output"])
def test_network_with_a_name_that_is_not_utf_8_is_refused(tmp_path: Path, name: str) -> None:
    network = save_network(tmp_path / "net.onnx", band_means())
    network.write_bytes(network.read_bytes().replace(name.encode(), b"\xff" * len(name)))
    assert problem_of(network) == "the network is not an ONNX file"


@each_row(
    ("shape", "element", "words"),
    [
        ((3, 8, 8), TensorProto.FLOAT, "3 axes, not the four"),
        (("n", 3, 8, 8), TensorProto.INT8, "input is int8"),
        (("n", 3, 8, 8), TensorProto.STRING, "input is string"),
        (("n", 3, 8, 8), TensorProto.INT32, "input is int32"),
        (("n", 3, 8, 8), TensorProto.BFLOAT16, "input is bfloat16"),
        (("n", 3, 8, 8), TensorProto.UNDEFINED, "input is of no known type"),
        (("n", 3, 8, 8), 99, "input is of no known type"),
        (("n", 3, 8, 8, 1), TensorProto.FLOAT, "5 axes, not the four"),
    ],
)
def test_network_that_takes_no_images_is_refused(
    tmp_path: Path, shape: tuple[Any, ...], element: int, words: str
) -> None:
    assert words in problem_of(save_network(tmp_path / "net.onnx", band_means(), shape=shape, element=element))


@pytest.mark.parametrize("names", [[], ["input", "second"]])
def test_network_of_another_number_of_inputs_is_refused(tmp_path: Path, names: list[str]) -> None:
    network = save_network(tmp_path / "net.onnx", band_means())
    model = onnx.load(network)
    del model.graph.input[:]
    model.graph.input.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 3, 8, 8]) for n in names)
    onnx.save(model, network)
    assert f"the network has {len(names)} inputs" in problem_of(network)


@each_row("element", [TensorProto.INT64, TensorProto.STRING, TensorProto.BOOL, None])
def test_network_without_scores_is_refused(tmp_path: Path, element: int | None) -> None:
    outputs = [helper.make_tensor_value_info("output", element, ["n", 3])] if element else []
    network = save_network(tmp_path / "net.onnx", band_means(), outputs=outputs)
    if element is None:
        model = onnx.load(network)
        del model.graph.output[:]
        onnx.save(model, network)
    assert problem_of(network).startswith("the network has ")


@pytest.mark.parametrize("claim", [[2**40], [2**62, 2**62], [-1], [10**6, 3]])
def test_weights_that_claim_to_be_more_than_there_are_are_refused(tmp_path: Path, claim: list[int]) -> None:
    weights = {"weights": np.zeros((3, 3), np.float32)}
    nodes = [*band_means(into="means"), helper.make_node("MatMul", ["means", "weights"], ["output"])]
    network = save_network(tmp_path / "net.onnx", nodes, constants=weights)
    model = onnx.load(network)
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend(claim)
    network.write_bytes(model.SerializeToString())
    assert "cannot be opened" in problem_of(network)


def greedy(path: Path, size_bytes: int) -> Path:
    """Write a network that fills so much memory."""
    ones = helper.make_node(
        "ConstantOfShape", ["size"], ["ones"], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [1])
    )
    nodes = [
        *band_means(into="means"),
        ones,
        helper.make_node("ReduceMean", ["ones"], ["one"], keepdims=0),
        helper.make_node("Mul", ["means", "one"], ["output"]),
    ]
    return save_network(path, nodes, constants={"size": np.array([size_bytes // 4])})


@pytest.mark.parametrize("share", [0.6, 40])
def test_network_that_would_fill_the_memory_is_refused_before_it_does(tmp_path: Path, share: float) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    folder = make_folder(greedy(tmp_path / "package" / "net.onnx", int(memory * share)))
    start = time.perf_counter()
    outcome = check_package(folder, tmp_path / "unpacked", MAX_BYTES).outcome
    assert outcome.problem is not None
    assert "memory" in outcome.problem
    assert time.perf_counter() - start < 10


def divide_by_mean(path: Path) -> Path:
    """Write a network that gives 1 / mean per band: infinite for a black band."""
    nodes = [*band_means(into="means"), helper.make_node("Reciprocal", ["means"], ["output"])]
    return save_network(path, nodes)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_chip_whose_output_is_no_finite_number_has_no_scores_and_the_others_have(
    tmp_path: Path, activation: Activation
) -> None:
    session = session_of(divide_by_mean(tmp_path / "net.onnx"), activation, Normalization="none")
    chips = np.full((6, 3, 8, 8), 7, np.uint8)
    chips[[1, 4], 2] = 0
    found = session.scores(chips)
    assert np.isnan(found[[1, 4]]).all()
    seventh = {"softmax": 1 / 3, "sigmoid": 1 / (1 + np.exp(-1 / 7)), "none": 1 / 7}[activation]
    np.testing.assert_allclose(found[[0, 2, 3, 5]], seventh, atol=1e-6)


def test_padding_of_a_fixed_batch_is_not_taken_for_a_chip(tmp_path: Path) -> None:
    nodes = [*band_means(into="means"), helper.make_node("Reciprocal", ["means"], ["output"])]
    network = save_network(tmp_path / "net.onnx", nodes, shape=(4, 3, 8, 8))
    session = session_of(network, "softmax", Normalization="none")
    assert session.scores(np.full((6, 3, 8, 8), 7, np.uint8)).shape == (6, 3)


def root_of_mean_less(path: Path, less: float) -> Path:
    """Write a network that gives the root of each band's mean less a number: not finite for darker bands."""
    nodes = [
        *band_means(into="means"),
        helper.make_node("Sub", ["means", "less"], ["moved"]),
        helper.make_node("Sqrt", ["moved"], ["output"]),
    ]
    return save_network(path, nodes, constants={"less": np.array(less, np.float32)})


def test_check_refuses_a_network_without_any_finite_output(tmp_path: Path) -> None:
    """Where only some chips have none the network is sound: an object of that kind gets the status `not-finite`."""
    always = root_of_mean_less(tmp_path / "always" / "net.onnx", 256)
    sometimes = root_of_mean_less(tmp_path / "sometimes" / "net.onnx", 100)
    assert "not a finite number" in problem_of(always, Normalization="none")
    outcome = checked(sometimes, Normalization="none")
    assert (outcome.problem, outcome.activation) == (None, "softmax")


def test_network_that_fails_in_running_says_so(tmp_path: Path) -> None:
    reshape = helper.make_node("Reshape", ["input", "shape"], ["output"])
    network = save_network(tmp_path / "net.onnx", [reshape], constants={"shape": np.array([7, 5])})
    assert "cannot be run" in problem_of(network)


def test_session_is_opened_once_for_the_same_key(tmp_path: Path) -> None:
    key = session_of(save_network(tmp_path / "net.onnx", band_means())).key
    assert open_session(key) is open_session(key)


def test_unopenable_processor_is_an_error_and_no_silent_fallback(tmp_path: Path) -> None:
    if missing_gpu() is None:
        pytest.skip("there is a GPU here")
    key = session_of(save_network(tmp_path / "net.onnx", band_means())).key
    session = Session(SessionKey(key.network, key.sha256, key.definition, "softmax", "GPU", 1))
    with pytest.raises(PackageError, match="cannot be opened"):
        session.scores(random_chips(1))


def test_check_in_a_child_process_finds_what_it_finds_here(tmp_path: Path) -> None:
    good = squashed(tmp_path / "good" / "net.onnx", "Softmax")
    bad = save_network(tmp_path / "bad" / "net.onnx", band_means(), opset=6, ir_version=3)
    for network in (good, bad):
        expected = checked(network)
        assert check_package(network.parent, tmp_path / "unpacked", MAX_BYTES).outcome == expected


def multiplying(path: Path) -> Path:
    """Write a network of a few functions that call each other twice each: 2^40 nodes once they are put in place."""
    last = 40
    network = save_network(
        path,
        [*band_means(into="means"), helper.make_node(f"F{last}", ["means"], ["output"], domain="own")],
        domains=["own"],
    )
    model = onnx.load(network)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model.functions.append(
        helper.make_function("own", "F0", ["x"], ["y"], [helper.make_node("Neg", ["x"], ["y"])], imports)
    )
    for place in range(last):
        nodes = [helper.make_node(f"F{place}", [a], [b], domain="own") for a, b in (("x", "half"), ("half", "y"))]
        model.functions.append(helper.make_function("own", f"F{place + 1}", ["x"], ["y"], nodes, imports))
    network.write_bytes(model.SerializeToString())
    return network


@pytest.mark.parametrize("make", [endless, multiplying])
def test_network_that_hangs_is_reported_and_its_process_ended(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    folder = make_folder(make(tmp_path / "package" / "net.onnx"))
    outcome = check_package(folder, tmp_path / "unpacked", MAX_BYTES, timeout_s=1).outcome
    assert outcome.problem == ("a trial run of the network took longer than the limit check_timeout_s = 1 allows")
    assert not outcome.conclusive
    running = [
        entry
        for entry in Path("/proc").glob("[0-9]*/cmdline")
        if str(folder).encode() in _bytes_or_nothing(entry) and entry.parent.name != str(os.getpid())
    ]
    assert running == []


def _bytes_or_nothing(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    "script",
    ["import os; os.kill(os.getpid(), 11)", "raise SystemExit(3)", "print('no JSON')", "import os; os.abort()"],
    ids=["segfault", "exit", "garbage", "abort"],
)
def test_network_that_crashes_its_process_is_reported_and_tried_again(
    tmp_path: Path, make_package: MakePackage, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    crashing = tmp_path / "python"
    crashing.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{script}"\n')
    crashing.chmod(0o755)
    make_package()
    models = Catalog((tmp_path / "models",), tmp_path / "state", MAX_BYTES)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(crashing))
        (package,) = models.check_packages()
        assert package.problem == "the network ended the process that tried it"
    assert models.usable_ids() == []  # remembered for a while, so that it holds up nobody
    monkeypatch.setattr("processes.model.records._FIRST_PAUSE_S", 0)
    assert models.usable_ids() == ["brightness"]


def test_mean_network_is_what_it_says(tmp_path: Path) -> None:
    """The network that other tests rely on gives logits (0, mean of all cells)."""
    network = save_mean_network(tmp_path / "net.onnx")
    chips = random_chips(4)
    found = session_of(network, Classes=THREE[:2], Normalization="none").outputs(chips)
    np.testing.assert_allclose(found, np.column_stack([np.zeros(4), chips.mean(axis=(1, 2, 3))]), rtol=1e-5)
