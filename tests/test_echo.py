"""`echo`: bounded by the configuration, in nobody's way, and not needed."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs_service import Service, make_town, running, until
from processes.jobs.permits import Permits
from service import Client, configure, load_application

ASYNC = {"Prefer": "respond-async"}


def configured(folder: Path, change: Any) -> Client:
    """Return a client of a service whose configuration was changed."""
    configuration = configure(folder, models=[], imagery=[])
    document = yaml.safe_load(configuration.read_text())
    change(document["resources"])
    configuration.write_text(json.dumps(document))
    return Client(load_application(configuration))


def test_a_pause_is_bounded_by_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = configured(tmp_path, lambda resources: resources["echo"]["processor"].update(max_pause_s=2))
    described = client.http.get("/processes/echo").json
    assert described["inputs"]["pause"]["schema"] == {"type": "integer", "minimum": 0, "maximum": 2, "default": 0}
    for headers in ({}, ASYNC):
        response = client.execute("echo", {"echo": "a", "pause": 3}, headers)
        assert (response.status_code, response.json["errors"][0]["pointer"]) == (400, "/inputs/pause")
    start_s = time.monotonic()
    assert client.execute("echo", {"echo": "a", "pause": 1}).json == ["a"]
    assert time.monotonic() - start_s >= 1
    monkeypatch.setattr(client.intake, "_pausing", Permits(1))
    with client.intake.pause_permit("another"):
        response = client.execute("echo", {"echo": "a", "pause": 1})
        assert (response.status_code, response.json["type"]) == (503, "Unavailable")
        assert int(response.headers["Retry-After"]) > 0
        assert client.execute("echo", {"echo": "a"}).status_code == 200


def test_a_service_does_without_echo(tmp_path: Path) -> None:
    client = configured(tmp_path, lambda resources: resources.pop("echo"))
    assert [item["id"] for item in client.http.get("/processes").json["processes"]] == [
        "classify-objects",
        "describe-model",
    ]
    assert client.http.get("/processes/echo").status_code == 404
    assert client.execute("echo", {"echo": "a"}).status_code == 404
    paths = client.http.get("/openapi").json["paths"]
    assert "/processes/classify-objects/execution" in paths
    assert not [path for path in paths if "echo" in path]
    for path in ("/", "/conformance", "/jobs", "/metrics", "/?f=html"):
        assert client.http.get(path).status_code == 200, path


@pytest.mark.jobs
def test_pauses_hold_no_slot_no_place_and_few_threads(tmp_path: Path) -> None:
    limits = {"max_running_jobs": 2}
    with running(Service(make_town(tmp_path / "town"), tmp_path, slots=1, limits=limits, web_workers=1)) as service:
        path, body = "/processes/echo/execution", {"inputs": {"echo": "a", "pause": 60}}
        jobs = [service.request("POST", path, body, ASYNC).json["jobID"] for _ in range(20)]
        ended = threading.Event()

        def pause() -> None:
            assert service.request("POST", path, body, timeout_s=180).status in (200, 503)
            ended.set()

        pausing = [threading.Thread(target=pause) for _ in range(70)]
        for thread in pausing:
            thread.start()
        until(ended.is_set)
        start_s = time.monotonic()
        assert service.wait(service.submit(1))["status"] == "successful"
        assert service.execute(service.inputs(1)).status == 200
        assert time.monotonic() - start_s < 25  # the pauses of all would be an hour
        assert {service.status(job)["status"] for job in jobs} == {"accepted"}
        for thread in pausing:
            thread.join()
        assert service.wait(jobs[0])["status"] == "successful"
