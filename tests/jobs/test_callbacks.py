"""Callbacks of a real service: who is told of what, when, and what a slow subscriber does to the others."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from dripping_hosts import ANSWERS, dripping_host
from free_ports import free_port
from jobs_service import Service, make_town, running, until

pytestmark = pytest.mark.jobs

TOLD_PORT, HEADERS_PORT, SILENT_PORT, BODY_PORT = (free_port() for _ in range(4))
HOSTS = [f"127.0.0.1:{port}" for port in (TOLD_PORT, HEADERS_PORT, SILENT_PORT, BODY_PORT, 1)]
NOT_THERE = {"href": f"http://{HOSTS[-1]}/a.tif"}
HANGING_LOOKUPS = """
import socket, time
look_up = socket.getaddrinfo
def getaddrinfo(host, port, *arguments, flags=0, **options):
    if str(host).startswith("hangs") and not flags:
        time.sleep(3600)
    return look_up(host, port, *arguments, flags=flags, **options)
socket.getaddrinfo = getaddrinfo
"""
"""A `sitecustomize` that makes a lookup of some names hang, as a resolver that does not answer does."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("lookups")
    (folder / "sitecustomize.py").write_text(HANGING_LOOKUPS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=":")
        town = make_town(tmp_path_factory.mktemp("town"))
        hosts = ",".join([*HOSTS, "hangs.test", "127.0.0.1:1"])
        with running(Service(town, tmp_path_factory.mktemp("service"), hosts=hosts)) as service:
            yield service


