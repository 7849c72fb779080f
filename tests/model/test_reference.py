"""Probabilities equal what numpy in float64 makes of the original network, for every option of a package."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from conftest import definition
from processes.errors import PackageError
from processes.model.check import CheckOutcome
from processes.model.check_process import check
from processes.model.definition import Activation, parse_definition
from processes.model.session import Session, SessionKey
from tables import each_pair, each_row

MODELS = Path(__file__).parents[2] / "models"
SIDE = 5
ELEMENTS = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "float64": TensorProto.DOUBLE,
    "uint8": TensorProto.UINT8,
}
WEIGHTS = np.random.default_rng(7).normal(0, 0.01, (3 * SIDE * SIDE, 3)).astype(np.float32)
"""A weight per cell and class: no two turns or mirrors of a chip have the same logits."""
STATS = {
    "band_min_values": [10.0, 20.0, 30.0, 40.0],
    "band_max_values": [110.0, 20.0, 230.0, 240.0],
    "scaled_mean_values": [0.4, 1.5, 0.5, 0.3],
    "scaled_std_values": [0.2, 30.0, 0, 0.25],
}
"""The second band has no width, the third no deviation."""


def save_linear(
    path: Path,
    *,
    weights: NDArray[np.float32] = WEIGHTS,
    dtype: str = "float32",
    channels_last: bool = False,
    batch: Any = "n",
    side: Any = SIDE,
    last: Sequence[onnx.NodeProto] | None = None,
    constants: dict[str, Any] | None = None,
    output: Sequence[Any] | None = ("n", 3),
    opset: int = 17,
    ir_version: int = 8,
) -> Path:
    """Write a network whose logits are the chip's cells, band by band and row by row, times the weights."""
    nodes = [helper.make_node("Cast", ["input"], ["cells"], to=TensorProto.FLOAT)]
    if channels_last:
        nodes.append(helper.make_node("Transpose", ["cells"], ["bands_first"], perm=[0, 3, 1, 2]))
    nodes.append(helper.make_node("Flatten", [nodes[-1].output[0]], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "weights"], ["logits"]))
    nodes += last if last is not None else [helper.make_node("Identity", ["logits"], ["output"])]
    shape = [batch, side, side, 3] if channels_last else [batch, 3, side, side]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("input", ELEMENTS[dtype], shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in ({"weights": weights} | (constants or {})).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = ir_version
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def check_package(network: Path, **changes: Any) -> CheckOutcome:
    """Make a package of the network and check it."""
    classes = [{"Value": value, "Name": f"class {value}"} for value in range(3)]
    keys = definition(**({"Classes": classes, "ImageWidth": SIDE, "ImageHeight": SIDE, "Activation": None} | changes))
    (network.parent / "made.emd").write_text(json.dumps(keys))
    return check(network.parent, network.parent / "unpacked", 2**30).outcome


def problem_of(network: Path, **changes: Any) -> str:
    problem = check_package(network, **changes).problem
    assert problem is not None
    return problem


def open_made(network: Path, activation: Activation = "none", output_name: str | None = None) -> Session:
    """Open the network of the package that was made last, without a check."""
    parsed = parse_definition((network.parent / "made.emd").read_bytes())
    return Session(SessionKey(network, "0" * 64, parsed, activation, "CPU", 1, output_name))


def checked_session(network: Path, **changes: Any) -> Session:
    """Check a package with that network and open it as the service does, with the activation that was found."""
    outcome = check_package(network, **changes)
    assert outcome.problem is None
    return open_made(network, outcome.activation, outcome.output_name)


def random_chips(count: int, dtype: str = "uint8") -> NDArray[Any]:
    cells = np.random.default_rng(count).uniform(0, 255, (count, 3, SIDE, SIDE))
    return cells.astype(dtype)


def per_band(*values: float) -> NDArray[np.float64]:
    return np.reshape(np.asarray(values, np.float64), (-1, 1, 1))


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-logits)))


