"""A person at the pages, in a real Chromium that finds no other host: fills in, uploads, runs, watches, cancels."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from chromium import Page, chromium
from jobs_service import Service
from sample_service import SAMPLE, sample_service

pytestmark = [pytest.mark.pages, pytest.mark.timeout(300)]

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
LARGE, SMALL = (1440, 900), (360, 740)
VIEWS = [(size, is_dark) for size in (LARGE, SMALL) for is_dark in (False, True)]
IN_SHORT = [(LARGE, False), (SMALL, True)]
"""Of what differs little from another page that is looked at."""
MAX_PAGE_BYTES, MAX_MAP_BYTES = 600_000, 1_500_000


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with sample_service(tmp_path_factory.mktemp("sample")) as service:
        yield service


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        page.look(LARGE)
        yield page


@pytest.fixture(autouse=True)
def calm(service: Service, page: Page) -> Iterator[None]:
    """See that no request leaves, and that nothing goes wrong in the console."""
    page.errors.clear()
    page.urls.clear()
    yield
    assert page.errors == []
    assert [url for url in page.urls if not url.startswith((service.url, "data:", "blob:", "about:"))] == []


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of pictures; `PICTURES` names one that stays."""
    folder = Path(os.environ.get("PICTURES") or tmp_path_factory.mktemp("pictures"))
    folder.mkdir(exist_ok=True)
    return folder


