"""The service as its users and operators have it: processes of its own, on one machine."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import rasterio
from affine import Affine

from jobs_service import SIDE_PX, Service, make_town, running, until
from rasters import make_raster
from service import ROOT, clean_environment

pytestmark = [pytest.mark.jobs, pytest.mark.timed]

COUNT = 3000
"""Objects of a job of several sections."""
KEPT_S = 4
"""A slot is kept for so long for clients that wait for a result, once there was one."""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    town = make_town(tmp_path_factory.mktemp("town"), chip_ms=4)
    torn = town / "imagery" / "torn.tif"
    make_raster(
        torn,
        width=SIDE_PX,
        height=SIDE_PX,
        transform=Affine(1, 0, 500_000, 0, -1, 5_000_000),
        blocksize=256,
        compress="deflate",
    )
    with rasterio.open(torn) as dataset:
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_2_2", "TIFF", bidx=1))
    with torn.open("r+b") as file:  # the last block is damaged, the others are sound
        file.seek(offset)
        file.write(b"this is not deflate")
    return town


@pytest.fixture(scope="module")
def service(town: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(Service(town, tmp_path_factory.mktemp("service"))) as service:
        yield service


def spans(service: Service, job: str) -> list[tuple[float, float, int]]:
    """Return the beginning and the end of each step of a job, and the process that did it."""
    found = []
    for line in service.events(job, "step done"):
        end = datetime.fromisoformat(line.split("timestamp=")[1].split()[0]).timestamp()
        seconds, pid = (re.search(rf" {name}=(\S+)", line) for name in ("seconds", "pid"))
        assert seconds is not None
        assert pid is not None
        if "action=finish" not in line:
            found.append((end - float(seconds[1]), end, int(pid[1])))
    return found


def overlaps(found: list[tuple[float, float, int]]) -> int:
    ordered = sorted(found)
    return sum(after[0] < before[1] - 0.02 for before, after in itertools.pairwise(ordered))


def test_nothing_listens_beyond_the_loopback_address(service: Service) -> None:
    service.execute(service.inputs(1))
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for process in service.processes()
        for connection in process.net_connections("inet")
        if connection.status == "LISTEN"
    }
    assert listening == {("127.0.0.1", service.port)}


def test_progress_never_goes_back_and_is_full_with_the_result(service: Service) -> None:
    time.sleep(KEPT_S + 1)  # both slots are for this job
    job = service.submit(COUNT, "slow")
    seen: list[int] = []
    messages: set[str] = set()
    while (found := service.status(job))["status"] in ("accepted", "running"):
        seen.append(found["progress"])
        messages.add(found["message"])
        reply = service.get(f"/jobs/{job}/results")
        assert reply.status == 404 or service.status(job)["status"] == "successful"  # it may have ended in between
        time.sleep(0.1)
    assert found["status"] == "successful"
    assert service.get(f"/jobs/{job}/results").status == 200
    assert seen == sorted(seen)
    assert len(set(seen)) > 2
    assert max(seen) < 100
    assert any(re.fullmatch(rf"\d+ of {COUNT} objects, about \d+ seconds? left", message) for message in messages)
    assert overlaps(spans(service, job)) > 0


@pytest.mark.parametrize("factor", [1, "0", "50%", "10%"])
def test_a_parallel_factor_of_one_slot_never_has_two_sections_in_flight(service: Service, factor: Any) -> None:
    job = service.submit(COUNT, "slow", parallelProcessingFactor=factor)
    assert service.wait(job)["status"] == "successful"
    assert len(spans(service, job)) > 2
    assert overlaps(spans(service, job)) == 0


@pytest.mark.parametrize("interval", [1, 2])
def test_no_process_does_more_sections_of_a_job_than_its_recycle_interval(service: Service, interval: int) -> None:
    job = service.submit(COUNT, "slow", recycleInterval=interval)
    assert service.wait(job)["status"] == "successful"
    done = Counter(pid for *_, pid in spans(service, job))
    assert sum(done.values()) > 2
    assert max(done.values()) <= interval


@pytest.mark.parametrize("retries", [0, 2])
def test_a_section_that_reports_an_error_has_its_retries_and_one_attempt(
    service: Service, town: Path, retries: int
) -> None:
    image = {"href": (town / "imagery" / "torn.tif").as_uri()}
    given = {"image": image, "retries": retries, "parallelProcessingFactor": 1}
    job = service.submit(COUNT, "slow", **given)
    found = service.wait(job)
    assert found["status"] == "failed"
    assert found["message"] == "image 'torn.tif' cannot be read: it is truncated or broken"
    failed = Counter(re.findall(r" section=(\d+)", "\n".join(service.events(job, "step failed"))))
    ((section, attempts),) = failed.items()
    assert attempts == retries + 1
    assert int(section) > 0  # the first one ended well
    reply = service.get(f"/jobs/{job}/results")
    assert (reply.status, reply.json["errors"][0]["pointer"]) == (400, "/inputs/image")


def test_an_image_that_changes_under_the_job_fails_it(service: Service, town: Path) -> None:
    image = town / "imagery" / "changing.tif"
    image.write_bytes((town / "imagery" / "town.tif").read_bytes())
    job = service.submit(COUNT, "slow", image={"href": image.as_uri()}, retries=1)
    until(lambda: service.status(job)["progress"] > 0)
    image.write_bytes((town / "imagery" / "town.tif").read_bytes() + b" ")
    found = service.wait(job)
    assert (found["status"], found["message"]) == (
        "failed",
        "'changing.tif' was changed after the request was accepted",
    )
    assert service.get(f"/jobs/{job}/results").status == 400


def test_who_waits_comes_before_who_does_not(service: Service) -> None:
    jobs = [service.submit(COUNT, "slow") for _ in range(3)]
    until(lambda: any(service.status(job)["progress"] > 0 for job in jobs))
    start_s = time.monotonic()
    assert service.execute(service.inputs(1)).status == 200
    assert time.monotonic() - start_s < 6  # a section may have to end first
    assert any(service.status(job)["status"] != "successful" for job in jobs)
    for job in jobs:
        service.request("DELETE", f"/jobs/{job}")


def test_operators_list_show_and_dismiss_jobs(service: Service) -> None:
    def jobs(*command: str) -> subprocess.CompletedProcess[str]:
        line = [
            sys.executable,
            "-m",
            "processes.programs.cli",
            "--config",
            str(service.configuration),
            "jobs",
            *command,
        ]
        return subprocess.run(line, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False)

    job = service.submit(5 * COUNT, "slow")
    until(lambda: service.status(job)["progress"] > 0)
    assert jobs().stdout.splitlines()[0].startswith(job)
    assert jobs("list", "--limit", "1").stdout.count("\n") == 1
    assert job in jobs("list", "--status", "running").stdout
    assert job not in jobs("list", "--status", "successful").stdout
    shown = jobs("show", job).stdout
    for words in (
        f"id             {job}",
        f"objects        {5 * COUNT}",
        "client         127.0.0.1",
        "section      0 ",
        "done",
    ):
        assert words in shown
    dismissed = jobs("dismiss", job)
    assert dismissed.stdout == f"{job} dismissed\n"
    assert f"event=dismissal job={job} logger=classify.audit" in dismissed.stderr
    assert service.status(job)["status"] == "dismissed"
    again = jobs("dismiss", job)
    assert "was dismissed before" in again.stdout
    assert "dismissal" not in again.stderr
    for command in ("show", "dismiss"):
        missing = jobs(command, "nothing")
        assert (missing.returncode, missing.stderr) == (1, "Error: there is no job nothing\n")


def test_what_is_queued_for_a_slot_is_dismissed_as_quickly(town: Path, tmp_path: Path) -> None:
    with running(Service(town, tmp_path, slots=1)) as service:
        long = service.submit(2000, "slow")
        until(lambda: service.status(long)["status"] == "running")
        job = service.submit(1)
        until(lambda: service.status(job)["status"] == "running")
        service.request("DELETE", f"/jobs/{job}")
        until(lambda: not (service.state / "results" / job).exists(), 2)
        assert service.status(long)["status"] == "running"


def test_strange_files_among_the_results_are_left_alone(town: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    stray = results / str(uuid.uuid4())
    for folder in (results / "mine", stray):
        folder.mkdir(parents=True)
    (results / "notes.txt").write_text("mine")
    long_ago = time.time() - 7200
    for entry in results.iterdir():
        os.utime(entry, (long_ago, long_ago))
    with running(Service(town, tmp_path, results=str(results))):
        until(lambda: not stray.exists())
        assert {entry.name for entry in results.iterdir()} == {"mine", "notes.txt"}


def test_it_stops_in_time_and_gives_unfinished_work_back(town: Path, tmp_path: Path) -> None:
    service = Service(town, tmp_path)
    with running(service):
        job, waiting = service.submit(COUNT, "slow"), service.submit(COUNT, "slow")
        until(lambda: service.status(job)["progress"] > 0)
        answers: list[Any] = []
        asked = service.inputs(3 * COUNT, "slow")  # more than is done before it has to stop
        asking = threading.Thread(target=lambda: answers.append(service.execute(asked)))
        asking.start()
        until(lambda: len(service.get("/jobs").json["jobs"]) == 3)
        processes = service.processes()
        start_s = time.monotonic()
        service.parts["serve"].send_signal(signal.SIGTERM)
        assert service.parts["serve"].wait(20) == 0
        assert time.monotonic() - start_s < 10
        asking.join(5)
        (answer,) = answers
        assert (answer.status, answer.json["type"]) == (503, "Unavailable")
        # the checker of models ends when it sees that its owner is gone
        until(lambda: not [process for process in processes if process.is_running()], 5)
        assert not list((service.state / "work").iterdir())
        service.start("serve")
        start_s = time.monotonic()
        until(lambda: len(service.events(job, "job claimed")) == 2)
        assert time.monotonic() - start_s < 9  # nobody had to wait for a lease to end
        assert service.wait(job)["status"] == "successful"
        assert service.wait(waiting)["status"] == "successful"


def test_a_part_that_ends_is_started_again(town: Path, tmp_path: Path) -> None:
    with running(Service(town, tmp_path)) as service:
        for kind in ("runner", "web"):
            process = service.kill(kind)
            until(lambda kind=kind, process=process: process not in service.of_kind(kind) and service.of_kind(kind))  # type: ignore[misc]
        assert service.execute(service.inputs(1)).status == 200
        assert service.log().count("part ended") == 2


def test_all_parts_end_with_their_supervisor(town: Path, tmp_path: Path) -> None:
    with running(Service(town, tmp_path)) as service:
        processes = service.processes()
        service.parts["serve"].kill()
        until(lambda: not [process for process in processes[1:] if process.is_running()], 15)
        service.start("serve")
        until(lambda: service.log().count("runner started") == 2)
        assert service.execute(service.inputs(1)).status == 200


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["worker"], "name the scheduler, as tls://host:8786"),
        (["worker", "--scheduler", "tcp://127.0.0.1:1"], "name the scheduler, as tls://host:8786"),
    ],
)
def test_commands_tell_in_one_line_what_is_wrong(service: Service, command: list[str], words: str) -> None:
    line = [sys.executable, "-m", "processes.programs.cli", "--config", str(service.configuration), *command]
    done = subprocess.run(line, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"Error: {words}\n")


def test_an_address_in_use_is_told_in_one_line(service: Service) -> None:
    line = [sys.executable, "-m", "processes.programs.cli", "--config", str(service.configuration), "serve"]
    done = subprocess.run(line, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert "Traceback" not in done.stderr
