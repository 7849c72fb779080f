"""Raster functions over HTTP: trusted ones give labels and fields, others are never imported."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import yaml
from click.testing import CliRunner
from msgspec import structs

from conftest import definition, save_mean_network
from processes.classify.process import ClassifyObjects
from processes.model.catalog import Catalog
from processes.model.package_digest import package_digest
from processes.ogc.execution import Execution
from processes.programs.cli import main
from processes.settings import load_settings
from raster_functions import save_function, save_object_classifier
from rasters import make_raster
from service import Client, configure, link, load_application, models_checked_here

STAND_OUT = """
row["Reason"] = f"mean {mean:.1f} of {chip.dtype.name}, {int(mask.sum())} valid, scale " + self.scalars["scale"]
row["Cells"] = int(mask.sum())
row["Mean"] = mean
row["Picture"] = "aGk="
print("printed by the function", file=sys.stdout)
os.write(1, b"written to the first descriptor\\n")
"""
FIELDS = """
{"name": "Reason", "type": "esriFieldTypeString"}, {"name": "Cells", "type": "esriFieldTypeInteger"},
{"name": "Mean", "type": "esriFieldTypeDouble"}, {"name": "Picture", "type": "esriFieldTypeBlob"}
"""
IMPORTED = "untrusted-function-was-imported"
SCALE = '{"name": "scale", "dataType": "numeric", "value": 2, "displayName": "Scale", "description": "How much"}'


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of packages: two of functions, and one of the same network."""
    folder = tmp_path_factory.mktemp("packages")
    save_object_classifier(folder / "classifier")
    save_function(folder / "fields", STAND_OUT, fields=FIELDS, parameters=SCALE)
    (folder / "network").mkdir()
    save_mean_network(folder / "network" / "net.onnx")
    keys = definition(InferenceFunction="Untrusted.py")
    (folder / "network" / "network.emd").write_bytes(msgspec.json.encode(keys))
    (folder / "network" / "Untrusted.py").write_text(f"open({str(folder.parent / IMPORTED)!r}, 'w')\n")
    save_function(folder / "untrusted", "raise ValueError")
    return folder


