"""A label depends on its chip alone: networks in which it does not are refused, mended, or warned of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import MakePackage
from model_networks import THREE, band_means, checked, make_folder, problem_of, save_network
from processes.describe_model import model_info
from processes.model.catalog import Catalog
from processes.model.definition import parse_definition
from processes.model.session import Session, SessionKey
from service import models_checked_here
from tables import each_row

PLAIN: dict[str, Any] = {"Normalization": "none", "Classes": THREE}
BATCH_WARNING = "depend on the other chips of its batch"
STATISTICS = {
    name: np.full(3, value, np.float32) for name, value in (("one", 1), ("zero", 0), ("mean", 100), ("var", 50))
}


def node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), output.split(), **attributes)


def norm(inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return node("BatchNormalization", f"{inputs} one zero mean var", output, **attributes)


def means_of(name: str, into: str = "output") -> onnx.NodeProto:
    return node("ReduceMean", name, into, axes=[2, 3], keepdims=0)


def in_a_function(path: Path, default: bool) -> Path:
    """Write a network whose BatchNormalization stands in a function that is told its mode, or has it by default."""
    call = helper.make_node("Norm", ["input", *STATISTICS], ["b"], domain="own")
    if not default:
        call.attribute.append(helper.make_attribute("training_mode", 1))
    network = save_network(path, [call, means_of("b")], constants=STATISTICS, domains=["own"])
    model = onnx.load(network)
    inner = helper.make_node("BatchNormalization", ["x", *STATISTICS], ["y", "m", "v"])
    attribute = inner.attribute.add(name="training_mode", type=onnx.AttributeProto.INT)
    attribute.ref_attr_name = "training_mode"
    imports = [helper.make_opsetid("", 17)]
    function = helper.make_function("own", "Norm", ["x", *STATISTICS], ["y"], [inner], imports, ["training_mode"])
    if default:
        del function.attribute[:]
        function.attribute_proto.append(helper.make_attribute("training_mode", 1))
    model.functions.append(function)
    onnx.save(model, network)
    return network


def in_a_branch(path: Path) -> Path:
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, None)
    branch = helper.make_graph([norm("input", "answer m v", training_mode=1)], "branch", [], [answer])
    nodes = [helper.make_node("If", ["yes"], ["b"], then_branch=branch, else_branch=branch), means_of("b")]
    return save_network(path, nodes, constants=STATISTICS | {"yes": np.array(True)})


@each_row(
    "make",
    [
        # PyTorch 2.13's older exporter with training=PRESERVE
        lambda path: save_network(path, [norm("input", "b m v", training_mode=1), means_of("b")], constants=STATISTICS),
        lambda path: save_network(
            path, [norm("input", "b m v", training_mode=1), means_of("b")], constants=STATISTICS, shape=(1, 3, 8, 8)
        ),
        lambda path: in_a_function(path, default=False),
        lambda path: in_a_function(path, default=True),
        in_a_branch,
    ],
)
def test_network_in_training_mode_is_refused(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    problem = problem_of(make(tmp_path / "net.onnx"), **PLAIN)
    assert problem.startswith("the network was exported in training mode: ")
    assert problem.endswith("export it in evaluation mode")


@each_row("attributes", [{}, {"training_mode": 0}, {"epsilon": 0.01}])
def test_network_in_evaluation_mode_is_sound(tmp_path: Path, attributes: dict[str, Any]) -> None:
    network = save_network(
        tmp_path / "net.onnx", [norm("input", "b", **attributes), means_of("b")], constants=STATISTICS
    )
    outcome = checked(network, **PLAIN)
    assert (outcome.problem, outcome.warnings) == (None, ())


def dynamically_quantised(path: Path) -> Path:
    """Write what `quantize_dynamic` makes of a product: the range of a whole batch is its scale."""
    nodes = [
        *band_means(into="means"),
        node("DynamicQuantizeLinear", "means", "q scale point"),
        node("MatMulInteger", "q weights point weight_point", "i"),
        node("Cast", "i", "f", to=TensorProto.FLOAT),
        node("Mul", "f scale", "g"),
        node("Mul", "g weight_scale", "output"),
    ]
    weights = np.random.default_rng(1).integers(-100, 100, (3, 3)).astype(np.int8)
    constants = {
        "weights": weights, "weight_point": np.array(0, np.int8), "weight_scale": np.array(0.001, np.float32),
    }  # fmt: skip
    return save_network(path, nodes, constants=constants)


def centred(path: Path, shape: tuple[Any, ...] = ("n", 3, 8, 8)) -> Path:
    """Write a network that takes the mean of the batch off."""
    nodes = [
        *band_means(into="means"),
        node("ReduceMean", "means", "of_batch", axes=[0], keepdims=1),
        node("Sub", "means of_batch", "output"),
    ]
    return save_network(path, nodes, shape=shape)


def ranked(path: Path) -> Path:
    """Write a network that divides by the greatest of the batch."""
    nodes = [
        *band_means(into="means"),
        node("ReduceMax", "means", "most", keepdims=0),
        node("Div", "means most", "output"),
    ]
    return save_network(path, nodes)


def by_chance(path: Path) -> Path:
    """Write a network that adds noise, as one does that samples its own weights."""
    nodes = [
        *band_means(into="means"),
        node("RandomNormalLike", "means", "noise", scale=30.0),
        node("Add", "means noise", "output"),
    ]
    return save_network(path, nodes)


@each_row(
    "make",
    [dynamically_quantised, centred, lambda path: centred(path, (16, 3, 8, 8)), ranked, by_chance],
)
def test_scores_that_depend_on_the_batch_or_on_chance_are_warned_of(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    """Plain onnxruntime says so too: the same chip alone and beside others gets other numbers."""
    network = make(tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    chips = np.random.default_rng(2).uniform(0, 255, (16, 3, 1, 1)).repeat(8, 2).repeat(8, 3).astype(np.float32)
    alone = chips[:1].repeat(16, 0) if session.get_inputs()[0].shape[0] == 16 else chips[:1]
    (first, *_), (beside, *_) = (session.run(None, {"input": given})[0] for given in (alone, chips))
    assert np.abs(first - beside).max() > 1e-3
    outcome = checked(network, **PLAIN)
    assert outcome.problem is None
    (warning,) = outcome.warnings
    assert BATCH_WARNING in warning


@each_row("element", [TensorProto.FLOAT, TensorProto.FLOAT16])
@each_row("batch", ["n", 1, 4, 16])
def test_rounding_alone_is_not_warned_of(tmp_path: Path, element: int, batch: Any) -> None:
    rng = np.random.default_rng(4)
    dtype = helper.tensor_dtype_to_np_dtype(element)
    nodes = [
        node("Conv", "input filters", "c"),
        node("Relu", "c", "r"),
        node("ReduceMean", "r", "means", axes=[2, 3], keepdims=0),
        node("MatMul", "means weights", "output"),
    ]
    constants = {
        "filters": rng.normal(0, 0.1, (32, 3, 3, 3)).astype(dtype),
        "weights": rng.normal(0, 0.1, (32, 3)).astype(dtype),
    }
    network = save_network(
        tmp_path / "net.onnx", nodes, shape=(batch, 3, 8, 8), element=element, constants=constants,
        outputs=[helper.make_tensor_value_info("output", element, None)],
    )  # fmt: skip
    outcome = checked(network, Classes=THREE)
    assert (outcome.problem, outcome.warnings) == (None, ())


def dropping(path: Path, by_node: bool, mode: bool = True) -> Path:
    """Write a network with Dropout between its layers, its mode an initializer or a node."""
    nodes = [
        *band_means(into="means"),
        node("Dropout", "means ratio mode", "dropped"),
        node("Neg", "dropped", "output"),
    ]
    constants: dict[str, Any] = {"ratio": np.array(0.5, np.float32)}
    if by_node:
        nodes.insert(0, node("Constant", "", "mode", value=numpy_helper.from_array(np.array(mode))))
    else:
        constants["mode"] = np.array(mode)
    return save_network(path, nodes, constants=constants)


@each_row("by_node", [True, False])
def test_dropout_in_training_mode_is_switched_off_with_a_warning(tmp_path: Path, by_node: bool) -> None:
    """PyTorch 2.13's default exporter leaves it so, and only warns. The answer is that of the network without it."""
    network = dropping(tmp_path / "net.onnx", by_node)
    outcome = checked(network, **PLAIN)
    assert outcome.problem is None
    (warning,) = outcome.warnings
    assert (
        warning == "the network was exported in training mode: its Dropout nodes (1) are switched off, as in evaluation"
    )
    parsed = parse_definition((network.parent / "made.emd").read_bytes())
    chips = np.random.default_rng(5).integers(0, 256, (6, 3, 8, 8), np.uint8)
    found = Session(SessionKey(network, "0" * 64, parsed, "none", "CPU", 1)).outputs(chips)
    np.testing.assert_allclose(found, -chips.astype(float).mean(axis=(2, 3)), rtol=1e-5)


