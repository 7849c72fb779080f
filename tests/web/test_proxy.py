"""The service behind the proxy that `docker/` ships: a real nginx takes whole requests and answers for it."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import trustme
import yaml

from free_ports import free_port
from jobs_service import Service, freeze, make_town, objects, running, until, wake
from nginx import TEMPLATE, Nginx, substituted
from service import ROOT

THREADS = 4
"""Of the web server: as many slow clients would stop it."""
EXECUTION = "/processes/classify-objects/execution"


@dataclass(frozen=True)
class Proxied:
    """A service and the proxy in front of it."""

    service: Service
    nginx: Nginx
    subscriber_port: int
    """Of the loopback address; callbacks may go there."""

    def connect(self, address: str = "127.0.0.1") -> socket.socket:
        """Return a connection to the proxy, from an address of the loopback network."""
        return socket.create_connection(("127.0.0.1", self.nginx.port), 30, (address, 0))

    def ask(
        self, method: str, path: str, body: Any = None, address: str = "127.0.0.1", **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        """Send a request to the proxy; return status, headers and document of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.nginx.port, 120, (address, 0))
        with contextlib.closing(connection):
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, data, {"Content-Type": "application/json"} | sent)
            answer = connection.getresponse()
            lower = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, lower, json.loads(answer.read() or b"null")

    def quick(self) -> bool:
        """Say whether the service itself answers within two seconds."""
        try:
            return self.service.request("GET", "/conformance", timeout_s=2).status == 200
        except OSError:
            return False


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    port, subscriber_port = free_port(), free_port()
    town = make_town(tmp_path_factory.mktemp("town"))
    service = Service(
        town,
        tmp_path_factory.mktemp("service"),
        limits={"max_body_mb": 32, "max_waiting_jobs_per_client": 2},
        public_url=f"http://127.0.0.1:{port}",
        web_workers=1,
        web_threads=THREADS,
        proxies=1,
        hosts=f"127.0.0.1,127.0.0.1:{subscriber_port}",
    )
    with running(service), contextlib.closing(Nginx(port, f"127.0.0.1:{service.port}", max_body_mb=32)) as nginx:
        until(nginx.is_ready)
        yield Proxied(service, nginx, subscriber_port)


@pytest.mark.jobs
def test_slow_readers_of_a_large_result_do_not_stop_the_service(proxied: Proxied) -> None:
    features = objects(2500)
    for feature in features["features"]:
        feature["properties"]["text"] = "x" * 4000
    body = {"inputs": proxied.service.inputs() | {"features": features}}
    status, _, job = proxied.ask("POST", EXECUTION, body, Prefer="respond-async")
    assert status == 201
    proxied.service.wait(job["jobID"], "successful")
    request = f"GET /jobs/{job['jobID']}/results HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(proxied.connect()) for _ in range(3 * THREADS)]
        for reader in readers:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.sendall(request)
        for reader in readers:
            assert reader.recv(12) == b"HTTP/1.1 200"
        until(proxied.quick, 20)
        status, _, result = proxied.ask("GET", f"/jobs/{job['jobID']}/results")
        assert (status, len(result["features"])) == (200, 2500)


@pytest.mark.jobs
def test_a_file_may_be_larger_than_other_bodies(proxied: Proxied) -> None:
    content = bytes(33 * 2**20)
    status, _, document = proxied.ask("POST", "/uploads", content, Content_Type="image/tiff")
    assert (status, document["size"]) == (201, len(content))


@pytest.mark.jobs
def test_slow_senders_do_not_stop_the_service(proxied: Proxied) -> None:
    start = (
        f"POST {EXECUTION} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n"
    )
    with contextlib.ExitStack() as stack:
        senders = [stack.enter_context(proxied.connect()) for _ in range(3 * THREADS)]
        for number, sender in enumerate(senders):
            sender.sendall((start if number % 2 else start[:40]).encode())
        assert all(proxied.quick() for _ in range(10))
        assert proxied.ask("GET", "/conformance")[0] == 200


@pytest.mark.jobs
def test_client_s_address_arrives_whatever_it_says_itself(proxied: Proxied) -> None:
    (runner,) = proxied.service.of_kind("runner")
    freeze(runner)
    jobs = []
    try:
        for address, forged, expected in [
            ("127.0.0.2", "192.0.2.1", 201),
            ("127.0.0.2", "192.0.2.2, 192.0.2.3, 192.0.2.4", 201),
            ("127.0.0.2", '192.0.2.5, "', 429),
            ("127.0.0.3", "127.0.0.2", 201),
        ]:
            body = {"inputs": proxied.service.inputs()}
            headers = {"Prefer": "respond-async", "X_Forwarded_For": forged}
            status, _, document = proxied.ask("POST", EXECUTION, body, address, **headers)
            assert status == expected, document
            jobs += [document["jobID"]] if status == 201 else []
    finally:
        wake(runner)
    for job in jobs:
        proxied.service.wait(job, "successful")


