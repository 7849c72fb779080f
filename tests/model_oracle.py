"""What a model says of chips, by the contract's words: normalisation, activation, augmentation, thresholds.

Float64 numpy and nothing shared with the package. The network itself is a function that a test knows by hand.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oracle import ChipRule, as_pillow

type Floats = NDArray[np.float64]

IMAGENET_MEAN: Final = np.array([0.485, 0.456, 0.406])
IMAGENET_STD: Final = np.array([0.229, 0.224, 0.225])
TRIAL_CHIPS: Final = 16


@dataclass(frozen=True)
class Model:
    """A model package: its definition, and its network in numpy."""

    emd: Mapping[str, Any]
    """The definition, as written into the package."""
    network: Callable[[Floats], Floats]
    """From normalised chips `(n, bands, height, width)` to the network's outputs `(n, outputs)`."""
    bands: int
    """How many bands the network takes."""
    square: int | None = None
    """Side of the chips that a KerasClassifier takes, where they are of variable size."""

    @property
    def is_multi_label(self) -> bool:
        return self.emd.get("MetaDataMode") == "MultiLabeled_Tiles"

    @property
    def names(self) -> list[str]:
        """The classes' names, in the order of the network's outputs."""
        return [item["Name"] for item in self.emd["Classes"]]

    def chip_rule(self, cell_size: float | None = None) -> ChipRule:
        """Return how the model wants its chips."""
        bands, wanted = self.emd.get("ExtractBands"), self.emd.get("DataRange")
        bands = None if bands is None else tuple(bands)
        is_named = bands is not None and isinstance(bands[0], str)
        return ChipRule(
            width=self.emd["ImageWidth"],
            height=self.emd["ImageHeight"],
            fixed=bool(self.emd.get("CropSizeFixed", 1)),
            blacken=bool(self.emd.get("BlackenAroundFeature", 0)),
            bands=None if is_named else bands,
            band_names=bands if is_named else None,
            cell_size=cell_size,
            data_range=None if wanted is None else (wanted[0], wanted[1]),
            is_skimage=self.emd.get("Resampling") == "skimage",
            square=self.square,
        )


@dataclass(frozen=True)
class Verdict:
    """What is said of one object."""

    label: str | None
    value: int | None
    confidence: float | None
    status: str
    scores: Sequence[float | None]
    """One per class, in the order of `Classes`."""


@dataclass(frozen=True)
class LinearNetwork:
    """A network whose outputs depend on every cell, band and orientation: the flattened chip times random weights."""

    weights: NDArray[np.float32]
    """`(bands * height * width, outputs)`."""
    bias: NDArray[np.float32]
    """`(outputs,)`."""
    is_probability: bool = False
    """Whether a softmax is part of the network."""

    def __call__(self, chips: Floats) -> Floats:
        outputs = chips.reshape(len(chips), -1) @ self.weights.astype(np.float64) + self.bias
        return softmax(outputs) if self.is_probability else outputs


def linear_network(shape: tuple[int, int, int], outputs: int, seed: int, is_probability: bool = False) -> LinearNetwork:
    """Return a network for chips of `(bands, height, width)` with values of about 0.3 around 0."""
    rng = np.random.default_rng(seed)
    cells = int(np.prod(shape))
    weights = rng.normal(0, 4 / np.sqrt(cells), (cells, outputs)).astype(np.float32)
    return LinearNetwork(weights, rng.normal(0, 0.3, outputs).astype(np.float32), is_probability)


@dataclass(frozen=True)
class ShrinkingNetwork:
    """A linear network behind scikit-image's resampling to a fourth, order 1 without antialiasing, and the cut to whole
    numbers: the centre of a new cell lies between the two middle ones of its four."""

    inner: LinearNetwork

    def __call__(self, chips: Floats) -> Floats:
        middle = (chips[:, :, 1::4] + chips[:, :, 2::4]) / 2
        return self.inner(np.trunc((middle[..., 1::4] + middle[..., 2::4]) / 2))


@dataclass(frozen=True)
class SmallerNetwork:
    """A linear network for chips of another size than the package's, which Pillow's bilinear resampling makes."""

    inner: LinearNetwork
    size: tuple[int, int]
    """Height and width."""

    def __call__(self, chips: Floats) -> Floats:
        resized = [as_pillow(chip.astype(np.float32), self.size) for chip in chips]
        return self.inner(np.asarray(resized, np.float64))


def mean_network(chips: Floats) -> Floats:
    """Return the outputs of `save_mean_network`'s network: 0 and the mean of all cells."""
    means: Floats = chips.mean(axis=(1, 2, 3))
    return np.column_stack([np.zeros_like(means), means])


def root_network(chips: Floats) -> Floats:
    """Return the outputs of `save_root_network`'s network: 0 and the root of the mean of all cells, where it has one."""
    with np.errstate(invalid="ignore"):
        return np.sqrt(mean_network(chips))


