"""The plugins in somebody's stock pygeoapi: its application, its managers, this project's processors by dotted path."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import MakePackage
from processes.settings import load_settings
from rasters import make_raster
from service import ROOT, check_models, configure

SCRIPT = """
import json, sys
from pygeoapi.flask_app import APP
client = APP.test_client()
answers = []
for process, inputs, headers in json.loads(sys.argv[1]):
    response = client.post(f"/processes/{process}/execution", json={"inputs": inputs}, headers=headers)
    answers.append([response.status_code, response.get_data(as_text=True)])
answers.append([200, client.get("/processes/classify-objects").get_data(as_text=True)])
print(json.dumps(answers))
"""

RAISING_PLUGIN = """
from processes import errors
from processes.echo import Echo
from processes.plugin import EchoPlugin

class RaisingEcho(Echo):
    def execute(self, execution, folder):
        name = execution.request.inputs["echo"][0].read()
        raise getattr(errors, name)(*(["max_it", 1, "2"] if name.endswith(("LimitError", "FullError")) else ["no"]))

class RaisingPlugin(EchoPlugin):
    def __init__(self, definition):
        super().__init__(definition)
        self.process = RaisingEcho()
"""
"""A process that raises the error that its input names."""

Requests = Sequence[tuple[str, Mapping[str, Any], Mapping[str, str]]]
"""Process, inputs and headers of each request."""


def stock_configuration(folder: Path, manager: Mapping[str, str] | None, limits: Mapping[str, int]) -> Path:
    """Write a configuration with one of pygeoapi's own managers, or with this project's, and with a raising process."""
    configuration = configure(folder, models=[folder / "models"], imagery=[folder], limits=limits)
    (folder / "raising.py").write_text(RAISING_PLUGIN)
    document = yaml.safe_load(configuration.read_text())
    document["server"].pop("manager")
    if manager is not None:
        document["server"]["manager"] = dict(manager)
    document["resources"]["raise"] = {"type": "process", "processor": {"name": "raising.RaisingPlugin"}}
    configuration.write_text(yaml.safe_dump(document))
    return configuration


def run(configuration: Path, openapi: Path, *command: str) -> str:
    """Run a command with a stock pygeoapi's environment, and return what it prints."""
    folder = configuration.parent
    environment = {
        "PYGEOAPI_CONFIG": str(configuration),
        "PYGEOAPI_OPENAPI": str(openapi),
        "PYTHONPATH": f"{ROOT}:{folder}",
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(command, env=environment, cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def openapi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the OpenAPI document that a stock pygeoapi generates; it is the same for each of its managers."""
    command_line = Path(sys.executable).parent / "pygeoapi"
    if not command_line.exists():
        pytest.fail("pygeoapi has no command line here")
    folder = tmp_path_factory.mktemp("openapi")
    configuration, document = stock_configuration(folder, None, {}), folder / "openapi.yml"
    run(configuration, document, str(command_line), "openapi", "generate", str(configuration), "-of", str(document))
    return document


def post(configuration: Path, openapi: Path, requests: Requests) -> list[tuple[int, str]]:
    """Send requests to a stock pygeoapi, and return status and body of each response; the last is a description."""
    answers = run(configuration, openapi, sys.executable, "-c", SCRIPT, json.dumps(requests))
    return [(status, body) for status, body in json.loads(answers.splitlines()[-1])]


@pytest.mark.parametrize("manager", [None, "TinyDB"])
def test_the_processes_run_in_a_stock_pygeoapi(
    tmp_path: Path, make_package: MakePackage, openapi: Path, manager: str | None
) -> None:
    make_package()
    image = {"image": {"href": make_raster(tmp_path / "plain.png", crs=None, driver="PNG").as_uri()}}
    tiny_db = {"name": "TinyDB", "connection": str(tmp_path / "jobs.json"), "output_dir": str(tmp_path)}
    images = [image["image"]] * 3
    requests: Requests = [
        ("classify-objects", {**image, "model": "brightness"}, {}),
        ("describe-model", {"model": "brightness"}, {}),
        ("echo", {"echo": "a"}, {}),
        ("classify-objects", {"image": {"href": "file:///etc/passwd"}, "model": "brightness"}, {}),
        ("classify-objects", {"image": images, "model": "brightness"}, {}),
        ("classify-objects", {**image, "model": "nothing"}, {}),
        *(
            ("raise", {"echo": f"{name}Error"}, {})
            for name in ("NameTaken", "Unavailable", "ClientQueueFull", "Failure")
        ),
    ]
    configuration = stock_configuration(tmp_path, tiny_db if manager else None, {"max_images": 2})
    classified, described, echoed, forbidden, over_limit, faulty, *raised, description = post(
        configuration, openapi, requests
    )
    assert classified[0] == 200, classified
    assert json.loads(classified[1])["data"][0]["ImageID"] == "plain.png"
    assert json.loads(described[1])["id"] == "brightness"
    assert json.loads(echoed[1]) == ["a"]
    assert json.loads(description[1])["inputs"]["model"]["schema"]["enum"] == ["brightness"]
    assert (forbidden[0], over_limit[0], faulty[0]) == (403, 413, 400)
    assert "not below a folder" in forbidden[1]
    assert "max_images = 2" in over_limit[1]
    assert "nothing" in faulty[1]
    assert [status for status, _ in raised] == [409, 503, 429, 500]
    if manager:
        statuses = [job["status"] for job in json.loads((tmp_path / "jobs.json").read_text())["_default"].values()]
        assert statuses == ["successful"] * 3 + ["failed"] * 7


def test_errors_keep_status_and_type_with_this_project_s_manager(
    tmp_path: Path, make_package: MakePackage, openapi: Path
) -> None:
    make_package()
    image = {"image": {"href": make_raster(tmp_path / "plain.png", crs=None, driver="PNG").as_uri()}}
    named = {**image, "model": "brightness", "resultName": "houses"}
    respond_async = {"Prefer": "respond-async"}
    requests: Requests = [
        ("classify-objects", named, respond_async),
        ("classify-objects", named, respond_async),
        ("echo", {"echo": "a"}, respond_async),
        ("classify-objects", {"image": {"href": "file:///etc/passwd"}, "model": "brightness"}, respond_async),
        ("classify-objects", {"image": [image["image"]] * 3, "model": "brightness"}, respond_async),
        ("echo", {"other": "a"}, {}),
    ]
    manager = {"name": "processes.jobs.manager.JobManager"}
    configuration = stock_configuration(tmp_path, manager, {"max_images": 2, "max_waiting_jobs": 1})
    check_models(load_settings(configuration))
    accepted, *errors, _ = post(configuration, openapi, requests)
    assert accepted[0] == 201, accepted
    assert [(status, json.loads(body)["code"]) for status, body in errors] == [
        (409, "Conflict"),
        (503, "Unavailable"),
        (403, "Forbidden"),
        (413, "TooLarge"),
        (400, "InvalidParameterValue"),
    ]
