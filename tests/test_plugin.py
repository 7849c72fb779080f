"""The plugins in somebody's stock pygeoapi: its application, its manager, our processors by dotted path."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conftest import MakePackage
from rasters import make_raster
from service import ROOT, configure

SCRIPT = """
import json, sys
from pygeoapi.flask_app import APP
client = APP.test_client()
answers = []
for process, inputs in json.loads(sys.argv[1]):
    response = client.post(f"/processes/{process}/execution", json={"inputs": inputs})
    answers.append([response.status_code, response.get_data(as_text=True)])
answers.append([200, client.get("/processes/classify-objects").get_data(as_text=True)])
print(json.dumps(answers))
"""


@pytest.mark.parametrize("manager", [None, "TinyDB"])
def test_the_processes_run_in_a_stock_pygeoapi(tmp_path: Path, make_package: MakePackage, manager: str | None) -> None:
    make_package()
    image = make_raster(tmp_path / "plain.png", crs=None, driver="PNG")
    configuration = configure(tmp_path, models=[tmp_path / "models"], imagery=[tmp_path])
    document = yaml.safe_load(configuration.read_text())
    document["server"].pop("manager")
    if manager:
        document["server"]["manager"] = {
            "name": manager,
            "connection": str(tmp_path / "jobs.json"),
            "output_dir": str(tmp_path),
        }
    configuration.write_text(yaml.safe_dump(document))
    openapi = tmp_path / "openapi.yml"
    environment = {
        "PYGEOAPI_CONFIG": str(configuration),
        "PYGEOAPI_OPENAPI": str(openapi),
        "PYTHONPATH": str(ROOT),
        "PATH": "/usr/bin:/bin",
    }
    generate = [
        sys.executable,
        "-m",
        "pygeoapi",
        "openapi",
        "generate",
        str(configuration),
        "--output-file",
        str(openapi),
    ]
    if not (Path(sys.executable).parent / "pygeoapi").exists():
        pytest.fail("pygeoapi has no command line here")
    generate[:3] = [str(Path(sys.executable).parent / "pygeoapi")]
    subprocess.run(generate, env=environment, cwd=tmp_path, check=True, capture_output=True)
    requests = [
        ("classify-objects", {"image": {"href": image.as_uri()}, "model": "brightness"}),
        ("describe-model", {"model": "brightness"}),
        ("echo", {"echo": "a"}),
        ("classify-objects", {"image": {"href": "file:///etc/passwd"}, "model": "brightness"}),
    ]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(requests)],
        env=environment,
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    classified, described, echoed, refused, description = json.loads(done.stdout.splitlines()[-1])
    assert classified[0] == 200, classified
    assert json.loads(classified[1])["data"][0]["ImageID"] == "plain.png"
    assert json.loads(described[1])["id"] == "brightness"
    assert json.loads(echoed[1]) == ["a"]
    assert refused[0] == 400
    assert "not below a folder" in refused[1]
    assert json.loads(description[1])["inputs"]["model"]["schema"]["enum"] == ["brightness"]
