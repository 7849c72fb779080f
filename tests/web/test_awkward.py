"""Awkward requests, ten and more for each rule of the front, and what each is answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from service import Client, link

OGC = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
EXECUTION = "/processes/classify-objects/execution"
ECHO = "/processes/echo/execution"
RESULTS = "http://www.opengis.net/def/rel/ogc/1.0/results"
KEYWORDS = {
    *("title", "description", "type", "format", "enum", "default", "example", "nullable", "readOnly", "writeOnly"),
    *("deprecated", "multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength"),
    *("maxLength", "pattern", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "required"),
    *("not", "allOf", "oneOf", "anyOf", "items", "properties", "additionalProperties", "contentMediaType"),
    *("contentEncoding", "contentSchema"),
}
"""That a schema in a description may have: those of OGC's `schema.yaml`."""


@pytest.fixture(scope="module")
def job(client: Client, inputs: dict[str, Any]) -> str:
    """Return a job that is done."""
    response = client.execute("classify-objects", inputs, {"Prefer": "respond-async, wait=30"})
    return str(response.headers["Link"]).partition(">")[0].rpartition("/")[2]


# 1: descriptions and statuses


@pytest.mark.parametrize("process", ["classify-objects", "describe-model", "echo"])
def test_descriptions_keep_to_the_keywords_of_ogc(client: Client, process: str) -> None:
    def check(schema: Any) -> None:
        assert isinstance(schema, dict), schema
        assert set(schema) <= KEYWORDS
        assert isinstance(schema.get("type", ""), str)
        assert schema.get("enum") != []
        assert schema.get("required") != []
        assert isinstance(schema.get("exclusiveMinimum", False), bool)
        for name in ("allOf", "oneOf", "anyOf"):
            for branch in schema.get(name, ()):
                check(branch)
        for branch in (*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])):
            check(branch)

    description = client.http.get(f"/processes/{process}").json
    for item in (*description["inputs"].values(), *description["outputs"].values()):
        check(item["schema"])


@pytest.mark.parametrize(
    ("path", "accept", "status", "media_type"),
    [
        ("/jobs/{job}", None, 200, "application/json"),
        ("/jobs/{job}", "*/*", 200, "application/json"),
        ("/jobs/{job}", "application/json, application/javascript, text/javascript", 200, "application/json"),
        ("/jobs/{job}", "text/html;q=0.9, application/json", 200, "application/json"),
        ("/jobs/{job}?f=json", "text/html", 200, "application/json"),
        ("/jobs/{job}?f=html", None, 200, "text/html"),
        ("/jobs/{job}?f=xml", None, 400, "application/json"),
        ("/processes/echo?f=xml", None, 400, "application/json"),
        ("/processes?limit=0", None, 400, "application/json"),
        ("/processes?limit=x", None, 400, "application/json"),
        ("/processes/ECHO", None, 404, "application/json"),
        ("/processes/%2e%2e%2fecho", None, 404, "application/json"),
        ("/conformance", "image/png", 200, "application/json"),
        ("/processes//echo", None, 404, "application/json"),
        ("/jobs?f=html", None, 200, "text/html"),
        ("/jobs?f=html&status=none", None, 400, "application/json"),
        ("/jobs/{job}/results?f=html", None, 200, "text/html"),
        ("/jobs/{job}/results?f=json", "text/html", 200, "application/geo+json"),
        ("/jobs/{job}/results?f=xml", None, 400, "application/json"),
        ("/jobs/{job}/results", "text/html,application/xhtml+xml,*/*;q=0.8", 200, "text/html"),
        ("/jobs/{job}/results", "application/geo+json, text/html", 200, "application/geo+json"),
        ("/jobs/{job}/results", "*/*", 200, "application/geo+json"),
    ],
)
def test_descriptions_and_statuses(
    client: Client, job: str, path: str, accept: str | None, status: int, media_type: str
) -> None:
    headers = {} if accept is None else {"Accept": accept}
    response = client.http.get(path.replace("{job}", job), headers=headers, buffered=True)
    assert (response.status_code, response.mimetype) == (status, media_type), response.text


# 2: Prefer


