"""`classify-objects model make` and `model check`: what a package says, that it is used so, and what is refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper
from PIL import Image

from conftest import save_mean_network, save_root_network
from model_networks import band_means, put_weights_beside, save_network
from processes.programs.cli import main
from rasters import box_around, make_raster, to_map
from service import configure, models_checked_here
from tables import each_row

CLASSES = "dark:#102030,bright:#F0F0F0"


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    with models_checked_here():
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a configuration and a network: its scores are (0, mean of all cells)."""
    configure(tmp_path, models=[tmp_path / "models"], imagery=[])
    save_mean_network(tmp_path / "net.onnx")
    return tmp_path


def call(folder: Path, *arguments: str | Path) -> Result:
    with chdir(folder):
        return CliRunner().invoke(main, ["--config", "pygeoapi-config.yml", "model", *map(str, arguments)])


def make(folder: Path, *more: str | Path, network: str = "net.onnx", classes: str = CLASSES) -> Result:
    options = {"--classes": classes, "--chip": "8", "--normalization": "none", "--output": "my.dlpk"}
    given = [part for name, value in options.items() if name not in more for part in (name, value)]
    return call(folder, "make", network, *given, *more)


def emd(folder: Path) -> dict[str, Any]:
    with zipfile.ZipFile(folder / "my.dlpk") as archive:
        found: dict[str, Any] = json.loads(archive.read("my.emd"))
    return found


