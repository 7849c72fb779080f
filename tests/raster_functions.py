"""Packages with raster functions, in the shape of Esri's ObjectClassifier.py, and what they give."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from conftest import definition, save_mean_network
from processes.model.package_digest import package_digest
from processes.model.raster_functions import FunctionSettings

OBJECT_CLASSIFIER = """
import importlib
import json
import os
import sys

import numpy as np

sys.path.append(os.path.dirname(__file__))
import arcpy

FIELDS = {"fields": [
    {"name": "OID", "type": "esriFieldTypeOID", "alias": "OID"},
    {"name": "Label", "type": "esriFieldTypeString", "alias": "Label"},
    {"name": "Confidence", "type": "esriFieldTypeString", "alias": "Confidence"},
    {"name": "Shape", "type": "esriFieldTypeGeometry", "alias": "Shape"},
]}


class ObjectClassifier:
    def __init__(self):
        self.name = "Object classifier"

    def initialize(self, **kwargs):
        if "model" not in kwargs:
            return
        with open(kwargs["model"]) as file:
            self.json_info = json.load(file)
        arcpy.env.processorType = "CPU" if kwargs["device"] < 0 else "GPU"
        child = importlib.import_module("Child")
        self.child = child.ChildObjectDetector()
        self.child.initialize(kwargs["model"], kwargs["model_as_file"])

    def getParameterInfo(self):
        required = [
            {"name": "rasters", "dataType": "rasters", "value": None, "required": True},
            {"name": "model", "dataType": "string", "required": True, "displayName": "Model", "description": "EMD"},
            {"name": "device", "dataType": "numeric", "required": False, "displayName": "Device"},
        ]
        if "BatchSize" not in self.json_info:
            required.append({"name": "batch_size", "dataType": "numeric", "required": False, "value": 4,
                             "displayName": "Batch Size", "description": "Batch Size"})
        return self.child.getParameterInfo(required)

    def getConfiguration(self, **scalars):
        configuration = self.child.getConfiguration(**scalars)
        configuration["inheritProperties"] = 2 | 4 | 8
        configuration["inputMask"] = True
        return configuration

    def getFields(self):
        return json.dumps(FIELDS)

    def getGeometryType(self):
        return 3

    def vectorize(self, **pixelBlocks):
        pixels, masks = pixelBlocks["rasters_pixels"], pixelBlocks["rasters_mask"]
        for index in range(len(pixels)):
            pixels[index][np.where(masks[index] == 0)] = 0
        polygons, scores, classes = self.child.vectorize(**pixelBlocks)
        features = []
        for index, polygon in enumerate(polygons):
            features.append({
                "attributes": {"OID": index + 1, "Label": classes[index], "Confidence": str(scores[index])},
                "geometry": {"rings": [[[point[1], point[0]] for point in polygon]]},
            })
        return {"output_vectors": json.dumps({"fields": FIELDS["fields"], "features": features})}
"""

CHILD = """
import json
import os

import numpy as np
import onnxruntime


class ChildObjectDetector:
    def initialize(self, model, model_as_file):
        with open(model) as file:
            self.json_info = json.load(file)
        network = os.path.join(os.path.dirname(model), self.json_info["Network"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])

    def getParameterInfo(self, required_parameters):
        required_parameters.append({"name": "gain", "dataType": "numeric", "value": 1, "required": False,
                                    "displayName": "Gain", "description": "Gain"})
        return required_parameters

    def getConfiguration(self, **scalars):
        assert all(isinstance(value, str) for value in scalars.values()), scalars
        self.gain = float(scalars["gain"])
        return {"extractBands": tuple(self.json_info["ExtractBands"]), "tx": self.json_info["ImageWidth"],
                "ty": self.json_info["ImageHeight"], "batch_size": int(scalars.get("batch_size", 4)),
                "CropSizeFixed": self.json_info["CropSizeFixed"],
                "BlackenAroundFeature": self.json_info["BlackenAroundFeature"]}

    def vectorize(self, **pixelBlocks):
        chips = np.asarray(pixelBlocks["rasters_pixels"]).astype(np.float32)
        mean, std = (np.array(self.json_info[name], np.float32).reshape(-1, 1, 1) for name in ("Mean", "Std"))
        logits = self.session.run(None, {self.session.get_inputs()[0].name: (chips / 255 - mean) / std * self.gain})[0]
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = raised / raised.sum(axis=1, keepdims=True)
        names = [item["Name"] for item in self.json_info["Classes"]]
        height, width = chips.shape[2:]
        polygons = [[[0, 0], [0, width - 1], [height - 1, width - 1], [height - 1, 0]]] * len(chips)
        return polygons, scores.max(axis=1), [names[index] for index in scores.argmax(axis=1)]