def logits_of(cells: NDArray[Any], weights: NDArray[Any] = WEIGHTS) -> NDArray[np.float64]:
    return np.asarray(cells.astype(np.float64).reshape(len(cells), -1) @ weights.astype(np.float64))


def imagenet(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """As arcgis.learn's raster function has it."""
    return np.asarray((cells - 255 * per_band(0.485, 0.456, 0.406)) / (255 * per_band(0.229, 0.224, 0.225)))


def unchanged(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    return cells


def esri(bands: list[int]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    def normalize(cells: NDArray[np.float64]) -> NDArray[np.float64]:
        low, high, mean, std = (per_band(*(STATS[name][band] for band in bands)) for name in STATS)
        width, std = np.where(high == low, 1, high - low), np.where(std == 0, 0.01, std)
        return np.asarray(((cells - low) / width - mean) / std)

    return normalize


LEARN = "arcgis.learn.models._inferencing"
NORMALIZATIONS: list[tuple[dict[str, Any], Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = [
    (
        {"Normalization": {"scale": 0.01, "mean": [1, 2, 3], "std": [1, -2, 4]}},
        lambda c: (c * 0.01 - per_band(1, 2, 3)) / per_band(1, -2, 4),
    ),
    (
        {"Normalization": {"mean": [1, 2, 3], "std": [50, 60, 70]}},
        lambda c: (c - per_band(1, 2, 3)) / per_band(50, 60, 70),
    ),
    ({"Normalization": "none", "NormalizationStats": STATS, "Framework": LEARN}, unchanged),
    ({"NormalizationStats": STATS, "ExtractBands": [3, 0, 1]}, esri([3, 0, 1])),
    ({"NormalizationStats": STATS, "ExtractBands": [2, 2, 0], "Framework": LEARN}, esri([2, 2, 0])),
    ({"NormalizationStats": {name: array[:3] for name, array in STATS.items()}, "ExtractBands": None}, esri([0, 1, 2])),
    ({"Framework": LEARN}, imagenet),
    ({"Framework": LEARN, "ExtractBands": None}, imagenet),
    ({"Framework": LEARN, "ExtractBands": ["Red", "Green", "Blue"]}, imagenet),
    ({"Framework": "PyTorch"}, unchanged),
    ({"Framework": None}, unchanged),
]


@pytest.mark.parametrize(
    ("keys", "normalize"),
    NORMALIZATIONS,
    ids=[
        "own",
        "own-without-scale",
        "none",
        "stats",
        "stats-twice",
        "stats-all",
        "learn",
        "learn-all",
        "learn-names",
        "pytorch",
        "nothing",
    ],
)
@each_row("chip_dtype", ["uint8", "float32"])
def test_every_normalization(tmp_path: Path, keys: dict[str, Any], normalize: Any, chip_dtype: str) -> None:
    session = checked_session(save_linear(tmp_path / "package" / "net.onnx"), **({"Normalization": None} | keys))
    chips = random_chips(9, chip_dtype)
    expected = softmax(logits_of(normalize(chips.astype(np.float64))))
    np.testing.assert_allclose(session.scores(chips), expected, atol=1e-5)


def test_imagenet_is_assumed_for_three_bands_only(tmp_path: Path) -> None:
    """Without ExtractBands only the network says how many bands there are."""
    nodes = [helper.make_node("ReduceMean", ["input"], ["output"], axes=[2, 3], keepdims=0)]
    graph = helper.make_graph(
        nodes,
        "four",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 4, SIDE, SIDE])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 4])],
    )
    network = tmp_path / "package" / "net.onnx"
    network.parent.mkdir()
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), network)
    four = [{"Value": value, "Name": str(value)} for value in range(4)]
    session = checked_session(network, Framework=LEARN, Normalization=None, ExtractBands=None, Classes=four)
    chips = np.random.default_rng(0).integers(0, 256, (3, 4, SIDE, SIDE), np.uint8)
    np.testing.assert_allclose(session.outputs(chips), chips.mean(axis=(2, 3)), rtol=1e-5)


