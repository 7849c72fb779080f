"""The client and a pygeoapi as it comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ogc_processes import JobFailed, RequestRefused, Service


def test_hello_world_is_executed_with_a_job(pygeoapi: Service) -> None:
    process = pygeoapi.process("hello-world")
    job = process.execute({"name": "Ada"}, wait=True)
    assert job.status == "successful"
    assert job.result().json() == {"id": "echo", "value": "Hello Ada!"}
    again = pygeoapi.job(job.id)
    assert again.result().json()["value"] == "Hello Ada!"
    assert job.id in [found.id for found in pygeoapi.jobs()]
    again.cancel()


def test_a_file_goes_within_the_request_where_there_are_no_uploads(pygeoapi: Service, tmp_path: Path) -> None:
    (tmp_path / "name.json").write_text('"Ada"')
    job = pygeoapi.process("hello-world").execute({"name": tmp_path / "name.json"}, wait=True)
    assert job.result().json()["value"] == "Hello Ada!"


def test_errors_are_told(pygeoapi: Service) -> None:
    with pytest.raises(RequestRefused) as refused:
        pygeoapi.process("nothing")
    assert refused.value.status == 404
    with pytest.raises((JobFailed, RequestRefused)):
        pygeoapi.process("hello-world").execute({}, wait=True)
