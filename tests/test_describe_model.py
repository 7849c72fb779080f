"""What clients are told of a model is what its package says, and nothing is null."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conftest import MakePackage
from processes.describe_model import model_info
from processes.model.catalog import Catalog
from service import models_checked_here


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"DataRange": [0, 1]}, {"dataRange": (0.0, 1.0)}),
        ({"BatchSize": 7}, {"batchSize": 7}),
        ({"Precision": "fp32"}, {"precision": "fp32"}),
        ({"MinCellSize": {"x": 0.1, "y": 0.2}, "MaxCellSize": 3}, {"minCellSize": 0.1, "maxCellSize": 3.0}),
        ({"MetaDataMode": "MultiLabeled_Tiles", "Activation": None}, {"multiLabel": True, "activation": "sigmoid"}),
        ({"Activation": None}, {"multiLabel": False, "activation": "softmax"}),
        ({"ExtractBands": None}, {"bands": 3}),
        ({"ExtractBands": ["Red", "Green", "Blue"]}, {"bands": ["Red", "Green", "Blue"]}),
        (
            {"Normalization": {"mean": [2, 4, 6], "std": [2, 2, 2]}},
            {"normalization": {"scale": (0.5,) * 3, "offset": (-1.0, -2.0, -3.0)}},
        ),
    ],
)
def test_keys_of_the_package_are_told(
    tmp_path: Path, make_package: MakePackage, changes: dict[str, Any], told: dict[str, Any]
) -> None:
    make_package(**changes)
    with models_checked_here():
        info = model_info(Catalog((tmp_path / "models",), tmp_path / "state", 2**24).model("brightness"))
    assert {name: info[name] for name in told} == told
    assert None not in info.values()


def test_precision_that_this_machine_does_not_compute_in_is_told(tmp_path: Path, make_package: MakePackage) -> None:
    make_package(Precision="fp16")
    with models_checked_here():
        info = model_info(Catalog((tmp_path / "models",), tmp_path / "state", 2**24).model("brightness"))
    assert info["precision"] == "fp16"
    (warning,) = info["warnings"]
    assert warning.startswith("Precision is fp16, but ")


def test_what_a_package_does_not_have_is_not_told(tmp_path: Path, make_package: MakePackage) -> None:
    make_package(Normalization="none")
    with models_checked_here():
        info = model_info(Catalog((tmp_path / "models",), tmp_path / "state", 2**24).model("brightness"))
    assert not {"dataRange", "normalization", "minCellSize", "maxCellSize", "batchSize"} & info.keys()
