"""Packages of arcgis.learn, dropped into the models folder of a running service: whole answers equal the oracle's."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

import tool_service
from conftest import definition
from jobs_service import until
from model_oracle import Model
from pth_files import Call, Layout, Name, Ordered, Tensor, pth
from pth_networks import mobilenet_logits, mobilenet_weights, resnet_logits, resnet_weights, state_dict
from rasters import make_raster, to_map
from service import Client, configure, load_application
from tool_oracle import Feature, Request
from tool_service import EXACT, TREES, Tool, in_crs84

UTM = "EPSG:32633"
CHIP_PX = 32
BEING_CHECKED = 503
STATS = {
    "band_min_values": [0, 10, 5, 0],
    "band_max_values": [255, 200, 250, 255],
    "band_mean_values": [120, 120, 120, 120],
    "band_std_values": [70, 70, 70, 70],
    "scaled_min_values": [0, 0, 0, 0],
    "scaled_max_values": [1, 1, 1, 1],
    "scaled_mean_values": [0.4, 0.5, 0.5, 0.4],
    "scaled_std_values": [0.3, 0.3, 0.3, 0.3],
}
RESNET = resnet_weights(18, 4, 3)
MOBILENET = mobilenet_weights(3, 3)


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    """Return a service that runs without a model."""
    folder = tmp_path_factory.mktemp("pytorch")
    for name in ("models", "imagery"):
        (folder / name).mkdir()
    configuration = configure(folder, models=[folder / "models"], imagery=[folder / "imagery"])
    return Tool(Client(load_application(configuration)), folder / "imagery")


def install(tool: Tool, name: str, data: bytes, **changes: Any) -> dict[str, Any]:
    """Write a package as arcgis.learn saves it into the models folder, and return its .emd."""
    own = {
        "Framework": "arcgis.learn.models._inferencing",
        "ModelConfiguration": "_FeatureClassifier",
        "ModelFile": f"{name}.pth",
        "ImageHeight": CHIP_PX,
        "ImageWidth": CHIP_PX,
        "ImageSpaceUsed": "MAP_SPACE",
        "Normalization": None,
        "Activation": None,
        "Classes": TREES,
    }
    emd = definition(**(own | changes))
    with zipfile.ZipFile(tool.imagery.parent / "models" / f"{name}.dlpk", "w") as archive:
        archive.writestr(f"{name}.emd", json.dumps(emd))
        archive.writestr(f"{name}.pth", data)
        archive.writestr("ArcGISObjectClassifier.py", "raise SystemExit('imported')")
    until(lambda: tool.client.execute("describe-model", {"model": name}).status_code != BEING_CHECKED, 100, name)
    return emd


def listed(tool: Tool) -> list[str]:
    description = tool.client.http.get("/processes/classify-objects").json
    return list(description["inputs"]["model"]["schema"].get("enum", []))


def request_on(image: Path) -> Request:
    """Return points, each with a chip of its own, one of them over the image's edge."""
    places = [(20, 18), (60, 20), (60, 55), (90, 40)]
    features = [
        Feature(place, in_crs84(to_map(shapely.Point(x, y)), UTM), {"n": place})
        for place, (x, y) in enumerate(places, 1)
    ]
    return Request([image], features, class_scores=True)


@pytest.mark.parametrize(
    ("layout", "wraps"),
    [("zip", False), ("stream", True)],
    ids=["zip", "stream with optimiser"],
)
def test_mobilenet_of_three_bands_labels_as_numpy_does(
    tool: Tool, monkeypatch: pytest.MonkeyPatch, layout: Layout, wraps: bool
) -> None:
    state: Any = state_dict(MOBILENET)
    rate = Call(
        Name("numpy.core.multiarray", "scalar"), (Call(Name("numpy", "dtype"), ("f8", False, True)), b"12345678")
    )
    saved = {"model": state, "opt": {"state": {}, "param_groups": [{"lr": rate}]}} if wraps else state
    emd = install(tool, f"mobilenet-{layout}", pth(saved, layout), ModelParameters={"backbone": "mobilenet_v2"})
    model = Model(emd, lambda chips: mobilenet_logits(MOBILENET, chips), 3)
    monkeypatch.setattr(tool_service, "MODELS", {f"mobilenet-{layout}": model})
    image = make_raster(tool.imagery / f"{layout}.tif", width=96, height=72, bands=3)
    rows = tool.check(request_on(image), f"mobilenet-{layout}", EXACT)
    assert {row.properties["ClassStatus"] for row in rows} == {"ok"}
    assert f"mobilenet-{layout}" in listed(tool)


@pytest.mark.jobs
def test_resnet_of_four_bands_and_several_labels_does_so_too(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"MetaDataMode": "MultiLabeled_Tiles", "NormalizationStats": STATS, "ExtractBands": [0, 1, 2, 3]}
    emd = install(tool, "resnet", pth(state_dict(RESNET)), ModelParameters={"backbone": "resnet18"}, **keys)
    monkeypatch.setattr(
        tool_service, "MODELS", {"resnet": Model(emd, lambda chips: resnet_logits(RESNET, 18, chips), 4)}
    )
    image = make_raster(tool.imagery / "four.tif", width=96, height=72, bands=4)
    tool.check(replace(request_on(image), class_scores=False), "resnet", EXACT)
    info = tool.client.execute("describe-model", {"model": "resnet"}).json
    assert (info["id"], len(info["classes"])) == ("resnet", 3)
    assert len(info["sha256"]) == 64


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Call(Name("posix", "system"), ("true",)), "it holds 'posix.system', which is no part of weights"),
        (Ordered({"fc.weight": Tensor(np.zeros((2, 2), np.float32))}), "its layers are not those of arcgis.learn on"),
    ],
    ids=["code", "another network"],
)
def test_what_is_no_such_network_is_a_400_that_says_so(
    tool: Tool, value: Any, words: str, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.id.replace(" ", "-")
    install(tool, name, pth(value))
    for process in ("describe-model", "classify-objects"):
        answer = tool.client.execute(process, {"model": name, "image": {"href": "file:///none.tif"}})
        assert answer.status_code == 400
        assert f"the model {name!r} cannot be used: ModelFile '{name}.pth' cannot be used: {words}" in answer.text
        advice = f"convert it: classify-objects convert {name}.dlpk OUT.dlpk"
        assert (advice in answer.text) == (name == "another-network")
    assert name not in listed(tool)
