"""The check of packages with raster functions: who is trusted, what is run, and what is copied."""

from __future__ import annotations

import logging
import shutil
import zipfile
from pathlib import Path

import msgspec
import pytest

from conftest import MakePackage
from processes.describe_model import model_info
from processes.errors import PackageError
from processes.model.catalog import Catalog
from processes.model.check import CheckedPackage, check_package
from processes.model.check_process import check
from processes.model.package_digest import package_digest
from processes.model.raster_functions import FunctionSettings, RasterFunction
from raster_functions import save_function, trusting
from service import models_checked_here

MAX_BYTES = 2**24


def checked(tmp_path: Path, package: Path, settings: FunctionSettings) -> CheckedPackage:
    return check(package, tmp_path / "state" / "packages", MAX_BYTES, settings)


def function_of(found: CheckedPackage) -> RasterFunction:
    assert found.outcome.problem is None, found.outcome.problem
    assert found.function is not None
    return found.function


def catalog(tmp_path: Path, functions: FunctionSettings) -> Catalog:
    return Catalog((tmp_path / "models",), tmp_path / "state", MAX_BYTES, functions=functions)


def test_a_trusted_package_is_copied_and_its_digest_is_that_of_all_its_files(tmp_path: Path) -> None:
    package = save_function(tmp_path / "models" / "a")
    (package / "deep").mkdir()
    (package / "deep" / "helper.py").touch()
    found = checked(tmp_path, package, trusting(tmp_path, package))
    assert function_of(found).is_trusted
    assert found.sha256 == package_digest(package) == package_digest(Path(found.folder))
    assert Path(found.folder).is_relative_to(tmp_path / "state")
    assert found.is_sound()


def test_a_dlpk_is_trusted_by_the_digest_of_its_contents(tmp_path: Path) -> None:
    package = save_function(tmp_path / "unpacked" / "a")
    archive = tmp_path / "models" / "a.dlpk"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as packed:
        for file in package.iterdir():
            packed.write(file, file.name)
    found = checked(tmp_path, archive, trusting(tmp_path, package))
    assert function_of(found).is_trusted
    assert found.sha256 == package_digest(package)


def test_models_follow_the_decision_of_the_operator(tmp_path: Path, make_package: MakePackage) -> None:
    package = make_package(InferenceFunction="Function.py")
    plain = save_function(tmp_path / "plain", "row['Label'] = 'bright'")
    shutil.copy(plain / "Function.py", package)
    trusted, untrusted = trusting(tmp_path, package), trusting(tmp_path)
    with models_checked_here():
        network = catalog(tmp_path, untrusted).model("brightness")
        function = catalog(tmp_path, trusted).model("brightness")
        again = catalog(tmp_path, untrusted).model("brightness")
    assert (network.own_function, again.own_function) == (None, None)
    assert function.own_function is not None
    assert network.sha256 == again.sha256 != function.sha256 == package_digest(package)
    told = [model_info(model)["rasterFunction"] for model in (network, function)]
    assert [item["trusted"] for item in told] == [False, True]
    assert "toRunIt" not in told[1]
    with models_checked_here(), pytest.raises(PackageError, match="names no program"):
        catalog(tmp_path, msgspec.structs.replace(trusted, python="/none")).model("brightness")


def test_a_version_whose_trust_was_withdrawn_is_not_run(tmp_path: Path, make_package: MakePackage) -> None:
    package = make_package(InferenceFunction="Function.py")
    shutil.copy(save_function(tmp_path / "plain") / "Function.py", package)
    with models_checked_here():
        before = catalog(tmp_path, trusting(tmp_path, package)).model("brightness")
        after = catalog(tmp_path, trusting(tmp_path)).model("brightness", before.sha256)
    assert before.own_function is not None
    assert after.own_function is None
    assert after.sha256 != before.sha256


def test_a_changed_package_is_not_trusted_any_more(tmp_path: Path) -> None:
    package = save_function(tmp_path / "models" / "a")
    trusted = trusting(tmp_path, package)
    with models_checked_here():
        assert catalog(tmp_path, trusted).model("a").own_function is not None
        (package / "numpy.py").write_text("raise SystemExit")
        with pytest.raises(PackageError, match="is not run: add"):
            catalog(tmp_path, trusted).model("a")


def test_a_function_that_needs_an_argument_is_not_tried_on_chips(tmp_path: Path) -> None:
    needed = '{"name": "key", "dataType": "string", "required": True}'
    fields = '{"name": "Reason", "type": "esriFieldTypeString"}'
    end = "1 / 0" + " if not self.scalars['key'] else None"
    package = save_function(tmp_path / "models" / "a", end=end, parameters=needed, fields=fields)
    function = function_of(checked(tmp_path, package, trusting(tmp_path, package)))
    assert [(item.name, item.required) for item in function.arguments] == [("key", True)]
    assert [item.name for item in function.fields] == ["Reason"]


def test_what_a_function_needs_of_the_machine_is_no_conclusion(tmp_path: Path) -> None:
    package = save_function(tmp_path / "models" / "a", "import no_such_package")
    outcome = checked(tmp_path, package, trusting(tmp_path, package)).outcome
    assert outcome.problem is not None
    assert "it needs the package no_such_package" in outcome.problem
    assert not outcome.conclusive  # the operator may install it


@pytest.mark.parametrize(
    ("body", "problem"), [("row['Mean'] = 1 / (mean > 1e9)", "failed in vectorize"), ("time.sleep(60)", "took longer")]
)
def test_the_log_of_the_owner_says_where_a_trial_failed(
    body: str, problem: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    package = save_function(tmp_path / "models" / "a", f"print('a chip')\n{body}")
    with caplog.at_level(logging.INFO, "processes"):
        trusted = trusting(tmp_path, package)
        found = check_package(package, tmp_path / "state" / "packages", MAX_BYTES, 4, trusted)
    assert found.outcome.problem is not None
    assert problem in found.outcome.problem
    told = [record.getMessage() for record in caplog.records]
    assert "raster function of a: a chip" in told
    is_traced = any("Function.py" in line and "in vectorize" in line for line in told)
    assert is_traced is ("failed" in problem)


def test_a_package_with_links_cannot_be_trusted(tmp_path: Path) -> None:
    package = save_function(tmp_path / "models" / "a")
    (tmp_path / "helper.py").touch()
    (package / "helper.py").symlink_to(tmp_path / "helper.py")
    found = checked(tmp_path, package, trusting(tmp_path))
    assert found.function is not None
    assert found.function.sha256 is None
    assert "helper.py" in str(found.outcome.problem)


def test_a_function_of_arcgis_itself_is_not_one_of_the_package(tmp_path: Path, make_package: MakePackage) -> None:
    package = make_package(InferenceFunction="[Functions]System\\DeepLearning\\ArcGISLearn\\ArcGISObjectClassifier.py")
    (package / "ArcGISObjectClassifier.py").write_text("raise SystemExit")
    found = checked(tmp_path, package, trusting(tmp_path, package))
    assert (found.function, found.outcome.problem) == (None, None)
