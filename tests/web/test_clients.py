"""Clients that others have written, against a running service: OWSLib, and GDAL as pyogrio brings it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyogrio
import pytest
from owslib.ogcapi.processes import Processes
from pyogrio.errors import DataSourceError

from jobs_service import Service, make_town, objects, running
from service import ROOT

pytestmark = pytest.mark.jobs

COUNT = 12
"""Objects of a request."""

SLOW_COUNT = 2000
"""Objects of a job that is not done before somebody looks."""

PROCESS = "classify-objects"
LABELS = {"ClassLabel", "ClassValue", "Confidence", "ClassStatus"}
FORMATS = {
    "GeoJSON": "application/geo+json",
    "FlatGeobuf": "application/vnd.flatgeobuf",
    "GPKG": "application/geopackage+sqlite3",
}
"""Media types of the layers that GDAL tells by their first bytes, by its names for them."""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    town = make_town(tmp_path_factory.mktemp("town"))
    (town / "imagery" / "houses.geojson").write_text(json.dumps(objects(COUNT)))
    return town


@pytest.fixture(scope="module")
def service(town: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(Service(town, tmp_path_factory.mktemp("service"))) as service:
        yield service


@pytest.fixture
def owslib(service: Service) -> Any:
    return Processes(service.url)


def wanted(media_type: str, **members: str) -> dict[str, Any]:
    """Return the outputs of a request for a format."""
    return {"classifiedObjects": {"format": {"mediaType": media_type}, **members}}


def finished_job(service: Service, media_type: str, **members: Any) -> str:
    """Return the URL of a job that is done, with a result in a format."""
    reply = service.execute(service.inputs(COUNT), "respond-async", outputs=wanted(media_type), **members)
    assert reply.status == 201, reply.body
    assert service.wait(reply.json["jobID"])["status"] == "successful"
    return f"{service.url}/jobs/{reply.json['jobID']}"


def read(path: str) -> tuple[dict[str, Any], Any]:
    """Open a layer with GDAL, the first where there are several; return what is told of it, and its rows."""
    meta, table = pyogrio.read_arrow(path, layer=0)
    return meta, table


def raw_labels(reply: Any) -> list[str]:
    return [feature["properties"]["ClassLabel"] for feature in reply["features"]]


def test_owslib_reads_what_the_service_tells_of_itself(owslib: Any) -> None:
    assert "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/core" in owslib.conformance()["conformsTo"]
    assert f"/processes/{PROCESS}/execution" in owslib.api()["paths"]
    assert {process["id"] for process in owslib.processes()} == {PROCESS, "describe-model", "echo"}
    description = owslib.process(PROCESS)
    assert {"image", "features", "model"} <= description["inputs"].keys()
    assert description["inputs"]["model"]["schema"]["enum"] == ["quick", "slow"]


def test_owslib_executes(service: Service, owslib: Any) -> None:
    document = owslib.execute(PROCESS, service.inputs(COUNT))
    assert document["classifiedObjects"]["mediaType"] == "application/geo+json"
    layer = document["classifiedObjects"]["value"]
    assert [feature["id"] for feature in layer["features"]] == list(range(COUNT))
    assert layer["features"][0]["properties"].keys() >= LABELS
    assert 'rel="monitor"' in owslib.response_headers["Link"]
    assert raw_labels(owslib.execute(PROCESS, service.inputs(COUNT), response="raw")) == raw_labels(layer)
    assert owslib.execute("describe-model", {"model": "quick"})["modelInfo"]["value"]["id"] == "quick"


def test_owslib_gets_a_file_as_base64_or_as_a_link(service: Service, owslib: Any, tmp_path: Path) -> None:
    document = owslib.execute(PROCESS, service.inputs(COUNT), wanted(FORMATS["GPKG"]))["classifiedObjects"]
    assert (document["encoding"], document["mediaType"]) == ("base64", FORMATS["GPKG"])
    (tmp_path / "labelled.gpkg").write_bytes(base64.b64decode(document["value"]))
    assert len(read(str(tmp_path / "labelled.gpkg"))[1]) == COUNT
    outputs = wanted(FORMATS["FlatGeobuf"], transmissionMode="reference")
    link = owslib.execute(PROCESS, service.inputs(COUNT), outputs)["classifiedObjects"]
    assert link["type"] == FORMATS["FlatGeobuf"]
    assert len(read(link["href"])[1]) == COUNT


def test_owslib_executes_a_job(service: Service, owslib: Any) -> None:
    accepted = owslib.execute(PROCESS, service.inputs(COUNT), async_=True)
    job = accepted["jobID"]
    assert (accepted["type"], accepted["processID"]) == ("process", PROCESS)
    assert owslib.response_headers["Location"] == f"{service.url}/jobs/{job}"
    assert owslib.response_headers["Preference-Applied"] == "respond-async"
    assert service.wait(job)["status"] == "successful"
    # what it asks for, unless told otherwise, is a document; the layer itself is beside it
    results = service.get(f"/jobs/{job}/results").json
    layer = service.get(f"/jobs/{job}/results/classifiedObjects").json
    assert results["classifiedObjects"]["value"] == layer
    assert raw_labels(layer) == raw_labels(owslib.execute(PROCESS, service.inputs(COUNT), response="raw"))
    assert service.request("DELETE", f"/jobs/{job}").json["status"] == "dismissed"
    assert service.get(f"/jobs/{job}/results").status == 410


@pytest.mark.parametrize(
    ("changes", "status", "pointers"),
    [
        ({"cellSize": 0, "colour": "red"}, 400, {"/inputs/cellSize", "/inputs/colour"}),
        ({"model": "none"}, 400, {"/inputs/model"}),
        ({"image": {"href": "file:///etc/passwd"}}, 403, {"/inputs/image/href"}),
    ],
    ids=["inputs", "model", "folder"],
)
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_owslib_tells_what_is_wrong(
    service: Service, owslib: Any, changes: dict[str, Any], status: int, pointers: set[str], is_async: bool
) -> None:
    with pytest.raises(RuntimeError) as caught:
        owslib.execute(PROCESS, service.inputs(COUNT, **changes), async_=is_async)
    document = json.loads(str(caught.value))
    assert document["status"] == status
    assert {error["pointer"] for error in document["errors"]} == pointers


def test_owslib_tells_that_there_is_no_process(owslib: Any) -> None:
    for ask in (owslib.process, lambda name: owslib.execute(name, {})):
        with pytest.raises(RuntimeError, match=r"ogcapi-processes-1/1\.0/no-such-process"):
            ask("none")


@pytest.mark.parametrize("driver", FORMATS)
def test_gdal_opens_the_address_of_a_result(service: Service, driver: str) -> None:
    job = finished_job(service, FORMATS[driver])
    expected = raw_labels(service.execute(service.inputs(COUNT)).json)
    for address in (f"{job}/results", f"{job}/results/classifiedObjects"):
        for path in (address, f"/vsicurl/{address}"):
            meta, table = read(path)
            assert meta["crs"] == ("EPSG:4326" if driver == "GeoJSON" else "EPSG:32633")
            assert set(table.column_names) >= LABELS | {"n"}
            assert table["n"].to_pylist() == list(range(COUNT))
            assert table["ClassLabel"].to_pylist() == expected
            info = pyogrio.read_info(path, layer=0)
            assert (info["driver"], info["features"], info["geometry_type"]) == (driver, COUNT, "Point")


def test_gdal_s_own_http_opens_geojson(service: Service) -> None:
    job = finished_job(service, FORMATS["GeoJSON"])
    assert len(read(f"GeoJSON:{job}/results")[1]) == COUNT  # which pyogrio does not make a /vsicurl/ of


def test_gdal_opens_csv_when_told_that_it_is(service: Service) -> None:
    job = finished_job(service, "text/csv")
    meta, table = read(f"CSV:/vsicurl/{job}/results/classifiedObjects")
    assert len(table) == COUNT
    assert set(table.column_names) > LABELS
    assert meta["crs"] is None


@pytest.mark.parametrize("driver", FORMATS)
def test_gdal_opens_the_layer_of_a_job_that_was_asked_for_a_document(service: Service, driver: str) -> None:
    job = finished_job(service, FORMATS[driver], response="document")
    with pytest.raises(DataSourceError):
        read(f"{job}/results")
    assert len(read(f"{job}/results/classifiedObjects")[1]) == COUNT


def test_gdal_says_that_there_is_no_result_yet(service: Service) -> None:
    job = service.submit(SLOW_COUNT, "slow")
    with pytest.raises(DataSourceError, match="404"):
        read(f"{service.url}/jobs/{job}/results")
    service.request("DELETE", f"/jobs/{job}")


def snippet(service: Service, holds: str) -> str:
    """Return a snippet of the page on clients, made to ask this service about what is there."""
    page = (ROOT / "docs" / "clients.md").read_text()
    codes: list[str] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (code,) = (code for code in codes if holds in code)
    for shown, real in {
        "http://127.0.0.1:5000": service.url,
        "file:///imagery/scene.tif": (service.town / "imagery" / "town.tif").as_uri(),
        "file:///imagery/houses.geojson": (service.town / "imagery" / "houses.geojson").as_uri(),
        "roof-damage": "quick",
    }.items():
        code = code.replace(shown, real)
    return code


def test_the_snippets_of_the_page_on_clients_work(service: Service, tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(snippet(service, "owslib"), names)  # noqa: S102
    assert len(names["layer"]["features"]) == len(names["same"]["features"]) == COUNT
    assert raw_labels(names["layer"]) == raw_labels(names["same"])
    assert service.get(names["job"].removeprefix(service.url)).json["status"] == "dismissed"
    job = finished_job(service, FORMATS["GPKG"])
    exec(snippet(service, "pyogrio").replace(f"{service.url}/jobs/ID", job), names)  # noqa: S102
    assert len(names["table"]) == COUNT