@pytest.mark.parametrize(
    ("prefer", "status", "applied"),
    [
        ([], 200, None),
        (["respond-async "], 201, "respond-async"),
        (["RESPOND-ASYNC"], 201, "respond-async"),
        (['respond-async; foo="bar, wait=3"'], 201, "respond-async"),
        (["foo", "respond-async"], 201, "respond-async"),
        (["foo, , respond-async"], 201, "respond-async"),
        (["respond-async, wait=0"], 201, "respond-async, wait=0"),
        (["wait = 30"], 200, "wait=30"),
        (["wait=30, wait=0"], 200, "wait=30"),
        (["wait=99999999999999999999"], 200, "wait=86400"),
        (["wait=١٠"], 200, None),
        (["wait=1.5"], 200, None),
        (["respond-asynchronously"], 200, None),
        (["handling=strict; respond-async"], 200, None),
        (["return=minimal; wait=30"], 204, "return=minimal"),
        (["return=everything"], 200, None),
        (['return="representation"'], 200, "return=representation"),
        (["=;,"], 200, None),
    ],
)
def test_preferences(
    client: Client, inputs: dict[str, Any], prefer: list[str], status: int, applied: str | None
) -> None:
    headers = [("Prefer", item.encode().decode("latin-1")) for item in prefer]
    response = client.http.post(EXECUTION, json={"inputs": inputs}, headers=headers, buffered=True)
    assert response.status_code == status, response.text
    assert response.headers.get("Preference-Applied") == applied
    assert ("Location" in response.headers) == (status == 201)


# 3: outputs


@pytest.mark.parametrize(
    ("members", "accept", "status", "found"),
    [
        ({"response": "Raw"}, None, 400, "/response"),
        ({"response": None}, None, 400, "/response"),
        ({"outputs": []}, None, 400, "/outputs"),
        ({"outputs": None}, None, 400, "/outputs"),
        ({"outputs": {"other": {}}}, None, 400, "/outputs/other"),
        ({"outputs": {"classifiedObjects": None}}, None, 400, "/outputs/classifiedObjects"),
        ({"outputs": {"classifiedObjects": {"transmissionMode": "VALUE"}}}, None, 400, "transmissionMode"),
        ({"outputs": {"classifiedObjects": {"format": "text/csv"}}}, None, 400, "format"),
        ({"outputs": {"classifiedObjects": {"format": {"mediaType": None}}}}, None, 400, "mediaType"),
        ({"outputs": {"classifiedObjects": {"format": {"mediaType": "text/xml"}}}}, None, 400, "mediaType"),
        ({"outputs": {"classifiedObjects": {"format": {"mediaType": "TEXT/CSV; x=y"}}}}, None, 200, "text/csv"),
        ({"outputs": {"classifiedObjects": {}}}, "text/csv;q=0.4, */*;q=0.1", 200, "text/csv"),
        ({"outputs": {"classifiedObjects": {"format": {}}}}, "text/*", 200, "text/csv"),
        ({}, "application/json", 200, "application/geo+json"),
        ({}, "image/png", 406, None),
        ({}, "application/geo+json;q=0", 406, None),
        ({}, "application/geo+json;q=0, application/json;q=0.5, text/csv;q=0.1", 200, "text/csv"),
        ({}, "application/json;q=0.5, text/csv;q=0.1", 200, "application/geo+json"),
        ({"response": "document"}, "text/csv", 406, None),
        ({"response": "document"}, "application/*", 200, "application/json"),
        ({"outputs": {}}, None, 200, "application/json"),
    ],
)
def test_outputs(
    client: Client, inputs: dict[str, Any], members: dict[str, Any], accept: str | None, status: int, found: str | None
) -> None:
    headers = {} if accept is None else {"Accept": accept}
    response = client.execute("classify-objects", inputs, headers, **members)
    assert response.status_code == status, response.text
    if status == 200:
        assert response.mimetype == found
        assert "Accept" in response.vary
    elif found is not None:
        assert [fault["pointer"].endswith(found) for fault in response.json["errors"]] == [True], response.text


# 4: inputs


