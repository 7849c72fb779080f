"""New packages are checked while the service runs, by one process, and hold up nobody who does not ask for them."""

from __future__ import annotations

import json
import os
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from conftest import definition, save_mean_network
from jobs_service import Reply, Service, make_town, running, until
from model_networks import THREE, endless

pytestmark = [pytest.mark.jobs, pytest.mark.timeout(900)]

SOON_S = 120
"""More than a checker needs for some sound packages on a busy machine, and less than `LONG_S`."""
LONG_S = 600
"""How long a network that hangs may be tried where a test is not to see its end."""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_town(tmp_path_factory.mktemp("town"), chip_ms=0.2)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return an empty folder for packages beside the town's."""
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def serve(town: Path, models: Path, parts: Any = (("serve",),), **limits: int) -> Service:
    folders = f"{town / 'models'}:{models}"
    return Service(town, models.parent, parts, limits={"check_timeout_s": LONG_S} | limits, models=folders)


@pytest.fixture(scope="module")
def shared(town: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Path]]:
    """Give a service that several tests use, and its folder for packages."""
    folder = tmp_path_factory.mktemp("shared") / "models"
    folder.mkdir()
    with running(serve(town, folder)) as started:
        until(lambda: {"quick", "slow"} <= set(listed(started)), SOON_S)  # the checks that tests see are their own
        yield started, folder


@pytest.fixture
def service(shared: tuple[Service, Path]) -> Service:
    return shared[0]


@pytest.fixture
def added(shared: tuple[Service, Path]) -> Iterator[Path]:
    """Give the folder of the shared service's packages, which is emptied at the end."""
    yield shared[1]
    for path in shared[1].iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    until(lambda: not shared[0].of_kind("check"), SOON_S)


def hanging(folder: Path) -> Path:
    """Write a package whose network never comes to an end."""
    folder.mkdir(parents=True)
    endless(folder / "net.onnx")
    (folder / "model.emd").write_text(json.dumps(definition(Classes=THREE, Normalization="none")))
    return folder


def sound(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True)
    save_mean_network(folder / "net.onnx", 3, None)
    (folder / "model.emd").write_bytes(msgspec.json.encode(definition(Normalization="none", **changes)))
    return folder


