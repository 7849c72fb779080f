"""From chips to labels: augmentation, batches and failing networks, against numpy on windows that rasterio reads."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import rasterio
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from rasterio.windows import Window

from conftest import definition
from processes.classify.batches import Pause
from processes.classify.inference import classify
from processes.classify.labels import ClassStatus, Labels
from processes.errors import PackageError
from processes.imagery.chip_plan import ChipPlan, reading_order
from processes.imagery.chips import Placement
from processes.imagery.grid import ChipRule
from processes.imagery.image import open_image
from processes.imagery.source import FileSource
from processes.imagery.tiles import BandSelection
from processes.model.arguments import ModelArguments
from processes.model.definition import parse_definition
from processes.model.session import Session, SessionKey
from rasters import make_raster
from tables import each_pair

ORIGINS = [(0, 0), (7, 3), (21, 17), (40, 2), (5, 30), (33, 29), (18, 18), (50, 38), (1, 9), (44, 21), (12, 25)]
"""(column, row) of each chip's upper left cell."""


def save_weighing(path: Path, height: int, width: int, last: list[onnx.NodeProto] | None = None) -> NDArray[np.float64]:
    """Write a network with a weight for each cell and class, and return the weights."""
    weights = np.random.default_rng(5).normal(0, 0.001, (3 * height * width, 3))
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    nodes += last or [helper.make_node("Identity", ["logits"], ["output"])]
    constants = {"weights": weights.astype(np.float32), "first": np.array([0]), "limit": np.array(4000, np.float32)}
    graph = helper.make_graph(
        nodes,
        "weighing",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, height, width])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return weights


def run(
    folder: Path,
    height: int,
    width: int,
    arguments: ModelArguments,
    threads: int = 1,
    progress: Callable[[int], None] = lambda _: None,
    enough: Callable[[], bool] = lambda: False,
    **changes: Any,
) -> Labels:
    """Classify the chips at the origins with the network in the folder."""
    three = [{"Value": value, "Name": f"class {value}"} for value in range(3)]
    keys = definition(
        **({"ImageWidth": width, "ImageHeight": height, "Classes": three, "Normalization": "none"} | changes)
    )
    parsed = parse_definition(json.dumps(keys).encode())
    activation = parsed.activation or "softmax"
    session = Session(SessionKey(folder / "net.onnx", "0" * 64, parsed, activation, "CPU", 1))
    image = open_image(FileSource(folder / "a.tif", "a.tif"), 10**9)
    windows = np.array([(column, row, width, height) for column, row in ORIGINS], np.int32)
    placement = Placement(np.zeros(len(ORIGINS), np.int32), windows)
    chips = ChipPlan([image], [BandSelection((0, 1, 2))], ChipRule(width, height, True, None), placement, None, None)
    rows = reading_order(chips)
    found = classify(chips, rows, session, arguments, progress, threads, Pause(enough))
    assert found.done.all() or enough()
    return found.labels


def chips_of(folder: Path, height: int, width: int) -> NDArray[np.float64]:
    with rasterio.open(folder / "a.tif") as dataset:
        windows = [Window(column, row, width, height) for column, row in ORIGINS]
        return np.array([dataset.read(window=window) for window in windows], np.float64)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def turns(chip: NDArray[np.float64], square: bool, map_space: bool) -> list[NDArray[np.float64]]:
    """Return a chip in Esri's set: turned by quarters, each also mirrored; halves alone where it is not square."""
    if not map_space:
        return [chip, np.flip(chip, 2)]
    turned = [np.rot90(chip, quarter, (1, 2)) for quarter in (range(4) if square else (0, 2))]
    return [variant for item in turned for variant in (item, np.flip(item, 2))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_raster(tmp_path / "a.tif", width=64, height=48)
    return tmp_path


def test_a_probability_at_the_threshold_keeps_its_label(folder: Path) -> None:
    save_weighing(folder / "net.onnx", 8, 8)
    confidence = run(folder, 8, 8, ModelArguments(None, 0, False, False)).confidence
    threshold = float(np.median(confidence))
    labels = run(folder, 8, 8, ModelArguments(None, threshold, False, False))
    np.testing.assert_array_equal(labels.status == ClassStatus.OK, confidence >= threshold)
    assert (labels.status == ClassStatus.BELOW_THRESHOLD).sum() == len(ORIGINS) // 2


@pytest.mark.parametrize(("space", "map_space"), [("MAP_SPACE", True), (None, False), ("PIXEL_SPACE", False)])
@pytest.mark.parametrize(("height", "width", "count"), [(6, 6, 8), (6, 9, 4), (9, 6, 4)])
def test_augmentation_averages_the_probabilities_of_turns_and_mirrors(
    folder: Path, height: int, width: int, count: int, space: str | None, map_space: bool
) -> None:
    weights = save_weighing(folder / "net.onnx", height, width)
    labels = run(folder, height, width, ModelArguments(None, 0, True, True), ImageSpaceUsed=space)
    variants = [turns(chip, height == width, map_space) for chip in chips_of(folder, height, width)]
    assert {len(item) for item in variants} == {count if map_space else 2}
    expected = np.array(
        [softmax(np.array([variant.reshape(-1) @ weights for variant in item])).mean(axis=0) for item in variants]
    )
    assert labels.scores is not None
    np.testing.assert_allclose(labels.scores, expected, atol=1e-5)
    np.testing.assert_array_equal(labels.winner, expected.argmax(axis=1))
    np.testing.assert_allclose(labels.confidence, expected.max(axis=1), atol=1e-5)
    plain = softmax(chips_of(folder, height, width).reshape(len(ORIGINS), -1) @ weights)
    assert np.abs(plain - expected).max() > 0.05  # the network does mind how the chip is turned


@each_pair(batch_size=[None, 1, 2, 7, 11, 10_000, 10**300], threads=[1, 3], augment=[False, True])
def test_batch_size_and_threads_change_nothing(
    folder: Path, batch_size: int | None, threads: int, augment: bool
) -> None:
    weights = save_weighing(folder / "net.onnx", 6, 6)
    labels = run(folder, 6, 6, ModelArguments(batch_size, 0, augment, True), threads)
    assert labels.scores is not None
    if not augment:
        expected = softmax(chips_of(folder, 6, 6).reshape(len(ORIGINS), -1) @ weights)
        np.testing.assert_allclose(labels.scores, expected, atol=1e-5)
    once = run(folder, 6, 6, ModelArguments(len(ORIGINS), 0, augment, True))
    assert once.scores is not None
    np.testing.assert_allclose(labels.scores, once.scores, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 4, None])
