"""Labels of images, whatever they come from: those of the same pixels in a file of this machine."""

from __future__ import annotations

import json
import math
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.warp import transform_bounds

from classify.test_image_services import picture
from classify.test_ogc_images import coverage, extent_of
from conftest import definition, save_mean_network
from esri_services import ImageServer
from linked_images import asset, give, item, items
from mapserver import wms_of
from processes.allowed_hosts import AllowedHost
from processes.classify.process import ClassifyObjects
from processes.model.catalog import Catalog
from processes.ogc.execution import Execution
from processes.settings import Settings
from pygeoapi_server import collection, pygeoapi_server
from range_host import RangeHost, range_host
from rasters import make_raster, random_values
from service import link, models_checked_here
from told_host import Answer, ToldHost, told_host

WIDTH, HEIGHT = 700, 600
UTM = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
ZOOM, COLUMN, ROW = 14, 8874, 5710
HALF_WORLD = 20_037_508.342789244
CELL = 2 * HALF_WORLD / 256 / 2**ZOOM
MERCATOR = Affine(CELL, 0, COLUMN * 256 * CELL - HALF_WORLD, 0, -CELL, HALF_WORLD - ROW * 256 * CELL)


@dataclass
class Hosts:
    """Where the images of the tests are."""

    folder: Path
    told: ToldHost
    ranges: RangeHost
    pygeoapi: str
    settings: Settings

    @property
    def scene(self) -> Path:
        return self.folder / "scene.tif"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    home = tmp_path_factory.mktemp("sources")
    folder = home / "imagery"
    folder.mkdir()
    values = random_values((3, HEIGHT, WIDTH), seed=3)
    scene = make_raster(folder / "scene.tif", values=values, transform=UTM, blocksize=256, compress="deflate")
    for number in range(3):
        make_raster(folder / f"band-{number}.tif", values=values[number : number + 1], transform=UTM, blocksize=128)
    (home / "models" / "mean").mkdir(parents=True)
    save_mean_network(home / "models" / "mean" / "net.onnx", 3, None)
    (home / "models" / "mean" / "mean.emd").write_text(json.dumps(definition()))
    with (
        told_host() as told,
        range_host(folder) as ranges,
        pygeoapi_server(home, {"town": coverage(scene), "drawn": drawn(scene, f"{told.url}/drawn")}) as url,
        models_checked_here(),
    ):
        allowed = f"{told.authority},{ranges.host},{url.removeprefix('http://')}"
        settings = Settings.from_plugin(
            {"models": "models", "imagery": "imagery", "state": "state", "hosts": allowed}, home
        )
        assert AllowedHost.parse(ranges.host) in settings.hosts
        yield Hosts(folder, told, ranges, url, settings)


def tiles(hosts: Hosts, driver: str, y: str = "{y}") -> tuple[dict[str, Any], Path]:
    """Let a host give 2 x 2 tiles, and save their cells as a file, as the driver decodes them."""
    whole, path = np.zeros((3, 512, 512), np.uint8), f"{driver}-{'up' if y == '{y}' else 'down'}"
    smooth = np.repeat(np.repeat(random_values((3, 128, 128), seed=5), 4, axis=1), 4, axis=2)
    for row in range(2):
        for column in range(2):
            place = np.s_[:, row * 256 : row * 256 + 256, column * 256 : column * 256 + 256]
            content = picture(smooth[place], driver)
            number = ROW + row if y == "{y}" else 2**ZOOM - 1 - ROW - row
            hosts.told.files[f"/{path}/{ZOOM}/{COLUMN + column}/{number}"] = "image/any", content
            with rasterio.open(BytesIO(content)) as dataset:
                whole[place] = dataset.read()
    local = make_raster(hosts.folder / f"tiles-{driver}.tif", values=whole, crs="EPSG:3857", transform=MERCATOR)
    return {"href": f"{hosts.told.url}/{path}/{{z}}/{{x}}/{y}"}, local


def wmts(hosts: Hosts) -> tuple[dict[str, Any], Path]:
    values = random_values((3, 128, 256), seed=6)

    def tile(query: dict[str, str]) -> Answer:
        *_, row, column = query["path"].split("/")
        y, x = (int(row) - 1) * 64, (int(column) - 2) * 128
        return 200, "image/png", picture(values[:, y : y + 64, x : x + 128], "PNG")

    hosts.told.services["/tiles"] = tile
    document = (Path(__file__).parents[1] / "wmts.xml").read_text().replace("HOST", hosts.told.url)
    hosts.told.files["/wmts.xml"] = "application/xml", document.encode()
    local = make_raster(
        hosts.folder / "wmts.tif", values=values, transform=Affine(0.5, 0, 500_128, 0, -0.5, 5_000_000 - 32)
    )
    return {"href": f"{hosts.told.url}/wmts.xml?layer=town", "type": "application/vnd.ogc.wmts"}, local