def zipped(folder: Path) -> bytes:
    """Return a package folder as a .dlpk."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    shutil.rmtree(folder)
    return path.read_bytes()


def listed(service: Service) -> list[str]:
    return list(service.get("/processes/classify-objects").json["inputs"]["model"]["schema"].get("enum", []))


def describe(service: Service, model: str) -> Reply:
    return service.request("POST", "/processes/describe-model/execution", {"inputs": {"model": model}})


def is_checked(service: Service, model: str) -> bool:
    return describe(service, model).status != 503


def checks(service: Service, model: str) -> int:
    return service.log().count(f'event="model {model} checked: ')


def test_packages_that_hang_hold_up_nobody_but_who_asks_for_them(town: Path, models: Path) -> None:
    for number in range(3):
        hanging(models / f"a-{number}")
    with running(serve(town, models)) as service:
        start_s = time.monotonic()
        until(lambda: service.execute(service.inputs(1)).status == 200, 2 * SOON_S)  # after a turn of each at most
        assert "quick" in listed(service)
        for path in ("/processes", "/processes/classify-objects", "/processes/describe-model", "/openapi", "/jobs"):
            asked_s = time.monotonic()
            assert service.get(path).status == 200
            assert time.monotonic() - asked_s < SOON_S
        body = {"inputs": service.inputs(1, "a-0")}
        for action in ("execution", "validate"):
            for prefer in ({}, {"Prefer": "respond-async"}):
                reply = service.request("POST", f"/processes/classify-objects/{action}", body, prefer)
                assert (reply.status, reply.json["type"]) == (503, "Unavailable"), reply.body
                assert reply.json["errors"][0]["pointer"] == "/inputs/model"
                assert "'a-0' is being checked" in reply.json["detail"]
                assert int(reply.headers["retry-after"]) > 0
        reply = describe(service, "a-1")
        assert (reply.status, int(reply.headers["retry-after"]) > 0) == (503, True)
        assert service.get("/jobs").json["jobs"] != []  # of what was executed, and none of what was refused
        assert all(job["status"] == "successful" for job in service.get("/jobs").json["jobs"])
        until(lambda: service.of_kind("check"), SOON_S)
        assert len(service.of_kind("check")) == 1
        sound(models / "late")
        until(lambda: is_checked(service, "late"), SOON_S)  # though all the others are not
        assert "late" in listed(service)
        assert time.monotonic() - start_s < LONG_S


def test_check_over_its_limit_names_it_and_is_not_repeated_at_once(town: Path, models: Path) -> None:
    hanging(models / "hang")
    with running(serve(town, models, check_timeout_s=15)) as service:
        until(lambda: is_checked(service, "hang"), 3 * SOON_S)
        reply = service.execute(service.inputs(1, "hang"))
        assert reply.status == 400
        assert "took longer than the limit check_timeout_s = 15 allows" in reply.json["detail"]
        until(lambda: is_checked(service, "slow"), SOON_S)
        until(lambda: not service.of_kind("check"))
        assert checks(service, "hang") == 1
        (record,) = [
            record
            for path in (service.state / "checks").glob("*.json")
            if not (record := json.loads(path.read_text()))["checked"]["outcome"].get("conclusive", True)
        ]
        assert record["tries"] == 1


def test_package_appears_is_copied_slowly_replaced_broken_and_removed(service: Service, added: Path) -> None:
    data, path = zipped(sound(added.parent / "made")), added / "copied.dlpk"
    half = len(data) // 2
    with path.open("wb", buffering=0) as file:
        for start in range(half):
            file.write(data[start : start + 1])
            time.sleep(2 / half)  # the copy itself takes so long
        while service.get("/conformance").status != 200 or describe(service, "copied").status == 200:
            time.sleep(0.1)
        file.write(data[half:])
    until(lambda: describe(service, "copied").status == 200, SOON_S)
    first = describe(service, "copied").json
    job = service.submit(1, "copied")
    assert service.wait(job)["status"] == "successful"

    made = sound(added.parent / "made", Classes=[{"Value": value, "Name": f"new {value}"} for value in (1, 2)])
    path.write_bytes(zipped(made))
    until(lambda: describe(service, "copied").status == 200, SOON_S)
    assert describe(service, "copied").json["classes"][0]["Name"] == "new 1" != first["classes"][0]["Name"]

    path.write_bytes(data[:half])
    until(lambda: describe(service, "copied").status == 400, SOON_S)
    assert "not a sound zip archive" in describe(service, "copied").json["detail"]

    hanging(added / "hang")
    until(lambda: service.of_kind("check"), SOON_S)
    shutil.rmtree(added / "hang")
    path.unlink()
    until(lambda: not service.of_kind("check"), SOON_S)
    for model in ("hang", "copied"):
        reply = describe(service, model)
        assert (reply.status, f"there is no model '{model}'" in reply.json["detail"]) == (400, True)
    sound(added / "later")
    until(lambda: describe(service, "later").status == 200, SOON_S)


def test_check_that_is_killed_leaves_nothing_and_is_repeated_later(service: Service, added: Path) -> None:
    hanging(added / "killed")
    until(lambda: service.of_kind("check"), SOON_S)
    service.kill("check")
    until(lambda: describe(service, "killed").status == 400, SOON_S)
    assert "ended the process that tried it" in describe(service, "killed").json["detail"]
    sound(added / "good")
    until(lambda: describe(service, "good").status == 200, SOON_S)
    assert (checks(service, "killed"), service.of_kind("check")) == (1, [])


def test_checker_that_is_killed_is_replaced_when_somebody_asks(service: Service, added: Path) -> None:
    hanging(added / "hang")
    until(lambda: service.of_kind("check"), SOON_S)
    (check,) = service.of_kind("check")
    service.kill("checker")
    until(lambda: not check.is_running() or check.status() == psutil.STATUS_ZOMBIE)
    sound(added / "good")
    until(lambda: describe(service, "good").status == 200, SOON_S)
    assert len(service.of_kind("checker")) == 1


def test_two_web_servers_with_one_state_folder_check_a_package_once(town: Path, models: Path) -> None:
    with running(serve(town, models, [["web"], ["runner"]])) as service:
        (models.parent / "other").mkdir()
        other = Service(town, models.parent / "other", [])  # not started: an address, and words to ask there
        service.start("web", "--address", f"127.0.0.1:{other.port}", name="web-2")
        until(lambda: _answers(other), SOON_S)
        names = [f"model-{number}" for number in range(3)]
        for name in names:
            sound(models / name)
        until(lambda: all(is_checked(asked, name) for asked in (service, other) for name in names), SOON_S)
        assert listed(other) == listed(service)
        assert set(listed(service)) >= set(names)
        assert [checks(service, name) for name in names] == [1, 1, 1]
        assert len(service.of_kind("checker")) == 1
        service.stop()
        until(lambda: not service.of_kind("checker"))


def _answers(service: Service) -> bool:
    try:
        return service.get("/conformance").status == 200
    except OSError:
        return False


def test_job_goes_on_with_the_package_that_it_was_accepted_with(service: Service, town: Path, added: Path) -> None:
    shutil.copytree(town / "models" / "slow", added.parent / "made")
    data, path = zipped(added.parent / "made"), added / "work.dlpk"
    path.write_bytes(data)
    until(lambda: describe(service, "work").status == 200, SOON_S)
    former = describe(service, "work").json["sha256"]
    job, waiting = (service.submit(40_000, "work") for _ in range(2))
    until(lambda: service.status(job)["progress"] > 0, SOON_S)
    path.write_bytes(zipped(hanging(added.parent / "made")))
    os.utime(path)
    assert describe(service, "work").status == 503
    path.unlink()
    assert describe(service, "work").status == 400
    for item in (job, waiting):
        found = service.wait(item)
        assert found["status"] == "successful", found
        assert found["summary"]["model"]["sha256"] == former