@pytest.mark.parametrize("bands", [1, 4])
def test_bands_of_a_network_that_takes_any_number_are_those_of_the_normalization(tmp_path: Path, bands: int) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "one"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "any",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", "bands", "h", "w"])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.array([1]), "one")],
    )
    network = tmp_path / "package" / "net.onnx"
    network.parent.mkdir()
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), network)
    keys = {
        "ExtractBands": None,
        "Normalization": {"mean": [128] * bands, "std": [64] * bands},
        "Classes": definition()["Classes"],
    }
    session = checked_session(network, **keys)
    chips = np.random.default_rng(0).integers(0, 256, (3, bands, SIDE, SIDE), np.uint8)
    second = sigmoid(((chips.astype(np.float64) - 128) / 64).mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(session.scores(chips)[:, 1], second, atol=1e-5)


@each_pair(
    dtype=["float32", "float16", "float64", "uint8"],
    channels_last=[False, True],
    batch=["n", 1, 4, 7],
    normalization=[None, {"scale": 2, "mean": [99, 100, 101], "std": [1, 1.5, -1]}],
    chip_dtype=["uint8", "float32"],
)
def test_every_input(
    tmp_path: Path, dtype: str, channels_last: bool, batch: Any, normalization: Any, chip_dtype: str
) -> None:
    network = save_linear(
        tmp_path / "package" / "net.onnx", dtype=dtype, channels_last=channels_last, batch=batch, output=(batch, 3)
    )
    session = checked_session(network, Normalization=normalization or "none")
    chips = random_chips(9, chip_dtype)
    cells = chips.astype(np.float64)
    if normalization is not None:
        cells = (cells * normalization["scale"] - per_band(*normalization["mean"])) / per_band(*normalization["std"])
    if dtype == "uint8":  # halves up, kept within the type
        cells = np.clip(np.floor(cells + 0.5), 0, 255)
    found = session.scores(chips)
    np.testing.assert_allclose(
        found, softmax(logits_of(cells.astype(dtype))), atol=2e-3 if dtype == "float16" else 1e-5
    )
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


@each_row("opset", [7, 10, 11, 17])
def test_cells_are_rounded_and_kept_within_bytes_for_a_network_of_bytes(tmp_path: Path, opset: int) -> None:
    weights = np.eye(3 * SIDE * SIDE, 3, dtype=np.float32)  # the outputs are the first three cells
    network = save_linear(
        tmp_path / "package" / "net.onnx", weights=weights, dtype="uint8", opset=opset, ir_version=3 if opset < 9 else 8
    )
    session = checked_session(network, Normalization="none")
    chips = np.zeros((3, 3, SIDE, SIDE), np.float32)
    cells: list[list[float]] = [[0.49, 0.5, 1.5], [254.4, 254.5, 255.9], [-7, 300, 65535]]
    chips[:, 0, 0, :3] = np.array(cells)
    np.testing.assert_array_equal(session.outputs(chips), [[0, 1, 2], [254, 255, 255], [0, 255, 255]])


@pytest.mark.parametrize("side", [SIDE, "side"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_size_of_the_input_may_be_free(tmp_path: Path, side: Any, channels_last: bool) -> None:
    network = save_linear(tmp_path / "package" / "net.onnx", side=side, channels_last=channels_last)
    chips = random_chips(4)
    found = checked_session(network, Normalization="none").scores(chips)
    np.testing.assert_allclose(found, softmax(logits_of(chips)), atol=1e-5)


@each_row(
    ("height", "width", "shape"),
    [
        (3, 3, ("n", 3, 3, 3)),
        (3, 3, ("n", "bands", "height", "width")),
        (3, 4, ("n", 3, 3, 4)),
        (4, 3, ("n", 3, 4, 3)),
        (4, 3, ("n", 3, "height", 3)),
        (3, 3, ("n", 3, "height", "width")),
    ],
)
def test_axes_that_can_be_read_both_ways_are_bands_first(
    tmp_path: Path, height: int, width: int, shape: tuple[Any, ...]
) -> None:
    nodes = [helper.make_node("ReduceMean", ["input"], ["output"], axes=[2, 3], keepdims=0)]
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 3])],
    )
    network = tmp_path / "package" / "net.onnx"
    network.parent.mkdir()
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), network)
    session = checked_session(network, ImageHeight=height, ImageWidth=width, Normalization="none")
    chips = np.random.default_rng(0).integers(0, 256, (2, 3, height, width), np.uint8)
    np.testing.assert_allclose(session.outputs(chips), chips.mean(axis=(2, 3)), rtol=1e-5)


