"""Real networks of Keras and PyTorch: converted, and the labels of real objects equal those of their frameworks.

These tests need the environment of the converters, `make convert-env`; CONVERT_ENVIRONMENT names another one.
CONVERT_BACKBONES names further backbones of timm: `CONVERT_BACKBONES="dla34 vgg11" make test-convert`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import shapely
from numpy.typing import NDArray

import oracle
from conftest import HELP_PAGE
from processes.errors import InputError
from processes.programs.conversion.environment import find_environment
from service import ROOT

pytestmark = [pytest.mark.convert, pytest.mark.timeout(1800)]

HERE = Path(__file__).parent
OBJECTS = 144
SMALL = (
    *("keras-h5", "keras", "free", "traced", "scripted", "safetensors", "resnet18", "mobilenet_v2", "timm-repvgg_a0"),
    *("timm-tresnet_m", "timm-mobilenetv3_large_100", "timm-efficientnet_b0", "timm-densenet121", "timm-regnetx_002"),
    *("timm-hrnet_w18_small", "vit_tiny_patch16_224", "deit_tiny_patch16_224", "pit_ti_224", "pit_ti_distilled_224"),
    *("cait_xxs24_224", "levit_128s", "coat_tiny", "convit_tiny", "tnt_s_patch16_224", "visformer_small"),
)
"""Networks that are given chips of 64 cells."""
LARGE = ("swin_tiny_patch4_window7_224",)
"""Networks that take no smaller chips than 224 cells."""
FURTHER = tuple(f"timm-{name}" for name in os.environ.get("CONVERT_BACKBONES", "").split())
REFUSED = {
    "lambda": r"the network has Lambda 'lambda\w*', whose code would have to be run",
    "custom": r"the network has Own 'own\w*', a class of your own: its code is not here and is not run",
    "weights": r"holds weights alone: save the whole model",
    "pickled": r"holds '[\w.]+', which is no part of weights: it is not run; save the state dict",
    "broken": r"is broken",
    "prithvi": r"timm [\d.]+ has no network 'prithvi'; where its code is in arcgis.learn alone, export it in a notebook",
    "swapped": r"the weights are not those of FeatureClassifier of arcgis.learn on timm:repvgg_a1: ",
}
"""Networks that are not converted, and what is said of them."""


@pytest.fixture(scope="session")
def python() -> Path:
    """Return the Python of the environment of the converters."""
    given = os.environ.get("CONVERT_ENVIRONMENT")
    try:
        return find_environment(None if given is None else Path(given))
    except InputError as err:
        pytest.fail(err.detail)


@pytest.fixture(scope="session")
def layer(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with the first 144 crowns."""
    document = json.loads((shared_data / "neon_crowns" / "crowns_test_32617.geojson").read_text())
    document["features"] = document["features"][:OBJECTS]
    path = tmp_path_factory.mktemp("objects") / "crowns.geojson"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture(scope="session")
def cut(layer: Path, shared_data: Path) -> Callable[[int], NDArray[np.uint8]]:
    """Return a function that returns the chips of the objects, of a side in cells, cut by the oracle once."""
    return cache(lambda side: chips(layer, shared_data, oracle.ChipRule(side, side)))