def look_at(page: Page, pictures: Path, name: str, views: Sequence[tuple[tuple[int, int], bool]] = VIEWS) -> None:
    """Look at a page wide and narrow, light and dark: it is small, nothing sticks out, and axe finds nothing serious."""
    has_map = page.evaluate("document.getElementById('map') !== null")
    assert page.received_bytes < (MAX_MAP_BYTES if has_map else MAX_PAGE_BYTES), name
    page.evaluate(AXE)
    for size, is_dark in views:
        page.look(size, is_dark=is_dark)
        page.settle(0.1)
        page.screenshot(pictures / f"{name}-{size[0]}-{'dark' if is_dark else 'light'}.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], name
        found = page.evaluate(
            "axe.run(document, {resultTypes: ['violations']}).then(({violations}) => violations"
            ".filter((item) => ['serious', 'critical'].includes(item.impact))"
            ".map((item) => `${item.id}: ${item.nodes.map((node) => node.target + ' ' + node.failureSummary).join('; ')}`))"
        )
        assert found == [], f"{name} {size} dark={is_dark}"
    page.look(LARGE)


def without_refusals(page: Page) -> None:
    """Forget that the browser told of answers of 400, which this step is about."""
    page.errors[:] = [error for error in page.errors if "status of 400" not in error]


@pytest.mark.parametrize(
    "path", ["/", "/processes", "/processes/echo", "/processes/describe-model", "/models", "/jobs", "/conformance"]
)
def test_a_page_is_small_and_can_be_used_by_everybody(service: Service, page: Page, pictures: Path, path: str) -> None:
    page.open(f"{service.url}{path}?f=html")
    assert page.received_bytes > 0
    look_at(page, pictures, path.strip("/").replace("/", "-") or "landing")


def test_an_error_is_a_page(service: Service, page: Page, pictures: Path) -> None:
    page.open(f"{service.url}/jobs/nothing")
    assert "there is no job" in page.text("main")
    look_at(page, pictures, "error")
    page.errors[:] = [error for error in page.errors if "status of 404" not in error]


def test_the_way_is_open_by_keyboard(service: Service, page: Page) -> None:
    page.open(f"{service.url}/?f=html")
    page.press("Tab", 9)
    assert page.text(":focus") == "To the content"
    for _ in range(2):
        page.press("Tab", 9)
    assert page.text(":focus") == "Run"
    page.press("Enter", 13)
    page.until("document.title.startsWith('Processes')")


def test_faults_stand_at_their_fields(service: Service, page: Page, pictures: Path) -> None:
    page.open(f"{service.url}/processes/classify-objects?f=html")
    page.click("[name=example]")
    page.fill("cellSize", "-1")
    page.fill("retries", "many")
    page.fill("image", "file:///etc/passwd")
    page.click("[name=validate]")
    page.until("document.querySelectorAll('[aria-invalid=true]').length === 3")
    for name, words in {"cellSize": "-1", "retries": "many", "image": "not below a folder"}.items():
        described = page.evaluate(f"document.querySelector('[name={name}]').getAttribute('aria-describedby')")
        assert words in page.text(f"#{described.split()[0]}"), name
    assert page.evaluate("document.activeElement.getAttribute('aria-invalid')") == "true"
    look_at(page, pictures, "faults")
    without_refusals(page)
    page.fill("image", "upload:sample/scene.tif")
    page.fill("cellSize", "")
    page.fill("retries", "1")
    page.click("[name=validate]")
    assert "16 objects" in page.until("document.getElementById('answer').innerText")
    assert page.evaluate("document.querySelectorAll('[aria-invalid]').length") == 0


def test_upload_pick_run_watch_and_see_the_result(service: Service, page: Page, pictures: Path) -> None:
    page.open(f"{service.url}/processes/classify-objects?f=html")
    page.choose_files("#file-image", [SAMPLE / "scene.tif"])
    page.until("document.querySelector('[name=image]').value.startsWith('upload:')")
    assert "SHA-256" in page.text("#upload-image")
    page.click("[data-pick=features]")
    page.until("document.querySelector('#pick-features li button')")
    page.evaluate(
        "[...document.querySelectorAll('#pick-features button')].find((b) => b.textContent === 'imagery/').click()"
    )
    page.until(
        "[...document.querySelectorAll('#pick-features button')].some((b) => b.textContent === 'houses.geojson')"
    )
    look_at(page, pictures, "form")
    page.evaluate(
        "[...document.querySelectorAll('#pick-features button')].find((b) => b.textContent === 'houses.geojson').click()"
    )
    page.fill("model", "roof-damage")
    page.until("document.querySelector('#model-card .classes')?.innerText.includes('damaged')")
    page.evaluate("document.getElementById('options').open = true")
    page.fill("modelArguments", '{"class_scores": true}')
    command = page.text("#curl")
    body = json.loads(command.split("-d '")[1].rstrip("'"))
    assert body["inputs"]["features"]["href"].endswith("/houses.geojson")
    assert body["inputs"]["modelArguments"] == {"class_scores": True}
    assert 'request = {\n    "inputs"' in page.text("#python")
    assert "--model roof-damage" in page.text("#cli")
    page.click("[name=run]")
    page.until("location.pathname.endsWith('/results')")
    page.until("document.readyState === 'complete'")
    assert "damaged" in page.text("main")
    page.until("document.querySelectorAll('#review-grid .object').length === 16")
    page.until(
        "[...document.querySelectorAll('#review-grid img')].filter((image) => image.naturalWidth === 64).length >= 4"
    )
    page.until("document.getElementById('map').dataset.ready === ''")
    page.until("document.getElementById('map').map.areTilesLoaded()")
    assert not page.text("#map-told")
    page.fill("class", "damaged")
    page.until("[...document.querySelectorAll('#review-grid strong')].every((item) => item.textContent === 'damaged')")
    page.click("#review-grid .object")
    page.until("document.getElementById('review-object').open")
    assert "Confidence" in page.text("#review-object")
    look_at(page, pictures, "object", IN_SHORT)
    job = page.evaluate("location.pathname.split('/')[2]")
    page.open(f"{service.url}/jobs/{job}?f=html")
    assert "successful" in page.text("#status")
    bars = "[...document.querySelectorAll('#classes tbody tr')].map((row) => [row.cells[0].innerText, Number(row.cells[1].innerText), Number(row.querySelector('rect').getAttribute('width'))])"
    shown = page.until(bars)
    assert [name for name, _, _ in shown] == ["intact", "damaged"]
    assert sum(count for _, count, _ in shown) == 16
    assert all(width == pytest.approx(100 * count / 16) for _, count, width in shown)
    look_at(page, pictures, "job")
    page.open(f"{service.url}/jobs?f=html&status=successful")
    assert job in page.text("#jobs")
    look_at(page, pictures, "jobs-with-one")


def test_the_map_is_filtered_clicked_and_downloaded(service: Service, page: Page, pictures: Path) -> None:
    links = {name: {"href": f"upload:sample/{name}"} for name in ("scene.tif", "houses.geojson")}
    places = {"image": links["scene.tif"], "features": links["houses.geojson"]}
    answer = service.execute(
        {**places, "model": "roof-damage", "modelArguments": {"class_scores": True}}, "respond-async"
    )
    job = answer.json["jobID"]
    service.wait(job)
    page.open(f"{service.url}/jobs/{job}/results?f=html")
    shown = "document.getElementById('map').map.queryRenderedFeatures({layers: ['polygons']})"
    houses = f"[...new Set({shown}.map((item) => item.id))]"
    page.until(f"{houses}.length === 16")
    look_at(page, pictures, "result")
    assert set(page.evaluate(f"{shown}.map((item) => item.properties.ClassLabel)")) == {"intact", "damaged"}
    page.fill("class", "damaged")
    page.until(f"{houses}.length > 0 && {shown}.every((item) => item.properties.ClassLabel === 'damaged')")
    damaged = page.evaluate(f"{houses}.length")
    page.fill("minConfidence", "0.9")
    page.until(f"{houses}.length < {damaged} && {houses}.length > 0")
    page.until(f"document.getElementById('review-told').textContent.startsWith(`${{{houses}.length}} of`)")
    page.screenshot(pictures / "map-filtered-1440-light.png")
    page.fill("class", "")
    page.fill("minConfidence", "")
    page.until(f"{houses}.length === 16")
    page.evaluate("document.getElementById('map').scrollIntoView({block: 'center'})")
    place = page.evaluate(
        f"(([item]) => {{ const home = document.getElementById('map'); const ring = item.geometry.coordinates.flat(Infinity);"
        "const at = home.map.project([(ring[0] + ring[4]) / 2, (ring[1] + ring[5]) / 2]); const box = home.getBoundingClientRect();"
        f"return [box.x + at.x, box.y + at.y]; }})({shown})"
    )
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)
    page.until("document.getElementById('review-object').open")
    told = page.text("#review-object")
    assert "Score_damaged" in told
    assert "Confidence" in told
    page.until("document.querySelector('#review-object img').naturalWidth === 64")
    page.screenshot(pictures / "map-object-1440-light.png", whole=False)
    page.evaluate("document.getElementById('review-object').close()")
    forms = page.evaluate("[...document.querySelectorAll('a[download]')].map((link) => link.href)")
    assert len(forms) == 10
    for form in forms:
        assert (
            page.evaluate(f"fetch({json.dumps(form)}).then(async (answer) => answer.ok && (await answer.blob()).size)")
            > 100
        ), form


