"""Credentials in the links of a request: stored encrypted as long as they are needed, shown to nobody."""

from __future__ import annotations

import errno
import json
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jobs_service import Service, make_town, running, until
from processes.errors import FailureError
from processes.settings import load_settings
from processes.sources.seal import KEY_FILE, Seal, may_hold_credentials, seal_of, values_may_hold_credentials
from range_host import RangeHost, range_host
from service import configure

pytestmark = [pytest.mark.jobs]

SECRETS = ("hush-user", "hush-password", "hush-signature", "hush-features", "hush-callback")
QUERY = "?X-Amz-Signature=hush-signature&sig=hush-signature"


class Told(ThreadingHTTPServer):
    """A subscriber, which answers to the first try of each callback with a status of 500."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                told.paths.append(self.path)
                self.send_response(500 if told.paths.count(self.path) == 1 else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_town(tmp_path_factory.mktemp("town"), chip_ms=1)


@pytest.fixture(scope="module")
def host(town: Path) -> Iterator[RangeHost]:
    with range_host(town / "imagery") as running_host:
        yield running_host


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    with Told() as server:
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def service(town: Path, host: RangeHost, told: Told, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    hosts = f"{host.host},{told.host}"
    with running(Service(town, tmp_path_factory.mktemp("service"), hosts=hosts, slots=1)) as service:
        yield service


def leaks(service: Service, *words: str) -> set[str]:
    """Return the files of a service, its log and its job store among them, that hold one of some words."""
    found = set()
    for path in service.state.parent.rglob("*"):
        with suppress(OSError):  # a socket, or gone by now
            content = path.read_bytes() if path.is_file() else b""
            found |= {str(path.relative_to(service.state.parent)) for word in words if word.encode() in content}
    return found


def sealed(service: Service) -> set[str]:
    """Return what is kept that was encrypted; what SQLite has of rows that are gone is not readable."""
    with closing(sqlite3.connect(service.state / "jobs.sqlite3")) as database:
        rows = database.execute("SELECT subscriber FROM job UNION ALL SELECT url FROM callback").fetchall()
    files = {path for path in leaks(service, "sealed-1:") if "jobs.sqlite3" not in path}
    return files | {text for (text,) in rows if "sealed-1:" in (text or "")}


def answers(service: Service, job: str) -> str:
    paths = [
        f"/jobs/{job}",
        f"/jobs/{job}?f=html",
        f"/jobs/{job}/results",
        "/jobs",
        "/jobs?f=html",
        "/metrics",
        "/health",
    ]
    return "\n".join(service.get(path).body.decode(errors="replace") for path in paths)


def test_credentials_are_encrypted_and_gone_with_the_job(service: Service, host: RangeHost, told: Told) -> None:
    image = host.link("town.tif").replace("://", "://hush-user:hush-password@") + QUERY
    urls = {name: f"http://{told.host}/{name}?token=hush-callback" for name in ("successUri", "inProgressUri")}
    reply = service.execute(service.inputs(800, "slow", image={"href": image}), "respond-async", subscriber=urls)
    job, seen = reply.json["jobID"], set[str]()
    while service.status(job)["status"] in ("accepted", "running"):
        seen |= leaks(service, *SECRETS)
        assert not [word for word in SECRETS if word in answers(service, job)]
    assert service.status(job)["status"] == "successful", service.status(job)
    assert not seen | leaks(service, *SECRETS)
    until(lambda: told.paths.count("/successUri?token=hush-callback") == 2)
    chips = f"state/results/{job}/forms/chips-1.arrow"  # which are read again from the image
    until(lambda: sealed(service) == {chips}, 10, str(sealed(service)))
    assert service.get(f"/jobs/{job}/objects/1/chip.png").headers["content-type"] == "image/png"
    assert service.request("DELETE", f"/jobs/{job}").status == 200
    until(lambda: not sealed(service), 10, str(sealed(service)))
    key = service.state / KEY_FILE
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_credentials_of_a_job_that_fails_are_in_no_error_and_no_log(service: Service, host: RangeHost) -> None:
    inputs = service.inputs(
        2, image={"href": host.link("none.tif").replace("://", "://hush-user:hush-password@") + QUERY}
    )
    inputs["features"] = {"href": host.link("none.geojson") + "?key=hush-features"}
    replies = [service.execute(inputs), service.execute(inputs, "respond-async")]
    job = replies[1].json.get("jobID")
    assert replies[0].status == 400
    if job is not None:
        assert service.wait(job)["status"] == "failed"
        replies.append(service.get(f"/jobs/{job}/results"))
    shown = json.dumps([reply.body.decode() for reply in replies]) + ("" if job is None else answers(service, job))
    assert not [word for word in SECRETS if word in shown]
    assert not leaks(service, *SECRETS)
    assert not sealed(service)


def test_a_dismissed_job_keeps_no_credentials(service: Service, host: RangeHost, told: Told) -> None:
    urls = {"successUri": f"http://{told.host}/a?token=hush-callback"}
    inputs = service.inputs(800, "slow", image={"href": host.link("town.tif") + QUERY})
    job = service.execute(inputs, "respond-async", subscriber=urls).json["jobID"]
    until(lambda: service.status(job)["status"] == "running")
    assert sealed(service)
    assert service.request("DELETE", f"/jobs/{job}").status == 200
    until(lambda: not sealed(service), 20)
    assert not leaks(service, *SECRETS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://host/a.tif", False),
        ("https://host/a.tif?sig=x", True),
        ("https://user@host/a.tif", True),
        (" S3://bucket/key?versionId=1", True),
        ("file:///a/b.tif", False),
        ("what is it?", False),
    ],
)
def test_a_link_with_a_user_or_a_query_counts_as_a_secret(text: str, expected: bool) -> None:
    assert may_hold_credentials(text) == expected
    escaped = json.dumps({"href": text}).replace("?", "\\u003f").replace("/", "\\/").encode()
    assert values_may_hold_credentials([b"1", escaped]) == expected


def test_a_run_beside_a_folder_that_it_cannot_write_keeps_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    settings = load_settings(configure(tmp_path, models=[], imagery=[]))
    monkeypatch.setattr("tempfile.mkstemp", refuse)
    seal = seal_of(settings)
    assert seal.open(seal.close(b"hush")) == b"hush"
    assert not (settings.state / KEY_FILE).exists()


def test_what_was_encrypted_with_another_key_is_told(tmp_path: Path) -> None:
    one, other = (Seal(partial(bytes, key)) for key in (b"A" * 43 + b"=", b"B" * 42 + b"A="))
    closed = one.close_if_needed(b"\x81\xa4href https://host/a?sig=hush")
    assert b"hush" not in closed
    assert one.open(closed) == b"\x81\xa4href https://host/a?sig=hush"
    assert one.close_if_needed(b"no link") == b"no link"
    link = one.close_link("https://user:hush@host:8/a?sig=hush")
    assert link.startswith("https://host:8/a#")
    assert one.open_link(link) == "https://user:hush@host:8/a?sig=hush"
    for attempt in (lambda: other.open(closed), lambda: other.open_link(link)):
        with pytest.raises(FailureError, match="CLASSIFY_LINK_KEY"):
            attempt()