@pytest.fixture(scope="module")
def configuration(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("service")
    path = configure(folder, models=[packages], imagery=[tmp_path_factory.getbasetemp()])
    document = yaml.safe_load(path.read_text())
    for process in document["resources"].values():
        trusted = [package_digest(packages / name) for name in ("classifier", "fields")]
        process["processor"] |= {"trusted": trusted, "raster_function_python": sys.executable}
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(scope="module")
def service(configuration: Path) -> Client:
    return Client(load_application(configuration))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the inputs of a request: an image of 16 bits without data in a corner, and points on it."""
    folder = tmp_path_factory.mktemp("scene")
    levels = np.linspace(0, 255, 64)[None, None, :] + np.random.default_rng(1).uniform(-20, 20, (3, 48, 64))
    cells = np.clip(levels, 1, 255).astype(np.int16)
    make_raster(folder / "a.tif", dtype="int16", values=cells, nodata=0, nodata_boxes=[(0, 0, 5, 4)])
    places = [(column, row) for row in (4, 20, 40) for column in range(2, 60, 6)]
    features = [
        {
            "type": "Feature",
            "id": number,
            "properties": {"n": number},
            "geometry": {"type": "Point", "coordinates": [500_000 + column / 2, 5_000_000 - row / 2]},
        }
        for number, (column, row) in enumerate(places)
    ]
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    layer = folder / "points.geojson"
    layer.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    return {"image": link(folder / "a.tif"), "features": link(layer)}


def rows(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [feature["properties"] for feature in answer.json["features"]]


def test_labels_of_the_classifier_are_those_of_its_network(service: Client, scene: dict[str, Any]) -> None:
    expected = rows(service.execute("classify-objects", scene | {"model": "network"}))
    answer = service.execute("classify-objects", scene | {"model": "classifier"})
    found = rows(answer)
    names = ("n", "ClassLabel", "ClassValue", "ClassStatus")
    assert [[row[name] for name in names] for row in found] == [[row[name] for name in names] for row in expected]
    assert {row["ClassLabel"] for row in found} == {"bright", "dark"}
    np.testing.assert_allclose([row["Confidence"] for row in found], [row["Confidence"] for row in expected], atol=1e-5)
    counts = [sum(row["ClassLabel"] == name for row in found) for name in ("dark", "bright")]
    assert answer.json["summary"]["counts"] == {"dark": counts[0], "bright": counts[1]}


def test_real_crowns_get_the_labels_that_are_expected(tmp_path: Path, shared_data: Path) -> None:
    """The function blackens nothing itself: it gets chips that are blackened, and masks."""
    real = shared_data.parent / "models" / "tree-leaf-crown"
    keys = json.loads((real / "tree-leaf-crown.emd").read_text())
    own = {"Normalization": None, "Mean": keys["Normalization"]["mean"], "Std": keys["Normalization"]["std"]}
    package = save_object_classifier(tmp_path / "models" / "crowns", **keys | own | {"ModelFile": "net.pth"})
    shutil.copy(real / "tree-leaf-crown.onnx", package / "net.onnx")
    path = configure(tmp_path, models=[package.parent], imagery=[shared_data])
    settings = structs.replace(
        load_settings(path), trusted=(package_digest(package),), raster_function_python=Path(sys.executable)
    )
    folder = shared_data / "neon_crowns"
    images, features = ([link(item) for item in sorted(folder.glob(ending))] for ending in ("*.tif", "*.geojson"))
    inputs = {"image": images, "features": features[0], "model": "crowns"}
    with models_checked_here():
        process = ClassifyObjects(settings, Catalog.from_settings(settings))
        execution = Execution.read("classify-objects", json.dumps({"inputs": inputs}).encode(), process.frame())
        output = process.execute(execution, tmp_path)
    assert isinstance(output.content, Path)
    found = json.loads(output.content.read_text())
    with (folder / "expected_tree-leaf-crown.csv").open() as file:
        expected = {row["OBJECTID"]: row for row in csv.DictReader(file)}
    assert len(expected) == len(found["features"]) == 284
    for feature in found["features"]:
        given = feature["properties"]
        wanted = expected[str(given["OBJECTID"])]
        assert given["ClassLabel"] == wanted["ClassLabel"]
        assert abs(given["Confidence"] - float(wanted["Confidence"])) < 1e-4


def test_arguments_of_a_function_are_told_checked_and_handed_over_as_text(
    service: Client, scene: dict[str, Any]
) -> None:
    told = service.execute("describe-model", {"model": "fields"}).json
    arguments = {item["name"]: item for item in told["arguments"]}
    assert list(arguments) == ["batch_size", "score_threshold", "test_time_augmentation", "class_scores", "scale"]
    assert arguments["scale"] == {
        "name": "scale",
        "dataType": "numeric",
        "value": 2,
        "required": False,
        "displayName": "Scale",
        "description": "How much",
    }
    given = rows(service.execute("classify-objects", scene | {"model": "fields", "modelArguments": {"scale": 0.5}}))
    assert given[0]["Reason"].endswith("scale 0.5")
    asked = {"scale": "much", "gain": 1, "class_scores": True, "test_time_augmentation": True}
    answer = service.execute("classify-objects", scene | {"model": "fields", "modelArguments": asked})
    assert answer.status_code == 400
    faults = {item["pointer"].rpartition("/")[2]: item["detail"] for item in answer.json["errors"]}
    assert set(faults) == set(asked)
    assert "not a number" in faults["scale"]
    assert "scale" in faults["gain"]


def test_fields_of_a_function_are_added_in_every_format(service: Client, scene: dict[str, Any], tmp_path: Path) -> None:
    inputs = scene | {"model": "fields"}
    found = rows(service.execute("classify-objects", inputs))
    assert list(found[0])[-4:] == ["Reason", "Cells", "Mean", "Picture"]
    cut = found[0]  # a part of its chip lies outside or is without data
    assert cut["Cells"] < 3 * 64
    assert cut["Reason"].startswith(f"mean {cut['Mean']:.1f} of int16, {cut['Cells']} valid")
    assert found[-1]["Cells"] == 3 * 64
    assert {row["Picture"] for row in found} == {"aGk="}
    for media_type, read in READERS.items():
        outputs = {"classifiedObjects": {"format": {"mediaType": media_type}}}
        answer = service.execute("classify-objects", inputs, outputs=outputs)
        assert answer.status_code == 200, media_type
        path = tmp_path / f"result{len(list(tmp_path.iterdir()))}"
        path.write_bytes(answer.data)
        values = read(path)
        for name in ("Reason", "Cells", "Mean", "Picture"):
            kind = type(found[0][name])
            assert [kind(value) for value in values[name]] == [row[name] for row in found], (media_type, name)


def _by_gdal(path: Path) -> dict[str, Any]:
    table = pyogrio.read_arrow(path)[1]
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _csv(path: Path) -> dict[str, Any]:
    lines = list(csv.DictReader(io.StringIO(path.read_text())))
    return {name: [line[name] for line in lines] for name in lines[0]}


def _sequence(path: Path) -> dict[str, Any]:
    lines = [
        json.loads(line.strip("\x1e"))["properties"] for line in path.read_text().splitlines() if line.strip("\x1e")
    ]
    return {name: [line[name] for line in lines] for name in lines[0]}


READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "application/geopackage+sqlite3": _by_gdal,
    "application/vnd.flatgeobuf": _by_gdal,
    "application/vnd.apache.parquet": lambda path: pq.read_table(path).to_pydict(),
    "application/geo+json-seq": _sequence,
    "text/csv": _csv,
    "application/json": lambda path: {
        name: [row[name] for row in json.loads(path.read_text())["data"]]
        for name in ("Reason", "Cells", "Mean", "Picture")
    },
}


def test_names_that_are_taken_are_told(service: Client, scene: dict[str, Any], tmp_path: Path) -> None:
    answer = service.execute("classify-objects", scene | {"model": "fields", "classLabelField": "Reason"})
    assert answer.status_code == 400
    assert answer.json["errors"][0]["pointer"] == "/inputs/classLabelField"
    layer = json.loads(Path(scene["features"]["href"].removeprefix("file://")).read_text())
    for feature in layer["features"]:
        feature["properties"]["reason"] = "why not"
    answer = service.execute("classify-objects", scene | {"model": "fields", "features": layer})
    assert answer.status_code == 400
    assert "'reason' already; rename it" in answer.json["detail"]


def test_what_a_function_prints_is_in_the_log(service: Client, scene: dict[str, Any], configuration: Path) -> None:
    rows(service.execute("classify-objects", scene | {"model": "fields", "modelArguments": {"scale": 3}}))
    log = (configuration.parent / "runner.log").read_text()
    assert "raster function of fields: printed by the function" in log
    assert "raster function of fields: written to the first descriptor" in log


def test_a_function_that_is_not_trusted_is_not_imported_and_its_network_is_run(
    service: Client, scene: dict[str, Any], packages: Path
) -> None:
    told = service.execute("describe-model", {"model": "network"}).json
    digest = package_digest(packages / "network")
    assert told["rasterFunction"]["sha256"] == digest
    assert told["rasterFunction"]["trusted"] is False
    assert digest in told["rasterFunction"]["toRunIt"]
    assert "CLASSIFY_RASTER_FUNCTION_PYTHON" in told["rasterFunction"]["toRunIt"]
    rows(service.execute("classify-objects", scene | {"model": "network"}))
    assert not (packages.parent / IMPORTED).exists()


def test_a_package_of_a_function_alone_is_refused_until_it_is_trusted(
    service: Client, scene: dict[str, Any], packages: Path
) -> None:
    answer = service.execute("classify-objects", scene | {"model": "untrusted"})
    assert answer.status_code == 400
    assert "Function.py" in answer.json["detail"]
    assert package_digest(packages / "untrusted") in answer.json["detail"]


def test_models_tells_the_digests(configuration: Path, packages: Path, service: Client) -> None:
    told = CliRunner().invoke(main, ["--config", str(configuration), "models", "--json"])
    listed = {item["id"]: item for item in json.loads(told.output)}
    for name in ("classifier", "fields", "network", "untrusted"):
        assert listed[name]["rasterFunction"]["sha256"] == package_digest(packages / name)
    assert [name for name, item in listed.items() if item["rasterFunction"]["trusted"]] == ["classifier", "fields"]