def stac(hosts: Hosts, fragment: str = "") -> tuple[dict[str, Any], Path]:
    bands = {f"b{number}": asset(hosts.ranges.link(f"band-{number}.tif"), "data") for number in range(3)}
    give(hosts.told, "/item", item("scene", visual=asset(hosts.ranges.link("scene.tif"), "visual"), **bands))
    return {"href": f"{hosts.told.url}/item{fragment}"}, hosts.scene


def search(hosts: Hosts) -> tuple[dict[str, Any], Path]:
    scene = item("scene", visual=asset(hosts.ranges.link("scene.tif"), "visual"))
    give(hosts.told, "/search", items(scene, links=[]))
    return {"href": f"{hosts.told.url}/search"}, hosts.scene


def by_ranges(hosts: Hosts, takes_ranges: bool) -> tuple[dict[str, Any], Path]:
    hosts.ranges.takes_ranges = takes_ranges
    return {"href": hosts.ranges.link("scene.tif")}, hosts.scene


def wms(hosts: Hosts) -> tuple[dict[str, Any], Path]:
    hosts.told.services["/wms"] = wms_of(hosts.folder, hosts.scene, 32633)
    return {"href": f"{hosts.told.url}/wms?LAYERS=scene", "type": "application/vnd.ogc.wms"}, hosts.scene


def image_server(hosts: Hosts) -> tuple[dict[str, Any], Path]:
    hosts.told.services["/arcgis/rest/services/Town/ImageServer"] = ImageServer([hosts.scene])
    return {"href": f"{hosts.told.url}/arcgis/rest/services/Town/ImageServer"}, hosts.scene


def drawn(scene: Path, wms: str) -> dict[str, Any]:
    """Return a collection of pygeoapi whose maps a WMS draws."""
    options = {"layer": "scene"}
    picture_format = {"name": "png", "mimetype": "image/png"}
    provider = {"type": "map", "name": "WMSFacade", "data": wms, "options": options, "format": picture_format}
    return collection("drawn", providers=[provider]) | extent_of(scene, 9)


def ogc_map_of_pygeoapi(hosts: Hosts) -> tuple[dict[str, Any], Path]:
    """Return maps of pygeoapi, which MapServer draws, and a file of one large map of the same place."""
    (hosts.folder / "drawn").mkdir(exist_ok=True)
    hosts.told.services["/drawn"] = wms_of(hosts.folder / "drawn", hosts.scene, 32633, max_size=1000)
    uri = "http://www.opengis.net/def/crs/EPSG/0/32633"
    west, south, east, north = extent_of(hosts.scene, 9)["extents"]["spatial"]["bbox"]
    box = transform_bounds("OGC:CRS84", "EPSG:32633", west, south, east, north)  # of the collection: around the scene
    left, top, width, height = box[0], box[3], math.ceil((box[2] - box[0]) * 2), math.ceil((box[3] - box[1]) * 2)
    href = f"{hosts.pygeoapi}/collections/drawn/map"
    edges = f"{left!r},{top - height / 2!r},{left + width / 2!r},{top!r}"
    query = {"f": "png", "bbox": edges, "bbox-crs": uri, "crs": uri, "width": width, "height": height}
    with urllib.request.urlopen(f"{href}?{urlencode(query | {'transparent': 'true'})}") as answer:
        content = answer.read()
    with rasterio.open(BytesIO(content)) as dataset:
        cells = dataset.read()
    local = make_raster(
        hosts.folder / "map.tif", values=cells[:3], alpha=cells[3], transform=Affine(0.5, 0, left, 0, -0.5, top)
    )
    return {"href": f"{href}?crs={uri}"}, local