@pytest.mark.parametrize(
    ("given", "pointers"),
    [
        ({"echo": "a"}, None),
        ({"echo": ["a"]}, None),
        ({"echo": {"value": "a"}}, None),
        ({"echo": [{"value": "a", "mediaType": "text/plain"}, "b"]}, None),
        ({"echo": []}, ["/inputs/echo"]),
        ({"echo": None}, ["/inputs/echo"]),
        ({"echo": [["a"]]}, ["/inputs/echo/0"]),
        ({"echo": {"value": {"value": "a"}}}, ["/inputs/echo/value"]),
        ({"echo": {"href": "http://example.org/"}}, ["/inputs/echo"]),
        ({"echo": "a", "pause": "0"}, ["/inputs/pause"]),
        ({"echo": "a", "pause": 0.5, "numbers": [1, "2"]}, ["/inputs/pause", "/inputs/numbers/1"]),
        ({"echo": "a", "choice": True}, None),
        ({"echo": "a", "choice": 1.5}, ["/inputs/choice"]),
        ({"echo": "a", "area": {"bbox": [1, 2, 3, 4]}}, None),
        ({"echo": "a", "area": {"bbox": [1, 2, 3]}}, ["/inputs/area/bbox"]),
        ({"echo": "a", "area": {"bbox": [1, 2, 3, 4], "crs": "EPSG:0"}}, ["/inputs/area/crs"]),
        ({"echo": "a", "a/b~c": 1}, ["/inputs/a~1b~0c"]),
        ({"Echo": "a"}, ["/inputs/Echo", "/inputs"]),
        ([], ["/inputs"]),
        (None, ["/inputs"]),
        ("echo", ["/inputs"]),
    ],
)
def test_inputs(client: Client, given: Any, pointers: list[str] | None) -> None:
    response = client.execute("echo", given)
    assert response.status_code == (200 if pointers is None else 400), response.text
    if pointers is not None:
        assert [fault["pointer"] for fault in response.json["errors"]] == pointers


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"null", "application/json", 400),
        (b'{"inputs": []}', "application/json", 400),
        (b'{"inputs": {"echo": "\xff"}}', "application/json", 400),
        (b'{"inputs": {"echo": "a"}}', "application/json; charset=UTF-8", 200),
        (b'{"inputs": {"echo": "a"}, "mode": "async"}', "application/json", 200),
        (b'{"inputs": {"echo": "a"}}', "text/plain", 415),
        (b"<execute/>", "application/xml", 415),
        (b"echo=a", "application/x-www-form-urlencoded", 415),
        (b"[" * 100_000, "application/json", 400),
    ],
)
def test_bodies(client: Client, body: bytes, content_type: str, status: int) -> None:
    response = client.http.post(ECHO, data=body, content_type=content_type, buffered=True)
    assert response.status_code == status, response.text


def test_all_faults_of_a_request_are_told_at_once(client: Client, job: str, inputs: dict[str, Any]) -> None:
    name = client.http.get(f"/jobs/{job}/results", buffered=True).json["name"]
    (feature,) = inputs["features"]["features"]
    features = inputs["features"] | {"features": [feature | {"properties": {"ClassLabel": "old"}}]}
    wish = {"format": {"mediaType": "image/png"}, "transmissionMode": "pigeon"}
    faulty: dict[str, Any] = {
        "inputs": inputs
        | {"features": features, "cellSize": -1, "resultName": name, "image": {"href": 5}, "extent": {"bbox": []}},
        "outputs": {"classifiedObjects": wish},
        "response": "x",
        "subscriber": {"successUri": "http://10.0.0.1/"},
    }
    for path in (EXECUTION, "/processes/classify-objects/validate"):
        response = client.http.post(path, json=faulty, buffered=True)
        assert response.status_code == 400
        assert sorted(fault["pointer"] for fault in response.json["errors"]) == [
            "/inputs/cellSize",
            "/inputs/extent/bbox",
            "/inputs/features",
            "/inputs/image/href",
            "/inputs/resultName",
            "/outputs/classifiedObjects/format/mediaType",
            "/outputs/classifiedObjects/transmissionMode",
            "/response",
            "/subscriber/successUri",
        ]
    nothing = client.http.post(ECHO, json={"inputs": [], "outputs": 4, "response": "x"}, buffered=True)
    assert {fault["pointer"] for fault in nothing.json["errors"]} == {"/inputs", "/outputs", "/response"}


