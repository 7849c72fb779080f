"""Files that are sent to the whole service: what breaks off, comes at the same time, or has no room, is never half there."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from jobs_service import Service, make_town, running, until
from processes.web.views import BODIES

pytestmark = pytest.mark.jobs

MB = 2**20
TB = 2**40


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    town = make_town(tmp_path_factory.mktemp("town") / "town")
    limits = {"max_upload_mb": 10 * TB // MB}
    with running(Service(town, tmp_path_factory.mktemp("service"), limits=limits)) as service:
        yield service


def head(size: int, **headers: str) -> bytes:
    lines = ["POST /uploads HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {size}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def send(service: Service, content: bytes, name: str) -> Any:
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}", "Content-Type": "image/tiff"}
    reply = service.request("POST", "/uploads", content, headers)
    assert reply.status == 201, reply.body
    return reply.json


def kept(service: Service) -> set[str]:
    """Return the names of all files that are kept of uploads and of bodies."""
    folders = (service.state / "results" / "uploads", service.state / BODIES)
    return {str(path) for folder in folders for path in folder.rglob("*") if path.is_file()}


def test_a_file_that_breaks_off_is_never_there(service: Service) -> None:
    before = kept(service)
    for sent in (1, 3 * MB, 12 * MB):
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(head(12 * MB + 1) + b"x" * sent)
            connection.shutdown(socket.SHUT_WR)
            assert b" 400 " in connection.recv(65536).split(b"\r\n")[0]
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(head(12 * MB + 1) + b"x" * sent)  # and is gone without a word
    until(lambda: kept(service) == before, 10)


def test_files_with_one_name_that_come_at_once_are_two(service: Service) -> None:
    contents = [np.random.default_rng(seed).bytes(9 * MB) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as clients:
        found = list(clients.map(lambda content: send(service, content, "same.tif"), contents))
    assert [item["sha256"] for item in found] == [hashlib.sha256(content).hexdigest() for content in contents]
    assert found[0]["href"] != found[1]["href"]


@pytest.mark.parametrize(
    ("size", "status", "words"),
    [(20 * TB, 413, "max_upload_mb = 10485760"), (9 * TB, 503, "min_free_mb")],
    ids=["too large", "no space"],
)
def test_what_has_no_room_is_refused_before_it_comes(service: Service, size: int, status: int, words: str) -> None:
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(head(size, Expect="100-continue"))
        answer = connection.recv(65536)
    first, _, rest = answer.partition(b"\r\n")
    assert f" {status} ".encode() in first
    headers, _, body = rest.partition(b"\r\n\r\n")
    assert words in json.loads(body)["detail"]
    assert (b"retry-after" in headers.lower()) == (status == 503)


def test_the_result_of_an_upload_is_that_of_the_same_file_by_link(service: Service) -> None:
    image, given = service.town / "imagery" / "town.tif", service.inputs(300)
    href = {"href": send(service, image.read_bytes(), "town.tif")["href"]}
    layer = {"href": send(service, json.dumps(given["features"]).encode(), "objects.geojson")["href"]}
    assert results(service, given | {"image": href, "features": layer}) == results(service, given)
    for refused in ({"image": layer}, {"features": href}):  # of a wrong type
        reply = service.execute(given | refused)
        assert (reply.status, reply.json["errors"][0]["pointer"]) == (400, f"/inputs/{next(iter(refused))}/href")


def results(service: Service, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a job gives."""
    job = service.execute(inputs, "respond-async").json["jobID"]
    assert service.wait(job)["status"] == "successful"
    found: dict[str, Any] = service.get(f"/jobs/{job}/results/classifiedObjects").json
    return {"features": found["features"], "summary": found["summary"]}
