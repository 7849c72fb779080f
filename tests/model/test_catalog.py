"""The catalog of a web server waits for no check; others check at once. What was found is recorded for all."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
import zipfile
from functools import partial
from pathlib import Path

import msgspec
import psutil
import pytest

from conftest import MakePackage
from jobs_service import is_alive, until
from processes.errors import InputError, PackageError, UnavailableError
from processes.model.catalog import Catalog
from processes.model.check import CheckedPackage, CheckOutcome, check_package
from processes.model.package import package_id
from processes.model.records import CheckRecord, read_record, write_record
from processes.model.stamps import stamp_package
from service import models_checked_here

MAX_BYTES = 2**24


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Return a list of the calls that wake the checker, which does not come."""
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr("processes.model.catalog.wake_checker", lambda *given: calls.append(given))
    return calls


def catalogs(folder: Path) -> tuple[Catalog, Catalog]:
    """Return the catalog of a command, and that of a web server."""
    given = ((folder / "models",), folder / "state", MAX_BYTES, 60)
    return Catalog(*given), Catalog(*given, waits=False)


def test_web_server_learns_from_records_and_waits_for_nothing(
    tmp_path: Path, make_package: MakePackage, woken: list[tuple[object, ...]]
) -> None:
    folder, (command, web) = make_package("good"), catalogs(tmp_path)
    assert (web.usable_ids(), web.check_packages(), len(woken)) == ([], [], 2)
    with pytest.raises(UnavailableError, match="the model 'good' is being checked; try again"):
        web.model("good")
    with models_checked_here():
        assert command.usable_ids() == ["good"]
    woken.clear()
    assert web.usable_ids() == ["good"]
    assert web.model("good") == command.model("good")
    assert woken == []
    os.utime(folder / "net.onnx")
    assert web.usable_ids() == []
    with pytest.raises(UnavailableError):
        web.model("good")
    with pytest.raises(InputError, match=r"no model 'nonesuch'; installed are: none$"):
        web.model("nonesuch")
    assert len(woken) == 3


def test_check_without_conclusion_keeps_its_outcome_while_it_is_repeated(
    tmp_path: Path, make_package: MakePackage, woken: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, (_, web) = make_package("odd"), catalogs(tmp_path)
    stamp, start_s = stamp_package(path), time.time()
    assert stamp is not None
    checked = CheckedPackage(CheckOutcome("it hangs", conclusive=False), str(path), "net.onnx", "0" * 64)
    for tries, pause_s in enumerate((60, 120, 240, 480), start=1):
        assert write_record(web.state, path, stamp, checked)
        record = read_record(web.state, path)
        assert record is not None
        assert record.tries == tries
        for passed_s, is_due in ((0, False), (pause_s - 5, False), (pause_s + 5, True), (-3600, True)):
            with monkeypatch.context() as patch:
                patch.setattr(time, "time", partial(float, start_s + passed_s + 3))
                assert record.is_due() is is_due, (tries, passed_s)
                woken.clear()
                with pytest.raises(PackageError, match="'odd' cannot be used: it hangs"):
                    web.model("odd")
                assert len(woken) == is_due
    record = CheckRecord(stamp.digest, checked, 0, start_s)
    assert msgspec.structs.replace(record, tries=10_000, time_s=time.time() - 6 * 3600 - 5).is_due()
    assert not msgspec.structs.replace(record, tries=10_000, time_s=time.time() - 6 * 3600 + 60).is_due()


def zipped(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)


def test_job_finds_the_version_of_a_package_that_it_was_accepted_with(
    tmp_path: Path, make_package: MakePackage, woken: list[tuple[object, ...]]
) -> None:
    command, web = catalogs(tmp_path)
    (tmp_path / "models").mkdir()
    path = tmp_path / "models" / "zipped.dlpk"
    versions = []
    for number in range(3):
        made = make_package(f"v{number}", tmp_path / "made", ImageWidth=8 + number)
        network = (made / "net.onnx").read_bytes()
        (made / "net.onnx").write_bytes(network + b"\x32" + bytes([number + 1]) + b"x" * (number + 1))  # its doc_string
        zipped(made, path)
        os.utime(path, (10**9 + number, 10**9 + number))
        with models_checked_here():
            versions.append(command.model("zipped"))
    assert len({version.sha256 for version in versions}) == 3
    assert web.model("zipped", versions[2].sha256) == web.model("zipped") == versions[2]
    assert web.model("zipped", versions[1].sha256) == versions[1]
    assert web.model("zipped", versions[0].sha256) == versions[2]  # it is gone
    path.write_bytes(b"half")
    assert web.model("zipped", versions[2].sha256) == versions[2]
    with pytest.raises(UnavailableError):
        web.model("zipped")
    path.unlink()
    assert web.model("zipped", versions[2].sha256) == versions[2]
    with pytest.raises(InputError):
        web.model("zipped")


def test_checker_comes_when_it_is_woken_and_ends_with_its_owner(tmp_path: Path, make_package: MakePackage) -> None:
    path, (_, web) = make_package("good"), catalogs(tmp_path)
    os.utime(path / "net.onnx", (10**9, 10**9))
    os.utime(path / "good.emd", (10**9, 10**9))  # nobody is still writing it
    deadline_s = time.monotonic() + 60
    while not (usable := web.usable_ids()) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert usable == ["good"]
    (checker,) = [child for child in psutil.Process().children() if str(web.state) in child.cmdline()]
    (tmp_path / "state").rename(tmp_path / "gone")  # as good as an owner that has ended
    assert checker.wait(30) in (0, None)


@pytest.mark.parametrize("script", ["{0} & {0} & exit 3", "{0} & kill -9 $$", "{0} & {0}"])
def test_check_leaves_no_process_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program, command = tmp_path / "python", ["sleep", f"600.{uuid.uuid4().int % 10**9}"]  # no other test's
    program.write_text(f"#!/bin/sh\n{script.format(' '.join(command))}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    checked = check_package(tmp_path, tmp_path / "unpacked", MAX_BYTES, 0.2)
    assert not checked.outcome.conclusive
    left = [item for item in psutil.process_iter(["cmdline"]) if item.info["cmdline"] == command]
    until(lambda: not any(map(is_alive, left)), 5)  # they have been killed, and need not be gone yet


def test_record_of_another_version_is_no_record(tmp_path: Path, make_package: MakePackage) -> None:
    path, (command, web) = make_package("good"), catalogs(tmp_path)
    with models_checked_here():
        command.usable_ids()
    (file,) = (tmp_path / "state" / "checks").glob("*.json")
    for content in (b"{ torn", b"{}", json.dumps(json.loads(file.read_bytes()) | {"version": 1}).encode()):
        file.write_bytes(content)
        assert web.record(path) is None
    assert package_id(path) == "good"
    assert CheckRecord("", CheckedPackage(CheckOutcome()), 0, 0.0).holds(None) is False
