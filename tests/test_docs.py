"""The README is a test subject: its commands exist, its request gives its answer, its tables are the code's."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import zipfile
from contextlib import chdir
from pathlib import Path
from typing import Any

import pyogrio
import pytest
import rasterio
from click.testing import CliRunner
from msgspec import structs
from rasterio.windows import Window

from processes.classify.description import describe
from processes.programs.cli import main
from processes.settings import Limits
from scene import make_scene, write_scene
from service import ROOT, Client, configure

README = (ROOT / "README.md").read_text()


def test_make_knows_the_commands() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?<![\w-])make ([a-z-]+)", README)) - {"it"}
    assert {"demo", "test", "test-jobs", "chaos", "serve", "check", "bench"} <= targets
    for target in targets:
        assert f"\n{target}:" in makefile, target


@pytest.mark.parametrize("command", re.findall(r"classify-objects (serve|runner|run|models|jobs)\b", README))
def test_the_command_line_knows_the_commands(command: str) -> None:
    assert CliRunner().invoke(main, [command, "--help"]).exit_code == 0


def test_options_of_the_command_line_exist() -> None:
    options = re.findall(r"--[a-z-]+", " ".join(line for line in README.splitlines() if "classify-objects run" in line))
    assert options
    shown = CliRunner().invoke(main, ["run", "--help"]).output
    assert all(option in shown for option in options)


def test_the_request_is_answered_as_shown(tmp_path: Path, shipped: Client) -> None:
    write_scene(make_scene(1, 800, 8), tmp_path)
    (body,) = re.findall(r"-d '(\{.*?\}\})'", README.replace("'$PWD'", "@"), re.DOTALL)
    request = json.loads(body.replace("@/demo", str(tmp_path)))
    answer = shipped.execute("classify-objects", request["inputs"]).json
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


def test_the_table_of_limits_is_the_settings_s() -> None:
    table = README.split("| limit | default | |")[1].split("\n\n")[0]
    told = {
        name: int(value.replace(",", ""))
        for name, value in re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", table, re.MULTILINE)
    }
    assert told == structs.asdict(Limits())


def test_the_page_on_scaling_speaks_of_what_there_is() -> None:
    page = (ROOT / "docs" / "scaling.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    compile(script, "slurm.py", "exec")
    commands = re.findall(r"`classify-objects (\w+)`", page)
    assert {"web", "runner", "scheduler", "worker"} <= set(commands)
    assert all(CliRunner().invoke(main, [command, "--help"]).exit_code == 0 for command in commands)
    pages = [page, *((ROOT / "docs" / name).read_text() for name in ("jobs.md", "containers.md", "gpu.md"))]
    variables = set(re.findall(r"\b(CLASSIFY_[A-Z_]+)\b", "".join(pages)))
    assert variables <= set(re.findall(r"\$\{(CLASSIFY_\w+)", (ROOT / "pygeoapi-config.yml").read_text()))


def test_metrics_are_those_that_there_are() -> None:
    page = (ROOT / "docs" / "jobs.md").read_text()
    told = set(re.findall(r"^\| `(classify_\w+?)(?:_total)?[`{]", page, re.MULTILINE))
    source = (ROOT / "processes" / "web" / "metrics.py").read_text()
    assert told == set(re.findall(r'"(classify_\w+)"', source))


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "models" / "README.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all the files that the pages speak of."""
    folder = tmp_path_factory.mktemp("town")
    write_scene(make_scene(1, 800, 8), folder)
    meta, table = pyogrio.read_arrow(folder / "houses.geojson")
    for layer in ("houses", "sheds"):
        pyogrio.write_arrow(
            table,
            folder / "town.gpkg",
            layer=layer,
            driver="GPKG",
            crs=meta["crs"],
            geometry_name="wkb_geometry",
            geometry_type="Polygon",
            append=layer == "sheds",
        )
    (folder / "sheets").mkdir()
    with rasterio.open(folder / "scene.tif") as scene:
        for name, column in (("west.tif", 0), ("east.tif", 350)):
            window = Window(column, 0, 450, 800)
            profile = {**scene.profile, "width": 450, "transform": scene.window_transform(window)}
            with rasterio.open(folder / "sheets" / name, "w", **profile) as sheet:
                sheet.write(scene.read(window=window))
    return folder