def ogc_map(hosts: Hosts) -> tuple[dict[str, Any], Path]:
    """Return maps of a collection that states its box in its own CRS, drawn cell by cell of the scene."""
    with rasterio.open(hosts.scene) as dataset:
        values, bounds = dataset.read(), [*dataset.bounds]
        degrees = [*transform_bounds(dataset.crs, "OGC:CRS84", *bounds)]
    uri = "http://www.opengis.net/def/crs/EPSG/0/32633"

    def serve(query: dict[str, str]) -> Answer:
        if query["path"] == "":
            spatial = {"bbox": [degrees], "storageCrsBbox": [bounds]}
            document = {"id": "lossless", "extent": {"spatial": spatial}, "storageCrs": uri, "links": []}
            return 200, "application/json", json.dumps(document).encode()
        assert query["path"] == "/map"
        assert query["crs"] == query["bbox-crs"] == uri
        west, south, east, north = map(float, query["bbox"].split(","))
        (left, top), (right, bottom) = (
            (round(edge) for edge in ~UTM @ corner) for corner in ((west, north), (east, south))
        )
        assert (right - left, bottom - top) == (int(query["width"]), int(query["height"]))
        map_cells = np.zeros((4, bottom - top, right - left), np.uint8)  # transparent beyond the scene
        part = values[:, top:bottom, left:right]
        map_cells[:3, : part.shape[1], : part.shape[2]] = part
        map_cells[3, : part.shape[1], : part.shape[2]] = 255
        return 200, "image/png", picture(map_cells, "PNG")

    hosts.told.services["/collections/lossless"] = serve
    return {"href": f"{hosts.told.url}/collections/lossless/map"}, hosts.scene


SOURCES: dict[str, Callable[[Hosts], tuple[dict[str, Any], Path]]] = {
    "by ranges": lambda hosts: by_ranges(hosts, True),
    "whole": lambda hosts: by_ranges(hosts, False),
    "STAC item": stac,
    "STAC bands": lambda hosts: stac(hosts, "#assets=b0,b1,b2"),
    "STAC search": search,
    "WMS": wms,
    "WMTS": wmts,
    "XYZ, PNG": lambda hosts: tiles(hosts, "PNG"),
    "XYZ, JPEG": lambda hosts: tiles(hosts, "JPEG"),
    "XYZ from below": lambda hosts: tiles(hosts, "PNG", "{-y}"),
    "OGC API - Coverages": lambda hosts: ({"href": f"{hosts.pygeoapi}/collections/town/coverage"}, hosts.scene),
    "OGC API - Maps": ogc_map,
    "OGC API - Maps of pygeoapi": ogc_map_of_pygeoapi,
    "image service": image_server,
    "raster items": image_server,
}


@pytest.mark.parametrize("source", SOURCES)
def test_labels_are_those_of_the_same_pixels_in_a_file(hosts: Hosts, tmp_path: Path, source: str) -> None:
    image, local = SOURCES[source](hosts)
    features, count = objects(local)
    inputs: dict[str, Any] = {"features": features, "model": "mean", "cellSize": CELL if "XYZ" in source else 0.5}
    if source == "raster items":
        inputs["processingMode"] = "separate"
    found = classified(hosts.settings, tmp_path / "remote", {"image": image, **inputs})
    expected = classified(hosts.settings, tmp_path / "local", {"image": link(local), **inputs})
    if source == "raster items":
        for row in [*found, *expected]:
            row["id"], row["properties"]["ImageID"] = None, None  # called `scene` there, and `scene.tif` here
    if "XYZ" in source:
        for row in expected:  # tiles are an image of the world
            status = row["properties"]["ClassStatus"]
            row["properties"]["ClassStatus"] = "nodata" if status == "outside-image" else status
    assert found == expected
    labels = {row["properties"]["ClassLabel"] for row in found}
    assert labels == {"dark", "bright", None}
    assert len({row["properties"]["Confidence"] for row in found}) > count / 2
    hosts.ranges.takes_ranges = True


def objects(local: Path) -> tuple[dict[str, Any], int]:
    """Return objects all over an image, over its edges, and beyond; and how many there are."""
    with rasterio.open(local) as dataset:
        width, height, transform, code = dataset.width, dataset.height, dataset.transform, dataset.crs.to_epsg()
    rng = np.random.default_rng(1)
    places: NDArray[Any] = np.concatenate([rng.uniform((-3, -3), (width + 3, height + 3), (80, 2)), [[-99, 5]]])
    shapes = [shapely.Point(*(transform @ tuple(place))) for place in places.tolist()]
    features = [
        {"type": "Feature", "id": number, "properties": {}, "geometry": shapely.geometry.mapping(shape)}
        for number, shape in enumerate(shapes)
    ]
    crs = {"type": "name", "properties": {"name": f"EPSG:{code}"}}
    return {"type": "FeatureCollection", "crs": crs, "features": features}, len(shapes)


def classified(settings: Settings, folder: Path, inputs: dict[str, Any]) -> list[dict[str, Any]]:
    folder.mkdir()
    process = ClassifyObjects(settings, Catalog.from_settings(settings), 2)
    body = json.dumps({"inputs": inputs}).encode()
    output = process.execute(Execution.read("classify-objects", body, process.describe(), result_name="a"), folder)
    content = output.content if isinstance(output.content, bytes) else output.content.read_bytes()
    rows: list[dict[str, Any]] = json.loads(content)["features"]
    return rows
