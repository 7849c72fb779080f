"""`classify-objects optimise`: what a variant says, that it is true, and what is refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper

from conftest import definition
from model_networks import save_network
from processes.describe_model import model_info
from processes.model.local_catalog import LocalCatalog
from processes.model.runtime.runtimes import missing_gpu
from processes.programs.cli import main
from processes.programs.file_links import link_to
from processes.programs.local import run_local
from processes.settings import Settings, load_settings
from rasters import box_around, make_raster, to_map
from service import configure, models_checked_here
from tables import each_row

SIDE, OBJECTS = 64, 40
BEGINNING = "OpenVINO " if find_spec("openvino") else "ONNX Runtime "
PREFIX = ".optimise-"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("processes.programs.optimisation.figures._ROUND_S", 0.01)
    with models_checked_here():
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a configuration, an image, a layer with the truth, and a package of a small network."""
    configure(tmp_path, models=[tmp_path / "models"], imagery=[])
    make_raster(tmp_path / "image.tif", bands=3, height=SIDE, width=SIDE)
    rng = np.random.default_rng(2)
    features: list[dict[str, Any]] = []
    for number in range(OBJECTS):
        x, y = rng.uniform(8, SIDE - 8, 2)
        polygon: Any = to_map(box_around(x, y, 6, 6))
        geometry = {"type": "Polygon", "coordinates": [[list(xy) for xy in polygon.exterior.coords]]}
        kind = ("bright", "dark", "20", "a shed")[number % 4]
        features.append({"type": "Feature", "id": number, "properties": {"kind": kind}, "geometry": geometry})
    features[5]["geometry"]["coordinates"] = [[[0, 0], [1, 0], [1, 1], [0, 0]]]  # on no image
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    layer = {"type": "FeatureCollection", "crs": crs, "features": features}
    (tmp_path / "objects.geojson").write_text(json.dumps(layer))
    write_package(tmp_path / "models" / "plain")
    return tmp_path