class Told(ThreadingHTTPServer):
    """Somebody who is told of jobs; the first so many times it answers with a status of 500."""

    def __init__(self, failing: int = 0) -> None:
        self.received: list[tuple[str, str, Any]] = []
        self.failing = failing
        self.slow = threading.Event()
        """Set = a path `/slow` is answered."""
        self.slow.set()
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                if self.path.startswith("/slow"):
                    told.slow.wait(60)
                    return
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                told.received.append((self.path, self.headers["Content-Type"], body))
                self.send_response(500 if len(told.received) <= told.failing else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        super().__init__(("127.0.0.1", TOLD_PORT), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def uris(self) -> dict[str, str]:
        base = f"http://127.0.0.1:{self.server_address[1]}"
        return {name: f"{base}/{name}?key=hush" for name in ("successUri", "inProgressUri", "failedUri")}

    def paths(self) -> list[str]:
        return [path for path, *_ in self.received]


@pytest.fixture
def told() -> Iterator[Told]:
    server = Told()
    yield server
    server.shutdown()
    server.server_close()


def test_a_subscriber_is_told_of_beginning_and_success(service: Service, told: Told) -> None:
    reply = service.execute(service.inputs(2), "respond-async", subscriber=told.uris())
    job = reply.json["jobID"]
    until(lambda: len(told.received) == 2)
    (begun, _, status), (done, kind, results) = told.received
    assert (begun, status["jobID"], status["status"] in ("running", "successful")) == (
        "/inProgressUri?key=hush",
        job,
        True,
    )
    assert (done, kind) == ("/successUri?key=hush", "application/json")
    assert results["classifiedObjects"]["mediaType"] == "application/geo+json"
    assert len(results["classifiedObjects"]["value"]["features"]) == 2
    by_reference = {"classifiedObjects": {"transmissionMode": "reference"}}
    service.execute(service.inputs(2), "respond-async", subscriber=told.uris(), outputs=by_reference)
    until(lambda: len(told.received) == 4)
    service.execute(
        service.inputs(2), "respond-async", subscriber={"successUri": told.uris()["successUri"]}, outputs={}
    )
    until(lambda: len(told.received) == 5)
    assert told.received.pop()[2] == {}
    href = told.received[-1][2]["classifiedObjects"]["href"]
    assert href.startswith(f"{service.url}/jobs/")
    assert service.get(href.removeprefix(service.url)).status == 200


def test_a_subscriber_is_told_of_failure(service: Service, told: Told) -> None:
    service.execute(service.inputs(1, image=NOT_THERE), "respond-async", subscriber=told.uris())
    until(lambda: told.paths() == ["/inProgressUri?key=hush", "/failedUri?key=hush"], 30)
    document = told.received[-1][2]
    assert document["status"] == "failed"
    reply = service.get(f"/jobs/{document['jobID']}/results")
    assert (document["exception"], document["exception"]["status"]) == (reply.json, reply.status)


def test_a_callback_that_fails_is_made_again_and_changes_nothing(service: Service, told: Told) -> None:
    told.failing = 1
    dead = {"successUri": told.uris()["successUri"], "inProgressUri": "http://127.0.0.1:1/nobody"}
    job = service.execute(service.inputs(1), "respond-async", subscriber=dead).json["jobID"]
    assert service.wait(job, timeout_s=5)["status"] == "successful"
    until(lambda: told.paths() == ["/successUri?key=hush"] * 2, 10)
    assert service.status(job)["status"] == "successful"
    log = service.log()
    assert "callback failed, tried again later" in log
    assert "hush" not in log  # the query of an URL may hold a secret


def call_often(service: Service, url: str, host: str, count: int = 100) -> None:
    """Let callbacks of a job that has ended be due, as many jobs of a subscriber would."""
    job = service.submit()
    service.wait(job)
    with closing(sqlite3.connect(service.state / "jobs.sqlite3", timeout=30)) as database, database:
        rows = [(job, "success", url, host)] * count
        database.executemany("INSERT INTO callback (job, event, url, host, tries, due) VALUES (?, ?, ?, ?, 0, 0)", rows)


def due_calls(service: Service, host: str) -> int:
    with closing(sqlite3.connect(service.state / "jobs.sqlite3", timeout=30)) as database:
        (count,) = database.execute("SELECT count(*) FROM callback WHERE host = ? AND tries = 0", [host]).fetchone()
        return int(count)


def forget_calls(service: Service) -> None:
    with closing(sqlite3.connect(service.state / "jobs.sqlite3", timeout=30)) as database, database:
        database.execute("DELETE FROM callback")


def test_slow_subscribers_delay_no_other(service: Service, told: Told) -> None:
    """A hundred callbacks each to hosts that drip, say nothing, are not found, or send a body without an end."""
    slow = {f"127.0.0.1:{HEADERS_PORT}": "headers", f"127.0.0.1:{SILENT_PORT}": "silent"}
    with dripping_host(ANSWERS["headers"], HEADERS_PORT), dripping_host(ANSWERS["silent"], SILENT_PORT):
        for host in [*slow, "hangs.test:80"]:
            call_often(service, f"http://{host.removesuffix(':80')}/slow?key=1", host)
        until(lambda: all(due_calls(service, host) < 100 for host in [*slow, "hangs.test:80"]))
        for number in range(1, 4):
            service.execute(service.inputs(1), "respond-async", subscriber=told.uris())
            until(lambda number=number: len(told.received) == 2 * number, 10)  # type: ignore[misc]
        assert told.paths() == ["/inProgressUri?key=hush", "/successUri?key=hush"] * 3
        until(lambda: "does not answer within 10 s" in service.log(), 30)
        assert all(due_calls(service, host) > 50 for host in slow), "a few at a time"
    forget_calls(service)


def test_slow_path_delays_no_other_of_its_host(service: Service, told: Told) -> None:
    told.slow.clear()
    call_often(service, f"http://127.0.0.1:{TOLD_PORT}/slow?key=1", f"127.0.0.1:{TOLD_PORT}")
    until(lambda: due_calls(service, f"127.0.0.1:{TOLD_PORT}") < 100)
    service.execute(service.inputs(1), "respond-async", subscriber=told.uris())
    until(lambda: len(told.received) == 2, 10)
    told.slow.set()
    forget_calls(service)


def test_body_without_an_end_is_not_waited_for(service: Service) -> None:
    with dripping_host(ANSWERS["body"], BODY_PORT):
        uri = f"http://127.0.0.1:{BODY_PORT}/"
        job = service.execute(service.inputs(1), "respond-async", subscriber={"successUri": uri}).json["jobID"]
        until(lambda: service.events(job, "callback sent"), 8)


def test_runner_that_stops_waits_for_no_subscriber(service: Service) -> None:
    with dripping_host(ANSWERS["silent"], SILENT_PORT):
        call_often(service, f"http://127.0.0.1:{SILENT_PORT}/", f"127.0.0.1:{SILENT_PORT}", 8)
        call_often(service, "http://hangs.test/", "hangs.test:80", 8)
        until(lambda: due_calls(service, f"127.0.0.1:{SILENT_PORT}") < 8 and due_calls(service, "hangs.test:80") < 8)
        service.parts["serve"].terminate()
        service.parts["serve"].wait(60)  # the lookup hangs for an hour
    assert service.processes() == []
    forget_calls(service)
    service.start("serve")
    service.wait_ready()
