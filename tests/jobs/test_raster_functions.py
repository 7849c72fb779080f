"""Raster functions in whole jobs: sections, pauses, and that nothing of them is left however a job ends."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobs_service import Service, make_town, running, until
from processes.model.package_digest import package_digest
from raster_functions import save_function

pytestmark = pytest.mark.jobs

MEAN = '{"name": "Mean", "type": "esriFieldTypeDouble"}, {"name": "Words", "type": "esriFieldTypeString"}'
SLOWLY = "row['Mean'] = mean\nrow['Words'] = f'mean {mean:.3f}'\nif chip.dtype != np.uint8: time.sleep(0.03)"
ON_REAL_CHIPS = (
    "if pixels[0].dtype != np.uint8:\n    os.popen('setsid sleep 4321 > /dev/null & sleep 4321')\n    time.sleep(4000)"
)
LIMIT_S = 6


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    town = make_town(tmp_path_factory.mktemp("town"), chip_ms=0.002)
    models = town / "models"
    packages = [
        save_function(models / "slowly", SLOWLY, fields=MEAN),
        save_function(models / "hangs", end=ON_REAL_CHIPS),
        save_function(models / "hangs-at-once", end="while True: time.sleep(1)"),
    ]
    started = Service(
        town,
        tmp_path_factory.mktemp("functions"),
        limits={"section_timeout_s": LIMIT_S, "check_timeout_s": 5},
        trusted=[package_digest(package) for package in packages],
        raster_function_python=sys.executable,
    )
    with running(started):
        until(lambda: {"slowly", "hangs"} <= usable(started), 60)
        yield started


def usable(service: Service) -> set[str]:
    return set(service.get("/processes/classify-objects").json["inputs"]["model"]["schema"]["enum"])


def hanging() -> list[psutil.Process]:
    """Return the processes that functions have started, and those that run functions of this service."""
    return [item for item in psutil.process_iter(["cmdline"]) if item.info["cmdline"] == ["sleep", "4321"]]


def rows(service: Service, job: str) -> list[dict[str, Any]]:
    assert service.wait(job)["status"] == "successful", service.status(job)
    return [item["properties"] for item in service.get(f"/jobs/{job}/results").json["features"]]


def test_fields_come_through_sections_and_pauses(service: Service) -> None:
    """A section of 4 s at the speed of the first one is paused where it takes longer than a step."""
    expected = rows(service, service.submit(900, "quick"))
    found = rows(service, service.submit(900, "slowly", parallelProcessingFactor="2"))
    assert [row["n"] for row in found] == [row["n"] for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert (row["Mean"] > 0) == (other["ClassLabel"] == "bright")
        assert abs(1 / (1 + math.exp(-abs(row["Mean"]))) - other["Confidence"]) < 1e-5
        assert row["Words"] == f"mean {row['Mean']:.3f}"


def test_nothing_is_left_of_a_function_of_a_dismissed_job(service: Service) -> None:
    job = service.submit(5, "hangs")
    until(lambda: len(hanging()) == 2)
    assert service.request("DELETE", f"/jobs/{job}").status == 200
    until(lambda: not hanging())


def test_nothing_is_left_of_a_function_of_a_slot_that_was_killed(service: Service) -> None:
    job = service.submit(5, "hangs")
    until(lambda: len(hanging()) == 2)
    first = hanging()
    slots = service.of_kind("slot")
    for slot in slots:
        slot.kill()
    assert psutil.wait_procs(first, 20)[1] == []
    until(lambda: len(hanging()) == 2)  # the section runs again
    service.request("DELETE", f"/jobs/{job}")
    until(lambda: not hanging())


def test_a_function_that_hangs_fails_the_job_with_the_name_of_the_limit(service: Service) -> None:
    job = service.submit(5, "hangs")
    assert service.wait(job)["status"] == "failed"
    assert f"section_timeout_s = {LIMIT_S}" in service.get(f"/jobs/{job}/results").json["detail"]
    until(lambda: not hanging())


def test_a_function_that_hangs_in_its_check_is_a_broken_model(service: Service) -> None:
    until(lambda: service.execute(service.inputs(1, "hangs-at-once")).status == 400, 60)
    detail = service.execute(service.inputs(1, "hangs-at-once")).json["detail"]
    assert "a trial run of the raster function took longer than the limit check_timeout_s = 5 allows" in detail
    assert rows(service, service.submit(5, "quick"))


def test_functions_end_with_the_service(service: Service) -> None:
    service.submit(5, "hangs")
    until(lambda: len(hanging()) == 2)
    service.end()
    until(lambda: not hanging())
    assert not [item for item in psutil.process_iter(["cmdline"]) if _is_host(item, service.state)]


def _is_host(process: psutil.Process, state: Path) -> bool:
    return any(str(state) in part for part in process.info["cmdline"] or ())
