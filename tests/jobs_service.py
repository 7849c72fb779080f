"""The whole service as processes of its own, and words to ask it, look at its processes and end them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import trustme
import yaml
from affine import Affine

from conftest import definition, save_mean_network
from free_ports import free_port
from processes.access.person import Role
from processes.jobs.database import Database
from processes.jobs.step_process import NAME
from processes.jobs.token_store import TokenStore
from processes.settings import load_settings
from rasters import make_raster
from service import ROOT, clean_environment, configure
from slow_network import save_slow_network
from tcp_proxy import TcpProxy

SIDE_PX = 768
START_S = 240


def make_town(folder: Path, chip_ms: float = 2) -> Path:
    """Write an image, and models that see how bright it is: `quick`, and `slow` that takes `chip_ms` for each chip.

    A job is cut into sections where all slots together need more than some three seconds for its chips.
    """
    for name in ("models/quick", "models/slow", "imagery"):
        (folder / name).mkdir(parents=True)
    for name in ("quick", "slow"):
        (folder / "models" / name / "model.emd").write_bytes(msgspec.json.encode(definition(Normalization="none")))
    save_mean_network(folder / "models" / "quick" / "net.onnx", 3, None)
    save_slow_network(folder / "models" / "slow" / "net.onnx", chip_ms)
    place = Affine(1, 0, 500_000, 0, -1, 5_000_000)
    cells = np.random.default_rng(0).integers(-100, 100, (3, SIDE_PX, SIDE_PX)).astype(np.int16)
    make_raster(
        folder / "imagery" / "town.tif",
        width=SIDE_PX,
        height=SIDE_PX,
        dtype="int16",
        values=cells,
        transform=place,
        blocksize=32,
    )
    return folder


def objects(count: int, seed: int = 0) -> dict[str, Any]:
    """Return so many points on the image."""
    places = np.random.default_rng(seed).uniform(10, SIDE_PX - 10, (count, 2))
    features = [
        {
            "type": "Feature",
            "id": number,
            "properties": {"n": number},
            "geometry": {"type": "Point", "coordinates": [500_000 + x, 5_000_000 - y]},
        }
        for number, (x, y) in enumerate(places.tolist())
    ]
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    return {"type": "FeatureCollection", "crs": crs, "features": features}


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Service:
    """A running service.

    Args:
        town: the folder that `make_town` made.
        folder: an empty folder for its state.
        parts: commands of `classify-objects` to start; `serve` is web and runner in one.
        limits: that are other than usual.
        root: the checkout to run; another than this one has a virtual environment of its own.
        public_url: of the service, where it is behind a proxy.
        settings: of the processes, beside those of a test.
    """

    def __init__(
        self,
        town: Path,
        folder: Path,
        parts: Sequence[Sequence[str]] = (("serve",),),
        limits: Mapping[str, int] | None = None,
        root: Path = ROOT,
        public_url: str | None = None,
        **settings: Any,
    ) -> None:
        self.town, self.folder, self._root = town, folder, root
        self.port = free_port()
        models, imagery = [town / "models"], [town / "imagery"]
        self.configuration = configure(folder, models=models, imagery=imagery, limits=limits, root=root)
        document = yaml.safe_load(self.configuration.read_text())
        document["server"]["bind"]["port"] = self.port
        document["server"]["url"] = public_url or self.url
        for process in document["resources"].values():
            process["processor"] |= {"slots": 2} | settings
        self.configuration.write_text(json.dumps(document))
        self.headers: dict[str, str] = {}
        """Of all requests, beside their own."""
        self.parts: dict[str, subprocess.Popen[bytes]] = {}
        self.network: TcpProxy | None = None
        """Between a scheduler and those who work for it, where it can be cut."""
        for part in parts:
            self.start(*part)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def setting(self, name: str) -> Any:
        """Return a setting of the processes."""
        document = json.loads(self.configuration.read_text())
        return document["resources"]["classify-objects"]["processor"][name]

    def start(
        self, *command: str, name: str | None = None, variables: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a part, under a name by which it is found again; one of that name before it has ended.

        Args:
            command: of the part.
            name: None = the first word of the command.
            variables: of its environment, beside the usual ones.
        """
        if (name or command[0]) in self.parts:
            self.parts[name or command[0]].wait(10)
        program, environment = [sys.executable, "-m", "processes.programs.cli"], clean_environment()
        if self._root != ROOT:
            program, environment["PYTHONPATH"] = [str(self._root / ".venv/bin/classify-objects")], str(self._root)
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [*program, "--config", self.configuration, *command],
                cwd=self._root,
                env=environment | dict(variables or {}),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.parts[name or command[0]] = process
        return process

    def add_token(self, name: str, role: Role = Role.USER) -> str:
        """Make a token, and let all requests of this object that have no other one have it."""
        database = Database(load_settings(self.configuration).job_store)
        token = str(TokenStore(database).add(name, role, 1))
        database.close()
        self.headers["Authorization"] = f"Bearer {token}"
        return token

    def wait_ready(self) -> None:
        """Wait until it answers, and has a runner that takes jobs."""
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError):
                if self.get("/conformance").status == 200 and "runner started" in self.log() and self._is_checked():
                    return
            assert time.monotonic() < deadline, self.log()
            assert any(part.poll() is None for part in self.parts.values()), self.log()
            time.sleep(0.05)

    def _is_checked(self) -> bool:
        """Return whether the models of the town, which are sound, have been checked."""
        models = {path.name for path in (self.town / "models").iterdir()} & {"quick", "slow"}
        known = self.get("/processes/classify-objects").json["inputs"]["model"]["schema"].get("enum", ())
        return models <= set(known)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def events(self, job: str, event: str) -> list[str]:
        """Return the lines of the log that tell of an event of a job."""
        return [line for line in self.log().splitlines() if f"job={job}" in line and f'event="{event}"' in line]

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, timeout_s: float = 60
    ) -> Reply:
        """Send a request; an error is an answer too, but no answer raises OSError."""
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} | self.headers | dict(headers or {})
        request = urllib.request.Request(self.url + path, data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return Reply(answer.status, _lower(answer.headers), answer.read())
        except urllib.error.HTTPError as err:
            with err:
                return Reply(err.code, _lower(err.headers), err.read())

    def get(self, path: str, **headers: str) -> Reply:
        return self.request("GET", path, headers=headers)

    def inputs(self, count: int = 1, model: str = "quick", **inputs: Any) -> dict[str, Any]:
        """Return the inputs of a request for so many objects."""
        image = {"href": (self.town / "imagery" / "town.tif").as_uri()}
        return {"image": image, "features": objects(count), "model": model, **inputs}

    def execute(self, inputs: Mapping[str, Any], prefer: str | None = None, **members: Any) -> Reply:
        """Execute `classify-objects`."""
        headers = {} if prefer is None else {"Prefer": prefer}
        return self.request("POST", "/processes/classify-objects/execution", {"inputs": inputs, **members}, headers)

    def submit(self, count: int = 1, model: str = "quick", **inputs: Any) -> str:
        """Submit an asynchronous job of so many objects and return its id."""
        reply = self.execute(self.inputs(count, model, **inputs), "respond-async")
        assert reply.status == 201, reply.body
        return str(reply.json["jobID"])

    def status(self, job: str) -> dict[str, Any]:
        reply = self.get(f"/jobs/{job}")
        assert reply.status == 200, reply.body
        return dict(reply.json)

    def wait(self, job: str, *statuses: str, timeout_s: float = 90) -> dict[str, Any]:
        """Wait until a job has one of some statuses, successful or failed by default; return its document."""
        wanted = statuses or ("successful", "failed")
        deadline = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(OSError, AssertionError):
                if (found := self.status(job))["status"] in wanted:
                    return found
            assert time.monotonic() < deadline, f"{self.get(f'/jobs/{job}').body!r}\n{self.log()[-5000:]}"
            time.sleep(0.05)

    def stored_jobs(self) -> list[str]:
        """Return the jobs that have files where results are kept."""
        return [path.name for path in (self.state / "results").iterdir()]

    def labels(self, job: str) -> list[tuple[int, str, float]]:
        """Return id, label and confidence of each object of a job's result."""
        features = self.get(f"/jobs/{job}/results").json["features"]
        return [(item["id"], item["properties"]["ClassLabel"], item["properties"]["Confidence"]) for item in features]

    def processes(self) -> list[psutil.Process]:
        """Return all its processes."""
        found: list[psutil.Process] = []
        for part in self.parts.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(part.pid)
                found += [process, *process.children(recursive=True)]
        return [process for process in found if is_alive(process)]

    def of_kind(self, kind: str) -> list[psutil.Process]:
        """Return its processes of a kind: runner, slot, web (its master), web-worker, worker, scheduler, checker, check."""
        return [process for process in self.processes() if kind_of(process) == kind]

    def kill(self, kind: str) -> psutil.Process:
        """Kill a process of a kind, the last one if there are several."""
        process = self.of_kind(kind)[-1]
        process.kill()
        return process

    def stop(self, timeout_s: float = 20) -> None:
        """Stop all parts as an operator would."""
        for part in reversed(self.parts.values()):
            part.terminate()
        for part in reversed(self.parts.values()):
            part.wait(timeout_s)

    def end(self) -> None:
        """Kill all that there is, at once."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for part in self.parts.values():
            part.wait()


def kind_of(process: psutil.Process) -> str:
    """Return what a process of the service is."""
    try:
        if process.name() == NAME:
            return "slot"
        command = process.cmdline()
        if "processes.programs.model_checker" in command:
            return "checker"
        if "processes.model.check_process" in command:
            return "check"
        kind = next((word for word in ("serve", "web", "runner", "worker", "scheduler") if word in command), "other")
        parent = process.parent()
        is_worker = kind == "web" and parent is not None and "web" in parent.cmdline()
    except psutil.Error:
        return "gone"
    return "web-worker" if is_worker else kind


@contextlib.contextmanager
def running(service: Service) -> Iterator[Service]:
    """Give a service that is ready, and end it whatever happens."""
    try:
        service.wait_ready()
        yield service
    finally:
        service.end()


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process goes on; it may end meanwhile."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def until(condition: Callable[[], Any], timeout_s: float = 30, what: str = "") -> float:
    """Wait until something holds; return how long it took, in seconds."""
    start_s = time.monotonic()
    while not condition():
        assert time.monotonic() - start_s < timeout_s, what or condition
        time.sleep(0.01)
    return time.monotonic() - start_s


def cluster_of(
    town: Path,
    folder: Path,
    job_store: str,
    *,
    is_cut_off: bool = False,
    limits: Mapping[str, int] | None = None,
    **others: Any,
) -> Service:
    """Start a scheduler that speaks TLS, two workers of one slot each, a runner and a web server.

    Args:
        town: the folder that `make_town` made.
        folder: a folder for its state.
        job_store: URL of an empty PostgreSQL database.
        is_cut_off: the scheduler is behind the service's `network`.
        limits: that are other than usual.
        others: further settings of the processes.
    """
    port = free_port()
    network = TcpProxy(port) if is_cut_off else None
    settings: dict[str, Any] = others | {
        "job_store": job_store,
        "scheduler": f"tls://127.0.0.1:{port if network is None else network.port}",
        "tls": make_certificates(folder),
        "slots": 1,
    }
    parts = [["scheduler", "--port", str(port)], ["web"], ["runner"]]
    service = Service(town, folder, parts, limits=limits, **settings)
    service.network = network
    for number in range(2):
        service.start("worker", "--host", "127.0.0.1", name=f"worker-{number}")
    return service


def make_certificates(folder: Path) -> dict[str, str]:
    """Write a certificate for the loopback address, as the setting `tls` takes it."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    for number, pem in enumerate(certificate.cert_chain_pems):
        pem.write_to_path(folder / "cert.pem", append=number > 0)
    return {name: str(folder / f"{name}.pem") for name in ("ca", "cert", "key")}


def freeze(process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGSTOP)


def wake(process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGCONT)


def request_from(
    address: str, service: Service, body: Mapping[str, Any], prefer: str | None = None, timeout_s: float = 60
) -> Reply:
    """Execute `classify-objects` as a client at another address of the loopback network, such as 127.0.0.2."""
    headers = {"Content-Type": "application/json"} | ({} if prefer is None else {"Prefer": prefer})
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout_s, source_address=(address, 0))
    with contextlib.closing(connection):
        connection.request("POST", "/processes/classify-objects/execution", json.dumps(body), headers)
        answer = connection.getresponse()
        return Reply(answer.status, _lower(answer.headers), answer.read())


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