"""

PLAIN = """
import json
import os
import sys
import time

import numpy as np


class Function:
    def initialize(self, **kwargs):
        self.kwargs = kwargs

    def getParameterInfo(self):
        return [{{"name": "raster", "dataType": "raster"}}, {parameters}]

    def getConfiguration(self, **scalars):
        self.scalars = scalars
        return {configuration}

    def getFields(self):
        return json.dumps({{"fields": [{{"name": "Label", "type": "esriFieldTypeString"}},
            {{"name": "Confidence", "type": "esriFieldTypeDouble"}}, {fields}]}})

    def vectorize(self, **blocks):
        pixels, masks = blocks["rasters_pixels"], blocks["rasters_mask"]
        rows = []
        for chip, mask in zip(pixels, masks):
            mean = float(chip.mean())
            row = {{"Label": "bright" if mean > 127 else "dark", "Confidence": 0.75}}
{body}
            rows.append(row)
{end}
        return {{"output_vectors": json.dumps({{"features": [{{"attributes": row}} for row in rows]}})}}
"""
"""A function that calls chips bright or dark by their mean."""


def save_object_classifier(folder: Path, **changes: Any) -> Path:
    """Write a package of Esri's shape, whose function runs an ONNX network of the name that its .emd has, and return it.

    Changes are of the keys of the .emd, as `conftest.definition` has them.
    """
    folder.mkdir(parents=True)
    own = {"InferenceFunction": "ObjectClassifier.py", "Network": "net.onnx", "ModelFile": "net.pth"}
    keys = own | {"Mean": [0.5] * 3, "Std": [1] * 3} | changes
    (folder / "ObjectClassifier.py").write_text(OBJECT_CLASSIFIER)
    (folder / "Child.py").write_text(CHILD)
    save_mean_network(folder / "net.onnx")
    (folder / f"{folder.name}.emd").write_bytes(msgspec.json.encode(definition(**keys)))
    return folder


def save_function(folder: Path, body: str = "", end: str = "", **parts: Any) -> Path:
    """Write a package whose only part that can be run is a plain function, and return it.

    Args:
        folder: of the package.
        body: lines for each chip, which has `chip`, `mask`, `mean` and `row`.
        end: lines for all rows, before they are returned.
        parts: `parameters`, `fields` and `configuration` as Python writes them, and keys of the .emd.
    """
    folder.mkdir(parents=True)
    texts = {"parameters": "", "fields": "", "configuration": "{}"}
    texts |= {name: parts.pop(name) for name in tuple(parts) if name in texts}
    lines = {"body": _indented(body, 12), "end": _indented(end, 8)}
    (folder / "Function.py").write_text(PLAIN.format(**texts, **lines))
    keys = definition(**({"InferenceFunction": "Function.py", "ModelFile": None} | parts))
    (folder / f"{folder.name}.emd").write_bytes(msgspec.json.encode(keys))
    return folder


def _indented(text: str, spaces: int) -> str:
    return "\n".join(" " * spaces + line for line in text.splitlines())


def trusting(tmp_path: Path, *packages: Path, **changes: Any) -> FunctionSettings:
    """Return what an operator decides who trusts packages, and lets them run by this Python."""
    state = tmp_path / "state"
    decided = FunctionSettings(
        trusted=tuple(map(package_digest, packages)),
        python=sys.executable,
        scratch=str(state / "raster-functions"),
        hidden=(str(state),),
    )
    return msgspec.structs.replace(decided, **changes)
