"""Weights in files beside the network: what is wrong with them is said with the file's name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from model_networks import THREE, band_means, checked, problem_of, save_network
from tables import each_row

WEIGHTS = np.array([[1, 0, 2], [0, 1, 0], [1, 1, 0]], np.float32)


def save_apart(folder: Path, location: str, name: str = "net.onnx") -> Path:
    """Write a network with its weights in a file of its own, by onnx's own writer, and rename the network."""
    nodes = [*band_means(into="means"), onnx.helper.make_node("MatMul", ["means", "weights"], ["output"])]
    network = save_network(folder / "made.onnx", nodes, constants={"weights": WEIGHTS})
    model = onnx.load(network)
    network.unlink()
    (folder / location).parent.mkdir(exist_ok=True)
    onnx.save(model, folder / name, save_as_external_data=True, location=location, size_threshold=9)
    return folder / name


def change(network: Path, **entries: str | None) -> None:
    """Change what a network says of the place of its weights; None leaves an entry out."""
    model = onnx.load(network, load_external_data=False)
    (tensor,) = model.graph.initializer
    kept = {entry.key: entry.value for entry in tensor.external_data} | entries
    del tensor.external_data[:]
    for key, value in kept.items():
        if value is not None:
            tensor.external_data.add(key=key, value=value)
    network.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("location", ["best.onnx.data", "sub/best.bin", "weights with blanks"])
def test_missing_weights_file_is_named(tmp_path: Path, location: str) -> None:
    """The case: the network is renamed, `best.onnx.data` of PyTorch's exporter is left behind or renamed too."""
    network = save_apart(tmp_path / "package", location)
    assert checked(network, Classes=THREE).problem is None
    os.replace(network.parent / location, network.parent / "net.onnx.data")
    problem = problem_of(network, Classes=THREE)
    assert problem == f"the network cannot be opened: its weights file {location} is not in the package"


@each_row(
    ("entries", "words"),
    [
        ({"offset": "4"}, "best.data is too short: it has 36 bytes of 40 or more"),
        ({"length": "4000"}, "best.data is too short: it has 36 bytes of 4000 or more"),
        ({"offset": "36"}, "best.data is too short"),
        ({"offset": "1000", "length": None}, "best.data is too short"),
        ({"offset": "x"}, "it does not say where in best.data its weights lie"),
        ({"offset": "-8"}, "it does not say where in best.data its weights lie"),
        ({"length": "-36"}, "it does not say where in best.data its weights lie"),
        ({"length": "20"}, "cannot be opened"),
        ({"location": ""}, "its weights file"),
        ({"location": "."}, "its weights file"),
        ({"location": "sub/../../best.data"}, "its weights file best.data lies outside its folder"),
        ({"location": "/home/ann/secret/best.data"}, "its weights file best.data lies outside its folder"),
    ],
)
def test_weights_that_are_not_whole_or_elsewhere_are_told_with_the_files_name(
    tmp_path: Path, entries: dict[str, str | None], words: str
) -> None:
    network = save_apart(tmp_path / "package", "best.data")
    change(network, **entries)
    problem = problem_of(network, Classes=THREE)
    assert words in problem
    assert "secret" not in problem


def test_truncated_weights_file_is_named(tmp_path: Path) -> None:
    network = save_apart(tmp_path / "package", "best.data")
    os.truncate(network.parent / "best.data", 30)
    assert "best.data is too short: it has 30 bytes of 36 or more" in problem_of(network, Classes=THREE)


def test_weights_of_one_file_may_be_longer_than_they_need(tmp_path: Path) -> None:
    network = save_apart(tmp_path / "package", "best.data")
    with (network.parent / "best.data").open("ab") as file:
        file.write(bytes(100))
    assert checked(network, Classes=THREE).problem is None
