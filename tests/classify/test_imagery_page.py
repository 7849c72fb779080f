"""The page of sources is a test subject: each link of its tables is opened."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import rasterio
from rasterio.warp import transform_bounds

from esri_services import FeatureServer, ImageServer, answer
from linked_images import asset, give, item, items, opened
from linked_layers import read_layer
from mapserver import wfs_of, wms_of
from rasters import make_raster
from service import ROOT
from told_host import Answer, ToldHost, told_host

PAGE = (ROOT / "docs" / "imagery.md").read_text()
EXAMPLE = "https://data.example.org"


def links(heading: str) -> list[str]:
    """Return what the table below a heading of the page has in its second column."""
    table = PAGE.split(f"## {heading}\n")[1].split("\n\n- ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    return [link for row in rows for link in re.findall(r"`(\{.*\}|https:[^`]*)`", row[1])]


IMAGES, LAYERS = links("Images"), links("Layers")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToldHost]:
    folder = tmp_path_factory.mktemp("host")
    with told_host() as told:
        _give_catalog(told, folder)
        _give_layers(told, folder)
        _give_services(told, folder)
        yield told


def _give_catalog(host: ToldHost, folder: Path) -> None:
    for name in ("visual", "nir", "red", "green"):
        give(host, f"/stac/{name}.tif", make_raster(folder / f"{name}.tif", bands=3 if name == "visual" else 1))
    bands = {name: asset(f"{name}.tif", "data") for name in ("nir", "red", "green")}
    scenes = [item(name, visual=asset("/stac/visual.tif", "visual"), **bands) for name in ("one", "two", "three")]
    give(host, "/stac/scene.json", scenes[0])
    give(host, "/stac/items.json", items(*scenes))
    following = {"rel": "next", "href": "/search?collections=town&limit=2&page=2"}
    give(host, "/search?collections=town&limit=2", items(*scenes[:2], links=[following], numberMatched=3))
    give(host, following["href"], items(scenes[2], numberMatched=3))
    collection: dict[str, Any] = {"type": "Collection", "stac_version": "1.0.0", "id": "town"}
    give(host, "/stac/collection.json", collection | {"links": [{"rel": "item", "href": "scene.json"}]})


def _give_layers(host: ToldHost, folder: Path) -> None:
    names = ["oak", "pine"] * 5
    points = [{"type": "Point", "coordinates": [500_000 + n, 5_000_000 - n]} for n in range(10)]
    trees = [
        {"type": "Feature", "id": n + 1, "geometry": point, "properties": {"number": n, "name": name}}
        for n, (point, name) in enumerate(zip(points, names, strict=True))
    ]
    host.services["/arcgis/rest/services/Trees/FeatureServer/0"] = FeatureServer(trees, max_record_count=4)
    give(host, "/collections/trees/items?limit=1000", items(*trees))
    host.services["/wfs"] = wfs_of(folder, trees)


def _give_services(host: ToldHost, folder: Path) -> None:
    scene = make_raster(folder / "scene.tif", width=640, height=480)
    host.services["/wms"] = wms_of(folder, scene, 32633)
    host.services["/arcgis/rest/services/Town/ImageServer"] = ImageServer([scene])
    host.services["/collections/town"] = partial(_town, scene, wms_of(folder, scene, 32633, max_size=600))
    document = (Path(__file__).parents[1] / "wmts.xml").read_text().replace("HOST", host.url)
    for target in ("/wmts?SERVICE=WMTS&VERSION=1.0.0&REQUEST=GetCapabilities", "/wmts.xml"):
        host.files[target] = "application/xml", document.encode()


def _town(scene: Path, wms: Callable[[dict[str, str]], Answer], query: dict[str, str]) -> Answer:
    """Answer as a collection with a coverage, which it gives as a whole, and with maps."""
    if query["path"] == "/coverage":
        return 200, "image/tiff", scene.read_bytes()
    if query["path"] == "/map":
        assert query["crs"] == query["bbox-crs"]
        names = {"SERVICE": "WMS", "VERSION": "1.3.0", "REQUEST": "GetMap", "LAYERS": "scene", "STYLES": ""}
        given = {name: query[name] for name in ("bbox", "width", "height")}
        return wms({**names, "CRS": f"EPSG:{query['crs'].rpartition('/')[2]}", "FORMAT": "image/png", **given})
    with rasterio.open(scene) as dataset:
        box = transform_bounds(dataset.crs, "EPSG:4326", *dataset.bounds)
    return answer({"id": "town", "extent": {"spatial": {"bbox": [box]}}})


def value_of(link: str, host: ToldHost) -> dict[str, str]:
    """Return the value of an input that a link of the page stands for."""
    value: dict[str, str] = json.loads(link) if link.startswith("{") else {"href": link}
    return value | {"href": value["href"].replace(EXAMPLE, host.url)}


@pytest.mark.parametrize("link", IMAGES)
def test_images_of_the_page_are_opened(host: ToldHost, tmp_path: Path, link: str) -> None:
    images = opened(value_of(link, host), host, tmp_path, inputs={"cellSize": 0.5})
    assert images
    assert all(image.is_georeferenced for image in images)


@pytest.mark.parametrize("link", LAYERS)
def test_layers_of_the_page_are_read(host: ToldHost, tmp_path: Path, link: str) -> None:
    layer = read_layer(value_of(link, host), host, tmp_path)
    assert len(layer) == (5 if "oak" in link else 10)


def test_the_page_has_links() -> None:
    assert len(IMAGES) >= 14
    assert len(LAYERS) >= 5