def test_what_a_busy_service_did_not_show_comes_later(service: Service, page: Page) -> None:
    links = {name: {"href": f"upload:sample/{name}"} for name in ("scene.tif", "houses.geojson")}
    answer = service.execute(
        {"image": links["scene.tif"], "features": links["houses.geojson"], "model": "roof-damage"}, "respond-async"
    )
    service.wait(answer.json["jobID"])
    page.refuse_first("*/chip.png", "*/map/imagery/*")
    page.open(f"{service.url}/jobs/{answer.json['jobID']}/results?f=html")
    page.until("document.getElementById('map').dataset.ready === ''")
    assert any("status of 503" in error for error in page.errors)
    page.until(
        "[...document.querySelectorAll('#review-grid img')].filter((image) => image.naturalWidth === 64).length >= 4"
    )
    tiles = "Object.values(document.getElementById('map').map.style.tileManagers.imagery._inViewTiles._tiles)"
    page.until(f"{tiles}.length > 0 && {tiles}.every((tile) => tile.state === 'loaded')")
    assert page.text(".no-chip") == ""
    assert not page.text("#map-told")
    page.refuse_first()
    page.errors[:] = [error for error in page.errors if "status of 503" not in error]


def test_a_job_is_shared_by_a_link_and_the_link_revoked(service: Service, page: Page, pictures: Path) -> None:
    job = service.execute({"image": {"href": "upload:sample/scene.tif"}, "model": "roof-damage"}, "respond-async").json
    service.wait(job["jobID"])
    for path in (f"/jobs/{job['jobID']}?f=html", f"/jobs/{job['jobID']}/results?f=html"):
        page.open(f"{service.url}{path}")
        page.click("[name=share]")
        link = page.until("document.getElementById('share-link').value")
        page.until("document.querySelectorAll('#share-list li').length === 1")
        look_at(page, pictures, f"share-{path.count('/')}", IN_SHORT)
        page.open(f"{link}&f=html")
        assert page.evaluate("location.pathname + location.search") == f"/jobs/{job['jobID']}?f=html"
        assert page.evaluate("document.cookie") == ""  # no script reads it
        assert "successful" in page.text("#status")
        page.open(f"{service.url}{path}")
        page.until("document.querySelectorAll('#share-list li').length === 1")
        page.click("[name=revoke]")
        page.until("document.querySelectorAll('#share-list li').length === 0")
        assert service.get(f"/jobs/{job['jobID']}/shares").json == {"shares": []}