@pytest.mark.parametrize("augment", [False, True])
def test_object_of_an_output_that_is_no_number_has_a_status_and_the_others_their_labels(
    folder: Path, batch_size: int | None, augment: bool
) -> None:
    """Of all chips one alone is dark, and the network takes the root of the brightness less a number."""
    with rasterio.open(folder / "a.tif", "r+") as dataset:
        column, row = ORIGINS[5]
        dataset.write(np.ones((3, 6, 6), np.uint8), window=Window(column, row, 6, 6))
    last = [
        helper.make_node("ReduceSum", ["flat", "axis"], ["sum"], keepdims=1),
        helper.make_node("Sub", ["sum", "limit"], ["moved"]),
        helper.make_node("Sqrt", ["moved"], ["root"]),
        helper.make_node("Add", ["logits", "root"], ["output"]),
    ]
    last.insert(0, helper.make_node("Add", ["first", "one"], ["axis"]))
    last.insert(0, helper.make_node("Constant", [], ["one"], value=numpy_helper.from_array(np.array([1]))))
    weights = save_weighing(folder / "net.onnx", 6, 6, last)
    labels = run(folder, 6, 6, ModelArguments(batch_size, 0, augment, True), Activation="softmax")
    is_broken = np.arange(len(ORIGINS)) == 5
    np.testing.assert_array_equal(labels.status, np.where(is_broken, ClassStatus.NOT_FINITE, ClassStatus.OK))
    assert (labels.winner[5], ClassStatus.NOT_FINITE.label) == (-1, "not-finite")
    assert labels.scores is not None
    assert np.isnan([labels.confidence[5], *labels.scores[5]]).all()
    if not augment:  # the same root is added to every class
        expected = softmax(chips_of(folder, 6, 6).reshape(len(ORIGINS), -1) @ weights)
        np.testing.assert_allclose(labels.scores[~is_broken], expected[~is_broken], atol=1e-4)


def test_network_that_fails_for_some_chips_fails_the_work(folder: Path) -> None:
    """It takes the class at the place that a cell's value names, and there are three."""
    last = [
        helper.make_node("Cast", ["flat"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Gather", ["whole", "first"], ["places"], axis=1),
        helper.make_node("GatherElements", ["logits", "places"], ["one"], axis=1),
        helper.make_node("Add", ["logits", "one"], ["output"]),
    ]
    save_weighing(folder / "net.onnx", 6, 6, last)
    with pytest.raises(PackageError, match=r"^the network cannot be run: "):
        run(folder, 6, 6, ModelArguments(None, 0, False, False), 2)


def test_threshold_hides_labels_of_single_label_models_only(folder: Path) -> None:
    weights = save_weighing(folder / "net.onnx", 6, 6)
    confidence = softmax(chips_of(folder, 6, 6).reshape(len(ORIGINS), -1) @ weights).max(axis=1)
    threshold = float(np.median(confidence)) + 1e-4
    labels = run(folder, 6, 6, ModelArguments(None, threshold, False, False))
    np.testing.assert_array_equal(labels.status == 4, confidence < threshold)
    np.testing.assert_allclose(labels.confidence, confidence, atol=1e-5)
    many = run(folder, 6, 6, ModelArguments(None, threshold, False, False), MetaDataMode="MultiLabeled_Tiles")
    assert not many.status.any()
    assert many.scores is not None


def test_an_interrupt_ends_all_threads_after_their_batch(folder: Path) -> None:
    """Ctrl-C reaches the thread that waits, and nobody else."""
    save_weighing(folder / "net.onnx", 6, 6)
    done: list[int] = []
    waiting = threading.main_thread().ident

    def progress(rows: int) -> None:
        done.append(rows)
        if len(done) == 1:
            signal.pthread_kill(waiting or 0, signal.SIGINT)
            time.sleep(0.2)

    with pytest.raises(KeyboardInterrupt):
        run(folder, 6, 6, ModelArguments(1, 0, False, False), progress=progress)
    assert len(done) < len(ORIGINS)
