"""What the .emd of a converted package states that Esri leaves to its own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from conftest import definition
from processes.convert.messages import ConversionAnswer
from processes.programs.conversion.new_package import converted_document
from processes.programs.conversion.source import read_foreign
from tables import each_row

STATS = {name: [1, 2, 3] for name in ("band_min_values", "band_max_values", "scaled_mean_values", "scaled_std_values")}
IMAGENET = {"scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
OF_TIMM = {"scale": 1 / 255, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


@each_row(
    ("keys", "answer", "stated"),
    [
        ({"Framework": "Keras", "ModelConfiguration": "KerasClassifier"}, {}, ("none", "skimage")),
        ({"Framework": "Keras", "ModelConfiguration": {"Name": "KerasClassifier"}}, {}, ("none", "skimage")),
        ({"Framework": "Keras", "Resampling": "pillow"}, {}, ("none", "pillow")),
        ({"ModelConfiguration": "_FeatureClassifier"}, {"bands": 3}, (IMAGENET, None)),
        ({"ModelConfiguration": "FeatureClassifier", "ExtractBands": None}, {"bands": 4}, (None, None)),
        ({"ModelConfiguration": "FeatureClassifier", "NormalizationStats": STATS}, {"bands": 3}, (None, None)),
        ({"Normalization": OF_TIMM, "ModelConfiguration": "FeatureClassifier"}, {"bands": 3}, (OF_TIMM, None)),
        ({}, {"normalization": OF_TIMM}, (OF_TIMM, None)),
        ({}, {}, (None, None)),
    ],
)
def test_normalisation_and_resampling_are_stated(
    tmp_path: Path, keys: dict[str, Any], answer: dict[str, Any], stated: tuple[Any, Any]
) -> None:
    written = definition(**{"ModelFile": "net.h5", "Normalization": None, "Framework": None} | keys)
    (tmp_path / "net.h5").touch()
    (tmp_path / "foreign.emd").write_text(json.dumps(written))
    document = converted_document(read_foreign(tmp_path, tmp_path / "unpacked", 2**20), ConversionAnswer(**answer))
    assert (document.get("Normalization"), document.get("Resampling")) == stated
    assert document == written | {name: document[name] for name in document.keys() - written.keys()} | {
        "ModelFile": "net.onnx"
    }