def test_a_result_is_a_layer_with_pages(service: Service, page: Page, pictures: Path) -> None:
    links = {name: {"href": f"upload:sample/{name}"} for name in ("scene.tif", "houses.geojson")}
    inputs = {"image": links["scene.tif"], "features": links["houses.geojson"], "model": "roof-damage"}
    assert service.execute({**inputs, "resultName": "a_layer"}).status == 200
    identifier = service.get("/collections/a_layer/items?limit=1").json["features"][0]["id"]
    for name, path in {
        "collections": "",
        "collection": "/a_layer",
        "items": "/a_layer/items",
        "item": f"/a_layer/items/{identifier}",
    }.items():
        page.open(f"{service.url}/collections{path}?f=html")
        assert "a_layer" in page.text("body")
        look_at(page, pictures, name)


def test_a_job_is_watched_and_cancelled(service: Service, page: Page, pictures: Path) -> None:
    page.open(f"{service.url}/processes/echo?f=html")
    page.fill("echo", "one\ntwo")
    page.fill("pause", "60")
    page.click("[name=run]")
    page.until("['accepted', 'running'].includes(document.getElementById('status')?.innerText)")
    look_at(page, pictures, "job-running")
    asked = [url for url in page.urls if url.endswith("/events")]
    page.settle(0.1)
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 2500))")
    assert 1 <= len([url for url in page.urls if url.endswith("/events")]) - len(asked) <= 3
    page.click("[name=dismiss]")
    page.until("document.getElementById('status').innerText === 'dismissed'")
    assert page.evaluate("document.querySelector('[name=dismiss]').hidden")


def test_a_file_that_is_no_image_is_told_at_its_field(service: Service, page: Page, tmp_path: Path) -> None:
    (tmp_path / "Żółw #1?.tif").write_bytes(b"no image")
    page.open(f"{service.url}/processes/classify-objects?f=html")
    page.click("[name=example]")
    page.choose_files("#file-features", [tmp_path / "Żółw #1?.tif"])
    page.until(
        "document.querySelector('[name=features]').value.startsWith('upload:') && !document.querySelector('[name=features]').value.includes('sample')"
    )
    page.click("[name=validate]")
    page.until("document.querySelector('[name=features]').getAttribute('aria-invalid') === 'true'")
    assert page.text("#fault-features")
    without_refusals(page)


def test_try_it_out_runs_as_it_stands(service: Service, page: Page, pictures: Path) -> None:
    page.open(f"{service.url}/openapi?f=html")
    page.until("document.querySelector('.opblock')")
    look_at(page, pictures, "api")
    for operation in ("executeClassifyObjects", "executeEcho"):
        home = f"#operations-processes-{operation}"
        page.click(f"{home} .opblock-summary-control")
        page.until(f"document.querySelector('{home} .try-out__btn')")
        page.click(f"{home} .try-out__btn")
        page.until(f"document.querySelector('{home} .execute')")
        page.click(f"{home} .execute")
        status = page.until(
            f"document.querySelector('{home} .live-responses-table tbody .response-col_status')?.innerText.trim()"
        )
        assert status.split()[0] == "200", status
