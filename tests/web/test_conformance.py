"""OGC API - Processes Part 1 v1.0: what OGC's test suite asks, and OGC's schemas for every JSON answer."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from conftest import SHARED
from ogc_schemas import require_ogc
from service import Client, link

CONFORMANCE = SHARED / "conformance"
OGC = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
CLASSES = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/"
SUITE = (CONFORMANCE / "suite-requests.jsonl").read_text().splitlines() if CONFORMANCE.is_dir() else []


def has_null(document: Any) -> bool:
    match document:
        case dict():
            return any(map(has_null, document.values()))
        case list():
            return any(map(has_null, document))
        case _:
            return document is None


def path_of(url: str) -> str:
    assert url.startswith("http://localhost/"), url
    return url.removeprefix("http://localhost")


def ended(client: Client, job: str, timeout_s: float = 60) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while (found := client.http.get(f"/jobs/{job}").json)["status"] in ("accepted", "running"):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return dict(found)


# what OGC's suite asks


@pytest.fixture(scope="module")
def echo_job(client: Client) -> str:
    response = client.execute("echo", {"echo": "teststring"}, {"Prefer": "respond-async"})
    assert ended(client, response.json["jobID"])["status"] == "successful"
    return str(response.json["jobID"])


@pytest.mark.parametrize("line", SUITE, ids=range(len(SUITE)))
def test_requests_of_the_suite_are_answered_as_it_needs(client: Client, echo_job: str, line: str) -> None:
    asked = json.loads(line)
    need, body = asked["need"], asked["body"]
    response = client.http.open(
        asked["path"].replace("{job}", echo_job),
        method=asked["method"],
        headers=asked["headers"],
        data=None if body is None else json.dumps(body),
        buffered=True,
    )
    assert response.status_code in need["status"], response.text
    if "content_type" in need:
        assert response.headers["Content-Type"] == need["content_type"]
    if need.get("headers") == "no Link":
        assert "Link" not in response.headers
    assert_body(response, need.get("body", "any"))
    if response.status_code == 201:
        assert_accepted(client, response, need["then"])


def assert_body(response: Any, words: str) -> None:
    """Check a body by the words of the recording; words that are not known fail."""
    text, document = response.text, response.get_json(silent=True)
    exception = re.search(rf"an exception of type ({re.escape(OGC)}[a-z-]+)", words)
    if words == "any":
        return
    if exception or words.startswith("an exception"):
        assert document["type"] == (exception[1] if exception else document["type"])
        assert not has_null(document)
    elif words == "exactly one process":
        assert len(document["processes"]) == 1
    elif words.startswith('["teststring"]'):
        assert document == ["teststring"]
    elif words.startswith("200: contains teststring"):
        assert "teststring" in text if response.status_code == 200 else document["type"] == OGC + "result-not-ready"
    elif words.startswith("statusInfo"):
        assert_status_info(document)
    elif words.startswith("jobs and links"):
        assert document["jobs"]
        assert document["links"]
    else:
        pytest.fail(f"the recording needs {words!r}")


def assert_status_info(document: Any) -> None:
    assert not has_null(document)
    require_ogc(document, "statusInfo.yaml")
    assert (document["type"], type(document["progress"])) == ("process", int)
    for name in ("created", "started", "finished", "updated"):
        if name in document:
            assert datetime.fromisoformat(document[name]).tzinfo is not None
    rels = [item["rel"] for item in document["links"]]
    assert "monitor" in rels
    assert any(rel.endswith("/results") for rel in rels) == (document["status"] == "successful")


def assert_accepted(client: Client, response: Any, then: str) -> None:
    place = path_of(response.headers["Location"])
    if then.startswith("GET Location + /results at once"):
        early = client.http.get(f"{place}/results")
        assert (early.status_code, early.json["type"]) == (404, OGC + "result-not-ready")
        client.http.delete(place)
        return
    assert then.startswith("successful within 10 s; the results contain teststring"), then
    assert client.http.get(place).mimetype == "application/json"
    assert ended(client, place.rpartition("/")[2])["status"] == "successful"
    assert "teststring" in client.http.get(f"{place}/results", buffered=True).text


def test_echo_is_described_word_for_word(client: Client, shared_data: Path) -> None:
    found = client.http.get("/processes/echo").json
    del found["links"]
    assert found == json.loads((CONFORMANCE / "echo.json").read_text())


def test_the_classes_that_it_conforms_to_are_declared(client: Client) -> None:
    declared = client.http.get("/conformance").json["conformsTo"]
    wanted = {"core", "ogc-process-description", "json", "html", "oas30", "job-list", "callback", "dismiss"}
    assert {item.removeprefix(CLASSES) for item in declared if item.startswith(CLASSES)} == wanted
    assert len(declared) == len(set(declared))


# OGC's schemas


def session(client: Client, inputs: dict[str, Any], home: Path) -> Iterator[tuple[str, Any]]:
    """Yield the answers of a session that meets every kind of JSON answer, each with the name of its schema."""

    def get(path: str) -> Any:
        return client.http.get(path, headers={"Accept": "application/json"}, buffered=True)

    yield "landingPage.yaml", get("/")
    yield "confClasses.yaml", get("/conformance")
    yield "processList.yaml", get("/processes")
    for process in ("classify-objects", "describe-model", "echo"):
        yield "process.yaml", get(f"/processes/{process}")
    asynchronous = {"Prefer": "respond-async"}
    accepted = client.execute("classify-objects", inputs, asynchronous, response="document")
    yield "statusInfo.yaml", accepted
    ended(client, accepted.json["jobID"])
    place = path_of(accepted.headers["Location"])
    yield "statusInfo.yaml", get(place)
    yield "results.yaml", get(f"{place}/results")
    reference = {"classifiedObjects": {"transmissionMode": "reference"}}
    yield "results.yaml", client.execute("classify-objects", inputs, response="document", outputs=reference)
    for media_type in ("text/csv", "application/vnd.flatgeobuf", "application/json"):
        wanted = {"classifiedObjects": {"format": {"mediaType": media_type}}}
        yield "results.yaml", client.execute("classify-objects", inputs, response="document", outputs=wanted)
    yield "results.yaml", client.execute("describe-model", {"model": "brightness"}, response="document")
    failed = client.execute("classify-objects", inputs | {"image": link(home / "imagery" / "broken.tif")}, asynchronous)
    yield "statusInfo.yaml", failed
    assert ended(client, failed.json["jobID"])["status"] == "failed"
    yield "statusInfo.yaml", get(f"/jobs/{failed.json['jobID']}")
    yield "exception.yaml", get(f"/jobs/{failed.json['jobID']}/results")
    yield "statusInfo.yaml", client.http.delete(place, buffered=True)
    yield "exception.yaml", get(f"{place}/results")
    yield "exception.yaml", client.http.delete(place, buffered=True)
    yield "jobList.yaml", get("/jobs")
    yield "jobList.yaml", get("/jobs?limit=1&offset=1")
    for path in ("/jobs/nothing", "/processes/nothing", "/nothing", "/jobs?limit=none"):
        yield "exception.yaml", get(path)
    yield "exception.yaml", client.execute("classify-objects", {"image": 7})
    yield "exception.yaml", client.http.put("/jobs", buffered=True)


def test_every_json_answer_is_as_ogc_has_it(
    client: Client, inputs: dict[str, Any], home: Path, shared_data: Path
) -> None:
    for schema, response in session(client, inputs, home):
        document = response.get_json()
        assert not has_null(document) or schema == "results.yaml", document
        require_ogc(document, schema)


# front: CORS, compression, methods


def test_web_pages_of_any_origin_may_call(client: Client) -> None:
    asked = {"Origin": "https://map.example.org"}
    preflight = asked | {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type, prefer",
    }
    for path, method in [
        ("/processes/echo/execution", "POST"),
        ("/processes/classify-objects/validate", "POST"),
        ("/jobs/nothing", "DELETE"),
        ("/jobs/nothing/results", "GET"),
    ]:
        response = client.http.options(path, headers=preflight | {"Access-Control-Request-Method": method})
        assert response.status_code == 200
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert method in response.headers["Access-Control-Allow-Methods"]
        assert {"content-type", "prefer"} <= set(
            re.split(", *", response.headers["Access-Control-Allow-Headers"].lower())
        )
    for response in (
        client.execute("echo", {"echo": "a"}, asked | {"Prefer": "respond-async"}),
        client.http.get("/jobs/nothing", headers=asked),
        client.http.get("/conformance", headers=asked),
    ):
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        exposed = set(re.split(", *", response.headers["Access-Control-Expose-Headers"]))
        assert {"Location", "Link", "Preference-Applied", "Content-Disposition"} <= exposed


def test_long_texts_are_compressed_where_the_client_takes_that(client: Client, inputs: dict[str, Any]) -> None:
    plain = client.http.get("/processes/classify-objects", buffered=True)
    packed = client.http.get("/processes/classify-objects", headers={"Accept-Encoding": "gzip"}, buffered=True)
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert len(packed.data) < len(plain.data) / 2
    assert gzip.decompress(packed.data) == plain.data
    many = inputs["features"] | {"features": inputs["features"]["features"] * 200}
    accepted = client.execute("classify-objects", inputs | {"features": many}, {"Prefer": "respond-async"})
    output = f"/jobs/{accepted.json['jobID']}/results/classifiedObjects"
    ended(client, accepted.json["jobID"])
    whole = client.http.get(output, buffered=True)
    packed = client.http.get(output, headers={"Accept-Encoding": "br, gzip;q=0.5"}, buffered=True)
    assert gzip.decompress(packed.data) == whole.data
    assert packed.headers["ETag"] == f"W/{whole.headers['ETag']}"
    known = {"Accept-Encoding": "gzip", "If-None-Match": packed.headers["ETag"]}
    assert client.http.get(output, headers=known, buffered=True).status_code == 304
    part = client.http.get(output, headers={"Accept-Encoding": "gzip", "Range": "bytes=10-2009"}, buffered=True)
    assert (part.status_code, part.data) == (206, whole.data[10:2010])
    assert "Content-Encoding" not in part.headers
    head = client.http.head(output, headers={"Accept-Encoding": "gzip"}, buffered=True)
    assert head.content_length == len(whole.data)
    for none in ("identity", "gzip;q=0", "br"):
        answer = client.http.get(output, headers={"Accept-Encoding": none}, buffered=True)
        assert "Content-Encoding" not in answer.headers


def test_outputs_are_no_folders(client: Client, echo_job: str) -> None:
    for path in (f"/jobs/{echo_job}/results/", f"/jobs/{echo_job}/results/echo/"):
        assert client.http.get(path).status_code == 404
    assert client.http.get(f"/jobs/{echo_job}/results/echo", buffered=True).status_code == 200


@pytest.mark.parametrize("path", ["/", "/conformance", "/processes", "/processes/echo", "/jobs", "/openapi"])
def test_pages_for_people(client: Client, path: str) -> None:
    for response in (
        client.http.get(f"{path}?f=html", buffered=True),
        client.http.get(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}, buffered=True),
    ):
        assert (response.status_code, response.mimetype) == (200, "text/html")
        assert "<html" in response.text
    assert client.http.head(path).status_code == 200


# what an execution would come to


def test_a_request_is_validated_without_being_executed(client: Client, inputs: dict[str, Any]) -> None:
    before = {job["jobID"] for job in client.http.get("/jobs?limit=10000").json["jobs"]}
    response = client.http.post("/processes/classify-objects/validate", json={"inputs": inputs})
    assert response.status_code == 200, response.text
    found = response.json
    assert (found["valid"], found["images"], found["objects"], found["sections"]) == (True, 1, 1, 1)
    names = [item["name"] for item in found["fields"]]
    assert names == ["ClassLabel", "ClassValue", "Confidence", "ClassStatus"]
    assert 0 <= found["estimatedSeconds"] < 60
    assert {job["jobID"] for job in client.http.get("/jobs?limit=10000").json["jobs"]} == before


def test_validation_tells_what_execution_would_tell(client: Client, inputs: dict[str, Any], home: Path) -> None:
    for wrong in (
        {"image": link(home / "imagery" / "broken.tif")},
        {"model": "nothing"},
        {"image": {"href": "file:///etc/passwd"}, "cellSize": 0},
        {"classLabelField": "1"},
        {"image": link(home / "imagery" / "plain.png")},
    ):
        validated = client.http.post("/processes/classify-objects/validate", json={"inputs": inputs | wrong})
        executed = client.execute("classify-objects", inputs | wrong)
        assert validated.status_code == executed.status_code >= 400
        assert validated.json["errors"] == executed.json["errors"]
    for process in ("echo", "nothing"):
        assert client.http.post(f"/processes/{process}/validate", json={"inputs": {}}).status_code == 404
    taken = inputs | {"resultName": "taken"}
    assert client.execute("classify-objects", taken).status_code == 200
    assert client.http.post("/processes/classify-objects/validate", json={"inputs": taken}).status_code == 409


# the draft of version 2.0


def test_status_documents_have_the_members_of_version_2_too(client: Client, inputs: dict[str, Any], home: Path) -> None:
    secret = link(home / "imagery" / "broken.tif")
    secret = {"href": secret["href"].replace("file://", "file://user:hush@localhost") + "?key=hush"}
    inline = {"value": "aGVsbG8=", "encoding": "base64", "mediaType": "image/png"}
    asked = {"image": [link(home / "imagery" / "broken.tif"), inline], "features": inputs["features"]}
    response = client.execute(
        "classify-objects", inputs | asked, {"Prefer": "respond-async"}, outputs={"classifiedObjects": {}}
    )
    job = response.json["jobID"]
    found = ended(client, job)
    assert (found["id"], found["processingEntityType"], found["status"]) == (job, "process", "failed")
    assert found["exception"] == client.http.get(f"/jobs/{job}/results").json
    assert found["request"]["inputs"] == {
        "image": [link(home / "imagery" / "broken.tif"), {"encoding": "base64", "mediaType": "image/png"}],
        "features": {"type": "FeatureCollection", "crs": inputs["features"]["crs"]},
        "model": "brightness",
    }
    assert found["request"]["outputs"] == {"classifiedObjects": {}}
    assert all("request" not in item for item in client.http.get("/jobs").json["jobs"])
    assert "hush" in secret["href"]


@pytest.mark.parametrize(("prefer", "status"), [("return=minimal", 204), ("return=representation", 200)])
def test_a_client_may_prefer_a_link(client: Client, inputs: dict[str, Any], prefer: str, status: int) -> None:
    response = client.execute("classify-objects", inputs, {"Prefer": prefer})
    assert (response.status_code, response.headers["Preference-Applied"]) == (status, prefer)
    both = client.execute("classify-objects", inputs, {"Prefer": f"wait=30, {prefer}"})
    assert (both.status_code, both.headers["Preference-Applied"]) == (status, f"wait=30, {prefer}")
    by_value = {"classifiedObjects": {"transmissionMode": "value"}}
    named = client.execute("classify-objects", inputs, {"Prefer": "return=minimal"}, outputs=by_value)
    assert named.status_code == 200
    assert "Preference-Applied" not in named.headers
