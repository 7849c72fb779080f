"""`classify-objects convert` with a stand-in for Keras and PyTorch: what is written, and what is refused."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import processes
from conftest import definition, save_mean_network
from processes.errors import InputError, PackageError
from processes.model.catalog import Catalog
from processes.programs.cli import main
from processes.programs.conversion.environment import find_environment
from processes.programs.conversion.source import read_foreign
from rasters import make_raster
from service import configure
from tables import each_row

MAX_BYTES = 2**24


def prepared(tmp_path: Path) -> Path:
    """Write a configuration and an environment whose Python is the stand-in into a folder, and return it."""
    configure(tmp_path, models=[tmp_path / "models"], imagery=[])
    python = tmp_path / "environment" / "bin" / "python"
    python.parent.mkdir(parents=True)
    network = save_mean_network(tmp_path / "known.onnx")
    script = Path(__file__).with_name("stand_in.py")
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "{network}" "$4"\n')
    python.chmod(0o755)
    return tmp_path


def write_foreign(folder: Path, task: str = "sound", **changes: Any) -> Path:
    """Write a package of Keras with its raster function; `task` is what the stand-in does with it."""
    package = folder / "foreign"
    package.mkdir()
    keys = definition(Activation=None, **{"ModelFile": "net.h5", "Framework": "Keras", "SensorName": "drone"} | changes)
    (package / "foreign.emd").write_text(json.dumps(keys))
    (package / "net.h5").write_text(task)
    (package / "Classifier.py").write_text("raise SystemExit")
    return package


def convert(folder: Path, *options: str | Path, output: str = "made.dlpk") -> Result:
    command = ["--config", folder / "pygeoapi-config.yml", "convert", folder / "foreign", folder / output]
    return CliRunner().invoke(main, [*map(str, (*command, "--environment", folder / "environment", *options))])


def test_converted_package_keeps_what_it_had_and_states_its_proof(tmp_path: Path) -> None:
    folder = prepared(tmp_path)
    write_foreign(folder, MetricsOfTraining=[1.5, None])
    image = make_raster(folder / "image.tif")
    done = convert(folder, "--image", image)
    assert done.exit_code == 0, done.output
    assert "32 random chips: 32 of 32 labels equal (dark" in done.output
    assert "1 objects: 1 of 1 labels equal" in done.output
    assert "note: nothing was left out" in done.output
    with zipfile.ZipFile(folder / "made.dlpk") as archive:
        assert archive.namelist() == ["Classifier.py", "foreign.emd", "net.onnx"]
        keys = json.loads(archive.read("foreign.emd"))
    record = keys.pop("Conversion")
    before = json.loads((folder / "foreign" / "foreign.emd").read_text())
    assert keys == before | {"ModelFile": "net.onnx", "Activation": "softmax"}
    assert (record["Framework"], record["From"]["ModelFile"]) == ("Abacus 1.0", "net.h5")
    assert [(item["count"], item["equal"]) for item in record["Proof"]] == [(32, 32), (1, 1)]
    assert max(item["difference"] for item in record["Proof"]) < 1e-5 < record["Limit"]
    model = Catalog((folder,), folder / "state", MAX_BYTES).model("made")
    assert (model.activation, model.warnings) == ("softmax", ())
    assert not list(folder.glob(".convert-*"))


@each_row(
    ("task", "options", "message"),
    [
        ("another", (), "the converted network is another one than that of the framework; 32 random chips: "),
        ("refuse: its layer is code", (), "Error: its layer is code\n"),
        ("crash", (), "the process of the converter ended without an answer: the library says why"),
        ("hang", ("--time-limit", "1"), "the conversion took longer than 1 s; --time-limit allows more"),
    ],
)
def test_nothing_is_written_where_a_conversion_fails(
    tmp_path: Path, task: str, options: tuple[str, ...], message: str
) -> None:
    folder = prepared(tmp_path)
    write_foreign(folder, task)
    done = convert(folder, *options)
    assert (done.exit_code, done.output.count("Traceback")) == (1, 0)
    assert message in done.output
    assert not list(folder.glob("*.dlpk")) + list(folder.glob(".convert-*"))


def test_output_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    folder = prepared(tmp_path)
    write_foreign(folder, "hang")
    (folder / "there.dlpk").write_bytes(b"of somebody")
    for output, message in (
        ("there.dlpk", "is there already; --overwrite replaces it"),
        ("made.zip", "is to be a package: give it a name that ends in .dlpk"),
        ("nowhere/made.dlpk", "is not there"),
    ):
        done = convert(folder, output=output)
        assert (done.exit_code, message in done.output) == (1, True), done.output
    assert (folder / "there.dlpk").read_bytes() == b"of somebody"
    assert convert(folder, "--features", folder / "there.dlpk").exit_code == 2


def test_environment_is_found_beside_the_program_or_named_in_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setattr(processes, "__file__", str(tmp_path / "checkout" / "processes" / "__init__.py"))
    with pytest.raises(InputError, match="`make convert-env` in the folder of this program makes their environment"):
        find_environment(None)
    for prefix in ("checkout/.venv/convert", "venv/convert"):
        python = tmp_path / prefix / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.touch()
        assert find_environment(None) == python
    with pytest.raises(InputError, match="is no environment of Python"):
        find_environment(tmp_path)


@each_row(
    ("name", "message"),
    [
        ("net.onnx", "its network 'net.onnx' is ONNX already: the package needs no conversion"),
        ("net.pkl", "is a pickle, which runs code when it is opened: it is not opened here"),
        ("net.pb", "its network 'net.pb' cannot be converted; what can: .h5, .hdf5 and .keras of Keras, "),
        ("../net.h5", "points out of the package; put 'net.h5' beside the .emd"),
    ],
)
def test_other_networks_are_refused_by_name(tmp_path: Path, name: str, message: str) -> None:
    package = write_foreign(tmp_path, ModelFile=name)
    (package / "net.h5").rename(package / "of another name")
    if "/" not in name:
        (package / name).write_bytes(b"network")
    with pytest.raises(PackageError) as caught:
        read_foreign(package, tmp_path / "unpacked", MAX_BYTES)
    assert message in caught.value.detail


def test_network_that_the_emd_names_by_a_folder_of_another_machine_is_found_beside_it(tmp_path: Path) -> None:
    package = write_foreign(tmp_path, ModelFile="C:\\DeepLearning\\net.h5")
    found = read_foreign(package, tmp_path / "unpacked", MAX_BYTES)
    assert (found.network, found.kind) == (package / "net.h5", "keras")


def test_torchscript_is_told_from_weights_by_its_content(tmp_path: Path) -> None:
    package = write_foreign(tmp_path, ModelFile="net.pt")
    for members, kind in ((("net/data.pkl",), "weights"), (("net/data.pkl", "net/constants.pkl"), "torchscript")):
        with zipfile.ZipFile(package / "net.pt", "w") as archive:
            for member in members:
                archive.writestr(member, b"")
        assert read_foreign(package, tmp_path / "unpacked", MAX_BYTES).kind == kind