PAGES = sorted((ROOT / "docs" / "inputs").glob("[!R]*.md"))
EXAMPLE = re.compile(r"^```json\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def answer(example: str, town: Path, client: Client) -> Any:
    """Send a page's example, with the files in the town's folder."""
    request = json.loads(example.replace("file:///imagery", town.as_uri()))
    response = client.execute("classify-objects", **request)
    assert response.status_code == 200, response.text
    (job,) = re.findall(r"<http://localhost(/jobs/[^>]+)>", response.headers["Link"])
    assert client.http.delete(job).status_code == 200  # whose name is free again
    return response


def test_every_input_has_its_page_with_its_example() -> None:
    assert {page.stem for page in PAGES} == set(describe([])["inputs"])
    index = (ROOT / "docs" / "inputs" / "README.md").read_text()
    assert re.findall(r"^\| \[(\w+)\]", index, re.MULTILINE) == list(describe([])["inputs"])
    for page in PAGES:
        assert all(page.stem in json.loads(example)["inputs"] for example in EXAMPLE.findall(page.read_text())), page


@pytest.mark.parametrize("page", [*PAGES, ROOT / "docs" / "outputs.md"], ids=lambda page: page.stem)
def test_the_examples_of_a_page_are_answered(page: Path, town: Path, shipped: Client) -> None:
    examples = EXAMPLE.findall(page.read_text())
    assert examples
    for example in examples:
        answer(example, town, shipped)


def test_the_example_of_an_input_shows_its_effect(town: Path, shipped: Client) -> None:
    def shown(name: str) -> Any:
        page = (ROOT / "docs" / "inputs" / f"{name}.md").read_text()
        return answer(EXAMPLE.findall(page)[0], town, shipped)

    houses = json.loads((town / "houses.geojson").read_text())["features"]
    plain = shown("model").json
    labels = [feature["properties"]["ClassLabel"] for feature in plain["features"]]
    assert len(labels) == len(houses)
    assert set(labels) == {"damaged", "intact"}
    assert [item["properties"]["ClassLabel"] for item in shown("features").json["features"]] == labels
    with_arguments = shown("modelArguments").json
    assert with_arguments["summary"]["status"].get("below-threshold")
    assert {"Score_damaged", "Score_intact"} <= with_arguments["features"][0]["properties"].keys()
    assert [item["properties"]["After"] for item in shown("classLabelField").json["features"]] == labels
    separate = shown("processingMode").json["features"]
    assert {item["properties"]["ImageID"] for item in separate} == {"east.tif", "west.tif"}
    assert len(separate) > len(houses)
    assert shown("resultName").json["name"] == "storm-damage"
    assert 0 < len(shown("extent").json["features"]) < len(houses)
    confidences = [item["properties"]["Confidence"] for item in plain["features"]]
    assert [item["properties"]["Confidence"] for item in shown("cellSize").json["features"]] != confidences
    geopackage = town / "moved.gpkg"
    geopackage.write_bytes(shown("outputCrs").data)
    assert pyogrio.read_info(geopackage, layer=0)["crs"] == "EPSG:3857"


def test_the_table_for_those_who_come_from_arcgis_is_complete() -> None:
    table = (ROOT / "docs" / "arcgis.md").read_text().split("## Parameters of the tool")[1]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| ") and "](" in line]
    assert {name for row in rows for name in re.findall(r"\(inputs/(\w+)\.md\)", row[2])} == set(describe([])["inputs"])
    for row in rows:
        proofs = re.findall(r"`(tests/[\w/]+\.py)`", row[4])
        assert proofs, row[1]
        assert all((ROOT / proof).exists() for proof in proofs), row


def test_the_examples_are_answered(tmp_path: Path, shipped: Client) -> None:
    write_scene(make_scene(1, 800, 8), tmp_path)
    examples = sorted((ROOT / "openapi" / "examples").glob("*.json"))
    assert {example.stem for example in examples} == {"classify-objects", "describe-model", "echo"}
    for example in examples:
        request = json.loads(example.read_text().replace("file:///imagery", tmp_path.as_uri()))
        response = shipped.execute(example.stem, request["inputs"])
        assert response.status_code == 200, response.text


def test_the_architecture_names_files_and_tests_that_exist() -> None:
    texts = [(ROOT / name).read_text() for name in ("docs/architecture.md", "CONTRIBUTING.md", "tests/README.md")]
    words = {word for text in texts for word in re.findall(r"`([\w/.]+)`", text)}
    files = {word for word in words if word.endswith((".py", ".yml", ".toml", ".md"))}
    missing = {name for name in files if not any((ROOT / home / name).exists() for home in ("", "processes", "tests"))}
    assert not missing
    cases = {word for word in words if re.fullmatch(r"test_\w+", word)}
    known = {name for path in ROOT.glob("tests/**/*.py") for name in re.findall(r"def (test_\w+)", path.read_text())}
    assert len(cases) > 15
    assert not cases - known - {"test_chip_over_the_edge_is_zero_padded"}  # an example of a name


COMMAND_LINE = (ROOT / "docs" / "command-line.md").read_text()


def told_calls(page: str) -> list[list[str]]:
    """Return the arguments of each call of the program in a page's code, also where it runs in a container."""
    lines = re.findall(r"^    (?:docker run [^\n]*? )?classify-objects (\w[^\n|]*)", page, re.MULTILINE)
    return [shlex.split(line) for line in lines]


def test_the_page_on_the_command_line_has_commands_and_options_that_there_are() -> None:
    calls = told_calls(COMMAND_LINE)
    assert {call[0] for call in calls} == {"models", "run", "serve", "token"}
    for name, *arguments in calls:
        command = [name, arguments[0]] if name == "token" else [name]
        shown = CliRunner().invoke(main, [*command, "--help"])
        assert shown.exit_code == 0, command
        assert all(item in shown.output for item in arguments if item.startswith("--")), arguments


def test_the_calls_of_the_page_on_the_command_line_work(tmp_path: Path, town: Path) -> None:
    """Those without a server, on files of these names; the container's command is the same program."""
    configuration = configure(tmp_path, models=[ROOT / "models"], imagery=[])
    geometry_type, crs = "Polygon", "EPSG:4326"
    meta, table = pyogrio.read_arrow(town / "houses.geojson")
    options = {"geometry_name": meta["geometry_name"] or "wkb_geometry", "geometry_type": geometry_type, "crs": crs}
    for name, driver in (("houses.gpkg", "GPKG"), ("houses.shp", "ESRI Shapefile"), ("town.gdb", "OpenFileGDB")):
        pyogrio.write_arrow(table, tmp_path / name, layer="houses", driver=driver, **options)
    (tmp_path / "tiles").mkdir()
    (tmp_path / "photos").mkdir()
    for copy in ("scene.tif", "tiles/a.tif", "photos/b.tif"):
        shutil.copyfile(town / "scene.tif", tmp_path / copy)
    with zipfile.ZipFile(tmp_path / "my-model.dlpk", "w") as archive:
        for part in (ROOT / "models" / "roof-damage").iterdir():
            archive.write(part, part.name)
    ran = 0
    for name, *arguments in told_calls(COMMAND_LINE):
        if name == "run" and not any("://" in item for item in arguments):
            with chdir(tmp_path):
                done = CliRunner().invoke(main, ["--config", str(configuration), "run", "--overwrite", *arguments])
            assert done.exit_code == 0, (arguments, done.stderr)
            ran += 1
    assert ran == 4
