"""Packages of arcgis.learn as they are: their network is made ONNX by the check, once for each content."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import definition
from model_oracle import package_digest
from processes.errors import PackageError
from processes.model.catalog import Catalog, Model
from processes.model.session import Session, SessionKey
from pth_files import Call, Name, Ordered, Tensor, pth
from pth_networks import mobilenet_logits, mobilenet_weights, state_dict
from service import models_checked_here

MAX_BYTES = 2**26


@pytest.fixture
def checked_here() -> Iterator[None]:
    with models_checked_here():
        yield


@cache
def network(seed: int = 0, bands: int = 3, classes: int = 2) -> bytes:
    return pth(state_dict(mobilenet_weights(bands, classes, seed)))


def keys(**changes: Any) -> dict[str, Any]:
    """Return the .emd of arcgis.learn 2."""
    own = {
        "Framework": "arcgis.learn.models._inferencing",
        "ModelConfiguration": "_FeatureClassifier",
        "InferenceFunction": "ArcGISObjectClassifier.py",
        "ModelFile": "net.pth",
        "ModelParameters": {"backbone": "mobilenet_v2", "backend": "pytorch"},
        "ImageHeight": 32,
        "ImageWidth": 32,
        "Normalization": None,
        "Activation": None,
    }
    return definition(**(own | changes))


def make(folder: Path, data: bytes, **changes: Any) -> Path:
    package = folder / "models" / "trained"
    package.mkdir(parents=True, exist_ok=True)
    (package / "trained.emd").write_text(json.dumps(keys(**changes)))
    (package / "net.pth").write_bytes(data)
    return package


def catalog(folder: Path) -> Catalog:
    return Catalog((folder / "models",), folder / "state", MAX_BYTES)


def scores(model: Model, chips: Any) -> Any:
    key = SessionKey(model.network, model.sha256, model.definition, model.activation, "CPU", 1, model.output_name)
    return Session(key).scores(chips)


def problem(folder: Path, data: bytes, **changes: Any) -> str:
    make(folder, data, **changes)
    with pytest.raises(PackageError) as error:
        catalog(folder).model("trained")
    assert str(folder) not in error.value.detail
    return error.value.detail


@pytest.mark.parametrize("zipped", [True, False])
def test_package_is_usable_as_it_is(tmp_path: Path, zipped: bool) -> None:
    package = make(tmp_path, network())
    before = sorted(package.iterdir())
    if zipped:
        shutil.make_archive(str(package), "zip", package)
        shutil.rmtree(package)
        package.with_suffix(".zip").rename(package.with_suffix(".dlpk"))
    model = catalog(tmp_path).model("trained")
    (tmp_path / "net.pth").write_bytes(network())
    (tmp_path / "trained.emd").write_bytes(json.dumps(keys()).encode())
    assert model.sha256 == package_digest(tmp_path, "net.pth", "trained.emd")
    assert (model.activation, model.bands, model.warnings) == ("softmax", 3, ())
    assert model.network.is_relative_to(tmp_path / "state")
    assert zipped or sorted(package.iterdir()) == before
    chips = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), np.uint8)
    mean, std = (np.reshape(item, (3, 1, 1)) for item in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    logits = mobilenet_logits(mobilenet_weights(), (chips / 255 - mean) / std)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.abs(scores(model, chips) - expected).max() < 1e-5


@pytest.mark.usefixtures("checked_here")
def test_labels_of_several_classes_are_sigmoids_whatever_a_trial_run_gives(tmp_path: Path) -> None:
    weights = mobilenet_weights()
    weights["1.8.weight"][:] = 0
    weights["1.8.bias"][:] = 0.5  # logits that look like probabilities
    make(tmp_path, pth(state_dict(weights)), MetaDataMode="MultiLabeled_Tiles")
    model = catalog(tmp_path).model("trained")
    assert model.activation == "sigmoid"
    assert scores(model, np.zeros((1, 3, 32, 32), np.uint8))[0] == pytest.approx([0.6224593, 0.6224593])


@pytest.mark.usefixtures("checked_here")
def test_network_is_made_once_and_again_where_it_is_gone(tmp_path: Path) -> None:
    make(tmp_path, network())
    models = catalog(tmp_path)
    made = models.model("trained").network
    time = made.stat().st_mtime_ns
    assert models.model("trained").network == made
    assert made.stat().st_mtime_ns == time
    shutil.rmtree(tmp_path / "state" / "packages")
    assert models.model("trained").network == made
    assert made.is_file()


@pytest.mark.usefixtures("checked_here")
def test_another_definition_makes_no_other_network(tmp_path: Path) -> None:
    make(tmp_path, network())
    models = catalog(tmp_path)
    first = models.model("trained")
    make(tmp_path, network(), BatchSize=3)
    second = models.model("trained")
    assert (second.network, second.definition.batch_size) == (first.network, 3)
    assert second.sha256 != first.sha256


@pytest.mark.usefixtures("checked_here")
def test_replaced_weights_make_another_network_and_the_former_goes(tmp_path: Path) -> None:
    make(tmp_path, network())
    models = catalog(tmp_path)
    first = models.model("trained")
    make(tmp_path, network(1))
    second = models.model("trained")
    assert second.sha256 != first.sha256
    assert second.network != first.network
    assert set(second.network.parent.iterdir()) == {first.network, second.network}
    make(tmp_path, b"broken")
    assert models.usable_ids() == []


@pytest.mark.usefixtures("checked_here")
@pytest.mark.parametrize(
    ("data", "changes", "words"),
    [
        (network(), {"ExtractBands": [0, 1, 2, 3]}, "the number of ExtractBands is 4, the network takes 3"),
        (network(classes=3), {}, "the network has 3 outputs for 2 classes"),
        (network(), {"ModelParameters": {"backbone": "resnet34"}}, "the backbone 'resnet34', its layers are those of"),
        (
            pth(Call(Name("posix", "system"), ("true",))),
            {},
            "the model 'trained' cannot be used: ModelFile 'net.pth' cannot be used: it holds 'posix.system', "
            "which is no part of weights; nothing of it was run",
        ),
        (pth(Ordered({"fc.weight": Tensor(np.zeros((2, 2), np.float32))})), {}, "its layers are not those of arcgis.learn on"),
        (network()[:-100], {}, "ModelFile 'net.pth' cannot be used: it is broken or truncated: no sound zip archive"),
    ],
    ids=["bands", "classes", "backbone", "foreign class", "foreign layers", "truncated"],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(tmp_path: Path, data: bytes, changes: Any, words: str) -> None:
    assert words in problem(tmp_path, data, **changes)


@pytest.mark.usefixtures("checked_here")
@pytest.mark.parametrize("parameters", [None, {}, {"backbone": None}, {"backbone": ""}, {"backbone": 7}, "resnet34"])
def test_backbone_need_not_be_stated(tmp_path: Path, parameters: Any) -> None:
    make(tmp_path, network(), ModelParameters=parameters)
    assert catalog(tmp_path).usable_ids() == ["trained"]
