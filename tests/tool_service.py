"""The whole tool over HTTP beside its oracle: models that both know, requests, and the comparison of every row."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import pyogrio.raw
import pytest
import shapely
import shapely.geometry
from onnx import TensorProto, helper, numpy_helper
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from conftest import definition, save_mean_network, save_root_network
from model_oracle import (
    LinearNetwork,
    Model,
    ShrinkingNetwork,
    SmallerNetwork,
    linear_network,
    mean_network,
    root_network,
)
from oracle import transformed
from service import Client, configure, link, load_application
from tool_oracle import CRS84, Request, Row, expected_rows

GEOJSON: Final = "application/geo+json"
GEOPACKAGE: Final = "application/geopackage+sqlite3"
TABLE: Final = "application/json"

EXACT, RESAMPLED = 1e-4, 2e-4
"""How far probabilities may be off, of chips as they are and of resampled ones."""

TREES: Final = [
    {"Value": 7, "Name": "oak", "Color": [0, 0, 0]},
    {"Value": 3, "Name": "pine", "Color": [0, 0, 0]},
    {"Value": 11, "Name": "birch", "Color": [0, 0, 0]},
]
STATS: Final = {
    "band_min_values": [0, 10, 5],
    "band_max_values": [255, 200, 5],
    "band_mean_values": [100, 90, 5],
    "band_std_values": [30, 40, 0],
    "scaled_min_values": [0, 0, 0],
    "scaled_max_values": [1, 1, 1],
    "scaled_mean_values": [0.4, 0.5, 30],
    "scaled_std_values": [0.9, 0.8, 70],
}
PLAIN: Final = {"Normalization": "none"}
UNIT: Final = {"Normalization": {"scale": 1, "mean": [0.5] * 3, "std": [1] * 3}, "DataRange": [0, 1]}


def _linear(shape: tuple[int, int, int] = (3, 8, 8), outputs: int = 3, inside: bool = False, **changes: Any) -> Model:
    """Return a model with a network for chips of `(bands, height, width)`; `inside`: with its softmax."""
    bands, height, width = shape
    own = {"Classes": TREES, "ImageHeight": height, "ImageWidth": width, "ImageSpaceUsed": "PIXEL_SPACE"}
    changes = own | changes
    return Model(definition(**changes), linear_network(shape, outputs, bands * height * width, inside), bands)


def _shrinking(**changes: Any) -> Model:
    """Return a model whose network takes a fourth of the chip's cells along each axis, as they are."""
    network = linear_network((3, 8, 8), 2, 5)
    inner = LinearNetwork((network.weights / 128).astype(np.float32), network.bias)
    return Model(definition(ImageHeight=32, ImageWidth=32, Normalization="none", **changes), ShrinkingNetwork(inner), 3)


def _resampled(side: int = 8, square: int | None = None, **changes: Any) -> Model:
    """Return a model of variable-size chips of `side` cells, as they are; its network takes 8, or squares of a side."""
    network = linear_network((3, 8, 8), 2, 5)
    inner = LinearNetwork((network.weights / 128).astype(np.float32), network.bias)
    own = {"ImageHeight": side, "ImageWidth": side, "Normalization": "none", "CropSizeFixed": 0}
    keys = definition(**(own | changes))
    return Model(keys, inner if side == 8 or square else SmallerNetwork(inner, (8, 8)), 3, square)


def _unit(bands: int, **changes: Any) -> dict[str, Any]:
    """Return keys that map every band's range to -0.5..0.5."""
    return {"DataRange": [-0.5, 0.5], **PLAIN, "ExtractBands": list(range(bands)), **changes}


