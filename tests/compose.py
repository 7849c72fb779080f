"""docker/compose.yml as `docker compose` reads it, and the parts of its cluster as processes of this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pyarrow import fs

from free_ports import free_port
from jobs_service import Service
from object_store import moto_store, started, until_answered
from postgres import Postgres
from service import ROOT, clean_environment

COMPOSE = ROOT / "docker" / "compose.yml"
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^{}]*))?\}")


def read_services(values: Mapping[str, str], path: Path = COMPOSE) -> dict[str, Any]:
    """Return the services of a compose file.

    Args:
        values: the environment of `docker compose`.
        path: the file.

    Raises:
        KeyError: a variable that the file requires has no value.
    """

    def value(found: re.Match[str]) -> str:
        name, kind, text = found.groups()
        if values.get(name):
            return values[name]
        if kind == "?":
            raise KeyError(f"{name}: {text}")
        return text or ""

    def replaced(item: Any) -> Any:
        if isinstance(item, dict):
            return {name: replaced(inner) for name, inner in item.items()}
        if isinstance(item, list):
            return [replaced(inner) for inner in item]
        if isinstance(item, str):
            while (text := _VARIABLE.sub(value, item)) != item:
                item = text
            return item.replace("$$", "$")
        return item

    services: dict[str, Any] = replaced(yaml.safe_load(path.read_text())["services"])
    for service in services.values():
        given = service.get("environment", {})
        known = {name: values.get(name) if text is None else str(text) for name, text in given.items()}
        service["environment"] = {name: text for name, text in known.items() if text is not None}
    return services


class ComposedService(Service):
    """The profile `cluster` without containers: the commands of its services, with their environment.

    What differs from containers: addresses of other services are ports of this machine, and folders are the test's.

    Args:
        town: the folder that `make_town` made.
        folder: an empty folder for its state.
        database_port: of a PostgreSQL that has the compose file's user and database.
        objects_port: of an object store that has the compose file's bucket.
    """

    def __init__(self, town: Path, folder: Path, database_port: int, objects_port: int) -> None:
        super().__init__(town, folder, parts=())
        self.configuration = ROOT / "pygeoapi-config.yml"
        self._scheduler_port = free_port()
        self._services = read_services({"IMAGERY": str(town / "imagery"), "CLASSIFY_SLOTS": "1"})
        self._addresses = {
            "@database/": f"@127.0.0.1:{database_port}/",
            "//objects:7070": f"//127.0.0.1:{objects_port}",
            "//scheduler:8786": f"//127.0.0.1:{self._scheduler_port}",
            "/tls/": f"{folder}/",
        }
        subprocess.run([ROOT / "docker" / "make-certificates", folder], check=True, capture_output=True)
        for part in ("scheduler", "web", "runner"):
            self.start(*self._services[part]["command"])
        for number in range(2):
            self.start("worker", name=f"worker-{number}")

    def start(
        self, *command: str, name: str | None = None, variables: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a part by its command, or again, with the environment that the compose file gives it."""
        part = name or command[0]
        if part in self.parts:
            self.parts[part].wait(10)
        with (self.folder / "log").open("ab") as log:
            program = [sys.executable, "-m", "processes.programs.cli", "--config"]
            process = subprocess.Popen(
                [*program, self.configuration, command[0], *self._options(command[0])],
                cwd=ROOT,
                env=clean_environment()
                | self.environment(command[0])
                | {"CLASSIFY_STATE": str(self._state(part)), **(variables or {})},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.parts[part] = process
        return process

    def _options(self, part: str) -> list[str]:
        if part != "scheduler":
            return []
        given = [text.replace("0.0.0.0", "127.0.0.1") for text in self._services[part]["command"][1:]]  # noqa: S104
        return [*given, "--port", str(self._scheduler_port)]

    def _state(self, part: str) -> Path:
        return self.folder / f"state-{part}"

    def stored_jobs(self) -> list[str]:
        given = self.environment("runner")
        keys = f"{given['AWS_ACCESS_KEY_ID']}:{given['AWS_SECRET_ACCESS_KEY']}"
        store, path = fs.FileSystem.from_uri(given["CLASSIFY_RESULTS"].replace("s3://", f"s3://{keys}@"))
        return [info.base_name for info in store.get_file_info(fs.FileSelector(path, allow_not_found=True))]

    def environment(self, part: str) -> dict[str, str]:
        """Return what the compose file gives a part, and what else the image says, with this machine's addresses."""
        of_image = {
            "CLASSIFY_HOST": "127.0.0.1",
            "CLASSIFY_PORT": str(self.port),
            "CLASSIFY_MODELS": str(self.town / "models"),
            "CLASSIFY_IMAGERY": str(self.town / "imagery"),
        }
        given = dict(self._services[part]["environment"])
        for address, own in self._addresses.items():
            given = {name: text.replace(address, own) for name, text in given.items()}
        return of_image | given


@contextmanager
def composed_store(folder: Path) -> Iterator[int]:
    """Run the object store of the compose file where this machine has its program, else moto's; give its port."""
    program = shutil.which("versitygw")
    service = read_services({"IMAGERY": "/"})["objects"]
    bucket, command = re.fullmatch(r"mkdir -p /data/(\w+) && exec versitygw (.*)", service["entrypoint"][-1]).groups()  # type: ignore[union-attr]
    if program is None:
        with moto_store(folder, bucket) as port:
            yield port
        return
    port = free_port()
    (folder / "data" / bucket).mkdir(parents=True)
    options = command.replace(":7070", f"127.0.0.1:{port}").replace("/data", str(folder / "data")).split()
    with started([program, *options], folder / "versitygw.log", service["environment"]):
        until_answered(urllib.request.Request(f"http://127.0.0.1:{port}/health"))
        yield port


@contextmanager
def composed_cluster(town: Path, folder: Path, postgres: Postgres) -> Iterator[Service]:
    """Start the cluster of the compose file; the caller waits until it is ready, and ends it."""
    postgres.make("classify", "classify")
    with composed_store(folder) as port:
        yield ComposedService(town, folder, postgres.port, port)