REPEAT = np.repeat(WEIGHTS.mean(axis=1)[:, None], 1, axis=1)
"""Weights of a single output."""
LAYOUTS: dict[str, tuple[Any, Any, dict[str, Any], Any]] = {
    "(n, classes, 1, 1)": ("n", ("Reshape", ["logits", "to"]), {"to": np.array([-1, 3, 1, 1])}, ("n", 3, 1, 1)),
    "(n, 1, classes)": ("n", ("Reshape", ["logits", "to"]), {"to": np.array([-1, 1, 3])}, ("n", 1, 3)),
    "(classes,) of one": (1, ("Reshape", ["logits", "to"]), {"to": np.array([3])}, (3,)),
    "(1, 1, classes) of one": (1, ("Reshape", ["logits", "to"]), {"to": np.array([1, 1, 3])}, (1, 1, 3)),
    "not said": ("n", ("Identity", ["logits"]), {}, None),
}


@each_row("squashed", [False, True])
@each_row("layout", LAYOUTS)
def test_every_layout_of_the_output(tmp_path: Path, layout: str, squashed: bool) -> None:
    """`(classes,)` of one chip, squashed, is what arcgis.learn leaves as `<name>-base.onnx`."""
    batch, (kind, inputs), constants, shape = LAYOUTS[layout]
    last = [
        helper.make_node("Softmax" if squashed else "Identity", ["logits"], ["squashed"]),
        helper.make_node(kind, ["squashed", *inputs[1:]], ["output"]),
    ]
    network = save_linear(tmp_path / "package" / "net.onnx", batch=batch, last=last, constants=constants, output=shape)
    session = checked_session(network, Normalization="none")
    assert session.key.activation == ("none" if squashed else "softmax")
    chips = random_chips(5)
    np.testing.assert_allclose(session.scores(chips), softmax(logits_of(chips)), atol=1e-5)


@each_row("squashed", [False, True])
@each_row(("batch", "shape"), [("n", ("n", 1)), ("n", ("n",)), (1, (1,)), (1, ()), (4, (4,)), (4, (4, 1))])
def test_one_output_for_two_classes_in_every_layout(tmp_path: Path, batch: Any, shape: Any, squashed: bool) -> None:
    sizes = [-1 if item == "n" else item for item in shape]
    last = [
        helper.make_node("Sigmoid" if squashed else "Identity", ["logits"], ["squashed"]),
        helper.make_node("Reshape", ["squashed", "to"], ["output"]),
    ]
    network = save_linear(
        tmp_path / "package" / "net.onnx",
        weights=REPEAT,
        batch=batch,
        last=last,
        constants={"to": np.array(sizes, np.int64)},
        output=shape,
    )
    session = checked_session(network, Normalization="none", Classes=definition()["Classes"])
    assert session.key.activation == ("none" if squashed else "sigmoid")
    chips = random_chips(6)
    second = sigmoid(logits_of(chips, REPEAT)[:, 0])
    np.testing.assert_allclose(session.scores(chips), np.column_stack([1 - second, second]), atol=1e-5)


