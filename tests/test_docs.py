"""The README is a test subject: its commands exist, its request gives its answer, its tables are the code's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from processes.classify_description import describe
from processes.cli import main
from scene import make_scene, write_scene
from service import ROOT, Client, configure, load_application

README = (ROOT / "README.md").read_text()


def test_make_knows_the_commands() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?<![\w-])make ([a-z]+)", README)) - {"it"}
    assert {"demo", "test", "serve", "check", "bench"} <= targets
    for target in targets:
        assert f"\n{target}:" in makefile, target


@pytest.mark.parametrize("command", re.findall(r"classify-objects (serve|run|models)\b", README))
def test_the_command_line_knows_the_commands(command: str) -> None:
    assert CliRunner().invoke(main, [command, "--help"]).exit_code == 0


def test_options_of_the_command_line_exist() -> None:
    options = re.findall(r"--[a-z-]+", " ".join(line for line in README.splitlines() if "classify-objects run" in line))
    assert options
    shown = CliRunner().invoke(main, ["run", "--help"]).output
    assert all(option in shown for option in options)


def test_the_request_is_answered_as_shown(tmp_path: Path) -> None:
    write_scene(make_scene(1, 800, 8), tmp_path)
    (body,) = re.findall(r"-d '(\{.*?\}\})'", README.replace("'$PWD'", "@"), re.DOTALL)
    request = json.loads(body.replace("@/demo", str(tmp_path)))
    client = Client(load_application(configure(tmp_path, models=[ROOT / "models"], imagery=[tmp_path])))
    answer = client.execute("classify-objects", request["inputs"]).json
    shown = re.search(r'"properties": (\{.*?\})\}', README)
    assert shown is not None
    assert list(answer["features"][0]["properties"]) == list(json.loads(shown[1]))
    (digest,) = re.findall(r'"sha256":"([0-9a-f]{64})"', README)
    assert answer["summary"]["model"] == {"id": "roof-damage", "sha256": digest}


def test_the_table_of_inputs_is_the_description_s() -> None:
    table = README.split("| input | |")[1].split("\n\n")[0]
    first_column = "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|"))
    assert re.findall(r"`(\w+)`", first_column) == list(describe([])["inputs"])


def test_the_table_of_variables_is_the_configuration_s() -> None:
    table = README.split("| variable | default | |")[1].split("\n\n")[0]
    used = set(re.findall(r"\$\{(CLASSIFY_\w+)", (ROOT / "pygeoapi-config.yml").read_text()))
    assert set(re.findall(r"`(CLASSIFY_\w+)`", table)) == used


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "models" / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_examples_are_answered(tmp_path: Path) -> None:
    write_scene(make_scene(1, 800, 8), tmp_path)
    client = Client(load_application(configure(tmp_path, models=[ROOT / "models"], imagery=[tmp_path])))
    examples = sorted((ROOT / "openapi" / "examples").glob("*.json"))
    assert {example.stem for example in examples} == {"classify-objects", "describe-model", "echo"}
    for example in examples:
        request = json.loads(example.read_text().replace("file:///imagery", tmp_path.as_uri()))
        response = client.execute(example.stem, request["inputs"])
        assert response.status_code == 200, response.text