@pytest.fixture
def package(name: str, python: Path, cut: Callable[[int], NDArray[np.uint8]], tmp_path: Path) -> Path:
    """Return a package of that name, beside a file with what its framework gives for the objects."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    np.save(folder / "chips.npy", cut(224 if name in LARGE else 128 if "inception" in name else 64))
    made = [str(python), str(HERE / "foreign_packages.py"), str(folder), str(folder / "chips.npy"), name]
    done = subprocess.run(made, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / name


def chips(layer: Path, shared_data: Path, rule: oracle.ChipRule) -> NDArray[np.uint8]:
    """Return the chips of the objects, cut by the oracle."""
    images = sorted((shared_data / "neon_crowns").glob("*.tif"))
    features = json.loads(layer.read_text())["features"]
    with oracle.each_image_opened_once():
        cut = [oracle.chip(images, shapely.geometry.shape(item["geometry"]), rule)[0] for item in features]
    return np.stack([chip for chip in cut if chip is not None]).astype(np.uint8)


def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "processes.programs.cli", *map(str, arguments)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def convert(python: Path, package: Path, output: Path, *options: str | Path) -> str:
    done = call("convert", package, output, "--environment", python.parents[1], *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def require_labels(model: Path, layer: Path, shared_data: Path, expected: NDArray[np.float32]) -> None:
    """Let the product label the objects, and compare with the probabilities of a framework."""
    output = model.with_suffix(".geojson")
    options: list[str | Path] = [
        "--image",
        shared_data / "neon_crowns",
        "--features",
        layer,
        "--model",
        model,
        "--output",
        output,
    ]
    done = call("run", *options, "--quiet", "--argument", "class_scores=true")
    assert done.returncode == 0, done.stderr
    rows = [feature["properties"] for feature in json.loads(output.read_text())["features"]]
    names = [name for name in rows[0] if name.startswith("Score_")]
    scores = np.array([[row[name] for name in names] for row in rows])
    assert len(expected) == OBJECTS
    assert (np.bincount(expected.argmax(axis=1), minlength=2) > OBJECTS // 4).all()  # both occur
    assert (scores.argmax(axis=1) == expected.argmax(axis=1)).all()
    difference = np.abs(scores - expected).max()
    print(f"{model.stem}: {OBJECTS} of {OBJECTS} labels equal, probabilities within {difference:.1e}")
    assert difference < 1e-4


@pytest.mark.parametrize("name", SMALL + LARGE + FURTHER)
def test_labels_of_real_objects_are_those_of_the_framework(
    name: str, python: Path, package: Path, layer: Path, shared_data: Path, tmp_path: Path
) -> None:
    print(convert(python, package, tmp_path / f"{name}.dlpk"))
    require_labels(tmp_path / f"{name}.dlpk", layer, shared_data, np.load(package.with_name(f"{name}.npy")))


@pytest.mark.parametrize("blacken", [1, 0])
def test_the_sample_of_esri_with_a_network_of_keras_2(
    blacken: int, python: Path, layer: Path, shared_data: Path, tmp_path: Path
) -> None:
    """`keras_2_2_4.h5` was written by Keras 2.2.4, `keras_2_2_4.npz` has what it gives for chips that were resampled."""
    package = tmp_path / "damage"
    package.mkdir()
    (package / "damage.emd").write_text(json.dumps(HELP_PAGE | {"BlackenAroundFeature": blacken}))
    (package / "Damage_Classification_Model_V7.h5").write_bytes((HERE / "keras_2_2_4.h5").read_bytes())
    objects = ("--image", shared_data / "neon_crowns", "--features", layer)
    told = convert(python, package / "damage.emd", tmp_path / "damage-onnx.dlpk", *objects)
    assert f"chips of {OBJECTS} objects: {OBJECTS} of {OBJECTS} labels equal" in told
    with np.load(HERE / "keras_2_2_4.npz") as expected:
        require_labels(tmp_path / "damage-onnx.dlpk", layer, shared_data, expected[f"blacken-{blacken}"])


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_converted_is_refused_by_name(name: str, python: Path, package: Path, tmp_path: Path) -> None:
    done = call("convert", package, tmp_path / "out.dlpk", "--environment", python.parents[1])
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert re.search(REFUSED[name], done.stderr), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["foreign"]
    assert not package.with_name("ran").exists()  # what the code in these files would write


def test_the_recipe_for_a_notebook_writes_a_package(python: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "models.md").read_text()
    (recipe,) = re.findall(r"```python\n(import inspect.*?)```", page, re.DOTALL)
    code = recipe.replace("from arcgis.learn import FeatureClassifier\n", "").rpartition("export_onnx(")[0]
    script = (HERE / "notebook.py").read_text().replace("# the recipe\n", code)
    subprocess.run([str(python), "-c", script, str(tmp_path)], check=True, capture_output=True)
    keys = json.loads((tmp_path / "made" / "trained.emd").read_text())
    assert (keys["ModelFile"], keys["Activation"]) == ("trained.onnx", "softmax")
    session = onnxruntime.InferenceSession(tmp_path / "made" / "trained.onnx")
    values: Any = np.load(tmp_path / "chips.npy")
    (found,) = session.run(None, {"input": values})
    np.testing.assert_allclose(found, np.load(tmp_path / "scores.npy"), atol=1e-5)