def shown(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(call(folder, "show", "my.dlpk").stdout)
    return found


def test_a_package_says_what_its_maker_said(folder: Path) -> None:
    done = make(folder)
    assert (done.exit_code, done.stdout) == (0, "my.dlpk: dark, bright; activation softmax\n"), done.stderr
    found = emd(folder)
    assert found["Classes"] == [
        {"Value": 0, "Name": "dark", "Color": [16, 32, 48]},
        {"Value": 1, "Name": "bright", "Color": [240, 240, 240]},
    ]
    assert (found["ImageWidth"], found["ImageHeight"], found["ExtractBands"]) == (8, 8, [0, 1, 2])
    assert (found["Normalization"], found["Activation"], found["CropSizeFixed"]) == ("none", "softmax", 1)
    assert [item["Name"] for item in shown(folder)["classes"]] == ["dark", "bright"]
    assert not list(folder.glob(".make-*"))


@each_row(
    ("options", "scale", "mean", "std"),
    [
        (["imagenet"], 1 / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        (["0..1"], 1 / 255, [0, 0, 0], [1, 1, 1]),
        (["0.5,0.4,0.3/0.2,0.1,0.3"], 1 / 255, [0.5, 0.4, 0.3], [0.2, 0.1, 0.3]),
        (["1e3,2e3,3e3/400,500,600", "--scale", "1"], 1, [1000, 2000, 3000], [400, 500, 600]),
    ],
)
def test_normalisation_is_written_down(
    folder: Path, options: list[str], scale: float, mean: list[float], std: list[float]
) -> None:
    assert make(folder, "--overwrite", "--normalization", *options).exit_code == 0
    assert emd(folder)["Normalization"] == {"scale": scale, "mean": mean, "std": std}


def test_weights_beside_the_network_are_taken_along(folder: Path) -> None:
    data = put_weights_beside(folder / "net.onnx")
    assert make(folder).exit_code == 0
    with zipfile.ZipFile(folder / "my.dlpk") as archive:
        assert sorted(archive.namelist()) == ["my.emd", "net.onnx", "net.onnx.data"]
    (folder / "my.dlpk").unlink()
    data.unlink()
    done = make(folder)
    assert (done.exit_code, "its weights file net.onnx.data is not in" in done.stderr) == (1, True)


def test_further_keys(folder: Path) -> None:
    save_mean_network(folder / "net.onnx", bands=2, side=None)
    options = ("--chip", "8x6", "--bands", "3,nir", "--box", "--blacken", "--multi-label", "--activation", "sigmoid")
    assert make(folder, *options).exit_code == 0
    found = emd(folder)
    assert (found["ImageWidth"], found["ImageHeight"], found["ExtractBands"]) == (8, 6, [3, "nir"])
    assert (found["CropSizeFixed"], found["BlackenAroundFeature"], found["Activation"]) == (0, 1, "sigmoid")
    assert found["MetaDataMode"] == "MultiLabeled_Tiles"


@each_row(
    ("options", "status", "words"),
    [
        (["--classes", "dark,bright,odd"], 1, "the network has 2 outputs for 3 classes"),
        (["--classes", "dark"], 2, "'dark' are no two or more classes; write NAME:#RRGGBB,NAME:#RRGGBB"),
        (["--classes", "dark:red,bright"], 2, "write NAME:#RRGGBB,NAME:#RRGGBB"),
        (["--classes", "dark,dark"], 1, "has the name 'dark' more than once"),
        (["--chip", "64px"], 2, "write 224, or width and height as 224x128"),
        (["--chip", "16"], 1, "ImageWidth is 16, the network takes 8"),
        (["--normalization", "bytes"], 1, "it is imagenet, 0..1, none, or MEAN/STD"),
        (["--normalization", "0.5/0.2"], 1, "the normalisation is for 1 band, the network takes 3"),
        (["--normalization", "0,0,0/1,1,0"], 1, "without zeros"),
        (["--bands", "0,1"], 1, "the number of ExtractBands is 2, the network takes 3"),
        (["--output", "my.zip"], 1, "give it a name that ends in .dlpk"),
        (["--output", "old.dlpk"], 1, "--overwrite replaces it"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(folder: Path, options: list[str], status: int, words: str) -> None:
    (folder / "old.dlpk").write_text("something else")
    done = make(folder, *options)
    assert done.exit_code == status
    assert words in " ".join(done.stderr.split())
    assert (folder / "old.dlpk").read_text() == "something else"
    assert not list(folder.glob("my.*")) + list(folder.glob(".make-*"))


def test_what_is_no_network_is_refused(folder: Path) -> None:
    (folder / "net.onnx").write_text("no network")
    done = make(folder)
    assert (done.exit_code, done.stderr) == (1, "Error: the network is not an ONNX file\n")


def write_chips(folder: Path) -> None:
    """Write a folder of chips: three bright ones, one of them in the wrong folder, and two dark ones."""
    for place, cell in (("bright/a", 20), ("bright/b", 9), ("dark/c", 30), ("dark/d", 0), ("dark/e", 0)):
        path = folder / "chips" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (cell,) * 3).save(path)


def test_chips_of_known_classes_are_counted(folder: Path) -> None:
    """The network's scores are (0, mean): every chip that is not black is bright, and black ones are a tie."""
    write_chips(folder)
    assert make(folder, "--normalization", "10,10,10/1,1,1", "--scale", "1").exit_code == 0
    done = call(folder, "check", "my.dlpk", "--chips", "chips", "--picture", "chips.png", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["classes"], found["confusion"], found["accuracy"]) == (["dark", "bright"], [[2, 1], [1, 1]], 0.6)
    assert (found["chips"], found["ranges"], found["dependsOnBatch"]) == (5, [[-10.0, 20.0]] * 3, False)
    assert found["normalization"] == "cells x 1 -10"
    told = call(folder, "check", "my.dlpk", "--chips", "chips").stdout.splitlines()
    assert [line.split() for line in told[-4:]] == [
        ["is", "\\", "label", "dark", "bright"],
        ["dark", "2", "1"],
        ["bright", "1", "1"],
        ["right:", "60.0%", "of", "5"],
    ]
    with Image.open(folder / "chips.png") as picture:
        cells = np.asarray(picture)
    assert tuple(cells[8, 8]) == (0xF0, 0xF0, 0xF0)  # the frame of the first, which is bright/a
    assert tuple(cells[80, 80]) == (20, 20, 20)
    assert tuple(cells[8, 8 + 144]) == (0x10, 0x20, 0x30)  # bright/b counts as dark, which is told in red
    is_red = (cells[..., 0] > 150) & (cells[..., 1:] < 120).all(axis=-1)
    assert is_red[:, 152:288].any()
    assert not is_red[:, :140].any()


def test_objects_on_an_image_are_labelled(folder: Path) -> None:
    image = make_raster(folder / "image.tif", bands=3)
    boxes: list[Any] = [to_map(box_around(x, 20, 6, 6)) for x in (20, 30)]
    features = [
        {"type": "Feature", "properties": {"kind": kind}, "geometry": box.__geo_interface__}
        for box, kind in zip(boxes, ("bright", "dark"), strict=True)
    ]
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    document = {"type": "FeatureCollection", "crs": crs, "features": features}
    (folder / "objects.geojson").write_text(json.dumps(document))
    assert make(folder).exit_code == 0
    objects = ("--image", image, "--features", "objects.geojson", "--truth", "kind", "--json")
    found = json.loads(call(folder, "check", "my.dlpk", *objects).stdout)
    assert (found["confusion"], found["accuracy"]) == ([[0, 1], [0, 1]], 0.5)


def test_a_label_that_depends_on_its_batch_is_told(folder: Path) -> None:
    """As those of dynamic quantisation do: cells are divided by the greatest of all chips."""
    nodes = [
        helper.make_node("ReduceMax", ["input"], ["most"], keepdims=1),
        helper.make_node("Div", ["input", "most"], ["shares"]),
        helper.make_node("ReduceMean", ["shares"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["output"]),
    ]
    weights = np.array([[1, 0]] * 3, np.float32) - 0.5
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 2])]
    save_network(folder / "net.onnx", nodes, constants={"weights": weights}, outputs=outputs)
    write_chips(folder)
    assert "depend on the other chips" in make(folder).stderr
    done = call(folder, "check", "my.dlpk", "--chips", "chips")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith("Error: a chip's label depends on the other chips of its batch")


def test_chips_whose_scores_are_not_finite_are_told(folder: Path) -> None:
    save_root_network(folder / "net.onnx")
    write_chips(folder)
    assert make(folder, "--normalization", "10,10,10/1,1,1", "--scale", "1").exit_code == 0
    done = call(folder, "check", "my.dlpk", "--chips", "chips")
    assert done.exit_code == 0
    assert "warning: 3 of 5 chips have no label: what the network gives is not finite" in done.stderr
    assert "right: 50.0% of 2" in done.stdout


def test_a_network_in_training_mode_is_refused(folder: Path) -> None:
    names = ["scale", "bias", "mean", "var"]
    nodes = [
        helper.make_node("BatchNormalization", ["input", *names], ["even", "m", "v"], training_mode=1),
        *band_means(into="means"),
        helper.make_node("MatMul", ["means", "weights"], ["output"]),
    ]
    nodes[1].input[0] = "even"
    constants = {name: np.ones(3, np.float32) for name in names} | {"weights": np.ones((3, 2), np.float32)}
    save_network(folder / "net.onnx", nodes, constants=constants)
    done = make(folder)
    assert (done.exit_code, "exported in training mode" in done.stderr) == (1, True)
    assert not (folder / "my.dlpk").exists()


def test_without_chips_it_is_tried_alone(folder: Path) -> None:
    assert make(folder).exit_code == 0
    done = call(folder, "check", "my.dlpk")
    assert done.stdout.splitlines() == [
        "my: dark, bright",
        "normalisation: none, as the package states",
        "activation: softmax",
    ]
    (folder / "broken.dlpk").write_bytes(b"no zip")
    refused = call(folder, "check", "broken.dlpk")
    assert (refused.exit_code, refused.stderr.count("Error: ")) == (1, 1)


@each_row(
    ("options", "words"),
    [
        (["--features", "my.dlpk"], "--features needs --image"),
        (["--truth", "kind"], "--truth needs --features"),
        (["--picture", "a.png"], "--picture needs chips"),
        (["--chips", "nowhere"], "'nowhere' does not exist"),
    ],
)
def test_wrong_usage_of_a_check(folder: Path, options: list[str], words: str) -> None:
    (folder / "my.dlpk").write_bytes(b"")
    done = call(folder, "check", "my.dlpk", *options)
    assert done.exit_code == 2
    assert words in done.stderr


def test_folders_of_chips_are_named_as_classes(folder: Path) -> None:
    write_chips(folder)
    (folder / "chips" / "grey").mkdir()
    assert make(folder).exit_code == 0
    done = call(folder, "check", "my.dlpk", "--chips", "chips")
    assert done.exit_code == 1
    assert "chips has the folder 'grey': it has a folder with images for each class" in done.stderr