@pytest.mark.jobs
def test_links_and_callbacks_have_the_public_url(proxied: Proxied) -> None:
    called: list[bytes] = []

    class Subscriber(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            called.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", proxied.subscriber_port), Subscriber) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        subscriber = {"successUri": f"http://127.0.0.1:{server.server_port}/"}
        outputs = {"classifiedObjects": {"transmissionMode": "reference"}}
        body = {"inputs": proxied.service.inputs(), "outputs": outputs, "subscriber": subscriber}
        status, headers, job = proxied.ask("POST", EXECUTION, body, Prefer="respond-async")
        assert status == 201, job
        until(lambda: called, 20)
        server.shutdown()
    public = f"http://127.0.0.1:{proxied.nginx.port}/jobs/{job['jobID']}"
    assert headers["location"] == public
    assert public.encode() in called[0]
    assert all(link["href"].startswith(public) for link in job["links"])


@pytest.mark.jobs
def test_synchronous_request_may_take_minutes(proxied: Proxied) -> None:
    (runner,) = proxied.service.of_kind("runner")
    freeze(runner)
    answers: list[int] = []
    body = {"inputs": proxied.service.inputs()}
    asking = Thread(target=lambda: answers.append(proxied.ask("POST", EXECUTION, body)[0]))
    asking.start()
    try:
        time.sleep(62)  # nginx itself would give up after 60 s
    finally:
        wake(runner)
    asking.join(40)
    assert answers == [200]


@pytest.mark.jobs
def test_errors_of_the_proxy_have_the_service_s_form(proxied: Proxied) -> None:
    requests = {
        413: (EXECUTION, bytes(33 * 2**20), {}),
        414: ("/" + "a" * 20_000, None, {}),
        431: ("/", None, {"X_Long": "a" * 20_000}),
        503: ("/jobs", None, {}),
    }
    for status, (path, body, headers) in requests.items():
        if status == 503:
            with contextlib.closing(Nginx(free_port(), f"127.0.0.1:{free_port()}")) as alone:
                until(alone.is_ready)
                found, told, document = Proxied(proxied.service, alone, 0).ask("GET", path)
            assert int(told["retry-after"]) > 0
        else:
            found, told, document = proxied.ask("GET" if body is None else "POST", path, body, **headers)
        assert (found, document["status"], told["content-type"]) == (status, status, "application/json")
        assert document.keys() == {"type", "title", "status", "detail", "instance"}
        if status == 413:
            assert "max_body_mb = 32" in document["detail"]
    until(proxied.quick)
    until(partial(has_refused_the_65th_connection, proxied), 60)


def has_refused_the_65th_connection(proxied: Proxied) -> bool:
    """Open more connections from one address than the proxy takes, and return whether it has refused the last.

    It counts a connection when it has read the headers of its request, some time after they were sent, and no more
    after the ten seconds that it waits for the body.
    """
    with contextlib.ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(proxied.connect("127.0.0.9")).sendall(
                b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
            )
        time.sleep(0.2)
        found, told, document = proxied.ask("GET", "/conformance", address="127.0.0.9")
        assert proxied.ask("GET", "/conformance", address="127.0.0.10")[0] == 200
    assert found in (200, 429)
    if found == 429:
        assert (document["type"], int(told["retry-after"]) > 0) == ("TooManyRequests", True)
    return found == 429


def test_compose_sets_what_the_template_needs() -> None:
    services = yaml.safe_load((ROOT / "docker" / "compose.proxy.yml").read_text())["services"]
    environment = services["proxy"]["environment"]
    chosen = re.compile(environment["NGINX_ENVSUBST_FILTER"].replace("$$", "$"))
    values = {name: str(value) for name, value in environment.items() if chosen.search(name)}
    configuration = substituted(TEMPLATE.read_text(), values)
    shipped = yaml.safe_load((ROOT / "pygeoapi-config.yml").read_text())
    limits = shipped["resources"]["classify-objects"]["processor"]["limits"]
    assert f"client_max_body_size {limits['max_body_mb']}m;" in configuration
    assert f"listen {environment['PROXY_PORT']};" in configuration
    assert services["classify-objects"]["environment"]["CLASSIFY_PROXIES"] == 1


@pytest.mark.jobs
def test_people_sign_in_behind_tls(proxied: Proxied, tmp_path: Path) -> None:
    authority, port = trustme.CA(), free_port()
    issued = authority.issue_cert("127.0.0.1")
    certificate = (issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes())
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    url = f"https://127.0.0.1:{port}"
    service = Service(proxied.service.town, tmp_path, (), public_url=url, web_workers=1, proxies=1, access="tokens")
    token = service.add_token("anna")
    service.start("serve")

    def ask(method: str, path: str, body: str | None = None, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=trusting)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer

    nginx = Nginx(port, f"127.0.0.1:{service.port}", certificate=certificate)
    with running(service), contextlib.closing(nginx):
        until(nginx.is_ready)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert ask("POST", "/sign-in", f"token={token}", Origin="https://evil.example", **form).status == 403
        answer = ask("POST", "/sign-in", f"token={token}&next=/jobs", Origin=url, **form)
        assert (answer.status, answer.headers["Location"]) == (303, "/jobs")
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith("__Host-classify-session=")
        assert all(word in cookie for word in ("; Secure", "; HttpOnly", "; Path=/", "; SameSite=Lax"))
        kept = {"Cookie": cookie.split(";")[0]}
        answer = ask("GET", "/jobs", **kept)
        assert (answer.status, answer.headers["Strict-Transport-Security"]) == (200, "max-age=31536000")
        assert ask("POST", "/sign-out", Origin=url, **kept).status == 303
        assert ask("GET", "/jobs", **kept).status == 401


@pytest.mark.jobs
def test_no_query_stands_in_the_log(proxied: Proxied) -> None:
    """It can have the secret of a link that shares a job."""
    assert proxied.ask("GET", "/conformance?share=a-secret", Referer="http://localhost/jobs?share=a-secret")[0] == 200
    until(lambda: '"GET /conformance" 200' in proxied.nginx.log(), 10)
    assert "a-secret" not in proxied.nginx.log()