def test_features_that_cannot_be_read_bring_no_false_faults(client: Client, home: Path, inputs: dict[str, Any]) -> None:
    given = inputs | {"features": {"href": "file:///nowhere"}, "classLabelField": "ImageID"}
    for image, pointers in [
        ("a.tif", ["/inputs/features/href"]),
        ("plain.png", ["/inputs/features/href", "/inputs/image/href"]),
    ]:
        response = client.execute("classify-objects", given | {"image": link(home / "imagery" / image)})
        assert [fault["pointer"] for fault in response.json["errors"]] == pointers, response.text


@pytest.mark.parametrize(
    ("image", "pointer"),
    [
        ({"href": 5}, "/inputs/image/href"),
        ({"href": "file:///a.tif", "type": 5}, "/inputs/image/type"),
        ({"value": "", "encoding": "base64", "mediaType": "image/gif"}, "/inputs/image"),
        ({"href": None, "value": ""}, "/inputs/image/href"),
        ("file:///a.tif", "/inputs/image"),
        (["a"], "/inputs/image/0"),
        ([], "/inputs/image"),
    ],
)
def test_images_that_are_none(client: Client, inputs: dict[str, Any], image: Any, pointer: str) -> None:
    response = client.execute("classify-objects", inputs | {"image": image})
    assert response.status_code == 400
    assert pointer in [fault["pointer"] for fault in response.json["errors"]]


@pytest.mark.parametrize("members", [{}, {"outputs": {}}])
@pytest.mark.parametrize("process", ["echo", "describe-model", "classify-objects"])
def test_subscribers_are_checked_whether_there_is_a_job_or_not(
    client: Client, inputs: dict[str, Any], process: str, members: dict[str, Any]
) -> None:
    given = {"echo": {"echo": "a"}, "describe-model": {"model": "brightness"}, "classify-objects": inputs}[process]
    response = client.execute(process, given, subscriber={"successUri": "http://10.0.0.1/"}, **members)
    assert (response.status_code, response.json["errors"][0]["pointer"]) == (403, "/subscriber/successUri")


# 5: errors and methods


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/jobs/nothing", 404, OGC + "no-such-job"),
        ("DELETE", "/jobs/nothing", 404, OGC + "no-such-job"),
        ("GET", "/jobs/nothing/results", 404, OGC + "no-such-job"),
        ("GET", "/jobs/nothing/results/classifiedObjects", 404, OGC + "no-such-job"),
        ("GET", "/jobs/{JOB}", 404, OGC + "no-such-job"),
        ("GET", "/jobs/{job}/results/other", 404, "NotFound"),
        ("GET", "/processes/nothing", 404, OGC + "no-such-process"),
        ("POST", "/processes/nothing/execution", 404, OGC + "no-such-process"),
        ("POST", "/processes/nothing/validate", 404, OGC + "no-such-process"),
        ("POST", "/processes/echo/validate", 404, "NotFound"),
        ("GET", EXECUTION, 405, "MethodNotAllowed"),
        ("PUT", "/jobs/{job}", 405, "MethodNotAllowed"),
        ("DELETE", "/jobs", 405, "MethodNotAllowed"),
        ("GET", "/processes/classify-objects/validate", 405, "MethodNotAllowed"),
        ("GET", "/nothing", 404, "NotFound"),
        ("GET", "/collections/nothing", 404, "NotFound"),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "application/problem+json; charset=utf-8", "text/html"])
def test_errors(client: Client, job: str, method: str, path: str, status: int, kind: str, accept: str) -> None:
    where = path.replace("{job}", job).replace("{JOB}", job.upper())
    response = client.http.open(where, method=method, json={}, headers={"Accept": accept}, buffered=True)
    assert response.status_code == status, response.text
    assert response.mimetype == ("application/problem+json" if "problem" in accept else "application/json")
    assert {"type", "title", "status", "detail", "instance"} <= set(response.json)
    assert "Accept" in response.vary
    assert (response.json["type"], response.json["status"], response.json["instance"]) == (kind, status, where)
    assert ("Allow" in response.headers) == (status == 405)


