"""The pages: what they are made from, what they lead to, and what they may load."""

from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import pytest
from shapely import Polygon
from shapely.geometry import mapping

from processes.errors import ForbiddenError, InputError
from processes.settings import Settings
from processes.sources.folders import list_entries
from processes.web.assets import STATIC
from rasters import box_around, to_map
from service import Client, link

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
PAGES = (
    "/",
    "/processes",
    "/processes/classify-objects",
    "/processes/describe-model",
    "/processes/echo",
    "/jobs",
    "/models",
    "/openapi",
    "/conformance",
    "/collections",
    "/jobs/{job}",
    "/jobs/{job}/results",
)


class Tags(HTMLParser):
    """The tags of a page, and what scripts and styles stand in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in ("script", "style") and data.strip():
            self.inline.append(data)

    def values(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.tags if name in attributes]


@pytest.fixture(scope="module")
def job(client: Client, inputs: dict[str, Any]) -> str:
    answer = client.execute("classify-objects", inputs, {"Prefer": "respond-async"})
    job = str(answer.json["jobID"])
    deadline = time.monotonic() + 60
    while client.http.get(f"/jobs/{job}").json["status"] != "successful":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return job


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_from_this_service_alone(client: Client, job: str, path: str) -> None:
    page = client.http.get(path.format(job=job), headers=BROWSER)
    assert (page.status_code, page.mimetype) == (200, "text/html")
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert ("unsafe-inline" in policy) == (path == "/openapi")
    found = Tags(page.text)
    assert not found.inline
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on") or name == "style"]
    loaded = [attributes["href"] for tag, attributes in found.tags if tag == "link"] + found.values("src")
    assert loaded
    for address in loaded:
        assert address.startswith("/assets/")
        assert client.http.get(address, buffered=True).status_code == 200, address


@pytest.mark.parametrize("path", PAGES)
def test_every_link_of_a_page_leads_somewhere(client: Client, job: str, path: str) -> None:
    page = client.http.get(path.format(job=job), headers=BROWSER)
    addresses = [attributes["href"] for tag, attributes in Tags(page.text).tags if tag == "a"]
    assert addresses
    for address in addresses:
        if "pygeoapi.io" in address or "apache.org" in address or address.startswith("#"):
            continue
        here = address.removeprefix("http://localhost")
        target = path.format(job=job) + here if here.startswith("?") else here
        assert client.http.get(target, headers=BROWSER, buffered=True).status_code == 200, address
    assert ">none<" not in page.text.lower()
    assert "tel:" not in page.text


@pytest.mark.parametrize("process", ["classify-objects", "describe-model", "echo"])
def test_the_form_has_a_control_for_each_input(client: Client, process: str) -> None:
    description = client.http.get(f"/processes/{process}?f=json").json
    found = Tags(client.http.get(f"/processes/{process}?f=html").text)
    names = [attributes.get("name") for tag, attributes in found.tags if tag in ("input", "select", "textarea")]
    assert sorted(filter(None, names)) == sorted(description["inputs"])
    buttons = [attributes.get("name") for tag, attributes in found.tags if tag == "button"]
    assert "run" in buttons
    assert ("validate" in buttons) == (process == "classify-objects")
    ids = set(found.values("id"))
    assert len(ids) == len(found.values("id"))
    assert set(found.values("for")) <= ids
    assert set(found.values("aria-describedby")) <= ids
    (example,) = found.values("data-example")
    assert (json.loads(example) if example else None) == description.get("example")


def test_a_browser_gets_an_error_as_a_page(client: Client) -> None:
    page = client.http.get("/jobs/nothing", headers=BROWSER)
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert "there is no job" in page.text
    for accept in ("text/html", "*/*", "application/json"):
        assert client.http.get("/jobs/nothing", headers={"Accept": accept}).json["status"] == 404
    assert client.http.get("/jobs/nothing?f=json", headers=BROWSER).json["status"] == 404
    refused = client.http.get("/uploads", headers=BROWSER)
    assert (refused.status_code, refused.mimetype) == (405, "text/html")
    assert "POST" in refused.headers["Allow"]


@pytest.mark.parametrize("form", ["json", "jsonld"])
def test_the_landing_page_has_no_address_that_is_none(client: Client, form: str) -> None:
    assert '"none"' not in client.http.get(f"/?f={form}").text


def test_what_clients_write_is_shown_as_text(client: Client) -> None:
    page = client.http.get("/jobs/<script>alert(1)</script>", headers=BROWSER)
    assert page.status_code == 404
    assert "<script>alert" not in page.text


def events(client: Client, job: str, seen: str | None = None) -> Any:
    return client.http.get(f"/jobs/{job}/events", headers={} if seen is None else {"Last-Event-ID": seen})


def test_events_tell_what_is_new_and_end_with_the_job(client: Client, job: str) -> None:
    answer = events(client, job)
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    found = re.fullmatch(r"retry: 1000\n\nid: (.+)\nevent: status\ndata: (.+)\n\n", answer.text)
    assert found is not None
    assert json.loads(found[2]) == {k: v for k, v in client.http.get(f"/jobs/{job}").json.items() if k != "request"}
    assert events(client, job, found[1]).status_code == 204
    assert events(client, job, "other").status_code == 200
    assert events(client, "nothing").status_code == 404


def test_events_of_a_job_that_goes_on_repeat_nothing(client: Client) -> None:
    started = client.execute("echo", {"echo": "a", "pause": 60}, {"Prefer": "respond-async"}).json["jobID"]
    try:
        first = events(client, started).text
        (seen,) = re.findall("^id: (.+)$", first, re.MULTILINE)
        again = events(client, started, seen)
        assert again.status_code == 200
        assert again.text == "retry: 1000\n\n" or f"id: {seen}" not in again.text  # it has begun meanwhile
    finally:
        client.http.delete(f"/jobs/{started}")
    assert "event: status" in events(client, started, seen).text


def test_models_are_told(client: Client) -> None:
    (model,) = client.http.get("/models").json["models"]
    assert (model["id"], model["isUsable"]) == ("brightness", True)
    assert [item["name"] for item in model["classes"]]
    assert model["id"] in client.http.get("/models", headers=BROWSER).text


def test_folders_are_listed_and_never_left(client: Client, home: Path, tmp_path: Path) -> None:
    (root,) = client.http.get("/imagery").json["folders"]
    assert root["href"] == f"{(home / 'imagery').as_uri()}/"
    listed = client.http.get("/imagery", query_string={"folder": root["href"]}).json
    assert [item["name"] for item in listed["files"]] == sorted(path.name for path in (home / "imagery").iterdir())
    for folder in (home / "imagery" / "..", home, Path("/etc")):
        assert client.http.get("/imagery", query_string={"folder": f"{folder.as_uri()}/"}).status_code == 403
    allowed, other = tmp_path / "allowed", tmp_path / "other"
    for path in (allowed / "inside", other):
        path.mkdir(parents=True)
    (allowed / "link").symlink_to(other)
    (allowed / ".hidden").touch()
    settings = Settings.from_plugin({"imagery": str(allowed)})
    found = list_entries(allowed.as_uri(), settings)
    assert [item["name"] for item in found["folders"] + found["files"]] == ["inside"]
    with pytest.raises(ForbiddenError):
        list_entries((allowed / "link").as_uri(), settings)
    with pytest.raises(InputError, match="there is no folder"):
        list_entries((allowed / "nothing").as_uri(), settings)


def test_what_pages_load_is_small_and_has_its_licence(client: Client) -> None:
    for folder in ("pico", "swagger-ui"):
        assert list((STATIC / folder).glob("LICENSE*"))
    styles = client.http.get("/assets/pico/pico.min.css", headers={"Accept-Encoding": "gzip"}, buffered=True)
    assert styles.headers["Content-Encoding"] == "gzip"
    assert len(styles.data) < 15_000
    whole = client.http.get("/assets/own/form.js", buffered=True)
    condition = {"If-None-Match": whole.headers["ETag"]}
    assert client.http.get("/assets/own/form.js", headers=condition, buffered=True).status_code == 304
    assert client.http.get("/assets/../app.py").status_code == 404
    assert client.http.get("/assets/%2e%2e/app.py").status_code == 404


def test_a_result_is_looked_through_from_the_least_sure_object_on(client: Client, home: Path) -> None:
    boxes = [box_around(x, 20, 8, 8) for x in range(8, 56, 8)]
    geometries = [mapping(cast(Polygon, to_map(box))) for box in boxes]
    objects = [
        {"type": "Feature", "id": f"n {number}", "properties": {"number": number}, "geometry": geometry}
        for number, geometry in enumerate([*geometries, None])
    ]
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    given = {
        "image": link(home / "imagery" / "a.tif"),
        "features": {"type": "FeatureCollection", "crs": crs, "features": objects},
        "model": "brightness",
    }
    answer = client.execute("classify-objects", given)
    job = answer.headers["Link"].split("/jobs/")[1].split(">")[0]
    rows = [feature | feature["properties"] for feature in answer.json["features"]]
    sure = sorted((row for row in rows if row["Confidence"] is not None), key=lambda row: row["Confidence"])

    def review(**query: Any) -> Any:
        return client.http.get(f"/jobs/{job}/review", query_string=query).json

    found = review()
    assert [item["id"] for item in found["objects"]] == [row["id"] for row in sure] + ["n 6"]
    assert (found["matched"], sum(found["histogram"])) == (len(rows), len(sure))
    assert found["objects"][0]["properties"]["number"] == sure[0]["number"]
    label = sure[0]["ClassLabel"]
    assert review(**{"class": label})["matched"] == sum(row["ClassLabel"] == label for row in rows)
    assert review(**{"class": label[:-1]})["matched"] == 0
    assert [item["id"] for item in review(status="empty-geometry")["objects"]] == ["n 6"]
    limit = sure[2]["Confidence"]
    expected = [row["id"] for row in sure if row["Confidence"] >= limit][1:3]
    assert [item["id"] for item in review(minConfidence=limit, limit=2, offset=1)["objects"]] == expected
    assert client.http.get(f"/jobs/{job}/review?minConfidence=2").status_code == 400
    chip = client.http.get(f"/jobs/{job}/objects/{found['objects'][0]['id']}/chip.png", buffered=True)
    assert (chip.status_code, chip.mimetype) == (200, "image/png")
    page = client.http.get(f"/jobs/{job}/results", headers=BROWSER).text
    for ending in (".gpkg", ".fgb", ".parquet", ".csv", ".geojsonl"):
        assert f"/jobs/{job}/results/classifiedObjects{ending}" in page
    assert f"/jobs/{job}/results/style.qml" in page
