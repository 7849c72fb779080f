"""Images on a host and of a service, read by parts by jobs of several sections, whose slots are killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from esri_services import ImageServer
from jobs_service import Service, make_town, running, until
from processes.sources.ranges import PIECE_BYTES
from range_host import RangeHandler, RangeHost, range_host
from told_host import ToldHost, told_host

pytestmark = [pytest.mark.jobs, pytest.mark.timeout(300)]

COUNT = 3000


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_town(tmp_path_factory.mktemp("town"), chip_ms=4)


@pytest.fixture(scope="module")
def host(town: Path) -> Iterator[RangeHost]:
    with range_host(town / "imagery") as running_host:
        yield running_host


@pytest.fixture(scope="module")
def told() -> Iterator[ToldHost]:
    with told_host() as running_host:
        yield running_host


@pytest.fixture(scope="module")
def service(town: Path, host: RangeHost, told: ToldHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    hosts = f"{host.host},{told.authority}"
    with running(Service(town, tmp_path_factory.mktemp("service"), hosts=hosts, slots=2)) as service:
        yield service


@pytest.fixture(scope="module")
def expected(service: Service) -> list[Any]:
    job = service.submit(COUNT, "slow")
    assert service.wait(job)["status"] == "successful"
    return service.labels(job)


def killed_within_a_step(service: Service, image: dict[str, str]) -> str:
    """Return a job one of whose slots was killed within a step; what it had fetched is gone with its end."""
    job = service.submit(COUNT, "slow", image=image)
    near = service.state / "results" / job / "near"
    for _ in range(20):  # between two steps a slot may be killed without anybody's loss
        busy = [slot for slot in service.of_kind("slot") if slot.cpu_percent(0.2) > 15]
        if busy and near.exists():
            busy[0].kill()
            time.sleep(1)
        if service.events(job, "slot ended within a step"):
            break
    else:
        pytest.fail("no slot was killed within a step")
    assert service.wait(job)["status"] == "successful"
    until(lambda: not near.exists(), 5)
    return job


def test_a_slot_that_takes_over_fetches_nothing_again(
    service: Service, host: RangeHost, town: Path, expected: list[Any]
) -> None:
    host.forget()
    job = killed_within_a_step(service, {"href": host.link("town.tif")})
    assert service.labels(job) == expected
    size = (town / "imagery" / "town.tif").stat().st_size
    fetched = sum(end - start for _, start, end in host.ranges)
    assert fetched <= 1.1 * size + 3 * PIECE_BYTES  # the header; blocks that both slots need


def test_a_slot_that_takes_over_asks_a_service_for_no_tile_again(
    service: Service, told: ToldHost, town: Path, expected: list[Any]
) -> None:
    path = "/arcgis/rest/services/Town/ImageServer"
    told.services[path] = ImageServer([town / "imagery" / "town.tif"], pixel_type="S16")
    job = killed_within_a_step(service, {"href": f"{told.url}{path}"})
    assert service.labels(job) == expected
    tiles = [target for target in told.asked if "exportImage" in target]
    assert len(tiles) > 4
    assert len(tiles) <= len(set(tiles)) + 4  # under way then, or needed by both slots
    assert service.get(f"/jobs/{job}/objects/{expected[0][0]}/chip.png").status == 200


def test_an_image_that_is_replaced_fails_the_job(service: Service, host: RangeHost) -> None:
    def replace(_: RangeHandler, start: int, __: int) -> bool:
        if start > 0:
            host.tag = "2"
        return False

    host.fault = replace
    try:
        job = service.submit(COUNT, "slow", image={"href": host.link("town.tif")})
        assert service.wait(job)["status"] == "failed"
    finally:
        host.fault, host.tag = None, "1"
    assert "town.tif was changed after the request was accepted" in service.status(job)["message"]
    reply = service.get(f"/jobs/{job}/results")
    assert (reply.status, [fault["pointer"] for fault in reply.json["errors"]]) == (400, ["/inputs/image"])
