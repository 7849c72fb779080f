"""pygeoapi itself, as a server of the collections that a test says."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from service import ROOT


@contextmanager
def pygeoapi_server(folder: Path, resources: Mapping[str, Any]) -> Iterator[str]:
    """Start pygeoapi with resources of its configuration, and yield its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    document = yaml.safe_load((ROOT / "pygeoapi-config.yml").read_text())
    document["server"] |= {"bind": {"host": "127.0.0.1", "port": port}, "url": url}
    document["server"]["limits"] = {"default_items": 100, "max_items": 100}
    document["server"].pop("manager")
    document["resources"] = dict(resources)
    (folder / "config.yml").write_text(yaml.safe_dump(document))
    (folder / "openapi.yml").write_text("{}")
    variables = os.environ | {
        "PYGEOAPI_CONFIG": str(folder / "config.yml"),
        "PYGEOAPI_OPENAPI": str(folder / "openapi.yml"),
    }
    command = [sys.executable, "-m", "flask", "--app", "pygeoapi.flask_app:APP", "run", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"{url}/conformance?f=json", timeout=20):
                    break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def collection(title: str, **members: Any) -> dict[str, Any]:
    """Return a collection of a configuration, without its providers."""
    frame = {"description": title, "keywords": [title], "extents": {"spatial": {"bbox": [-180, -90, 180, 90]}}}
    return {"type": "collection", "title": title, **frame, "links": [], **members}