def test_dropout_in_evaluation_mode_is_not_warned_of(tmp_path: Path) -> None:
    assert checked(dropping(tmp_path / "net.onnx", by_node=True, mode=False), **PLAIN).warnings == ()


CELLS_WARNING = "states no Normalization and the network shows none"
STATISTICS_OF_ESRI = {
    name: [0, 0, 0] if "min" in name else [1, 1, 1]
    for name in ("band_min_values", "band_max_values", "scaled_mean_values", "scaled_std_values")
}


@each_row(
    ("first", "changes", "warned"),
    [
        (node("Neg", "input", "x"), {}, True),
        (node("Transpose", "input", "x", perm=[0, 1, 3, 2]), {}, True),
        (node("Neg", "input", "x"), {"Normalization": "none"}, False),
        (node("Neg", "input", "x"), {"Normalization": {"mean": [1, 1, 1], "std": [1, 1, 1]}}, False),
        (node("Neg", "input", "x"), {"NormalizationStats": STATISTICS_OF_ESRI}, False),
        (node("Neg", "input", "x"), {"DataRange": [0, 1]}, False),
        (node("Neg", "input", "x"), {"Framework": "arcgis.learn.models"}, False),
        (node("Div", "input one", "x"), {}, False),
        (node("Sub", "input one", "x"), {}, False),
        (norm("input", "x"), {}, False),
    ],
)
def test_cells_that_nothing_prepares_are_warned_of(
    tmp_path: Path, first: onnx.NodeProto, changes: dict[str, Any], warned: bool
) -> None:
    shaped = {
        name: values.reshape(3, 1, 1) if first.op_type in ("Div", "Sub") else values
        for name, values in STATISTICS.items()
    }
    network = save_network(tmp_path / "net.onnx", [first, means_of("x")], constants=shaped)
    outcome = checked(network, **({"Classes": THREE, "Normalization": None} | changes))
    assert outcome.problem is None
    assert [CELLS_WARNING in warning for warning in outcome.warnings] == [True] * warned


