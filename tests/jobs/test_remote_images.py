"""Images on a host that are read by parts, by jobs of several sections, whose slots are killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs_service import Service, make_town, running, until
from processes.sources.ranges import PIECE_BYTES
from range_host import RangeHandler, RangeHost, range_host

pytestmark = [pytest.mark.jobs, pytest.mark.timeout(300)]

COUNT = 3000


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_town(tmp_path_factory.mktemp("town"), repeats=2000)


@pytest.fixture(scope="module")
def host(town: Path) -> Iterator[RangeHost]:
    with range_host(town / "imagery") as running_host:
        yield running_host


@pytest.fixture(scope="module")
def service(town: Path, host: RangeHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(Service(town, tmp_path_factory.mktemp("service"), hosts=host.host, slots=1)) as service:
        yield service


def test_a_slot_that_takes_over_fetches_nothing_again(service: Service, host: RangeHost, town: Path) -> None:
    expected = service.submit(COUNT, "slow")
    assert service.wait(expected)["status"] == "successful"
    host.forget()
    job = service.submit(COUNT, "slow", image={"href": host.link("town.tif")})
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
    assert service.labels(job) == service.labels(expected)
    size = (town / "imagery" / "town.tif").stat().st_size
    fetched = sum(end - start for _, start, end in host.ranges)
    assert fetched <= size + 3 * PIECE_BYTES  # the header, with cells in it, and what of it lies elsewhere
    until(lambda: not near.exists(), 5)


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
