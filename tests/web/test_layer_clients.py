"""GDAL's driver of OGC API - Features reads a whole result, with all that its features have."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyogrio
import pytest
import shapely
import yaml
from werkzeug.serving import make_server

from conftest import definition, save_mean_network
from rasters import NORTH_UP, make_raster
from service import Client, configure, link, load_application

COUNT = 10_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    (home / "imagery").mkdir()
    (home / "models" / "brightness").mkdir(parents=True)
    save_mean_network(home / "models" / "brightness" / "net.onnx", 3, None)
    (home / "models" / "brightness" / "m.emd").write_bytes(msgspec.json.encode(definition()))
    make_raster(home / "imagery" / "a.tif")
    places = np.random.default_rng(0).uniform((0, 0), (64, 48), (COUNT, 2))
    x, y = NORTH_UP.c + places[:, 0] * NORTH_UP.a, NORTH_UP.f + places[:, 1] * NORTH_UP.e
    features = [
        {
            "type": "Feature",
            "id": f"p-{number}",
            "properties": {"n": number, "half": number / 2, "text": None if number < 5000 else f"é {number}"},
            "geometry": {"type": "Point", "coordinates": [float(x[number]), float(y[number])]},
        }
        for number in range(COUNT)
    ]
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    layer = {"type": "FeatureCollection", "crs": crs, "features": features}
    (home / "imagery" / "points.geojson").write_bytes(msgspec.json.encode(layer))
    return home


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    """Return the address of a server that has the results `points` and `latitudes`."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    configuration = configure(home, models=[home / "models"], imagery=[home / "imagery"])
    document = yaml.safe_load(configuration.read_text())
    document["server"]["url"] = url
    configuration.write_text(yaml.safe_dump(document))
    client = Client(load_application(configuration))
    inputs = {"image": link(home / "imagery" / "a.tif"), "features": link(home / "imagery" / "points.geojson")}
    package = {"classifiedObjects": {"format": {"mediaType": "application/geopackage+sqlite3"}}}
    for name, crs in (("points", "EPSG:32633"), ("latitudes", "EPSG:4258")):
        more = {"model": "brightness", "resultName": name, "outputCrs": crs}
        response = client.execute("classify-objects", {**inputs, **more}, outputs=package)
        assert response.status_code == 200, response.text
    server = make_server("127.0.0.1", 0, client.http.application, threaded=True, fd=listener.fileno())
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield url
    server.shutdown()
    thread.join()
    listener.close()


def read(address: str, layer: str, *options: str) -> Any:
    """Return what GDAL reads of a layer, in a process of its own: it holds the interpreter's lock meanwhile.

    That is the CRS, the names and the types of the fields, x and y of the points, and the rows.
    """
    program = """
import json, sys
import pyogrio, shapely
path, layer, *options = sys.argv[1:]
options = dict(item.split("=", 1) for item in options)
about, table = pyogrio.read_arrow(path, layer=layer, **options)
geometry = about["geometry_name"] or "wkb_geometry"
rows, places = table.drop_columns([geometry]), shapely.get_coordinates(shapely.from_wkb(table[geometry].to_pylist()))
print(json.dumps([about["crs"], {name: str(rows.schema.field(name).type) for name in rows.schema.names},
                  places.tolist(), rows.to_pylist()]))
"""
    command = [sys.executable, "-c", program, f"OAPIF:{address}", layer, *options]
    return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)


def test_gdal_reads_a_whole_layer(address: str) -> None:
    crs, types, _, rows = read(address, "points")
    assert crs == "EPSG:32633"
    assert set(types) >= {"id", "n", "half", "text", "ClassLabel", "ClassValue", "Confidence", "ClassStatus"}
    assert (types["n"], types["half"], types["text"]) == ("int32", "double", "string")
    assert [row["id"] for row in rows] == [f"p-{number}" for number in range(COUNT)]
    assert [row["n"] for row in rows] == list(range(COUNT))
    assert [row["half"] for row in rows] == [number / 2 for number in range(COUNT)]
    assert [row["text"] for row in rows] == [None if number < 5000 else f"é {number}" for number in range(COUNT)]
    assert {row["ClassStatus"] for row in rows} <= {"ok", "nodata"}


@pytest.mark.parametrize("layer", ["points", "latitudes"])
def test_what_gdal_reads_is_what_the_geopackage_has(address: str, tmp_path: Path, layer: str) -> None:
    """The CRS of `latitudes` has latitude first in OGC API - Features, and second in files."""
    with urllib.request.urlopen(f"{address}/collections/{layer}") as answer:
        links = json.load(answer)["links"]
    (package,) = [item["href"] for item in links if item["href"].endswith(".gpkg")]
    urllib.request.urlretrieve(package, tmp_path / "result.gpkg")
    about, wanted = pyogrio.read_arrow(tmp_path / "result.gpkg")
    crs, types, places, rows = read(address, layer)
    assert crs == about["crs"]
    assert rows == wanted.select(list(types)).to_pylist()
    assert set(wanted.column_names) == {*types, "geom"}
    coordinates = shapely.get_coordinates(shapely.from_wkb(wanted["geom"].to_pylist()))
    assert np.abs(coordinates - places).max() < 1e-6


def test_gdal_finds_features_by_place_and_attribute(address: str) -> None:
    *_, rows = read(address, "points", "where=n = 77")
    assert [row["id"] for row in rows] == ["p-77"]
