"""Pages of other origins, in a real Chromium: they read, start, delete and sign in nothing, whatever the access."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chromium import Page, chromium
from jobs_service import Service, make_town, running
from small_issuer import AUDIENCE, CLIENT, SmallIssuer, small_issuer

pytestmark = [pytest.mark.pages, pytest.mark.timeout(300)]

REBOUND = "rebound.example"
"""A name of the attacker that leads to this machine."""
EXECUTION = "/processes/classify-objects/execution"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_town(tmp_path_factory.mktemp("town"), chip_ms=0.002)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium"), names=(REBOUND,)) as page:
        yield page


@pytest.fixture(scope="module")
def other_port() -> Iterator[int]:
    """Return the port of the attacker's own web server, whose pages are empty."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", "15")
            self.end_headers()
            self.wfile.write(b"<!doctype html>")

        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def issuer() -> Iterator[SmallIssuer]:
    with small_issuer() as running_issuer:
        running_issuer.visitor = {"sub": "anna", "preferred_username": "anna"}
        yield running_issuer


@pytest.fixture(scope="module", params=["open", "tokens", "oidc"])
def service(
    request: pytest.FixtureRequest,
    town: Path,
    page: Page,
    issuer: SmallIssuer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    """Return a service that the browser may use: it is open, or Anna has signed in."""
    access = request.param
    oidc = {"issuer": issuer.url, "audience": AUDIENCE, "client_id": CLIENT} if access == "oidc" else None
    service = Service(town, tmp_path_factory.mktemp("service"), (), access=access, origins="", oidc=oidc)
    token = service.add_token("anna")
    if oidc is not None:
        service.headers["Authorization"] = f"Bearer {issuer.token(sub='anna', exp=int(time.time()) + 3600)}"
    service.start("serve")
    page.call("Network.clearBrowserCookies")
    with running(service):
        if access != "open":
            page.open(f"{service.url}/jobs?f=html")
            assert page.evaluate("location.pathname") == "/sign-in"
            if access == "tokens":
                page.fill("token", token)
            page.click("main button" if access == "tokens" else "main a.button")
            page.until("document.querySelector('.visitor')")
            assert "anna" in page.text(".visitor")
        yield service


def state(service: Service) -> tuple[list[tuple[str, str]], list[str]]:
    """Return what there is of jobs and uploads."""
    jobs = [(job["jobID"], job["status"]) for job in service.get("/jobs").json["jobs"]]
    uploads = service.state / "results" / "uploads"
    return jobs, sorted(path.name for path in uploads.iterdir()) if uploads.is_dir() else []


def asked(page: Page, method: str, url: str, body: str | None = None, **options: str) -> str:
    """Return what a script of the page reads of an answer; `refused` = the browser gives it none."""
    sent = {"method": method, "credentials": "include"} | options | ({} if body is None else {"body": body})
    script = f"fetch({json.dumps(url)}, {json.dumps(sent)})"
    found = f"{script}.then(async answer => `${{answer.type}} ${{answer.status}} ${{await answer.text()}}`, () => 'refused')"
    return str(page.evaluate(found))


def cookies_of_last(page: Page, url: str) -> dict[str, list[str]]:
    """Return the cookies that there were for the last request for an address, and why each was not sent with it."""
    page.settle()
    sent = {event["params"]["requestId"]: event["params"] for event in page.events("Network.requestWillBeSent")}
    (last, *_) = [number for number, found in reversed(sent.items()) if found["request"]["url"] == url]
    extra = [event["params"] for event in page.events("Network.requestWillBeSentExtraInfo")]
    (found, *_) = [item for item in reversed(extra) if item["requestId"] == last]
    return {item["cookie"]["name"]: item["blockedReasons"] for item in found["associatedCookies"]}


def require_kept_back(page: Page, url: str) -> None:
    """Assert that the session did not go with the last request for an address, as it is of another site."""
    ((name, reasons),) = cookies_of_last(page, url).items()
    assert name == "classify-session"
    assert any(reason.endswith("SameSiteLax") for reason in reasons), reasons  # among others of the browser's own


def send_form(page: Page, home: str, url: str, fields: dict[str, str], media_type: str) -> None:
    """Let a page of the attacker send a form, as a click of whoever looks at it would."""
    page.open(home)
    page.evaluate(
        f"(() => {{ const form = document.createElement('form'); form.method = 'POST'; form.action = {json.dumps(url)};"
        f" form.enctype = {json.dumps(media_type)};"
        f" for (const [name, value] of Object.entries({json.dumps(fields)})) {{"
        " const item = document.createElement('input'); item.name = name; item.value = value; form.append(item); }"
        " document.body.append(form); setTimeout(() => form.submit()); })()"
    )
    page.until(f"location.href.startsWith({json.dumps(url)})")
    page.settle()


def test_a_page_of_another_origin_reads_starts_and_deletes_nothing(
    service: Service, page: Page, other_port: int
) -> None:
    job = service.submit()
    service.wait(job, "successful")
    before = state(service)
    assert before[0] == [(job, "successful")]
    body = json.dumps({"inputs": service.inputs()})
    for home in (f"http://127.0.0.1:{other_port}/", f"http://{REBOUND}:{other_port}/"):  # of the same site, and not
        page.open(home)
        for path in ("/jobs", f"/jobs/{job}/results", "/processes", "/health"):
            assert asked(page, "GET", service.url + path) == "refused"
            assert asked(page, "GET", service.url + path, mode="no-cors") == "opaque 0 "
        assert asked(page, "DELETE", f"{service.url}/jobs/{job}") == "refused"
        for url in (service.url + EXECUTION, f"{service.url}/uploads", f"{service.url}/jobs/{job}/shares"):
            assert asked(page, "POST", url, body) == "refused"
            assert asked(page, "POST", url, body, mode="no-cors") == "opaque 0 "
        send_form(page, home, service.url + EXECUTION, {body[:-1] + ', "x": "': '"}'}, "text/plain")  # it is JSON
        assert "Forbidden" in page.text("body")
        send_form(page, home, f"{service.url}/uploads", {"a": "b"}, "text/plain")
        for path in ("/sign-out", "/sign-in", "/sign-in/begin", "/sign-in/callback"):
            send_form(page, home, service.url + path, {"token": "x"}, "application/x-www-form-urlencoded")
        assert state(service) == before
    page.open(f"{service.url}/jobs?f=html")
    assert page.evaluate("location.pathname") == "/jobs"  # still signed in, as before
    assert json.loads(asked(page, "GET", "/jobs").removeprefix("basic 200 "))["jobs"]
    own = asked(page, "POST", EXECUTION, body).split(" ", 2)[1]  # what is text/plain is for nobody
    assert own == "415"
    assert asked(page, "DELETE", f"/jobs/{job}").startswith("basic 200 ")
    assert state(service)[0] == [(job, "dismissed")]


def test_a_name_that_is_led_to_the_service_gains_nothing(service: Service, page: Page) -> None:
    """DNS rebinding: to the browser the attacker's page and the service are of one origin."""
    job = service.submit()
    service.wait(job, "successful")
    before = state(service)
    page.open(f"http://{REBOUND}:{service.port}/jobs?f=html")
    assert REBOUND in page.text("body")
    assert job not in page.text("body")
    body = json.dumps({"inputs": service.inputs()})
    for method, path, sent in (
        ("GET", "/jobs", None),
        ("GET", f"/jobs/{job}/results", None),
        ("POST", EXECUTION, body),
        ("POST", "/uploads", "a"),
        ("POST", "/sign-in", "token=x"),
        ("GET", "/sign-in/begin", None),
        ("GET", "/sign-in/callback?code=x&state=x", None),
        ("POST", "/sign-out", ""),
        ("DELETE", f"/jobs/{job}", None),
    ):
        answer = asked(page, method, path, sent)
        assert answer.startswith("basic 421 "), (path, answer)
        assert job not in answer.replace(path, "")
    assert state(service) == before
    assert cookies_of_last(page, f"http://{REBOUND}:{service.port}/jobs") == {}  # the session is of another host


def test_a_session_does_not_go_with_requests_of_other_sites(service: Service, page: Page, other_port: int) -> None:
    if service.setting("access") == "open":
        assert page.call("Network.getCookies", urls=[service.url])["cookies"] == []
        return
    (kept,) = page.call("Network.getCookies", urls=[service.url])["cookies"]
    assert (kept["name"], kept["httpOnly"], kept["sameSite"]) == ("classify-session", True, "Lax")
    home, url = f"http://{REBOUND}:{other_port}/", f"{service.url}/jobs?of=another-site"
    page.open(home)
    for options in ({}, {"mode": "no-cors"}):
        for method in ("GET", "POST"):
            asked(page, method, url, None, **options)
            require_kept_back(page, url)
    form = f"{service.url}{EXECUTION}"
    send_form(page, home, form, {"a": "b"}, "text/plain")
    require_kept_back(page, form)
    own = f"{service.url}/jobs"
    page.open(f"{service.url}/jobs?f=html")
    assert asked(page, "GET", "/jobs").startswith("basic 200 ")
    assert cookies_of_last(page, own) == {"classify-session": []}  # what is looked at does tell


def test_another_page_signs_nobody_in_as_somebody_else(
    service: Service, page: Page, issuer: SmallIssuer, other_port: int
) -> None:
    """Whoever is signed in without knowing it would upload to, and run for, the attacker."""
    if service.setting("access") != "oidc":
        pytest.skip("no issuer signs anybody in")
    for home in (f"http://127.0.0.1:{other_port}/", f"http://{REBOUND}:{other_port}/"):
        issuer.codes["stolen"] = {"challenge": "", "claims": {"sub": "mallory", "preferred_username": "mallory"}}
        page.open(home)
        page.evaluate(f"location.assign('{service.url}/sign-in/callback?code=stolen&state=x&iss={issuer.url}')")
        page.until("document.body.innerText.includes('Unauthorized')")
        assert "stolen" in issuer.codes  # it was not even asked
        page.open(home)
        page.evaluate(f"location.assign('{service.url}/sign-in/begin?next=https://evil.example/')")  # signs in anna
        page.until("document.querySelector('.visitor')")
        assert page.evaluate("location.href") == f"{service.url}/"
        assert "anna" in page.text(".visitor")