def test_scaling_behind_a_choice_of_bands_is_seen(tmp_path: Path) -> None:
    nodes = [node("Gather", "input order", "turned", axis=1), node("Div", "turned full", "x"), means_of("x")]
    constants = {"order": np.array([2, 1, 0]), "full": np.array(255, np.float32)}
    network = save_network(tmp_path / "net.onnx", nodes, constants=constants)
    assert checked(network, Classes=THREE, Normalization=None).warnings == ()


def test_warning_of_a_network_reaches_whoever_asks_for_the_model(tmp_path: Path, make_package: MakePackage) -> None:
    package = make_package(Classes=THREE, Normalization="none", Activation=None)
    centred(package / "net.onnx")
    with models_checked_here():
        catalog = Catalog((tmp_path / "models",), tmp_path / "state", 2**24)
        model = catalog.model("brightness")
        (listed,) = catalog.check_packages()
    assert BATCH_WARNING in model.warnings[0]
    assert listed.warnings == model.warnings
    assert model_info(model)["warnings"] == list(model.warnings)


@pytest.mark.parametrize("count", [1, 3])
def test_batch_of_one_is_no_batch(tmp_path: Path, count: int) -> None:
    """A network of one chip per call may do with its batch what it likes: there is none."""
    network = centred(tmp_path / "net.onnx", (1, 3, 8, 8))
    make_folder(network, **PLAIN)
    assert checked(network, **PLAIN).warnings == ()
    parsed = parse_definition((network.parent / "made.emd").read_bytes())
    found = Session(SessionKey(network, "0" * 64, parsed, "none", "CPU", 1)).outputs(
        np.ones((count, 3, 8, 8), np.uint8)
    )
    np.testing.assert_array_equal(found, np.zeros((count, 3)))