def write_package(package: Path, nodes: list[Any] | None = None, **options: Any) -> Path:
    """Write a package around a network of two convolutions with random weights, or around another one."""
    rng = np.random.default_rng(1)
    constants = {
        "first": rng.normal(0, 0.4, (8, 3, 3, 3)).astype(np.float32),
        "second": rng.normal(0, 0.2, (8, 8, 3, 3)).astype(np.float32),
        "head": np.stack([np.zeros(8), rng.normal(size=8)], axis=1).astype(np.float32),
        "bias": rng.normal(0, 0.1, 8).astype(np.float32),
    }
    own = [
        helper.make_node("Conv", ["input", "first", "bias"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"], kernel_shape=[3, 3], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("MatMul", ["f", "head"], ["output"]),
    ]
    keys = options.pop("keys", {})
    save_network(package / "net.onnx", nodes or own, **({"constants": constants} | options))
    (package / f"{package.name}.emd").write_text(json.dumps(definition(**keys)))
    return package


def optimise(folder: Path, *options: str | Path, model: str = "plain", precision: str = "int8") -> Result:
    command = [
        *("--config", folder / "pygeoapi-config.yml", "optimise", model, "--precision", precision),
        *("--image", folder / "image.tif", "--features", folder / "objects.geojson"),
    ]
    output = () if "--output" in options else ("--output", folder / "made.dlpk")
    return CliRunner().invoke(main, [*map(str, (*command, *output, *options))])


def settings_of(folder: Path) -> Settings:
    return load_settings(folder / "pygeoapi-config.yml")


def labels_of(folder: Path, model: str, **changes: Any) -> list[Any]:
    """Return the label and the confidence of each object, as `run` gives them."""
    inputs = {"image": [link_to(folder / "image.tif")], "features": link_to(folder / "objects.geojson")}
    output = folder / f"{Path(model).stem}.geojson"
    run_local(
        {**inputs, "model": model, "processorType": "CPU"} | changes,
        output,
        settings_of(folder),
        overwrite=True,
        planned=lambda _: None,
        progress=lambda _: None,
    )
    found = [feature["properties"] for feature in json.loads(output.read_text())["features"]]
    return [(item["ClassLabel"], item["Confidence"]) for item in found if item["ClassStatus"] == "ok"]


def test_variant_says_what_its_labels_are_and_keeps_the_rest(folder: Path) -> None:
    package = folder / "models" / "plain"
    keys = json.loads((package / "plain.emd").read_text()) | {"SensorName": "drone"}
    (package / "plain.emd").write_text(json.dumps(keys))
    (package / "README.md").write_text("what I am")
    done = optimise(folder, "--truth", "kind")
    assert done.exit_code == 0, done.output
    with zipfile.ZipFile(folder / "made.dlpk") as archive:
        assert archive.namelist() == ["README.md", "card.json", "made.emd", "net.onnx"]
        written = json.loads(archive.read("made.emd"))
        network = onnx.load_from_string(archive.read("net.onnx"))
    figures = written.pop("Optimisation")
    assert written == keys | {"Precision": "int8"}
    plain, made = labels_of(folder, "plain"), labels_of(folder, str(folder / "made.dlpk"))
    assert len(plain) == len(made) == OBJECTS - 1 == figures["objects"]
    assert figures["labelsChanged"] == sum(old[0] != new[0] for old, new in zip(plain, made, strict=True))
    change = max(abs(old[1] - new[1]) for old, new in zip(plain, made, strict=True) if old[0] == new[0])
    assert figures["largestChange"] >= change - 1e-6
    assert 0 < figures["largestChange"] < 0.1
    assert (figures["calibration"]["chips"], figures["calibration"]["firstLayersInFp32"]) == (OBJECTS - 1, 0)
    assert (figures["from"]["id"], figures["precision"], figures["accuracy"]["field"]) == ("plain", "int8", "kind")
    assert figures["runtime"].startswith(BEGINNING)
    kinds = [("bright", "dark", "bright", None)[number % 4] for number in range(OBJECTS) if number != 5]
    for name, labels in (("fp32", plain), ("int8", made)):
        right = [kind == label for (label, _), kind in zip(labels, kinds, strict=True) if kind is not None]
        assert figures["accuracy"][name] == pytest.approx(np.mean(right), abs=1e-4)
    assert figures["accuracy"]["objects"] == sum(kind is not None for kind in kinds)
    assert set(figures["chipsPerSecond"]) == {"fp32", "int8"}
    assert f"{OBJECTS - 1} objects: {figures['labelsChanged']} labels changed" in done.output
    nodes = [node.op_type for node in network.graph.node]
    assert nodes[-1] == "MatMul"  # the last layer is as it was
    assert nodes.count("Conv") * 2 <= nodes.count("QuantizeLinear")
    catalog = LocalCatalog.from_settings(settings_of(folder))
    plain_model, model = catalog.model("plain"), catalog.model(str(folder / "made.dlpk"))
    assert model.sha256 != plain_model.sha256 == figures["from"]["sha256"]
    info = model_info(model)
    assert (info["precision"], info["optimisation"]) == ("int8", figures)
    assert info["card"]["description"].startswith(f"A variant of plain, computed in int8: {OBJECTS - 1} objects: ")
    assert info["card"]["mlm:hyperparameters"]["optimisation"] == figures
    assert "warnings" not in info
    assert not list(folder.glob(f"{PREFIX}*"))


def test_quantised_network_is_the_same_each_time_and_holds_its_own_weights(folder: Path) -> None:
    """So a machine without int8 computes what it computed before."""
    networks = []
    for name in ("one.dlpk", "two.dlpk"):
        assert optimise(folder, "--output", folder / name).exit_code == 0
        with zipfile.ZipFile(folder / name) as archive:
            networks.append(archive.read("net.onnx"))
    assert networks[0] == networks[1]
    weights = {
        item.name: item.raw_data for item in onnx.load(folder / "models" / "plain" / "net.onnx").graph.initializer
    }
    found = {item.name: item.raw_data for item in onnx.load_from_string(networks[0]).graph.initializer}
    assert weights.items() <= found.items()


def test_card_of_the_package_is_kept_and_extended(folder: Path) -> None:
    card = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": ["https://stac-extensions.github.io/mlm/v1.5.0/schema.json"],
        "properties": {"title": "Roofs", "description": "Of roofs.", "mlm:hyperparameters": {"rate": 0.1}, "own": 1},
    }
    (folder / "models" / "plain" / "about.json").write_text(json.dumps(card))
    assert optimise(folder).exit_code == 0
    with zipfile.ZipFile(folder / "made.dlpk") as archive:
        assert archive.namelist() == ["about.json", "made.emd", "net.onnx"]
        properties = json.loads(archive.read("about.json"))["properties"]
    assert (properties["title"], properties["own"], properties["mlm:hyperparameters"]["rate"]) == ("Roofs", 1, 0.1)
    assert properties["description"].startswith("Of roofs. A variant of plain, computed in int8: ")


def save_close(package: Path, layers: int) -> Path:
    """Write a package whose network has two weights that differ by less than a step, in the last of some layers.

    In whole numbers they are one, and with them the scores of the classes.
    """
    rounded = np.array([1, -0.997], np.float32).reshape(1, 2, 1, 1)
    names = ["twice", *(f"layer{number}" for number in range(layers))]
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["grey"], axes=[1], keepdims=1),
        helper.make_node("Abs", ["grey"], ["level"]),
        helper.make_node("Concat", ["level", "level"], ["twice"], axis=1),
        *(
            helper.make_node("Conv", [name, "same" if after != names[-1] else "weights"], [after], kernel_shape=[1, 1])
            for name, after in pairwise(names)
        ),
        helper.make_node("ReduceMean", [names[-1]], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "one"], ["column"]),
        helper.make_node("MatMul", ["column", "head"], ["output"]),
    ]
    same = np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1)
    head = np.array([[0, 1000]], np.float32)
    constants = {"weights": rounded, "same": same, "one": np.array([1]), "head": head}
    return write_package(package, nodes, constants=constants)