MODELS: Final[Mapping[str, Model]] = {
    "mean": Model(definition(), mean_network, 3),
    "fixed": _linear(),
    "tall": _linear((3, 10, 6)),
    "variable": _linear((3, 8, 6), CropSizeFixed=0),
    "coarse": _linear((3, 4, 5)),
    "black": _linear((3, 12, 12), BlackenAroundFeature=1),
    "black-box": _linear((3, 9, 9), BlackenAroundFeature=1, CropSizeFixed=0),
    "multi": _linear(MetaDataMode="MultiLabeled_Tiles", Activation=None),
    "multi-softmax": _linear(MetaDataMode="MultiLabeled_Tiles"),
    "found-softmax": _linear(Activation=None),
    "found-none": _linear(Activation=None, inside=True),
    "none": _linear(Activation="none", inside=True),
    "one-output": _linear(outputs=1, Activation=None, Classes=TREES[:2]),
    "map-space": _linear(ImageSpaceUsed="MAP_SPACE"),
    "map-space-tall": _linear((3, 10, 6), ImageSpaceUsed="MAP_SPACE"),
    "no-space": _linear(ImageSpaceUsed=None),
    "imagenet": _linear(Framework="arcgis.learn.models._inferencing", Normalization=None),
    "imagenet-not-esri": _linear(Normalization=None),
    "stats": _linear(NormalizationStats=STATS, Normalization=None, Framework="arcgis.learn.models._inferencing"),
    "stats-ordered": _linear(NormalizationStats=STATS, Normalization=None, ExtractBands=[2, 0, 1]),
    "stats-named": _linear(
        NormalizationStats=STATS,
        Normalization=None,
        ExtractBands=["Green", "BLUE", "red"],
        Bands=["Green", "Red", "Blue"],
    ),
    "stats-of-image": _linear(NormalizationStats=STATS, Normalization=None, ExtractBands=["Blue", "RED", "green"]),
    "own-over-stats": _linear(NormalizationStats=STATS),
    "reordered": _linear(ExtractBands=[2, 0, 1]),
    "all-bands": _linear(ExtractBands=None),
    "named": _linear(ExtractBands=["Red", "NEARINFRARED", "green"]),
    "ranged": _linear(**_unit(3)),
    "ranged-black": _linear(**_unit(3), BlackenAroundFeature=1),
    "one-band": _linear((1, 8, 8), **_unit(1)),
    "four-bands": _linear((4, 8, 8), **_unit(4)),
    "two-cases": Model(definition(Classes=[{"Value": 1, "Name": "Oak"}, {"Value": 2, "Name": "oak"}]), mean_network, 3),
    "keras": _shrinking(ModelConfiguration="KerasClassifier"),
    "keras-black": _shrinking(ModelConfiguration={"Name": "KerasClassifier"}, BlackenAroundFeature=1),
    "shrinking": _shrinking(Resampling="skimage"),
    "skimage-variable": _resampled(Resampling="skimage"),
    "skimage-variable-black": _resampled(Resampling="skimage", BlackenAroundFeature=1),
    "keras-variable": _resampled(32, 8, ModelConfiguration="KerasClassifier"),
    "keras-variable-black": _resampled(32, 8, ModelConfiguration="KerasClassifier", BlackenAroundFeature=1),
    "pillow-smaller": _resampled(20, Resampling="pillow"),
    "pillow-smaller-fixed": _resampled(20, Resampling="pillow", CropSizeFixed=1),
    "root": Model(definition(), root_network, 3),
    "root-multi": Model(definition(MetaDataMode="MultiLabeled_Tiles", Activation="sigmoid"), root_network, 3),
    "lenient": _linear(
        Framework="arcgis.learn.models._inferencing", Normalization=None, CropSizeFixed=0, BlackenAroundFeature=1
    ),
    "thirteen-bands": _linear((13, 8, 8), **_unit(13, ExtractBands=None)),
}


LENIENT: Final = {
    **MODELS["lenient"].emd,
    "Framework": "ONNX",
    "ModelConfiguration": {"Name": "FeatureClassifier"},
    "ExtractBands": None,
    "CropSizeFixed": "0",
    "BlackenAroundFeature": "True",
    "test_time_augmentation": "True",
    "Classes": [
        {"Value": "7", "Name": "oak", "Color": -1},
        {"Value": "3.0", "Name": "pine", "Color": "red"},
        {"Value": 11.0, "Name": "birch", "Color": [0, 300, None]},
    ],
    **dict.fromkeys(("BatchSize", "DataRange", "NormalizationStats", "MetaDataMode", "InferenceFunction"), ""),
    **dict.fromkeys(("MinCellSize", "MaxCellSize", "Activation", "resize_to"), None),
    "LearningRate": float("nan"),
    "monitored_valid_loss": float("inf"),
}
"""The model `lenient` as people write it, which means the same as the keys by which the oracle knows it."""


