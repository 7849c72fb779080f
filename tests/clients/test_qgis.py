"""The plugin in a real QGIS, at this service, at a stock pygeoapi, and at a server of the standard's example."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from PIL import Image

from free_ports import free_port
from jobs_service import Service
from rasters import make_raster
from sample_service import SAMPLE, sample_service
from service import ROOT, clean_environment

pytestmark = [pytest.mark.qgis, pytest.mark.timeout(300)]

HERE = Path(__file__).parent
BBOX = ROOT / "clients" / "python" / "tests" / "bbox.json"
"""Answers of a server that describes a process as the standard does not."""
QGIS_PLUGINS = "/usr/share/qgis/python/plugins"
COLOURS = {"intact": (76, 175, 80), "damaged": (230, 40, 40)}
USER, PASSWORD = "ann", "secret-of-ann"


class StandardServer(ThreadingHTTPServer):
    """A server behind a password that keeps what it is sent.

    It has the process of the standard's example, one whose description is none, and one whose description is an error.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Standard)
        self.requests: list[dict[str, Any]] = []
        self.elsewhere: ElsewhereServer = ElsewhereServer()
        self.answers: dict[str, Any] = {}
        self.lists: dict[str, Any] = {}
        """Answers for lists of processes, by the first step of their paths; each process there is called `hello`."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/api"


class ElsewhereServer(ThreadingHTTPServer):
    """Another host, to which the server's results link."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Elsewhere)
        self.secrets: list[str | None] = []


class _Elsewhere(BaseHTTPRequestHandler):
    server: ElsewhereServer

    def do_GET(self) -> None:
        self.server.secrets.append(self.headers["Authorization"])
        body = (SAMPLE / "houses.geojson").read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "application/geo+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Standard(BaseHTTPRequestHandler):
    server: StandardServer

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        _, first, *steps = path.split("/")
        if first in self.server.lists:
            self.answer(200, {"id": "hello"} if steps[1:] else self.server.lists[first])
        elif path == "/api/processes":
            named = [{"id": name, "version": "1.0.0"} for name in ("EchoProcess", "hello", "nothing")]
            self.answer(200, {"processes": named, "links": []})
        elif path == "/api/processes/EchoProcess":
            self.answer(200, json.loads((HERE / "echo_process.json").read_text()))
        elif path == "/api/processes/hello":
            self.answer(200, json.loads(BBOX.read_text())["process"]["document"])
        elif path == "/api/jobs/7":
            self.answer(200, {"jobID": "7", "status": "successful", "type": "process"})
        elif path == "/api/jobs/7/results":
            self.answer(200, self.server.answers)
        else:
            self.answer(404, {"title": "Not Found", "status": 404})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.requests.append({"path": self.path, "body": body, "prefer": self.headers["Prefer"]})
        if self.headers["Prefer"]:
            self.answer(201, {"jobID": "7", "status": "accepted", "type": "process"}, Location="http://internal/jobs/7")
        else:
            self.answer(200, self.server.answers)

    def answer(self, status: int, document: Any, **headers: str) -> None:
        wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers["Authorization"] != wanted:
            status, document = 401, {"title": "Unauthorized", "detail": "who are you?"}
            headers = {"WWW-Authenticate": 'Basic realm="x"'}
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def python() -> str:
    """Return a Python that has QGIS."""
    found = subprocess.run(["/usr/bin/python3", "-c", "import qgis.core"], check=False, capture_output=True)
    if found.returncode != 0:
        pytest.skip(
            "no QGIS with Python: apt-get install --no-install-recommends qgis python3-qgis qgis-providers xvfb"
        )
    return "/usr/bin/python3"


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of plugins with the one under test, installed from its package."""
    folder = tmp_path_factory.mktemp("plugins")
    subprocess.run([sys.executable, ROOT / "clients" / "qgis" / "package.py", folder / "plugin.zip"], check=True)
    shutil.unpack_archive(folder / "plugin.zip", folder)
    return folder


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with sample_service(tmp_path_factory.mktemp("sample")) as service:
        yield service


@contextmanager
def standard_server() -> Iterator[StandardServer]:
    with StandardServer() as server, server.elsewhere:
        threads = [threading.Thread(target=each.serve_forever) for each in (server, server.elsewhere)]
        for thread in threads:
            thread.start()
        try:
            yield server
        finally:
            for each in (server, server.elsewhere):
                each.shutdown()
            for thread in threads:
                thread.join()


def environment(profile: Path, **more: str) -> dict[str, str]:
    """Return the environment of a QGIS with a profile of its own."""
    kept = {name: value for name, value in clean_environment().items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    own = {"QGIS_CUSTOM_CONFIG_PATH": str(profile), "HOME": str(profile), "XDG_RUNTIME_DIR": str(profile)}
    return kept | own | {"QT_QPA_PLATFORM": "offscreen", "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"} | more


def session(
    folder: Path, python: str, plugins: Path, connections: Mapping[str, Any], *steps: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Let QGIS do some steps, and return what came of each."""
    (folder / "steps.json").write_text(
        json.dumps({"plugins": [str(plugins), QGIS_PLUGINS], "connections": connections, "steps": steps})
    )
    command = [python, str(HERE / "qgis_session.py"), str(folder / "steps.json")]
    ended = subprocess.run(
        command, env=environment(folder), cwd=folder, capture_output=True, text=True, check=False, timeout=240
    )
    lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == len(steps) + 1, ended.stdout + ended.stderr
    return lines[1:]