# 6: the list of jobs


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=1", 200),
        ("limit=10001", 200),
        ("limit=0", 400),
        ("limit=-1", 400),
        ("limit=1e1", 400),
        ("limit=%31", 200),
        ("limit=", 400),
        ("offset=99999999999999999999", 200),
        ("offset=-1", 400),
        ("status=successful,failed&status=running", 200),
        ("status=Successful", 400),
        ("status=", 200),
        ("type=process", 200),
        ("type=other", 200),
        ("datetime=2026-01-01t00:00:00z/..", 200),
        ("processID=nothing", 200),
        ("processID=%00", 200),
        ("datetime=2026-01-01/..", 200),
        ("datetime=../2026-01-01T00:00:00Z", 200),
        ("datetime=../..", 400),
        ("datetime=yesterday", 400),
        ("datetime=2027-01-01/2026-01-01", 400),
        ("minDuration=-1", 400),
        ("maxDuration=nan", 400),
        ("minDuration=2&maxDuration=1", 200),
        ("unknown=1", 200),
    ],
)
def test_lists_of_jobs(client: Client, job: str, query: str, status: int) -> None:
    response = client.http.get(f"/jobs?{query}", buffered=True)
    assert response.status_code == status, response.text
    if status == 200:
        assert [item["rel"] for item in response.json["links"]][:2] == ["self", "alternate"]
        for item in response.json["jobs"]:
            assert all(link["rel"] != RESULTS or item["status"] == "successful" for link in item["links"])


def test_jobs_are_found_by_the_time_that_they_are_told_by(client: Client, job: str) -> None:
    created = client.http.get(f"/jobs/{job}").json["created"]
    for interval in (created, f"{created}/{created}", f"../{created}", f"{created}/.."):
        found = client.http.get("/jobs", query_string={"datetime": interval, "limit": 10_000}, buffered=True).json
        assert job in [item["jobID"] for item in found["jobs"]], interval


def test_any_of_several_types_is_found(client: Client, job: str) -> None:
    for query in ("type=process,other", "type=other&type=process"):
        assert client.http.get(f"/jobs?{query}").json["jobs"]
    assert not client.http.get("/jobs?type=other").json["jobs"]


def test_the_page_of_jobs_shows_what_is_asked_for(client: Client, job: str) -> None:
    for query, is_shown in (("status=successful", True), ("status=failed", False), ("processID=echo", False)):
        page = client.http.get(f"/jobs?f=html&{query}&limit=10000", buffered=True)
        assert (page.status_code, job in page.text) == (200, is_shown), query
    first = client.http.get("/jobs?f=html&status=successful&limit=1", buffered=True).text
    total = len(client.http.get("/jobs?status=successful&limit=10000").json["jobs"])
    has_next = total > 1  # as other tests left them; the link to the next page asks for the same
    assert ("offset=1" in first, "status=successful" in first) == (has_next, has_next)


def test_the_page_of_results_leads_to_them(client: Client, job: str) -> None:
    page = client.http.get(f"/jobs/{job}/results?f=html", buffered=True).text
    assert f"/jobs/{job}/results/classifiedObjects" in page
    assert "application/geo+json" in page
    assert "bright" in page


def test_the_list_of_processes_has_pages(client: Client) -> None:
    whole = client.http.get("/processes").json
    assert [link["rel"] for link in whole["links"]].count("next") == 0
    path, found = "/processes?limit=1", []
    while path:
        page = client.http.get(path).json
        assert len(page["processes"]) == 1
        found += page["processes"]
        links = {link["rel"]: link["href"] for link in page["links"] if link["rel"] in ("next", "prev", "self")}
        assert "limit=1" in links["self"]
        assert "f=html" in next(link["href"] for link in page["links"] if link["rel"] == "alternate")
        assert ("prev" in links) == (len(found) > 1)
        path = links.get("next", "").removeprefix("http://localhost")
    assert found == whole["processes"]
    assert client.http.get("/processes?offset=9").json["processes"] == []


def test_the_landing_page_links_nothing_that_is_not_there(client: Client) -> None:
    for linked in client.http.get("/").json["links"]:
        if linked["href"].startswith("http://localhost"):
            response = client.http.get(linked["href"].removeprefix("http://localhost"), buffered=True)
            assert response.status_code == 200, linked
            assert response.mimetype == linked["type"].partition(";")[0]