def test_variant_that_changes_too_many_labels_is_refused(folder: Path) -> None:
    save_close(folder / "models" / "close", 2)
    done = optimise(folder, "--max-changed", "0.4%", model="close")
    assert done.exit_code == 1
    told = done.output.splitlines()[-1]
    assert told == (
        f"Error: int8 changes the labels of {OBJECTS - 1} of {OBJECTS - 1} objects (100.00%), "
        "more than --max-changed 0.4% allows: nothing was written"
    )
    assert not list(folder.glob("*.dlpk")) + list(folder.glob(f"{PREFIX}*"))
    assert optimise(folder, "--max-changed", "100%", model="close").exit_code == 0


def test_first_layer_stays_in_fp32_where_too_many_labels_would_change(folder: Path) -> None:
    save_close(folder / "models" / "close", 1)
    assert optimise(folder, "--max-changed", "0%", model="close").exit_code == 0
    with zipfile.ZipFile(folder / "made.dlpk") as archive:
        figures = json.loads(archive.read("made.emd"))["Optimisation"]
    assert (figures["labelsChanged"], figures["calibration"]["firstLayersInFp32"]) == (0, 1)


@each_row(
    ("change", "options"),
    [
        ("an old opset", {"opset": 11}),
        ("one batch", {"shape": (4, 3, 8, 8)}),
        ("bands last", {"shape": ("n", 8, 8, 3)}),
        ("weights apart", {}),
    ],
)
def test_all_forms_of_networks_are_quantised(folder: Path, change: str, options: dict[str, Any]) -> None:
    package = write_package(folder / "models" / "other", **options)
    network = package / "net.onnx"
    if change == "bands last":
        model = onnx.load(network)
        model.graph.node.insert(0, helper.make_node("Transpose", ["input"], ["cells"], perm=[0, 3, 1, 2]))
        model.graph.node[1].input[0] = "cells"
        onnx.save(model, network)
    if change == "weights apart":
        onnx.save(onnx.load(network), network, save_as_external_data=True, location="net.weights", size_threshold=0)
    done = optimise(folder, "--overwrite", model="other")
    assert done.exit_code == 0, done.output
    plain, made = labels_of(folder, "other"), labels_of(folder, str(folder / "made.dlpk"))
    assert max(abs(old[1] - new[1]) for old, new in zip(plain, made, strict=True)) < 0.1
    assert sum(old[0] == new[0] for old, new in zip(plain, made, strict=True)) >= OBJECTS - 3


@each_row(
    ("options", "precision", "message"),
    [
        (("--output", "plain.dlpk"), "int8", "a variant has an id of its own, but OUTPUT is plain.dlpk"),
        (("--output", "made.zip"), "int8", "is to be a package: give it a name that ends in .dlpk"),
        (("--output", "there.dlpk"), "int8", "is there already; --overwrite replaces it"),
        (("--truth", "sort"), "int8", "the features have no field 'sort'; they have 'kind'"),
        ((), "fp16", "a variant in fp16 cannot be measured on this machine: this server"),
    ],
)
def test_what_cannot_be_made_is_refused_with_the_reason(
    folder: Path, options: tuple[str, ...], precision: str, message: str
) -> None:
    (folder / "there.dlpk").write_bytes(b"of somebody")
    named = [str(folder / item) if "." in item and not item.startswith("--") else item for item in options]
    if precision == "fp16" and missing_gpu() is None:
        pytest.skip("there is a GPU")
    done = optimise(folder, *named, precision=precision)
    assert (done.exit_code, message in done.output) == (1, True), done.output
    assert [path.name for path in folder.glob("*.dlpk")] == ["there.dlpk"]
    assert not list(folder.glob(f"{PREFIX}*"))


@each_row(
    ("make", "message"),
    [
        ({"keys": {"Precision": "int8"}}, "states Precision int8 already: optimise the package that it was made of"),
        ({"element": TensorProto.UINT8, "cast": True}, "the network takes uint8: int8 is made of networks of float32"),
    ],
)
def test_network_that_has_no_variant_is_refused(folder: Path, make: dict[str, Any], message: str) -> None:
    package = write_package(folder / "models" / "other", **{name: make[name] for name in make if name != "cast"})
    if "cast" in make:
        model = onnx.load(package / "net.onnx")
        model.graph.node.insert(0, helper.make_node("Cast", ["input"], ["cells"], to=TensorProto.FLOAT))
        model.graph.node[1].input[0] = "cells"
        onnx.save(model, package / "net.onnx")
    done = optimise(folder, model="other")
    assert (done.exit_code, message in done.output) == (1, True), done.output


@each_row(
    ("options", "message"),
    [
        (("--max-changed", "0.4"), "'0.4' is no share of 0% to 100%; write it as 0.4%"),
        (("--max-changed", "many%"), "'many%' is no share"),
        (("--max-changed", "101%"), "'101%' is no share"),
    ],
)
def test_share_is_a_percentage(folder: Path, options: tuple[str, ...], message: str) -> None:
    done = optimise(folder, *options)
    assert (done.exit_code, message in done.output) == (2, True), done.output