@pytest.mark.parametrize("offset", [0.3, 0.5])
def test_logits_that_lie_close_together_for_noise_are_no_probabilities(tmp_path: Path, offset: float) -> None:
    """The mean of noise is always about the same; the trial's chips differ in brightness, as real ones do."""
    weights = np.full((3 * SIDE * SIDE, 1), 1 / (3 * SIDE * SIDE), np.float32)
    last = [helper.make_node("Add", ["logits", "offset"], ["output"])]
    network = save_linear(
        tmp_path / "package" / "net.onnx",
        weights=weights,
        last=last,
        constants={"offset": np.array(offset, np.float32)},
        output=("n", 1),
    )
    keys = {"scale": 1 / 255, "mean": [0.5] * 3, "std": [0.25] * 3}
    session = checked_session(network, Normalization=keys, Classes=definition()["Classes"])
    assert session.key.activation == "sigmoid"


def test_trial_chips_are_of_the_data_range(tmp_path: Path) -> None:
    """A network made for 0..1 whose every output is 1 for cells of 0..255 would be taken for one of probabilities."""
    weights = np.full((3 * SIDE * SIDE, 1), 4 / (3 * SIDE * SIDE), np.float32)
    constants = {"least": np.array(-9, np.float32), "most": np.array(1, np.float32)}
    shifted = [
        helper.make_node("Sub", ["logits", "two"], ["moved"]),
        helper.make_node("Clip", ["moved", "least", "most"], ["output"]),
    ]
    constants["two"] = np.array(2, np.float32)
    network = save_linear(
        tmp_path / "package" / "net.onnx", weights=weights, last=shifted, constants=constants, output=("n", 1)
    )
    keys = {"Normalization": "none", "Classes": definition()["Classes"]}
    assert checked_session(network, **keys, DataRange=[0, 1]).key.activation == "sigmoid"
    assert checked_session(network, **keys).key.activation == "none"


ACTIVATIONS: list[tuple[str, str | None, str, Any]] = [
    ("Identity", None, "Labeled_Tiles", softmax),
    ("Identity", "softmax", "Labeled_Tiles", softmax),
    ("Identity", "sigmoid", "Labeled_Tiles", sigmoid),
    ("Softmax", None, "Labeled_Tiles", softmax),
    ("Softmax", "none", "Labeled_Tiles", softmax),
    ("Softmax", "softmax", "Labeled_Tiles", lambda logits: softmax(softmax(logits))),
    ("Identity", None, "MultiLabeled_Tiles", sigmoid),
    ("Sigmoid", None, "MultiLabeled_Tiles", sigmoid),
    ("Sigmoid", "none", "MultiLabeled_Tiles", sigmoid),
]


@each_row(("kind", "declared", "mode", "expected"), ACTIVATIONS)
def test_every_activation(tmp_path: Path, kind: str, declared: str | None, mode: str, expected: Any) -> None:
    last = [helper.make_node(kind, ["logits"], ["output"])]
    network = save_linear(tmp_path / "package" / "net.onnx", last=last)
    session = checked_session(network, Normalization="none", Activation=declared, MetaDataMode=mode)
    chips = random_chips(8)
    np.testing.assert_allclose(session.scores(chips), expected(logits_of(chips)), atol=1e-5)


@each_row("opset", range(7, onnx.defs.onnx_opset_version() + 1))
def test_every_opset_is_run(tmp_path: Path, opset: int) -> None:
    """Those that are newer than the runtime's too, as the network needs nothing that is new in them."""
    network = save_linear(tmp_path / "package" / "net.onnx", opset=opset, ir_version=3 if opset < 9 else 10)
    keys = {"Normalization": {"scale": 0.1, "mean": [1, 2, 3], "std": [4, 5, 6]}}
    chips = random_chips(3, "float32")
    cells = (chips.astype(np.float64) * 0.1 - per_band(1, 2, 3)) / per_band(4, 5, 6)
    np.testing.assert_allclose(checked_session(network, **keys).scores(chips), softmax(logits_of(cells)), atol=1e-5)


