"""The same objects and weights by another library: `python peer.py PEER IMAGE OBJECTS NETWORK SIDE OUTPUT`.

It runs in an environment of its own, and prints the seconds from the opened layer to the written one. What it imports
is not counted. Each object is a square of `SIDE` cells, whose chip is these cells.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import onnx
import rasterio
import torch
from onnx import helper, numpy_helper
from rasterio.transform import AffineTransformer
from torch import Tensor, nn
from torch.nn import functional

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Boxes = Sequence[tuple[int, int, int, int]]
"""Column, row, width and height of each chip, in cells."""


class OnnxNetwork(nn.Module):
    """The layers of the benchmark's networks, with the weights of their files, run by PyTorch."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        graph = onnx.load(path).graph
        self._weights = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in graph.initializer}
        self._steps = [
            (
                node.op_type,
                list(node.input),
                node.output[0],
                {a.name: helper.get_attribute_value(a) for a in node.attribute},
            )
            for node in graph.node
        ]

    def forward(self, chips: Tensor) -> Tensor:
        """Return the logits `(n, classes)` of normalised chips `(n, 3, side, side)`."""
        values = {"input": chips, **self._weights}
        for kind, names, output, attributes in self._steps:
            values[output] = LAYERS[kind](attributes, *(values[name] for name in names))
        return values[output]


LAYERS: dict[str, Callable[..., Tensor]] = {
    "Conv": lambda a, x, w, b: functional.conv2d(x, w, b, a["strides"], a["pads"][:2]),
    "Relu": lambda _, x: functional.relu(x),
    "Add": lambda _, x, y: x + y,
    "MaxPool": lambda a, x: functional.max_pool2d(x, a["kernel_shape"], a["strides"], a["pads"][:2]),
    "GlobalAveragePool": lambda _, x: functional.adaptive_avg_pool2d(x, 1),
    "Flatten": lambda _, x: x.flatten(1),
    "Gemm": lambda _, x, w, b: x @ w + b,
}


def main(peer: str, image: Path, objects: Path, network: Path, side: int, output: Path) -> float:
    """Classify as the peer does, write the layer, and return the seconds."""
    batch = 16 if side > 100 else 64
    classify = PEERS[peer](image, OnnxNetwork(network).eval(), side, batch)
    start_s = time.perf_counter()
    layer = geopandas.read_file(objects)
    with torch.inference_mode():
        labels, confidences = classify(layer)
    layer["ClassLabel"], layer["Confidence"] = labels, confidences
    output.unlink(missing_ok=True)
    layer.to_file(output, driver="GPKG")
    return time.perf_counter() - start_s


def boxes_of(image: Path, layer: geopandas.GeoDataFrame, side: int) -> Boxes:
    """Return the cells of each object."""
    with rasterio.open(image) as dataset:
        bounds = layer.geometry.bounds
        rows, columns = AffineTransformer(dataset.transform).rowcol(bounds.minx, bounds.maxy, op=np.round)
    return [(int(column), int(row), side, side) for column, row in zip(columns, rows, strict=True)]


