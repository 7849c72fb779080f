"""Links to hosts: what they have is downloaded before the work begins, and no slot waits for it."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from jobs_service import Service, make_town, objects, request_from, running, until

pytestmark = [pytest.mark.jobs, pytest.mark.timeout(300)]

COUNT = 2000


class Host(ThreadingHTTPServer):
    """A host of images and features. Paths with `drip` are answered a byte at a time, for ever."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        host, contents = self, (folder / "town.tif").read_bytes()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked.append(self.path)
                path = self.path.split("?")[0]
                if path == "/town.tif":
                    self.answer(contents, "image/tiff")
                elif path == "/collections/places/items":
                    self.answer(json.dumps(host.page("offset=2" in self.path)).encode(), "application/geo+json")
                elif path == "/features.json":
                    self.answer(json.dumps(objects(COUNT)).encode(), "application/geo+json")
                elif "drip" in path:
                    self.drip()
                else:
                    self.send_error(404)

            def answer(self, content: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def drip(self) -> None:
                self.send_response(200)
                self.end_headers()
                while True:
                    try:
                        self.wfile.write(b".")
                    except OSError:
                        return
                    time.sleep(0.1)

            def log_message(self, *_: object) -> None: ...

        super().__init__(("127.0.0.1", 0), Handler)
        self.daemon_threads = True
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def page(self, is_last: bool) -> dict[str, Any]:
        page = objects(4)
        page["features"] = page["features"][2:] if is_last else page["features"][:2]
        link = {"rel": "next", "type": "application/geo+json", "href": self.link("/collections/places/items?offset=2")}
        return page | {"numberMatched": 4, "links": [] if is_last else [link]}

    def link(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_town(tmp_path_factory.mktemp("town"), chip_ms=4)


@pytest.fixture(scope="module")
def host(town: Path) -> Iterator[Host]:
    server = Host(town / "imagery")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def service(town: Path, host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    hosts = f"127.0.0.1,127.0.0.1:{host.server_address[1]}"
    with running(Service(town, tmp_path_factory.mktemp("service"), hosts=hosts, slots=1)) as service:
        yield service


def test_what_hosts_have_is_classified_as_what_lies_here(service: Service, host: Host) -> None:
    wanted = service.submit(COUNT, "slow")
    linked = {"image": {"href": host.link("/town.tif")}, "features": {"href": host.link("/features.json")}}
    job = service.submit(COUNT, "slow", **linked)
    for each in (wanted, job):
        assert service.wait(each)["status"] == "successful"
    assert any("action=section" in line for line in service.events(job, "step done"))  # it found the image, too
    assert [item[:2] for item in service.labels(job)] == [item[:2] for item in service.labels(wanted)]
    until(lambda: {entry.name for entry in (service.state / "results" / job).iterdir()} == {"plan-1", "forms"}, 5)


def test_pages_of_a_service_are_downloaded_once(service: Service, host: Host) -> None:
    del host.asked[:]
    features = {"href": host.link("/collections/places/items")}
    image = {"href": host.link("/town.tif")}
    reply = service.execute(service.inputs(1, image=[image, image], features=features))
    assert reply.status == 200, reply.body
    assert len(reply.json["features"]) == 4
    assert sorted(host.asked) == [
        "/collections/places/items?limit=1000",
        "/collections/places/items?offset=2",
        "/town.tif",
    ]


def test_faults_are_those_of_the_input_together_with_others(service: Service, host: Host) -> None:
    wrong: dict[str, Any] = {
        "image": {"href": host.link("/nothing.tif")},
        "features": {"href": host.link("/nobody.json")},
    }
    inputs = service.inputs(1, **wrong)
    reply = service.execute(inputs)
    assert reply.status == 400
    assert [(fault["pointer"], fault["detail"]) for fault in reply.json["errors"]] == [
        ("/inputs/image/href", f"{host.link('/nothing.tif')}: the host answers with status 404"),
        ("/inputs/features/href", f"{host.link('/nobody.json')}: the host answers with status 404"),
    ]
    checked = service.request("POST", "/processes/classify-objects/validate", {"inputs": inputs})
    assert (checked.status, checked.json["errors"]) == (400, reply.json["errors"])
    job = service.submit(1, retries=3, **wrong)
    assert service.wait(job)["status"] == "failed"
    assert len(service.events(job, "step failed")) == 1  # it is final
    assert service.get(f"/jobs/{job}/results").json["errors"] == reply.json["errors"]


def test_a_host_that_drips_holds_no_slot_and_its_download_is_stopped(service: Service, host: Host) -> None:
    job = service.submit(1, image={"href": host.link("/drip.tif")})
    until(lambda: service.status(job)["message"] == "fetching the inputs")
    until(lambda: "/drip.tif" in host.asked)
    assert service.execute(service.inputs(1)).status == 200
    assert service.status(job)["status"] == "running"
    start_s = time.monotonic()
    assert service.request("DELETE", f"/jobs/{job}").status == 200
    until(lambda: service.events(job, "job let go"), 5)
    until(lambda: not (service.state / "results" / job).exists(), 5)
    assert time.monotonic() - start_s < 5


def test_a_dry_run_holds_no_slot_while_it_downloads(service: Service, host: Host) -> None:
    inputs = service.inputs(1, image={"href": host.link("/drip-dry.tif")})
    path = "/processes/classify-objects/validate"

    def ask() -> None:
        with contextlib.suppress(OSError):  # there is no answer until the host has ended its own
            service.request("POST", path, {"inputs": inputs}, timeout_s=20)

    threading.Thread(target=ask, daemon=True).start()
    until(lambda: "/drip-dry.tif" in host.asked)
    assert service.execute(service.inputs(1)).status == 200


def test_many_downloads_that_drip_leave_room_for_those_of_others(town: Path, tmp_path: Path, host: Host) -> None:
    hosts = f"127.0.0.1,127.0.0.1:{host.server_address[1]}"
    with running(Service(town, tmp_path, hosts=hosts)) as service:
        dripping = {"inputs": service.inputs(1, image={"href": host.link("/drip-many.tif")})}
        for _ in range(12):
            assert request_from("127.0.0.2", service, dripping, "respond-async").status == 201
        until(lambda: host.asked.count("/drip-many.tif") >= 8)
        linked = {"inputs": service.inputs(1, image={"href": host.link("/town.tif")})}
        assert request_from("127.0.0.3", service, linked).status == 200
