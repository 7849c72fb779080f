"""What tests share: small real things, and the real data where it is there."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pyarrow as pa
import pyproj
import pytest
from onnx import TensorProto, helper, numpy_helper

from processes.features.layer import Layer
from processes.features.writing.class_style import ClassStyle
from processes.features.writing.format import Format
from processes.features.writing.result import RowBatch, result_layer
from processes.features.writing.write import write_result
from processes.settings import Settings
from service import ROOT, Client, configure, load_application

SHARED = Path(__file__).parents[2] / "shared"
HELP_PAGE = {
    "Framework": "Keras",
    "ModelConfiguration": "KerasClassifier",
    "ModelFile": "C:\\DeepLearning\\Damage_Classification_Model_V7.h5",
    "ModelType": "ObjectClassification",
    "ImageHeight": 256,
    "ImageWidth": 256,
    "ExtractBands": [0, 1, 2],
    "CropSizeFixed": 1,
    "BlackenAroundFeature": 1,
    "ImageSpaceUsed": "MAP_SPACE",
    "Classes": [
        {"Value": 0, "Name": "Damaged", "Color": [255, 0, 0]},
        {"Value": 1, "Name": "Undamaged", "Color": [76, 230, 0]},
    ],
}
"""The sample of the help page of Esri's tool, word for word."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cluster",
        choices=["plain", "compose"],
        default="plain",
        help="the cluster that faults happen in: PostgreSQL and a folder, or that of docker/compose.yml with S3",
    )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real imagery with true labels, which is not in the repository."""
    if not (SHARED / "data").is_dir():
        if os.environ.get("CI"):
            pytest.fail("the shared data is not there, and in CI it must be")
        pytest.skip("the shared data is not there")
    return SHARED / "data"


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Client:
    """Return a client of a service with the shipped models, which reads the folders of all tests and the real data."""
    imagery = [tmp_path_factory.getbasetemp(), SHARED / "data"]
    return Client(
        load_application(configure(tmp_path_factory.mktemp("shipped"), models=[ROOT / "models"], imagery=imagery))
    )


@pytest.fixture
def pandas() -> Any:
    """Return the module, which `make test` keeps beside the other packages: the service does without it."""
    sys.path.append(str(Path(__file__).parents[1] / ".venv" / "readers"))
    try:
        return importlib.import_module("pandas")
    except ImportError:
        if os.environ.get("CI"):
            pytest.fail("pandas is not there, and in CI it must be")
        pytest.skip("pandas is not there")


def save_mean_network(path: Path, bands: int = 3, side: int | None = 8) -> Path:
    """Write a network whose answer is known by hand: logits (0, mean of all cells)."""
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "one"], ["column"]),
        helper.make_node("Mul", ["column", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", bands, side or "height", side or "width"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [
            numpy_helper.from_array(np.array([1]), "one"),
            numpy_helper.from_array(np.array([[0, 1]], np.float32), "weights"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)
    return path


def save_root_network(path: Path) -> Path:
    """Write a network that gives (0, root of the mean of all cells), which is no number where the mean is negative."""
    model = onnx.load(save_mean_network(path))
    model.graph.node[-1].output[0] = "squares"
    model.graph.node.append(helper.make_node("Sqrt", ["squares"], ["logits"]))
    onnx.save(model, path)
    return path


def definition(**changes: Any) -> dict[str, Any]:
    """Return the keys of a sound .emd of the network above; None leaves a key out."""
    keys = {
        "Framework": "ONNX",
        "ModelConfiguration": "ObjectClassification",
        "ModelType": "ObjectClassification",
        "ModelFile": "net.onnx",
        "ImageHeight": 8,
        "ImageWidth": 8,
        "ExtractBands": [0, 1, 2],
        "CropSizeFixed": 1,
        "BlackenAroundFeature": 0,
        "Normalization": {"scale": 1 / 255, "mean": [0.5, 0.5, 0.5], "std": [1, 1, 1]},
        "Activation": "softmax",
        "Classes": [
            {"Value": 10, "Name": "dark", "Color": [0, 0, 0]},
            {"Value": 20, "Name": "bright", "Color": [255, 255, 255]},
        ],
    } | changes
    return {name: value for name, value in keys.items() if value is not None}


MakePackage = Callable[..., Path]


@pytest.fixture
def make_package(tmp_path: Path) -> MakePackage:
    """Return a function that writes a model package folder and returns it."""

    def make(name: str = "brightness", parent: Path | None = None, **changes: Any) -> Path:
        folder = (parent or tmp_path / "models") / name
        folder.mkdir(parents=True)
        keys = definition(**changes)
        save_mean_network(folder / "net.onnx", len(keys.get("ExtractBands") or [0, 0, 0]), None)
        (folder / f"{name}.emd").write_bytes(msgspec.json.encode(keys))
        return folder

    return make


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings whose folders lie in the test's own."""
    for name in ("models", "imagery"):
        (tmp_path / name).mkdir(exist_ok=True)
    return Settings.from_plugin({"models": "models", "imagery": "imagery", "state": "state"}, tmp_path)


def write_layer(
    layer: Layer,
    output_format: Format,
    folder: Path,
    crs: pyproj.CRS | None = None,
    rows_at_once: int = 2,
    style: ClassStyle | None = None,
) -> tuple[Path, list[str]]:
    """Write a layer as it is, plus a field `ClassStatus`, as a result is written; return the file and the warnings."""
    count = len(layer)
    columns = [*layer.attributes.columns, pa.chunked_array([pa.array(["ok"] * count, pa.string())])]
    schema = pa.schema([*layer.attributes.schema, pa.field("ClassStatus", pa.string())])

    def part(column: pa.ChunkedArray | None, start: int) -> Any:
        chunk = None if column is None else column.slice(start, rows_at_once)
        return chunk if chunk is None else pa.concat_arrays([pa.array([], chunk.type), *chunk.chunks])

    def rows() -> Iterator[RowBatch]:
        for start in range(0, count, rows_at_once):
            batch = pa.RecordBatch.from_arrays([part(column, start) for column in columns], schema=schema)
            positions = np.arange(start + 1, min(start + rows_at_once, count) + 1)
            yield RowBatch(part(layer.ids, start), positions, part(layer.geometry, start), batch)

    path = folder / f"{len(list(folder.iterdir()))}-result{output_format.ending}"
    result = result_layer(
        layer,
        layer.ids,
        schema,
        rows,
        name="result",
        key="id",
        style=style,
        make_summary=lambda warnings: {"counts": {"é": 1}, "warnings": warnings},
    )
    return path, write_result(result, output_format, crs, path)["warnings"]
