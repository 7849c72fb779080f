"""The command line, as a person uses it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import chdir
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyproj
import pytest
from click.testing import CliRunner, Result

from conftest import MakePackage, definition, save_mean_network
from processes.errors import InputError
from processes.model.catalog import Catalog
from processes.model.local_catalog import LocalCatalog
from processes.programs.cli import main
from processes.programs.file_links import link_to
from processes.settings import load_settings
from rasters import box_around, make_raster, to_map
from service import ROOT, configure, models_checked_here
from tables import each_row
from told_host import told_host


def write_package(folder: Path) -> Path:
    folder.mkdir(parents=True)
    save_mean_network(folder / "net.onnx")
    (folder / "brightness.emd").write_text(json.dumps(definition()))
    return folder


def configured(folder: Path) -> Path:
    """Return the configuration of a folder, whose models have been checked: each takes the command a second."""
    if not (folder / "pygeoapi-config.yml").exists():
        configuration = configure(folder, models=[folder / "models"], imagery=[])
        with models_checked_here():
            Catalog.from_settings(load_settings(configuration)).usable_ids()
    return folder / "pygeoapi-config.yml"


def call(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Call the command in a folder that has a configuration."""
    configured(folder)
    command = [sys.executable, "-m", "processes.programs.cli", *map(str, arguments)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Return an image and a layer of three objects: on it, on its edge, far away."""
    image = make_raster(tmp_path / "image.tif")
    features = []
    for number, (x, y) in enumerate([(30, 20), (0, 0), (900, 900)]):
        polygon: Any = to_map(box_around(x, y, 6, 6))
        geometry = {"type": "Polygon", "coordinates": [[list(xy) for xy in polygon.exterior.coords]]}
        features.append({"type": "Feature", "id": number, "properties": {"n": number}, "geometry": geometry})
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    layer = tmp_path / "objects.geojson"
    layer.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    return image, layer


def test_run_goes_from_files_to_a_geopackage(
    tmp_path: Path, make_package: MakePackage, files: tuple[Path, Path]
) -> None:
    make_package()
    done = call(
        tmp_path, "run", "--image", files[0], "--features", files[1], "--model", "brightness", "--output", "out.gpkg"
    )
    assert done.returncode == 0, done.stderr
    assert "not labelled: outside-image 1" in done.stdout
    _, table = pyogrio.read_arrow(tmp_path / "out.gpkg", layer="out", return_fids=True)
    rows = table.drop_columns(["geom"]).to_pylist()
    assert [row["fid"] for row in rows] == [0, 1, 2]
    assert [row["ClassStatus"] for row in rows] == ["ok", "ok", "outside-image"]
    assert rows[2]["ClassLabel"] is None


def test_run_takes_the_links_that_the_service_takes(
    tmp_path: Path, make_package: MakePackage, files: tuple[Path, Path]
) -> None:
    make_package()
    item = {"type": "Feature", "stac_version": "1.0.0", "id": "scene", "assets": {"a": {"href": "image.tif"}}}
    options = ("--model", "brightness", "--output")
    with told_host() as host:
        host.files["/item"] = "application/geo+json", json.dumps(item).encode()
        host.files["/image.tif"] = "image/tiff", files[0].read_bytes()
        host.files["/objects"] = "application/geo+json", files[1].read_bytes()
        host.files["/elsewhere"] = (
            "application/geo+json",
            json.dumps(item).replace("image.tif", "http://127.0.0.2/a.tif").encode(),
        )
        refused = call(tmp_path, "run", "--image", f"{host.url}/elsewhere", *options, "refused.geojson")
        assert "does not allow links to the host '127.0.0.2'" in refused.stderr
        for image, features, out in (
            (f"{host.url}/item#asset=a", f"{host.url}/objects", "linked.geojson"),
            (*files, "local.geojson"),
        ):
            done = call(tmp_path, "run", "--image", image, "--features", features, *options, out)
            assert done.returncode == 0, done.stderr
    linked, local = (json.loads((tmp_path / name).read_text()) for name in ("linked.geojson", "local.geojson"))
    assert linked["features"] == local["features"]


def test_a_csv_file_has_its_crs_beside_it(tmp_path: Path, make_package: MakePackage, files: tuple[Path, Path]) -> None:
    make_package()
    options = ("run", "--image", files[0], "--features", files[1], "--model", "brightness", "--output", "out.csv")
    done = call(tmp_path, *options, "--output-crs", "http://www.opengis.net/def/crs/ESRI/0/102014")
    assert done.returncode == 0, done.stderr
    found = pyproj.CRS(pyogrio.read_info(tmp_path / "out.csv")["crs"])  # GDAL reads the .prj
    assert found.equals(pyproj.CRS("ESRI:102014"))
    (tmp_path / "out.csv").unlink()
    refused = call(tmp_path, *options)
    assert "out.prj is there already; --overwrite replaces it" in refused.stderr
    assert not (tmp_path / "out.csv").exists()
    (tmp_path / "out.shp").touch()
    assert "out.prj would tell the CRS of out.shp too" in call(tmp_path, *options, "--overwrite").stderr
    (tmp_path / "out.shp").unlink()
    assert call(tmp_path, *options, "--overwrite").returncode == 0
    assert pyproj.CRS((tmp_path / "out.prj").read_text()).equals(pyproj.CRS(32633))


def test_images_one_by_one_within_an_extent(
    tmp_path: Path, make_package: MakePackage, files: tuple[Path, Path]
) -> None:
    make_package()
    other = make_raster(tmp_path / "other.tif", seed=1)
    extent = ["499990", "4999980", "500020", "5000010"]
    done = call(
        tmp_path, "run", "--image", files[0], "--image", other, "--features", files[1], "--model", "brightness",
        "--mode", "separate", "--extent", *extent, "--extent-crs", "EPSG:32633", "--output", "out.geojson",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    features = json.loads((tmp_path / "out.geojson").read_text())["features"]
    assert [feature["id"] for feature in features] == ["0:image.tif", "0:other.tif", "1:image.tif", "1:other.tif"]
    assert [feature["properties"]["ImageID"] for feature in features] == ["image.tif", "other.tif"] * 2


@pytest.mark.parametrize("ending", [".fgb", ".zip", ".parquet", ".shp", ".gdb"])
def test_run_takes_layers_of_every_format(
    tmp_path: Path, make_package: MakePackage, files: tuple[Path, Path], ending: str
) -> None:
    make_package()
    boxes = [box_around(x, y, 6, 6) for x, y in [(30, 20), (0, 0), (900, 900)]]
    wkb = pa.array([to_map(box).wkb for box in boxes], pa.binary())
    table = pa.table({"n": pa.array([0, 1, 2]), "geometry": wkb})
    path = tmp_path / f"objects{ending}"
    options: dict[str, Any] = {"geometry_name": "geometry", "geometry_type": "Polygon", "crs": "EPSG:32633"}
    if ending == ".fgb":
        pyogrio.write_arrow(table, path, driver="FlatGeobuf", SPATIAL_INDEX="NO", **options)
    elif ending in (".shp", ".gdb"):
        driver = "ESRI Shapefile" if ending == ".shp" else "OpenFileGDB"
        pyogrio.write_arrow(table, path, driver=driver, **options)
    elif ending == ".zip":
        (tmp_path / "parts").mkdir()
        for stem in ("objects", "others"):
            pyogrio.write_arrow(table, tmp_path / "parts" / f"{stem}.shp", driver="ESRI Shapefile", **options)
        with zipfile.ZipFile(path, "w") as archive:
            for part in (tmp_path / "parts").iterdir():
                archive.write(part, part.name)
    else:
        column = {"encoding": "WKB", "geometry_types": [], "crs": pyproj.CRS("EPSG:32633").to_json_dict()}
        geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
        pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    picked = ("--layer", "objects") if ending == ".zip" else ()
    done = inside(
        tmp_path,
        *("run", "--quiet", "--image", files[0], "--features", path, *picked),
        *("--model", "brightness", "--output", "out.geojson"),
    )
    assert done.exit_code == 0, done.stderr
    found = [item["properties"] for item in json.loads((tmp_path / "out.geojson").read_text())["features"]]
    assert [row["n"] for row in found] == [0, 1, 2]
    assert [row["ClassStatus"] for row in found] == ["ok", "ok", "outside-image"]


def test_a_package_a_table_and_arguments(tmp_path: Path, make_package: MakePackage) -> None:
    package = make_package(parent=tmp_path / "elsewhere")
    make_raster(tmp_path / "plain.png", crs=None, driver="PNG")
    done = call(
        tmp_path,
        "run",
        "--image",
        tmp_path / "plain.png",
        "--model",
        package,
        "--argument",
        "class_scores=yes",
        "--output",
        "out.json",
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "out.json").read_text())["data"]
    assert row["Score_dark"] + row["Score_bright"] == pytest.approx(1, abs=1e-5)


@each_row("named", ["brightness.emd", "../brightness/brightness.emd", ".", "", "brightness.EMD"])
def test_package_is_named_by_its_folder_or_by_its_emd(tmp_path: Path, named: str) -> None:
    """As ArcGIS takes the path of the .emd as model definition. The folder's name is the model's id."""
    package = write_package(tmp_path / "elsewhere" / "brightness")
    if named.endswith(".EMD"):
        (package / "brightness.emd").rename(package / named)
    with models_checked_here(), chdir(package):
        catalog = LocalCatalog((), tmp_path / "state", 2**24)
        found = [catalog.model(f"./{named}"), catalog.model(str(package / named))]
        found += [catalog.model(named)] if named.lower() == "brightness.emd" else []
    assert {(model.id, model.network) for model in found} == {("brightness", package / "net.onnx")}


@each_row(
    ("named", "words"),
    [
        ("a/net.onnx", "a/net.onnx is no model package: name the .dlpk, the .emd or its folder, here a/brightness.emd"),
        ("two/net.onnx", "two/net.onnx is no model package: name the .dlpk, the .emd or its folder"),
        ("two/brightness.emd", "the folder of two/brightness.emd has 2 .emd files (brightness.emd, other.emd)"),
        ("a/missing.emd", "there is no model package a/missing.emd"),
        ("missing.onnx", "there is no model package missing.onnx"),
        (
            "a/notes.txt",
            "a/notes.txt is no model package: name the .dlpk, the .emd or its folder, here a/brightness.emd",
        ),
        ("empty", "there is no model 'empty'"),
        ("./empty", "the package has 0 .emd files at its root"),
    ],
)
def test_what_is_no_package_is_told_with_what_to_name(tmp_path: Path, named: str, words: str) -> None:
    write_package(tmp_path / "a")
    (write_package(tmp_path / "two") / "other.emd").write_text("{}")
    (tmp_path / "a" / "notes.txt").write_text("")
    (tmp_path / "empty").mkdir()
    with chdir(tmp_path), pytest.raises(InputError) as caught:
        LocalCatalog((), tmp_path / "state", 2**24).model(named)
    assert words in caught.value.detail
    assert str(tmp_path) not in caught.value.detail


def test_run_by_the_emd(tmp_path: Path, make_package: MakePackage, files: tuple[Path, Path]) -> None:
    package = make_package(parent=tmp_path / "elsewhere")
    (package / "._brightness.emd").write_bytes(b"\0\5\x16\7")  # macOS writes it on a disk of another system
    done = call(
        tmp_path,
        *("run", "--quiet", "--image", files[0], "--features", files[1]),
        *("--model", package / "brightness.emd", "--output", "out.geojson"),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out.geojson").read_text())["summary"]["model"]["id"] == "brightness"


@pytest.fixture
def configuration(tmp_path: Path, make_package: MakePackage) -> Path:
    make_package()
    return configured(tmp_path)


@each_row(
    ("changes", "words"),
    [
        ({"--model": "nothing"}, "there is no model 'nothing'; installed are: brightness"),
        ({"--output": "out.shp"}, "no ending that names a format"),
        ({"--output": "there.gpkg"}, "--overwrite replaces it"),
        ({"--output": "nowhere/out.gpkg"}, "the folder of"),
        ({"--argument": "colour=red"}, "there is no model argument 'colour'"),
        ({"--processor": "GPU"}, "this server"),
        ({"--output-crs": "Mars"}, "names no CRS"),
        ({"--mode": "separate", "--extent-crs": "Mars", "--extent": "0 1 2 3"}, "names no CRS"),
        ({"--extent": "0 4 2 3"}, "southern edge 4 lies north"),
    ],
)
def test_faults_are_one_line_and_leave_nothing(
    tmp_path: Path, configuration: Path, files: tuple[Path, Path], changes: dict[str, str], words: str
) -> None:
    (tmp_path / "there.gpkg").write_text("something else")
    options = {
        "--image": str(files[0]),
        "--features": str(files[1]),
        "--model": "brightness",
        "--output": "out.gpkg",
    } | changes
    parts = [part for name, value in options.items() for part in (name, *(value.split() if " " in value else [value]))]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        done = CliRunner().invoke(main, ["--config", str(configuration), "run", "--quiet", *parts])
    assert_is_one_line(done.exit_code, done.stderr, words)
    assert (tmp_path / "there.gpkg").read_text() == "something else"
    assert not list(tmp_path.glob("out*")) + list(tmp_path.glob(".classify*"))


def assert_is_one_line(status: int, text: str, words: str) -> None:
    assert status == 1
    error = [line for line in text.splitlines() if line.startswith("Error")]
    assert len(error) == 1
    assert words in error[0]
    assert "Traceback" not in text


def test_a_fault_ends_the_command_with_one_line(
    tmp_path: Path, make_package: MakePackage, files: tuple[Path, Path]
) -> None:
    make_package()
    done = call(tmp_path, "run", "--image", files[0], "--model", "nothing", "--output", "out.gpkg")
    assert_is_one_line(done.returncode, done.stderr, "there is no model 'nothing'; installed are: brightness")
    assert not list(tmp_path.glob("out*")) + list(tmp_path.glob(".classify*"))


def test_what_has_no_place_in_the_output_crs_is_told(
    tmp_path: Path, make_package: MakePackage, files: tuple[Path, Path]
) -> None:
    make_package()
    features = [
        {"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [15, latitude]}}
        for latitude in (50, 95)
    ]
    (tmp_path / "points.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    inputs = ("--image", files[0], "--features", "points.geojson", "--model", "brightness")
    done = call(tmp_path, "run", "--quiet", *inputs, "--output-crs", "EPSG:32633", "--output", "out.csv")
    assert done.returncode == 0, done.stderr
    assert "warning: 1 geometry has no place in the CRS of the result and is null" in done.stderr.splitlines()


def test_models_are_listed_with_their_problems(tmp_path: Path, make_package: MakePackage) -> None:
    make_package()
    make_package("keras", ModelFile=".\\net.h5")
    done = call(tmp_path, "models")
    assert done.returncode == 0
    assert "dark (10), bright (20)" in done.stdout
    assert "8 x 8 cells" in done.stdout
    assert "problem  ModelFile 'net.h5': the network must be ONNX" in done.stdout


def test_it_says_what_it_is() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "processes.programs.cli", "--help"], capture_output=True, text=True, check=True
    )
    assert all(name in done.stdout for name in ("serve", "run", "models"))


def test_layer_and_crs_of_the_features_are_not_named_together(tmp_path: Path) -> None:
    parts = {"layer": "a", "crs": "EPSG:32633"}
    with pytest.raises(InputError, match="name a layer, or the CRS of a CSV"):
        link_to(tmp_path / "a.gpkg", **parts)
    assert link_to(tmp_path / "a.gpkg", layer="a", crs=None)["href"].endswith("a.gpkg#layer=a")


def inside(folder: Path, *arguments: str | Path) -> Result:
    """Call the command in this process, which has its libraries already."""
    with chdir(folder):
        return CliRunner().invoke(main, ["--config", str(configured(folder)), *map(str, arguments)])


def test_images_are_named_by_a_pattern(tmp_path: Path, make_package: MakePackage, files: tuple[Path, Path]) -> None:
    make_package()
    make_raster(tmp_path / "image-2.tif", seed=1)
    run = ("run", "--quiet", "--model", "brightness", "--output", "out.geojson")
    done = inside(tmp_path, *run, "--image", "im*.tif")
    assert done.exit_code == 0, done.stderr
    features = json.loads((tmp_path / "out.geojson").read_text())["features"]
    assert [item["properties"]["ImageID"] for item in features] == ["image-2.tif", "image.tif"]
    refused = inside(tmp_path, *run, "--image", "no*.tif")
    assert (refused.exit_code, refused.stderr.splitlines()[-1]) == (
        2,
        "Error: Invalid value for '--image': no file fits 'no*.tif'",
    )
    spread = inside(tmp_path, *run, "--image", "image.tif", "image-2.tif")  # as a shell does without quotes
    assert spread.exit_code == 2
    assert "image-2.tif follows no option; quote a pattern" in spread.stderr


def test_the_list_of_commands_says_each_in_a_whole_sentence() -> None:
    for group in ((), ("model",), ("jobs",), ("token",)):
        told = CliRunner().invoke(main, [*group, "-h"]).stdout
        sentences = told.partition("Commands:")[2].strip().splitlines()
        assert sentences
        assert all(line.endswith(".") and not line.endswith("...") for line in sentences), told


def test_links_to_hosts_are_allowed_by_being_named(
    tmp_path: Path, make_package: MakePackage, files: tuple[Path, Path]
) -> None:
    make_package()
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        host = f"http://127.0.0.1:{server.server_port}"
        done = inside(
            tmp_path,
            *("run", "--quiet", "--image", f"{host}/image.tif", "--features", f"{host}/objects.geojson"),
            *("--model", "brightness", "--output", "out.geojson"),
        )
        server.shutdown()
    assert done.exit_code == 0, done.stderr
    assert json.loads((tmp_path / "out.geojson").read_text())["summary"]["status"]["ok"] == 2


def test_the_result_goes_to_the_standard_output(
    tmp_path: Path, make_package: MakePackage, files: tuple[Path, Path]
) -> None:
    make_package()
    run = ("run", "--quiet", "--image", files[0], "--features", files[1], "--model", "brightness", "--output", "-")
    done = inside(tmp_path, *run)
    assert [item["id"] for item in json.loads(done.stdout)["features"]] == [0, 1, 2]
    assert done.stderr.splitlines()[0].endswith("; not labelled: outside-image 1")
    assert inside(tmp_path, *run, "--format", "csv").stdout.splitlines()[0].startswith('"id","n","ClassLabel"')
    wrong = inside(tmp_path, *run, "--format", "shp")
    assert_is_one_line(wrong.exit_code, wrong.stderr, "names a format; there are .geojson, .gpkg")
    assert not (tmp_path / "-").exists()


def test_the_summary_is_told_as_json(tmp_path: Path, make_package: MakePackage, files: tuple[Path, Path]) -> None:
    make_package()
    run = ("run", "--quiet", "--image", files[0], "--features", files[1], "--model", "brightness", "--json")
    told = json.loads(inside(tmp_path, *run, "--output", "out.geojson").stdout)
    assert told == json.loads((tmp_path / "out.geojson").read_text())["summary"]
    streamed = inside(tmp_path, *run, "--output", "-")
    assert json.loads(streamed.stderr) == json.loads(streamed.stdout)["summary"] == told


def test_a_dry_run_tells_what_the_work_would_be(
    tmp_path: Path, make_package: MakePackage, files: tuple[Path, Path]
) -> None:
    make_package()
    run = ("run", "--dry-run", "--image", files[0], "--features", files[1], "--model", "brightness")
    found = json.loads(inside(tmp_path, *run, "--json").stdout)
    assert (found["valid"], found["images"], found["objects"], found["sections"]) == (True, 1, 3, 1)
    assert found["estimatedSeconds"] >= 0
    fields = ["n", "ClassLabel", "ClassValue", "Confidence", "ClassStatus"]
    assert [field["name"] for field in found["fields"]] == fields
    done = inside(tmp_path, *run, "--argument", "batch_size=2")
    assert done.stdout.splitlines()[0].startswith("3 objects on 1 image, about ")
    assert done.stdout.splitlines()[1] == f"fields: {', '.join(fields)}"
    refused = inside(tmp_path, *run, "--argument", "colour=red")
    assert_is_one_line(refused.exit_code, refused.stderr, "there is no model argument 'colour'")
    assert {path.suffix for path in tmp_path.iterdir() if path.is_file()} == {".tif", ".geojson", ".yml"}


def test_a_result_without_a_name_is_wrong_usage(tmp_path: Path, files: tuple[Path, Path]) -> None:
    with chdir(tmp_path):
        done = CliRunner().invoke(
            main, ["--config", str(configured(tmp_path)), "run", "--image", str(files[0]), "--model", "x"]
        )
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (
        2,
        "Error: name the result with --output; --dry-run needs none",
    )


@pytest.fixture
def long_work(tmp_path: Path, make_package: MakePackage) -> list[str]:
    """Return a command that takes long: a million objects."""
    make_package()
    make_raster(tmp_path / "image.tif")
    points = (f"{500000 + number % 30},{5000000 - number % 30}\n" for number in range(1_000_000))
    (tmp_path / "many.csv").write_text("x,y\n" + "".join(points))
    options = ["run", "--image", "image.tif", "--features", "many.csv", "--features-crs", "EPSG:32633"]
    return [sys.executable, "-m", "processes.programs.cli", *options, "--model", "brightness", "--output", "out.csv"]


def test_an_interrupt_leaves_nothing_and_has_a_status_of_its_own(tmp_path: Path, long_work: list[str]) -> None:
    configured(tmp_path)
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(long_work, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as child:
        while not list(tmp_path.glob(".classify-*")):  # the work has begun
            assert child.poll() is None
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        _, told = child.communicate()
    assert (child.returncode, told.splitlines()[-1]) == (130, "interrupted")
    assert not list(tmp_path.glob("out*")) + list(tmp_path.glob(".classify*"))


def test_who_reads_no_further_ends_the_command_without_a_word(
    tmp_path: Path, make_package: MakePackage, files: tuple[Path, Path]
) -> None:
    make_package()
    configured(tmp_path)
    run = ["run", "--quiet", "--image", files[0], "--features", files[1], "--model", "brightness", "--output", "-"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    for command in (run, ["jobs"], ["models"]):
        with subprocess.Popen(
            [sys.executable, "-m", "processes.programs.cli", *map(str, command)],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdout is not None
            child.stdout.close()
            assert child.stderr is not None
            assert "Broken" not in (told := child.stderr.read())
            assert "Traceback" not in told


def test_the_program_ends_when_all_that_is_registered_for_its_end_was_called() -> None:
    script = """
import atexit, sys, threading, time
import processes.programs.cli as cli
def main():
    threading.Thread(target=lambda: (time.sleep(0.3), print("thread"))).start()
    atexit.register(lambda: print("registered"))
    print("called")
    sys.exit(3)
cli.main = main
cli.program()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (3, ["called", "thread", "registered"])
    assert not done.stderr


def test_the_threads_of_numpy_are_not_those_of_a_raster_function() -> None:
    script = f"""
import os, subprocess
from processes.programs.cli import main
main(["--config", {str(ROOT / "pygeoapi-config.yml")!r}, "run", "--help"], standalone_mode=False)
print(*(name for name in os.environ if name.endswith("_NUM_THREADS")))
print(subprocess.check_output(["printenv", "OPENBLAS_NUM_THREADS"], text=True))
"""
    rest = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", script], env=rest, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-3:] == ["", "1", ""]


def test_the_program_ends_without_a_word_where_its_output_was_closed_before() -> None:
    command = f"{shlex.quote(sys.executable)} -m processes.programs.cli --version >&-"
    done = subprocess.run(["/bin/sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