@pytest.mark.parametrize("ir_version", [3, 4, 7, 10])
def test_weights_that_are_inputs_too_are_no_inputs(tmp_path: Path, ir_version: int) -> None:
    network = save_linear(tmp_path / "package" / "net.onnx", opset=8, ir_version=ir_version)
    model = onnx.load(network)
    model.graph.input.insert(0, helper.make_tensor_value_info("weights", TensorProto.FLOAT, WEIGHTS.shape))
    onnx.save(model, network)
    chips = random_chips(3)
    found = checked_session(network, Normalization="none").scores(chips)
    np.testing.assert_allclose(found, softmax(logits_of(chips)), atol=1e-5)


def test_the_output_that_is_called_so_is_taken(tmp_path: Path) -> None:
    """Some exporters put the winning class before the scores, or write other numbers too."""
    last = [
        helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
        helper.make_node("Identity", ["logits"], ["output"]),
        helper.make_node("Neg", ["logits"], ["other"]),
    ]
    network = save_linear(tmp_path / "package" / "net.onnx", last=last)
    model = onnx.load(network)
    model.graph.output.insert(0, helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]))
    model.graph.output.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, ["n", 3]))
    onnx.save(model, network)
    chips = random_chips(3)
    found = checked_session(network, Normalization="none").scores(chips)
    np.testing.assert_allclose(found, softmax(logits_of(chips)), atol=1e-5)


@pytest.mark.parametrize("name", ["tree-leaf-box", "urban-tree-naip"])
def test_shipped_models_equal_onnx_own_reference(name: str) -> None:
    keys = json.loads((MODELS / name / f"{name}.emd").read_bytes())
    network = MODELS / name / keys["ModelFile"]
    bands = len(keys["ExtractBands"])
    chips = np.random.default_rng(1).integers(0, 256, (3, bands, keys["ImageHeight"], keys["ImageWidth"]), np.uint8)
    own = keys["Normalization"]
    cells = (chips * np.float64(own["scale"]) - per_band(*own["mean"])) / per_band(*own["std"])
    reference = ReferenceEvaluator(str(network))
    answers: Any = reference.run(None, {reference.input_names[0]: cells.astype(np.float32)})
    logits = np.asarray(answers[0])
    parsed = parse_definition(json.dumps(keys).encode())
    found = Session(SessionKey(network, "0" * 64, parsed, "softmax", "CPU", 1)).scores(chips)
    np.testing.assert_allclose(found, softmax(logits.astype(np.float64)), atol=1e-4)


@pytest.mark.parametrize(("rows", "columns"), [(1, 48), (48, 1), (3, 16), (2, 24)])
def test_outputs_with_another_first_axis_than_the_chips_are_refused(tmp_path: Path, rows: int, columns: int) -> None:
    """48 numbers for the trial's 16 chips may be anything, if their first axis is not that of the chips."""
    last = [helper.make_node("Reshape", ["logits", "to"], ["output"])]
    constants = {"to": np.array([rows, columns])}
    network = save_linear(tmp_path / "package" / "net.onnx", last=last, constants=constants, output=None)
    assert problem_of(network) == f"the network gives float32 of shape ({rows}, {columns}) for 16 chips"


def test_output_whose_width_changes_with_the_batch_is_refused(tmp_path: Path) -> None:
    """The trial's 16 chips give three columns, one alone gives none that fits."""
    last = [
        helper.make_node("Shape", ["logits"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["chips"]),
        helper.make_node("Div", ["chips", "five"], ["columns"]),
        helper.make_node("Concat", ["chips", "columns"], ["to"], axis=0),
        helper.make_node("Expand", ["one", "to"], ["output"]),
    ]
    constants = {"first": np.array([0]), "five": np.array([5]), "one": np.array([[1]], np.float32)}
    network = save_linear(tmp_path / "package" / "net.onnx", last=last, constants=constants, output=None)
    assert problem_of(network) == "the network has 0 outputs for 3 classes"
    session = open_made(network, "softmax")
    assert session.scores(random_chips(15)).shape == (15, 3)
    with pytest.raises(PackageError, match="the network has 2 outputs for 3 classes"):
        session.scores(random_chips(10))