def save_linear_network(path: Path, network: LinearNetwork, shape: tuple[int, int, int]) -> Path:
    """Write the network as ONNX, for chips of `(bands, height, width)`."""
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["outputs"]),
    ]
    last = "outputs"
    if network.is_probability:
        nodes.append(helper.make_node("Softmax", ["outputs"], ["probabilities"], axis=1))
        last = "probabilities"
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["n", len(network.bias)])],
        [numpy_helper.from_array(network.weights, "weights"), numpy_helper.from_array(network.bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)
    return path


@dataclass(frozen=True)
class Tool:
    """The service with the models above installed."""

    client: Client
    imagery: Path
    """A folder that links may point into."""

    def folder(self, name: str) -> Path:
        """Return a new folder for images."""
        path = self.imagery / name
        path.mkdir()
        return path

    def execute(self, body: Mapping[str, Any]) -> Any:
        """Return the response to an execute request, whose members keep their order."""
        url = "/processes/classify-objects/execution"
        # As bytes of ours: the test client's own JSON sorts the names.
        return self.client.http.post(url, data=json.dumps(body), content_type="application/json", buffered=True)

    def check(
        self,
        request: Request,
        model: str,
        tolerance: float = RESAMPLED,
        media_type: str | None = None,
        **inputs: Any,
    ) -> list[Row]:
        """Execute a request, compare the whole answer with the oracle's, and return the oracle's rows.

        Args:
            request: what is asked.
            model: the model's id.
            tolerance: of the probabilities.
            media_type: of the answer; None = the service's choice.
            **inputs: what is sent instead of, or beside, what the request says.
        """
        expected = expected_rows(request, MODELS[model])
        body = request_body(request, model, media_type)
        body["inputs"] |= inputs
        response = self.execute(body)
        assert response.status_code == 200, response.text
        is_table = media_type == TABLE or (request.features is None and all(row.crs is None for row in expected))
        wanted = media_type or (TABLE if is_table else GEOJSON)
        assert response.mimetype == wanted
        if wanted == GEOPACKAGE:
            path = self.imagery.parent / "answer.gpkg"
            path.write_bytes(response.data)
            numbered = [replace(row, id=place if row.id is None else row.id) for place, row in enumerate(expected, 1)]
            compare(_geopackage_rows(path, request), numbered, tolerance)
            return expected
        rows = _table_rows(response.json) if is_table else _geojson_rows(response.json)
        compare(
            rows, [_as_table(place, row) for place, row in enumerate(expected, 1)] if is_table else expected, tolerance
        )
        status = "ClassStatus" if request.label_field == "ClassLabel" else f"{request.label_field}_Status"
        told = {name: count for name, count in response.json["summary"]["status"].items() if count}
        assert told == Counter(row.properties[status] for row in expected)
        return expected


@lru_cache
def start_tool(folder: Path) -> Tool:
    """Install the models in a new folder and load the application, once: trying so many models takes its time."""
    for name, model in MODELS.items():
        package = folder / "models" / name
        package.mkdir(parents=True)
        (package / "model.emd").write_text(json.dumps(LENIENT if name == "lenient" else model.emd))
        shape = (model.bands, model.emd["ImageHeight"], model.emd["ImageWidth"])
        if model.square is not None:
            shape = (model.bands, model.square, model.square)
        if isinstance(model.network, LinearNetwork):
            save_linear_network(package / "net.onnx", model.network, shape)
        elif isinstance(model.network, ShrinkingNetwork):
            save_linear_network(package / "net.onnx", model.network.inner, (shape[0], shape[1] // 4, shape[2] // 4))
        elif isinstance(model.network, SmallerNetwork):
            save_linear_network(package / "net.onnx", model.network.inner, (shape[0], *model.network.size))
        elif model.network is root_network:
            save_root_network(package / "net.onnx")
        else:
            save_mean_network(package / "net.onnx", model.bands)
    (folder / "imagery").mkdir()
    configuration = configure(folder, models=[folder / "models"], imagery=[folder / "imagery"])
    return Tool(Client(load_application(configuration)), folder / "imagery")


def request_body(request: Request, model: str, media_type: str | None = None) -> dict[str, Any]:
    """Return the execute request, with nothing in it that is not asked for."""
    arguments = {
        "class_scores": request.class_scores or None,
        "score_threshold": request.score_threshold,
        "test_time_augmentation": request.test_time_augmentation or None,
    }
    inputs = {
        "image": [link(path) for path in request.images],
        "features": None if request.features is None else collection(request),
        "model": model,
        "modelArguments": {name: value for name, value in arguments.items() if value is not None} or None,
        "classLabelField": None if request.label_field == "ClassLabel" else request.label_field,
        "processingMode": "separate" if request.separate else None,
        "extent": request.extent,
        "cellSize": request.cell_size,
    }
    body: dict[str, Any] = {"inputs": {name: value for name, value in inputs.items() if value is not None}}
    if media_type is not None:
        body["outputs"] = {"classifiedObjects": {"format": {"mediaType": media_type}}}
    return body


def collection(request: Request) -> dict[str, Any]:
    """Return the features as GeoJSON, with the legacy `crs` member where it is not CRS84."""
    features = []
    for feature in request.features or ():
        geometry = None if feature.geometry is None else shapely.geometry.mapping(feature.geometry)
        own_id = {} if feature.id is None else {"id": feature.id}
        features.append({"type": "Feature", **own_id, "properties": dict(feature.properties), "geometry": geometry})
    member = {"crs": {"type": "name", "properties": {"name": request.features_crs}}}
    return {"type": "FeatureCollection", "features": features, **({} if request.features_crs == CRS84 else member)}


def in_crs84(geometry: BaseGeometry, crs: str) -> BaseGeometry:
    """Return a geometry in longitude and latitude, vertex by vertex."""
    return geometry if crs == CRS84 else transformed(geometry, crs, CRS84)


def _geojson_rows(document: Mapping[str, Any]) -> list[Row]:
    assert document["type"] == "FeatureCollection"
    rows = []
    for feature in document["features"]:
        geometry = None if feature["geometry"] is None else shapely.geometry.shape(feature["geometry"])
        rows.append(Row(feature.get("id"), geometry, CRS84, feature["properties"]))
    return rows


def _table_rows(document: Mapping[str, Any]) -> list[Row]:
    """Return the rows of a table; what is no id is a property."""
    (key,) = document["schema"]["primaryKey"]
    assert document["schema"]["fields"][0]["name"] == key
    assert key in ("id", "ImageID")
    rows = [dict(row) for row in document["data"]]
    return [Row(row.pop("id") if key == "id" else None, None, None, row) for row in rows]


def _as_table(position: int, row: Row) -> Row:
    """Return a row as a table shows it: the id as text, without a geometry."""
    if row.id is None and next(iter(row.properties)) == "ImageID":
        return Row(None, None, None, row.properties)
    return Row(str(position if row.id is None else row.id), None, None, row.properties)


def _geopackage_rows(path: Path, request: Request) -> list[Row]:
    """Return the rows of a GeoPackage by another reader, their fids as ids where these are the features' ids."""
    meta, fids, geometries, columns = pyogrio.raw.read(path, layer=0, return_fids=True)
    crs = None if meta["crs"] is None else CRS.from_user_input(meta["crs"])
    assert crs is None or request.features is None or crs.equals(CRS.from_user_input(request.features_crs), True)
    rows = []
    for place, fid in enumerate(fids):
        values = {name: _plain(column[place]) for name, column in zip(meta["fields"], columns, strict=True)}
        geometry = None if geometries[place] is None else shapely.from_wkb(geometries[place])
        rows.append(Row(values.pop("id", int(fid)), geometry, None if crs is None else crs.to_wkt(), values))
    return rows


def _plain(value: Any) -> Any:
    """Return a cell of a numpy column as JSON would show it."""
    if value is None or value != value:
        return None
    return value.item() if isinstance(value, np.generic) else value


def compare(found: Sequence[Row], expected: Sequence[Row], tolerance: float) -> None:
    """Compare all rows: ids, order, geometry, names and values; probabilities within the tolerance."""
    assert [str(row.id) for row in found] == [str(row.id) for row in expected]
    for one, other in zip(found, expected, strict=True):
        assert list(one.properties) == list(other.properties)
        for name, value in other.properties.items():
            is_probability = value is not None and (name.endswith("Confidence") or "Score_" in name)
            wanted = pytest.approx(value, abs=tolerance) if is_probability else value
            assert one.properties[name] == wanted, (other.id, name, one.properties, other.properties)
        assert_same_place(one, other)


def assert_same_place(found: Row, expected: Row) -> None:
    """Compare geometries: vertex by vertex for features, by their outline for images."""
    if found.crs is None:
        return
    if expected.geometry is None or expected.geometry.is_empty:
        assert found.geometry is None or found.geometry.is_empty
        return
    assert found.geometry is not None
    is_degrees = found.crs == CRS84
    wanted = in_crs84(expected.geometry, expected.crs or CRS84) if is_degrees else expected.geometry
    tolerance = 1e-9 if is_degrees else 1e-6
    if next(iter(expected.properties)) == "ImageID":
        assert len(shapely.get_coordinates(found.geometry)) == len(shapely.get_coordinates(wanted))
        assert shapely.hausdorff_distance(found.geometry, wanted) < tolerance, (found.geometry, wanted)
    else:
        assert shapely.equals_exact(found.geometry, wanted, tolerance), (found.geometry, wanted)


def statuses(rows: Sequence[Row], name: str = "ClassStatus") -> Counter[str]:
    """Count the rows by status."""
    return Counter(row.properties[name] for row in rows)
