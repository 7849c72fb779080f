"""Jobs over HTTP: how they are asked for, told of, listed, dismissed, and how their results are had."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from conftest import definition, save_mean_network
from ogc_schemas import require_ogc
from processes.jobs import tables
from processes.jobs.permits import Permits
from processes.jobs.runner_store import RunnerStore
from rasters import box_around, make_raster, to_map
from service import Client, configure, link, load_application
from slow_network import save_slow_network

OGC = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
ASYNC = {"Prefer": "respond-async"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    for name in ("models/brightness", "models/slow", "imagery"):
        (home / name).mkdir(parents=True)
    save_mean_network(home / "models" / "brightness" / "net.onnx", 3, None)
    save_slow_network(home / "models" / "slow" / "net.onnx", chip_ms=50)
    for name in ("brightness", "slow"):
        (home / "models" / name / "m.emd").write_bytes(msgspec.json.encode(definition()))
    make_raster(home / "imagery" / "a.tif")
    make_raster(home / "imagery" / "plain.png", crs=None, driver="PNG")
    (home / "imagery" / "broken.tif").write_bytes(b"no image")
    (home / "imagery" / "torn.tif").write_bytes((home / "imagery" / "a.tif").read_bytes()[:300])
    return home


@pytest.fixture(scope="module")
def client(home: Path) -> Client:
    limits = {"sync_max_objects": 50}
    settings = configure(home, models=[home / "models"], imagery=[home / "imagery"], limits=limits)
    document = yaml.safe_load(settings.read_text())
    for process in document["resources"].values():
        process["processor"]["hosts"] = "127.0.0.1"
    settings.write_text(yaml.safe_dump(document))
    return Client(load_application(settings))


def features(count: int = 1) -> dict[str, Any]:
    polygon: Any = to_map(box_around(30, 20, 8, 8))
    geometry = {"type": "Polygon", "coordinates": [[list(xy) for xy in polygon.exterior.coords]]}
    items = [{"type": "Feature", "id": n, "properties": {"n": n}, "geometry": geometry} for n in range(count)]
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    return {"type": "FeatureCollection", "crs": crs, "features": items}


@pytest.fixture
def inputs(home: Path) -> dict[str, Any]:
    return {"image": link(home / "imagery" / "a.tif"), "features": features(), "model": "brightness"}


def submit(client: Client, inputs: Any, process: str = "classify-objects", **members: Any) -> str:
    response = client.execute(process, inputs, ASYNC, **members)
    assert response.status_code == 201, response.text
    return str(response.json["jobID"])


def ended(client: Client, job: str) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while (found := client.http.get(f"/jobs/{job}").json)["status"] in ("accepted", "running"):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return dict(found)


def done(client: Client, inputs: Any, process: str = "classify-objects", **members: Any) -> str:
    job = submit(client, inputs, process, **members)
    found = ended(client, job)
    assert found["status"] == "successful", found
    return job


def get(client: Client, path: str, **headers: str) -> Any:
    return client.http.get(
        path, headers={name.replace("_", "-"): value for name, value in headers.items()}, buffered=True
    )


# asking


def test_an_asynchronous_request_is_answered_by_its_job(client: Client, inputs: dict[str, Any]) -> None:
    response = client.execute("classify-objects", inputs, {"Prefer": "respond-async "})
    assert response.status_code == 201
    assert response.headers["Preference-Applied"] == "respond-async"
    assert response.headers["Location"] == f"http://localhost/jobs/{response.json['jobID']}"
    assert response.json["status"] == "accepted"
    assert response.json["processID"] == "classify-objects"
    found = ended(client, response.json["jobID"])
    assert (found["status"], found["progress"]) == ("successful", 100)
    assert re.fullmatch(r"1 object: dark \d, bright \d", found["message"])
    assert found["summary"]["status"] == {"ok": 1}


def test_a_synchronous_answer_tells_of_its_job(client: Client, inputs: dict[str, Any]) -> None:
    response = client.execute("classify-objects", inputs)
    assert response.status_code == 200
    found = re.fullmatch(r'<(http://localhost/jobs/[0-9a-f-]{36})>; rel="monitor"', response.headers["Link"])
    assert found is not None
    job = found[1].removeprefix("http://localhost")
    assert client.http.get(job).json["status"] == "successful"
    assert get(client, f"{job}/results").data == response.data
    assert "Preference-Applied" not in response.headers


@pytest.mark.parametrize("prefer", ["wait=30", "respond-async, wait=30", 'WAIT="30"', "wait=30; x=y, foo"])
def test_what_is_done_in_time_is_answered_at_once(client: Client, inputs: dict[str, Any], prefer: str) -> None:
    response = client.execute("classify-objects", inputs, {"Prefer": prefer})
    assert (response.status_code, response.mimetype) == (200, "application/geo+json")
    assert response.headers["Preference-Applied"] == "wait=30"
    assert 'rel="monitor"' in response.headers["Link"]


@pytest.mark.parametrize(
    ("prefer", "applied"), [("wait=1", "wait=1"), ("respond-async, wait=1", "respond-async, wait=1")]
)
def test_what_is_not_done_in_time_is_answered_by_its_job(
    client: Client, inputs: dict[str, Any], prefer: str, applied: str
) -> None:
    inputs |= {"model": "slow", "features": features(200)}
    start_s = time.monotonic()
    response = client.execute("classify-objects", inputs, {"Prefer": prefer})
    assert 1 <= time.monotonic() - start_s < 3
    assert response.status_code == 201
    assert response.headers["Preference-Applied"] == applied
    assert response.json["status"] in ("accepted", "running")
    assert client.http.delete(f"/jobs/{response.json['jobID']}").status_code == 200


def test_too_many_objects_for_a_synchronous_run_are_refused(client: Client, inputs: dict[str, Any]) -> None:
    inputs["features"] = features(51)
    response = client.execute("classify-objects", inputs)
    assert response.status_code == 413
    assert "sync_max_objects = 50" in response.json["detail"]
    assert "send Prefer: respond-async" in response.json["detail"]
    assert client.execute("classify-objects", inputs, {"Prefer": "wait=30"}).status_code == 200
    done(client, inputs)


def test_preferences_that_are_not_understood_are_ignored(client: Client, inputs: dict[str, Any]) -> None:
    for prefer in ("respond-sync", "wait=soon", "wait", "wait=-1", "handling=strict"):
        response = client.execute("classify-objects", inputs, {"Prefer": prefer})
        assert response.status_code == 200
        assert "Preference-Applied" not in response.headers


def test_echo_and_describe_model_make_no_job_where_they_are_synchronous(client: Client) -> None:
    before = len(client.http.get("/jobs?limit=10000").json["jobs"])
    for process, given in (("echo", {"echo": "a"}), ("describe-model", {"model": "brightness"})):
        response = client.execute(process, given, {"Prefer": "wait=5"})
        assert response.status_code == 200
        assert "Link" not in response.headers
        assert "Preference-Applied" not in response.headers
    response = client.execute("describe-model", {"model": "brightness"}, ASYNC)
    assert response.status_code == 200
    assert "Preference-Applied" not in response.headers
    assert len(client.http.get("/jobs?limit=10000").json["jobs"]) == before


def test_echo_as_a_job(client: Client) -> None:
    job = submit(client, {"echo": "teststring", "pause": 1}, "echo")
    early = client.http.get(f"/jobs/{job}/results")
    assert (early.status_code, early.json["type"]) == (404, OGC + "result-not-ready")
    assert ended(client, job)["status"] == "successful"
    results = get(client, f"/jobs/{job}/results")
    assert (results.data, results.mimetype) == (b'["teststring"]', "application/json")
    job = done(client, {"echo": ["a", "b"]}, "echo", outputs={"echo": {"format": {"mediaType": "text/plain"}}})
    assert get(client, f"/jobs/{job}/results").data == b"a\nb"
    job = done(client, {"echo": "a"}, "echo", response="document")
    assert get(client, f"/jobs/{job}/results").json == {"echo": ["a"]}


def test_nothing_is_wanted(client: Client, inputs: dict[str, Any]) -> None:
    for process, given in (("echo", {"echo": "a"}), ("classify-objects", inputs)):
        assert client.execute(process, given, outputs={}).status_code == 200
        job = done(client, given, process, outputs={})
        assert get(client, f"/jobs/{job}/results").json == {}


# telling


def assert_status_info(document: dict[str, Any], status: str) -> None:
    require_ogc(document, "statusInfo.yaml")
    assert document["status"] == status
    assert None not in document.values()
    assert isinstance(document["progress"], int)
    for name in ("created", "started", "finished", "updated"):
        if name in document:
            assert document[name].endswith("Z")
            assert datetime.fromisoformat(document[name]).tzinfo is not None
    rels = [item["rel"] for item in document["links"]]
    assert {"self", "monitor"} <= set(rels)
    assert all(item["href"].startswith("http://localhost/jobs/") for item in document["links"])
    assert any("results" in rel for rel in rels) == (status == "successful")


def test_status_documents_are_ogc_s(client: Client, inputs: dict[str, Any], home: Path, shared_data: Path) -> None:
    ok = done(client, inputs)
    assert_status_info(client.http.get(f"/jobs/{ok}").json, "successful")
    failed = submit(client, inputs | {"image": link(home / "imagery" / "torn.tif")})
    assert_status_info(ended(client, failed), "failed")
    running = client.execute("classify-objects", inputs | {"model": "slow", "features": features(200)}, ASYNC)
    assert_status_info(running.json, "accepted")
    waiting = client.execute("classify-objects", inputs, ASYNC)
    assert_status_info(waiting.json, "accepted")
    for job in (waiting.json["jobID"], running.json["jobID"], ok):
        dismissed = client.http.delete(f"/jobs/{job}")
        assert (dismissed.status_code, dismissed.mimetype) == (200, "application/json")
        assert_status_info(dismissed.json, "dismissed")
        assert_status_info(client.http.get(f"/jobs/{job}").json, "dismissed")


def test_a_failed_job_tells_what_a_synchronous_request_would_have_told(
    client: Client, inputs: dict[str, Any], home: Path
) -> None:
    for name, status in (("torn.tif", 400), ("broken.tif", 400), ("nothing.tif", 400)):
        bad = inputs | {"image": link(home / "imagery" / name)}
        told = client.execute("classify-objects", bad)
        assert told.status_code == status
        job = submit(client, bad)
        found = ended(client, job)
        assert (found["status"], found["message"]) == ("failed", told.json["detail"])
        results = client.http.get(f"/jobs/{job}/results")
        assert (results.status_code, results.mimetype, results.json) == (status, told.mimetype, told.json)
        results = client.http.get(f"/jobs/{job}/results", headers={"Accept": "application/problem+json"})
        assert results.mimetype == "application/problem+json"


def test_what_needs_no_file_is_refused_at_once(client: Client, inputs: dict[str, Any]) -> None:
    before = len(client.http.get("/jobs?limit=10000").json["jobs"])
    refused: list[tuple[dict[str, Any], int, str]] = [
        ({"model": "nothing"}, 400, "/inputs/model"),
        ({"image": {"href": "file:///etc/passwd"}}, 403, "/inputs/image/href"),
        ({"features": {"href": "https://example.org/a.gpkg"}}, 403, "/inputs/features/href"),
        ({"image": {"value": "%%", "encoding": "base64", "mediaType": "image/png"}}, 400, "/inputs/image/value"),
        ({"retries": 11}, 400, "/inputs/retries"),
    ]
    for bad, status, pointer in refused:
        response = client.execute("classify-objects", inputs | bad, ASYNC)
        assert response.status_code == status, response.text
        assert [fault["pointer"] for fault in response.json["errors"]] == [pointer]
    assert len(client.http.get("/jobs?limit=10000").json["jobs"]) == before


def test_a_faulty_synchronous_request_leaves_no_job(client: Client, inputs: dict[str, Any], home: Path) -> None:
    before = {job["jobID"] for job in client.http.get("/jobs?limit=10000").json["jobs"]}
    bad = inputs | {"image": link(home / "imagery" / "broken.tif"), "cellSize": -1}
    response = client.execute("classify-objects", bad)
    assert {fault["pointer"] for fault in response.json["errors"]} == {"/inputs/image/href", "/inputs/cellSize"}
    assert {job["jobID"] for job in client.http.get("/jobs?limit=10000").json["jobs"]} == before
    assert {entry.name for entry in (home / "state" / "results").iterdir()} <= before


def test_what_is_known_to_be_wrong_is_not_worked_on(client: Client, inputs: dict[str, Any], home: Path) -> None:
    before = {job["jobID"] for job in client.http.get("/jobs?limit=10000").json["jobs"]}
    inputs |= {"model": "slow", "features": features(50)}
    start_s = time.monotonic()
    response = client.execute("classify-objects", inputs, subscriber={"successUri": "https://example.org/done"})
    assert time.monotonic() - start_s < 1
    assert (response.status_code, response.json["errors"][0]["pointer"]) == (403, "/subscriber/successUri")
    bad = inputs | {"image": link(home / "imagery" / "broken.tif")}
    response = client.execute("classify-objects", bad, subscriber={"successUri": "https://example.org/done"})
    assert response.status_code == 400
    pointers = {fault["pointer"] for fault in response.json["errors"]}
    assert pointers == {"/subscriber/successUri", "/inputs/image/href"}
    assert {job["jobID"] for job in client.http.get("/jobs?limit=10000").json["jobs"]} == before


def test_numbers_of_any_size_are_taken(client: Client, inputs: dict[str, Any]) -> None:
    inputs |= {"parallelProcessingFactor": 10**9, "recycleInterval": 10**20}
    assert client.execute("classify-objects", inputs).status_code == 200
    done(client, inputs)


def test_who_waits_leaves_room_for_others(
    client: Client, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.intake, "_waiting", Permits(1))
    with client.intake.waiting_permit("another") as is_permitted:
        assert is_permitted
        response = client.execute("classify-objects", inputs)
        assert (response.status_code, response.json["type"]) == (503, "Unavailable")
        assert response.headers["Retry-After"]
        assert "send Prefer: respond-async" in response.json["detail"]
        assert client.execute("echo", {"echo": "a"}).status_code == 503
        response = client.execute("classify-objects", inputs, {"Prefer": "wait=30"})
        assert response.status_code == 201
        assert "Preference-Applied" not in response.headers
        ended(client, response.json["jobID"])
    assert client.execute("classify-objects", inputs).status_code == 200


# results


FORMATS = ("application/geo+json", "application/vnd.flatgeobuf", "text/csv")


@pytest.mark.parametrize("media_type", FORMATS)
def test_results_have_all_forms(client: Client, inputs: dict[str, Any], media_type: str) -> None:
    form: dict[str, Any] = {"format": {"mediaType": media_type}}
    raw = done(client, inputs, outputs={"classifiedObjects": form}, resultName=None)
    value = get(client, f"/jobs/{raw}/results")
    assert (value.status_code, value.mimetype) == (200, media_type)
    here = f"http://localhost/jobs/{raw}/results/classifiedObjects"
    assert get(client, here.removeprefix("http://localhost")).data == value.data

    document = done(client, inputs, outputs={"classifiedObjects": form}, response="document")
    item = get(client, f"/jobs/{document}/results").json["classifiedObjects"]
    assert item["mediaType"] == media_type

    by_reference = {"classifiedObjects": form | {"transmissionMode": "reference"}}
    job = done(client, inputs, outputs=by_reference)
    response = get(client, f"/jobs/{job}/results")
    assert (response.status_code, response.data) == (204, b"")
    target = f"http://localhost/jobs/{job}/results/classifiedObjects"
    assert response.headers["Link"] == f'<{target}>; rel="classifiedObjects"; type="{media_type}"'
    assert get(client, target.removeprefix("http://localhost")).mimetype == media_type

    job = done(client, inputs, outputs=by_reference, response="document")
    target = f"http://localhost/jobs/{job}/results/classifiedObjects"
    assert get(client, f"/jobs/{job}/results").json == {"classifiedObjects": {"href": target, "type": media_type}}


def test_a_reference_is_had_synchronously_too(client: Client, inputs: dict[str, Any]) -> None:
    by_reference = {"transmissionMode": "reference"}
    response = client.execute("classify-objects", inputs, outputs={"classifiedObjects": by_reference})
    assert response.status_code == 204
    assert re.findall(r'rel="(\w+)"', ", ".join(response.headers.getlist("Link"))) == [
        "classifiedObjects",
        "monitor",
    ]
    response = client.execute("echo", {"echo": "a"}, outputs={"echo": by_reference}, response="document")
    assert response.status_code == 200
    href = response.json["echo"]["href"]
    assert get(client, href.removeprefix("http://localhost")).json == ["a"]


def test_accept_of_the_request_chooses_the_form_of_the_result(client: Client, inputs: dict[str, Any]) -> None:
    for accept, media_type in [
        ("application/json", "application/geo+json"),
        ("text/html", "application/geo+json"),
        ("text/csv", "text/csv"),
    ]:
        response = client.execute("classify-objects", inputs, ASYNC | {"Accept": accept})
        assert (response.status_code, response.mimetype) == (201, "application/json")
        ended(client, response.json["jobID"])
        results = get(client, f"/jobs/{response.json['jobID']}/results", Accept="application/json")
        assert (results.status_code, results.mimetype) == (200, media_type)


@pytest.fixture(scope="module")
def output(client: Client, home: Path) -> str:
    """Return the path of the output of a job."""
    job = done(client, {"image": link(home / "imagery" / "a.tif"), "features": features(20), "model": "brightness"})
    return f"/jobs/{job}/results/classifiedObjects"


def test_an_output_is_had_in_parts(client: Client, output: str) -> None:
    whole = get(client, output)
    assert whole.headers["Accept-Ranges"] == "bytes"
    assert int(whole.headers["Content-Length"]) == len(whole.data) > 1000
    for text, part in [
        ("0-9", whole.data[:10]),
        ("10-", whole.data[10:]),
        ("-7", whole.data[-7:]),
        ("5-5", whole.data[5:6]),
    ]:
        response = get(client, output, Range=f"bytes={text}")
        assert (response.status_code, response.data) == (206, part)
        assert response.headers["Content-Range"].endswith(f"/{len(whole.data)}")
    response = get(client, output, Range="bytes=999999999-")
    assert (response.status_code, response.json["status"]) == (416, 416)
    assert response.headers["Content-Range"] == f"bytes */{len(whole.data)}"


def test_an_output_has_an_etag(client: Client, output: str) -> None:
    etag = get(client, output).headers["ETag"]
    assert etag.startswith('"')
    assert get(client, output, If_None_Match=etag).status_code == 304
    assert get(client, output, If_None_Match='"other"').status_code == 200
    assert get(client, output, Range="bytes=0-1", If_Range=etag).status_code == 206
    assert get(client, output, Range="bytes=0-1", If_Range='"other"').status_code == 200


@pytest.mark.parametrize(
    ("headers", "status", "part"),
    [
        ({"Range": "bytes=-999999"}, 206, slice(None)),
        ({"Range": "bytes=5-999999"}, 206, slice(5, None)),
        ({"Range": "BYTES=5-6"}, 206, slice(5, 7)),
        ({"Range": "bytes=0-3,10-12"}, 200, slice(None)),
        ({"Range": "items=0-3"}, 200, slice(None)),
        ({"Range": "bytes=7-3"}, 200, slice(None)),
        ({"Range": "bytes=0-3", "If-None-Match": '"ETAG"'}, 304, slice(0)),
        ({"Range": "bytes=0-3", "If-None-Match": 'W/"ETAG"'}, 304, slice(0)),
        ({"Range": "bytes=0-3", "If-None-Match": '"other"'}, 206, slice(4)),
        ({"If-None-Match": "*"}, 304, slice(0)),
        ({"Range": "bytes=0-3", "If-Range": '"ETAG"'}, 206, slice(4)),
        ({"Range": "bytes=0-3", "If-Range": 'W/"ETAG"'}, 200, slice(None)),
        ({"Range": "bytes=0-3", "If-Range": "MODIFIED"}, 206, slice(4)),
        ({"Range": "bytes=0-3", "If-Range": "Tue, 01 Jan 2019 00:00:00 GMT"}, 200, slice(None)),
        ({"Range": "bytes=0-3", "If-Range": "ETAG"}, 200, slice(None)),
        ({"If-Match": "*"}, 200, slice(None)),
        ({"If-Match": '"other", "ETAG"'}, 200, slice(None)),
        ({"If-Match": 'W/"ETAG"'}, 412, None),
        ({"If-Match": '"other"', "If-None-Match": '"ETAG"'}, 412, None),
        ({"If-Unmodified-Since": "Tue, 01 Jan 2019 00:00:00 GMT"}, 412, None),
        ({"If-Unmodified-Since": "MODIFIED"}, 200, slice(None)),
        ({"If-Unmodified-Since": "Tue, 01 Jan 2019 00:00:00 GMT", "If-Match": "*"}, 200, slice(None)),
        ({"If-Modified-Since": "MODIFIED"}, 304, slice(0)),
        ({"If-Modified-Since": "Tue, 01 Jan 2019 00:00:00 GMT"}, 200, slice(None)),
        ({"If-Modified-Since": "MODIFIED", "If-None-Match": '"other"'}, 200, slice(None)),
        ({"If-Modified-Since": "yesterday"}, 200, slice(None)),
    ],
)
def test_conditions_are_read_as_rfc_9110_has_them(
    client: Client, output: str, headers: dict[str, str], status: int, part: slice | None
) -> None:
    whole = get(client, output)
    etag, modified = whole.headers["ETag"].strip('"'), whole.headers["Last-Modified"]
    sent = {name: value.replace("ETAG", etag).replace("MODIFIED", modified) for name, value in headers.items()}
    response = client.http.get(output, headers=sent, buffered=True)
    assert response.status_code == status
    if part is not None:
        assert response.data == whole.data[part]
        assert response.headers["ETag"].endswith(whole.headers["ETag"])
        assert response.headers["ETag"].startswith("W/") == (sent.get("If-None-Match", "").startswith("W/"))
        assert response.headers["Vary"] == whole.headers["Vary"]
    head = client.http.head(output, headers=sent, buffered=True)
    assert head.status_code == (200 if status == 206 else status)  # HEAD has no parts


def test_conditions_do_not_count_where_the_output_is_gone(client: Client, inputs: dict[str, Any], home: Path) -> None:
    job = done(client, inputs)
    output = f"/jobs/{job}/results/classifiedObjects"
    etag = get(client, output).headers["ETag"]
    for path in (home / "state" / "results" / job).rglob("result-*"):
        path.unlink()
    for headers in ({}, {"If-None-Match": etag}, {"If-Match": '"other"'}, {"Range": "bytes=999999-"}):
        assert client.http.get(output, headers=headers, buffered=True).status_code == 410


def test_the_page_of_results_says_that_nothing_was_wanted(client: Client, inputs: dict[str, Any]) -> None:
    response = client.execute("classify-objects", inputs, ASYNC, outputs={})
    ended(client, response.json["jobID"])
    results = f"/jobs/{response.json['jobID']}/results"
    assert client.http.get(results, buffered=True).json == {}
    page = client.http.get(f"{results}?f=html", buffered=True)
    assert (page.status_code, "wanted no output" in page.text) == (200, True)


def test_an_output_answers_head(client: Client, output: str) -> None:
    whole = get(client, output)
    for path in (output, output.removesuffix("/classifiedObjects")):
        head = client.http.head(path, buffered=True)
        assert (head.status_code, head.data) == (200, b"")
        assert head.headers["Content-Length"] == whole.headers["Content-Length"]
        assert head.headers["ETag"] == whole.headers["ETag"]
        assert head.mimetype == "application/geo+json"


def test_there_is_no_other_output(client: Client, output: str) -> None:
    response = client.http.get(output.replace("classifiedObjects", "nothing"))
    assert (response.status_code, response.json["type"]) == (404, "NotFound")
    assert "classifiedObjects" in response.json["detail"]


def test_a_dismissed_job_has_no_results(client: Client, inputs: dict[str, Any], home: Path) -> None:
    job = done(client, inputs)
    folder = home / "state" / "results" / job
    assert folder.exists()
    assert client.http.delete(f"/jobs/{job}").status_code == 200
    for path in (f"/jobs/{job}/results", f"/jobs/{job}/results/classifiedObjects"):
        response = client.http.get(path)
        assert (response.status_code, response.json["type"]) == (410, "Gone")
    assert client.http.delete(f"/jobs/{job}").status_code == 410
    deadline = time.monotonic() + 3
    while folder.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_results_whose_time_is_over_are_gone(client: Client, inputs: dict[str, Any]) -> None:
    job = done(client, inputs, resultName=None)
    with client.intake.database.write() as connection:
        connection.execute(tables.job.update().where(tables.job.c.id == job).values(finished=1.0))
    RunnerStore(client.intake.database, "nobody").expire(20_000)
    document = client.http.get(f"/jobs/{job}").json
    assert document["status"] == "successful"
    assert not any("results" in item["rel"] for item in document["links"])
    assert client.http.get(f"/jobs/{job}/results").status_code == 410
    assert client.http.delete(f"/jobs/{job}").status_code == 410


def test_only_needed_files_are_kept(client: Client, inputs: dict[str, Any], home: Path) -> None:
    job = done(client, inputs)
    deadline, folder = time.monotonic() + 3, home / "state" / "results" / job
    kept = {"result-1.geojson", "forms"}
    while kept != {path.name for path in (*folder.iterdir(), *(folder / "plan-1").iterdir())} - {"plan-1"}:
        assert time.monotonic() < deadline
    failed = submit(client, inputs | {"image": link(home / "imagery" / "torn.tif")})
    ended(client, failed)
    while (home / "state" / "results" / failed).exists():
        assert time.monotonic() < deadline


def test_a_result_name_that_is_taken_is_a_conflict(client: Client, inputs: dict[str, Any]) -> None:
    inputs["resultName"] = "storm-1"
    job = done(client, inputs)
    results = get(client, f"/jobs/{job}/results")
    assert results.json["name"] == "storm-1"
    assert results.headers["Content-Disposition"] == "inline; filename=storm-1.geojson"
    for headers in (ASYNC, None):
        response = client.execute("classify-objects", inputs, headers)
        assert (response.status_code, response.json["type"]) == (409, "Conflict")
        assert "storm-1" in response.json["detail"]
    client.http.delete(f"/jobs/{job}")
    assert client.execute("classify-objects", inputs).status_code == 200


def test_names_are_made_from_process_and_image(client: Client, inputs: dict[str, Any]) -> None:
    names = [client.execute("classify-objects", inputs).json["name"] for _ in range(2)]
    first, second = (re.fullmatch(r"classify-objects-a(?:-(\d+))?", name) for name in names)
    assert first is not None
    assert second is not None
    assert int(second[1]) > int(first[1] or 1)


# the list


@pytest.fixture
def jobs(client: Client, home: Path) -> Iterator[list[str]]:
    """Put jobs of all kinds into the store, far in the past, and return their ids, the newest first."""
    ids = [f"past-{number}" for number in range(5)]
    with client.intake.database.write() as connection:
        for number, (process, status, duration) in enumerate(
            [
                ("echo", "successful", 5),
                ("classify-objects", "failed", 50),
                ("echo", "dismissed", 500),
                ("classify-objects", "successful", 5000),
                ("echo", "successful", 1),
            ]
        ):
            connection.execute(
                tables.job.insert().values(
                    id=ids[number], process=process, client="x", priority=0, status=status, message="", created=1000.0 + number,
                    updated=0.0, started=1000.0, finished=1000.0 + duration, wanted="{}", parallel_factor="1",
                    recycle_interval=0, retries=0, needs_gpu=False, has_files=False,
                )
            )  # fmt: skip
    yield ids[::-1]
    with client.intake.database.write() as connection:
        connection.execute(tables.job.delete().where(tables.job.c.id.in_(ids)))


PAST = "datetime=1970-01-01T00:00:00Z/1970-01-02T00:00:00Z"


def listed(client: Client, query: str) -> list[str]:
    response = client.http.get(f"/jobs?{query}")
    assert response.status_code == 200, response.text
    return [job["jobID"] for job in response.json["jobs"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "43210"),
        ("type=process", "43210"),
        ("type=other", ""),
        ("processID=echo", "420"),
        ("processID=echo,classify-objects", "43210"),
        ("processID=nothing", ""),
        ("status=successful", "430"),
        ("status=failed,dismissed", "21"),
        ("status=failed&status=dismissed", "21"),
        ("status=accepted", ""),
        ("minDuration=50", "321"),
        ("maxDuration=50", "410"),
        ("minDuration=5&maxDuration=50", "10"),
        ("minDuration=50&status=successful", "3"),
        ("processID=echo&status=successful&maxDuration=1", "4"),
    ],
)
def test_the_list_is_filtered(client: Client, jobs: list[str], query: str, expected: str) -> None:
    assert listed(client, f"{PAST}&limit=100&{query}") == [f"past-{number}" for number in expected]


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ("1970-01-01T00:16:41Z", "1"),
        ("1970-01-01T00:16:41Z/1970-01-01T00:16:43Z", "321"),
        ("../1970-01-01T00:16:41Z", "10"),
        ("/1970-01-01T00:16:41Z", "10"),
        ("1970-01-01T01:16:43%2B01:00/1970-01-01T12:00:00Z", "43"),
        ("1970-01-01/1970-01-02", "43210"),
    ],
)
def test_the_list_is_of_a_time(client: Client, jobs: list[str], interval: str, expected: str) -> None:
    assert listed(client, f"datetime={interval}&limit=100") == [f"past-{number}" for number in expected]
    assert not set(listed(client, "datetime=2000-01-01/..&limit=1")) & set(jobs)


def test_the_list_has_pages(client: Client, jobs: list[str], shared_data: Path) -> None:
    document = client.http.get(f"/jobs?{PAST}&limit=2").json
    require_ogc(document, "jobList.yaml")
    seen = []
    while True:
        seen += [job["jobID"] for job in document["jobs"]]
        links = {item["rel"]: item["href"] for item in document["links"]}
        assert {"self", "alternate"} <= links.keys()
        assert ("prev" in links) == (len(seen) > 2)
        if "next" not in links:
            break
        document = client.http.get(links["next"].removeprefix("http://localhost")).json
    assert seen == jobs
    back = client.http.get(links["prev"].removeprefix("http://localhost")).json
    assert [job["jobID"] for job in back["jobs"]] == jobs[2:4]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/limit"),
        ("limit=-1", "/limit"),
        ("limit=many", "/limit"),
        ("limit=1.5", "/limit"),
        ("limit=٣", "/limit"),
        ("offset=-1", "/offset"),
        ("status=done", "/status"),
        ("datetime=yesterday", "/datetime"),
        ("datetime=..", "/datetime"),
        ("datetime=../..", "/datetime"),
        ("datetime=2020-01-01/2019-01-01", "/datetime"),
        ("datetime=2020-01-01/2021-01-01/2022-01-01", "/datetime"),
        ("minDuration=-1", "/minDuration"),
        ("maxDuration=nan", "/maxDuration"),
        ("maxDuration=inf", "/maxDuration"),
    ],
)
def test_parameters_that_cannot_be_used_are_refused(client: Client, query: str, pointer: str) -> None:
    response = client.http.get(f"/jobs?{query}")
    assert response.status_code == 400, response.text
    assert [fault["pointer"] for fault in response.json["errors"]] == [pointer]


def test_all_faults_of_the_parameters_are_told_at_once(client: Client) -> None:
    response = client.http.get("/jobs?limit=0&status=done&minDuration=x")
    assert {fault["pointer"] for fault in response.json["errors"]} == {"/limit", "/status", "/minDuration"}


def test_limits_and_offsets_of_any_size_are_taken(client: Client, jobs: list[str]) -> None:
    assert set(jobs) <= set(listed(client, f"{PAST}&limit=999999999999"))
    assert listed(client, "offset=999999999999999") == []


def test_pages_for_people(client: Client, jobs: list[str], inputs: dict[str, Any], home: Path) -> None:
    failed = submit(client, inputs | {"image": {"href": (home / "imagery" / "<b>.tif").as_uri()}})
    ended(client, failed)
    for path in ("/jobs", f"/jobs/{failed}"):
        for response in (
            get(client, f"{path}?f=html"),
            get(client, path, Accept="text/html,application/xml;q=0.9,*/*;q=0.8"),
        ):
            assert (response.status_code, response.mimetype) == (200, "text/html")
            assert failed in response.text
            assert "<b>" not in response.text
    assert get(client, "/jobs").mimetype == "application/json"
    assert get(client, "/jobs", Accept="*/*").mimetype == "application/json"
    assert get(client, "/jobs?f=json", Accept="text/html").mimetype == "application/json"
    assert client.http.get("/jobs?f=xml").status_code == 400
    assert client.http.get("/jobs/nothing?f=html").status_code == 404


# the rest


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/jobs/x"),
        ("DELETE", "/jobs/x"),
        ("GET", "/jobs/x/results"),
        ("GET", "/jobs/x/results/classifiedObjects"),
    ],
)
@pytest.mark.parametrize("job", ["nothing", "%00", "..%2F..", "a" * 3000, "é😀"])
def test_there_is_no_such_job(client: Client, method: str, path: str, job: str) -> None:
    response = client.http.open(path.replace("x", job), method=method)
    assert response.status_code == 404, response.text
    assert response.json["type"] in (OGC + "no-such-job", "NotFound")


def test_a_subscriber_must_be_allowed(client: Client, inputs: dict[str, Any]) -> None:
    for subscriber, status, pointer in [
        ({"successUri": "https://example.org/done"}, 403, "/subscriber/successUri"),
        ({"successUri": "http://127.0.0.1/ok", "failedUri": "file:///etc/passwd"}, 403, "/subscriber/failedUri"),
        ({"successUri": "gopher://127.0.0.1/"}, 403, "/subscriber/successUri"),
        ({"failedUri": "http://127.0.0.1/"}, 400, "/subscriber"),
        ({"successUri": 7}, 400, "/subscriber/successUri"),
        ([], 400, "/subscriber"),
    ]:
        for headers in (ASYNC, None):
            response = client.execute("classify-objects", inputs, headers, subscriber=subscriber)
            assert response.status_code == status, response.text
            assert [fault["pointer"] for fault in response.json["errors"]] == [pointer]


def test_the_store_s_figures_are_metrics(client: Client, inputs: dict[str, Any]) -> None:
    def figure(name: str) -> float:
        response = get(client, "/metrics")
        assert response.mimetype == "text/plain"
        found = re.search(rf"^{re.escape(name)} ([\d.e+]+)$", response.text, re.MULTILINE)
        return float(found[1]) if found else 0

    names = (
        'classify_jobs_ended_total{status="successful"}',
        'classify_sections_total{outcome="done"}',
        "classify_objects_total",
    )
    before = [figure(name) for name in names]
    inputs["features"] = features(7)
    done(client, inputs)
    assert [figure(name) - value for name, value in zip(names, before, strict=True)] == [1, 1, 7]
    assert figure('classify_section_seconds_total{outcome="done"}') > 0
    assert figure('classify_jobs{status="accepted"}') == 0


def test_conformance_classes_of_jobs_are_declared(client: Client) -> None:
    classes = client.http.get("/conformance").json["conformsTo"]
    for name in ("job-list", "dismiss", "callback"):
        assert f"http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/{name}" in classes


def test_a_fault_of_a_slot_is_a_500_that_names_the_job(client: Client, inputs: dict[str, Any], home: Path) -> None:
    """The stored execution of a waiting job is damaged, as by a bad disk."""
    busy = submit(client, inputs | {"model": "slow", "features": features(200)})
    job = submit(client, inputs)
    (home / "state" / "results" / job / "execution").write_bytes(b"\xc1 nothing")
    client.http.delete(f"/jobs/{busy}")
    assert ended(client, job)["status"] == "failed"
    response = client.http.get(f"/jobs/{job}/results")
    assert (response.status_code, response.json["type"]) == (500, "ServerError")
    assert response.json["detail"] == f"the server failed; the log has it as job {job}"
    log = (home / "runner.log").read_text()
    assert any(job in line and "Traceback" in line for line in log.splitlines())


def test_a_model_that_takes_its_time_is_stopped_within_a_second(client: Client, inputs: dict[str, Any]) -> None:
    job = submit(client, inputs | {"model": "slow", "features": features(200)})
    time.sleep(1.5)
    client.http.delete(f"/jobs/{job}")
    start_s = time.monotonic()
    assert client.execute("classify-objects", inputs).status_code == 200
    assert time.monotonic() - start_s < 12  # a killed slot is ready again by then, also on a busy machine


def test_many_ask_at_the_same_time(client: Client, inputs: dict[str, Any]) -> None:
    answers: list[int] = []

    def ask() -> None:
        answers.extend(client.execute("classify-objects", inputs).status_code for _ in range(3))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 24
