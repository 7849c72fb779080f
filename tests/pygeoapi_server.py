"""pygeoapi itself, as a server of the collections or processes that a test says."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from free_ports import free_port
from service import ROOT, clean_environment

PROCESSES = {
    "hello-world": {"type": "process", "processor": {"name": "HelloWorld"}},
    "shapely-functions": {"type": "process", "processor": {"name": "ShapelyFunctions"}},
}
"""The processes that come with pygeoapi."""


@contextmanager
def pygeoapi_server(folder: Path, resources: Mapping[str, Any], *, is_described: bool = False) -> Iterator[str]:
    """Start pygeoapi with jobs in its own TinyDB, and yield its URL.

    Args:
        folder: an empty one, for its files.
        resources: of its configuration.
        is_described: whether it has its OpenAPI document, which takes seconds to write; else an empty one.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    document = yaml.safe_load((ROOT / "pygeoapi-config.yml").read_text())
    document["server"] |= {"bind": {"host": "127.0.0.1", "port": port}, "url": url}
    document["server"]["limits"] = {"default_items": 100, "max_items": 100}
    jobs = {"name": "TinyDB", "connection": str(folder / "jobs.db"), "output_dir": str(folder)}
    document["server"]["manager"] = jobs
    document["resources"] = dict(resources)
    (folder / "config.yml").write_text(yaml.safe_dump(document))
    variables = clean_environment() | {
        "PYGEOAPI_CONFIG": str(folder / "config.yml"),
        "PYGEOAPI_OPENAPI": str(folder / "openapi.yml"),
    }
    (folder / "openapi.yml").write_text("{}")
    if is_described:
        written = ["openapi", "generate", str(folder / "config.yml"), "--output-file", str(folder / "openapi.yml")]
        program = [sys.executable, "-c", "from pygeoapi import cli; cli()"]
        subprocess.run([*program, *written], env=variables, check=True, capture_output=True)
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