def judge(
    model: Model, chip: NDArray[np.float32] | None, status: str, threshold: float | None = None, augment: bool = False
) -> Verdict:
    """Classify one chip, None of which is there where the status is not `ok`."""
    if chip is None:
        return Verdict(None, None, None, status, [None] * len(model.names))
    scores = probabilities(model, chip, augment)
    if not np.isfinite(scores).all():
        return Verdict(None, None, None, "not-finite", [None] * len(model.names))
    classes = model.emd["Classes"]
    confidence = float(scores.max())
    if model.is_multi_label:
        chosen = [
            item for item, p in zip(classes, scores, strict=True) if p >= (0.5 if threshold is None else threshold)
        ]
        value = chosen[0]["Value"] if len(chosen) == 1 else None
        return Verdict(";".join(item["Name"] for item in chosen), value, confidence, "ok", scores.tolist())
    if confidence < (threshold or 0):
        return Verdict(None, None, confidence, "below-threshold", scores.tolist())
    best = classes[int(scores.argmax())]
    return Verdict(best["Name"], best["Value"], confidence, "ok", scores.tolist())


def probabilities(model: Model, chip: NDArray[np.float32], augment: bool = False) -> Floats:
    """Return the probability of each class of one chip `(bands, height, width)`, before normalisation."""
    normalised = normalise(model.emd, chip.astype(np.float64))
    views = augmented(normalised, model.emd.get("ImageSpaceUsed")) if augment else [normalised]
    outputs = [model.network(view[np.newaxis]) for view in views]
    if not np.isfinite(outputs).all():
        return np.full(len(model.names), np.nan)
    scores: Floats = np.mean([_activated(model, output)[0] for output in outputs], axis=0)
    return scores


def normalise(emd: Mapping[str, Any], chip: Floats) -> Floats:
    """Return a chip `(bands, height, width)` as the network takes it."""
    own, stats = emd.get("Normalization"), emd.get("NormalizationStats")
    scaled: Floats
    if own == "none":
        return chip
    if own is not None:
        scaled = (chip * own["scale"] - _per_band(own["mean"])) / _per_band(own["std"])
        return scaled
    if stats is not None:
        names = [name.lower() for name in emd.get("Bands", ("Red", "Green", "Blue"))]  # else those of the tests' images
        taken = [
            names.index(band.lower()) if isinstance(band, str) else band
            for band in emd.get("ExtractBands") or range(len(chip))
        ]
        low, high, mean, std = (
            np.array([stats[name][band] for band in taken], np.float64)
            for name in ("band_min_values", "band_max_values", "scaled_mean_values", "scaled_std_values")
        )
        width = np.where(high == low, 1, high - low)
        scaled = (chip - _per_band(low)) / _per_band(width)
        scaled = (scaled - _per_band(mean)) / _per_band(np.where(std == 0, 0.01, std))
        return scaled
    if len(chip) == 3 and "arcgis.learn" in emd["Framework"]:
        return (chip / 255 - _per_band(IMAGENET_MEAN)) / _per_band(IMAGENET_STD)
    return chip


def _per_band(values: Any) -> Floats:
    return np.asarray(values, np.float64)[:, np.newaxis, np.newaxis]


def augmented(chip: Floats, space: str | None) -> list[Floats]:
    """Return the views of a chip over which test-time augmentation averages."""
    mirror = chip[:, :, ::-1]
    if space != "MAP_SPACE":
        return [chip, mirror]
    if chip.shape[1] != chip.shape[2]:
        return [chip, mirror, chip[:, ::-1], mirror[:, ::-1]]
    return [np.rot90(view, turns, (1, 2)) for view in (chip, mirror) for turns in range(4)]


def _activated(model: Model, outputs: Floats) -> Floats:
    """Return the probabilities of all classes, `(n, classes)`."""
    is_single_output = outputs.shape[1] == 1 and len(model.names) == 2
    name = model.emd.get("Activation") or _found_activation(model, is_single_output)
    found = {"softmax": softmax, "sigmoid": sigmoid, "none": _unchanged}[name](outputs)
    return np.column_stack([1 - found, found]) if is_single_output else found


def _found_activation(model: Model, is_single_output: bool) -> str:
    """Try random chips, as nobody says what the network's outputs are."""
    shape = (TRIAL_CHIPS, model.bands, model.emd["ImageHeight"], model.emd["ImageWidth"])
    outputs = model.network(np.random.default_rng(1).normal(0, 1, shape))
    adds_up = model.is_multi_label or is_single_output or bool(np.allclose(outputs.sum(axis=1), 1, atol=1e-3))
    if adds_up and outputs.min() >= 0 and outputs.max() <= 1:
        return "none"
    return "sigmoid" if model.is_multi_label or is_single_output else "softmax"


def _unchanged(outputs: Floats) -> Floats:
    return outputs


def package_digest(folder: Path, *names: str) -> str:
    """Return the digest of files of a package, as the contract has it."""
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(names)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def softmax(outputs: Floats) -> Floats:
    shares = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    result: Floats = shares / shares.sum(axis=1, keepdims=True)
    return result


def sigmoid(outputs: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-outputs))
    return result
