"""The client and a server in Rust: the answers of bbox-processes-server 0.6.1, which has Dagster 1.13 behind it.

They name no URL of a job and no `jobControlOptions`, and describe a process in words of Dagster.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import Answer, Serve
from ogc_processes import RequestRefused, Service

RECORDED: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("bbox.json").read_text())


def recorded(name: str) -> Answer:
    answer = RECORDED[name]
    return answer["status"], {"Content-Type": "application/json"}, json.dumps(answer["document"]).encode()


def test_processes_are_listed(serve: Serve) -> None:
    with Service(serve(recorded("processes")).url) as service:
        assert list(service.processes) == ["fails", "hello", "layer"]


def test_a_job_is_asked_for_where_a_description_does_not_say(serve: Serve) -> None:
    names = ("process", "execution", "running", "successful", "results")
    server = serve(*(recorded(name) for name in names))
    with Service(server.url) as service:
        process = service.process("hello")
        assert not process.is_async
        job = process.execute({"ops": {}}, wait=True)
        assert job.process_id == "hello"
        assert job.result("result").json() == {"greeting": "Hello Ada"}
    method, path, headers = server.asked[1]
    assert (method, path, headers["prefer"]) == ("POST", "/api/processes/hello/execution", "respond-async")
    assert {path for _, path, _ in server.asked[2:]} == {f"/api/jobs/{job.id}", f"/api/jobs/{job.id}/results"}


def test_an_error_that_has_a_type_alone_is_told(serve: Serve) -> None:
    with (
        Service(serve(recorded("noSuchJob")).url) as service,
        pytest.raises(RequestRefused, match="no-such-job"),
    ):
        service.job("nothing")