def qgis_process(profile: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `qgis_process`; Debian's wrapper of that name gives it an option that it does not know."""
    program = shutil.which("qgis_process.bin") or shutil.which("qgis_process") or "qgis_process"
    return subprocess.run(
        [program, *arguments], env=environment(profile), capture_output=True, text=True, check=False, timeout=240
    )


@pytest.fixture(scope="module")
def profile(
    tmp_path_factory: pytest.TempPathFactory, python: str, plugins: Path, service: Service, pygeoapi: str
) -> Path:
    """Return a profile of QGIS with the plugin and two connections, written as scripts write them."""
    folder = tmp_path_factory.mktemp("profile")
    own = folder / "profiles" / "default"
    shutil.copytree(plugins / "ogcapi_processes", own / "python" / "plugins" / "ogcapi_processes")
    (own / "QGIS").mkdir()
    connections = f"connections\\ours\\url={service.url}\nconnections\\stock\\url={pygeoapi}\n"
    (own / "QGIS" / "QGIS3.ini").write_text(f"[ogcapi-processes]\n{connections}")
    enabled = qgis_process(folder, "plugins", "enable", "ogcapi_processes")
    assert enabled.returncode == 0, enabled.stdout + enabled.stderr
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of pictures; `PICTURES` names one that stays."""
    folder = Path(os.environ.get("PICTURES") or tmp_path_factory.mktemp("pictures")).absolute()
    folder.mkdir(exist_ok=True)
    return folder


def test_the_provider_has_the_processes_of_all_connections(profile: Path) -> None:
    listed = qgis_process(profile, "list").stdout
    for name in ("ours.classify-objects", "ours.describe-model", "ours.echo", "stock.hello-world"):
        assert f"ogcapi-processes:{name}\t" in listed


@pytest.mark.parametrize("run_as", ["job", "request"])
def test_qgis_process_classifies(
    profile: Path, python: str, plugins: Path, service: Service, pictures: Path, tmp_path: Path, run_as: str
) -> None:
    image, target = service.town / "imagery" / "scene.tif", tmp_path / "labelled.gpkg"
    ran = qgis_process(
        profile,
        "run",
        "ogcapi-processes:ours.classify-objects",
        f"--image={image}",
        f"--features={service.town / 'imagery' / 'houses.geojson'}",
        "--model=roof-damage",
        f"--run_as={run_as}",
        f"--classifiedObjects={target}",
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ("successful: 16 objects: intact 10, damaged 6" in ran.stdout) == (run_as == "job")
    assert not target.with_suffix(".qml").exists()  # the style lies in the file
    labels = pyogrio.read_arrow(target, layer=0)[1]["ClassLabel"].to_pylist()
    assert (labels.count("intact"), labels.count("damaged")) == (10, 6)
    picture = pictures / f"result-{run_as}.png"
    (drawn,) = session(
        tmp_path, python, plugins, {}, {"draw": str(target), "over": str(image), "picture": str(picture)}
    )
    assert drawn["renderer"] == "categorizedSymbol"
    assert drawn["categories"][:2] == ["intact", "damaged"]
    assert has_colours(picture)


def has_colours(picture: Path) -> bool:
    """Say whether the outlines of both classes are in a picture."""
    cells = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    return all(int((abs(cells - colour).max(axis=2) < 12).sum()) > 100 for colour in COLOURS.values())


@pytest.mark.parametrize("run_as", ["job", "request"])
def test_qgis_process_echoes(profile: Path, service: Service, tmp_path: Path, run_as: str) -> None:
    target = tmp_path / "echo.json"
    ran = qgis_process(
        profile,
        "run",
        "ogcapi-processes:ours.echo",
        "--echo=hello, you",
        "--echo=there",
        "--numbers=1, 2 3",
        "--area=1,2,50,51 [EPSG:4326]",
        "--choice=true",
        f"--run_as={run_as}",
        f"--echo_output={target}",
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads(target.read_text()) == ["hello, you", "there"]
    if run_as == "job":
        job = ran.stdout.split("job:\t")[1].split()[0]
        inputs = service.get(job.removeprefix(service.url)).json["request"]["inputs"]
        assert inputs["numbers"] == [1, 2, 3]
        assert inputs["area"] == {"bbox": [1, 50, 2, 51], "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}
        assert inputs["choice"] is True


def test_text_is_asked_for_where_the_file_is_one(profile: Path, tmp_path: Path) -> None:
    target = tmp_path / "echo.txt"
    qgis_process(profile, "run", "ogcapi-processes:ours.echo", "--echo=a\nb", f"--echo_output={target}")
    assert target.read_text() == "a\nb"


def test_faults_name_their_parameters(profile: Path, service: Service, tmp_path: Path) -> None:
    ran = qgis_process(
        profile,
        "run",
        "ogcapi-processes:ours.classify-objects",
        f"--image={service.town / 'imagery' / 'scene.tif'}",
        f"--features={service.town / 'imagery' / 'houses.geojson'}",
        "--model=roof-damage",
        "--cellSize=0",
        "--outputCrs=EPSG:3857",
        f"--classifiedObjects={tmp_path / 'x.geojson'}",
    )
    assert ran.returncode != 0
    assert "Cell size (cellSize): cellSize is 0.0; it must be more than 0" in ran.stderr
    assert 'Output CRS (outputCrs): outputCrs is "EPSG:3857"' in ran.stderr


@pytest.mark.parametrize("run_as", ["job", "request"])
def test_a_stock_pygeoapi_says_hello(profile: Path, tmp_path: Path, run_as: str) -> None:
    target = tmp_path / "hello.json"
    ran = qgis_process(
        profile,
        "run",
        "ogcapi-processes:stock.hello-world",
        "--name=Ann",
        "--message=how are you?",
        f"--run_as={run_as}",
        f"--echo={target}",
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads(target.read_text()) == {"id": "echo", "value": "Hello Ann! how are you?"}


def test_a_stock_pygeoapi_takes_geometries(profile: Path, tmp_path: Path) -> None:
    target = tmp_path / "union.json"
    ran = qgis_process(
        profile,
        "run",
        "ogcapi-processes:stock.shapely-functions",
        "--operation=measurement:distance",
        "--geoms=POINT(0 0)\nPOINT(3 4)",
        "--run_as=request",
        f"--result={target}",
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "5" in target.read_text()


def classify(service: Service, folder: Path, **parameters: Any) -> dict[str, Any]:
    image, target = str(service.town / "imagery" / "scene.tif"), str(folder / f"{uuid.uuid4()}.gpkg")
    given = {"image": [image], "model": "roof-damage", "classifiedObjects": target}
    return {"run": "ogcapi-processes:ours.classify-objects", "parameters": given | parameters}


def request_of(service: Service, answer: Mapping[str, Any]) -> Any:
    """Return the inputs of the job that an answer tells of."""
    assert "results" in answer, answer
    return service.get(answer["results"]["job"].removeprefix(service.url)).json["request"]["inputs"]


def test_layers_go_as_links_as_uploads_and_as_what_is_seen(
    python: str, plugins: Path, service: Service, tmp_path: Path
) -> None:
    shutil.copytree(SAMPLE, tmp_path / "private")
    near, far = str(service.town / "imagery" / "houses.geojson"), str(tmp_path / "private" / "houses.geojson")
    answers = session(
        tmp_path,
        python,
        plugins,
        {"ours": {"url": service.url}},
        classify(service, tmp_path, features={"path": near}),
        classify(service, tmp_path, features={"path": far}),
        classify(service, tmp_path, features={"path": far}, image=[str(tmp_path / "private" / "scene.tif")]),
        classify(service, tmp_path, features={"path": near, "select": '"house" <= 3'}),
        classify(service, tmp_path, features={"path": near, "filter": '"house" > 12'}),
        classify(service, tmp_path, features={"path": near, "delete": '"house" = 1'}),
        classify(service, tmp_path, features={"path": near}, extent="-81.4715,-81.4705,27.693,27.695 [EPSG:4326]"),
    )
    requests = [request_of(service, answer) for answer in answers]
    assert requests[0]["features"]["href"] == Path(near).as_uri()
    assert requests[0]["image"]["href"] == (service.town / "imagery" / "scene.tif").as_uri()
    assert all(request["features"]["href"].startswith("upload:") for request in requests[1:6])
    assert requests[1]["features"] == requests[2]["features"]  # what the server has is not sent again
    assert "sent as an upload, since" in " ".join(answers[1]["told"])
    assert not [line for line in answers[2]["told"] if line.startswith("Sending houses")]
    assert requests[2]["image"]["href"].startswith("upload:")
    counts = [pyogrio.read_info(answer["results"]["classifiedObjects"], layer=0)["features"] for answer in answers]
    assert counts[:6] == [16, 16, 16, 3, 4, 15]


def test_images_that_need_their_neighbours_are_sent_whole(
    python: str, plugins: Path, service: Service, tmp_path: Path
) -> None:
    with rasterio.open(SAMPLE / "scene.tif") as scene:
        cells, place, crs = scene.read(), scene.transform, scene.crs
    size = {"count": 3, "height": cells.shape[1], "width": cells.shape[2], "dtype": "uint8"}
    with rasterio.open(tmp_path / "scene.png", "w", driver="PNG", transform=place, crs=crs, **size) as picture:
        picture.write(cells[:3])
    assert (tmp_path / "scene.png.aux.xml").exists()
    features = str(service.town / "imagery" / "houses.geojson")
    (answer,) = session(
        tmp_path,
        python,
        plugins,
        {"ours": {"url": service.url}},
        classify(service, tmp_path, features=features, image=[str(tmp_path / "scene.png")]),
    )
    assert request_of(service, answer)["image"]["href"].endswith("scene.tif")
    labels = pyogrio.read_arrow(answer["results"]["classifiedObjects"], layer=0)[1]["ClassLabel"].to_pylist()
    assert (labels.count("intact"), labels.count("damaged")) == (10, 6)


def test_a_result_in_another_format_has_its_style_beside_it(
    python: str, plugins: Path, service: Service, pictures: Path, tmp_path: Path
) -> None:
    image, features = (str(service.town / "imagery" / name) for name in ("scene.tif", "houses.geojson"))
    shape = tmp_path / "labelled.shp"
    answer, drawn = session(
        tmp_path,
        python,
        plugins,
        {"ours": {"url": service.url}},
        classify(service, tmp_path, features=features, classifiedObjects=str(shape)),
        {"draw": str(shape), "over": image, "picture": str(pictures / "shape.png")},
    )
    assert answer["results"]["classifiedObjects"] == str(shape)
    assert (drawn["features"], drawn["renderer"]) == (16, "categorizedSymbol")


def read_by_debians_gdal(python: str, service: Service, folder: Path) -> Any:
    """Return the layer `squares` as the GDAL that QGIS uses translates it, as `ogr2ogr` does."""
    program = "import sys; from osgeo import gdal; gdal.UseExceptions(); gdal.VectorTranslate(*sys.argv[1:3], layers=['squares'])"
    command = [python, "-c", program, str(folder / "translated.gpkg"), f"OAPIF:{service.url}"]
    subprocess.run(command, env=environment(folder), cwd=folder, check=True, timeout=120)
    return pyogrio.read_arrow(folder / "translated.gpkg")[1]


def test_a_result_of_10_000_objects_is_a_layer_of_the_service(
    python: str, plugins: Path, service: Service, pictures: Path, tmp_path: Path
) -> None:
    image, count = service.town / "imagery" / "scene.tif", 10_000
    with rasterio.open(image) as scene:
        (west, south, east, north), crs = scene.bounds, scene.crs
    x, y = np.random.default_rng(0).uniform((west, south), (east, north), (count, 2)).T
    side = (east - west) / 400
    features = [
        {
            "type": "Feature",
            "id": number,
            "properties": {"number": number, "half": number / 2, "text": f"é {number}" if number % 3 else None},
            "geometry": shapely.geometry.mapping(square),
        }
        for number, square in enumerate(shapely.box(x - side, y - side, x + side, y + side))
    ]
    layer = {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": str(crs)}},
        "features": features,
    }
    (service.town / "imagery" / "squares.geojson").write_text(json.dumps(layer))
    inputs = {
        "image": {"href": image.as_uri()},
        "features": {"href": f"{service.town.as_uri()}/imagery/squares.geojson"},
    }
    outputs = {"classifiedObjects": {"format": {"mediaType": "application/geopackage+sqlite3"}}}
    named = {"model": "roof-damage", "resultName": "squares"}
    job = service.execute(inputs | named, "respond-async", outputs=outputs).json["jobID"]
    assert service.wait(job)["status"] == "successful"
    for name in ("classifiedObjects.gpkg", "style.qml"):
        (tmp_path / name).write_bytes(service.get(f"/jobs/{job}/results/{name}").body)
    step = {
        "collection": "squares",
        "url": service.url,
        "target": str(tmp_path / "features.json"),
        "style": str(tmp_path / "style.qml"),
        "over": str(image),
        "picture": str(pictures / "collection.png"),
    }
    (answer,) = session(tmp_path, python, plugins, {"ours": {"url": service.url}}, step)
    assert (answer["features"], answer["renderer"], answer["styled"]) == (count, "categorizedSymbol", True)
    names, rows = json.loads((tmp_path / "features.json").read_text())
    _, wanted = pyogrio.read_arrow(tmp_path / "classifiedObjects.gpkg", fid_as_index=True)
    columns = dict(zip(names, zip(*(row[1:] for row in rows), strict=True), strict=True))
    order = np.argsort(columns["id"])
    for name in set(wanted.column_names) - {"geom"}:
        found = columns["id" if name == "fid" else name]
        assert [found[place] for place in order] == wanted[name].to_pylist(), name
    translated = read_by_debians_gdal(python, service, tmp_path)
    for name in set(wanted.column_names) - {"geom", "fid"}:
        assert translated[name].to_pylist() == wanted[name].to_pylist(), name
    assert has_colours(pictures / "collection.png")


def test_a_model_goes_on_with_the_result(python: str, plugins: Path, service: Service, tmp_path: Path) -> None:
    imagery = service.town / "imagery"
    step = {
        "model": "ogcapi-processes:ours.classify-objects",
        "parameters": {
            "image": [str(imagery / "scene.tif")],
            "features": str(imagery / "houses.geojson"),
            "model": "roof-damage",
        },
        "output": "classifiedObjects",
        "expression": "\"ClassLabel\" = 'damaged'",
        "target": str(tmp_path / "damaged.gpkg"),
    }
    (answer,) = session(tmp_path, python, plugins, {"ours": {"url": service.url}}, step)
    assert answer == {"features": 6}


def test_a_cancelled_job_is_dismissed(python: str, plugins: Path, service: Service, tmp_path: Path) -> None:
    parameters = {"echo": "a", "pause": 60, "echo_output": "TEMPORARY_OUTPUT"}
    step = {"run": "ogcapi-processes:ours.echo", "parameters": parameters, "cancel_after": 3}
    (answer,) = session(tmp_path, python, plugins, {"ours": {"url": service.url}}, step)
    assert answer["cancelled"], answer
    job = next(line for line in answer["told"] if line.startswith("Job "))[4:]
    assert "The job is dismissed" in answer["told"]
    assert service.get(job.removeprefix(service.url)).json["status"] == "dismissed"


def test_a_job_that_fails_says_why(python: str, plugins: Path, service: Service, tmp_path: Path) -> None:
    elsewhere = make_raster(
        service.town / "imagery" / "bands.tif",
        count=1,
        values=np.zeros((1, 48, 64), np.uint8),
        transform=Affine(1, 0, 5e5, 0, -1, 5e6),
    )
    (answer,) = session(
        tmp_path, python, plugins, {"ours": {"url": service.url}}, classify(service, tmp_path, image=[str(elsewhere)])
    )
    assert answer["error"].splitlines()[-1].startswith("Images (image): "), answer


@pytest.mark.parametrize("as_job", [True, False])
def test_a_server_of_the_standard_s_example(python: str, plugins: Path, tmp_path: Path, as_job: bool) -> None:
    with standard_server() as server:
        port = server.elsewhere.server_port
        image = base64.b64encode((SAMPLE / "scene.tif").read_bytes()).decode()
        server.answers = {
            "stringOutput": "Value2",
            "doubleOutput": 2.5,
            "boundingBoxOutput": {"value": {"bbox": [1, 2, 3, 4]}},
            "imagesOutput": {"value": image, "encoding": "base64", "mediaType": "image/tiff"},
            "featureCollectionOutput": {"href": f"http://127.0.0.1:{port}/x", "type": "application/geo+json"},
            "geometryOutput": {"value": {"type": "Point", "coordinates": [1, 2]}, "mediaType": "application/geo+json"},
        }
        names = {
            "stringOutput": ".txt",
            "doubleOutput": ".json",
            "boundingBoxOutput": ".json",
            "imagesOutput": ".tif",
            "featureCollectionOutput": ".gpkg",
        }
        parameters = {
            "stringInput": "Value1",
            "measureInput": '{"measurement": 3, "uom": "m"}',
            "dateInput": "2026-01-02T03:04:05",
            "doubleInput": 2.5,
            "arrayInput": "1, 2, 3",
            "complexObjectInput": '{"property1": "a", "property5": true}',
            "geometryInput": ["POINT(1 2)", "POINT(3 4)"],
            "boundingBoxInput": "500000,500100,5000000,5000100 [EPSG:32633]",
            "imagesInput": [str(shutil.copy(SAMPLE / "scene.tif", tmp_path))],
            "featureCollectionInput": str(SAMPLE / "houses.geojson"),
            "run_as": "job" if as_job else "request",
            **{name: str(tmp_path / f"{name}{ending}") for name, ending in names.items()},
        }
        connections = {"standard": {"url": server.url, "user": USER, "password": PASSWORD}}
        step = {"run": "ogcapi-processes:standard.EchoProcess", "parameters": parameters}
        listed, described, answer = session(
            tmp_path, python, plugins, connections, {"listed": "ogcapi-processes"}, {"describe": step["run"]}, step
        )
    assert listed["algorithms"] == ["standard.EchoProcess"]
    named = f"standard ({server.url}):"
    assert listed["warnings"] == [
        f"{named} hello is left out: its description cannot be understood",
        f"{named} nothing is left out: Not Found",
    ]
    assert described["parameters"]["imagesInput"][0] == "multilayer"
    assert described["parameters"]["dateInput"][0] == "datetime"
    assert "results" in answer, answer
    (sent,) = [entry for entry in server.requests if entry["path"] == "/api/processes/EchoProcess/execution"]
    body = json.loads(sent["body"])
    inputs = body["inputs"]
    assert {name: value for name, value in inputs.items() if name not in ("imagesInput", "featureCollectionInput")} == {
        "stringInput": "Value1",
        "measureInput": {"measurement": 3, "uom": "m"},
        "dateInput": "2026-01-02T03:04:05",
        "doubleInput": 2.5,
        "arrayInput": [1, 2, 3],
        "complexObjectInput": {"property1": "a", "property5": True},
        "geometryInput": [{"type": "Point", "coordinates": [1, 2]}, {"type": "Point", "coordinates": [3, 4]}],
        "boundingBoxInput": {
            "bbox": [500000, 5000000, 500100, 5000100],
            "crs": "http://www.opengis.net/def/crs/EPSG/0/32633",
        },
    }
    assert inputs["imagesInput"]["value"] == image
    assert inputs["imagesInput"]["mediaType"] == "image/tiff; application=geotiff"
    assert len(inputs["featureCollectionInput"]["features"]) == 16
    assert set(body["outputs"]) == set(names)
    assert (body["response"], sent["prefer"]) == ("document", "respond-async" if as_job else None)
    results = answer["results"]
    assert json.loads(Path(results["doubleOutput"]).read_text()) == 2.5
    assert json.loads(Path(results["boundingBoxOutput"]).read_text()) == {"bbox": [1, 2, 3, 4]}
    assert Path(results["stringOutput"]).read_text() == "Value2"
    assert Path(results["imagesOutput"]).read_bytes() == (SAMPLE / "scene.tif").read_bytes()
    assert pyogrio.read_info(results["featureCollectionOutput"])["features"] == 16
    assert server.elsewhere.secrets == [None]


def test_a_list_that_is_none_is_told_and_takes_nothing_from_others(python: str, plugins: Path, tmp_path: Path) -> None:
    hello = {"id": "hello", "version": "1.0.0"}
    lists = {
        "array": [hello],
        "landing": {"title": "A service", "links": []},
        "null": {"processes": None},
        "some": {"processes": [{"title": "X"}, {"id": 7}, hello], "links": None},
        "ring": {"processes": [hello], "links": [{"rel": "next", "href": "processes"}]},
    }
    with standard_server() as server:
        server.lists = lists
        urls = {name: server.url.replace("/api", f"/{name}") for name in lists}
        connections = {name: {"url": url, "user": USER, "password": PASSWORD} for name, url in urls.items()}
        (listed,) = session(tmp_path, python, plugins, connections, {"listed": "ogcapi-processes"})
    assert listed["algorithms"] == ["ring.hello", "some.hello"]
    no_list, no_id = "The server's list of processes cannot be understood", "a process without an id is left out"
    said = (("array", no_list), ("landing", no_list), ("null", no_list), ("some", no_id), ("some", no_id))
    assert sorted(listed["warnings"]) == [f"{name} ({urls[name]}): {words}" for name, words in said]


def test_a_server_that_is_away_takes_nothing_from_the_others(
    python: str, plugins: Path, service: Service, tmp_path: Path
) -> None:
    connections = {"away": {"url": f"http://127.0.0.1:{free_port()}"}, "ours": {"url": service.url + "/"}}
    (found,) = session(tmp_path, python, plugins, connections, {"describe": "ogcapi-processes:ours.classify-objects"})
    assert found["parameters"]["image"] == ["multilayer", False, False]
    assert found["parameters"]["features"] == ["source", True, False]
    assert found["parameters"]["retries"] == ["number", True, True]
    assert found["parameters"]["outputCrs"] == ["crs", True, True]
    assert found["parameters"]["processingMode"] == ["enum", True, True]
    assert "Objects" in found["help"]
    assert found["url"].startswith(service.url)


def test_a_person_at_the_dialog(profile: Path, service: Service, pictures: Path, tmp_path: Path) -> None:
    program = shutil.which("qgis.bin") or shutil.which("qgis")
    if program is None or shutil.which("xvfb-run") is None:
        pytest.skip("no QGIS, or no xvfb-run")
    test = {
        "image": str(service.town / "imagery" / "scene.tif"),
        "features": str(service.town / "imagery" / "houses.geojson"),
        "prefix": "ogcapi-processes:ours.",
        "folder": str(pictures),
        "answer": str(tmp_path / "answer.json"),
    }
    (tmp_path / "test.json").write_text(json.dumps(test))
    own = environment(profile, QGIS_TEST=str(tmp_path / "test.json"))
    del own["QT_QPA_PLATFORM"]
    screen = ["xvfb-run", "--auto-servernum", "--server-args=-screen 0 1500x1100x24"]
    command = [*screen, program, "--noversioncheck", "--nologo", "--code", str(HERE / "qgis_desktop.py")]
    ended = subprocess.run(command, env=own, check=False, capture_output=True, text=True, timeout=240)
    written = tmp_path / "answer.json"
    assert written.exists(), f"QGIS ended with {ended.returncode}: {ended.stdout[-2000:]} {ended.stderr[-2000:]}"
    answer = json.loads(written.read_text())
    assert "error" not in answer, answer["error"]
    assert answer["result"] == {"renderer": "categorizedSymbol", "features": 16, "name": "Classified objects"}
    job = answer["cancelled"].split("Job ")[1].split()[0]
    assert service.get(job.removeprefix(service.url)).json["status"] == "dismissed"
    assert answer["test"].startswith("The server has 3 processes:")
    assert has_colours(pictures / "map.png")