def scores(network: nn.Module, chips: Iterator[Tensor], batch: int) -> tuple[list[int], list[float]]:
    """Return the class and the probability of chips with values of 0 to 1, `(3, side, side)` each."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    labels: list[int] = []
    confidences: list[float] = []
    waiting: list[Tensor] = []

    def run() -> None:
        best = network(torch.stack(waiting)).softmax(1).max(1)
        labels.extend(best.indices.tolist())
        confidences.extend(best.values.tolist())
        waiting.clear()

    for chip in chips:
        waiting.append((chip - mean) / std)
        if len(waiting) == batch:
            run()
    if waiting:
        run()
    return labels, confidences


def script(image: Path, network: nn.Module, side: int, batch: int) -> Any:
    """A plain script: a windowed read of rasterio for each object, in the order of the layer."""

    def classify(layer: geopandas.GeoDataFrame) -> tuple[list[int], list[float]]:
        with rasterio.open(image) as dataset:
            windows = (rasterio.windows.Window(*box) for box in boxes_of(image, layer, side))
            chips = (torch.from_numpy(dataset.read((1, 2, 3), window=window)).float() / 255 for window in windows)
            return scores(network, chips, batch)

    return classify


def torchgeo(image: Path, network: nn.Module, side: int, batch: int) -> Any:
    """A RasterDataset of TorchGeo, asked for the box of each object."""
    from torchgeo.datasets import RasterDataset  # of one environment with the others, but slow to import

    dataset = RasterDataset(paths=[str(image)], cache=True)

    def classify(layer: geopandas.GeoDataFrame) -> tuple[list[int], list[float]]:
        times = dataset.bounds[2]

        def chips() -> Iterator[Tensor]:
            for west, south, east, north in layer.geometry.bounds.to_numpy():
                cells = dataset[slice(west, east), slice(south, north), times]["image"][:3].float() / 255
                if cells.shape[1:] != (side, side):
                    cells = functional.interpolate(cells[None], (side, side), mode="bilinear")[0]
                yield cells

        return scores(network, chips(), batch)

    return classify


def rastervision(image: Path, network: nn.Module, side: int, batch: int) -> Any:
    """A dataset of windows of Raster Vision, in batches of PyTorch's DataLoader."""
    from rastervision.core.box import Box
    from rastervision.pytorch_learner.dataset import ClassificationSlidingWindowGeoDataset

    dataset = ClassificationSlidingWindowGeoDataset.from_uris(
        image_uri=str(image), size=4000, stride=4000, out_size=side, padding=0
    )

    def classify(layer: geopandas.GeoDataFrame) -> tuple[list[int], list[float]]:
        dataset.windows = [Box(row, column, row + h, column + w) for column, row, w, h in boxes_of(image, layer, side)]
        loader = torch.utils.data.DataLoader(dataset, batch_size=batch, num_workers=0)
        return scores(network, (chip for chips, _ in loader for chip in chips), batch)

    return classify


def deepforest(image: Path, network: nn.Module, side: int, batch: int) -> Any:
    """The CropModel of DeepForest, which classifies the boxes that a detector found."""
    import pytorch_lightning
    from deepforest import predict
    from deepforest.model import CropModel

    crop_model = CropModel(model=network, config_args={"resize": [side, side], "batch_size": batch, "num_workers": 0})
    crop_model.label_dict = {"a": 0, "b": 1}
    crop_model.numeric_to_label_dict = {0: "a", 1: "b"}
    silent = dict.fromkeys(("logger", "enable_progress_bar", "enable_checkpointing", "enable_model_summary"), False)
    trainer = pytorch_lightning.Trainer(accelerator="cpu", **silent)

    def classify(layer: geopandas.GeoDataFrame) -> tuple[list[int], list[float]]:
        columns = zip(*((c, r, c + w, r + h) for c, r, w, h in boxes_of(image, layer, side)), strict=True)
        frame = geopandas.GeoDataFrame(
            dict(zip(("xmin", "ymin", "xmax", "ymax"), columns, strict=True)), geometry=layer.geometry
        )
        frame["image_path"], frame.root_dir = image.name, str(image.parent)
        found = predict._predict_crop_model_(
            crop_model=crop_model, trainer=trainer, results=frame, path=str(image), is_single_model=True
        )
        return found["cropmodel_label"].map({"a": 0, "b": 1}).tolist(), found["cropmodel_score"].tolist()

    return classify


PEERS = {"torchgeo": torchgeo, "raster-vision": rastervision, "deepforest": deepforest, "script": script}


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    name, *paths = sys.argv[1:]
    print(main(name, Path(paths[0]), Path(paths[1]), Path(paths[2]), int(paths[3]), Path(paths[4])))
