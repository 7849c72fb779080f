"""The OpenAPI document: valid, committed as it is made, and true of what the application takes and answers."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from jsonschema import Draft4Validator
from openapi_spec_validator import OpenAPIV30SpecValidator

from processes.settings import CONFIGURATION
from processes.web.openapi.document import MEDIA_TYPE, configured_document
from processes.web.openapi.responses import HEADERS
from service import ROOT, Client, link

EXAMPLES = sorted((ROOT / "openapi" / "examples").glob("*.json"))


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """Return the document of the default configuration."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("CLASSIFY_")]:
            patch.delenv(name)
        return configured_document(ROOT / CONFIGURATION)


def faults(document: Mapping[str, Any], schema: Mapping[str, Any], value: Any) -> list[str]:
    """Return what is wrong with a value; booleans in `exclusiveMinimum` are Draft 4's."""
    whole = {"allOf": [schema], "components": document["components"]}
    return [f"{error.json_path}: {error.message}" for error in Draft4Validator(whole).iter_errors(value)]


def resolved(document: Mapping[str, Any], item: Any) -> Any:
    if "$ref" not in item:
        return item
    _, kind, name = item["$ref"].removeprefix("#/").split("/")
    return document["components"][kind][name]


def request_schema(process: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{process}-request"}


# the document itself


def test_the_committed_document_is_what_is_made(document: dict[str, Any]) -> None:
    committed = yaml.safe_load((ROOT / "openapi" / "openapi.yml").read_text())
    assert committed == document, "run `make openapi`"


def test_it_is_valid(document: dict[str, Any]) -> None:
    assert [error.message for error in OpenAPIV30SpecValidator(document).iter_errors()] == []


def test_it_can_be_sent(document: dict[str, Any]) -> None:
    assert json.loads(msgspec.json.encode(document)) == document


def _references(item: Any) -> Iterator[str]:
    if isinstance(item, dict):
        if isinstance(item.get("$ref"), str):
            yield item["$ref"]
        for part in item.values():
            yield from _references(part)
    elif isinstance(item, list):
        for part in item:
            yield from _references(part)


def test_it_refers_to_nothing_elsewhere_and_has_nothing_that_is_not_referred_to(document: dict[str, Any]) -> None:
    components = {f"#/components/{kind}/{name}" for kind, items in document["components"].items() for name in items}
    assert set(_references(document)) == components


def test_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    operations = [item for methods in document["paths"].values() for item in methods.values() if isinstance(item, dict)]
    names = [item["operationId"] for item in operations]
    assert len(names) == len(set(names))
    assert all(re.fullmatch("[a-z]+([A-Z][a-z]+)+", name) for name in names)
    known = {tag["name"] for tag in document["tags"]}
    assert all(set(item["tags"]) <= known and item["summary"] for item in operations)


# what programs that generate clients need: each of these was a client that did not work


def schemas(item: Any, at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the schemas of the document with their places."""
    if isinstance(item, list):
        for number, part in enumerate(item):
            yield from schemas(part, f"{at}/{number}")
    elif isinstance(item, dict):
        is_schema = at.endswith(("/schema", "/items", "/additionalProperties")) or re.search(
            r"(/components/schemas|/properties)/[^/]+$|/(allOf|anyOf|oneOf)/\d+$", at
        )
        if is_schema:
            yield at, item
        for word, part in item.items():
            if word not in ("example", "default", "enum", "required"):
                yield from schemas(part, f"{at}/{word}")


def places(document: Any, condition: Callable[[str, dict[str, Any]], bool]) -> list[str]:
    return [at for at, schema in schemas(document) if condition(at, schema)]


def is_component(at: str) -> bool:
    return re.fullmatch("/components/schemas/[^/]+", at) is not None


def test_objects_with_members_or_a_title_have_names(document: dict[str, Any]) -> None:
    assert len(list(schemas(document))) > 500
    assert not places(document, lambda at, item: "properties" in item and not is_component(at))
    assert not places(
        document, lambda at, item: item.get("type") == "object" and "title" in item and not is_component(at)
    )


def test_no_two_components_make_one_class(document: dict[str, Any]) -> None:
    components = document["components"]["schemas"]
    titles = {
        item["title"]: name for name, item in components.items() if item.get("type") == "object" and "title" in item
    }
    classes = [*components, *(title for title, name in titles.items() if class_name(title) != class_name(name))]
    assert len({class_name(name) for name in classes}) == len(classes)


def class_name(name: str) -> str:
    """Return what a name and others of the same class have in common."""
    return re.sub("[^a-z0-9]", "", name.lower())


def test_defaults_stand_neither_in_branches_nor_at_members(document: dict[str, Any]) -> None:
    assert not places(
        document, lambda at, item: "default" in item and re.search(r"Of/\d+|/properties/", at) is not None
    )


def test_objects_list_what_they_require_and_say_that_they_have_any_members(document: dict[str, Any]) -> None:
    assert not places(document, lambda at, item: not {*item.get("required", ())} <= item.get("properties", {}).keys())
    assert not places(
        document,
        lambda at, item: item.get("type") == "object" and not item.keys() & {"properties", "additionalProperties"},
    )


def test_branches_of_what_a_request_takes_are_told_apart(document: dict[str, Any]) -> None:
    allowed = ("-item", "responses")
    assert not places(document, lambda at, item: "anyOf" in item and not any(word in at for word in allowed))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_valid_and_committed(document: dict[str, Any], path: Path) -> None:
    example = json.loads(path.read_text())
    body = document["paths"][f"/processes/{path.stem}/execution"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"] == request_schema(path.stem)
    assert body["example"] == example
    assert faults(document, body["schema"], example) == []


def test_every_process_has_its_example(document: dict[str, Any]) -> None:
    executed = [path.split("/")[2] for path in document["paths"] if path.endswith("/execution")]
    assert sorted(executed) == [path.stem for path in EXAMPLES]


# the application


def test_it_is_served_and_its_page_too(client: Client, configuration: Path) -> None:
    served = client.http.get("/openapi")
    assert served.content_type == MEDIA_TYPE
    assert served.json == configured_document(configuration)
    assert served.json["servers"] == [{"url": "http://localhost"}]
    for page in (client.http.get("/openapi?f=html"), client.http.get("/openapi", headers={"Accept": "text/html"})):
        assert page.mimetype == "text/html"
        assert 'data-document="/openapi?f=json"' in page.text


def test_every_operation_is_a_route(client: Client, document: dict[str, Any]) -> None:
    routes = client.http.application.url_map.bind("localhost")
    for path, methods in document["paths"].items():
        for method in methods.keys() & {"get", "head", "post", "delete"}:
            routes.match(re.sub("{.*?}", "x", path), method.upper())


def test_every_route_of_ours_is_an_operation(client: Client, document: dict[str, Any]) -> None:
    foreign = ("/assets", "/static", "/collections", "/stac", "/TileMatrixSets", "/asyncapi", "/admin")
    told = {re.sub("{.*?}|/processes/[^/]+", "*", path) for path in document["paths"]}
    for rule in client.http.application.url_map.iter_rules():
        if not rule.rule.startswith(foreign):
            assert re.sub("<.*?>|/processes/[^/]+", "*", rule.rule) in told


TEXT = {"qualified": {"value": "brightness"}, "with type": {"value": "brightness", "mediaType": "text/plain"}}


@pytest.mark.parametrize(
    ("change", "is_good"),
    [
        ({}, True),
        ({"features": None}, False),
        ({"features": {"type": "FeatureCollection"}}, False),
        ({"features": [{"href": "file:///a.gpkg"}]}, False),
        ({"model": TEXT["qualified"]}, True),
        ({"model": TEXT["with type"]}, True),
        ({"model": TEXT["qualified"] | {"other": 1}}, False),
        ({"model": ["brightness"]}, False),
        ({"model": 7}, False),
        ({"image": []}, False),
        ({"image": "a.tif"}, False),
        ({"image": {"value": "", "mediaType": "image/png"}}, False),
        ({"image": {"value": "", "encoding": "base64", "mediaType": "image/gif"}}, False),
        ({"modelArguments": {"class_scores": True}}, True),
        ({"modelArguments": {"value": {"class_scores": "True"}}}, True),
        ({"modelArguments": []}, False),
        ({"classLabelField": "After"}, True),
        ({"classLabelField": "1st"}, False),
        ({"processingMode": {"value": "separate"}}, True),
        ({"processingMode": "both"}, False),
        ({"extent": {"bbox": [-180, -90, 180, 90]}}, True),
        ({"extent": {"value": {"bbox": [-180, -90, 180, 90], "crs": "EPSG:4326"}}}, True),
        ({"extent": {"bbox": [-180, -90, 180]}}, False),
        ({"extent": {"bbox": [-180, -90, 180, 90], "other": 1}}, False),
        ({"cellSize": 0}, False),
        ({"cellSize": "1"}, False),
        ({"parallelProcessingFactor": "80%"}, True),
        ({"parallelProcessingFactor": 2}, True),
        ({"parallelProcessingFactor": "80.5%"}, False),
        ({"retries": 11}, False),
        ({"recycleInterval": 1.5}, False),
        ({"other": 1}, False),
    ],
    ids=str,
)
def test_requests_are_taken_as_the_document_says(
    client: Client, document: dict[str, Any], inputs: dict[str, Any], change: dict[str, Any], is_good: bool
) -> None:
    response = client.execute("classify-objects", inputs | change)
    assert response.status_code == (200 if is_good else 400), response.text
    assert (faults(document, request_schema("classify-objects"), {"inputs": inputs | change}) == []) == is_good


@pytest.mark.parametrize(
    ("members", "is_good"),
    [
        ({"inputs": {"echo": {"value": "a"}}}, True),
        ({"inputs": {"echo": ["a", {"value": "b"}]}}, True),
        ({"inputs": {"echo": "a", "numbers": [1, 2], "choice": True, "area": {"bbox": [1, 2, 3, 4]}}}, True),
        ({"inputs": {"echo": "a", "numbers": [1, "2"]}}, False),
        ({"inputs": {"echo": "a", "choice": "b"}}, False),
        ({"inputs": {}}, False),
        ({"outputs": {"echo": {"format": {"mediaType": "text/plain"}}}}, True),
        ({"outputs": {"echo": {"format": {"mediaType": "text/html"}}}}, False),
        ({"outputs": {"echo": {"transmissionMode": "both"}}}, False),
        ({"outputs": {}}, True),
        ({"outputs": {"other": {}}}, False),
        ({"response": "document"}, True),
        ({"response": "both"}, False),
        ({"subscriber": {"failedUri": "http://127.0.0.1/"}}, False),
    ],
    ids=str,
)
def test_members_of_requests_are_taken_as_the_document_says(
    client: Client, document: dict[str, Any], members: dict[str, Any], is_good: bool
) -> None:
    body = {"inputs": {"echo": "a"}, **members}
    response = client.execute("echo", **body)
    assert response.status_code == (200 if is_good else 400), response.text
    assert (faults(document, request_schema("echo"), body) == []) == is_good


class Witness:
    """Sends requests, and holds each answer against the document."""

    def __init__(self, client: Client, document: Mapping[str, Any]) -> None:
        self._client = client
        self._document = document

    def ask(self, method: str, path: str, /, at: str | None = None, expect: int = 200, **more: Any) -> Any:
        """Return the answer of a path, which in the document is that of `at`."""
        response = self._client.http.open(path, method=method, buffered=True, **more)
        assert response.status_code == expect, response.text
        told = self._document["paths"][at or path][method.lower()]["responses"]
        wanted = resolved(self._document, told.get(str(expect), told["default"]))
        assert str(expect) in told, f"{method} {path} answers {expect}"
        assert {name for name in HEADERS if name in response.headers} <= wanted.get("headers", {}).keys()
        if method != "HEAD" and "content" in wanted:
            self._compare(response, wanted["content"])
        return response

    def _compare(self, response: Any, content: Mapping[str, Any]) -> None:
        form = response.content_type if response.content_type in content else response.mimetype
        assert form in content
        if response.is_json and response.status_code != 206:
            assert faults(self._document, content[form]["schema"], response.json) == []


@pytest.fixture
def witness(client: Client, document: dict[str, Any]) -> Witness:
    return Witness(client, document)


def test_answers_of_the_service_are_as_told(witness: Witness) -> None:
    for path in ("/", "/conformance", "/processes", "/processes/echo", "/processes/classify-objects"):
        for form in ("json", "html", "jsonld"):
            witness.ask("GET", f"{path}?f={form}", path)
        witness.ask("GET", f"{path}?f=nonsense", path, 400)
    witness.ask("GET", "/openapi")
    witness.ask("GET", "/openapi?f=html", "/openapi")
    witness.ask("GET", "/processes?limit=0", "/processes", 400)
    witness.ask("GET", "/jobs?limit=0", "/jobs", 400, headers={"Accept": "application/problem+json"})
    witness.ask("GET", "/jobs?f=html", "/jobs")
    witness.ask("GET", "/metrics")


@pytest.mark.parametrize("media_type", [None, "text/csv", "application/geopackage+sqlite3", "application/json"])
def test_answers_of_executions_are_as_told(witness: Witness, inputs: dict[str, Any], media_type: str | None) -> None:
    path = "/processes/classify-objects/execution"
    form = {} if media_type is None else {"format": {"mediaType": media_type}}
    asked: dict[str, Any] = {"inputs": inputs, "outputs": {"classifiedObjects": form}}
    witness.ask("POST", path, json=asked)
    witness.ask("POST", path, json=asked | {"response": "document"})
    by_reference = {"outputs": {"classifiedObjects": form | {"transmissionMode": "reference"}}}
    witness.ask("POST", path, expect=204, json=asked | by_reference)
    witness.ask("POST", path, json=asked | by_reference | {"response": "document"})


def test_answers_of_validations_are_as_told(witness: Witness, inputs: dict[str, Any]) -> None:
    path = "/processes/classify-objects/validate"
    witness.ask("POST", path, json={"inputs": inputs})
    witness.ask("POST", path, expect=400, json={"inputs": {}})
    witness.ask("POST", path, expect=403, json={"inputs": inputs | {"image": {"href": "file:///etc/passwd"}}})
    witness.ask("POST", path, expect=406, json={"inputs": inputs}, headers={"Accept": "image/png"})


def test_answers_of_the_other_processes_are_as_told(witness: Witness) -> None:
    for process, given in (("echo", {"echo": ["a", "b"]}), ("describe-model", {"model": "brightness"})):
        path = f"/processes/{process}/execution"
        members: list[dict[str, Any]] = [{}, {"response": "document"}, {"outputs": {}}]
        for more in members:
            witness.ask("POST", path, json={"inputs": given, **more})
        witness.ask("POST", path, expect=400, json={"inputs": {}})
        witness.ask("POST", path, expect=406, json={"inputs": given}, headers={"Accept": "image/png"})
        witness.ask("POST", path, expect=415, data="a", content_type="text/plain")


def test_answers_of_jobs_are_as_told(witness: Witness, inputs: dict[str, Any]) -> None:
    execution = "/processes/classify-objects/execution"
    bad = inputs | {"image": {"href": "file:///etc/passwd"}}
    witness.ask("POST", execution, expect=403, json={"inputs": bad})
    given = {"inputs": inputs | {"resultName": "storm"}}
    accepted = witness.ask("POST", execution, expect=201, json=given, headers={"Prefer": "respond-async"})
    witness.ask("POST", execution, expect=409, json=given)
    here, one = f"/jobs/{accepted.json['jobID']}", "/jobs/{jobId}"
    deadline = time.monotonic() + 30
    while witness.ask("GET", here, one).json["status"] in ("accepted", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    witness.ask("GET", f"{here}?f=html", one)
    witness.ask("GET", "/jobs")
    for path, at in (
        (f"{here}/results", f"{one}/results"),
        (f"{here}/results/classifiedObjects", f"{one}/results/{{output}}"),
        (f"{here}/results/classifiedObjects.gpkg", f"{one}/results/{{output}}"),
    ):
        whole = witness.ask("GET", path, at)
        etag = whole.headers["ETag"]
        witness.ask("GET", path, at, 206, headers={"Range": "bytes=0-9"})
        witness.ask("GET", path, at, 416, headers={"Range": "bytes=999999999-"})
        witness.ask("GET", path, at, 304, headers={"If-None-Match": etag})
        witness.ask("GET", path, at, 412, headers={"If-Match": '"other"'})
    witness.ask("HEAD", path, at)
    listed, layer = "/collections", "/collections/{collectionId}"
    for path, at in (
        ("", listed),
        ("/storm", layer),
        ("/storm/items", f"{layer}/items"),
        ("/storm/items/1", f"{layer}/items/{{featureId}}"),
    ):
        etag = witness.ask("GET", listed + path, at).headers["ETag"]
        witness.ask("GET", f"{listed}{path}?f=html", at)
        witness.ask("GET", listed + path, at, 304, headers={"If-None-Match": etag})
        witness.ask("GET", f"{listed}{path}?other=1", at, 400)
    witness.ask("GET", f"{listed}/storm/items/nothing", f"{layer}/items/{{featureId}}", 404)
    witness.ask("GET", f"{listed}/nothing/items?limit=1", f"{layer}/items", 404)
    chip = one + "/objects/{objectId}/chip.png"
    etag = witness.ask("GET", f"{here}/objects/1/chip.png", chip).headers["ETag"]
    witness.ask("GET", f"{here}/objects/1/chip.png", chip, 304, headers={"If-None-Match": etag})
    witness.ask("GET", f"{here}/objects/nothing/chip.png", chip, 404)
    witness.ask("GET", f"{here}/review?limit=3&class=dark", f"{one}/review")
    witness.ask("GET", f"{here}/review?minConfidence=2", f"{one}/review", 400)
    witness.ask("GET", f"{here}/map", f"{one}/map")
    for form, status in (("objects/0/0/0.mvt", 200), ("imagery/0/0/0.webp", 204)):
        path, at_tile = f"{here}/map/{form}", f"{one}/map/{form.replace('0/0/0', '{zoom}/{column}/{row}')}"
        etag = witness.ask("GET", path, at_tile, status).headers["ETag"]
        witness.ask("GET", path, at_tile, 304, headers={"If-None-Match": etag})
        witness.ask("GET", path.replace("0/0/0", "0/0/1"), at_tile, 404)
    for ending in ("qml", "sld", "json"):
        style = f"/results/style.{ending}"
        etag = witness.ask("GET", here + style, one + style).headers["ETag"]
        witness.ask("GET", here + style, one + style, 304, headers={"If-None-Match": etag})
    witness.ask("GET", f"{here}/results/other", at, 404)
    witness.ask("DELETE", here, one)
    witness.ask("DELETE", here, one, 410)
    witness.ask("GET", f"{here}/results", f"{one}/results", 410)
    witness.ask("GET", "/jobs/nothing", one, 404)
    witness.ask("DELETE", "/jobs/nothing", one, 404)


def test_a_failed_job_is_told_of_as_told(witness: Witness, inputs: dict[str, Any], home: Path) -> None:
    (home / "imagery" / "broken.tif").write_bytes(b"no image")
    given = {"inputs": inputs | {"image": link(home / "imagery" / "broken.tif")}}
    path, headers = "/processes/classify-objects/execution", {"Prefer": "respond-async"}
    here = f"/jobs/{witness.ask('POST', path, expect=201, json=given, headers=headers).json['jobID']}"
    deadline = time.monotonic() + 30
    while (found := witness.ask("GET", here, "/jobs/{jobId}").json)["status"] != "failed":
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    error = witness.ask("GET", f"{here}/results", "/jobs/{jobId}/results", 400).json
    assert found["exception"] == error
