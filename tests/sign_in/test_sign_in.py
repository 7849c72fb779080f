"""Somebody signs in, in a real Chromium: at a real provider of OpenID Connect, and with a token of the service."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from chromium import Page, chromium
from free_ports import free_port
from jobs_service import Service, make_town, objects, running, until
from service import ROOT

pytestmark = [pytest.mark.sign_in, pytest.mark.timeout(300)]

AXE = (ROOT / "tests" / "web" / "axe" / "axe.min.js").read_text()
AUDIENCE = "https://classify.example.org"
NODE_FOLDER = ROOT / ".venv" / "sign-in" / "npm"


@pytest.fixture(scope="module")
def issuer_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def service(issuer_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return a service that knows the provider, which is not there yet."""
    town, folder = make_town(tmp_path_factory.mktemp("town"), chip_ms=0.002), tmp_path_factory.mktemp("service")
    issuer = {"issuer": f"http://127.0.0.1:{issuer_port}", "audience": AUDIENCE, "client_id": "pages"}
    with running(Service(town, folder, access="oidc", oidc=issuer, anonymous="true")) as service:
        yield service


@pytest.fixture(scope="module")
def provider(service: Service, issuer_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the provider, and return its address."""
    node = shutil.which("node")
    folder = Path(os.environ.get("NODE_FOLDER") or NODE_FOLDER)
    if node is None or not (folder / "node_modules" / "oidc-provider").is_dir():
        if os.environ.get("CI"):
            pytest.fail("oidc-provider is not there: make test-sign-in")
        pytest.skip("oidc-provider is not there: make test-sign-in")
    program = Path(__file__).with_name("provider.mjs")
    command = [node, str(program), str(issuer_port), f"{service.url}/sign-in/callback", AUDIENCE]
    log = tmp_path_factory.mktemp("provider") / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | {"NODE_FOLDER": str(folder)})
    try:
        until(lambda: process.poll() is not None or "ready" in log.read_text(), 30)
        assert process.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{issuer_port}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def with_tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, str]]:
    """Return a service that asks for its own tokens, and one of them."""
    town, folder = make_town(tmp_path_factory.mktemp("town"), chip_ms=0.002), tmp_path_factory.mktemp("tokens")
    service = Service(town, folder, (), access="tokens")
    token = service.add_token("anna")
    service.start("serve")
    with running(service):
        yield service, token


PYTHON_CLIENT = """
import json, sys
from pathlib import Path
from ogc_processes import RequestRefused, Service

url, token, image, features = sys.argv[1:]
with Service(url, token=token) as service:
    inputs = {"image": Path(image), "features": json.loads(features), "model": "quick"}
    job = service.process("classify-objects").execute(inputs, wait=True)
    print(job.status, len(job.result().json()["features"]))
with Service(url) as service:
    try:
        print(service.processes)
    except RequestRefused as refused:
        print(refused.status, refused.problem["type"])
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


def sign_in(page: Page, service: Service, provider: str, name: str) -> None:
    """Open a page of jobs as nobody, sign in at the provider, and come back."""
    page.open(f"{service.url}/jobs?status=failed&f=html")
    assert page.evaluate("location.pathname") == "/sign-in"
    page.click("main a.button")
    page.until("document.querySelector('[name=login]')")
    assert str(page.evaluate("location.href")).startswith(provider)
    page.fill("login", name)
    page.fill("password", "any")
    page.click("[type=submit]")
    page.until("document.querySelector('[name=prompt][value=consent]')")
    page.click("[type=submit]")
    page.until(f"location.origin === {json.dumps(service.url)} && document.querySelector('.visitor')")


def status(page: Page, method: str, path: str) -> int:
    """Return what a script of the page gets to a request."""
    found: int = page.evaluate(f"fetch('{path}', {{method: '{method}'}}).then(answer => answer.status)")
    return found


def test_a_service_starts_and_answers_without_its_issuer(service: Service) -> None:
    assert service.get("/processes").status == 200
    answer = service.get("/jobs")
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_somebody_signs_in_and_out_again(service: Service, page: Page, provider: str) -> None:
    sign_in(page, service, provider, "ute")
    assert page.evaluate("location.pathname + location.search") == "/jobs?status=failed&f=html"
    assert "ute@example.org" in page.text(".visitor")
    assert [status(page, *operation) for operation in (("GET", "/jobs"), ("GET", "/metrics"))] == [200, 403]
    assert page.evaluate("document.cookie") == ""  # no script reads the session
    (key,) = [item for item in page.call("Network.getCookies")["cookies"] if item["name"] == "classify-session"]
    assert (key["httpOnly"], key["sameSite"]) == (True, "Lax")
    page.click(".visitor button")
    page.until("location.pathname === '/sign-in'")
    assert status(page, "GET", "/jobs") == 401
    replayed = service.request("GET", "/jobs", headers={"Cookie": f"classify-session={key['value']}"})
    assert replayed.status == 401


def test_an_operator_is_one_by_a_role_of_the_provider(service: Service, page: Page, provider: str) -> None:
    page.call("Network.clearBrowserCookies")
    sign_in(page, service, provider, "olga")
    assert status(page, "GET", "/metrics") == 200


def test_a_page_of_another_origin_does_nothing_with_the_session(service: Service, page: Page, provider: str) -> None:
    """The provider's own pages are of another origin, and of the same site: cookies go along."""
    page.open(f"{service.url}/jobs?f=html")
    if page.evaluate("location.pathname") == "/sign-in":
        sign_in(page, service, provider, "olga")
    page.open(f"{provider}/.well-known/openid-configuration")
    asked = (
        "fetch('{}', {{method: '{}', mode: '{}', credentials: 'include'}}).then(answer => answer.type, () => 'refused')"
    )
    assert page.evaluate(asked.format(f"{service.url}/jobs", "GET", "cors")) == "refused"
    job = service.url + "/jobs/00000000-0000-4000-8000-000000000000"
    assert page.evaluate(asked.format(job, "DELETE", "cors")) == "refused"
    assert page.evaluate(asked.format(f"{service.url}/sign-out", "POST", "no-cors")) == "opaque"
    page.open(f"{service.url}/jobs?f=html")
    assert page.evaluate("location.pathname") == "/jobs"  # still signed in


def test_a_program_comes_with_a_token_of_the_provider(service: Service, provider: str) -> None:
    form = {"grant_type": "client_credentials", "client_id": "program", "client_secret": "of-a-test"}
    with urllib.request.urlopen(f"{provider}/token", urllib.parse.urlencode(form).encode()) as answer:
        token = json.load(answer)["access_token"]
    sent = {"Authorization": f"Bearer {token}"}
    assert service.request("GET", "/jobs", headers=sent).status == 200
    assert service.request("GET", "/metrics", headers=sent).status == 403
    executed = service.request("POST", "/processes/echo/execution", {"inputs": {"echo": "hello"}}, sent)
    assert executed.status == 200
    assert service.request("GET", "/jobs", headers={"Authorization": f"Bearer {token[:-4]}AAAA"}).status == 401


def test_somebody_signs_in_with_a_token(with_tokens: tuple[Service, str], page: Page) -> None:
    service, token = with_tokens
    page.errors.clear()
    page.open(f"{service.url}/models?f=html")
    assert page.evaluate("location.pathname") == "/sign-in"
    page.fill("token", "classify_of_nobody")
    page.click("main button")
    page.until("document.querySelector('[role=alert]')")
    assert "not known here" in page.text("[role=alert]")
    page.evaluate(AXE)
    found = page.evaluate(
        "axe.run(document).then(({violations}) => violations.map(({id, impact}) => `${id} ${impact}`))"
    )
    assert [item for item in found if item.endswith(("serious", "critical"))] == []
    page.fill("token", token)
    page.click("main button")
    page.until("document.querySelector('.visitor')")
    assert page.evaluate("location.pathname + location.search") == "/models?f=html"
    assert "anna" in page.text(".visitor")
    page.open(f"{service.url}/processes/echo?f=html")  # what scripts ask for goes with the session
    assert status(page, "GET", "/jobs") == 200
    page.errors[:] = [error for error in page.errors if "status of 401" not in error]
    assert page.errors == []
    page.click(".visitor a")
    page.until("location.pathname === '/sessions' && document.querySelector('[name=everywhere]')")
    assert "(this browser)" in page.text("#sessions")
    page.evaluate(AXE)
    assert page.evaluate("axe.run(document).then(({violations}) => violations.map(({id}) => id))") == []
    page.click("[name=everywhere]")
    page.until("location.pathname === '/sign-in'")
    assert status(page, "GET", "/jobs") == 401


def test_the_python_client_and_gdal_come_with_a_token(
    with_tokens: tuple[Service, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, token = with_tokens
    image = next((service.town / "imagery").iterdir())  # which is uploaded
    command = [sys.executable, "-c", PYTHON_CLIENT, service.url, token, str(image), json.dumps(objects(3))]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "clients" / "python" / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.splitlines() == ["successful 3", "401 Unauthorized"], done.stderr
    job = service.get("/jobs").json["jobs"][0]["jobID"]
    monkeypatch.setitem(os.environ, "GDAL_HTTP_HEADERS", f"Authorization: Bearer {token}")
    told = f"import pyogrio; print(pyogrio.read_info('{service.url}/jobs/{job}/results/classifiedObjects')['features'])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.strip() == "3", done.stderr
