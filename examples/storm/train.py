"""Train the model package `roof-damage` on synthetic scenes.

    python examples/storm/train.py

Needs torch, onnx and onnxscript beside what the scenes need. No scene is used twice: seed 7 is the demo's, 100 to 123
train, 200 to 202 choose the epoch, 300 to 304 are held out and measured once, with the exported network.
"""

import argparse
import json
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chips import CHIP_PX, CLASSES, labelled_chips

TRAINING_SEEDS = range(100, 124)
VALIDATION_SEEDS = range(200, 203)
HELD_OUT_SEEDS = range(300, 305)
TRAINING_SIZE_PX = 3000
"""Training scenes have less land around as many houses; the held-out ones are of the demo's size."""
DEMO_SIZE_PX = 4000

PACKAGE = Path(__file__).resolve().parents[2] / "models" / "roof-damage"
COLOURS = {"intact": [76, 175, 80], "damaged": [230, 40, 40]}
WIDTHS = (24, 48, 80, 112)
BATCH = 64
OPSET = 18

Chips = NDArray[np.uint8]
"""(n, 64, 64, 3)."""
Labels = NDArray[np.int64]
"""(n,): 0 intact, 1 damaged."""


class Block(nn.Module):
    """Two convolutions at half the resolution, beside a direct way through."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.direct = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, maps: Tensor) -> Tensor:
        """Turn (n, inputs, height, width) into (n, outputs, height / 2, width / 2)."""
        inner = torch.relu(self.first_norm(self.first(maps)))
        return torch.relu(self.second_norm(self.second(inner)) + self.direct(maps))


def make_network() -> nn.Sequential:
    """Return a small residual network: (n, 3, 64, 64) normalised bands to (n, 2) logits."""
    stem = nn.Sequential(
        nn.Conv2d(3, WIDTHS[0], 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU()
    )
    blocks = [Block(inputs, outputs) for inputs, outputs in pairwise(WIDTHS)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(WIDTHS[-1], len(CLASSES))]
    return nn.Sequential(stem, *blocks, *head)


def load_chips(name: str, seeds: Iterable[int], size_px: int, cache: Path | None) -> tuple[Chips, Labels]:
    """Return the chips of several scenes, from the cache folder where they are there already."""
    file = cache / f"{name}.npz" if cache else None
    if file and file.exists():
        with np.load(file) as kept:
            return kept["chips"], kept["labels"]
    numbers = list(seeds)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(labelled_chips, numbers, [size_px] * len(numbers)))
    chips, labels = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, chips=chips, labels=labels)
    return chips, labels


def band_statistics(chips: Chips) -> tuple[list[float], list[float]]:
    """Return the mean and the standard deviation of each band, of values 0..1."""
    values = chips.reshape(-1, 3)[::7].astype(np.float64) / 255
    return values.mean(axis=0).round(4).tolist(), values.std(axis=0).round(4).tolist()


def normalise(chips: Chips, mean: list[float], std: list[float]) -> NDArray[np.float32]:
    """Return (n, 3, 64, 64) as the service feeds it."""
    scaled = chips.astype(np.float32) / np.float32(255)
    scaled -= np.array(mean, dtype=np.float32)
    scaled /= np.array(std, dtype=np.float32)
    return np.ascontiguousarray(np.moveaxis(scaled, 3, 1))


def augment(batch: Tensor) -> Tensor:
    """Turn and mirror a batch, and vary light, contrast and place a little."""
    batch = torch.rot90(batch, int(torch.randint(4, (1,))), (2, 3))
    if torch.rand(1) < 0.5:
        batch = torch.flip(batch, (3,))
    shift = torch.randint(-2, 3, (2,))
    batch = torch.roll(batch, (int(shift[0]), int(shift[1])), (2, 3))
    gain = 1 + 0.08 * torch.randn(len(batch), 1, 1, 1) + 0.03 * torch.randn(len(batch), 3, 1, 1)
    return batch * gain + 0.08 * torch.randn(len(batch), 3, 1, 1)


def train(network: nn.Module, inputs: Tensor, labels: Tensor, checks: tuple[Tensor, Tensor], epochs: int) -> None:
    """Fit the network and leave it with the weights of the epoch that did best on the checks."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.03)
    steps = epochs * (len(inputs) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=3e-3, total_steps=steps, pct_start=0.2)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.03)
    best, kept = -1.0, network.state_dict()
    network.to(memory_format=torch.channels_last)
    for epoch in range(epochs):
        network.train()
        for chosen in torch.split(torch.randperm(len(inputs)), BATCH)[: len(inputs) // BATCH]:
            batch = augment(inputs[chosen]).contiguous(memory_format=torch.channels_last)
            loss = loss_of(network(batch), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        accuracy = _accuracy(network, *checks)
        print(f"epoch {epoch + 1}/{epochs}: loss {loss.item():.3f}, validation accuracy {accuracy:.4f}", flush=True)
        if accuracy >= best:
            best, kept = accuracy, {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(kept)


def _accuracy(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    network.eval()
    with torch.inference_mode():
        guesses = torch.cat([network(batch).argmax(dim=1) for batch in torch.split(inputs, 256)])
    return float((guesses == labels).float().mean())


def export(network: nn.Module, path: Path) -> None:
    """Write the network as one ONNX file with a dynamic number of chips."""
    network.eval()
    example = torch.zeros(2, 3, CHIP_PX, CHIP_PX)
    torch.onnx.export(
        network,
        (example,),
        path,
        input_names=["input"],
        output_names=["logits"],
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        dynamic_shapes=({0: torch.export.Dim("n")},),
    )
    strip_origins(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 7):
        chips = torch.randn(count, 3, CHIP_PX, CHIP_PX)
        with torch.inference_mode():
            expected = network(chips).numpy()
        np.testing.assert_allclose(session.run(["logits"], {"input": chips.numpy()})[0], expected, atol=1e-3)


def strip_origins(path: Path) -> None:
    """Take out of the file where in which source each node comes from."""
    model = onnx.load(path)
    graph = model.graph
    for entry in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del entry.metadata_props[:]
        entry.doc_string = ""
    onnx.save(model, path)


def write_definition(path: Path, mean: list[float], std: list[float]) -> None:
    """Write the Esri model definition beside the network."""
    classes = [{"Value": value, "Name": name, "Color": COLOURS[name]} for value, name in enumerate(CLASSES)]
    definition = {
        "Framework": "ONNX",
        "ModelConfiguration": "ObjectClassification",
        "ModelType": "ObjectClassification",
        "ModelFile": path.with_suffix(".onnx").name,
        "ImageHeight": CHIP_PX,
        "ImageWidth": CHIP_PX,
        "ExtractBands": [0, 1, 2],
        "CropSizeFixed": 1,
        "BlackenAroundFeature": 0,
        "ImageSpaceUsed": "MAP_SPACE",
        "Normalization": {"scale": 1 / 255, "mean": mean, "std": std},
        "Activation": "softmax",
        "Classes": classes,
    }
    path.write_text(json.dumps(definition, indent=2) + "\n", encoding="utf-8")


def report(path: Path, inputs: NDArray[np.float32], labels: Labels) -> None:
    """Print how well the exported network does on the held-out houses."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    parts = [session.run(["logits"], {"input": inputs[start : start + 256]})[0] for start in range(0, len(inputs), 256)]
    guesses = np.concatenate(parts).argmax(axis=1)
    table = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    np.add.at(table, (labels, guesses), 1)
    recalls = table.diagonal() / table.sum(axis=1)
    print(f"held out: {len(labels)} houses of scenes {HELD_OUT_SEEDS.start} to {HELD_OUT_SEEDS.stop - 1}")
    print(f"accuracy {table.trace() / table.sum():.4f}, balanced accuracy {recalls.mean():.4f}")
    print("truth \\ label" + "".join(f"{name:>10}" for name in CLASSES) + f"{'recall':>10}")
    for name, row, recall in zip(CLASSES, table, recalls, strict=True):
        print(f"{name:<13}" + "".join(f"{count:>10}" for count in row) + f"{recall:>10.4f}")


def main() -> None:
    """Make the scenes, train, export and measure."""
    parser = argparse.ArgumentParser(description="Train the model package roof-damage.")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--cache", type=Path, help="folder that keeps the chips between runs")
    parser.add_argument("--output", type=Path, default=PACKAGE, help="folder of the package")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    chips, labels = load_chips("training", TRAINING_SEEDS, TRAINING_SIZE_PX, arguments.cache)
    validation = load_chips("validation", VALIDATION_SEEDS, TRAINING_SIZE_PX, arguments.cache)
    held_out = load_chips("held-out", HELD_OUT_SEEDS, DEMO_SIZE_PX, arguments.cache)
    mean, std = band_statistics(chips)
    network = make_network()
    print(f"{sum(weights.numel() for weights in network.parameters())} weights, {len(labels)} training chips")
    checks = (torch.from_numpy(normalise(validation[0], mean, std)), torch.from_numpy(validation[1]))
    train(network, torch.from_numpy(normalise(chips, mean, std)), torch.from_numpy(labels), checks, arguments.epochs)
    arguments.output.mkdir(parents=True, exist_ok=True)
    export(network, arguments.output / "roof-damage.onnx")
    write_definition(arguments.output / "roof-damage.emd", mean, std)
    report(arguments.output / "roof-damage.onnx", normalise(held_out[0], mean, std), held_out[1])


if __name__ == "__main__":
    main()
