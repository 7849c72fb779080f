"""Pages of other origins neither read, nor start, nor delete anything, under whatever name they reach the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from processes.errors import ForbiddenError
from processes.ogc.problem import MisdirectedRequestError
from processes.web.exposure import require_meant
from processes.web.origins import require_name, require_origin
from service import Client, configure, load_application
from tables import each_row

NAMES = ("classify.example.org", "map.example.org")
OTHER = "https://other.example.org"


@each_row(
    ("host", "is_own"),
    [
        ("classify.example.org", True),
        ("CLASSIFY.example.org.:8080", True),
        ("map.example.org:443", True),
        ("localhost:5000", True),
        ("127.0.0.1", True),
        ("127.9.9.9:5000", True),
        ("[::1]:5000", True),
        ("example.org", False),
        ("classify.example.org.evil.example", False),
        ("localhost.evil.example:5000", False),
        ("127.0.0.1.evil.example", False),
        ("192.0.2.7:5000", False),
        ("0.0.0.0:5000", False),
        ("[::1", False),
        ("evil@localhost", True),  # what stands before is no part of the name
        ("", False),
    ],
)
def test_a_service_answers_to_its_names(host: str, is_own: bool) -> None:
    require_name(host, {"*"})
    if is_own:
        require_name(host, NAMES)
    else:
        with pytest.raises(MisdirectedRequestError, match="CLASSIFY_HOST_NAMES"):
            require_name(host, NAMES)


@each_row(
    ("origin", "may"),
    [
        (None, True),
        ("http://localhost:5000", True),
        ("https://localhost:5000", True),  # a proxy speaks TLS
        ("https://classify.example.org", True),
        ("https://CLASSIFY.example.org", True),
        ("http://classify.example.org", False),  # whoever is in between may have made that page
        ("https://classify.example.org:8443", False),
        ("https://map.example.org", True),
        ("http://map.example.org", False),
        ("http://localhost:8080", False),
        ("http://localhost", False),
        ("null", False),
        ("file://", False),
        ("http://[", False),
        (OTHER, False),
    ],
)
def test_pages_of_other_origins_change_nothing(origin: str | None, may: bool) -> None:
    own, allowed = ("localhost:5000", "https://classify.example.org/maps"), ("https://map.example.org",)
    require_origin(origin, *own, ["*"])
    if may:
        require_origin(origin, *own, allowed)
    else:
        with pytest.raises(ForbiddenError, match="CLASSIFY_ORIGINS"):
            require_origin(origin, *own, allowed)


@each_row(
    ("access", "host", "is_meant"),
    [
        (None, "127.0.0.1", True),
        (None, "localhost", True),
        (None, "::1", True),
        (None, "[::1]", True),
        (None, "0.0.0.0", False),  # noqa: S104
        (None, "::", False),
        (None, "", False),
        (None, "classify.example.org", False),
        ("open", "0.0.0.0", True),  # noqa: S104
        ("tokens", "0.0.0.0", True),  # noqa: S104
        ("oidc", "::", True),
    ],
)
def test_a_service_is_open_to_other_machines_only_where_that_is_meant(
    access: str | None, host: str, is_meant: bool
) -> None:
    if is_meant:
        require_meant(access, host)
    else:
        with pytest.raises(ValueError, match="set CLASSIFY_ACCESS=open if that is meant"):
            require_meant(access, host)


@pytest.fixture(scope="module")
def closed(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """Return a client of a service with the origins that are shipped: none."""
    path = configure(tmp_path_factory.mktemp("closed"), models=[home / "models"], imagery=[home / "imagery"])
    document = yaml.safe_load(path.read_text())
    for process in document["resources"].values():
        process["processor"]["origins"] = ""
    path.write_text(yaml.safe_dump(document))
    return Client(load_application(path))


def test_nothing_of_a_page_of_another_origin_is_carried_out(closed: Client, inputs: dict[str, Any]) -> None:
    job = closed.execute("classify-objects", inputs, {"Prefer": "respond-async"}).get_json()["jobID"]
    asked = {"Origin": OTHER}
    for method, path, body, media_type in [
        ("POST", "/processes/echo/execution", b'{"inputs": {"echo": "a"}}', "text/plain"),
        ("POST", "/processes/echo/execution", b'{"inputs": {"echo": "a"}}', "application/json"),
        ("POST", "/processes/classify-objects/validate", b"{}", "text/plain"),
        ("POST", "/uploads", b"a,b", "text/plain"),
        ("POST", "/uploads", b"a=b", "application/x-www-form-urlencoded"),
        ("DELETE", f"/jobs/{job}", b"", ""),
    ]:
        response = closed.http.open(path, method=method, data=body, content_type=media_type, headers=asked)
        assert (response.status_code, response.get_json()["type"]) == (403, "Forbidden")
        assert OTHER in response.get_json()["detail"]
    assert [item["jobID"] for item in closed.http.get("/jobs?f=json").get_json()["jobs"]] == [job]
    own = closed.http.delete(f"/jobs/{job}", headers={"Origin": "http://localhost"})
    assert own.get_json()["status"] == "dismissed"


def test_no_answer_lets_a_page_of_another_origin_read_it(closed: Client) -> None:
    preflight = {"Origin": OTHER, "Access-Control-Request-Method": "DELETE"}
    for response in (
        closed.http.get("/conformance", headers={"Origin": OTHER}),
        closed.http.get("/jobs/nothing", headers={"Origin": OTHER}),
        closed.http.options("/jobs/nothing", headers=preflight),
    ):
        assert not [name for name, _ in response.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("path", ["/", "/jobs", "/nothing", "/assets/own/pages.css", "/metrics"])
def test_a_request_for_another_name_is_misdirected(closed: Client, path: str) -> None:
    response = closed.http.get(path, headers={"Host": "rebound.example.org:5000"})
    assert (response.status_code, response.get_json()["type"]) == (421, "MisdirectedRequest")
    assert "'rebound.example.org'" in response.get_json()["detail"]
