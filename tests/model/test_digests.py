"""A model's digest is that of all files that its labels depend on, and of no others."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from conftest import definition, save_mean_network
from model_networks import put_weights_beside
from model_oracle import package_digest
from processes.errors import PackageError
from processes.model.catalog import Catalog, Model
from processes.model.check_process import check
from processes.model.graph.weights import weight_files
from processes.model.package import read_package
from service import models_checked_here

FILES = ("beside.emd", "nets/net.onnx", "nets/net.onnx.data")


@pytest.fixture(autouse=True)
def checked_here() -> Iterator[None]:
    with models_checked_here():
        yield


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a package whose network has its weights in another file, in a subfolder."""
    folder = tmp_path / "models" / "beside"
    (folder / "nets").mkdir(parents=True)
    put_weights_beside(save_mean_network(folder / "nets" / "net.onnx", side=None))
    (folder / "beside.emd").write_text(json.dumps(definition(ModelFile=r".\nets\net.onnx")))
    (folder / "README.md").write_text("a card")
    return folder


def replace_weights(package: Path, weights: tuple[float, float] = (1, 0)) -> None:
    (package / "nets" / "net.onnx.data").write_bytes(np.array(weights, np.float32).tobytes())


def catalog(package: Path) -> Catalog:
    return Catalog((package.parent,), package.parents[1] / "state", 2**24)


def model(package: Path) -> Model:
    return catalog(package).model("beside")


def test_digest_is_what_sha256sum_says_of_definition_network_and_weights(package: Path) -> None:
    lines = subprocess.run(["sha256sum", *FILES], cwd=package, capture_output=True, check=True).stdout
    told = subprocess.run(["sha256sum"], input=lines, capture_output=True, check=True).stdout
    assert model(package).sha256 == told.decode().split()[0] == package_digest(package, *FILES)


def test_archive_has_the_digest_of_its_folder(package: Path) -> None:
    of_folder = model(package).sha256
    path = package.with_suffix(".dlpk")
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("README.md", *reversed(FILES)):
            archive.write(package / name, name)
    assert catalog(package).package_paths() == {"beside": path}
    assert model(package).sha256 == of_folder


def test_each_file_that_labels_depend_on_changes_it_and_no_other(package: Path) -> None:
    first = model(package)
    (package / "README.md").write_text("another card")
    (package / "nets" / "old.onnx.data").write_bytes(b"of nobody")
    assert model(package).sha256 == first.sha256
    seen = {first.sha256}
    (package / "beside.emd").write_text(json.dumps(definition(ModelFile=r".\nets\net.onnx", BatchSize=7)))
    seen.add(model(package).sha256)
    before = (package / "nets" / "net.onnx").read_bytes()
    replace_weights(package)
    assert (package / "nets" / "net.onnx").read_bytes() == before
    seen.add(model(package).sha256)
    network = onnx.load(package / "nets" / "net.onnx", load_external_data=False)
    network.doc_string = "another"
    onnx.save(network, package / "nets" / "net.onnx")
    seen.add(model(package).sha256)
    assert len(seen) == 4


def test_weights_of_the_same_size_and_time_change_it(package: Path) -> None:
    data = package / "nets" / "net.onnx.data"
    status = data.stat()
    first = model(package).sha256
    replace_weights(package)
    os.utime(data, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert data.stat().st_size == status.st_size
    assert model(package).sha256 != first


def test_archive_of_the_same_size_and_time_is_read_anew(package: Path) -> None:
    path, digests = package.with_suffix(".dlpk"), []
    for weights in ((0, 1), (1, 0)):
        replace_weights(package, weights)
        with zipfile.ZipFile(path, "w") as archive:
            for name in FILES:
                archive.write(package / name, name)
        os.utime(path, (10**9, 10**9))
        digests.append((path.stat().st_size, model(package).sha256))
    assert digests[0][0] == digests[1][0]
    assert digests[0][1] != digests[1][1]


def test_files_are_read_again_only_when_something_has_changed(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = model(package)
    with monkeypatch.context() as patch:
        patch.setattr("processes.model.digests._sha256", lambda path: pytest.fail(f"{path} was hashed again"))
        assert model(package) == first


def test_weights_that_lie_elsewhere_are_not_read(package: Path, tmp_path: Path) -> None:
    data = package / "nets" / "net.onnx.data"
    data.rename(tmp_path / "secret")
    data.symlink_to(tmp_path / "secret")
    assert weight_files(package / "nets" / "net.onnx") == []
    checked = check(package, tmp_path / "unpacked", 2**24)
    assert "lies outside its folder" in (checked.outcome.problem or "")
    assert checked.sha256 == package_digest(package, *FILES[:2])


def test_network_that_is_none_has_no_weight_files(package: Path, tmp_path: Path) -> None:
    (package / "nets" / "net.onnx").write_bytes(b"no network")
    assert weight_files(package / "nets" / "net.onnx") == []
    assert read_package(package, tmp_path / "unpacked", 2**24).sha256 == package_digest(package, *FILES[:2])


def test_model_that_was_changed_is_no_longer_the_one_of_a_digest(package: Path) -> None:
    models, first = catalog(package), model(package)
    assert models.unchanged_model("beside", first.sha256) == first
    (package / "nets" / "net.onnx.data").write_bytes(b"")  # as while a copy begins
    for path in (None, package):
        with pytest.raises(PackageError, match="the model 'beside' was changed after the request was accepted"):
            models.unchanged_model("beside", first.sha256, path)
    replace_weights(package, (0, 1))
    assert models.unchanged_model("beside", first.sha256) == first
