"""The client and a running classify-objects."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import pytest

from ogc_processes import JobDismissed, JobFailed, RequestRefused, Service, WaitTimeout

GPKG = "application/geopackage+sqlite3"


def test_processes_are_listed_and_described(service: Service) -> None:
    assert service.processes["echo"] == "Echo"
    process = service.process("classify-objects")
    assert process.is_async
    assert {"image", "model"} <= process.inputs.keys()
    assert any("ogcapi-processes" in item for item in service.conformance)
    with pytest.raises(RequestRefused) as refused:
        service.process("no/such process")
    assert refused.value.status == 404


def test_local_files_are_uploaded_and_the_result_has_all_forms(
    service: Service, image: Path, layer: Path, tmp_path: Path
) -> None:
    inputs = {"image": image, "features": layer, "model": "quick"}
    process = service.process("classify-objects")
    assert process.validate(inputs)["objects"] == 12
    job = process.execute(inputs, wait=True)
    assert (job.status, job.progress, job.has_ended) == ("successful", 100, True)
    assert job.info["request"]["inputs"]["image"]["href"].startswith("upload:")
    result = job.result()
    assert len(result.json()["features"]) == 12
    assert json.loads(result.read()) == json.loads(result.text()) == result.json()
    frame = result.geodataframe()
    assert len(frame) == 12
    assert {"ClassLabel", "Confidence"} <= set(frame.columns)
    saved = result.save(tmp_path / "labelled.geojson")
    assert json.loads(saved.read_text()) == result.json()
    assert [path.name for path in tmp_path.iterdir()] == ["labelled.geojson"]


def test_a_geodataframe_is_an_input_and_a_geopackage_a_result(
    service: Service, image: Path, layer: Path, tmp_path: Path
) -> None:
    inputs = {"image": image, "features": geopandas.read_file(layer), "model": "quick"}
    wanted = {"classifiedObjects": {"format": {"mediaType": GPKG}}}
    job = service.process("classify-objects").execute(inputs, outputs=wanted, wait=60)
    assert job.result().save(tmp_path / "a.gpkg").read_bytes()[:13] == b"SQLite format"
    assert len(job.result().geodataframe(layer=0)) == 12


def test_outputs_of_a_document_are_decoded_or_linked(service: Service, image: Path, layer: Path) -> None:
    process = service.process("classify-objects")
    inputs = {"image": image, "features": layer, "model": "quick"}
    for way in ("value", "reference"):
        wanted = {"classifiedObjects": {"format": {"mediaType": GPKG}, "transmissionMode": way}}
        job = process.execute(inputs, outputs=wanted, response="document", wait=True)
        output = job.result("classifiedObjects")
        assert output.media_type == GPKG
        assert output.read()[:13] == b"SQLite format"
        with pytest.raises(KeyError, match="classifiedObjects"):
            job.result("other")


def test_a_process_without_jobs_answers_at_once(service: Service) -> None:
    process = service.process("describe-model")
    assert not process.is_async
    job = process.execute({"model": "quick"})
    assert job.status == "successful"
    assert job.wait().result().json()["id"] == "quick"


def test_a_job_is_found_again_and_cancelled(service: Service) -> None:
    job = service.process("echo").execute({"echo": "a", "pause": 60})
    again = service.job(job.id)
    assert again.status in ("accepted", "running")
    with pytest.raises(WaitTimeout, match="goes on"):
        again.wait(0.1)
    with pytest.raises(WaitTimeout, match="wait"):
        again.result()
    assert job.id in [found.id for found in service.jobs(process="echo", limit=20)]
    assert again.cancel().status == "dismissed"
    with pytest.raises(JobDismissed):
        again.wait()


def test_a_wait_of_some_seconds_returns_a_job_that_goes_on(service: Service) -> None:
    job = service.process("echo").execute({"echo": "a", "pause": 60}, wait=0.2)
    assert not job.has_ended
    job.cancel()


def test_faults_of_a_request_have_their_places(service: Service, image: Path) -> None:
    with pytest.raises(RequestRefused, match="/inputs/model") as refused:
        service.process("classify-objects").execute({"image": image, "model": "other", "retries": 99})
    assert refused.value.status == 400
    assert {fault.pointer for fault in refused.value.faults} == {"/inputs/model", "/inputs/retries"}
    assert all(fault.detail for fault in refused.value.faults)


def test_a_job_that_fails_says_why(service: Service, layer: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.tif").write_bytes(b"no image")
    inputs = {"image": tmp_path / "broken.tif", "features": layer, "model": "quick"}
    job = service.process("classify-objects").execute(inputs)
    with pytest.raises(JobFailed, match=r"broken\.tif") as failed:
        job.wait()
    assert failed.value.problem["status"] == 400
    with pytest.raises(JobFailed):
        job.result()


def test_the_bar_shows_how_a_job_goes(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    service.process("echo").execute({"echo": "a"}, wait=True, progress=True)
    assert "echo: 100%" in capsys.readouterr().err
    service.process("echo").execute({"echo": "a"}, wait=True)
    assert capsys.readouterr().err == ""
